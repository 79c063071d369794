"""The behaviour of every backend, synchronous and asyncio."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from subjects import Subject

from telstate_backends import (
    AddSample,
    AddSamples,
    CancelledError,
    CheckDue,
    Clear,
    Count,
    Delete,
    Exists,
    Export,
    Fields,
    Find,
    Found,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    ImmutableKeyError,
    Indexed,
    IndexedWait,
    KeyPreview,
    Keys,
    KeyType,
    KeyTypes,
    KeyWait,
    Load,
    MemoryBackend,
    Mutable,
    Operation,
    Peek,
    RefusedError,
    Samples,
    ServerVersion,
    SetImmutable,
    SetIndexed,
    SomeKeys,
    Update,
)
from telstate_backends.operations import inspect
from telstate_codec import DecodeError
from telstate_codec.timestamps import encode_sample

BEGIN, END = bytes(8), b"\xff" * 8


def at(timestamp: float, value: bytes = b"v") -> bytes:
    """Encode a sample."""
    return encode_sample(timestamp, value)


async def fill(subject: Subject) -> None:
    """Write a key of each kind, and one that hides another."""
    results = await subject.execute_many(
        [
            SetImmutable(b"fixed", b"one"),
            AddSample(b"sensor", at(1.0)),
            SetIndexed(b"table", b"row", b"cell"),
            SetImmutable(b"a_table", b"shadow"),
        ]
    )
    assert results == [None, None, None, None]


async def test_an_empty_store(subject: Subject) -> None:
    """In an empty store, no operation finds a key."""
    keys = (b"a_x", b"x")
    assert await subject.execute(Exists(keys)) is False
    assert await subject.execute(GetKeyType(keys)) is None
    assert await subject.execute(Get(keys)) is None
    assert await subject.execute(Find(keys)) is None
    assert await subject.execute(GetIndexed(keys, b"s")) is None
    assert await subject.execute(GetRange(keys, BEGIN, END)) is None
    assert await subject.execute(Export(b"x")) is None
    assert await subject.execute(Keys()) == []
    assert await subject.execute(KeyTypes()) == {}
    assert await subject.execute(Delete(keys)) == 0


async def test_an_immutable_key_is_set_once(subject: Subject) -> None:
    """The first value is kept, and every later setter returns it."""
    assert await subject.execute(SetImmutable(b"k", b"\xff\x01")) is None
    assert await subject.execute(SetImmutable(b"k", b"\xff\x02")) == b"\xff\x01"
    assert await subject.execute(SetImmutable(b"k", b"\xff\x01")) == b"\xff\x01"
    assert await subject.execute(Get((b"k",))) == Immutable(b"\xff\x01")
    assert await subject.execute(GetKeyType((b"k",))) is KeyType.IMMUTABLE


async def test_an_empty_value_is_a_value(subject: Subject) -> None:
    """Empty bytes can be a value, the value of a sample, and a sub-key."""
    await subject.execute(SetImmutable(b"k", b""))
    await subject.execute(AddSample(b"s", at(1.0, b"")))
    await subject.execute(SetIndexed(b"i", b"", b""))
    assert await subject.execute(SetImmutable(b"k", b"x")) == b""
    assert await subject.execute(Get((b"k",))) == Immutable(b"")
    assert await subject.execute(Get((b"s",))) == Mutable(b"", 1.0)
    assert await subject.execute(GetIndexed((b"i",), b"")) == b""
    assert await subject.execute(SetIndexed(b"i", b"", b"x")) == b""


async def test_samples_are_sorted_without_duplicates(subject: Subject) -> None:
    """Late samples are inserted, equal ones have no effect, and Get returns the latest sample."""
    for sample in (at(3.0), at(1.0), at(2.0, b"b"), at(2.0, b"a"), at(1.0)):
        await subject.execute(AddSample(b"s", sample))
    assert await subject.execute(GetRange((b"s",), BEGIN, END)) == [
        at(1.0),
        at(2.0, b"a"),
        at(2.0, b"b"),
        at(3.0),
    ]
    assert await subject.execute(Get((b"s",))) == Mutable(b"v", 3.0)
    assert await subject.execute(GetKeyType((b"s",))) is KeyType.MUTABLE


async def test_adding_many_samples(subject: Subject) -> None:
    """Adding samples together has the same effect and updates as adding one by one."""
    # Nothing is written before it is watched: in a cluster, an earlier update may arrive late.
    async with subject.watch(b"many") as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(AddSample(b"many", at(2.0)))
        await subject.execute(AddSamples(b"many", (at(3.0), at(1.0), at(2.0), at(3.0))))
        assert [await watcher.next() for _ in range(3)] == [
            Update(b"many", KeyType.MUTABLE, b"v", timestamp=time) for time in (2.0, 3.0, 1.0)
        ]
    await subject.execute(AddSamples(b"none", ()))
    assert await subject.execute(Keys()) == [b"many"]
    assert await subject.execute(Export(b"many")) == [at(1.0), at(2.0), at(3.0)]


@pytest.mark.parametrize(
    "start, end, previous, expected",
    [
        (BEGIN, END, False, [1.0, 2.0, 3.0]),
        (at(2.0, b""), END, False, [2.0, 3.0]),
        (at(1.0, b""), at(3.0, b""), False, [1.0, 2.0]),
        (at(2.0, b""), at(3.0, b""), True, [1.0, 2.0]),
        (END, END, True, [3.0]),
        (END, END, False, []),
        (at(2.0, b""), at(2.0, b""), True, [1.0]),
        (at(3.0, b""), at(1.0, b""), True, []),
        (at(3.0, b""), at(1.0, b""), False, []),
        (BEGIN, END, True, [1.0, 2.0, 3.0]),
        (BEGIN, BEGIN, True, []),
    ],
)
async def test_ranges(
    subject: Subject, start: bytes, end: bytes, previous: bool, expected: list[float]
) -> None:
    """A range contains its start but not its end, and on request the last sample before both."""
    await subject.execute_many([AddSample(b"s", at(time)) for time in (1.0, 2.0, 3.0)])
    found = await subject.execute(GetRange((b"none", b"s"), start, end, previous))
    assert found == [at(time) for time in expected]


async def test_a_sub_key_is_set_once(subject: Subject) -> None:
    """Each sub-key keeps its first value, and sub-keys keep their order."""
    assert await subject.execute(SetIndexed(b"i", b"b", b"1")) is None
    assert await subject.execute(SetIndexed(b"i", b"a", b"2")) is None
    assert await subject.execute(SetIndexed(b"i", b"b", b"3")) == b"1"
    assert await subject.execute(Get((b"i",))) == Indexed({b"b": b"1", b"a": b"2"})
    assert await subject.execute(GetIndexed((b"i",), b"a")) == b"2"
    assert await subject.execute(GetIndexed((b"i",), b"c")) is None


async def test_an_earlier_key_hides_later_ones(subject: Subject) -> None:
    """Only the first candidate that exists counts, even if a later one has the requested sub-key."""
    await fill(subject)
    await subject.execute(SetIndexed(b"b_table", b"other", b"x"))
    assert await subject.execute(Get((b"no", b"a_table", b"table"))) == Immutable(b"shadow")
    assert await subject.execute(Find((b"no", b"a_table", b"table"))) == Found(
        b"a_table", b"string", Immutable(b"shadow")
    )
    assert await subject.execute(GetIndexed((b"b_table", b"table"), b"row")) is None
    with pytest.raises(ImmutableKeyError, match="'a_table'"):
        await subject.execute(GetIndexed((b"a_table", b"table"), b"row"))


@pytest.mark.parametrize(
    "operation",
    [
        SetImmutable(b"sensor", b"x"),
        SetImmutable(b"table", b"x"),
        AddSample(b"fixed", at(1.0)),
        AddSample(b"table", at(1.0)),
        AddSamples(b"table", (at(1.0), at(2.0))),
        SetIndexed(b"fixed", b"s", b"x"),
        SetIndexed(b"sensor", b"s", b"x"),
        GetIndexed((b"none", b"fixed"), b"s"),
        GetIndexed((b"none", b"sensor"), b"s"),
        GetRange((b"none", b"fixed"), BEGIN, END),
        GetRange((b"none", b"table"), BEGIN, END),
        Load(b"table", Samples([at(1.0)]), replace=False),
    ],
)
async def test_a_key_of_the_wrong_kind(subject: Subject, operation: Operation[object]) -> None:
    """An operation on a key of another kind changes nothing, and its error names the key."""
    await fill(subject)
    before = [await subject.execute(Export(key)) for key in (b"fixed", b"sensor", b"table")]
    with pytest.raises(ImmutableKeyError, match="'(fixed|sensor|table)' is"):
        await subject.execute(operation)
    after = [await subject.execute(Export(key)) for key in (b"fixed", b"sensor", b"table")]
    assert after == before


async def test_delete_in_every_prefix(subject: Subject) -> None:
    """Delete deletes all of its keys and counts those that existed."""
    await fill(subject)
    assert await subject.execute(Delete((b"a_table", b"none", b"table"))) == 2
    assert await subject.execute(Keys()) == [b"fixed", b"sensor"]


async def test_clear(subject: Subject) -> None:
    """Clear deletes all keys, and new ones can be of other kinds."""
    await fill(subject)
    await subject.execute(Clear())
    assert await subject.execute(Keys()) == []
    assert await subject.execute(SetImmutable(b"sensor", b"x")) is None


async def test_listing_keys(subject: Subject) -> None:
    """Keys returns full names in every namespace, sorted as bytes; KeyTypes also their kinds."""
    await fill(subject)
    await subject.execute(SetImmutable(b"\xe9\x00[", b"x"))
    assert await subject.execute(Keys()) == [
        b"a_table",
        b"fixed",
        b"sensor",
        b"table",
        b"\xe9\x00[",
    ]
    assert await subject.execute(Keys(b"*t[a-c]b*")) == [b"a_table", b"table"]
    assert await subject.execute(KeyTypes(b"[^f]*e*")) == {
        b"a_table": KeyType.IMMUTABLE,
        b"sensor": KeyType.MUTABLE,
        b"table": KeyType.INDEXED,
    }


async def test_listing_many_keys(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing of more keys than fit on a page is complete and has no duplicates."""
    monkeypatch.setattr(inspect, "KEYS_PER_PAGE", 500)
    names = sorted(b"key%d" % number for number in range(5000))
    await subject.execute_many([SetImmutable(name, b"x") for name in names])
    assert await subject.execute(Keys()) == names
    kinds = await subject.execute(KeyTypes(b"key1*"))
    assert list(kinds) == [name for name in names if name.startswith(b"key1")]


async def test_counting_keys(subject: Subject) -> None:
    """Every key is counted, and SomeKeys returns all keys if there are few."""
    assert await subject.execute(Count()) == 0
    assert await subject.execute(SomeKeys()) == []
    await fill(subject)
    assert await subject.execute_many([Count(), SomeKeys()]) == [
        4,
        [b"a_table", b"fixed", b"sensor", b"table"],
    ]
    names = [b"key%d" % number for number in range(3000)]
    await subject.execute_many([SetImmutable(name, b"x") for name in names])
    assert await subject.execute(Count()) == 3004
    some = await subject.execute(SomeKeys(100))
    assert 100 <= len(some) < 1000 and set(some) <= {*names, *await subject.execute(Keys())}
    assert some == sorted(set(some))


async def test_server_version(subject: Subject, request: pytest.FixtureRequest) -> None:
    """A server says its name and version, unless it does not know the command; memory has none."""
    kind: str = request.node.callspec.params["subject"]
    if "fake" in kind:
        with pytest.raises(RefusedError):
            await subject.execute(ServerVersion())
        return
    version = await subject.execute(ServerVersion())
    assert re.fullmatch(r"(Redis|Valkey) \d+\.\d+\.\d+|None", str(version))
    assert (version is None) == ("memory" in kind)


async def test_peek(subject: Subject) -> None:
    """Peek returns kind, counts, sizes and times, and only the requested part of the value."""
    await fill(subject)
    await subject.execute(AddSample(b"sensor", at(2.0, b"abcdef")))
    await subject.execute(SetIndexed(b"table", b"second", b"cell"))
    assert await subject.execute_many(
        [Peek(key, 3) for key in (b"fixed", b"sensor", b"table", b"none")]
    ) == [
        KeyPreview(KeyType.IMMUTABLE, 1, 3, b"one"),
        KeyPreview(KeyType.MUTABLE, 2, 6, b"abc", b"", at(1.0, b""), at(2.0, b"")),
        KeyPreview(KeyType.INDEXED, 2, 4, b"cel", b"row"),
        None,
    ]


async def test_peek_at_long_values(subject: Subject) -> None:
    """Peek returns only the beginning of a long value, and only the size of a long sample or sub-key."""
    long = bytes(9 << 20)
    await subject.execute(SetImmutable(b"fixed", long))
    await subject.execute(AddSample(b"sensor", at(1.0, long)))
    await subject.execute(SetIndexed(b"table", b"row", long))
    fixed, sensor, table = await subject.execute_many(
        [Peek(key) for key in (b"fixed", b"sensor", b"table")]
    )
    assert fixed == KeyPreview(KeyType.IMMUTABLE, 1, len(long), long[:4096])
    assert table == KeyPreview(KeyType.INDEXED, 1, len(long), b"", b"row")
    # A server estimates the size of a long sample.
    assert sensor == KeyPreview(KeyType.MUTABLE, 1, sensor.size, b"")
    assert 0.9 * len(long) < sensor.size < 2 * len(long)


async def test_a_batch_with_errors(subject: Subject) -> None:
    """A batch is executed in order, and an operation that fails does not stop the others."""
    results = await subject.execute_many(
        [
            SetImmutable(b"k", b"1"),
            Keys(),
            AddSample(b"k", at(1.0)),
            Get((b"k",)),
            Delete((b"k",)),
            AddSample(b"k", at(1.0)),
            KeyTypes(),
            Exists((b"k",)),
        ]
    )
    failure = results.pop(2)
    assert isinstance(failure, ImmutableKeyError) and "'k'" in str(failure)
    assert results == [None, [b"k"], Immutable(b"1"), 1, None, {b"k": KeyType.MUTABLE}, True]
    assert await subject.execute_many([]) == []


async def test_load(subject: Subject) -> None:
    """Load replaces a whole key, or adds to its present contents."""
    await fill(subject)
    await subject.execute(Load(b"fixed", Samples([at(1.0), at(3.0)])))
    await subject.execute(Load(b"fixed", Samples([at(2.0), at(3.0)]), replace=False))
    await subject.execute(Load(b"table", Fields({b"a": b"1", b"b": b"2"})))
    await subject.execute(Load(b"table", Fields({b"c": b"3"}), replace=False))
    await subject.execute(Load(b"sensor", Immutable(b"x")))
    await subject.execute(Load(b"new", Fields({b"%d" % n: b"x" for n in range(9001)})))
    assert await subject.execute(Export(b"fixed")) == [at(1.0), at(2.0), at(3.0)]
    assert await subject.execute(Export(b"table")) == {b"a": b"1", b"b": b"2", b"c": b"3"}
    assert await subject.execute(Get((b"sensor",))) == Immutable(b"x")
    exported = await subject.execute(Export(b"new"))
    assert isinstance(exported, Fields) and len(exported) == 9001


@pytest.mark.parametrize("empty", [Samples(), Fields()], ids=["samples", "fields"])
async def test_load_of_nothing(subject: Subject, empty: Samples | Fields) -> None:
    """Load with empty contents makes no key; it deletes the present contents, or leaves them."""
    await fill(subject)
    await subject.execute(Load(b"absent", empty))
    await subject.execute(Load(b"absent", empty, replace=False))
    await subject.execute(Load(b"fixed", empty))
    key = b"sensor" if isinstance(empty, Samples) else b"table"
    before = await subject.execute(Export(key))
    await subject.execute(Load(key, empty, replace=False))
    assert await subject.execute(Export(b"absent")) is None
    assert await subject.execute(Export(b"fixed")) is None
    assert before is not None
    assert await subject.execute(Export(key)) == before


async def test_updates(subject: Subject) -> None:
    """A watcher returns each change that took effect once, in order, and nothing else."""
    # In a cluster, only updates of one node keep their order, hence the common {x}.
    k, s, i = b"{x}k", b"{x}s", b"{x}i"
    async with subject.watch(k, s, i, patterns=[b"{x}k*", b"{x}[is]"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(SetImmutable(k, b"1"))
        await subject.execute(SetImmutable(k, b"2"))
        await subject.execute(AddSample(s, at(1.5)))
        await subject.execute(AddSample(s, at(1.5)))
        await subject.execute(SetIndexed(i, b"a\n", b"\n1"))
        await subject.execute(SetIndexed(i, b"a\n", b"2"))
        await subject.execute(SetImmutable(b"{x}other", b"1"))
        await subject.execute(SetImmutable(b"{x}k2", b"last"))
        assert [await watcher.next() for _ in range(4)] == [
            Update(k, KeyType.IMMUTABLE, b"1"),
            Update(s, KeyType.MUTABLE, b"v", timestamp=1.5),
            Update(i, KeyType.INDEXED, b"\n1", sub_key=b"a\n"),
            Update(b"{x}k2", KeyType.IMMUTABLE, b"last"),
        ]


async def test_a_wait_for_a_key(subject: Subject) -> None:
    """A wait for a key ends when it is written with any prefix."""
    waiting = asyncio.create_task(subject.wait(KeyWait((b"a_k", b"k"))))
    await asyncio.sleep(0.05)
    await subject.execute(AddSample(b"k", at(1.0)))
    await waiting


async def test_a_wait_for_an_existing_key(subject: Subject) -> None:
    """A wait whose condition is already true needs no update."""
    await fill(subject)
    await subject.wait(KeyWait((b"none", b"fixed")))
    await subject.wait(IndexedWait((b"none", b"table"), b"row", lambda value: value == b"cell"))


async def test_a_condition_is_called_for_each_update(subject: Subject) -> None:
    """A condition is called with the contents of the store first, and then with every sample."""
    seen: list[object] = []

    def condition(contents: object) -> bool:
        seen.append(contents)
        return contents == Mutable(b"here", 5.0)

    await subject.execute(AddSample(b"s", at(1.0)))
    waiting = asyncio.create_task(subject.wait(KeyWait((b"s",), condition)))
    while len(seen) < 2:  # once before it subscribes, once after
        await asyncio.sleep(0.01)
    await subject.execute_many([AddSample(b"s", at(5.0, b"here")), AddSample(b"s", at(9.0))])
    await waiting
    assert seen[-1] == Mutable(b"here", 5.0)


async def test_a_wait_for_a_hidden_key(subject: Subject) -> None:
    """An update of a key that is hidden by an earlier one does not end a wait, until that is deleted."""
    await subject.execute(SetImmutable(b"a_k", b"no"))
    wanted = KeyWait((b"a_k", b"k"), lambda contents: contents == Mutable(b"yes", 1.0))
    waiting = asyncio.create_task(subject.wait(wanted))
    await asyncio.sleep(0.1)
    await subject.execute(AddSample(b"k", at(1.0, b"yes")))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await subject.execute(Delete((b"a_k", b"k")))
    await subject.execute(AddSample(b"k", at(1.0, b"yes")))
    await waiting


async def test_a_wait_for_a_sub_key(subject: Subject) -> None:
    """A wait for a sub-key ends when its condition is true; conditions on a whole key work too."""
    one = asyncio.create_task(
        subject.wait(IndexedWait((b"a_i", b"i"), b"x", lambda value: value == b"2"))
    )
    whole = asyncio.create_task(
        subject.wait(
            KeyWait((b"a_i", b"i"), lambda contents: contents == Indexed({b"w": b"1", b"x": b"2"}))
        )
    )
    await asyncio.sleep(0.05)
    await subject.execute(SetIndexed(b"i", b"w", b"1"))
    await subject.execute(SetIndexed(b"i", b"x", b"2"))
    await asyncio.gather(one, whole)


@pytest.mark.parametrize("before", [True, False])
async def test_a_wait_for_a_sub_key_of_another_kind(subject: Subject, before: bool) -> None:
    """The wait raises an error if the key is not indexed, now or once it exists."""
    if before:
        await fill(subject)
    waiting = asyncio.create_task(subject.wait(IndexedWait((b"fixed",), b"x")))
    await asyncio.sleep(0.05)
    if not before:
        await fill(subject)
    with pytest.raises(ImmutableKeyError, match="'fixed' is immutable"):
        await waiting


async def test_loading_ends_a_wait(subject: Subject) -> None:
    """Loading a key from a snapshot ends a wait for it."""
    waiting = asyncio.create_task(subject.wait(KeyWait((b"s",))))
    await asyncio.sleep(0.05)
    await subject.execute(Load(b"s", Samples([at(1.0)])))
    await waiting


async def test_many_waits_at_once(subject: Subject) -> None:
    """Each of many simultaneous waits ends when its own key is written."""
    waits = [asyncio.create_task(subject.wait(KeyWait((b"k%d" % n,)))) for n in range(5)]
    await asyncio.sleep(0.05)
    await subject.execute_many([SetImmutable(b"k%d" % n, b"x") for n in range(5)])
    await asyncio.gather(*waits)


async def test_closing_twice(subject: Subject) -> None:
    """Closing a closed backend has no effect."""
    await subject.close()
    await subject.close()


async def test_watching_a_closed_backend(subject: Subject) -> None:
    """A watch of a closed backend ends with CancelledError."""
    await subject.close()
    for keys, patterns in (([b"k"], []), ([], [b"k*"])):
        async with subject.watch(*keys, patterns=patterns) as watcher:
            for _ in range(2):
                with pytest.raises(CancelledError, match="closed"):
                    await watcher.next()
            with pytest.raises(CancelledError, match="closed"):
                watcher.watcher.poll()


async def test_an_invalid_sample(subject: Subject) -> None:
    """Reading a member that is not a sample is an error that names the key."""
    await subject.execute(Load(b"bad", Samples([b"x"])))
    await subject.execute(SetImmutable(b"good", b"1"))
    reads: list[Operation[Any]] = [Get((b"no", b"bad")), Find((b"no", b"bad"))]
    for read in reads:
        for _ in range(3):  # some are cached
            with pytest.raises(DecodeError, match="^Key 'bad': A sample starts with"):
                await subject.execute(read)
        error, good = await subject.execute_many([read, Get((b"good",))])
        assert isinstance(error, DecodeError)
        assert str(error).startswith("Key 'bad': A sample starts with")
        assert good == Immutable(b"1")
    with pytest.raises(DecodeError, match="^Key 'bad': A sample starts with"):
        await subject.wait(KeyWait((b"no", b"bad"), lambda contents: True))


def test_closing_one_backend_of_a_store() -> None:
    """A closed memory backend can still read and write, and other backends of its store still watch."""
    backend = MemoryBackend()
    other = MemoryBackend(backend.store)
    backend.close()
    with other.watch([b"k"]) as watcher:
        backend.execute(SetImmutable(b"k", b"1"))
        told = [watcher.next(0.0), watcher.next(0.0)]
        assert told == [CheckDue.SUBSCRIBED, Update(b"k", KeyType.IMMUTABLE, b"1")]
    assert other.execute(Get((b"k",))) == Immutable(b"1")
