"""Writing to a telescope state, as the API page describes it, on every backend, synchronous and asyncio."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_subjects import LONG, Subject, SyncSubject

from telstate import (
    ENCODING_MSGPACK,
    ENCODING_PICKLE,
    DecodeError,
    EncodeError,
    ImmutableKeyError,
    InvalidTimestampError,
    decode_value,
)
from telstate_backends import Immutable, Load
from telstate_backends.store import Fields


async def test_wrong_kind(subject: Subject) -> None:
    """Writing to a key of another kind raises an error with the key."""
    await subject.set("i", 1)
    await subject.add("m", 1, ts=1)
    await subject.set_indexed("x", "sub", 1)
    attempts: dict[str, list[Callable[[], Awaitable[object]]]] = {
        "i": [lambda: subject.add("i", 1), lambda: subject.set_indexed("i", 1, 1)],
        "m": [
            lambda: subject.set("m", 1),
            lambda: subject.add("m", 1, immutable=True),
            lambda: subject.set_indexed("m", 1, 1),
        ],
        "x": [lambda: subject.add("x", 1), lambda: subject.set("x", 1)],
    }
    for key, some in attempts.items():
        for attempt in some:
            with pytest.raises(ImmutableKeyError, match=f"'{key}'"):
                await attempt()
    values = [await subject.item("i"), await subject.get_range("m", 0), await subject.item("x")]
    assert values == [1, [(1, 1.0)], {"sub": 1}]


async def test_immutable(subject: Subject, caplog: pytest.LogCaptureFixture) -> None:
    """An immutable is set once; an equal value is logged at INFO, another is refused and both are shown."""
    await subject.add("a", [1, "two"], immutable=True)
    for again in (subject.set("a", [1, "two"]), subject.add("a", [1, "two"], None, True)):
        caplog.clear()
        with caplog.at_level(logging.INFO, "telstate"):
            await again
        ((name, level, text),) = caplog.record_tuples
        assert (name, level) == ("telstate", logging.INFO)
        assert "'a'" in text
    for other in (subject.set("a", [3]), subject.add("a", [3], immutable=True)):
        with pytest.raises(ImmutableKeyError, match=r"'a' from \[1, 'two'\] to \[3\]"):
            await other
    assert await subject.item("a") == [1, "two"]


async def test_equal_values(subject: Subject) -> None:
    """Text equals its UTF-8 bytes in any encoding; a tuple differs from a list, and 1 from 1.0."""
    await subject.set("text", "süd")
    await subject.set("text", "süd".encode())
    await subject.add("text", "süd", immutable=True, encoding=ENCODING_MSGPACK)
    await subject.set("pair", (1, 2))
    await subject.set("one", 1)
    for key, value in {"pair": [1, 2], "one": 1.0}.items():
        with pytest.raises(ImmutableKeyError):
            await subject.set(key, value)


async def test_arrays_that_differ(subject: Subject) -> None:
    """Setting an array to a different one raises an error of one line with dtypes and shapes."""
    old = numpy.arange(60.0).reshape(3, 20)
    old[0, 0] = numpy.nan
    new = old.copy()
    new[1, 2:4] = 0.0
    await subject.set("weights", old)
    await subject.set("weights", old)
    start = "^Attempt to change value of immutable key 'weights' from "
    alike = r"<float64 array of shape \(3, 20\)>"
    note = r" \(they differ in type, order or a part that is not shown\)$"
    with pytest.raises(ImmutableKeyError, match=f"{start}{alike} to {alike}{note}"):
        await subject.set("weights", new)
    for other, text in (
        (new[:2], r"<float64 array of shape \(2, 20\)>"),
        (numpy.array([1, 2]), r"array\(\[1, 2\]\)"),
        (17, "17"),
        ({"a": [new]}, rf"\{{'a': \[{alike}\]\}}"),
    ):
        with pytest.raises(ImmutableKeyError, match=f"{start}{alike} to {text}$"):
            await subject.set("weights", other)
    await subject.set("small", numpy.float32(0.0) * numpy.ones(()))
    with pytest.raises(ImmutableKeyError, match="small"):
        await subject.set("small", numpy.zeros((2, 2)))


async def test_values_that_look_alike(subject: Subject) -> None:
    """If two values differ only in a part that is not shown, the message says so."""
    values = [0] * 50
    await subject.set("a", values)
    values[25] = 1
    with pytest.raises(ImmutableKeyError, match="not shown"):
        await subject.set("a", values)
    await subject.set("b", numpy.zeros(50))
    with pytest.raises(ImmutableKeyError, match="float64 array.*float32 array of shape .50,.>$"):
        await subject.set("b", numpy.zeros(50, "f4"))


async def test_stored_value_that_cannot_be_decoded(subject: Subject) -> None:
    """If the stored value cannot be decoded, refusing another one says so."""
    await subject.execute(Load(b"broken", Immutable(b"\x90")))
    await subject.execute(Load(b"pickle", Immutable(b"\x80\x02K\x01.")))
    await subject.execute(Load(b"fields", Fields({b"\xff\x01": b"\x81"})))
    for attempt in (
        subject.set("broken", 1),
        subject.set("pickle", 1),
        subject.set_indexed("fields", 1, 2),
    ):
        with pytest.raises(ImmutableKeyError, match="to [12].*failed to decode the previous value"):
            await attempt
    # Equal bytes are equal, even if they cannot be decoded.
    await subject.add("old", 1, immutable=True, encoding=ENCODING_PICKLE)
    await subject.add("old", 1, immutable=True, encoding=ENCODING_PICKLE)


async def test_set_indexed(subject: Subject) -> None:
    """A sub-key is set once; an equal value is accepted, another is refused and both are shown."""
    await subject.set_indexed("x", ("a", 1), 2.5)
    await subject.set_indexed("x", ("a", 1), 2.5)
    with pytest.raises(ImmutableKeyError, match=r"'x'\[\('a', 1\)\] from 2.5 to 3"):
        await subject.set_indexed("x", ("a", 1), 3)
    with pytest.raises(TypeError, match=r"\[1\].*'x'.*hashable"):
        await subject.set_indexed("x", [1], 3)
    assert await subject.item("x") == {("a", 1): 2.5}


async def test_encoding(subject: Subject) -> None:
    """A value is written in the requested encoding; an unknown encoding is refused."""
    await subject.add("i", 1, immutable=True, encoding=ENCODING_PICKLE)
    await subject.add("m", 1, None, False, ENCODING_PICKLE)
    await subject.set_indexed("x", "sub", 1, ENCODING_PICKLE)
    stored = [await subject.get(key, return_encoded=True) for key in "im"]
    stored += (await subject.get("x", return_encoded=True)).values()
    for value in stored:
        assert value.startswith(b"\x80")
        assert decode_value(value, allow_pickle=True) == 1
    with pytest.raises(DecodeError, match="'m'"):
        await subject.get("m")
    with pytest.raises(ValueError):
        await subject.add("n", 1, encoding=b"x")
    assert await subject.keys() == ["i", "m", "x"]


@pytest.mark.parametrize("when", [-1.0, math.nan, math.inf, -math.inf, 10**400])
async def test_times_that_are_refused(subject: Subject, when: float) -> None:
    """A time that is not finite or is negative raises an error with the key."""
    with pytest.raises(InvalidTimestampError, match="'m'"):
        await subject.add("m", 1, ts=when)
    assert await subject.keys() == []


async def test_unencodable(subject: Subject) -> None:
    """A value that cannot be encoded raises an error with the key, and nothing is written."""
    for attempt in (
        subject.add("bad", object()),
        subject.set("bad", 2**64),
        subject.set_indexed("bad", "sub", {1, 2}),
        subject.set_indexed("bad", frozenset(), 2),
    ):
        with pytest.raises(EncodeError, match="'bad'"):
            await attempt
    assert await subject.keys() == []


async def test_delete_and_clear(subject: Subject) -> None:
    """`delete` removes a key under every prefix of the view, `clear` all keys of the store."""
    for name in ("k", "a_k", "b_k", "l"):
        await subject.set(name, 1)
    await subject.view("a").delete("k")
    await subject.delete("nope")
    assert await subject.keys() == ["b_k", "l"]
    await subject.view("a", exclusive=True).clear()
    assert await subject.keys() == []


async def test_writes_use_the_first_prefix(subject: Subject) -> None:
    """Every write goes to the first prefix, even if the key exists under a later one."""
    view = subject.view("a").view("b")
    for key in ("i", "m", "x"):
        await subject.set(key, "root")
    await view.set("i", 1)
    await view.add("m", 1)
    await view.set_indexed("x", 1, 1)
    assert await subject.keys("b_*") == ["b_i", "b_m", "b_x"]


async def test_view_without_prefixes(asynchronous: bool) -> None:
    """A view without prefixes finds no keys, and writing to it raises an error that says why."""
    from telstate import TelescopeState, aio

    made = TelescopeState(prefixes=()), aio.TelescopeState(prefixes=())
    subject = Subject(made[1]) if asynchronous else SyncSubject(made[0])
    assert not await subject.exists("k")
    with pytest.raises(ValueError, match="without prefixes"):
        await subject.set("k", 1)


async def test_exactly_one_wins(subject: Subject) -> None:
    """If clients set an immutable to different values at once, one succeeds and the others get an error."""

    async def attempt(value: int) -> int | None:
        try:
            if isinstance(subject, SyncSubject):
                await asyncio.to_thread(subject.state.__setitem__, "k", value)
            else:
                await subject.set("k", value)
        except ImmutableKeyError as error:
            assert f"from {await subject.item('k')} to {value}" in str(error)
            return None
        return value

    async with asyncio.timeout(LONG):
        outcomes = await asyncio.gather(*map(attempt, range(8)))
    assert [value for value in outcomes if value is not None] == [await subject.item("k")]


integers = st.integers(-(2**63), 2**64 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4)
    | st.tuples(inner, inner)
    | st.dictionaries(st.text() | integers, inner, max_size=4),
    max_leaves=8,
)


@settings(
    max_examples=20,
    deadline=None,
    # The subject is emptied at the beginning of each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values, st.text(), st.floats(0, 1e300))
async def test_what_is_written_is_read(
    subject: Subject, value: object, key: str, when: float
) -> None:
    """For any value, key and time, reading returns what was written, for each kind of key."""
    await subject.clear()
    await subject.set(key, value)
    await subject.add(key + "m", value, when)
    await subject.set_indexed(key + "x", key, value)
    read = [await subject.item(key), await subject.get_range(key + "m", 0)]
    assert repr(read) == repr([value, [(value, when)]])
    assert repr(await subject.item(key + "x")) == repr({key: value})
