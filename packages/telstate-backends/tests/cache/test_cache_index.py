"""What a cache knows, decided without any I/O."""

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
    """Give what a read finds of an immutable key."""
    return Found(key, b"string", Immutable(value))


def everywhere(keys: Sequence[bytes]) -> bool:
    """Say that a watcher hears of all keys."""
    return True


def make(size: int = 10, max_bytes: int = 1000) -> CacheIndex:
    """Make facts of which only the bounds matter."""
    return CacheIndex(size, max_bytes, 60.0)


def read(facts: CacheIndex, keys: Sequence[bytes], found: Found | None) -> None:
    """Do a read from beginning to end."""
    facts.learn(facts.begin(keys, everywhere), found)


def known(*keys: bytes, value: bytes = b"1") -> CacheIndex:
    """Make facts in which the last of the candidate keys is known to hold a value."""
    facts = make()
    for _ in range(2):
        read(facts, keys, immutable(keys[-1], value))
    assert facts.recall(Get(keys)) == Immutable(value)
    return facts


def test_the_first_read_asks_to_watch_and_the_second_is_remembered() -> None:
    """All candidates up to the one that was found are watched, and only then something is known."""
    facts, keys = make(), (A, B, K, b"later")
    read(facts, keys, immutable(K))
    assert facts.recall(Get(keys)) is None
    assert facts.take_changes() == ([A, B, K], [])
    read(facts, keys, immutable(K))
    assert facts.recall(Get(keys)) == Immutable(b"1")
    assert facts.recall(Find(keys)) == Found(K, b"string", Immutable(b"1"))
    assert facts.recall(Exists(keys)) is True
    assert facts.recall(GetKeyType(keys)) is KeyType.IMMUTABLE
    assert facts.recall(Get((B, K))) == Immutable(b"1")
    assert facts.recall(Get((b"strange", K))) is None
    assert facts.take_changes() == ([], [])


def test_nothing_is_remembered_that_was_not_watched_before() -> None:
    """Unless the watcher hears of every key that counts, a read teaches nothing."""
    facts = make()
    for _ in range(3):
        facts.learn(facts.begin((A, K), lambda keys: False), immutable(K))
    assert facts.recall(Get((A, K))) is None
    read(facts, (A, K), immutable(K))
    read(facts, (B, K), immutable(K))  # B is new
    assert facts.recall(Get((B, K))) is None


@pytest.mark.parametrize(
    "found", [None, Found(K, b"zset", Mutable(b"v", 1.0)), Found(K, b"hash", None)]
)
def test_only_immutables_are_remembered(found: Found | None) -> None:
    """What can change, or come into being, is asked again each time, and is not watched."""
    facts = make()
    for _ in range(3):
        read(facts, (A, K), found)
    assert facts.recall(Exists((A, K))) is None
    assert facts.keys == [] and facts.take_changes() == ([], [])


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
def test_news_ends_knowledge_and_spoils_reads_under_way(event: Event) -> None:
    """After news of a candidate, neither what is known nor what a read brings counts."""
    facts = known(A, K)
    facts.handle(Deleted(b"other"))
    facts.handle(CheckDue.SUBSCRIBED)
    assert facts.recall(Get((A, K))) == Immutable(b"1")
    asking = facts.begin((A, K), everywhere)
    facts.handle(event)
    facts.learn(asking, immutable(K))
    assert facts.recall(Get((A, K))) is None


def test_a_sensor_is_watched_no_more() -> None:
    """Once a watched key turns out to be a sensor, its samples are not sent to us any more."""
    facts = known(A, K)
    facts.take_changes()
    facts.handle(Update(A, KeyType.MUTABLE, b"v", timestamp=1.0))
    assert facts.take_changes() == ([], [A])
    facts = known(K)
    facts.take_changes()
    read(facts, (K,), Found(K, b"zset", Mutable(b"v", 1.0)))
    assert facts.take_changes() == ([], [K])


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
def test_own_writes_end_knowledge(operation: Operation[object]) -> None:
    """What this process has written is read anew, also by reads that are under way."""
    facts = known(K)
    asking = facts.begin((K,), everywhere)
    facts.forget([Get((K,)), operation])
    facts.learn(asking, immutable(K))
    assert facts.recall(Get((K,))) is None


def test_a_contradiction_ends_knowledge() -> None:
    """Of two reads that contradict each other one is out of date, so neither is remembered."""
    facts = known(A, K)
    slow = facts.begin((A, K), everywhere)
    read(facts, (A, K), immutable(K, b"2"))
    assert facts.recall(Get((A, K))) is None
    facts.learn(slow, immutable(K, b"1"))
    assert facts.recall(Get((A, K))) is None
    read(facts, (A, K), immutable(K, b"2"))
    assert facts.recall(Get((A, K))) == Immutable(b"2")


@pytest.mark.parametrize("covered", [True, False])
def test_a_slow_read_is_not_remembered_after_a_newer_one(covered: bool) -> None:
    """Once somebody was given a newer answer, an older one is not given from memory."""
    facts = make()
    read(facts, (K,), immutable(K, b"1"))
    slow = facts.begin((K,), everywhere)
    newer = facts.begin((K,), lambda keys: covered)
    newer.is_stale = True
    facts.learn(newer, immutable(K, b"2"))
    facts.learn(slow, immutable(K, b"1"))
    assert facts.recall(Get((K,))) is None


def test_kinds_are_remembered_without_values() -> None:
    """To know that a key is immutable, its value need not be read; to give its value it must."""
    facts, bare = make(), Found(K, b"string", None)
    for _ in range(2):
        read(facts, (K,), bare)
    assert facts.recall(Exists((K,))) is True
    assert facts.recall(Get((K,))) is None
    read(facts, (K,), immutable(K))
    assert facts.recall(Get((K,))) == Immutable(b"1")
    read(facts, (K,), bare)
    assert facts.recall(Get((K,))) == Immutable(b"1")


def test_the_number_of_keys_is_bounded() -> None:
    """The least recently used keys are forgotten, and watched no more."""
    facts = make(size=3)
    for _ in range(2):
        for number in range(3):
            read(facts, (b"%d" % number,), immutable(b"%d" % number))
    assert facts.take_changes() == ([b"0", b"1", b"2"], [])
    assert facts.recall(Get((b"0",))) is not None  # used again, so that 1 is the oldest
    read(facts, (b"new",), immutable(b"new"))
    assert facts.take_changes() == ([b"new"], [b"1"])
    assert facts.keys == [b"2", b"0", b"new"]
    read(facts, (b"1", b"2", b"3", b"4"), immutable(b"4"))  # a view deeper than that
    assert len(facts.keys) == 3 and facts.take_changes() == ([], [])


def test_the_size_of_values_is_bounded() -> None:
    """Values that are too large together push each other out; one that is alone is let be."""
    facts = make(max_bytes=1000)
    for _ in range(2):
        for key in (b"x", b"y"):
            read(facts, (key,), immutable(key, bytes(600)))
    assert facts.weight == 601
    assert facts.recall(Get((b"x",))) is None and facts.recall(Get((b"y",))) is not None
    for _ in range(3):
        read(facts, (b"z",), immutable(b"z", bytes(1000)))
    assert facts.keys == [b"y"]


def test_knowledge_grows_old() -> None:
    """After its time has passed, an answer is asked again, and then has its time again."""
    now = 0.0
    facts = CacheIndex(10, 1000, 60.0, clock=lambda: now)
    for _ in range(2):
        read(facts, (A, K), immutable(K))
    now = 59.0
    assert facts.recall(Get((A, K))) is not None
    slow = facts.begin((A, K), everywhere)
    now = 61.0
    assert facts.recall(Get((A, K))) is None
    facts.learn(slow, immutable(K))
    now = 118.0  # counted from the beginning of the read
    assert facts.recall(Get((A, K))) is not None
    now = 120.0
    assert facts.recall(Get((A, K))) is None


def test_reads_that_end_leave_nothing_behind() -> None:
    """However a read ends, no trace of it stays."""
    facts = known(A, K)
    askings: list[PendingRead] = [facts.begin((A, K), everywhere) for _ in range(3)]
    facts.give_up(askings[1])
    facts.learn(askings[0], immutable(K))
    facts.learn(askings[2], None)
    assert facts._pending == {}


@pytest.mark.parametrize("size", [0, -1])
def test_a_cache_of_nothing_is_refused(size: int) -> None:
    """A cache has room for at least one key."""
    with pytest.raises(ValueError, match="at least 1"):
        CachedBackend(MemoryBackend(), size)
