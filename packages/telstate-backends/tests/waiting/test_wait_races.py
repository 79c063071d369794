"""A writer races a waiter, ten thousand times: no wake-up is ever missed.

Rules: in each round somebody waits for a new key which somebody else writes at about the same
moment, at random before the first look at the store, between that look, the subscription and the
second look, or after them; how each wait ended is counted, to be sure that all of these were hit.
Ten pairs race at the same time. What is not memory or a server of its own (fakeredis, clusters...) has
a tenth of the rounds, unless ``TELSTATE_RACE_ROUNDS`` asks for as many on all.
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
from conftest import SERVERS
from subjects import AsyncSubject, Subject, SyncSubject

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
#: Seconds after which a wake-up was missed.
LONG = 30.0


class Round(KeyWait):
    """A wait that knows how it ended."""

    looks = 0
    ended = "not"

    def check_reply(self, reply: Any) -> bool:
        self.looks += 1
        done = super().check_reply(reply)
        self.ended = ("by the first look" if self.looks == 1 else "by a later look") if done else ""
        return done

    def check_update(self, update: Update) -> Verdict:
        verdict = super().check_update(update)
        self.ended = "by an update"
        return verdict


class Phase:
    """When to write: at random within about the time that a wait takes, as far as that is known."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._typical = 0.001

    def delay(self) -> float:
        """Give the seconds to wait before the write; often none at all."""
        return self._random.uniform(-0.3, 1.0) * self._typical

    def learn(self, seconds: float) -> None:
        """Take note of how long a round took."""
        self._typical += 0.05 * (min(seconds, 0.05) - self._typical)


def race(backend: Backend, number: int, rounds: int) -> Counter[str]:
    """Race one waiter and one writer, each in a thread of its own."""
    orders: queue.SimpleQueue[tuple[bytes, float] | None] = queue.SimpleQueue()
    ended: Counter[str] = Counter()
    phase = Phase(number)

    def write() -> None:
        while (order := orders.get()) is not None:
            key, delay = order
            if delay > 0:
                time.sleep(delay)
            backend.execute(SetImmutable(key, b"1"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(rounds):
            one = Round((b"race_%d_%d" % (number, turn),))
            began = time.monotonic()
            orders.put((one.keys[0], phase.delay()))
            wait(backend, one, LONG)
            phase.learn(time.monotonic() - began)
            ended[one.ended] += 1
    finally:
        orders.put(None)
        writer.join()
    return ended


async def race_async(backend: AsyncBackend, number: int, rounds: int) -> Counter[str]:
    """Race one waiter and one writer, each in a task of its own."""
    ended: Counter[str] = Counter()
    phase = Phase(number)

    async def write(key: bytes, delay: float) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        await backend.execute(SetImmutable(key, b"1"))

    for turn in range(rounds):
        one = Round((b"race_%d_%d" % (number, turn),))
        began = time.monotonic()
        writing = asyncio.create_task(write(one.keys[0], phase.delay()))
        async with asyncio.timeout(LONG):
            await wait_async(backend, one)
        phase.learn(time.monotonic() - began)
        ended[one.ended] += 1
        await writing
    return ended


@pytest.mark.slow
async def test_no_wake_up_is_missed(subject: Subject, request: pytest.FixtureRequest) -> None:
    """Whenever the key is written, before, while or after the waiter subscribes, the wait ends."""
    kind = request.node.callspec.params["subject"]
    all_rounds = ROUNDS if kind in ("memory", *SERVERS) else ROUNDS // 10
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
        assert min(ended[how] for how in ("by a later look", "by an update")) > 0, ended
