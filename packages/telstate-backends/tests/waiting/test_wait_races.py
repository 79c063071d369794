"""A writer races a waiter, ten thousand times: no wake-up is ever missed.

In each round, one thread or task waits for a new key which another writes at about the same time: at random
before the first query of the store, between that query, the subscription and the second query, or after
them. Counts of how each wait ended show that all of these were hit. Ten pairs race at the same time. Except
in memory and on the newest Redis, there are a tenth of the rounds, unless ``TELSTATE_RACE_ROUNDS`` is set.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import NEWEST
from subjects import LONG, AsyncSubject, Subject, SyncSubject

from telstate_backends import (
    AsyncBackend,
    Backend,
    KeyWait,
    SetImmutable,
    Update,
    Verdict,
    wait,
    wait_async,
)

ROUNDS = 10_000
VARIABLE = "TELSTATE_RACE_ROUNDS"
PAIRS = 10


class Round(KeyWait):
    """A wait that records how it ended."""

    queries = 0
    ended = "not"

    def check_reply(self, reply: Any) -> bool:
        self.queries += 1
        is_done = super().check_reply(reply)
        self.ended = (
            ("by the first query" if self.queries == 1 else "by a later query") if is_done else ""
        )
        return is_done

    def check_update(self, update: Update) -> Verdict:
        verdict = super().check_update(update)
        self.ended = "by an update"
        return verdict


class WriteDelay:
    """Random delays before the write, up to about the time that a wait takes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._typical = 0.001

    def next(self) -> float:
        """Return the seconds to sleep before the write, often 0 or less."""
        return self._random.uniform(-0.3, 1.0) * self._typical

    def record(self, seconds: float) -> None:
        """Record how long a round took."""
        self._typical += 0.05 * (min(seconds, 0.05) - self._typical)


def race(backend: Backend, number: int, rounds: int) -> Counter[str]:
    """Race a waiter and a writer, each in a thread of its own."""
    requests: queue.SimpleQueue[tuple[bytes, float] | None] = queue.SimpleQueue()
    ended: Counter[str] = Counter()
    delays = WriteDelay(number)

    def write() -> None:
        while (request := requests.get()) is not None:
            key, delay = request
            if delay > 0:
                time.sleep(delay)
            backend.execute(SetImmutable(key, b"1"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(rounds):
            wanted = Round((b"race_%d_%d" % (number, turn),))
            start = time.monotonic()
            requests.put((wanted.keys[0], delays.next()))
            wait(backend, wanted, LONG)
            delays.record(time.monotonic() - start)
            ended[wanted.ended] += 1
    finally:
        requests.put(None)
        writer.join()
    return ended


async def race_async(backend: AsyncBackend, number: int, rounds: int) -> Counter[str]:
    """Race a waiter and a writer, each in a task of its own."""
    ended: Counter[str] = Counter()
    delays = WriteDelay(number)

    async def write(key: bytes, delay: float) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        await backend.execute(SetImmutable(key, b"1"))

    for turn in range(rounds):
        wanted = Round((b"race_%d_%d" % (number, turn),))
        start = time.monotonic()
        writing = asyncio.create_task(write(wanted.keys[0], delays.next()))
        async with asyncio.timeout(LONG):
            await wait_async(backend, wanted)
        delays.record(time.monotonic() - start)
        ended[wanted.ended] += 1
        await writing
    return ended


@pytest.mark.slow
async def test_no_wake_up_is_missed(subject: Subject, request: pytest.FixtureRequest) -> None:
    """The wait ends, whether the key is written before, while or after the waiter subscribes."""
    kind = request.node.callspec.params["subject"]
    all_rounds = ROUNDS if kind in ("memory", *NEWEST[:1]) else ROUNDS // 10
    rounds = int(os.environ.get(VARIABLE, all_rounds)) // PAIRS
    if isinstance(subject, SyncSubject):
        with ThreadPoolExecutor(PAIRS) as threads:
            sync_pairs = [threads.submit(race, subject.backend, n, rounds) for n in range(PAIRS)]
            ended = sum((pair.result() for pair in sync_pairs), Counter())
    else:
        assert isinstance(subject, AsyncSubject)
        pairs = (race_async(subject.backend, n, rounds) for n in range(PAIRS))
        ended = sum(await asyncio.gather(*pairs), Counter())
    assert sum(ended.values()) == rounds * PAIRS
    print(dict(ended))  # shown by pytest -s
    if "Redis" in type(subject.backend).__name__ and rounds >= 100:
        assert min(ended[how] for how in ("by a later query", "by an update")) > 0, ended
