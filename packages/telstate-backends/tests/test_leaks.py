"""A backend that was used for everything, or could not be created, leaves nothing behind.

Rules: what this process has (threads, tasks, file descriptors, children) and what the server has of it
(clients) is counted before, and must be the same in the end; what is still on its way is waited for.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

import fakeredis
import pytest
import redis
from conftest import KINDS, NEWEST, SERVERS

from telstate_backends import (
    AddSample,
    AsyncBackend,
    AsyncMemoryBackend,
    AsyncRedisBackend,
    Backend,
    CancelledError,
    CheckDue,
    Clear,
    ConnectionError,
    Get,
    Immutable,
    ImmutableKeyError,
    Keys,
    KeyTypes,
    KeyWait,
    MemoryBackend,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    SetImmutable,
    TimeoutError,
    load_records,
    load_records_async,
    wait,
    wait_async,
)
from telstate_codec import encode_sample
from telstate_rdb import KeyRecord
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.clusters import running_cluster, running_sentinel
from telstate_testing.servers import free_port

LONG = 30.0
#: Keys in different slots of a cluster.
VIEW = (b"a_k", b"b_k", b"k")
RECORDS = [KeyRecord(0, b"loaded%d" % number, b"\xff\x01") for number in range(100)]
NEWEST_KINDS = [
    kind for kind in KINDS if kind != "memory-archive" and (kind not in SERVERS or kind in NEWEST)
]
WITH_SENTINEL = [*NEWEST_KINDS, *(f"{name}-sentinel" for name in NEWEST)]

pytestmark = pytest.mark.slow


def thread_names() -> list[str]:
    """Return the names of all threads."""
    return [thread.name for thread in threading.enumerate()]


def resources() -> dict[str, object]:
    """Return the resources of this process."""
    gc.collect()
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        tasks = 0  # no loop is running
    with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
        children = file.read()
    return {
        # Those in which the tests run what would block are asyncio's, and stay.
        "threads": sorted(name for name in thread_names() if not name.startswith("asyncio_")),
        "tasks": tasks,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": children,
    }


async def resources_with_loop() -> dict[str, object]:
    """Return the resources of this process, with those of the running loop."""
    return resources()


def clients_on(client: redis.Redis) -> list[dict[str, str]]:
    """Return the clients of a server, without other nodes and Sentinels."""
    listed: list[dict[str, str]] = client.client_list(_type="normal")
    listed += client.client_list(_type="pubsub")
    return [each for each in listed if not each["name"].startswith("sentinel")]


def clients_of(port: int) -> int:
    """Return the number of clients of a server, without this one."""
    with redis.Redis(port=port) as client:
        return len(clients_on(client)) - 1


async def same_as(before: dict[str, object], ports: list[int]) -> None:
    """Wait until these resources are as before, and no server has a client of ours."""
    deadline = time.monotonic() + LONG
    while True:
        now = {name: each for name, each in resources().items() if name in before}
        left = [clients_of(port) for port in ports]
        if (now == before and not any(left)) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.02)
    assert (now, left) == (before, [0] * len(ports))


class Place:
    """A kind of store, and the ports of its servers."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.ports: list[int] = []
        self.url = ""
        self.kind = kind
        name, _, form = kind.rpartition("-")
        if form == "cluster":
            servers = stack.enter_context(running_cluster(SERVERS[name]))
            self.ports = [server.port for server in servers]
            self.url = f"redis+cluster://127.0.0.1:{self.ports[0]}"
        elif form == "sentinel":
            port, master = stack.enter_context(running_sentinel(SERVERS[name], down_after=60_000))
            self.ports = [master.port, port]
            self.url = f"redis+sentinel://127.0.0.1:{port}/store"
        elif kind not in ("memory", "fakeredis"):
            server = stack.enter_context(RedisServer(SERVERS[kind.removesuffix("-resp3")]))
            self.ports = [server.port]
            self.url = f"{server.url}?protocol={3 if kind.endswith('-resp3') else 2}"

    def backend(self) -> Backend:
        """Return a synchronous backend."""
        if self.url:
            return RedisBackend.from_url(self.url)
        return MemoryBackend() if self.kind == "memory" else RedisBackend(fakeredis.FakeRedis())

    async def async_backend(self) -> AsyncBackend:
        """Return an asyncio backend."""
        if self.url:
            return await AsyncRedisBackend.from_url(self.url)
        if self.kind == "memory":
            return AsyncMemoryBackend()
        return AsyncRedisBackend(fakeredis.FakeAsyncRedis())

    def cut(self) -> None:
        """Have the servers close all our connections, except where that is a failover, nearly."""
        for port in self.ports if not self.kind.endswith("-sentinel") else ():
            with redis.Redis(port=port) as client:
                for each in clients_on(client):
                    client.client_kill_filter(_id=each["id"], skipme=True)


@pytest.fixture(params=WITH_SENTINEL)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A store of each kind in turn, with servers of its own."""
    with ExitStack() as stack:
        yield Place(request.param, stack)


def use(backend: Backend, place: Place) -> None:
    """Use a synchronous backend for everything."""
    backend.execute(Clear())
    backend.execute_many([SetImmutable(key, b"1") for key in VIEW])
    assert backend.execute(Get(VIEW)) == Immutable(b"1")
    with pytest.raises(ImmutableKeyError):
        backend.execute(AddSample(b"k", encode_sample(1.0, b"v")))
    load_records(backend, RECORDS)
    assert len(backend.execute(Keys())) == 103
    assert len(backend.execute(KeyTypes())) == 103
    with backend.watch([b"k"], [b"x*"]) as watcher:
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        place.cut()
        backend.execute(SetImmutable(b"x", b"1"))
        assert watcher.next(LONG) is not None
    with pytest.raises(TimeoutError):
        wait(backend, KeyWait((b"v_never", b"never")), timeout=0.05)
    cancel: Future[None] = Future()
    threading.Timer(0.05, cancel.set_result, [None]).start()
    with pytest.raises(CancelledError):
        wait(backend, KeyWait((b"never",)), LONG, cancel)
    place.cut()
    writer = threading.Timer(0.05, backend.execute, [SetImmutable(b"late", b"1")])
    writer.start()
    wait(backend, KeyWait((b"v_late", b"late")), LONG)
    writer.join()


async def use_async(backend: AsyncBackend, place: Place) -> None:
    """Use an asyncio backend for everything."""
    await backend.execute(Clear())
    await backend.execute_many([SetImmutable(key, b"1") for key in VIEW])
    assert await backend.execute(Get(VIEW)) == Immutable(b"1")
    with pytest.raises(ImmutableKeyError):
        await backend.execute(AddSample(b"k", encode_sample(1.0, b"v")))
    await load_records_async(backend, RECORDS)
    keys, kinds = await backend.execute_many([Keys(), KeyTypes()])
    assert len(keys) == len(kinds) == 103
    async with backend.watch([b"k"], [b"x*"]) as watcher:
        assert await asyncio.wait_for(watcher.next(), LONG) is CheckDue.SUBSCRIBED
        await asyncio.to_thread(place.cut)
        await backend.execute(SetImmutable(b"x", b"1"))
        await asyncio.wait_for(watcher.next(), LONG)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(wait_async(backend, KeyWait((b"v_never", b"never"))), 0.05)
    waits = [asyncio.create_task(wait_async(backend, KeyWait((b"never",)))) for _ in range(20)]
    # This one still exists when the backend is closed.
    waits.append(asyncio.create_task(wait_async(backend, KeyWait((b"v_never",)))))
    late = asyncio.create_task(wait_async(backend, KeyWait((b"v_late", b"late"))))
    await asyncio.sleep(0.05)
    for task in waits[:-1]:
        task.cancel()
    await asyncio.to_thread(place.cut)
    await backend.execute(SetImmutable(b"late", b"1"))
    await asyncio.wait_for(late, LONG)
    backend.close()
    await backend.wait_closed()
    ends = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(end) for end in ends[:-1]} == {asyncio.CancelledError}
    assert isinstance(ends[-1], CancelledError | ConnectionError)


async def test_a_closed_backend_leaves_nothing(place: Place) -> None:
    """After a synchronous backend was used for everything and closed, all is as before."""

    def live() -> None:
        backend = place.backend()
        use(backend, place)
        backend.close()

    await twice(lambda: asyncio.to_thread(live), place.ports)


async def test_a_closed_asyncio_backend_leaves_nothing(place: Place) -> None:
    """After an asyncio backend was used for everything and closed, all is as before."""

    async def live() -> None:
        await use_async(await place.async_backend(), place)

    await twice(live, place.ports)


async def test_a_forgotten_backend_leaves_nothing(place: Place) -> None:
    """A synchronous backend that is not closed releases everything when it is no longer used."""

    def live() -> None:
        use(place.backend(), place)

    # The sockets warn, rightly, that they were not closed.
    await twice(lambda: asyncio.to_thread(live), place.ports, warnings_allowed=True)


def test_a_forgotten_asyncio_backend_leaves_nothing(place: Place) -> None:
    """An asyncio backend that is not closed releases everything at the end of its loop."""
    if place.kind.endswith("-cluster"):
        pytest.skip("redis-py's own asyncio cluster client does not let go of its connections")

    async def forget() -> None:
        backend = await place.async_backend()
        await backend.execute_many([SetImmutable(key, b"1") for key in VIEW])
        waiting = asyncio.create_task(wait_async(backend, KeyWait((b"never",))))
        await asyncio.sleep(0.1)
        waiting.cancel()

    with warnings.catch_warnings():
        # redis-py warns, rightly, of each connection that was not closed.
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(forget())
        before = asyncio.run(resources_with_loop())
        asyncio.run(forget())
        asyncio.run(same_as(before, place.ports))


async def twice(
    live: Callable[[], Awaitable[None]], ports: list[int], warnings_allowed: bool = False
) -> None:
    """Do something a second time, and check that nothing is left of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        await live()
        await same_as({"threads": ["MainThread"]}, ports)
        before = resources()
        await live()
        await same_as(before, ports)
    # When a connection is cut, redis-py's reader and sender may both make it anew at once; it closes
    # the one too many, but not by the name that asyncio would like.
    texts = [str(each.message) for each in caught if " closing " not in str(each.message)]
    assert warnings_allowed or texts == []


@contextmanager
def guarded(newest: RedisBinary) -> Iterator[list[str]]:
    """Run a server with a password and two databases; yield URLs by which no backend can connect."""
    options = ("--requirepass", "sesame", "--databases", "2")
    with RedisServer(newest, options) as server:
        place = f"127.0.0.1:{server.port}"
        dead = f"127.0.0.1:{free_port()}"
        yield [
            f"redis://{dead}",
            f"unix:///{server.folder}/nobody",
            f"redis+sentinel://{dead}/store",
            f"redis+cluster://{dead}",
            f"redis://{place}",
            f"redis://:wrong@{place}",
            f"redis://:sesame@{place}/7",
            # A server, but not a Sentinel or a cluster.
            f"redis+sentinel://{place}/store?sentinel_password=sesame",
            f"redis+cluster://:sesame@{place}",
            f"rediss://{place}?socket_timeout=0.2&socket_connect_timeout=0.2",
        ]


async def test_a_backend_that_cannot_connect_leaves_nothing(
    newest: RedisBinary, asynchronous: bool
) -> None:
    """No server, a wrong password, a wrong database: an error, and nothing is left of the attempt."""

    async def attempt(url: str) -> None:
        with pytest.raises((ConnectionError, RefusedError)) as caught:
            if asynchronous:
                await AsyncRedisBackend.from_url(url, retry=RetryPolicy(seconds=0))
            else:
                RedisBackend.from_url(url, retry=RetryPolicy(seconds=0))
        assert "sesame" not in str(caught.value)

    with guarded(newest) as urls:
        for url in urls:
            await twice(lambda: attempt(url), [])
