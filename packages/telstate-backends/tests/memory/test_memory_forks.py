"""Processes that fork while other threads use a store in memory."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import attrs
import pytest
from subjects import LONG

from telstate_backends import (
    Backend,
    CachedBackend,
    Get,
    Immutable,
    MemoryBackend,
    Operation,
    SetImmutable,
    Store,
)
from telstate_backends.operations.base import Command


@attrs.frozen(eq=False)
class Slow(Operation[None]):
    """Write two keys, slowly."""

    begun: threading.Event
    end: threading.Event

    def apply(self, store: Store) -> None:
        store.data[b"first"] = Immutable(b"1")
        self.begun.set()
        self.end.wait(LONG)
        store.data[b"second"] = Immutable(b"2")

    def command(self) -> Command:
        raise NotImplementedError

    def parse(self, reply: object) -> None:
        raise NotImplementedError


def _work_in_child(backend: Backend, results: Any) -> None:
    backend.execute(SetImmutable(b"third", b"3"))
    keys = (b"first", b"second", b"third")
    results.put(backend.execute_many([Get((key,)) for key in keys]))


# Python 3.12 and later warn of forks of processes with threads, which this test is about.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
def test_a_fork_during_an_operation(cached: bool) -> None:
    """The child can use the store, in which the operation has its whole effect or none."""
    memory = MemoryBackend()
    backend: Backend = CachedBackend(memory) if cached else memory
    others = [MemoryBackend() for _ in range(3)]
    for _ in range(4):  # until the cache watches
        backend.execute_many([SetImmutable(b"k", b"0"), Get((b"k",))])
        backend.execute(Get((b"k",)))
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_work_in_child, args=(backend, results))
    slow = Slow(threading.Event(), threading.Event())
    working = threading.Thread(target=memory.execute, args=(slow,))
    working.start()
    assert slow.begun.wait(LONG)
    ending = threading.Timer(0.1, slow.end.set)
    ending.start()
    child.start()
    working.join(LONG)
    child.join(LONG)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    found = results.get()
    whole = [Immutable(b"1"), Immutable(b"2")]
    assert found in [[*whole, Immutable(b"3")], [None, None, Immutable(b"3")]]
    # The stores of the parent still work.
    assert backend.execute_many([Get((b"first",)), Get((b"second",))]) == whole
    for other in [memory, *others]:
        thread = threading.Thread(target=other.execute, args=(SetImmutable(b"k", b"0"),))
        thread.start()
        thread.join(LONG)
        assert not thread.is_alive()
