"""The timeouts of followers, whatever the store does."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import NEWEST
from subjects import LONG

from telstate_backends import (
    Backend,
    ConnectionError,
    Deadline,
    Follower,
    MemoryBackend,
    Operation,
    RedisBackend,
    SetImmutable,
    Update,
)


@pytest.mark.parametrize("timeout", [None, math.inf, 1e12])
@pytest.mark.parametrize("kind", ["memory", *NEWEST])
def test_an_endless_timeout(server_urls: dict[str, str], kind: str, timeout: float | None) -> None:
    """With an endless timeout, closing the follower ends the call."""
    backend: Backend = MemoryBackend()
    if kind != "memory":
        backend = RedisBackend.from_url(server_urls[kind])
    with backend, Follower(backend, [(b"k",)]) as follower:
        closing = threading.Timer(0.05, follower.close)
        closing.start()
        assert follower.next(timeout) is None
        closing.join()


class _UnreliableBackend(MemoryBackend):
    """A backend that can be made unreachable, and records the deadlines of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.is_unreachable = False
        self.deadlines: list[Deadline | None] = []

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        if self.is_unreachable:
            self.deadlines.append(deadline)
            raise ConnectionError("gone")
        return super().execute_many(operations)


def test_a_timeout_is_passed_to_the_backend() -> None:
    """The backend gets the deadline, and a query that failed is repeated later."""
    backend = _UnreliableBackend()
    backend.execute(SetImmutable(b"v_k", b"1"))
    with Follower(backend, [(b"v_k", b"k")]) as follower:
        backend.is_unreachable = True
        del backend.store.data[b"v_k"]  # without a message, so that it must be queried
        backend.execute(SetImmutable(b"k", b"2"))
        assert follower.next(0.01) is None
        assert {each and each.left() for each in backend.deadlines} == {0.0}
        backend.is_unreachable = False
        update = follower.next(LONG)
        assert isinstance(update, Update) and (update.key, update.value) == (b"k", b"2")


def test_closing_ends_queries() -> None:
    """The deadline of a query expires when the follower is closed."""
    backend = _UnreliableBackend()
    backend.execute(SetImmutable(b"v_k", b"1"))
    with Follower(backend, [(b"v_k", b"k")]) as follower:
        backend.is_unreachable = True
        backend.execute(SetImmutable(b"k", b"2"))
        closing = threading.Timer(0.05, follower.close)
        closing.start()
        assert follower.next() is None
        closing.join()
        assert {each and each.left() for each in backend.deadlines} == {0.0}
