"""Summaries of keys, and the tree of keys."""

import io
import sys

import numpy
import pytest
from rich.console import Console

from telstate import KeyType, TelescopeState
from telstate.overview import (
    KeySummary,
    describe,
    key_tree,
    key_tree_text,
    summarise,
    time_of,
)
from telstate_codec import encode_value


def drawn(ts: TelescopeState) -> list[str]:
    """Return the tree of a store as lines of text."""
    output = io.StringIO()
    Console(width=150, file=output).print(key_tree(summarise(ts), "all"))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_summaries(ts: TelescopeState) -> None:
    """A summary has the value or latest value, the number of samples or sub-keys, and the times."""
    ts["a"] = [1, 2]
    ts.add("b", 1.5, ts=0)
    ts.add("b", 2.5, ts=60)
    ts.set_indexed("c", "x", 3)
    assert summarise(ts) == [
        KeySummary("a", KeyType.IMMUTABLE, "[1, 2]"),
        KeySummary("b", KeyType.MUTABLE, "2.5", 2, 0.0, 60.0),
        KeySummary("c", KeyType.INDEXED, "['x'] = 3"),
    ]
    assert [key.name for key in summarise(ts, "[ab]")] == ["a", "b"]


def test_tree(ts: TelescopeState) -> None:
    """The tree splits names at the separator, joins chains and draws equal branches once."""
    for number in range(4):
        ts[f"m00{number}_observer"] = number
        ts.add(f"m00{number}_target", "x", ts=0)
    ts["i0_voltage_n_chans"] = 4096
    ts["i0_voltage_bandwidth"] = 856e6
    ts["n"] = 1
    ts["n_more"] = 2
    assert drawn(ts) == [
        "all",
        "├── i0_voltage",
        "│   ├── bandwidth  immutable  856000000.0",
        "│   └── n_chans  immutable  4096",
        "├── m000",
        "│   ├── observer  immutable  0",
        "│   └── target  mutable  1 sample, 1970-01-01 00:00:00, 'x'",
        "├── 3 more like m000: m001, m002, m003",
        "└── n  immutable  1",
        "    └── more  immutable  2",
    ]


def test_tree_as_text(ts: TelescopeState) -> None:
    """`tree_text` has the same lines as the tree that rich prints."""
    for number in range(4):
        ts[f"m00{number}_observer"] = number
    ts["n"] = 1
    ts["n_more"] = "[bold]2[/bold]"
    ts["n_less"] = 3
    assert key_tree_text(summarise(ts), "all").splitlines() == drawn(ts)
    assert key_tree_text([], "nothing") == "nothing"


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich, `key_tree` says what to install, and everything else works."""
    monkeypatch.setitem(sys.modules, "rich", None)
    ts = TelescopeState()
    ts["n_chans"] = 4096
    with pytest.raises(ImportError, match=r"telstate\[cli\]"):
        key_tree(summarise(ts), "all")
    assert key_tree_text(summarise(ts), "all") == "all\n└── n_chans  immutable  4096"


def test_describe() -> None:
    """Any value has a short description; pickles and invalid bytes are not decoded."""
    assert describe(encode_value(numpy.zeros((2, 3), "f4"))) == "float32 array, shape (2, 3)"
    assert len(describe(encode_value("x" * 10_000))) < 100
    assert len(describe(encode_value({"a": [list(range(100))] * 100}))) < 200
    assert "not shown" in describe(b"\x80\x02K\x01.")
    assert "not shown" in describe(b"")


def test_time_of() -> None:
    """A time is shown in UTC, or in seconds if it is outside the calendar."""
    assert time_of(1_600_000_000.0) == "2020-09-13 12:26:40"
    assert time_of(1e300) == "1e+300 s"


def test_names_are_not_markup(ts: TelescopeState) -> None:
    """Markup in names and values is shown unchanged."""
    ts["[red]key"] = "[bold]"
    assert drawn(ts)[1] == "└── [red]key  immutable  '[bold]'"
