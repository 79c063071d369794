"""Watchers while connections fail, and messages of old writers."""

from __future__ import annotations

import asyncio

import pytest
import redis
import redis.asyncio
from conftest import needs_server
from proxy import Proxy
from subjects import real

from telstate_backends import (
    AsyncRedisBackend,
    CheckDue,
    KeyType,
    RedisBackend,
    SetImmutable,
    Update,
)
from telstate_backends.redis import _heartbeat
from telstate_codec.timestamps import encode_sample

pytestmark = [
    pytest.mark.slow,
    needs_server,
]

LONG = 30.0


async def test_a_lost_connection(proxy: Proxy) -> None:
    """After a lost connection, a watcher gets `CheckDue`, and then updates."""
    url = f"redis://127.0.0.1:{proxy.port}"
    async with await AsyncRedisBackend.from_url(url) as asynchronous:
        with RedisBackend.from_url(url) as backend, backend.watch([b"k"]) as watcher:
            async with asynchronous.watch([b"k"]) as async_watcher:
                assert watcher.next(LONG) is CheckDue.SUBSCRIBED
                assert await async_watcher.next() is CheckDue.SUBSCRIBED
                proxy.cut()
                assert await asyncio.to_thread(watcher.next, LONG) is CheckDue.RECONNECTED
                assert await async_watcher.next() is CheckDue.RECONNECTED
                backend.execute(SetImmutable(b"k", b"1"))
                expected = Update(b"k", KeyType.IMMUTABLE, b"1")
                assert watcher.next(LONG) == expected
                assert await async_watcher.next() == expected


async def test_a_silent_connection(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher notices by itself that its connection is dead, and reconnects."""
    monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 0.2)
    monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 0.2)
    url = f"redis://127.0.0.1:{proxy.port}"
    async with await AsyncRedisBackend.from_url(url) as asynchronous:
        with RedisBackend.from_url(url) as backend, backend.watch([b"k"]) as watcher:
            async with asynchronous.watch([b"k"]) as async_watcher:
                assert watcher.next(LONG) is CheckDue.SUBSCRIBED
                assert await async_watcher.next() is CheckDue.SUBSCRIBED
                proxy.swallow = True
                before = proxy.accepted
                sync_event = asyncio.create_task(asyncio.to_thread(watcher.next, LONG))
                async_event = asyncio.create_task(async_watcher.next())
                while proxy.accepted < before + 2:  # Both have noticed and connect again.
                    await asyncio.sleep(0.01)
                proxy.swallow = False
                proxy.cut()
                assert await asyncio.wait_for(async_event, LONG) is CheckDue.RECONNECTED
                assert await sync_event is CheckDue.RECONNECTED


async def test_messages_of_old_writers(newest_url: str, asynchronous: bool) -> None:
    """A message without its type byte is read by the type of its key, if the key exists and is ours."""
    sample = encode_sample(5.0, b"\xff\x01")
    subject = real(asynchronous, newest_url)
    with redis.Redis.from_url(newest_url) as client:
        client.zadd("s", {sample: 0})
        client.set("k", b"\xff\x02")
        client.rpush("list", "of another program")
        async with subject.watch(b"s", b"k", b"gone", b"list") as watcher:
            assert await watcher.next() is CheckDue.SUBSCRIBED
            client.publish("update/s", sample)
            client.publish("update/k", b"\xff\x02")
            client.publish("update/gone", b"\xff\x02")
            client.publish("update/list", b"\xff\x02")
            client.publish("update/k", b"\x03broken")
            assert [await watcher.next() for _ in range(5)] == [
                Update(b"s", KeyType.MUTABLE, b"\xff\x01", timestamp=5.0),
                Update(b"k", KeyType.IMMUTABLE, b"\xff\x02"),
                CheckDue.UNREADABLE,
                CheckDue.UNREADABLE,
                CheckDue.UNREADABLE,
            ]
    await subject.close()
