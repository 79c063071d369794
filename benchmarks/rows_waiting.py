"""Waiting and watching: what an update costs, and how watches and waits grow.

katsdptelstate can wait for one key at a time and has no watch. Where updates are delivered to watchers, the
other side is bare redis-py: as many subscribers to a channel, which do nothing with the messages.
"""

import asyncio
import importlib
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from harness import Measured, Measurement, Side, Timed, growth
from rows_asyncio import Loop
from rows_redis import connect

UPDATES = 1000
NO_WATCH = "has no watch"
NAMES = itertools.count()


def redis_client(side: Side) -> Any:
    """Return a client of redis-py."""
    redis: Any = importlib.import_module("redis")
    return redis.Redis.from_url(side.redis_url)


def timed(work: Callable[[], object]) -> Measured:
    """Return what times a call."""

    def measure() -> Measurement:
        start = time.perf_counter()
        work()
        return Measurement(time.perf_counter() - start)

    return Measured(measure)


# ---------------------------------------------------------------------------------- updates


@growth("redis: 1,000 updates to watchers (beside bare redis-py)", (1, 10, 50), rounds=9)
def updates(side: Side, size: int) -> Timed:
    """All updates are written first; then each watcher takes its own, one watcher after the other."""
    ts = connect(side)
    client = redis_client(side)

    def ours() -> Measurement:
        key = f"gain{next(NAMES)}"
        with ExitStack() as stack:
            watches = [stack.enter_context(ts.watch(key)) for _ in range(size)]
            with ts.pipeline() as p:
                for number in range(UPDATES):
                    p.add(key, 1.5, ts=float(number))
            start = time.perf_counter()
            for watch in watches:
                for _ in range(UPDATES):
                    watch.next()
            return Measurement(time.perf_counter() - start)

    def theirs() -> Measurement:
        channel = f"update/gain{next(NAMES)}"
        with ExitStack() as stack:
            watches = [stack.enter_context(client.pubsub()) for _ in range(size)]
            for watch in watches:
                watch.subscribe(channel)
                watch.get_message(timeout=10)
            with client.pipeline(transaction=False) as p:
                for _ in range(UPDATES):
                    p.publish(channel, b"\3" + bytes(17))
                p.execute()
            start = time.perf_counter()
            for watch in watches:
                for _ in range(UPDATES):
                    watch.get_message(timeout=10)
            return Measurement(time.perf_counter() - start)

    return Measured(ours if side.is_ours else theirs)


@growth("redis, asyncio: 1,000 updates to watchers", (1, 10, 50), rounds=9)
def updates_asyncio(side: Side, size: int) -> Timed:
    if not side.is_ours:
        return NO_WATCH
    loop = Loop(side)
    ts, writer = loop.run(loop.filled(1)), connect(side)

    async def follow(key: str, entered: "asyncio.Semaphore") -> None:
        async with ts.watch(key) as watch:
            entered.release()
            for _ in range(UPDATES):
                await anext(watch)

    async def work() -> Measurement:
        key, entered = f"gain{next(NAMES)}", asyncio.Semaphore(0)
        tasks = [asyncio.create_task(follow(key, entered)) for _ in range(size)]
        for _ in tasks:
            await entered.acquire()
        with writer.pipeline() as p:
            for number in range(UPDATES):
                p.add(key, 1.5, ts=float(number))
        start = time.perf_counter()
        await asyncio.gather(*tasks)
        return Measurement(time.perf_counter() - start)

    return Measured(lambda: loop.run(work()))


@growth(
    "redis: 1,000 updates of one key, by keys that are watched", (1, 100, 1_000, 5_000), rounds=5
)
def updates_among(side: Side, size: int) -> Timed:
    ts = connect(side)
    if not side.is_ours:
        return NO_WATCH
    names = [f"sensor{number}" for number in range(size)]

    def measure() -> Measurement:
        ts.clear()
        with ts.watch(*names) as watch:
            with ts.pipeline() as p:
                for number in range(UPDATES):
                    p.add(names[0], 1.5, ts=float(number))
            start = time.perf_counter()
            for _ in range(UPDATES):
                watch.next()
            return Measurement(time.perf_counter() - start)

    return Measured(measure)


# ---------------------------------------------------------------------------------- many keys

MANY = (16, 160, 1_600, 16_000)


@growth("redis: enter a watch, by keys", MANY, rounds=3)
def enter_watch(side: Side, size: int) -> Timed:
    ts = connect(side)
    if not side.is_ours:
        return NO_WATCH
    names = [f"sensor{number}" for number in range(size)]

    def enter() -> None:
        with ts.watch(*names):
            pass

    return timed(enter)


@growth("redis: wait_keys until all are written, by keys", MANY, rounds=3)
def wait_keys(side: Side, size: int) -> Timed:
    """Only the processor time of this process is counted."""
    ts, writer = connect(side), connect(side)
    if not side.is_ours:
        return "waits for one key at a time"
    client = redis_client(side)
    names = [f"wait{number}" for number in range(size)]

    def measure() -> Measurement:
        writer.clear()
        start = time.process_time()
        waiting = threading.Thread(target=ts.wait_keys, args=(names,))
        waiting.start()
        await_channels(client, size)
        with writer.pipeline() as p:
            for name in names:
                p.add(name, 1, immutable=True)
        waiting.join()
        return Measurement(time.process_time() - start)

    return Measured(measure)


def await_channels(client: Any, count: int, is_failed: Callable[[], bool] = bool) -> None:
    """Wait until so many of the keys that rows wait for are subscribed to."""
    while len(client.pubsub_channels("update/wait*")) < count:
        if is_failed():
            raise RuntimeError("A wait has failed.")
        time.sleep(0.002)


# ---------------------------------------------------------------------------------- many waits

WAITERS = (1, 10, 50, 100, 1_000)
# The most that redis-py 8 makes unless it is told otherwise, which katsdptelstate cannot do.
REDIS_PY_CONNECTIONS = 100


@growth("redis: threads that wait for a key each", WAITERS, rounds=3)
def waiting_threads(side: Side, size: int) -> Timed:
    """From the start of the threads until each has seen its key, once all wait."""
    if not side.is_ours and size >= REDIS_PY_CONNECTIONS:
        return "fails: redis-py makes 100 connections at most"
    ts, writer = connect(side), connect(side)
    client = redis_client(side)

    def measure() -> Measurement:
        writer.clear()
        before = client.info("clients")["connected_clients"]
        names = [f"wait{number}" for number in range(size)]
        threads = [threading.Thread(target=ts.wait_key, args=(name,)) for name in names]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        await_channels(client, size, lambda: not all(thread.is_alive() for thread in threads))
        connections = client.info("clients")["connected_clients"] - before
        for name in names:
            writer.add(name, 1, immutable=True)
        for thread in threads:
            thread.join()
        return Measurement(time.perf_counter() - start, {"more connections": connections})

    return Measured(measure)


@growth("redis, asyncio: tasks that wait for a key each", WAITERS, rounds=3)
def waiting_tasks(side: Side, size: int) -> Timed:
    """From the start of the tasks until each has seen its key, once all wait."""
    if not side.is_ours and size >= REDIS_PY_CONNECTIONS:
        return "fails: redis-py makes 100 connections at most"
    writer = connect(side)
    client = redis_client(side)
    loop = Loop(side)
    ts = loop.run(loop.filled(1))

    async def work() -> Measurement:
        writer.clear()
        before = client.info("clients")["connected_clients"]
        names = [f"wait{number}" for number in range(size)]
        start = time.perf_counter()
        tasks = [asyncio.create_task(ts.wait_key(name)) for name in names]
        while len(client.pubsub_channels("update/wait*")) < size:
            if failed := [task for task in tasks if task.done()]:
                failed[0].result()
                raise RuntimeError("A wait has ended.")
            await asyncio.sleep(0.002)
        connections = client.info("clients")["connected_clients"] - before
        for name in names:
            writer.add(name, 1, immutable=True)
        await asyncio.gather(*tasks)
        return Measurement(time.perf_counter() - start, {"more connections": connections})

    return Measured(lambda: loop.run(work()))
