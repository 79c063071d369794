"""The commands that write: set, add, delete and clear."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_command import COMMAND, run

from telstate import TelescopeState
from telstate._texts import format_value
from telstate.cli._values import parse_value
from telstate_testing.terminals import Terminal


@pytest.fixture
def live(newest_port: int) -> Iterator[tuple[str, TelescopeState]]:
    """The URL of a server, and a telescope state on it."""
    with TelescopeState(f"127.0.0.1:{newest_port}") as ts:
        yield f"redis://127.0.0.1:{newest_port}", ts


def test_set(live: tuple[str, TelescopeState]) -> None:
    """Values are JSON, the text form, or text."""
    url, ts = live
    for key, value in {"n_chans": "4096", "band": "l", "pair": '{"$tuple": [1, null]}'}.items():
        assert run("set", url, key, value).exit_code == 0
    assert run("set", url, "block", "1600000000", "--text", "--view", "sdp").exit_code == 0
    assert run("set", url, "flux", "14.9", "--sub-key", '{"$tuple": ["J1939", 1]}').exit_code == 0
    contents = {key: ts[key] for key in ts.keys()}
    assert contents == {
        "band": "l",
        "flux": {("J1939", 1): 14.9},
        "n_chans": 4096,
        "pair": (1, None),
        "sdp_block": "1600000000",
    }


def test_a_sub_key_that_is_a_list(live: tuple[str, TelescopeState]) -> None:
    """It is wrong usage."""
    url, ts = live
    result = run("set", url, "flux", "14.9", "--sub-key", "[1]")
    assert result.exit_code == 2 and result.stderr.startswith("A sub-key must be hashable")
    assert ts.keys() == []


def test_set_again(live: tuple[str, TelescopeState]) -> None:
    """An immutable key stays as it is."""
    url, ts = live
    ts["n_chans"] = 4096
    assert run("set", url, "n_chans", "4096").exit_code == 0
    result = run("set", url, "n_chans", "32768")
    assert result.exit_code == 2
    assert "n_chans" in result.stderr and result.stderr.count("\n") == 1
    assert ts["n_chans"] == 4096


def test_add(live: tuple[str, TelescopeState]) -> None:
    """A sample has the time that is given, or now."""
    url, ts = live
    assert run("add", url, "gain", "1.5", "--time", "2020-09-13T12:26:40Z").exit_code == 0
    assert ts.get_range("gain", 0) == [(1.5, 1_600_000_000.0)]
    before = time.time()
    assert run("add", url, "gain", "2").exit_code == 0
    assert run("add", url, "gain", "3", "--time", "-1h").exit_code == 0
    times = [moment for _, moment in ts.get_range("gain", 0)]
    assert before <= times[2] <= time.time()
    assert before - 3600 <= times[1] <= time.time() - 3600
    ts.add("beam_gain", 4.0, ts=1_700_000_000.0)
    assert run("add", url, "gain", "5", "--view", "beam", "--time", "+1m").exit_code == 0
    assert ts.get_range("beam_gain", 0)[1] == (5, 1_700_000_060.0)


def test_negative_numbers(live: tuple[str, TelescopeState]) -> None:
    """A negative number is a value, and not an option; an option that is not known is wrong usage."""
    url, ts = live
    assert run("add", url, "gain", "-1.5", "--time", "-1h").exit_code == 0
    assert run("set", url, "delay", "-5").exit_code == 0
    assert (ts["gain"], ts["delay"]) == (-1.5, -5)
    assert run("set", url, "gain_unit", "dB", "--txt").exit_code == 2
    assert run("set", url, "gain_unit", "--txt").exit_code == 2
    assert "gain_unit" not in ts


@pytest.mark.parametrize(
    "value", ["[1, 2", '{"$tuple": 1}', '{"$array": {}}', '"a', "[" * 99_999, "1" * 9999]
)
def test_values_that_cannot_be_read(value: str) -> None:
    """What begins like JSON must be JSON; nothing is written."""
    result = run("set", "127.0.0.1:1", "key", value)
    assert result.exit_code == 2
    assert "value" in result.stderr and result.stderr.count("\n") == 1


def test_writing_to_a_file(tmp_path: Path) -> None:
    """A command that writes refuses a file."""
    path = tmp_path / "observation.rdb"
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts.save(path)
    content = path.read_bytes()
    for arguments in (("set", path, "a", "1"), ("delete", path, "n_chans"), ("clear", path)):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "observation.rdb is a file" in result.stderr
    assert path.read_bytes() == content


def _answer(answer: str, *arguments: str) -> int:
    """Return the status of a command whose question is answered on a terminal."""
    with Terminal([*COMMAND, *arguments], stdout=subprocess.DEVNULL) as terminal:
        terminal.read_until("[y/N]")
        terminal.type(answer)
        return terminal.process.wait()


def test_delete(live: tuple[str, TelescopeState]) -> None:
    """It asks, and deletes one key."""
    url, ts = live
    ts["a"], ts["b"] = 1, 2
    refused = run("delete", url, "a")
    assert refused.exit_code == 2 and "--force" in refused.stderr
    assert _answer("n\n", "delete", url, "a") == 1
    assert ts.keys() == ["a", "b"]
    assert _answer("y\n", "delete", url, "a") == 0
    assert ts.keys() == ["b"]
    glob = run("delete", url, "*", "--force")
    assert glob.exit_code == 2 and "not a glob" in glob.stderr
    missing = run("delete", url, "a", "--force")
    assert missing.exit_code == 1 and "'a'" in missing.stderr


def test_clear(live: tuple[str, TelescopeState]) -> None:
    """It asks, and deletes everything in the database."""
    url, ts = live
    ts["a"] = 1
    assert _answer("n\n", "clear", url) == 1
    assert run("clear", url).exit_code == 2
    assert run("clear", url, "--force", "--view", "sdp").exit_code == 2
    assert run("clear", url, "--force", "--db", "1").exit_code == 0
    assert run("clear", f"{url}/0", "--force", "--db", "1").exit_code == 2
    assert run("clear", f"{url}/1", "--force", "--db", "0").exit_code == 2
    assert ts.keys() == ["a"]
    assert run("clear", url, "--force").exit_code == 0
    assert ts.keys() == []


def test_no_server() -> None:
    """An error names the address, and no password."""
    result = run("set", "redis://user:secret@127.0.0.1:1/0", "a", "1")
    assert result.exit_code == 2
    assert "127.0.0.1:1" in result.stderr and "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(_values)
def test_formatted_values_can_be_typed(value: object) -> None:
    """What is printed of a value stands for it, but for text that looks like JSON."""
    text = format_value(value)
    as_text = isinstance(value, str)
    again = parse_value(text, as_text)
    assert repr(again) == repr(value)
