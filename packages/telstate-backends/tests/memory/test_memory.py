"""Properties of backends in memory only."""

from __future__ import annotations

import asyncio
import math
import random
import time

import pytest

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncMemoryBackend,
    CheckDue,
    Get,
    GetRange,
    Immutable,
    MemoryBackend,
    SetImmutable,
)
from telstate_codec import encode_sample, range_bounds

ALL_TIME = range_bounds(0.0, math.inf, include_end=False)


def test_a_million_samples_cost_as_much_as_ten() -> None:
    """The time to append a sample and to read the latest does not depend on their number."""
    costs = []
    for size in (10, 1_000_000):
        backend = MemoryBackend()
        members = [encode_sample(float(number), b"") for number in range(size + 5000)]
        backend.execute(AddSamples(b"s", tuple(members[:size])))
        blocks = []
        for start in range(size, size + 5000, 500):
            began = time.process_time()
            for member in members[start : start + 500]:
                backend.execute(AddSample(b"s", member))
                backend.execute(Get((b"s",)))
            blocks.append(time.process_time() - began)
        costs.append(min(blocks))
    # If it were proportional, it would be thousands of times as much; noise is less than five times.
    assert costs[1] < 5 * costs[0]


@pytest.mark.parametrize("present", [0, 3, 1000])
@pytest.mark.parametrize("added", [1, 5, 200])
def test_samples_at_any_times_are_sorted_and_unique(present: int, added: int) -> None:
    """Few and many samples, before, between and after those that are there, are added once, in order."""
    chooser = random.Random(present + added)
    backend = MemoryBackend()
    expected: set[bytes] = set()
    for count in (present, added, added):
        members = [encode_sample(float(chooser.randrange(500)), b"") for _ in range(count)]
        backend.execute(AddSamples(b"s", tuple(members)))
        expected.update(members)
    assert sorted(expected) == backend.execute(GetRange((b"s",), *ALL_TIME))


def test_writing_after_the_loop_of_a_watch_was_closed() -> None:
    """A store can be written to after the event loop of a watcher was closed."""
    backend = AsyncMemoryBackend()
    loop = asyncio.new_event_loop()
    watch = backend.watch([b"k"])
    loop.run_until_complete(watch.__aenter__())
    loop.close()
    sync = backend.to_sync()
    sync.execute(SetImmutable(b"k", b"1"))
    assert sync.execute(Get((b"k",))) == Immutable(b"1")


def test_watches_of_closed_loops_end() -> None:
    """Watches whose event loop was closed end at the next update."""
    backend = AsyncMemoryBackend()
    watches = []
    for _ in range(3):
        loop = asyncio.new_event_loop()
        for keys, patterns in (([b"k"], []), ([], [b"k*"])):
            watches.append(backend.watch(keys, patterns, deletions=True))
            loop.run_until_complete(watches[-1].__aenter__())
        loop.close()
    store = backend.store
    assert (len(store.listeners), len(store.pattern_listeners)) == (3, 6)
    sync = backend.to_sync()
    with sync.watch([b"k"]) as watcher:
        for number in range(2):
            sync.execute(AddSample(b"k", encode_sample(float(number), b"1")))
        assert [watcher.poll() for _ in range(3)][0] is CheckDue.SUBSCRIBED
    assert (store.listeners, store.pattern_listeners, backend._watchers) == ({}, [], set())
    # Also without an update, when the backend is closed.
    loop = asyncio.new_event_loop()
    watches.append(backend.watch([b"k"]))
    loop.run_until_complete(watches[-1].__aenter__())
    loop.close()
    backend.close()
    assert (store.listeners, backend._watchers) == ({}, set())
