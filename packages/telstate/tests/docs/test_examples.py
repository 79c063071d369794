"""Examples of the documentation in situations that running them does not reach."""

import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from telstate import KeyType, KeyUpdate, Reconnected

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "wait-and-watch.md"


def example(part: str) -> str:
    """Return the source of the example that contains a text."""
    examples = doctest.DocTestParser().get_examples(PAGE.read_text())
    (source,) = [one.source for one in examples if part in one.source]
    return source


class Watched:
    """A telescope state whose watch yields given events."""

    def __init__(self, *events: object) -> None:
        self.events = events

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **named: self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[object]:
        yield from self.events


def test_watching_goes_on_after_a_reconnection(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of watching handles a lost connection and still ends."""
    last = KeyUpdate("cal_K", KeyType.INDEXED, 0.25, None, "m000h")
    ts = Watched(Reconnected(), KeyUpdate("level", KeyType.MUTABLE, 2.5, 120.0), last, last)
    names = {"ts": ts, "KeyUpdate": KeyUpdate, "Reconnected": Reconnected}
    exec(example("for update in watch"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("updates were lost")
    assert lines[1:] == ["level MUTABLE 2.5 120.0 None", "cal_K INDEXED 0.25 None m000h"]
