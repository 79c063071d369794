"""Subscriptions that the server refuses, under asyncio, where all watchers share one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from subjects import LONG

from telstate_backends import (
    AddSample,
    AsyncCachedBackend,
    AsyncFollower,
    AsyncRedisBackend,
    CheckDue,
    Get,
    Immutable,
    KeyType,
    KeyWait,
    RefusedError,
    SetImmutable,
    Update,
    wait_async,
)
from telstate_codec.timestamps import encode_sample


@pytest.fixture
def admin(server_url: str) -> Iterator[Any]:
    """A client with all permissions, on a server with a user limited to `update/mine*`."""
    with redis.Redis.from_url(server_url) as client:
        permit(client, "&update/mine*")
        yield client
        client.acl_deluser("dora")


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
async def backend(
    request: pytest.FixtureRequest, admin: Any, server_url: str
) -> AsyncIterator[AsyncRedisBackend]:
    """A backend that connects as that user."""
    url = server_url.replace("//", "//dora:any@") + f"?protocol={request.param}&socket_timeout=20"
    async with await AsyncRedisBackend.from_url(url) as backend:
        yield backend


def permit(admin: Any, *channels: str) -> None:
    """Set the channels that the user may subscribe to."""
    rules = ("on", "nopass", "~*", "+@all", "resetchannels", *channels)
    admin.execute_command("ACL", "SETUSER", "dora", *rules)


async def until_channels(admin: Any, *channels: bytes) -> None:
    """Wait until exactly these channels are subscribed."""
    async with asyncio.timeout(LONG):
        while sorted(admin.pubsub_channels()) != sorted(channels):
            await asyncio.sleep(0.01)


async def test_only_the_refused_waits_fail(backend: AsyncRedisBackend, admin: Any) -> None:
    """Of a thousand waits that begin at once, only those without permission fail."""
    names = [b"mine_%d" % number for number in range(1000)]
    names[300] = names[301] = names[999] = b"other"
    names[7] = b"another"
    waits = [asyncio.create_task(wait_async(backend, KeyWait((name,)))) for name in names]
    permitted = {name for name in names if name.startswith(b"mine")}
    await until_channels(admin, *(b"update/" + name for name in permitted))
    for name in permitted:
        await backend.execute(SetImmutable(name, b"1"))
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    for name, outcome in zip(names, outcomes, strict=True):
        if name in permitted:
            assert outcome is None
        else:
            assert isinstance(outcome, RefusedError)
            assert f"channel 'update/{name.decode()}'" in str(outcome)
    await until_channels(admin)


async def test_existing_watchers_are_not_disturbed(backend: AsyncRedisBackend, admin: Any) -> None:
    """A refusal for others causes no `CheckDue` in an existing watcher, which misses nothing."""
    async with backend.watch([b"mine"], [b"mine*"]) as watcher:
        with pytest.raises(RefusedError, match="channel 'update/other'"):
            await wait_async(backend, KeyWait((b"other",)))
        with pytest.raises(RefusedError, match="pattern 'update/oth.*'"):
            async with backend.watch(patterns=[b"oth*"]) as refused:
                await refused.next()
        await backend.execute(SetImmutable(b"mine", b"1"))
        events = [await asyncio.wait_for(watcher.next(), LONG) for _ in range(2)]
        assert events == [CheckDue.SUBSCRIBED, Update(b"mine", KeyType.IMMUTABLE, b"1")]


async def test_adding_refused_keys(backend: AsyncRedisBackend, admin: Any) -> None:
    """A watcher that adds a refused key fails; another watcher of the same keys does not."""
    async with backend.watch([b"mine"]) as one, backend.watch([b"mine"]) as other:
        assert [await one.next(), await other.next()] == [CheckDue.SUBSCRIBED] * 2
        one.add([b"mine_2", b"other"])
        with pytest.raises(RefusedError, match="channel 'update/other'"):
            await asyncio.wait_for(one.next(), LONG)
        other.add([b"mine_2"])
        assert await asyncio.wait_for(other.next(), LONG) is CheckDue.SUBSCRIBED
        await backend.execute(SetImmutable(b"mine_2", b"1"))
        expected = Update(b"mine_2", KeyType.IMMUTABLE, b"1")
        assert await asyncio.wait_for(other.next(), LONG) == expected


async def test_a_permission_granted_later(backend: AsyncRedisBackend, admin: Any) -> None:
    """A key that was refused can be watched once it is permitted."""
    with pytest.raises(RefusedError):
        await wait_async(backend, KeyWait((b"other",)))
    permit(admin, "&update/mine*", "&update/other")
    await until_channels(admin)
    async with backend.watch([b"other"]) as watcher:
        assert await asyncio.wait_for(watcher.next(), LONG) is CheckDue.SUBSCRIBED


async def test_a_lost_connection_after_a_refusal(backend: AsyncRedisBackend, admin: Any) -> None:
    """A new connection does not request refused channels again."""
    async with backend.watch([b"mine"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        with pytest.raises(RefusedError):
            await wait_async(backend, KeyWait((b"other",)))
        admin.client_kill_filter(_type="pubsub")
        assert await asyncio.wait_for(watcher.next(), LONG) is CheckDue.RECONNECTED
        await backend.execute(SetImmutable(b"mine", b"1"))
        expected = Update(b"mine", KeyType.IMMUTABLE, b"1")
        assert await asyncio.wait_for(watcher.next(), LONG) == expected


async def test_a_lost_connection_is_restored_once(backend: AsyncRedisBackend, admin: Any) -> None:
    """redis-py does not reconnect by itself, while both the reader and the sender use the connection."""
    async with backend.watch([b"mine"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        before = admin.info("stats")["total_connections_received"]
        admin.client_kill_filter(_type="pubsub")
        assert await asyncio.wait_for(watcher.next(), LONG) is CheckDue.RECONNECTED
        assert admin.info("stats")["total_connections_received"] == before + 1


@pytest.mark.slow
async def test_refusals_and_lost_connections(backend: AsyncRedisBackend, admin: Any) -> None:
    """Even while connections are lost, a refusal only fails the waits that it concerns."""
    numbers = iter(range(200))

    async def wait_for_permitted() -> None:
        for number in numbers:
            key = b"mine_%d" % number
            waiting = asyncio.create_task(wait_async(backend, KeyWait((key,))))
            await asyncio.sleep(number % 3 * 0.002)
            await asyncio.to_thread(admin.set, key, b"1")
            await asyncio.to_thread(admin.publish, b"update/" + key, b"\x011")
            await asyncio.wait_for(waiting, LONG)
            if number % 40 == 20:
                await asyncio.to_thread(admin.client_kill_filter, _type="pubsub")

    async def wait_for_refused() -> None:
        while True:
            with pytest.raises(RefusedError, match="channel 'update/other'"):
                await wait_async(backend, KeyWait((b"mine_x", b"other")))

    refused = [asyncio.create_task(wait_for_refused()) for _ in range(4)]
    await asyncio.gather(*(wait_for_permitted() for _ in range(10)))
    for task in refused:
        task.cancel()
    outcomes = await asyncio.gather(*refused, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 4


async def test_followers_and_caches_without_deletions(
    backend: AsyncRedisBackend, admin: Any
) -> None:
    """A user without the channels of deletions can wait, follow and use a cache at the same time."""
    permit(admin, "&update/*")
    waiting = asyncio.create_task(wait_async(backend, KeyWait((b"later",))))
    await until_channels(admin, b"update/later")
    async with AsyncFollower(backend, [(b"s",)]) as follower:
        await backend.execute(SetImmutable(b"x", b"1"))
        cache = AsyncCachedBackend(backend)
        for _ in range(5):
            assert await cache.execute(Get((b"x",))) == Immutable(b"1")
            await asyncio.sleep(0.01)
        await backend.execute(AddSample(b"s", encode_sample(1.0, b"1")))
        expected = Update(b"s", KeyType.MUTABLE, b"1", timestamp=1.0)
        assert await asyncio.wait_for(follower.next(), LONG) == expected
    assert not waiting.done()
    await backend.execute(SetImmutable(b"later", b"1"))
    await asyncio.wait_for(waiting, LONG)


async def test_a_user_without_pubsub(backend: AsyncRedisBackend, admin: Any) -> None:
    """Each wait of a user without permission to subscribe fails; reading and writing work."""
    admin.execute_command("ACL", "SETUSER", "dora", "-@pubsub", "+publish")
    for _ in range(2):
        waits = [wait_async(backend, KeyWait((b"mine_%d" % number,))) for number in range(20)]
        async with asyncio.timeout(LONG):
            outcomes = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RefusedError] * 20
    await backend.execute(SetImmutable(b"mine", b"1"))
    assert await backend.execute(Get((b"mine",))) == Immutable(b"1")
