"""Nothing is left behind by waits and watches that end, however they end: counted on every backend.

Rules: what the process holds (threads, tasks, sockets) and what the store holds for it (subscriptions,
listeners, connections) is counted after some waits, and again after many more: it must not grow, and of
subscriptions and listeners there must be none. What is still on its way is waited for.
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
from subjects import AsyncSubject, Subject, SyncSubject

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

LONG = 30.0
LARGE = 1000
#: How many more connections and the like may be kept later than at first: far fewer than there are
#: waits of each sort in between.
SPARE = 12
#: Seconds after which waits are given up: at all points of their beginning, and well after it.
LENGTHS = [0.0, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.02]


def wants() -> list[Wait[Any]]:
    """Make one wait of each sort, for what never comes."""
    return [
        KeyWait((b"v_never", b"never")),
        IndexedWait((b"never",), b"x"),
        KeysWait([(b"v_never", b"never"), (b"nor_this",)]),
    ]


def give_up_sync(backend: Backend, times: int) -> None:
    """Wait in vain: until the time is over, until cancelled; follow, and leave in every way."""
    cancel: Future[None] = Future()
    for length, wanted in islice(cycle((t, w) for t in LENGTHS for w in wants()), times):
        with pytest.raises(TimeoutError):
            wait(backend, wanted, length, cancel)
        with Follower(backend, [(b"v_never", b"never")], [b"never*"]) as follower:
            assert follower.next(timeout=length) is None
        # Dropped without being left, as by a loop that is broken off.
        Follower(backend, [(b"never",)]).__enter__().next(timeout=length)
        cancelled: Future[None] = Future()
        timer = threading.Timer(length, cancelled.set_result, [None])
        timer.start()
        with pytest.raises(CancelledError):
            wait(backend, wanted, LONG, cancelled)
        timer.join()
    # One for all the waits, however many there were.
    assert len(cancel._done_callbacks) <= 1  # type: ignore[attr-defined]  # no public way to count


async def give_up_async(backend: AsyncBackend, times: int) -> None:
    """Wait in vain, many at a time, and be cancelled; follow, and leave in every way."""

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
    begins += [partial(wait_async, backend, wanted) for wanted in wants()]
    # So many at a time that the connections which are kept for the next are always the same.
    for length in islice(cycle(LENGTHS), times):
        await asyncio.gather(*(give_up(length, begin) for begin in begins))
    await give_up(0.1, begins[-1])  # long enough for everything to be there that is kept


class Holdings:
    """What this process and the store hold for a backend."""

    def __init__(self, backend: Any, ports: list[int]) -> None:
        self.backend = backend
        self.ports = ports

    def count(self) -> dict[str, int]:
        """Count all of it."""
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
        """Count until nothing is above its bound, for as long as is reasonable."""
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
            pass  # closed since
    return count


def ports_of(backend: Any) -> list[int]:
    """Give the ports of the servers behind a backend."""
    place = backend.address or ""
    if place.startswith("cluster"):
        with redis.Redis(port=int(place.rpartition(":")[2])) as client:
            nodes: Any = client.execute_command("CLUSTER NODES")
            return [int(name.rpartition(":")[2]) for name in nodes]
    if isinstance(backend, (MemoryBackend, AsyncMemoryBackend)) or place.endswith(":6379"):
        return []  # in this process: what fakeredis calls itself, no server of the tests has
    return [int(place.rpartition(":")[2])]


@pytest.mark.parametrize("subject", marked(KINDS), indirect=True)
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="sockets are counted in /proc")
async def test_waits_in_vain_leave_nothing(subject: Subject) -> None:
    """Time limits, cancelling, leaving and dropping leave no more behind than one wait does."""
    assert isinstance(subject, (SyncSubject, AsyncSubject))
    holdings = Holdings(subject.backend, ports_of(subject.backend))

    async def give_up(times: int) -> None:
        if isinstance(subject, SyncSubject):
            await asyncio.to_thread(give_up_sync, subject.backend, times)
        else:
            await give_up_async(subject.backend, times)

    before = holdings.count()
    await give_up(len(LENGTHS))
    # What is kept for the next wait (connections, threads of a pool) may be there from now on.
    kept = ("threads", "sockets", "tasks", *(name for name in before if name.startswith("clients")))
    once = await holdings.settled(before | {name: LARGE for name in kept})
    await give_up(4 * len(LENGTHS))
    bound = {name: once[name] + SPARE if name in kept else 0 for name in once}
    after = await holdings.settled(bound)
    assert {name: count for name, count in after.items() if count > bound[name]} == {}
