"""Waits: what ends them, their connections and round trips."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
from conftest import needs_server
from subjects import real

from telstate_backends import (
    AsyncMemoryBackend,
    AsyncRedisBackend,
    CancelledError,
    CheckDue,
    ConnectionError,
    Contents,
    Deadline,
    Indexed,
    KeyWait,
    MemoryBackend,
    Operation,
    RedisBackend,
    SetImmutable,
    SetIndexed,
    TimeoutError,
    wait,
    wait_async,
)

pytestmark = [
    pytest.mark.slow,
    needs_server,
]

LONG = 30.0


EIGHT = tuple(prefix + b"k" for prefix in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b""))


class UnreliableBackend(MemoryBackend):
    """A backend whose next calls fail."""

    failures = 0

    def execute(self, operation: Operation[Any], /, *, deadline: Deadline | None = None) -> Any:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("not now")
        return super().execute(operation)


class AsyncUnreliableBackend(AsyncMemoryBackend):
    """An asyncio backend whose next calls fail."""

    failures = 0

    async def execute(
        self, operation: Operation[Any], /, *, deadline: Deadline | None = None
    ) -> Any:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("not now")
        return await super().execute(operation)


async def test_a_wait_repeats_a_failed_query() -> None:
    """A wait that cannot query the store when a check is due goes on until it can."""
    backend = UnreliableBackend()
    asynchronous = AsyncUnreliableBackend(backend.store)

    def is_complete(contents: Contents) -> bool:
        return isinstance(contents, Indexed) and len(contents.items) == 2

    with ThreadPoolExecutor(1) as threads:
        sync_wait = threads.submit(wait, backend, KeyWait((b"i",), is_complete), LONG)
        async_wait = asyncio.create_task(wait_async(asynchronous, KeyWait((b"i",), is_complete)))
        await asyncio.sleep(0.2)
        backend.failures = asynchronous.failures = 2
        writer = MemoryBackend(backend.store)
        writer.execute_many([SetIndexed(b"i", b"a", b"1"), SetIndexed(b"i", b"b", b"2")])
        await asyncio.wait_for(async_wait, LONG)
        await asyncio.wrap_future(sync_wait)
    assert (backend.failures, asynchronous.failures) == (0, 0)


async def test_a_thousand_waits_share_one_connection(newest_url: str) -> None:
    """A thousand tasks wait on one pub/sub connection, each for its own key."""
    async with await AsyncRedisBackend.from_url(newest_url) as backend:
        tasks = [
            asyncio.create_task(wait_async(backend, KeyWait((b"k%d" % number,))))
            for number in range(1000)
        ]
        with redis.Redis.from_url(newest_url) as client:
            while len(client.pubsub_channels("update/*")) < 1000:
                await asyncio.sleep(0.02)
            subscribed = [each for each in client.client_list() if each["sub"] != "0"]
        assert [each["sub"] for each in subscribed] == ["1000"]
        await backend.execute_many([SetImmutable(b"k%d" % number, b"x") for number in range(1000)])
        await asyncio.wait_for(asyncio.gather(*tasks), LONG)


async def test_a_cancelled_wait_leaves_nothing(newest_url: str) -> None:
    """A cancelled wait leaves no subscription and does not disturb others."""
    async with await AsyncRedisBackend.from_url(newest_url) as backend:
        staying = asyncio.create_task(wait_async(backend, KeyWait((b"stay",))))
        for number in range(20):
            task = asyncio.create_task(wait_async(backend, KeyWait((b"go",))))
            await asyncio.sleep(0.003 * (number % 5))
            task.cancel()
            await asyncio.wait([task])
        with redis.Redis.from_url(newest_url) as client:
            while client.pubsub_channels("*") != [b"update/stay"]:
                await asyncio.sleep(0.02)
        await backend.execute(SetImmutable(b"stay", b"x"))
        await asyncio.wait_for(staying, LONG)
        before = set(asyncio.all_tasks())
    left = asyncio.all_tasks() & before - {asyncio.current_task()}
    assert not [task for task in left if not task.done()]


def test_a_synchronous_wait_ends(newest_url: str) -> None:
    """A wait ends when it times out, is cancelled, or the backend is closed."""
    for backend in (RedisBackend.from_url(newest_url), MemoryBackend()):
        with backend, ThreadPoolExecutor(1) as threads:
            with pytest.raises(TimeoutError, match="'k'"):
                wait(backend, KeyWait((b"k",)), timeout=0.05)
            cancel: Future[None] = Future()
            waiting = threads.submit(wait, backend, KeyWait((b"k",)), None, cancel)
            time.sleep(0.1)
            cancel.set_result(None)
            with pytest.raises(CancelledError, match="'k'"):
                waiting.result(LONG)
            waiting = threads.submit(wait, backend, KeyWait((b"k",)))
            time.sleep(0.1)
            backend.close()
            with pytest.raises(CancelledError, match="closed"):
                waiting.result(LONG)


@pytest.mark.parametrize("exists", [True, False], ids=["exists", "not-yet"])
async def test_a_wait_on_eight_prefixes_takes_no_more_round_trips(
    newest_url: str, asynchronous: bool, exists: bool
) -> None:
    """One if the key exists, else one each to query, to subscribe, to query again, and to unsubscribe."""
    subject = real(asynchronous, newest_url)
    # Only the last key is written.
    counts = {1: list[int](), 8: list[int]()}
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as writer:
        for turn in range(10):
            depth = (8, 1)[turn % 2]
            keys = tuple(b"%b%d" % (key, turn) for key in EIGHT[-depth:])
            write, channel = SetImmutable(keys[-1], b"1"), b"update/" + keys[-1]
            # So that the connection for updates exists.
            async with subject.watch(b"other") as watcher:
                assert await watcher.next() is CheckDue.SUBSCRIBED
                if exists:
                    writer.execute(write)
                before = client.info("stats")["total_reads_processed"]
                waiting = asyncio.create_task(subject.wait(KeyWait(keys)))
                while not exists and client.pubsub_numsub(channel)[0][1] == 0:
                    before += 1  # for PUBSUB NUMSUB
                    await asyncio.sleep(0.01)
                if not exists:
                    await asyncio.sleep(0.1)
                    writer.execute(write)
                    before += 2  # for the last PUBSUB NUMSUB, and the write
                await waiting
                while not exists and client.pubsub_numsub(channel)[0][1] > 0:
                    before += 1
                    await asyncio.sleep(0.01)
                before += not exists
                after = client.info("stats")["total_reads_processed"]
            counts[depth].append(after - before - 1)  # without the INFO
    await subject.close()
    least = {depth: min(each) for depth, each in counts.items()}
    assert least[8] == least[1]
    assert not exists or least[1] == 1
