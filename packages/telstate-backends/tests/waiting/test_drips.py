"""A server that sends one byte at a time holds nobody up for longer than a server that sends none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SERVERS
from proxy import Proxy
from subjects import LONG

from telstate_backends import (
    AsyncRedisBackend,
    CheckDue,
    ConnectionError,
    Deadline,
    Exists,
    Get,
    Immutable,
    KeyWait,
    RedisBackend,
    RetryPolicy,
    SetImmutable,
    TimeoutError,
    wait,
)

pytestmark = pytest.mark.skipif(not SERVERS, reason="there is no Redis server")

#: Seconds between two bytes. No reply of the tests is complete in less than LONG.
PAUSE = 0.15
NO_RETRY = RetryPolicy(0.0)
NEVER = 3600
LATE = "did not answer in time|cannot be reached"


@pytest.fixture
def dripping(newest_url: str) -> Iterator[Proxy]:
    """A proxy to a server that has a value; what it replies, it sends fast at first."""
    with RedisBackend.from_url(newest_url) as backend:
        backend.execute(SetImmutable(b"k", bytes(1000)))
    with Proxy(int(newest_url.rpartition(":")[2])) as proxy:
        yield proxy
        proxy.delay = 0.0


def drip(proxy: Proxy, first: int = 0) -> None:
    """Let connections from a number on drip from now on."""
    proxy.delay, proxy.drip_from = PAUSE, first


def url_of(proxy: Proxy, timeout: float) -> str:
    """Return the URL of a proxy, with a timeout; what is replied when a connection is made is long."""
    return f"redis://127.0.0.1:{proxy.port}?socket_timeout={timeout}&protocol=3"


def in_time(call: Callable[[], object]) -> object:
    """Return the result of a call, which must not take long."""
    threads = ThreadPoolExecutor(1)
    try:
        return threads.submit(call).result(LONG)
    finally:
        threads.shutdown(wait=False)


def test_a_connection(dripping: Proxy, asynchronous: bool) -> None:
    """The socket timeout limits all replies to the login together."""
    drip(dripping)
    url = url_of(dripping, 0.5)
    with pytest.raises(ConnectionError, match=LATE):
        if asynchronous:
            in_time(lambda: asyncio.run(AsyncRedisBackend.from_url(url)))
        else:
            in_time(lambda: RedisBackend.from_url(url))


def test_a_connection_to_a_cluster(dripping: Proxy, asynchronous: bool) -> None:
    """It limits what redis-py asks a node of a cluster too."""
    drip(dripping)
    url = url_of(dripping, 0.5).replace("redis:", "redis+cluster:")
    with pytest.raises(ConnectionError, match="cluster"):
        if asynchronous:
            in_time(lambda: asyncio.run(AsyncRedisBackend.from_url(url)))
        else:
            in_time(lambda: RedisBackend.from_url(url))


@pytest.mark.parametrize("count", [1, 2])
def test_a_reply(dripping: Proxy, asynchronous: bool, count: int) -> None:
    """The socket timeout limits a reply, and a batch of them."""
    operations = [Get((b"k",))] * count
    if asynchronous:

        async def call() -> object:
            url = url_of(dripping, 0.5)
            async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
                drip(dripping)
                return await backend.execute_many(operations)

        with pytest.raises(ConnectionError, match=LATE):
            in_time(lambda: asyncio.run(call()))
        return
    with RedisBackend.from_url(url_of(dripping, 0.5), retry=NO_RETRY) as backend:
        drip(dripping)
        with pytest.raises(ConnectionError, match=LATE):
            in_time(lambda: backend.execute_many(operations))
        with pytest.raises(ConnectionError, match=LATE):
            in_time(lambda: backend.execute(operations[0]))


def test_a_deadline(dripping: Proxy) -> None:
    """A deadline limits a reply, and a connection that must be made for it, though the timeout does not."""
    with RedisBackend.from_url(url_of(dripping, NEVER), retry=NO_RETRY) as backend:
        drip(dripping)
        for _ in range(2):  # the second time on a new connection
            with pytest.raises(ConnectionError, match=LATE):
                in_time(lambda: backend.execute(Get((b"k",)), deadline=Deadline.after(0.1)))


@pytest.mark.parametrize("first", [0, 1], ids=["query", "subscription"])
def test_a_wait(dripping: Proxy, first: int) -> None:
    """The timeout of a wait holds while it queries the store, and while it connects to be told of updates."""
    with RedisBackend.from_url(url_of(dripping, NEVER)) as backend:
        backend.execute(Exists((b"missing",)))
        drip(dripping, first)
        with pytest.raises(TimeoutError, match="missing"):
            in_time(lambda: wait(backend, KeyWait((b"missing",)), timeout=0.5))


def test_a_message(newest_url: str, dripping: Proxy) -> None:
    """A part of a message is not waited for, and lost neither."""
    with (
        RedisBackend.from_url(newest_url) as writer,
        RedisBackend.from_url(url_of(dripping, NEVER)) as backend,
        backend.watch([b"new"]) as watcher,
    ):
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        drip(dripping)
        writer.execute(SetImmutable(b"new", bytes(200)))
        assert in_time(lambda: [watcher.next(0.1) for _ in range(5)]) == [None] * 5
        dripping.delay = 0.0
        event = watcher.next(LONG)
        assert getattr(event, "value", None) == bytes(200)


@pytest.mark.parametrize("header", [b"*3\r\n$", b"%7\r\n$"], ids=["reply", "login"])
def test_a_header_of_a_billion_elements(dripping: Proxy, asynchronous: bool, header: bytes) -> None:
    """It is an invalid reply; hiredis would spend more than 20 s on it."""
    dripping.replace = (header, header[:1] + b"1000000000\r\n$")
    with pytest.raises(ConnectionError, match="invalid reply"):
        if asynchronous:

            async def call() -> object:
                url = url_of(dripping, NEVER)
                async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
                    return await backend.execute(Get((b"k",)))

            in_time(lambda: asyncio.run(call()))
        else:
            with RedisBackend.from_url(url_of(dripping, NEVER), retry=NO_RETRY) as backend:
                in_time(lambda: backend.execute(Get((b"k",))))


def test_a_long_reply_that_arrives_steadily(newest_url: str, asynchronous: bool) -> None:
    """It may take several times as long as the socket timeout."""
    value = bytes(1 << 20)
    with RedisBackend.from_url(newest_url) as backend:
        backend.execute(SetImmutable(b"long", value))
    with _SlowProxy(int(newest_url.rpartition(":")[2])) as proxy:
        begun = time.monotonic()
        url = f"redis://127.0.0.1:{proxy.port}?socket_timeout=1"
        if asynchronous:

            async def call() -> object:
                async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
                    return await backend.execute(Get((b"long",)))

            assert asyncio.run(call()) == Immutable(value)
        else:
            with RedisBackend.from_url(url, retry=NO_RETRY) as backend:
                assert backend.execute(Get((b"long",))) == Immutable(value)
        assert time.monotonic() - begun > 1.0  # otherwise this tests nothing


class _SlowProxy(Proxy):
    """A proxy that passes on 64 KiB at a time at most, with a pause before each."""

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self.delay = 0.08
