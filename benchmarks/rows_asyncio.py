"""TelescopeState for asyncio on a Redis server; each call is a few operations one after the other.

Entering and leaving the event loop costs as much as an operation, on both sides: hence several at a time.
"""

import asyncio
import atexit
import importlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from harness import Side, Timed, row

SAMPLES = 1000
TIMES = 20


class World:
    """An event loop with a telescope state of either side on an empty server, filled as asked."""

    def __init__(self, side: Side) -> None:
        name = "telstate" if side.is_ours else "katsdptelstate"
        self._aio: Any = importlib.import_module(f"{name}.aio")
        self._redis: Any = importlib.import_module(f"{name}.aio.redis")
        self._url = side.settings["redis_url"]
        self.loop = asyncio.new_event_loop()
        self._backends: list[Any] = []
        atexit.register(self.end)

    def run(self, work: Awaitable[Any]) -> Any:
        """Do something and give what comes of it."""
        return self.loop.run_until_complete(work)

    async def connect(self) -> Any:
        """Make a telescope state."""
        backend = await self._redis.RedisBackend.from_url(self._url)
        self._backends.append(backend)
        return self._aio.TelescopeState(backend)

    def end(self) -> None:
        """Close everything, so that nobody complains when the process ends."""
        self.run(self._close())
        self.loop.close()

    async def _close(self) -> None:
        for backend in self._backends:
            backend.close()
            await backend.wait_closed()

    async def filled(self, depth: int) -> Any:
        """Make a view of `depth` prefixes, the keys in the root."""
        ts = await self.connect()
        await ts.clear()
        await ts.set("n_chans", 4096)
        for number in range(SAMPLES):
            await ts.add("gain", number / 7, ts=float(number))
        for number in range(depth - 1):
            ts = ts.view(f"prefix{number}")
        return ts


def define(title: str, depth: int, ask: Callable[[Any], Awaitable[Any]], times: int) -> None:
    """Define a row for something to be asked of a view, so many times."""

    @row(f"redis, asyncio: {title}")
    def asking(side: Side) -> Timed:
        if "redis_url" not in side.settings:
            return None
        world = World(side)
        ts = world.run(world.filled(depth))

        async def work() -> None:
            for _ in range(times):
                await ask(ts)

        return lambda: world.run(work())


define(f"{TIMES} gets in the root", 1, lambda ts: ts.get("n_chans"), TIMES)
define(f"{TIMES} gets in a view of 4", 4, lambda ts: ts.get("n_chans"), TIMES)
define(f"{TIMES} latest samples in a view of 4", 4, lambda ts: ts["gain"], TIMES)
define("range of 1000 samples, twice", 1, lambda ts: ts.get_range("gain", st=0), 2)
CLOCK = itertools.count(SAMPLES)
define(f"{TIMES} adds", 1, lambda ts: ts.add("gain", 1.5, ts=float(next(CLOCK))), TIMES)


@row(f"redis, asyncio: {TIMES} gets at once in the root")
def gather(side: Side) -> Timed:
    if "redis_url" not in side.settings:
        return None
    world = World(side)
    ts = world.run(world.filled(1))

    async def work() -> None:
        await asyncio.gather(*(ts.get("n_chans") for _ in range(TIMES)))

    return lambda: world.run(work())


@row("redis, asyncio: wake-up after a write", at_least=1)
def wake_up(side: Side) -> Timed:
    if "redis_url" not in side.settings:
        return None
    world = World(side)
    writer, waiter = world.run(world.filled(1)), world.run(world.connect())
    names = map("key{}".format, itertools.count())

    async def work() -> None:
        for _ in range(5):
            name = next(names)
            waiting = asyncio.create_task(waiter.wait_key(name))
            await asyncio.sleep(0)
            # Written at once: most of the time is the waiter's way to its subscription and back.
            await writer.set(name, 1)
            await waiting

    return lambda: world.run(work())
