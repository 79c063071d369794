"""What a cache knows about keys, without any I/O."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from telstate_backends import (
    AddSample,
    CachedBackend,
    CheckDue,
    Clear,
    Cleared,
    Delete,
    Deleted,
    Event,
    Exists,
    Find,
    Get,
    GetKeyType,
    Immutable,
    KeyType,
    Load,
    MemoryBackend,
    Mutable,
    Operation,
    SetImmutable,
    Update,
)
from telstate_backends._cache_index import CacheIndex, PendingRead
from telstate_backends.operations.read import Found

A, B, K = b"a_k", b"b_k", b"k"


def immutable(key: bytes, value: bytes = b"1") -> Found:
    """Return what a read finds of an immutable key."""
    return Found(key, b"string", Immutable(value))


def watches_all(keys: Sequence[bytes]) -> bool:
    """Return that a watcher watches all keys."""
    return True


def make(size: int = 10, max_bytes: int = 1000) -> CacheIndex:
    """Return an index whose results do not expire."""
    return CacheIndex(size, max_bytes, 60.0)


def read(index: CacheIndex, keys: Sequence[bytes], found: Found | None) -> None:
    """Begin and end a read."""
    index.learn(index.begin(keys, watches_all), found)


def known(*keys: bytes, value: bytes = b"1") -> CacheIndex:
    """Return an index that knows the value of the last of some candidate keys."""
    index = make()
    for _ in range(2):
        read(index, keys, immutable(keys[-1], value))
    assert index.recall(Get(keys)) == Immutable(value)
    return index


def test_the_second_read_is_remembered() -> None:
    """After the first read the candidates up to the found one are watched, after the second they are known."""
    index, keys = make(), (A, B, K, b"later")
    read(index, keys, immutable(K))
    assert index.recall(Get(keys)) is None
    assert index.take_changes() == ([A, B, K], [])
    read(index, keys, immutable(K))
    assert index.recall(Get(keys)) == Immutable(b"1")
    assert index.recall(Find(keys)) == Found(K, b"string", Immutable(b"1"))
    assert index.recall(Exists(keys)) is True
    assert index.recall(GetKeyType(keys)) is KeyType.IMMUTABLE
    assert index.recall(Get((B, K))) == Immutable(b"1")
    assert index.recall(Get((b"strange", K))) is None
    assert index.take_changes() == ([], [])


def test_only_watched_keys_are_remembered() -> None:
    """A read is not remembered unless all keys in it were watched before."""
    index = make()
    for _ in range(3):
        index.learn(index.begin((A, K), lambda keys: False), immutable(K))
    assert index.recall(Get((A, K))) is None
    read(index, (A, K), immutable(K))
    read(index, (B, K), immutable(K))  # B is new
    assert index.recall(Get((B, K))) is None


@pytest.mark.parametrize(
    "found", [None, Found(K, b"zset", Mutable(b"v", 1.0)), Found(K, b"hash", None)]
)
def test_only_immutable_keys_are_remembered(found: Found | None) -> None:
    """Other kinds of keys, and missing keys, are neither remembered nor watched."""
    index = make()
    for _ in range(3):
        read(index, (A, K), found)
    assert index.recall(Exists((A, K))) is None
    assert index.keys == [] and index.take_changes() == ([], [])


@pytest.mark.parametrize(
    "event",
    [
        Deleted(K),
        Cleared(),
        Update(K, KeyType.IMMUTABLE, b"2"),
        Update(A, KeyType.MUTABLE, b"v", timestamp=1.0),
        CheckDue.RECONNECTED,
        CheckDue.UNREADABLE,
    ],
)
def test_an_event_invalidates(event: Event) -> None:
    """An event for a candidate key invalidates what is known, and reads that have begun."""
    index = known(A, K)
    index.handle(Deleted(b"other"))
    index.handle(CheckDue.SUBSCRIBED)
    assert index.recall(Get((A, K))) == Immutable(b"1")
    pending = index.begin((A, K), watches_all)
    index.handle(event)
    index.learn(pending, immutable(K))
    assert index.recall(Get((A, K))) is None


def test_a_sensor_is_not_watched() -> None:
    """A key that turns out to be a sensor is no longer watched."""
    index = known(A, K)
    index.take_changes()
    index.handle(Update(A, KeyType.MUTABLE, b"v", timestamp=1.0))
    assert index.take_changes() == ([], [A])
    index = known(K)
    index.take_changes()
    read(index, (K,), Found(K, b"zset", Mutable(b"v", 1.0)))
    assert index.take_changes() == ([], [K])


@pytest.mark.parametrize(
    "operation",
    [
        SetImmutable(K, b"2"),
        Delete((b"x", K)),
        Clear(),
        AddSample(K, bytes(9)),
        Load(K, Immutable(b"2")),
    ],
)
def test_own_writes_invalidate(operation: Operation[object]) -> None:
    """A write by this process invalidates the key, and reads that have begun."""
    index = known(K)
    pending = index.begin((K,), watches_all)
    index.forget([Get((K,)), operation])
    index.learn(pending, immutable(K))
    assert index.recall(Get((K,))) is None


def test_contradicting_reads() -> None:
    """If two reads contradict each other, neither is remembered."""
    index = known(A, K)
    slow = index.begin((A, K), watches_all)
    read(index, (A, K), immutable(K, b"2"))
    assert index.recall(Get((A, K))) is None
    index.learn(slow, immutable(K, b"1"))
    assert index.recall(Get((A, K))) is None
    read(index, (A, K), immutable(K, b"2"))
    assert index.recall(Get((A, K))) == Immutable(b"2")


@pytest.mark.parametrize("covered", [True, False])
def test_a_slow_read(covered: bool) -> None:
    """A slow read with an older value is not remembered after a newer one."""
    index = make()
    read(index, (K,), immutable(K, b"1"))
    slow = index.begin((K,), watches_all)
    newer = index.begin((K,), lambda keys: covered)
    newer.is_stale = True
    index.learn(newer, immutable(K, b"2"))
    index.learn(slow, immutable(K, b"1"))
    assert index.recall(Get((K,))) is None


def test_kinds_without_values() -> None:
    """A kind can be remembered without a value, which then has to be read."""
    index, bare = make(), Found(K, b"string", None)
    for _ in range(2):
        read(index, (K,), bare)
    assert index.recall(Exists((K,))) is True
    assert index.recall(Get((K,))) is None
    read(index, (K,), immutable(K))
    assert index.recall(Get((K,))) == Immutable(b"1")
    read(index, (K,), bare)
    assert index.recall(Get((K,))) == Immutable(b"1")


def test_the_number_of_keys_is_limited() -> None:
    """The least recently used keys are forgotten, and no longer watched."""
    index = make(size=3)
    for _ in range(2):
        for number in range(3):
            read(index, (b"%d" % number,), immutable(b"%d" % number))
    assert index.take_changes() == ([b"0", b"1", b"2"], [])
    assert index.recall(Get((b"0",))) is not None  # used again, so that 1 is the oldest
    read(index, (b"new",), immutable(b"new"))
    assert index.take_changes() == ([b"new"], [b"1"])
    assert index.keys == [b"2", b"0", b"new"]
    read(index, (b"1", b"2", b"3", b"4"), immutable(b"4"))  # a view with more prefixes than that
    assert len(index.keys) == 3 and index.take_changes() == ([], [])


def test_the_size_of_values_is_limited() -> None:
    """The least recently used values are forgotten if all together are too large, and one that is too large alone is not kept."""
    index = make(max_bytes=1000)
    for _ in range(2):
        for key in (b"x", b"y"):
            read(index, (key,), immutable(key, bytes(600)))
    assert index.weight == 601
    assert index.recall(Get((b"x",))) is None and index.recall(Get((b"y",))) is not None
    for _ in range(3):
        read(index, (b"z",), immutable(b"z", bytes(1000)))
    assert index.keys == [b"y"]


def test_results_expire() -> None:
    """A result is used for a limited time, counted from the beginning of its read."""
    now = 0.0
    index = CacheIndex(10, 1000, 60.0, clock=lambda: now)
    for _ in range(2):
        read(index, (A, K), immutable(K))
    now = 59.0
    assert index.recall(Get((A, K))) is not None
    slow = index.begin((A, K), watches_all)
    now = 61.0
    assert index.recall(Get((A, K))) is None
    index.learn(slow, immutable(K))
    now = 118.0  # counted from the beginning of the read
    assert index.recall(Get((A, K))) is not None
    now = 120.0
    assert index.recall(Get((A, K))) is None


def test_reads_leave_no_trace() -> None:
    """Nothing about a read is kept after its end, whatever its result."""
    index = known(A, K)
    reads: list[PendingRead] = [index.begin((A, K), watches_all) for _ in range(3)]
    index.give_up(reads[1])
    index.learn(reads[0], immutable(K))
    index.learn(reads[2], None)
    assert index._pending == {}


@pytest.mark.parametrize("size", [0, -1])
def test_the_smallest_size(size: int) -> None:
    """A cache has a size of at least one key."""
    with pytest.raises(ValueError, match="at least 1"):
        CachedBackend(MemoryBackend(), size)
