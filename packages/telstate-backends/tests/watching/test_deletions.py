"""Who watches is told of deletions, if asked; nobody else is; and watchers can watch more or less."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from subjects import LONG, Subject, SubjectWatcher

from telstate_backends import (
    AddSample,
    CheckDue,
    Clear,
    Cleared,
    Delete,
    Deleted,
    Event,
    Exists,
    Immutable,
    Keys,
    KeyType,
    Load,
    RedisBackend,
    RefusedError,
    SetImmutable,
    SetIndexed,
    Update,
)
from telstate_codec.timestamps import encode_sample

# In a cluster, only what comes from one node keeps its order, hence the common {x}.
K, L, M = b"{x}k", b"{x}l", b"{x}m"


def set_to(key: bytes, value: bytes = b"1") -> Update:
    """Give the update of a key that was set to this."""
    return Update(key, KeyType.IMMUTABLE, value)


async def next_events(watcher: SubjectWatcher, number: int) -> list[Event]:
    """Give the next events."""
    return [await watcher.next() for _ in range(number)]


async def until_covered(watcher: Any, *keys: bytes) -> None:
    """Poll until the watcher hears of these keys."""
    async with asyncio.timeout(LONG):
        while not watcher.covers(keys):
            assert watcher.poll() in (None, CheckDue.SUBSCRIBED)
            await asyncio.sleep(0.002)


async def polled(watcher: Any, number: int) -> list[Event]:
    """Poll until so many events have come."""
    events: list[Event] = []
    async with asyncio.timeout(LONG):
        while len(events) < number:
            event = watcher.poll()
            if event is None:
                await asyncio.sleep(0.002)
            else:
                events.append(event)
    return events


async def test_a_deletion_is_told_if_asked(subject: Subject) -> None:
    """Each key that really goes is told once, in order with the updates, whatever kind it was."""
    async with subject.watch(K, L, M, patterns=[b"{x}*"], deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(SetImmutable(K, b"1"))
        await subject.execute(AddSample(b"{x}other", encode_sample(1.0, b"v")))
        await subject.execute(SetIndexed(L, b"s", b"1"))
        assert await subject.execute(Delete((M, K, b"{x}other", K, L))) == 3
        assert await subject.execute(Delete((M, K))) == 0
        await subject.execute(SetImmutable(K, b"2"))
        assert await next_events(watcher, 7) == [
            set_to(K),
            Update(b"{x}other", KeyType.MUTABLE, b"v", timestamp=1.0),
            Update(L, KeyType.INDEXED, b"1", sub_key=b"s"),
            Deleted(K),
            Deleted(b"{x}other"),
            Deleted(L),
            set_to(K, b"2"),
        ]


async def test_a_clear_is_told_if_asked(subject: Subject) -> None:
    """Clear is told as such, also to those who watch no key, and once for each node."""
    async with subject.watch(deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(SetImmutable(K, b"1"))
        await subject.execute(Clear())
        assert await watcher.next() == Cleared()
        assert await subject.execute(Keys()) == []


async def test_who_does_not_ask_is_told_of_updates_only(subject: Subject) -> None:
    """A plain watch hears nothing of deletions."""
    async with subject.watch(K, patterns=[b"{x}l*"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(SetImmutable(K, b"1"))
        await subject.execute(SetImmutable(L, b"1"))
        await subject.execute(Delete((K, L)))
        await subject.execute(Clear())
        await subject.execute(SetImmutable(K, b"2"))
        assert await next_events(watcher, 3) == [set_to(K), set_to(L), set_to(K, b"2")]


async def test_a_key_that_is_replaced_counts_as_updated(subject: Subject) -> None:
    """Load over a key of another kind is an update, of the new kind, and no deletion."""
    async with subject.watch(K, deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(AddSample(K, encode_sample(1.0, b"v")))
        await subject.execute(Load(K, Immutable(b"1")))
        assert await next_events(watcher, 2) == [
            Update(K, KeyType.MUTABLE, b"v", timestamp=1.0),
            set_to(K),
        ]


async def test_names_like_channels_are_names(subject: Subject) -> None:
    """Keys that look like channels, and the empty one, are told of as themselves."""
    for key in (b"", b"clear", b"delete/", b"delete/k", b"update/k"):
        async with subject.watch(key, deletions=True) as watcher:
            assert await watcher.next() is CheckDue.SUBSCRIBED
            await subject.execute(SetImmutable(key, b"1"))
            await subject.execute(Delete((key,)))
            assert await next_events(watcher, 2) == [set_to(key), Deleted(key)]


async def test_a_watch_grows_and_shrinks(subject: Subject) -> None:
    """Added keys are told of once they are covered, without a gap for the others."""
    async with subject.watch(K, deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        each = watcher.watcher
        assert each.covers((K,)) and not each.covers((K, L))
        each.add((K, L, M))
        await subject.execute(SetImmutable(K, b"1"))  # told, whatever is still to be confirmed
        while (event := (await polled(each, 1))[0]) is CheckDue.SUBSCRIBED:
            pass
        assert event == set_to(K)
        await until_covered(each, K, L, M)
        await subject.execute(SetImmutable(L, b"1"))
        while (event := (await polled(each, 1))[0]) is CheckDue.SUBSCRIBED:
            pass
        assert event == set_to(L)
        each.discard((L, b"never"))
        assert each.covers((K, M)) and not each.covers((L,))
        await subject.execute(Delete((L, K)))
        await subject.execute(SetImmutable(M, b"1"))
        assert await polled(each, 2) == [Deleted(K), set_to(M)]
        each.add((L,))  # again, at once
        await until_covered(each, L)


async def test_a_watch_that_starts_with_nothing_grows(subject: Subject) -> None:
    """Keys can be added to a watch of none."""
    async with subject.watch() as watcher:
        watcher.watcher.add((K,))
        await until_covered(watcher.watcher, K)
        await subject.execute(SetImmutable(K, b"1"))
        while (event := await watcher.next()) is CheckDue.SUBSCRIBED:
            pass
        assert event == set_to(K)


async def test_a_key_that_a_pattern_fits_can_be_added(subject: Subject) -> None:
    """A key is told of once, however many ways it is watched."""
    async with subject.watch(patterns=[b"{x}*"], deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        watcher.watcher.add((K,))
        await subject.execute(SetImmutable(K, b"1"))
        await subject.execute(Delete((K,)))
        await subject.execute(SetImmutable(L, b"1"))
        events: list[Event] = []
        while set_to(L) not in events:
            events.append(await watcher.next())
        assert [event for event in events if event is not CheckDue.SUBSCRIBED] == [
            set_to(K),
            Deleted(K),
            set_to(L),
        ]


@pytest.mark.parametrize("operation", [Delete((K,)), Clear()], ids=["delete", "clear"])
def test_who_may_not_publish_deletes_all_the_same(server_url: str, operation: Any) -> None:
    """A user who may use only the channels that katsdptelstate needs can delete, without a notice."""
    with redis.Redis.from_url(server_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "shy", "on", "nopass", "~*", "+@all", "resetchannels", "&update/*"
        )
        url = server_url.replace("redis://", "redis://shy:any@")
        try:
            with RedisBackend.from_url(url) as backend:
                assert backend.execute(SetImmutable(K, b"1")) is None
                backend.execute(operation)
                assert not backend.execute(Exists((K,)))
        finally:
            client.acl_deluser("shy")


@pytest.mark.parametrize("operation", [Delete((K,)), Clear()], ids=["delete", "clear"])
def test_what_is_refused_is_not_told(server_url: str, operation: Any) -> None:
    """Who watches hears nothing of a deletion that the user had no leave for."""
    with redis.Redis.from_url(server_url) as client:
        rules = ("on", "nopass", "~*", "&*", "+@all", "-unlink", "-flushdb")
        client.execute_command("ACL", "SETUSER", "weak", *rules)
        url = server_url.replace("redis://", "redis://weak:any@")
        try:
            with (
                RedisBackend.from_url(url) as weak,
                RedisBackend.from_url(server_url) as backend,
                backend.watch([K], deletions=True) as watcher,
            ):
                assert watcher.next(LONG) is CheckDue.SUBSCRIBED
                assert backend.execute(SetImmutable(K, b"1")) is None
                with pytest.raises(RefusedError):
                    weak.execute(operation)
                assert backend.execute(Load(K, Immutable(b"2"))) is None
                assert [watcher.next(LONG) for _ in range(2)] == [set_to(K), set_to(K, b"2")]
        finally:
            client.acl_deluser("weak")


@pytest.mark.parametrize("operation", [Delete((K,)), Clear()], ids=["delete", "clear"])
def test_a_full_server_can_be_emptied(server_url: str, operation: Any) -> None:
    """Deleting needs no memory, so that a server without any left can be helped."""
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        try:
            assert backend.execute(SetImmutable(K, b"1")) is None
            client.config_set("maxmemory", 1)
            with pytest.raises(RefusedError, match="OOM|out of memory"):
                backend.execute(SetImmutable(L, b"1"))
            backend.execute(operation)
            assert not backend.execute(Exists((K,)))
        finally:
            client.config_set("maxmemory", 0)
