"""Waits that end without success leave nothing behind, however they end.

Counted are threads, tasks, sockets, subscriptions, connections of the server and watchers: after a few
waits and after many more there must be none left, or as many of those that are kept for the next wait.
Whatever is still being closed is waited for.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from itertools import cycle, islice
from typing import Any

import pytest
import redis
from conftest import KINDS, marked
from subjects import LONG, AsyncSubject, Subject, SyncSubject

from telstate_backends import (
    AsyncBackend,
    AsyncFollower,
    AsyncMemoryBackend,
    Backend,
    CancelledError,
    Follower,
    IndexedWait,
    KeysWait,
    KeyWait,
    MemoryBackend,
    TimeoutError,
    Wait,
    wait,
    wait_async,
)

LARGE = 1000
#: How many more connections and the like may be kept later than at first: far fewer than there are waits
#: of each kind in between.
SPARE = 12
#: Timeouts of the waits: at all points of their beginning, and well after it.
LENGTHS = [0.0, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.02]


def make_waits() -> list[Wait[Any]]:
    """Return one wait of each kind, for something that never happens."""
    return [
        KeyWait((b"v_never", b"never")),
        IndexedWait((b"never",), b"x"),
        KeysWait([(b"v_never", b"never"), (b"nor_this",)]),
    ]


def give_up_sync(backend: Backend, times: int) -> None:
    """Wait until the timeout and until cancelled; enter followers, and leave them in every way."""
    cancel: Future[None] = Future()
    for length, wanted in islice(cycle((t, w) for t in LENGTHS for w in make_waits()), times):
        with pytest.raises(TimeoutError):
            wait(backend, wanted, length, cancel)
        with Follower(backend, [(b"v_never", b"never")], [b"never*"]) as follower:
            assert follower.next(timeout=length) is None
        # Dropped without being left, as by a loop that breaks.
        Follower(backend, [(b"never",)]).__enter__().next(timeout=length)
        cancelled: Future[None] = Future()
        timer = threading.Timer(length, cancelled.set_result, [None])
        timer.start()
        with pytest.raises(CancelledError):
            wait(backend, wanted, LONG, cancelled)
        timer.join()
    # One callback for all waits.
    assert len(cancel._done_callbacks) <= 1  # type: ignore[attr-defined]  # no public way to count


async def give_up_async(backend: AsyncBackend, times: int) -> None:
    """Cancel many waits at a time; enter followers, and leave them in every way."""

    async def follow() -> None:
        async with AsyncFollower(backend, [(b"v_never", b"never")], [b"never*"]) as follower:
            await follower.next()

    async def drop() -> None:
        await (await AsyncFollower(backend, [(b"never",)]).__aenter__()).next()

    async def give_up(length: float, begin: Callable[[], Awaitable[None]]) -> None:
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(length):
                await begin()

    begins: list[Callable[[], Awaitable[None]]] = [follow, drop]
    begins += [partial(wait_async, backend, wanted) for wanted in make_waits()]
    # Always as many at a time, so that the connections which are kept are always the same.
    for length in islice(cycle(LENGTHS), times):
        await asyncio.gather(*(give_up(length, begin) for begin in begins))
    await give_up(0.1, begins[-1])  # long enough to create everything that is kept


class Resources:
    """The resources that this process and the store use for a backend."""

    def __init__(self, backend: Any, ports: list[int]) -> None:
        self.backend = backend
        self.ports = ports

    def count(self) -> dict[str, int]:
        """Count all of them."""
        gc.collect()
        counts = {
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "sockets": _sockets(),
        }
        for port in self.ports:
            with redis.Redis(port=port) as client:
                counts[f"channels at {port}"] = len(client.pubsub_channels("*"))
                counts[f"patterns at {port}"] = client.pubsub_numpat()
                counts[f"clients of {port}"] = len(client.client_list())
        if isinstance(self.backend, (MemoryBackend, AsyncMemoryBackend)):
            store = self.backend.store
            counts["listeners"] = len(store.listeners) + len(store.pattern_listeners)
        watchers = getattr(self.backend, "_pubsub", self.backend)._watchers
        counts["watchers"] = len(watchers)
        return counts

    async def settled(self, bound: dict[str, int]) -> dict[str, int]:
        """Count until nothing is above its bound, for a second at most."""
        counts = self.count()
        for _ in range(100):
            if all(counts[name] <= bound[name] for name in counts):
                break
            await asyncio.sleep(0.01)
            counts = self.count()
        return counts


def _sockets() -> int:
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:
            pass  # it has been closed
    return count


def ports_of(backend: Any) -> list[int]:
    """Return the ports of the servers behind a backend."""
    place = backend.address or ""
    if place.startswith("cluster"):
        with redis.Redis(port=int(place.rpartition(":")[2])) as client:
            nodes: Any = client.execute_command("CLUSTER NODES")
            return [int(name.rpartition(":")[2]) for name in nodes]
    if isinstance(backend, (MemoryBackend, AsyncMemoryBackend)) or place.endswith(":6379"):
        return []  # in this process; no server of the tests has the port that fakeredis names
    return [int(place.rpartition(":")[2])]


@pytest.mark.parametrize("subject", marked(KINDS), indirect=True)
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="sockets are counted in /proc")
async def test_waits_leave_nothing(subject: Subject) -> None:
    """Many waits that time out, are cancelled or dropped leave no more behind than a few."""
    assert isinstance(subject, (SyncSubject, AsyncSubject))
    resources = Resources(subject.backend, ports_of(subject.backend))

    async def give_up(times: int) -> None:
        if isinstance(subject, SyncSubject):
            await asyncio.to_thread(give_up_sync, subject.backend, times)
        else:
            await give_up_async(subject.backend, times)

    before = resources.count()
    await give_up(len(LENGTHS))
    # Connections and threads of a pool may be kept for the next wait.
    kept = ("threads", "sockets", "tasks", *(name for name in before if name.startswith("clients")))
    once = await resources.settled(before | {name: LARGE for name in kept})
    await give_up(4 * len(LENGTHS))
    bound = {name: once[name] + SPARE if name in kept else 0 for name in once}
    after = await resources.settled(bound)
    assert {name: count for name, count in after.items() if count > bound[name]} == {}
