"""A cache of immutable keys, in front of any backend, synchronous or asyncio.

:class:`telstate_backends._cache_index.CacheIndex` decides; the two backends here execute and watch for it, and
differ by little more than ``await``. What the cache cannot answer goes to the backend behind it, and a cache
that is not permitted to watch answers nothing. There is no thread: the synchronous backend looks for events
before it answers, the asyncio one lets the event loop run now and then. Programs that wait for keys or watch
them read from the backend behind the cache (:attr:`Backend.uncached`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar

from telstate_backends._cache_index import CacheIndex
from telstate_backends.abc import (
    AsyncBackend,
    AsyncWatcher,
    Backend,
    Capabilities,
    Consume,
    Wants,
    Watcher,
    want_all,
)
from telstate_backends.deadline import Deadline
from telstate_backends.errors import CancelledError, TelstateError
from telstate_backends.operations.base import Operation
from telstate_backends.operations.read import Read

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

#: The default size of keys and values in bytes: 64 MiB.
MAX_BYTES = 1 << 26
#: For how many seconds a result is used by default.
MAX_AGE = 60.0
#: Seconds between two attempts to watch again after the connection was lost.
_RETRY_INTERVAL = 1.0
#: Seconds for which the asyncio cache may answer before it lets the event loop run.
_YIELD_INTERVAL = 0.001


class _CacheBase(Capabilities):
    """What the synchronous and the asyncio cache share; the parameters are those of the classes below."""

    _backend: Backend | AsyncBackend

    def __init__(
        self, backend: Backend | AsyncBackend, size: int, max_bytes: int, max_age: float
    ) -> None:
        if size < 1:
            raise ValueError(f"The size of a cache must be at least 1, not {size}.")
        for name in Capabilities.__annotations__:
            setattr(self, name, getattr(backend, name))
        self._index = CacheIndex(size, max_bytes, max_age)
        self._watcher: Watcher | AsyncWatcher | None = None
        self._next_attempt = 0.0
        self._is_off = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._backend!r}>"

    def _update(self) -> bool:
        """Take in the events of the watcher; return whether what is known is valid now."""
        watcher = self._watcher
        if watcher is None:
            return False
        try:
            while (event := watcher.poll()) is not None:
                self._index.handle(event)
            return watcher.covers(())
        except TelstateError as error:
            self._switch_off(error)
            return False

    def _covers(self, keys: Sequence[bytes]) -> bool:
        return self._watcher is not None and self._watcher.covers(keys)

    def _adjust_watcher(self) -> bool:
        """Watch the keys that the index wants; return whether a watch must be entered first."""
        watcher = self._watcher
        if watcher is None:
            return not self._is_off and bool(self._index.keys)
        live, now = watcher.covers(()), time.monotonic()
        if not live and now < self._next_attempt:
            return False
        added, discarded = self._index.take_changes()
        try:
            if discarded:
                watcher.discard(discarded)
            if added or not live:
                self._next_attempt = now + _RETRY_INTERVAL
                watcher.add(added)
        except TelstateError as error:
            self._switch_off(error)
        return False

    def _switch_off(self, error: TelstateError | None = None) -> None:
        """Forget everything, and cache nothing from now on."""
        self._index.forget_all()
        self._watcher = None
        if not self._is_off and error is not None and not isinstance(error, CancelledError):
            logger.warning("Caching has stopped because keys cannot be watched: %s", error)
        self._is_off = True


class CachedBackend(_CacheBase, Backend):
    """A backend that remembers immutable keys of another backend.

    That an immutable key exists, its kind and its value are remembered from the second or third read on,
    until an event says that the key, or an earlier candidate of the view, was written or deleted.
    Everything else goes to the backend behind it.

    Parameters
    ----------
    backend : Backend
        The backend behind the cache, which owns it from now on and closes it.
    size : int
        The maximum number of keys (default 1024), including those that a view looks for in vain before it
        finds one.
    max_bytes : int
        The maximum size of keys and encoded values (default 64 MiB).
    max_age : float
        For how many seconds a result is used at most (default 60; ``math.inf`` is allowed). This limits
        the harm of deletions that are not published, such as those by katsdptelstate.

    Raises
    ------
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> from telstate_backends import CachedBackend, Delete, Get, MemoryBackend, SetImmutable
    >>> backend = CachedBackend(MemoryBackend())
    >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    >>> [backend.execute(Get((b"n_chans",))).value for _ in range(3)]  # the last is from the cache
    [b'\\xff\\x10', b'\\xff\\x10', b'\\xff\\x10']
    >>> backend.execute(Delete((b"n_chans",)))
    1
    >>> backend.execute(Get((b"n_chans",))) is None
    True
    """

    _backend: Backend

    def __init__(
        self,
        backend: Backend,
        size: int = 1024,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
    ) -> None:
        super().__init__(backend, size, max_bytes, max_age)
        self._backend = backend
        self._lock = threading.Lock()
        self._watch: AbstractContextManager[Watcher] | None = None
        _in_this_process.add(self)

    @property
    def uncached(self) -> Backend:
        """The backend behind the cache."""
        return self._backend

    def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment; see :meth:`Backend.take_snapshot`."""
        return self._backend.take_snapshot(consume, wants)

    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically, or answer it from the cache."""
        if isinstance(operation, Read):
            read: Read[Result] = operation
            return self._read(read, deadline)
        try:
            return self._backend.execute(operation, deadline=deadline)
        finally:
            with self._lock:
                self._index.forget((operation,))

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order, in at most one round trip; see :meth:`Backend.execute_many`."""
        # Reads in a batch that writes depend on the writes before them.
        writes = any(operation.writes for operation in operations)
        with self._lock:
            plan = self._index.plan(operations, self._update() and not writes, self._covers)
        replies: list[Any] | None = None if plan.operations else []
        try:
            if plan.operations:
                replies = self._backend.execute_many(plan.operations, deadline=deadline)
        finally:
            with self._lock:
                self._update()
                results = self._index.complete(plan, replies)
                self._index.forget(operations)
                if not writes:  # writes do not fail because of a watch
                    self._watch_more()
        return results

    def _read(self, read: Read[Result], deadline: Deadline | None) -> Result:
        index = self._index
        with self._lock:
            live = self._update()
            answer = index.recall(read) if live else None
            if answer is not None:
                return answer
            pending = index.begin(read.keys, self._covers)
        try:
            found = self._backend.execute(read.find(), deadline=deadline)
        except BaseException:
            with self._lock:
                index.give_up(pending)
            raise
        with self._lock:
            if pending.covered:
                self._update()
            index.learn(pending, found)
            if index.must_watch or not live:
                self._watch_more()
        return read.answer(found)

    def _watch_more(self) -> None:
        if self._adjust_watcher():
            self._watch = self._backend.watch(deletions=True)
            self._watcher = self._watch.__enter__()
            self._index.restart()
            self._adjust_watcher()

    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> AbstractContextManager[Watcher]:
        """Watch keys, and all keys that match glob patterns; see :meth:`Backend.watch`."""
        return self._backend.watch(keys, patterns, deletions=deletions)

    def close(self) -> None:
        """Forget everything, and close the backend behind the cache."""
        with self._lock:
            self._switch_off()
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.__exit__(None, None, None)
        self._backend.close()

    def _reset_after_fork(self) -> None:
        """Leave the lock and the watch to the parent process."""
        self._lock = threading.Lock()
        self._index.forget_all()
        self._watch = self._watcher = None


class AsyncCachedBackend(_CacheBase, AsyncBackend):
    """An asyncio backend that remembers immutable keys of another one: :class:`CachedBackend`, awaited.

    Parameters
    ----------
    backend : AsyncBackend
        The backend behind the cache, which owns it from now on and closes it.
    size, max_bytes, max_age
        As for :class:`CachedBackend`.

    Raises
    ------
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> import asyncio
    >>> from telstate_backends import AsyncCachedBackend, AsyncMemoryBackend, Get, SetImmutable
    >>> async def main():
    ...     async with AsyncCachedBackend(AsyncMemoryBackend(), size=100) as backend:
    ...         await backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    ...         return [await backend.execute(Get((b"n_chans",))) for _ in range(2)]
    >>> asyncio.run(main())
    [Immutable(value=b'\\xff\\x10'), Immutable(value=b'\\xff\\x10')]
    """

    _backend: AsyncBackend

    def __init__(
        self,
        backend: AsyncBackend,
        size: int = 1024,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
    ) -> None:
        super().__init__(backend, size, max_bytes, max_age)
        self._backend = backend
        self._watch: AbstractAsyncContextManager[AsyncWatcher] | None = None
        self._last_yield = 0.0

    @property
    def uncached(self) -> AsyncBackend:
        """The backend behind the cache."""
        return self._backend

    async def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment; see :meth:`AsyncBackend.take_snapshot`."""
        return await self._backend.take_snapshot(consume, wants)

    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically, or answer it from the cache."""
        if isinstance(operation, Read):
            return await self._read(operation, deadline)
        try:
            return await self._backend.execute(operation, deadline=deadline)
        finally:
            self._index.forget((operation,))

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order, in at most one round trip; see :meth:`Backend.execute_many`."""
        # Reads in a batch that writes depend on the writes before them.
        writes = any(operation.writes for operation in operations)
        await self._yield_to_loop()
        plan = self._index.plan(operations, self._update() and not writes, self._covers)
        replies: list[Any] | None = None if plan.operations else []
        try:
            if plan.operations:
                replies = await self._backend.execute_many(plan.operations, deadline=deadline)
        finally:
            self._update()
            results = self._index.complete(plan, replies)
            self._index.forget(operations)
        if not writes:  # writes do not fail because of a watch
            await self._watch_more()
        return results

    async def _read(self, read: Read[Result], deadline: Deadline | None) -> Result:
        await self._yield_to_loop()
        index = self._index
        live = self._update()
        answer = index.recall(read) if live else None
        if answer is not None:
            return answer
        pending = index.begin(read.keys, self._covers)
        try:
            found = await self._backend.execute(read.find(), deadline=deadline)
        except BaseException:
            index.give_up(pending)
            raise
        if pending.covered:
            self._update()
        index.learn(pending, found)
        if index.must_watch or not live:
            await self._watch_more()
        return read.answer(found)

    async def _yield_to_loop(self) -> None:
        """Let the event loop run now and then, so that events arrive and other tasks proceed."""
        # Imported here because synchronous programs do not need it.
        from asyncio import sleep

        now = time.monotonic()
        if now - self._last_yield > _YIELD_INTERVAL:
            await sleep(0)
            self._last_yield = time.monotonic()

    async def _watch_more(self) -> None:
        if self._adjust_watcher() and self._watch is None:
            self._watch = self._backend.watch(deletions=True)
            self._watcher = await self._watch.__aenter__()
            self._index.restart()
            self._adjust_watcher()

    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> AbstractAsyncContextManager[AsyncWatcher]:
        """Watch keys, and all keys that match glob patterns; see :meth:`Backend.watch`."""
        return self._backend.watch(keys, patterns, deletions=deletions)

    def close(self) -> None:
        """Forget everything, and start to close the backend behind the cache."""
        self._switch_off()
        self._backend.close()

    async def wait_closed(self) -> None:
        """Wait until what `close` started is finished."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.__aexit__(None, None, None)
        await self._backend.wait_closed()


_in_this_process: weakref.WeakSet[CachedBackend] = weakref.WeakSet()


def _after_fork() -> None:
    for backend in _in_this_process:
        backend._reset_after_fork()


os.register_at_fork(after_in_child=_after_fork)
