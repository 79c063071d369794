"""An outage is one warning in the log and one when it is over, whoever begins to watch or wait in it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis.asyncio
from conftest import SERVERS

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
from telstate_backends.redis._heartbeat import Outage
from telstate_testing import RedisServer

SHORT = 0.1
LONG = 30.0
ONCE, OFTEN = RetryPolicy(seconds=0), RetryPolicy(seconds=LONG, longest_delay=0.02)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been told in the log of outages since the last time."""
    caplog.set_level(logging.INFO, "telstate_backends")

    def take() -> list[str]:
        texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        caplog.clear()
        return texts

    return take


def test_an_outage_is_told_once(told: Callable[[], list[str]]) -> None:
    """However many notice it; and it is over when all of them know, which is told once too."""
    outage, failure = Outage("host:1"), ConnectionError("gone")
    for _ in range(2):
        for _ in range(3):
            outage.miss(failure)
            outage.begin("a", failure)
            outage.begin("b", failure)
        (lost,) = told()
        assert lost == "Cannot begin to watch or wait; trying again: gone"
        for _ in range(3):
            outage.answer()
            outage.end("a")
            assert told() == []
        outage.end("b")
        outage.end("b")
        assert told() == ["Redis at host:1 is watched again"]


def test_who_leaves_in_an_outage_does_not_end_it(told: Callable[[], list[str]]) -> None:
    """A watcher that goes while the server is lost leaves it to the next answer to end the outage."""
    outage, failure = Outage("host:1"), ConnectionError("gone")
    outage.begin("a", failure)
    outage.leave("a")
    outage.leave("another")
    outage.miss(failure)
    assert len(told()) == 1
    outage.answer()
    outage.answer()
    assert told() == ["Redis at host:1 answers again"]


def test_threads_tell_once(told: Callable[[], list[str]]) -> None:
    """Of threads that notice it at the same time, one tells."""
    outage, barrier = Outage("host:1"), threading.Barrier(8)

    def notice(number: int) -> None:
        barrier.wait(LONG)
        outage.begin(number, ConnectionError("gone"))

    threads = [threading.Thread(target=notice, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told()) == 1


def test_a_wait_that_begins_without_a_server(told: Callable[[], list[str]]) -> None:
    """Its TimeoutError says why, and one warning is in the log, however many waits there are."""
    server = fakeredis.FakeServer()
    with RedisBackend(fakeredis.FakeRedis(server=server), retry=OFTEN) as backend:
        server.connected = False
        why = f"Redis at {backend.address} cannot be reached"
        for _ in range(2):
            with pytest.raises(TimeoutError, match=f"0.1 s of waiting for key 'k': {why}"):
                wait(backend, KeyWait((b"k",)), SHORT)
            with pytest.raises(TimeoutError, match=why):
                Follower(backend, [(b"k",)]).begin(SHORT)
        (lost,) = told()
        assert lost.startswith(f"Cannot begin to watch or wait; trying again: {why}")
        server.connected = True
        assert backend.execute(Exists((b"k",))) is False
        assert told() == [f"Redis at {backend.address} answers again"]
        with pytest.raises(TimeoutError, match="key 'k' did not come"):
            wait(backend, KeyWait((b"k",)), SHORT)
        assert told() == []


async def test_an_asyncio_wait_that_begins_without_a_server(
    told: Callable[[], list[str]],
) -> None:
    """The log tells, once, what asyncio's own TimeoutError does not."""
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
        (lost,) = told()
        assert lost.startswith("Cannot begin to watch or wait") and backend.address in lost
        server.connected = True
        assert await backend.execute(Exists((b"k",))) is False
        assert told() == [f"Redis at {backend.address} answers again"]


async def test_a_server_that_says_nothing(
    told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is there but silent is told too, before anything has failed; a quick one is not."""
    monkeypatch.setattr("telstate_backends.redis._silence.SILENCE", SHORT)
    monkeypatch.setattr("telstate_backends.redis._silence.DOUBT", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with AsyncRedisBackend(redis.asyncio.Redis(port=port)) as backend:
            for _ in range(2):
                with pytest.raises(asyncio.TimeoutError):
                    async with asyncio.timeout(3 * SHORT):
                        await wait_async(backend, KeyWait((b"k",)))
            (silent,) = told()
            assert (
                silent.startswith("Cannot begin to watch") and f":{port} has not answered" in silent
            )
    async with AsyncRedisBackend(fakeredis.FakeAsyncRedis()) as quick:
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(3 * SHORT):
                await wait_async(quick, KeyWait((b"k",)))
    assert told() == []


async def test_what_is_an_error_at_once_is_not_logged(told: Callable[[], list[str]]) -> None:
    """Neither the error that a wait begins with, nor anything of who does not wait."""
    server = fakeredis.FakeServer()
    with RedisBackend(fakeredis.FakeRedis(server=server), retry=ONCE) as backend:
        server.connected = False
        with pytest.raises(ConnectionError):
            wait(backend, KeyWait((b"k",)))
    server.connected = True
    with RedisBackend(fakeredis.FakeRedis(server=server), retry=RetryPolicy(SHORT)) as backend:
        server.connected = False
        with pytest.raises(ConnectionError):
            backend.execute(Exists((b"k",)))
    assert told() == []


@pytest.mark.slow
@pytest.mark.skipif(not SERVERS, reason="there is no Redis server")
async def test_a_server_that_dies_and_comes_back(
    server: RedisServer, told: Callable[[], list[str]]
) -> None:
    """An outage from the midst of waits, over the beginning of others, to the end: told twice in all."""
    for asynchronous in (False, True):
        with RedisBackend.from_url(server.url) as backend:
            async with await AsyncRedisBackend.from_url(server.url) as other:

                def begin(seconds: float) -> Any:
                    wanted = KeyWait((b"k",))
                    if asynchronous:
                        return asyncio.wait_for(wait_async(other, wanted), seconds)
                    return asyncio.to_thread(wait, backend, wanted, seconds)

                first = [asyncio.create_task(begin(3.0)) for _ in range(2)]
                await asyncio.sleep(0.5)
                server.kill()
                await asyncio.sleep(0.5)
                second = [asyncio.create_task(begin(1.0)) for _ in range(2)]
                failures = await asyncio.gather(*first, *second, return_exceptions=True)
                if not asynchronous:
                    for failure in failures:
                        assert isinstance(failure, TimeoutError)
                        assert "cannot be reached" in str(failure) and "'k'" in str(failure)
                assert ["Lost the connection" in text for text in told()] == [True]
                server.start()
                if asynchronous:
                    await other.execute(Exists((b"k",)))
                else:
                    backend.execute(Exists((b"k",)))
                assert told() == [f"Redis at 127.0.0.1:{server.port} answers again"]
