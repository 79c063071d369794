"""Reading a telescope state, as the API page describes it, on every backend, synchronous and asyncio."""

import datetime
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_subjects import Subject, memory

from telstate import (
    DecodeError,
    ImmutableKeyError,
    InvalidTimestampError,
    KeyType,
    TelescopeState,
    TelstateError,
)
from telstate_backends import Load
from telstate_backends.samples import Samples
from telstate_backends.store import Fields
from telstate_codec import encode_value

KEYS = ["ascii", "süd", "\udcff\udc80 not UTF-8", "", b"\xff\x00bytes", "new\nline", "\x1b[31mred"]


async def fill(subject: Subject) -> None:
    """Write a key of each kind: ``i``, ``m`` (with a late sample) and ``x``."""
    await subject.set("i", [1, "two"])
    for value, when in ((1.5, 100.0), (2.0, 110.0), (1.75, 105.0)):
        await subject.add("m", value, ts=when)
    await subject.set_indexed("x", ("a", 1), 2.5)
    await subject.set_indexed("x", b"b", None)


async def test_get(subject: Subject) -> None:
    """`get` returns an immutable's value, a sensor's latest value, or an indexed key's dict."""
    await fill(subject)
    expected = {"i": [1, "two"], "m": 2.0, "x": {("a", 1): 2.5, b"b": None}}
    assert {key: await subject.get(key) for key in "imx"} == expected
    assert {key: await subject.item(key) for key in "imx"} == expected
    assert type(await subject.get("x")) is dict


async def test_get_encoded(subject: Subject) -> None:
    """With `return_encoded`, `get` returns the stored bytes, for an indexed key a dict of bytes."""
    await fill(subject)
    items = {encode_value(("a", 1)): encode_value(2.5), encode_value(b"b"): encode_value(None)}
    assert await subject.get("i", None, True) == encode_value([1, "two"])
    assert await subject.get("m", return_encoded=True) == encode_value(2.0)
    assert await subject.get("x", return_encoded=True) == items
    assert await subject.get("nope", "default", True) == "default"


async def test_missing(subject: Subject) -> None:
    """A missing key raises a KeyError with its name, or gives the default."""
    with pytest.raises(KeyError, match="'nope'"):
        await subject.item("nope")
    assert await subject.get("nope") is None
    assert await subject.get("nope", 7) == 7
    assert await subject.get_indexed("nope", "x") is None
    assert await subject.get_indexed("nope", "x", 7) == 7
    assert await subject.key_type("nope") is None
    assert not await subject.exists("nope")


async def test_get_indexed(subject: Subject) -> None:
    """`get_indexed` returns the value of a sub-key, decoded or as stored, or the default."""
    await fill(subject)
    assert await subject.get_indexed("x", ("a", 1)) == 2.5
    assert await subject.get_indexed("x", b"b", "default") is None
    assert await subject.get_indexed("x", "no such sub-key", 3) == 3
    assert await subject.get_indexed("x", ("a", 1), None, True) == encode_value(2.5)
    assert await subject.get_indexed("x", ("a", 1), return_encoded=True) == encode_value(2.5)
    for key in "im":
        with pytest.raises(ImmutableKeyError, match=f"'{key}'"):
            await subject.get_indexed(key, 1)


async def test_kinds(subject: Subject) -> None:
    """`key_type` returns the kind of a key; `is_immutable` still works, with a warning."""
    await fill(subject)
    assert [await subject.key_type(key) for key in "imx"] == list(KeyType)
    for key in "imx?":
        with pytest.warns(FutureWarning, match="key_type") as caught:
            assert await subject.is_immutable(key) is (key == "i")
        assert Path(__file__).parents[1] in Path(caught[0].filename).parents
    assert [await subject.exists(key) for key in "imx?"] == [True, True, True, False]


@pytest.mark.parametrize("key", KEYS)
async def test_any_keys(subject: Subject, key: str | bytes) -> None:
    """Keys of any text or bytes are stored and listed unchanged."""
    await subject.set(key, 1)
    assert await subject.item(key) == 1
    (name,) = await subject.keys()
    assert type(name) is str
    assert await subject.item(name) == 1
    if isinstance(key, str):
        assert name == key
        assert await subject.item(key.encode("utf-8", "surrogateescape")) == 1
    await subject.delete(name)
    assert await subject.keys() == []


async def test_keys(subject: Subject) -> None:
    """`keys` lists all full names that match a glob, sorted, in any view."""
    for name in ("k", "l", "a_k"):
        await subject.set(name, 1)
    assert await subject.view("a", exclusive=True).keys() == ["a_k", "k", "l"]
    assert await subject.keys("*k") == await subject.keys(filter="*k") == ["a_k", "k"]
    assert await subject.keys(b"[^k]") == ["l"]


GLOBS = {
    "*": ["", "*", "a", "abc", "b[c", "x\ny", "xyz"],
    "?": ["*", "a"],
    "a*": ["a", "abc"],
    "[a-c]*": ["a", "abc", "b[c"],
    "[^x]*": ["*", "a", "abc", "b[c"],
    "x?[zy]": ["x\ny", "xyz"],
    "\\*": ["*"],
    "b[c": [],
    "b\\[c": ["b[c"],
    "ab[c": ["abc"],
    "": [""],
    "no": [],
}


async def test_globs(subject: Subject) -> None:
    """A glob matches the same keys on every backend as on a Redis server."""
    for name in GLOBS["*"]:
        await subject.set(name, 1)
    assert {glob: await subject.keys(glob) for glob in GLOBS} == GLOBS


async def test_get_range(subject: Subject) -> None:
    """A range includes its start and, on request, its end; without arguments it is the latest sample."""
    await fill(subject)
    everything = [(1.5, 100.0), (1.75, 105.0), (2.0, 110.0)]
    cases: list[tuple[tuple[object, ...], list[tuple[float, float]]]] = [
        ((), everything[2:]),
        ((0,), everything),
        ((-5.0,), everything),
        ((-math.inf,), everything),
        ((100, 110), everything[:2]),
        ((100, 110, None, True), everything),
        ((101, 110), everything[1:2]),
        ((101, 110, True), everything[:2]),
        ((101, 110, True, True), everything),
        ((None, 107), everything[1:2]),
        ((None, 105), everything[:1]),
        ((None, 105, True, True), everything[:2]),
        ((None, 105, False), []),
        ((None, 105, False, True), everything[1:2]),
        ((None, 100), []),
        ((106, 106), []),
        ((106, 106, True), everything[1:2]),
        ((105, 105, False, True), everything[1:2]),
        ((108, 103), []),
        ((111,), []),
        ((111, None, True), everything[2:]),
        ((0, math.inf), everything),
    ]
    for arguments, expected in cases:
        assert await subject.get_range("m", *arguments) == expected, arguments
    named = {"st": 101, "et": 110, "include_previous": True, "include_end": True}
    assert await subject.get_range("m", **named) == everything


async def test_get_range_encoded(subject: Subject) -> None:
    """With `return_encoded`, a range has the stored bytes; equal samples are stored once."""
    for value in (2, 1, 2):
        await subject.add("m", value, ts=5)
    expected = [(encode_value(1), 5.0), (encode_value(2), 5.0)]
    assert await subject.get_range("m", st=0, return_encoded=True) == expected
    assert await subject.get_range("m", 0, None, None, False, True) == expected
    assert await subject.get("m", return_encoded=True) == encode_value(2)


async def test_get_range_refuses(subject: Subject) -> None:
    """A range of a missing key, of another kind of key, or with NaN as a bound is refused."""
    await fill(subject)
    with pytest.raises(KeyError, match="'nope'"):
        await subject.get_range("nope")
    for key in "ix":
        with pytest.raises(ImmutableKeyError, match=f"'{key}'"):
            await subject.get_range(key)
    for arguments in ((math.nan, None), (None, math.nan), (numpy.float32("nan"), 3)):
        with pytest.raises(InvalidTimestampError, match="'m'"):
            await subject.get_range("m", *arguments)
    with pytest.raises(TypeError, match="'m'.*no time zone"):
        await subject.get_range("m", st=datetime.datetime(2020, 1, 1))


async def test_views(subject: Subject) -> None:
    """Reads try each prefix in turn; a key under an earlier prefix hides those under later ones."""
    view = subject.view("a").view("b")
    await subject.set("k", "root")
    assert await view.item("k") == await view.get("k") == "root"
    await subject.set_indexed("a_k", 1, "a")
    assert await view.item("k") == {1: "a"}
    assert await view.get_indexed("k", 2, "no such sub-key") == "no such sub-key"
    await subject.add("k2", 1, ts=1)
    await subject.set_indexed("a_k2", 1, "a")
    with pytest.raises(ImmutableKeyError, match="'a_k2'"):
        await view.get_range("k2")
    assert await view.key_type("k2") is KeyType.INDEXED
    await view.set("k", "b")
    assert await subject.item("b_k") == await view.item("k") == "b"
    assert await view.root().item("k") == "root"
    assert view.root().prefixes == ("",) and view.prefixes == ("b_", "a_", "")
    assert type(view.state) is type(subject.state)
    assert view.backend is subject.backend


@pytest.mark.parametrize(
    ("arguments", "prefixes"),
    [
        (("x",), ("x_", "")),
        (("x_",), ("x_", "")),
        (("x", False), ("x", "")),
        (("",), ("", "")),
        ((b"x",), ("x_", "")),
        (("x", True, True), ("x_",)),
        (("x", False, True), ("x",)),
    ],
)
async def test_prefixes(
    asynchronous: bool, arguments: tuple[str, bool, bool], prefixes: tuple[str, ...]
) -> None:
    """A view puts its prefix first, or alone if exclusive, and appends the separator once, if wanted."""
    assert memory(asynchronous).view(*arguments).prefixes == prefixes


async def test_values_that_cannot_be_decoded(subject: Subject) -> None:
    """A value that cannot be decoded raises a DecodeError with the key."""
    await subject.execute(Load(b"junk", Fields({encode_value("sub"): b"\x90"})))
    await subject.execute(Load(b"short", Samples([b"abc"])))
    await subject.execute(Load(b"list", Fields({encode_value([1]): encode_value(1)})))
    attempts: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("'junk'", lambda: subject.item("junk")),
        ("'junk'", lambda: subject.get("junk")),
        (r"'junk'\['sub'\]", lambda: subject.get_indexed("junk", "sub")),
        ("'short'", lambda: subject.get_range("short", st=0)),
        ("'list'.*hashable", lambda: subject.item("list")),
    ]
    for name, attempt in attempts:
        with pytest.raises(DecodeError, match=name):
            await attempt()
    assert await subject.get("junk", return_encoded=True) == {encode_value("sub"): b"\x90"}


async def test_wrong_types(subject: Subject) -> None:
    """A key that is neither text nor bytes raises a TypeError in every method."""
    key: Any
    for key in (None, 3, bytearray(b"a")):
        for attempt in (subject.get, subject.exists, subject.item, subject.keys, subject.key_type):
            with pytest.raises(TypeError, match="str or bytes"):
                await attempt(key)
        with pytest.raises(TypeError, match="str or bytes"):
            subject.view(key)
    with pytest.raises(TelstateError):
        await subject.get_indexed("x", object())


TIMES = [1.0, 5.0, 7.0, 9.0]
bounds = st.one_of(st.none(), st.integers(-1, 11).map(float), st.just(math.inf))


@given(bounds, bounds, st.one_of(st.none(), st.booleans()), st.booleans())
def test_any_range(
    start: float | None, end: float | None, previous: bool | None, include_end: bool
) -> None:
    """A range has the samples of its definition, for any combination of arguments."""
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


async def test_time_of_a_sample(subject: Subject) -> None:
    """The time of a sample defaults to now, may be any real number, and minus zero is zero."""
    before = time.time()
    await subject.add("m", 1)
    ((_, when),) = await subject.get_range("m")
    assert before <= when <= time.time()
    await subject.add("n", 1, numpy.float32(8))
    await subject.add("n", 1, ts=-0.0)
    assert str(await subject.get_range("n", st=0)) == "[(1, 0.0), (1, 8.0)]"
