"""Reading and writing through TelescopeState, in memory."""

import datetime
import logging
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate import (
    ConnectionError,
    DecodeError,
    EncodeError,
    ImmutableKeyError,
    InvalidTimestampError,
    KeyType,
    RdbParseError,
    TelescopeState,
    TelstateError,
)
from telstate_backends import Load, MemoryBackend
from telstate_backends.store import Fields, Samples
from telstate_codec import encode_value


def test_construction() -> None:
    """Contradicting arguments are ValueErrors; `base` and a backend are shared."""
    ts = TelescopeState()
    ts["a"] = 1
    assert TelescopeState(base=ts, prefixes=("x_", "")).prefixes == ("x_", "")
    assert TelescopeState(base=ts)["a"] == 1
    assert TelescopeState(ts.backend)["a"] == 1
    assert isinstance(ts.backend, MemoryBackend)
    for arguments in ({"db": 1}, {"base": ts, "db": 1}, {"base": ts, "endpoint": "localhost"}):
        with pytest.raises(ValueError):
            TelescopeState(**arguments)
    with pytest.raises(ValueError):
        TelescopeState(ts.backend, db=1)


def test_names_are_attributes_of_the_class() -> None:
    """Clients ask `hasattr(type(ts), name)`."""
    names = (
        """SEPARATOR add backend clear delete get get_indexed get_range is_immutable join key_type
    keys load_from_file prefixes root set_indexed view wait_indexed wait_key""".split()
    )
    assert [name for name in names if not hasattr(TelescopeState, name)] == []


def test_attributes(ts: TelescopeState) -> None:
    """Attributes are keys, except private names and what the class has."""
    ts.n_chans = 4096
    assert ts.n_chans == ts["n_chans"] == 4096
    ts._private = 3
    assert ts._private == 3
    assert ts.keys() == ["n_chans"]
    with pytest.raises(AttributeError, match="'nope'"):
        ts.nope  # noqa: B018  # reading it is the test
    for name in ("view", "SEPARATOR", "prefixes"):
        with pytest.raises(AttributeError, match=name):
            setattr(ts, name, 1)
    ts["view"] = "a key all the same"
    assert ts["view"] == "a key all the same"


def test_missing(ts: TelescopeState) -> None:
    """A key that is not there is a KeyError that names it, or the default."""
    with pytest.raises(KeyError, match="'nope'"):
        ts["nope"]
    assert ts.get("nope") is None
    assert ts.get("nope", 7) == 7
    assert ts.get_indexed("nope", "x", 7) == 7
    assert ts.key_type("nope") is None
    assert "nope" not in ts
    ts.delete("nope")


@pytest.mark.parametrize("key", ["ascii", "süd", "\udcff\udc80 not UTF-8", "", b"\xff\x00bytes"])
def test_keys_of_all_sorts(ts: TelescopeState, key: str | bytes) -> None:
    """A key is text or bytes, and survives whatever bytes it has."""
    ts[key] = 1
    assert ts[key] == 1
    (name,) = ts.keys()
    assert ts[name] == 1


def test_kinds(ts: TelescopeState) -> None:
    """Each kind of key is told apart, and refuses what is for another."""
    ts["i"] = 1
    ts.add("m", 1, ts=1)
    ts.set_indexed("x", "sub", 1)
    assert [ts.key_type(key) for key in "imx"] == list(KeyType)
    with pytest.warns(FutureWarning, match="key_type"):
        assert ts.is_immutable("i")
    refused: dict[str, list[Callable[[], object]]] = {
        "i": [lambda: ts.add("i", 1), lambda: ts.set_indexed("i", 1, 1), lambda: ts.get_range("i")],
        "m": [lambda: ts.set_indexed("m", 1, 1), lambda: ts.get_indexed("m", 1)],
        "x": [lambda: ts.add("x", 1), lambda: ts.get_range("x"), lambda: ts.wait_indexed("m", 1)],
    }
    for attempts in refused.values():
        for attempt in attempts:
            with pytest.raises(ImmutableKeyError):
                attempt()
    with pytest.raises(ImmutableKeyError, match="'m'"):
        ts["m"] = 1


def test_immutable(ts: TelescopeState, caplog: pytest.LogCaptureFixture) -> None:
    """An immutable is set once; the same again is logged, another value refused with both shown."""
    ts["a"] = [1, "two"]
    with caplog.at_level(logging.INFO, "telstate"):
        ts["a"] = [1, "two"]
    assert "'a'" in caplog.text
    with pytest.raises(ImmutableKeyError, match=r"'a' from \[1, 'two'\] to \[3\]"):
        ts["a"] = [3]
    ts["text"] = "x"
    ts["text"] = b"x"
    ts.backend.execute(Load(b"broken", Fields({b"\xff\x01": b"\x81"})))
    with pytest.raises(ImmutableKeyError, match="cannot be decoded"):
        ts.set_indexed("broken", 1, 2)


def test_indexed(ts: TelescopeState) -> None:
    """A sub-key is set once; the whole key reads as a dict, of values or of bytes."""
    ts.set_indexed("x", ("a", 1), 2.5)
    ts.set_indexed("x", ("a", 1), 2.5)
    ts.set_indexed("x", b"b", None)
    assert ts["x"] == {("a", 1): 2.5, b"b": None}
    encoded = {encode_value(("a", 1)): encode_value(2.5), encode_value(b"b"): encode_value(None)}
    assert ts.get("x", return_encoded=True) == encoded
    assert ts.get_indexed("x", ("a", 1), return_encoded=True) == encode_value(2.5)
    with pytest.raises(ImmutableKeyError, match=r"'x'\[\('a', 1\)\] from 2.5 to 3"):
        ts.set_indexed("x", ("a", 1), 3)
    with pytest.raises(TypeError, match=r"\[1\].*'x'.*hashable"):
        ts.set_indexed("x", [1], 3)


def test_unhashable_sub_key(ts: TelescopeState) -> None:
    """A stored sub-key that no dict can have is an error of the data, not of the caller."""
    ts.backend.execute(Load(b"x", Fields({encode_value([1]): encode_value(1)})))
    with pytest.raises(DecodeError, match="hashable"):
        ts["x"]


@pytest.mark.parametrize("when", [-1.0, math.nan, math.inf, -math.inf])
def test_timestamps(ts: TelescopeState, when: float) -> None:
    """The time of a sample is finite and not negative."""
    with pytest.raises(InvalidTimestampError):
        ts.add("m", 1, ts=when)
    assert ts.keys() == []


def test_time_of_a_sample(ts: TelescopeState) -> None:
    """It is now unless said otherwise; any number will do, and minus zero is zero."""
    before = time.time()
    ts.add("m", 1)
    ((_, when),) = ts.get_range("m")
    assert before <= when <= time.time()
    ts.add("n", 1, ts=numpy.float32(8))
    ts.add("n", 1, ts=-0.0)
    assert str(ts.get_range("n", st=0)) == "[(1, 0.0), (1, 8.0)]"


def test_time_that_is_no_number(ts: TelescopeState) -> None:
    """A time of another type is a TypeError that says what is wanted."""
    wrong: Any = datetime.datetime(2020, 1, 1)
    with pytest.raises(TypeError, match="seconds since 1970"):
        ts.add("m", 1, ts=wrong)
    with pytest.raises(TypeError, match="seconds since 1970"):
        ts.get_range("m", st=wrong)


def test_values_that_look_alike(ts: TelescopeState) -> None:
    """Where two values differ in what is not shown, the message says so."""
    array = numpy.zeros(5000)
    ts["a"] = array
    array[2500] = 1
    with pytest.raises(ImmutableKeyError, match="look alike"):
        ts["a"] = array


def test_endpoints_that_are_none() -> None:
    """What is no endpoint is refused at once, a file with a word about load_from_file."""
    wrong: Any
    for wrong in (None, 3, ("127.0.0.1", 6379)):
        with pytest.raises(TypeError, match="endpoint"):
            TelescopeState(wrong)
    for wrong in ("observation.rdb", "/data/observation", "./x.rdb"):
        with pytest.raises(ValueError, match="load_from_file"):
            TelescopeState(wrong)


def test_codec_errors_name_the_key(ts: TelescopeState) -> None:
    """Whatever cannot be encoded or decoded, the error says which key it is about."""
    ts.backend.execute(Load(b"junk", Fields({encode_value("sub"): b"\x90"})))
    ts.backend.execute(Load(b"short", Samples([b"abc"])))
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("'junk'", lambda: ts["junk"]),
        ("'junk'", lambda: ts.get("junk")),
        (r"'junk'\['sub'\]", lambda: ts.get_indexed("junk", "sub")),
        ("'short'", lambda: ts.get_range("short", st=0)),
        ("'bad'", lambda: ts.add("bad", object())),
        ("'bad'", lambda: ts.set_indexed("bad", frozenset(), 2)),
        ("'bad'", lambda: ts.add("bad", 1, ts=-1)),
        ("'bad'", lambda: ts.add("bad", 1, ts=10**400)),
    ]
    for name, attempt in attempts:
        with pytest.raises((TelstateError, TypeError), match=name):
            attempt()


def test_unencodable(ts: TelescopeState) -> None:
    """What cannot be encoded is refused before anything is written."""
    with pytest.raises(EncodeError, match="object"):
        ts.add("m", object())
    with pytest.raises(ValueError):
        ts.add("m", 1, encoding=b"x")
    assert ts.keys() == []


TIMES = [1.0, 5.0, 7.0, 9.0]
bounds = st.one_of(st.none(), st.integers(-1, 11).map(float), st.just(math.inf))


@given(bounds, bounds, st.one_of(st.none(), st.booleans()), st.booleans())
def test_get_range(
    start: float | None, end: float | None, previous: bool | None, include_end: bool
) -> None:
    """A range is what its definition says, for every combination of arguments."""
    ts = TelescopeState()
    for when in TIMES:
        ts.add("m", when, ts=when)
    actual = ts.get_range("m", start, end, previous, include_end)
    last = math.inf if end is None else end
    first = last if start is None else start
    in_time = [when for when in TIMES if when < last or (include_end and when == last)]
    expected = [when for when in in_time if when >= first]
    if previous or (previous is None and start is None):
        expected = [when for when in TIMES if when < first][-1:] + expected
        expected = [when for when in expected if when in in_time]
    assert actual == [(when, when) for when in expected]


def test_get_range_refuses(ts: TelescopeState) -> None:
    """A missing key and a time that is none are errors."""
    ts.add("m", 1, ts=1)
    with pytest.raises(KeyError, match="'nope'"):
        ts.get_range("nope")
    for arguments in ((math.nan, None), (None, math.nan)):
        with pytest.raises(InvalidTimestampError):
            ts.get_range("m", *arguments)


def test_get_range_encoded(ts: TelescopeState) -> None:
    """On request the values come as they are stored; equal samples are stored once."""
    for value in (2, 1, 2):
        ts.add("m", value, ts=5)
    expected = [(encode_value(1), 5.0), (encode_value(2), 5.0)]
    assert ts.get_range("m", st=0, return_encoded=True) == expected
    assert ts.get("m", return_encoded=True) == encode_value(2)


def test_keys(ts: TelescopeState) -> None:
    """All full names that match a glob are listed, whatever the view."""
    for name in ("a_k", "k", "l"):
        ts[name] = 1
    assert ts.view("a", exclusive=True).keys() == ["a_k", "k", "l"]
    assert ts.keys("*k") == ["a_k", "k"]
    assert ts.keys(b"[^k]") == ["l"]


def test_completion(ts: TelescopeState) -> None:
    """Item completion offers names as the view sees them, attribute completion those that can be."""
    ts["a_k"] = 1
    ts["1_x"] = 1
    assert ts.view("a")._ipython_key_completions_() == ["1_x", "a_k", "k"]
    offered = dir(ts.view("a"))
    assert "k" in offered and "get_range" in offered and "1_x" not in offered


def test_delete_and_clear(ts: TelescopeState) -> None:
    """What is deleted is gone in every prefix, what is cleared everywhere."""
    ts["k"] = ts["a_k"] = ts["l"] = 1
    ts.view("a").delete("k")
    assert ts.keys() == ["l"]
    ts.view("a").clear()
    assert ts.keys() == []


def test_not_iterable(ts: TelescopeState) -> None:
    """Iteration is refused: `keys` says that it lists every namespace, iteration would not."""
    with pytest.raises(TypeError, match="not iterable"):
        iter(ts)  # type: ignore[call-overload]  # that it is refused is the test


def test_wrong_type_of_key(ts: TelescopeState) -> None:
    """A key that is neither text nor bytes is a TypeError."""
    key: Any
    for key in (None, 3, bytearray(b"a")):
        with pytest.raises(TypeError, match="str or bytes"):
            ts.get(key)
        with pytest.raises(TypeError, match="str or bytes"):
            ts.view(key)


def test_repr(ts: TelescopeState) -> None:
    """The repr names the class, the backend and the prefixes."""
    assert repr(ts.view("a")) == f"<TelescopeState on {ts.backend!r}, prefixes ('a_', '')>"
    assert repr(ts).endswith("prefixes ('',)>")


def test_errors_are_of_one_family() -> None:
    """An error of a lower package is the same class here, and a TelstateError."""
    import telstate_backends
    import telstate_codec
    import telstate_rdb

    assert RdbParseError is telstate_rdb.RdbParseError
    assert DecodeError is telstate_codec.DecodeError
    assert ConnectionError is telstate_backends.ConnectionError
    assert issubclass(DecodeError, ValueError) and issubclass(EncodeError, ValueError)
    for error in (RdbParseError, DecodeError, ConnectionError, ImmutableKeyError):
        assert issubclass(error, TelstateError) and issubclass(error, RuntimeError)


def test_import_is_light() -> None:
    """Importing telstate and using it in memory loads nothing that plain values do not need."""
    code = """
import sys, telstate
ts = telstate.TelescopeState()
ts['a'] = {'b': (1, 2.5)}
assert ts['a'] == {'b': (1, 2.5)}
heavy = {'numpy', 'redis', 'rdbtools', 'matplotlib', 'pandas', 'rich', 'click', 'asyncio'}
print(sorted(heavy & set(sys.modules)))
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"
