"""Properties of the backends in memory that no other backend has."""

from __future__ import annotations

import asyncio
import time

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncMemoryBackend,
    CheckDue,
    Get,
    Immutable,
    MemoryBackend,
    SetImmutable,
)
from telstate_codec import encode_sample


def test_a_million_samples_cost_as_much_as_ten() -> None:
    """Appending at the end and reading the latest do not depend on how many there are."""
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
    # Were it proportional, it would be hundreds of times as much; noise is not five times.
    assert costs[1] < 5 * costs[0]


def test_a_watch_whose_loop_has_gone_harms_no_writer() -> None:
    """A store can be written to after the loop of a watcher was closed under it."""
    backend = AsyncMemoryBackend()
    loop = asyncio.new_event_loop()
    watch = backend.watch([b"k"])
    loop.run_until_complete(watch.__aenter__())
    loop.close()
    sync = backend.to_sync()
    sync.execute(SetImmutable(b"k", b"1"))
    assert sync.execute(Get((b"k",))) == Immutable(b"1")


def test_a_watch_whose_loop_has_gone_is_let_go_of() -> None:
    """Watches left on closed loops are no burden on a store for longer than to the next update."""
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
    # Also one that nobody has written for since.
    loop = asyncio.new_event_loop()
    watches.append(backend.watch([b"k"]))
    loop.run_until_complete(watches[-1].__aenter__())
    loop.close()
    backend.close()
    assert (store.listeners, backend._watchers) == ({}, set())
