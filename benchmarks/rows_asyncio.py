"""The asyncio `TelescopeState` on a Redis server.

Each timed call makes several operations, because entering and leaving the event loop takes as long as one.
"""

import asyncio
import importlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from harness import Side, Timed, row

SAMPLES = 1000
TIMES = 20


# They live as long as the process: the peer's connections complain when they are collected.
LOOPS: list["Loop"] = []


class Loop:
    """An event loop and the asyncio package of either side."""

    def __init__(self, side: Side) -> None:
        self._aio: Any = importlib.import_module(f"{side.package}.aio")
        self._redis: Any = importlib.import_module(f"{side.package}.aio.redis")
        self._samples = SAMPLES // 10 if side.is_quick else SAMPLES
        self._url = side.redis_url
        self.loop = asyncio.new_event_loop()
        LOOPS.append(self)

    def run(self, work: Awaitable[Any]) -> Any:
        """Run a coroutine and return its result."""
        return self.loop.run_until_complete(work)

    async def connect(self) -> Any:
        """Connect a telescope state to the server."""
        backend = await self._redis.RedisBackend.from_url(self._url)
        return self._aio.TelescopeState(backend)

    async def filled(self, depth: int) -> Any:
        """Return a view of `depth` prefixes of a filled server, with all keys in the root."""
        ts = await self.connect()
        await ts.clear()
        await ts.set("n_chans", 4096)
        for number in range(self._samples):
            await ts.add("gain", number / 7, ts=float(number))
        for number in range(depth - 1):
            ts = ts.view(f"prefix{number}")
        return ts


def define(title: str, depth: int, call: Callable[[Any], Awaitable[Any]], times: int) -> None:
    """Define a row that makes a call on a view a number of times."""

    @row(f"redis, asyncio: {title}")
    def prepare(side: Side) -> Timed:
        loop = Loop(side)
        ts = loop.run(loop.filled(depth))

        async def work() -> None:
            for _ in range(times):
                await call(ts)

        return lambda: loop.run(work())


define(f"{TIMES} gets in the root", 1, lambda ts: ts.get("n_chans"), TIMES)
define(f"{TIMES} gets in a view of 4", 4, lambda ts: ts.get("n_chans"), TIMES)
define(f"{TIMES} latest samples in a view of 4", 4, lambda ts: ts["gain"], TIMES)
define("range of 1000 samples, twice", 1, lambda ts: ts.get_range("gain", st=0), 2)
CLOCK = itertools.count(SAMPLES)
define(f"{TIMES} adds", 1, lambda ts: ts.add("gain", 1.5, ts=float(next(CLOCK))), TIMES)


@row(f"redis, asyncio: {TIMES} gets at once in the root")
def gather(side: Side) -> Timed:
    loop = Loop(side)
    ts = loop.run(loop.filled(1))

    async def work() -> None:
        await asyncio.gather(*(ts.get("n_chans") for _ in range(TIMES)))

    return lambda: loop.run(work())


@row("redis, asyncio: wake-up after a write", at_least=1)
def wake_up(side: Side) -> Timed:
    loop = Loop(side)
    writer, waiter = loop.run(loop.filled(1)), loop.run(loop.connect())
    names = map("key{}".format, itertools.count())

    async def work() -> None:
        for _ in range(5):
            name = next(names)
            waiting = asyncio.create_task(waiter.wait_key(name))
            await asyncio.sleep(0)
            # The key is written at once, so most of the time is spent on the subscription.
            await writer.set(name, 1)
            await waiting

    return lambda: loop.run(work())
