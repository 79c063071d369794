"""Deletions are delivered to watchers that ask for them, and watchers can add and discard keys."""

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

# In a cluster, events keep their order only if they come from one node, hence the common {x}.
K, L, M = b"{x}k", b"{x}l", b"{x}m"


def set_to(key: bytes, value: bytes = b"1") -> Update:
    """Return the update that setting an immutable key publishes."""
    return Update(key, KeyType.IMMUTABLE, value)


async def next_events(watcher: SubjectWatcher, number: int) -> list[Event]:
    """Return the next events."""
    return [await watcher.next() for _ in range(number)]


async def until_covered(watcher: Any, *keys: bytes) -> None:
    """Poll until the watcher covers these keys."""
    async with asyncio.timeout(LONG):
        while not watcher.covers(keys):
            assert watcher.poll() in (None, CheckDue.SUBSCRIBED)
            await asyncio.sleep(0.002)


async def polled(watcher: Any, number: int) -> list[Event]:
    """Poll until so many events have arrived."""
    events: list[Event] = []
    async with asyncio.timeout(LONG):
        while len(events) < number:
            event = watcher.poll()
            if event is None:
                await asyncio.sleep(0.002)
            else:
                events.append(event)
    return events


async def test_deletions_are_delivered_on_request(subject: Subject) -> None:
    """Each deleted key is delivered once, in order with the updates, whatever its kind."""
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


async def test_a_clear_is_delivered_on_request(subject: Subject) -> None:
    """A clear is an event of its own, also for a watcher without keys."""
    async with subject.watch(deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(SetImmutable(K, b"1"))
        await subject.execute(Clear())
        assert await watcher.next() == Cleared()
        assert await subject.execute(Keys()) == []


async def test_deletions_are_not_delivered_by_default(subject: Subject) -> None:
    """A watcher that does not ask for deletions gets only updates."""
    async with subject.watch(K, patterns=[b"{x}l*"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(SetImmutable(K, b"1"))
        await subject.execute(SetImmutable(L, b"1"))
        await subject.execute(Delete((K, L)))
        await subject.execute(Clear())
        await subject.execute(SetImmutable(K, b"2"))
        assert await next_events(watcher, 3) == [set_to(K), set_to(L), set_to(K, b"2")]


async def test_a_replaced_key_is_updated(subject: Subject) -> None:
    """Loading over a key of another kind is an update of the new kind, not a deletion."""
    async with subject.watch(K, deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await subject.execute(AddSample(K, encode_sample(1.0, b"v")))
        await subject.execute(Load(K, Immutable(b"1")))
        assert await next_events(watcher, 2) == [
            Update(K, KeyType.MUTABLE, b"v", timestamp=1.0),
            set_to(K),
        ]


async def test_keys_may_look_like_channels(subject: Subject) -> None:
    """Keys that look like channels, and the empty key, are delivered like any other key."""
    for key in (b"", b"clear", b"delete/", b"delete/k", b"update/k"):
        async with subject.watch(key, deletions=True) as watcher:
            assert await watcher.next() is CheckDue.SUBSCRIBED
            await subject.execute(SetImmutable(key, b"1"))
            await subject.execute(Delete((key,)))
            assert await next_events(watcher, 2) == [set_to(key), Deleted(key)]


async def test_adding_and_discarding_keys(subject: Subject) -> None:
    """Updates of added keys arrive once they are covered, without a gap for the others."""
    async with subject.watch(K, deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        inner = watcher.watcher
        assert inner.covers((K,)) and not inner.covers((K, L))
        inner.add((K, L, M))
        await subject.execute(SetImmutable(K, b"1"))  # delivered, whatever is still to be confirmed
        while (event := (await polled(inner, 1))[0]) is CheckDue.SUBSCRIBED:
            pass
        assert event == set_to(K)
        await until_covered(inner, K, L, M)
        await subject.execute(SetImmutable(L, b"1"))
        while (event := (await polled(inner, 1))[0]) is CheckDue.SUBSCRIBED:
            pass
        assert event == set_to(L)
        inner.discard((L, b"never"))
        assert inner.covers((K, M)) and not inner.covers((L,))
        await subject.execute(Delete((L, K)))
        await subject.execute(SetImmutable(M, b"1"))
        assert await polled(inner, 2) == [Deleted(K), set_to(M)]
        inner.add((L,))  # again, at once
        await until_covered(inner, L)


async def test_adding_keys_to_an_empty_watch(subject: Subject) -> None:
    """Keys can be added to a watch without keys."""
    async with subject.watch() as watcher:
        watcher.watcher.add((K,))
        await until_covered(watcher.watcher, K)
        await subject.execute(SetImmutable(K, b"1"))
        while (event := await watcher.next()) is CheckDue.SUBSCRIBED:
            pass
        assert event == set_to(K)


async def test_adding_a_key_that_matches_a_pattern(subject: Subject) -> None:
    """An update is delivered once, however many channels and patterns match it."""
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
def test_deleting_without_permission_to_publish(server_url: str, operation: Any) -> None:
    """A user with only the channels that katsdptelstate needs can delete; nothing is published."""
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
def test_a_refused_deletion_is_not_published(server_url: str, operation: Any) -> None:
    """A watcher gets no event of a deletion that the server refused."""
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
def test_deleting_from_a_full_server(server_url: str, operation: Any) -> None:
    """Deleting needs no memory, so that it works on a server that has none left."""
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
