"""Summaries of keys, and the tree of keys."""

import io
import itertools
import sys

import attrs
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
from telstate_testing.observations import fill_observation


def drawn(ts: TelescopeState) -> list[str]:
    """Return the tree of a store as lines of text."""
    output = io.StringIO()
    Console(width=150, file=output).print(key_tree(summarise(ts), "all"))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_summaries(ts: TelescopeState) -> None:
    """A summary has the latest value with its type, the number of samples or sub-keys, and the times."""
    ts["a"] = [1, 2]
    ts.add("b", 1.5, ts=0)
    ts.add("b", 2.5, ts=60)
    ts.set_indexed("c", "x", 3)
    found = summarise(ts)
    assert [attrs.evolve(one, size=None) for one in found] == [
        KeySummary("a", KeyType.IMMUTABLE, "[1, 2]", type="list"),
        KeySummary("b", KeyType.MUTABLE, "2.5", 2, 0.0, 60.0, type="float"),
        KeySummary("c", KeyType.INDEXED, "['x'] = 3", type="int"),
    ]
    sizes = [one.size for one in found]
    assert sizes == [4, 2 * (8 + 10), 3 + 2]
    assert [key.name for key in summarise(ts, "[ab]")] == ["a", "b"]


def test_natural_order(ts: TelescopeState) -> None:
    """Names are in natural order: 9 before 10, and before whatever is not a number."""
    names = ["m9", "m10", "m009", "m", "10", "9", "a_10_b", "a_9_c", "m" + "1" * 5000]
    for name in names:
        ts[name] = 1
    assert [one.name for one in summarise(ts)] == [
        *("9", "10", "a_9_c", "a_10_b", "m", "m009", "m9", "m10", "m" + "1" * 5000)
    ]


def test_types_and_sizes() -> None:
    """A summary shows dtype and shape of an array, and the length of long text and containers."""
    ts = TelescopeState()
    ts["array"] = numpy.arange(20, dtype="f4").reshape(4, 5) / 2
    ts["large"] = numpy.zeros((1000, 2, 64), "c8")
    ts["scalar"] = numpy.float64(1.5)
    ts["text"] = "ab" * 600
    ts["long"] = "ab" * 60_000
    ts["dict"] = {number: number for number in range(40)}
    ts.add("sensor", "abc", ts=1)
    ts.add("sensor", "abcdef", ts=2)
    found = {one.name: one for one in summarise(ts)}
    assert {name: one.type for name, one in found.items()} == {
        "array": "float32 (4, 5)",
        "large": "complex64 (1000, 2, 64)",
        "scalar": "float64",
        "text": "str (1,200)",
        "long": "str (120,006 bytes)",
        "dict": "dict (40)",
        "sensor": "str",
    }
    assert found["array"].value == "[0, 0.5, 1, 1.5, ...]"
    assert found["text"].value.startswith("'ababab") and found["text"].value.endswith("'...")
    assert found["sensor"].size == 2 * (8 + 2) + len("abc" + "abcdef")
    assert not any(one.is_pickle for one in found.values())


def test_pickles() -> None:
    """A pickle is named as one, and read only if the policy allows it."""
    ts = TelescopeState()
    ts.add("old", [1, 2], immutable=True, encoding=ENCODING_PICKLE)
    (refused,) = summarise(ts)
    assert (refused.type, refused.is_pickle) == ("pickle", True) and "not read" in refused.value
    set_allow_pickle("safe")
    try:
        (read,) = summarise(ts)
    finally:
        set_allow_pickle(False)
    assert (read.type, read.value, read.is_pickle) == ("list", "[1, 2]", True)


def test_tree(ts: TelescopeState) -> None:
    """The tree splits names at the separator, joins chains, and folds siblings that look alike."""
    for number in range(12):
        ts[f"m00{number}_observer"] = number
        ts.add(f"m00{number}_target", "x", ts=0)
        ts[f"cal_shared_{number}"] = ("solution", number)
    ts["cal_shared_12"] = "of another type"
    ts["m005_extra"] = 1
    ts["i0_voltage_n_chans"] = 4096
    ts["i0_voltage_bandwidth"] = 856e6
    ts["n"] = 1
    ts["n_more"] = 2
    assert drawn(ts) == [
        "all",
        "├── cal_shared",
        "│   ├── 0 ... 11  12 alike  ('solution', 0)",
        "│   └── 12  'of another type'",
        "├── i0_voltage",
        "│   ├── bandwidth  856000000.0",
        "│   └── n_chans  4096",
        "├── m000 ... m0011  11 alike",
        "│   ├── observer  0",
        "│   └── target  1 sample, 1970-01-01 00:00:00  'x'",
        "├── m005",
        "│   ├── extra  1",
        "│   ├── observer  5",
        "│   └── target  1 sample, 1970-01-01 00:00:00  'x'",
        "└── n  1",
        "    └── more  2",
    ]


def test_depth(ts: TelescopeState) -> None:
    """A tree to a depth counts the keys that are below."""
    for number in range(3):
        for name in ("a_b", "a_c", "d"):
            ts[f"m{number}_{name}"] = number
    ts["n"] = 1
    ts["n_more"] = 2
    summaries = summarise(ts)
    assert key_tree_text(summaries, "all", depth=1).splitlines() == [
        *("all", "├── m0 ... m2  3 alike, 3 keys", "└── n  1 key below  1")
    ]
    assert "│   ├── a  2 keys" in key_tree_text(summaries, "all", depth=2)


def test_limit() -> None:
    """A tree of many keys is drawn to a number of lines, and says how to see the others."""
    letters = ["".join(some) for some in itertools.product("abcdefghij", repeat=4)]
    summaries = [KeySummary("_".join(one), KeyType.IMMUTABLE, "1") for one in letters]
    lines = key_tree_text(summaries, "all", limit=20).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "└── ...  11,090 more lines: raise the limit, or choose a depth or keys"
    assert key_tree_text(summaries[:3], "all", limit=20).count("\n") == 4


@pytest.mark.parametrize("width", [40, 80, 200])
def test_width(width: int) -> None:
    """Lines are as wide as the console at most, and are cut from the end, where the value is."""
    ts = TelescopeState()
    fill_observation(ts)
    summaries = summarise(ts)
    text = key_tree_text(summaries, "all", width=width)
    output = io.StringIO()
    Console(width=width, file=output).print(key_tree(summaries, "all"))
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    assert lines == text.splitlines()
    assert max(map(len, lines)) == width
    samples = next(line for line in lines if "request_scan" not in line and "azim  60" in line)
    assert width < 80 or "60 samples" in samples and "2020-09-13" in samples
    product = next(line for line in lines if "B0 ... B3" in line)
    assert width < 80 or "complex64 (8, 2, 4)" in product


def test_tree_as_text(ts: TelescopeState) -> None:
    """`key_tree_text` has the same lines as the tree that rich prints."""
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
    with pytest.raises(ImportError, match="Install telstate with its extra 'cli'"):
        key_tree(summarise(ts), "all")
    assert key_tree_text(summarise(ts), "all") == "all\n└── n_chans  4096"


def test_describe() -> None:
    """Any value has a short description; pickles and invalid bytes are not decoded."""
    assert describe(encode_value(numpy.zeros((2, 3), "f4"))) == "float32 (2, 3)  [0, 0, 0, 0, ...]"
    assert len(describe(encode_value("x" * 10_000))) < 120
    assert len(describe(encode_value({"a": [list(range(100))] * 100}))) < 200
    assert "not read" in describe(b"\x80\x02K\x01.")
    assert "not an encoded value" in describe(b"")


def test_time_of() -> None:
    """A time is shown in UTC, or in seconds if it is outside the calendar."""
    assert time_of(1_600_000_000.0) == "2020-09-13 12:26:40"
    assert time_of(1e300) == "1e+300 s"


def test_names_are_not_markup(ts: TelescopeState) -> None:
    """Markup in names and values is shown unchanged."""
    ts["[red]key"] = "[bold]"
    assert drawn(ts)[1] == "└── [red]key  '[bold]'"


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
    assert sum(line.endswith("  1") for line in lines) == len(names)
    assert "".join(lines).count("p999") == 1
    output = io.StringIO()
    if ts.backend.store is not None:  # rich takes seconds, and draws alike on every backend
        Console(width=80, file=output).print(key_tree(summarise(ts), "all"))
        assert output.getvalue().count("\n") == len(lines)
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
