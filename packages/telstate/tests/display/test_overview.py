"""Summaries of keys, and the tree of keys."""

import io
import sys

import numpy
import pytest
from rich.console import Console

from telstate import ENCODING_PICKLE, ImmutableKeyError, KeyType, TelescopeState, set_allow_pickle
from telstate.overview import (
    KeySummary,
    describe,
    key_tree,
    key_tree_text,
    summarise,
    time_of,
)
from telstate_codec import PicklePolicy, encode_value


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


HOSTILE = [
    "\x1b[2J",
    "a\u202eb_c",
    "\x1b]0;title\x07_x",
    "line\nbreak",
    "tab\t_\r",
    "caf\udce9",
    "\u2028",
]


def test_names_and_values_do_not_steer_a_terminal(ts: TelescopeState) -> None:
    """Whatever names, values and the title hold, only printable characters are shown."""
    for number, name in enumerate(HOSTILE):
        value = HOSTILE[number - 1].replace("\udce9", "")
        ts[name] = value
        ts.set_indexed(f"i{name}", value, value)
    ts.add("s", numpy.array(HOSTILE[:5]))
    summaries = [
        *summarise(ts),
        KeySummary("made\x1b", KeyType.IMMUTABLE, "by hand\x1b\u202e"),
    ]
    output = io.StringIO()
    Console(width=150, file=output).print(key_tree(summaries, "all\x1b"))
    for shown in (output.getvalue(), key_tree_text(summaries, "all\x1b")):
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "\\x1b[2J" in shown and "\\u202e" in shown and "caf\\xe9" in shown


@pytest.mark.parametrize("has_forks", [False, True])
def test_deeply_nested_names(ts: TelescopeState, has_forks: bool) -> None:
    """A name of a thousand parts is shown, and so is every key if there is one after each part."""
    parts = [f"p{number}" for number in range(1000)]
    names = {"_".join(parts)}
    if has_forks:
        names |= {"_".join([*parts[:number], "x"]) for number in range(1, 1000)}
    for name in names:
        ts[name] = 1
    lines = key_tree_text(summarise(ts), "all").splitlines()
    assert sum(line.endswith("immutable  1") for line in lines) == len(names)
    output = io.StringIO()
    Console(width=80, file=output).print(key_tree(summarise(ts), "all"))
    assert "".join(output.getvalue().split()).count("p999") == 1
    assert repr(ts) and ts._repr_html_() and len(ts.keys()) == len(names)


def test_summaries_of_what_pickles_hold(
    ts: TelescopeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long integers and tuples that double do not break displays, errors or arrays."""
    doubling: tuple[object, ...] = ()
    for _ in range(60):
        doubling = (doubling, doubling)
    values = {"long": 10**5000, "double": doubling, "large": 2**64, "both": [10**5000, doubling]}
    for policy in ("safe", "1"):
        set_allow_pickle(PicklePolicy(policy))
        try:
            for name, value in values.items():
                ts.delete(name)
                ts.add(name, value, immutable=True, encoding=ENCODING_PICKLE)
                with pytest.raises(ImmutableKeyError, match="from .{1,2000} to 5$") as changed:
                    ts[name] = 5
                assert len(str(changed.value)) < 2000
                ts.delete("s")
                ts.add("s", value, ts=1.0, encoding=ENCODING_PICKLE)
                ts.add("s", 5, ts=2.0)
                ts.set_indexed(f"i{policy}", name, value, encoding=ENCODING_PICKLE)
                assert len(ts.get_range("s", st=0.0)) == 2
                with ts.watch("s") as changes:
                    ts.add("s", value, ts=3.0, encoding=ENCODING_PICKLE)
                    assert 0 < len(repr(next(iter(changes)))) < 2000
            assert all(len(one.value) < 300 for one in summarise(ts))
            assert ts._repr_html_()
        finally:
            set_allow_pickle(False)
