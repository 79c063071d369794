"""How long a follower takes: as long as it was told, and no longer, whatever the store does."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from telstate_backends import (
    Backend,
    ConnectionError,
    Follower,
    MemoryBackend,
    Operation,
    RedisBackend,
    SetImmutable,
    Update,
)
from telstate_backends.deadline import Deadline

LONG = 30.0


@pytest.mark.parametrize("timeout", [None, math.inf, 1e12])
@pytest.mark.parametrize("kind", ["memory", "server"])
def test_an_endless_wait_can_be_ended(
    request: pytest.FixtureRequest, kind: str, timeout: float | None
) -> None:
    """A timeout beyond all times is none; closing ends the wait."""
    backend: Backend = MemoryBackend()
    if kind == "server":
        backend = RedisBackend.from_url(request.getfixturevalue("newest_url"))
    with backend, Follower(backend, [(b"k",)]) as follower:
        closing = threading.Timer(0.05, follower.close)
        closing.start()
        assert follower.next(timeout) is None
        closing.join()


class _Vanishing(MemoryBackend):
    """A store that cannot be reached at times, and takes note of how long it may try."""

    def __init__(self) -> None:
        super().__init__()
        self.vanished = False
        self.deadlines: list[Deadline | None] = []

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        if self.vanished:
            self.deadlines.append(deadline)
            raise ConnectionError("gone")
        return super().execute_many(operations)


def test_a_timeout_bounds_the_looks_at_the_store() -> None:
    """The backend is told how long it may try again, and what could not be asked is asked later."""
    backend = _Vanishing()
    backend.execute(SetImmutable(b"v_k", b"1"))
    with Follower(backend, [(b"v_k", b"k")]) as follower:
        backend.vanished = True
        del backend.store.data[b"v_k"]  # without a notice, so that it must be asked for
        backend.execute(SetImmutable(b"k", b"2"))
        assert follower.next(0.01) is None
        assert {each and each.left() for each in backend.deadlines} == {0.0}
        backend.vanished = False
        update = follower.next(LONG)
        assert isinstance(update, Update) and (update.key, update.value) == (b"k", b"2")


def test_closing_ends_the_looks_at_the_store() -> None:
    """A backend that tries to reach its store is told when the follower is closed."""
    backend = _Vanishing()
    backend.execute(SetImmutable(b"v_k", b"1"))
    with Follower(backend, [(b"v_k", b"k")]) as follower:
        backend.vanished = True
        backend.execute(SetImmutable(b"k", b"2"))
        closing = threading.Timer(0.05, follower.close)
        closing.start()
        assert follower.next() is None
        closing.join()
        assert {each and each.left() for each in backend.deadlines} == {0.0}
