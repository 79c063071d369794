"""Waits while servers, clients and connections fail: others are not affected."""

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
from conftest import needs_server
from proxy import Proxy
from subjects import LONG

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
    needs_server,
]

#: Far longer than any test may take, so that nothing ends because of it.
NEVER = 3600


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Any]:
    """A redis-py client of the server; most of its methods have no annotations."""
    with redis.Redis(port=server.port) as client:
        yield client


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until a condition is true."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_wait_on_a_dead_server_ends_in_time(server: RedisServer) -> None:
    """The timeout and the cancel future also end the first query, however long it is retried."""
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


def test_a_wait_on_a_dead_server_without_a_timeout(
    server: RedisServer,
) -> None:
    """Without a timeout that ends it before, the first query fails after the backend's retries."""
    with RedisBackend.from_url(server.url, retry=RetryPolicy(seconds=0.1)) as backend:
        server.kill()
        for timeout in (None, NEVER):
            with pytest.raises(ConnectionError, match=str(server.port)):
                wait(backend, KeyWait((b"k",)), timeout)


async def test_a_wait_on_a_silent_server_ends_in_time(server: RedisServer) -> None:
    """A first query without a reply ends with the timeout of the wait, not with the socket timeout."""
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


def test_a_timeout_of_zero(server: RedisServer) -> None:
    """With a timeout of zero, or already cancelled, a wait for an existing key succeeds."""
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
    """Run Python code in a process of its own, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def count_subscribers(admin: Any) -> int:
    """Return the number of subscribers to the key of the tests."""
    ((_, count),) = admin.pubsub_numsub("update/k")
    return int(count)


@pytest.mark.parametrize("mode", ["sync", "asyncio"])
async def test_killing_a_waiting_client(server: RedisServer, admin: Any, mode: str) -> None:
    """A process killed with -9 leaves nothing on the server, and other waits end normally."""
    async with await AsyncRedisBackend.from_url(server.url) as backend:
        other = asyncio.create_task(wait_async(backend, KeyWait((b"k",))))
        await until(lambda: count_subscribers(admin) == 1)
        with (
            client(WAITER, server.url, mode) as first,
            client(WAITER, server.url, mode) as second,
        ):
            await until(lambda: count_subscribers(admin) == 3)
            first.kill()
            await until(lambda: count_subscribers(admin) == 2)
            await backend.execute(SetImmutable(b"k", b"1"))
            await asyncio.wait_for(other, LONG)
            output, _ = await asyncio.to_thread(second.communicate, timeout=LONG)
            assert output == "awake\n"
        await until(lambda: count_subscribers(admin) == 0)
        # One for commands, one for updates, and that of the admin.
        await until(lambda: len(admin.client_list()) <= 3)


async def test_a_client_behind_a_silent_connection(
    server: RedisServer, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no subscription, affects no other, and its waits end once it can reconnect."""
    monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 0.1)
    monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 0.1)
    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        async with (
            await AsyncRedisBackend.from_url(server.url) as backend,
            await AsyncRedisBackend.from_url(url) as cut_off,
        ):
            with RedisBackend.from_url(url) as sync_cut_off, ThreadPoolExecutor(1) as threads:
                # The healthy one need not send PINGs all the time.
                monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 15.0)
                monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 5.0)
                other = asyncio.create_task(wait_async(backend, KeyWait((b"k",))))
                await until(lambda: count_subscribers(admin) == 1)
                monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 0.1)
                monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 0.1)
                task = asyncio.create_task(wait_async(cut_off, KeyWait((b"k",))))
                waiting = threads.submit(wait, sync_cut_off, KeyWait((b"k",)), LONG)
                await until(lambda: count_subscribers(admin) == 3)
                proxy.swallow = True
                await backend.execute(SetImmutable(b"k", b"1"))
                await asyncio.wait_for(other, LONG)
                # They give up their connections, which ends their subscriptions.
                await until(lambda: count_subscribers(admin) == 0)
                assert not task.done() and not waiting.done()
                proxy.swallow = False
                proxy.cut()
                await asyncio.wait_for(task, LONG)
                await asyncio.wrap_future(waiting)
        await until(lambda: count_subscribers(admin) == 0)


FOLLOWER = """
import asyncio, sys
from telstate_backends import AsyncFollower, AsyncRedisBackend, Follower, RedisBackend, Update

values, gaps = [], 0

def take(change):
    global gaps
    if not isinstance(change, Update):
        gaps += 1
    elif change.value == b"end":
        return True
    else:
        values.append(int(change.value.rstrip(b".")))

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
print(len(values), sorted(values) == list(range(len(values))), gaps > 0, flush=True)
"""


@pytest.mark.parametrize("mode", ["sync", "asyncio"])
async def test_a_suspended_client(server: RedisServer, admin: Any, mode: str) -> None:
    """The server disconnects a client that hangs; when it continues, it gets each sample once."""
    count = 3000
    admin.config_set("client-output-buffer-limit", "pubsub 262144 0 0")
    with client(FOLLOWER, server.url, mode) as follower:
        assert follower.stdout is not None
        assert await asyncio.to_thread(follower.stdout.readline) == "ready\n"
        with RedisBackend.from_url(server.url) as backend:
            for number in range(count):
                if number == 1000:
                    follower.send_signal(signal.SIGSTOP)
                # In and out of order, and too much for the buffers of the socket.
                time = float(number if number % 2 else count - number)
                backend.execute(AddSample(b"k", encode_sample(time, b"%d" % number + b"." * 5000)))
            await until(lambda: count_subscribers(admin) == 0)
            follower.send_signal(signal.SIGCONT)
            await until(lambda: count_subscribers(admin) == 1)
            backend.execute(AddSample(b"k", encode_sample(float(count), b"end")))
        output, _ = await asyncio.to_thread(follower.communicate, timeout=LONG)
    assert output == f"{count} True True\n"
