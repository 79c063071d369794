"""Waits and what befalls servers, clients and the lines between them: nobody else is harmed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from conftest import SERVERS
from proxy import Proxy

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CancelledError,
    ConnectionError,
    Exists,
    KeysWait,
    KeyWait,
    RedisBackend,
    RetryPolicy,
    SetImmutable,
    TimeoutError,
    wait,
    wait_async,
)
from telstate_backends.redis import _heartbeat
from telstate_codec.timestamps import encode_sample
from telstate_testing import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVERS, reason="there is no Redis server"),
]

#: Far longer than any test may take: whatever ends, does so for another reason than this.
NEVER = 3600
LONG = 30.0


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Any]:
    """A client of redis-py's for it, most of whose methods have no annotations."""
    with redis.Redis(port=server.port) as client:
        yield client


async def until(condition: Callable[[], object]) -> None:
    """Let others go on until something is so."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_wait_ends_in_time_though_the_server_is_dead(server: RedisServer) -> None:
    """The timeout and the cancel future count at the first look too, however long retries go on."""
    retry = RetryPolicy(seconds=NEVER)
    with (
        RedisBackend.from_url(server.url, retry=retry) as backend,
        ThreadPoolExecutor(1) as threads,
    ):
        server.kill()
        for timeout in (0.0, 0.3):
            with pytest.raises(TimeoutError, match="'k'") as caught:
                threads.submit(wait, backend, KeyWait((b"k",)), timeout).result(LONG)
            assert isinstance(caught.value.__cause__, ConnectionError)
        cancel: Future[None] = Future()
        waiting = threads.submit(wait, backend, KeyWait((b"k",)), None, cancel)
        cancel.set_result(None)
        with pytest.raises(CancelledError, match="'k'"):
            waiting.result(LONG)
        wanted = KeysWait([(b"a_k", b"k"), (b"l",)])
        with pytest.raises(TimeoutError, match="'a_k' or 'k' and key 'l'"):
            threads.submit(wait, backend, wanted, 0.1).result(LONG)


def test_without_a_time_limit_a_dead_server_is_an_error_at_the_first_look(
    server: RedisServer,
) -> None:
    """Where nothing else ends the wait, the bound of the backend's retries does."""
    with RedisBackend.from_url(server.url, retry=RetryPolicy(seconds=0.1)) as backend:
        server.kill()
        for timeout in (None, NEVER):
            with pytest.raises(ConnectionError, match=str(server.port)):
                wait(backend, KeyWait((b"k",)), timeout)


async def test_a_wait_ends_in_time_in_a_black_hole(server: RedisServer) -> None:
    """A first look that is never answered ends with the time limit, not with the socket's timeout."""
    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}?socket_timeout={NEVER}"
        with RedisBackend.from_url(url) as backend, ThreadPoolExecutor(1) as threads:
            backend.execute(Exists((b"k",)))
            proxy.swallow = True
            with pytest.raises(TimeoutError, match="'k'"):
                threads.submit(wait, backend, KeyWait((b"k",)), 0.1).result(LONG)
            proxy.swallow = False
            assert not backend.execute(Exists((b"k",)))
        async with await AsyncRedisBackend.from_url(url) as asynchronous:
            proxy.swallow = True
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.1):
                    await wait_async(asynchronous, KeyWait((b"k",)))
            proxy.swallow = False


def test_a_healthy_server_is_asked_even_without_any_time(server: RedisServer) -> None:
    """With a timeout of zero, or cancelled already, what is true is found to be."""
    done: Future[None] = Future()
    done.set_result(None)
    with RedisBackend.from_url(server.url) as backend:
        backend.execute(SetImmutable(b"k", b"1"))
        for _ in range(100):
            wait(backend, KeyWait((b"k",)), 0.0)
            wait(backend, KeyWait((b"k",)), None, done)


WAITER = """
import asyncio, sys
from telstate_backends import AsyncRedisBackend, KeyWait, RedisBackend, wait, wait_async

async def main():
    backend = await AsyncRedisBackend.from_url(sys.argv[1])
    await asyncio.gather(*(wait_async(backend, KeyWait((b"k",))) for _ in range(10)))

if sys.argv[2] == "asyncio":
    asyncio.run(main())
else:
    wait(RedisBackend.from_url(sys.argv[1]), KeyWait((b"k",)))
print("awake", flush=True)
"""


@contextmanager
def client(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process of its own, to be killed at the end at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def waiters(admin: Any) -> int:
    """Count those who are subscribed to the key of the tests."""
    ((_, count),) = admin.pubsub_numsub("update/k")
    return int(count)


@pytest.mark.parametrize("manner", ["sync", "asyncio"])
async def test_a_client_that_is_killed_while_it_waits(
    server: RedisServer, admin: Any, manner: str
) -> None:
    """Of a process killed with -9 nothing is left on the server, and other waiters wake."""
    async with await AsyncRedisBackend.from_url(server.url) as backend:
        other = asyncio.create_task(wait_async(backend, KeyWait((b"k",))))
        await until(lambda: waiters(admin) == 1)
        with (
            client(WAITER, server.url, manner) as first,
            client(WAITER, server.url, manner) as second,
        ):
            await until(lambda: waiters(admin) == 3)
            first.kill()
            await until(lambda: waiters(admin) == 2)
            await backend.execute(SetImmutable(b"k", b"1"))
            await asyncio.wait_for(other, LONG)
            output, _ = await asyncio.to_thread(second.communicate, timeout=LONG)
            assert output == "awake\n"
        await until(lambda: waiters(admin) == 0)
        # One for commands and one for updates, and the one that looks.
        await until(lambda: len(admin.client_list()) <= 3)


async def test_a_client_in_a_black_hole(
    server: RedisServer, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears nothing harms nobody, leaves no subscription, and wakes when the line is back."""
    monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 0.1)
    monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 0.1)
    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}?socket_timeout=0.5"
        async with (
            await AsyncRedisBackend.from_url(server.url) as backend,
            await AsyncRedisBackend.from_url(url) as cut_off,
        ):
            with RedisBackend.from_url(url) as sync_cut_off, ThreadPoolExecutor(1) as threads:
                # The one that is well is not to ask whether its line lives all the time.
                monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 15.0)
                monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 5.0)
                other = asyncio.create_task(wait_async(backend, KeyWait((b"k",))))
                await until(lambda: waiters(admin) == 1)
                monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 0.1)
                monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 0.1)
                task = asyncio.create_task(wait_async(cut_off, KeyWait((b"k",))))
                waiting = threads.submit(wait, sync_cut_off, KeyWait((b"k",)), LONG)
                await until(lambda: waiters(admin) == 3)
                proxy.swallow = True
                await backend.execute(SetImmutable(b"k", b"1"))
                await asyncio.wait_for(other, LONG)
                # They give up their lines, and with these go the subscriptions.
                await until(lambda: waiters(admin) == 0)
                assert not task.done() and not waiting.done()
                proxy.swallow = False
                await asyncio.wait_for(task, LONG)
                await asyncio.wrap_future(waiting)
        await until(lambda: waiters(admin) == 0)


FOLLOWER = """
import asyncio, sys
from telstate_backends import AsyncFollower, AsyncRedisBackend, Follower, RedisBackend, Update

told, losses = [], 0

def take(news):
    global losses
    if not isinstance(news, Update):
        losses += 1
    elif news.value == b"end":
        return True
    else:
        told.append(int(news.value.rstrip(b".")))

async def main():
    async with await AsyncRedisBackend.from_url(sys.argv[1]) as backend:
        async with AsyncFollower(backend, [(b"k",)]) as follower:
            print("ready", flush=True)
            while not take(await follower.next()):
                pass

if sys.argv[2] == "asyncio":
    asyncio.run(main())
else:
    with RedisBackend.from_url(sys.argv[1]) as backend, Follower(backend, [(b"k",)]) as follower:
        print("ready", flush=True)
        while not take(follower.next()):
            pass
print(len(told), sorted(told) == list(range(len(told))), losses > 0, flush=True)
"""


@pytest.mark.parametrize("manner", ["sync", "asyncio"])
async def test_a_client_that_is_stopped(server: RedisServer, admin: Any, manner: str) -> None:
    """A client that hangs is cut off by the server; when it goes on it is told each sample once."""
    count = 3000
    admin.config_set("client-output-buffer-limit", "pubsub 262144 0 0")
    with client(FOLLOWER, server.url, manner) as follower:
        assert follower.stdout is not None
        assert await asyncio.to_thread(follower.stdout.readline) == "ready\n"
        with RedisBackend.from_url(server.url) as backend:
            for number in range(count):
                if number == 1000:
                    follower.send_signal(signal.SIGSTOP)
                # Late and early, and too much for the socket's own buffers to hold.
                time = float(number if number % 2 else count - number)
                backend.execute(AddSample(b"k", encode_sample(time, b"%d" % number + b"." * 5000)))
            await until(lambda: waiters(admin) == 0)
            follower.send_signal(signal.SIGCONT)
            await until(lambda: waiters(admin) == 1)
            backend.execute(AddSample(b"k", encode_sample(float(count), b"end")))
        output, _ = await asyncio.to_thread(follower.communicate, timeout=LONG)
    assert output == f"{count} True True\n"
