"""An outage is one warning in the log and one when it is over, for all operations, waits and watches."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from conftest import needs_server
from subjects import LONG

from telstate_backends import (
    AsyncFollower,
    AsyncRedisBackend,
    ConnectionError,
    Exists,
    Follower,
    KeyWait,
    RedisBackend,
    RetryPolicy,
    TimeoutError,
    wait,
    wait_async,
)
from telstate_backends.retry import OPERATIONS, OutageLog
from telstate_testing import RedisServer

SHORT = 0.1
ONCE, OFTEN = RetryPolicy(seconds=0), RetryPolicy(seconds=LONG, longest_delay=0.02)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the warnings in the log since the last call."""
    caplog.set_level(logging.INFO, "telstate_backends")

    def take() -> list[str]:
        texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        caplog.clear()
        return texts

    return take


def test_an_outage_is_logged_once(warnings: Callable[[], list[str]]) -> None:
    """However many sources notice it; it is over when all of them have an answer."""
    outages, failure = OutageLog("host:1"), ConnectionError("gone")
    for _ in range(2):
        for _ in range(3):
            for source in (OPERATIONS, "a", "b"):
                outages.begin(source, failure)
        assert warnings() == ["Waiting for Redis at host:1: gone"]
        for _ in range(3):
            outages.end(OPERATIONS)
            outages.end("a")
            assert outages.waiting and warnings() == []
        outages.end("b")
        outages.end("b")
        assert not outages.waiting
        assert warnings() == ["Redis at host:1 answers again."]


def test_a_watcher_that_leaves_does_not_end_an_outage(warnings: Callable[[], list[str]]) -> None:
    """When the last watcher leaves, the next answer to an operation ends the outage."""
    outages, failure = OutageLog("host:1"), ConnectionError("gone")
    outages.begin("a", failure)
    outages.leave("a")
    outages.leave("another")
    outages.begin(OPERATIONS, failure)
    assert len(warnings()) == 1
    outages.end(OPERATIONS)
    outages.end(OPERATIONS)
    assert warnings() == ["Redis at host:1 answers again."]


def test_one_of_many_threads_logs_an_outage(warnings: Callable[[], list[str]]) -> None:
    """Of threads that notice it at the same time, one logs it."""
    outages, barrier = OutageLog("host:1"), threading.Barrier(8)

    def notice(number: int) -> None:
        barrier.wait(LONG)
        outages.begin(number, ConnectionError("gone"))

    threads = [threading.Thread(target=notice, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(warnings()) == 1


def test_a_wait_without_a_server(warnings: Callable[[], list[str]]) -> None:
    """Its `TimeoutError` says why, and there is one warning, however many waits there are."""
    server = fakeredis.FakeServer()
    with RedisBackend(fakeredis.FakeRedis(server=server), retry=OFTEN) as backend:
        server.connected = False
        why = f"Redis at {backend.address} cannot be reached"
        for _ in range(2):
            with pytest.raises(TimeoutError, match=f"0.1 s while waiting for key 'k': {why}"):
                wait(backend, KeyWait((b"k",)), SHORT)
            with pytest.raises(TimeoutError, match=why):
                Follower(backend, [(b"k",)]).begin(SHORT)
        (lost,) = warnings()
        assert lost.startswith(f"Waiting for Redis at {backend.address}: {why}")
        server.connected = True
        assert backend.execute(Exists((b"k",))) is False
        assert warnings() == [f"Redis at {backend.address} answers again."]
        with pytest.raises(TimeoutError, match="while waiting for key 'k'.$"):
            wait(backend, KeyWait((b"k",)), SHORT)
        assert warnings() == []


async def test_an_asyncio_wait_without_a_server(
    warnings: Callable[[], list[str]],
) -> None:
    """The log says why, once; the `TimeoutError` of asyncio does not."""
    server = fakeredis.FakeServer()
    async with AsyncRedisBackend(fakeredis.FakeAsyncRedis(server=server), retry=OFTEN) as backend:
        assert await backend.execute(Exists((b"k",))) is False
        server.connected = False
        for _ in range(2):
            waits: list[Any] = [wait_async(backend, KeyWait((b"k",))) for _ in range(3)]
            waits.append(AsyncFollower(backend, [(b"k",)]).__aenter__())
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(SHORT):
                    await asyncio.gather(*waits)
        (lost,) = warnings()
        assert lost.startswith(f"Waiting for Redis at {backend.address}")
        server.connected = True
        assert await backend.execute(Exists((b"k",))) is False
        assert warnings() == [f"Redis at {backend.address} answers again."]


async def test_a_silent_server(warnings: Callable[[], list[str]]) -> None:
    """A server that accepts connections but does not answer is logged when the socket timeout passes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = redis.asyncio.Redis(port=port, socket_timeout=SHORT)
        async with AsyncRedisBackend(client, retry=OFTEN) as backend:
            for _ in range(2):
                with pytest.raises(asyncio.TimeoutError):
                    async with asyncio.timeout(3 * SHORT):
                        await wait_async(backend, KeyWait((b"k",)))
            (lost,) = warnings()
            assert lost.startswith("Waiting for Redis at") and f":{port} did not answer" in lost


async def test_every_retried_operation_is_logged(warnings: Callable[[], list[str]]) -> None:
    """An operation that is retried is logged, and one that fails at once is not."""
    server = fakeredis.FakeServer()
    with RedisBackend(fakeredis.FakeRedis(server=server), retry=ONCE) as backend:
        server.connected = False
        with pytest.raises(ConnectionError):
            wait(backend, KeyWait((b"k",)))
        assert warnings() == []
    server.connected = True
    with RedisBackend(fakeredis.FakeRedis(server=server), retry=RetryPolicy(SHORT)) as backend:
        server.connected = False
        with pytest.raises(ConnectionError):
            backend.execute(Exists((b"k",)))
        assert len(warnings()) == 1
        server.connected = True
        backend.execute(Exists((b"k",)))
        assert warnings() == [f"Redis at {backend.address} answers again."]


@pytest.mark.slow
@needs_server
async def test_a_server_that_dies_and_comes_back(
    server: RedisServer, warnings: Callable[[], list[str]]
) -> None:
    """An outage that begins during waits and lasts while others begin is logged twice in all."""
    for asynchronous in (False, True):
        with RedisBackend.from_url(server.url) as backend:
            async with await AsyncRedisBackend.from_url(server.url) as other:

                def begin(seconds: float) -> Any:
                    wanted = KeyWait((b"k",))
                    if asynchronous:
                        return asyncio.wait_for(wait_async(other, wanted), seconds)
                    return asyncio.to_thread(wait, backend, wanted, seconds)

                first = [asyncio.create_task(begin(3.0)) for _ in range(2)]
                # All waits of a backend share one connection.
                subscribed = [(b"update/k", 1)]
                with redis.Redis(port=server.port) as client:
                    while client.pubsub_numsub("update/k") != subscribed:
                        await asyncio.sleep(0.01)
                server.kill()
                await asyncio.sleep(0.1)
                second = [asyncio.create_task(begin(0.5)) for _ in range(2)]
                failures = await asyncio.gather(*first, *second, return_exceptions=True)
                if not asynchronous:
                    for failure in failures:
                        assert isinstance(failure, TimeoutError)
                        assert "cannot be reached" in str(failure) and "'k'" in str(failure)
                (lost,) = warnings()
                assert lost.startswith("Waiting for Redis at")
                server.start()
                if asynchronous:
                    await other.execute(Exists((b"k",)))
                else:
                    backend.execute(Exists((b"k",)))
                assert warnings() == [f"Redis at 127.0.0.1:{server.port} answers again."]
