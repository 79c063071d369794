"""A cache of what cannot change, in front of any backend, for ordinary code and for asyncio.

Rules: :class:`telstate_backends._cache_index.Facts` decides; the two backends here only ask, watch and wait
for it, and differ by little more than ``await``. A cache is never in the way: what it cannot answer
goes to the store as without it, and a cache that may not watch answers nothing. No thread: the
ordinary backend looks at its watcher's socket before it answers, the asyncio one lets the event loop
turn. Who waits for keys or follows them asks the store itself (`store_behind`).
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

from telstate_backends._cache_index import Facts
from telstate_backends.abc import (
    AsyncBackend,
    AsyncWatcher,
    Backend,
    Capabilities,
    Watcher,
)
from telstate_backends.deadline import Deadline
from telstate_backends.errors import CancelledError, TelstateError
from telstate_backends.operations.base import Operation
from telstate_backends.operations.read import Read, Seek

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

#: Bytes of keys and values that are kept at most, unless the user says otherwise: 64 MiB.
MAX_BYTES = 1 << 26

#: Seconds for which an answer is relied on at most, unless the user says otherwise.
MAX_AGE = 60.0

#: Seconds between two attempts to watch again after the connection was lost.
_PAUSE = 1.0

#: Seconds for which the asyncio cache may answer before it lets the event loop turn.
_TURN = 0.001


class _Cache(Capabilities):
    """What the sync and the asyncio cache have in common.

    Parameters
    ----------
    backend
        The backend behind the cache.
    size, max_bytes, max_age
        As in :class:`CachedBackend`.
    """

    _backend: Backend | AsyncBackend

    def __init__(
        self, backend: Backend | AsyncBackend, size: int, max_bytes: int, max_age: float
    ) -> None:
        if size < 1:
            raise ValueError(f"a cache for {size} keys can hold nothing; give at least 1")
        self.address = backend.address
        self.store = backend.store
        self.takes_payloads = backend.takes_payloads
        self.may_lose_updates = backend.may_lose_updates
        self.may_deliver_late = backend.may_deliver_late
        self._facts = Facts(size, max_bytes, max_age)
        self._watcher: Watcher | AsyncWatcher | None = None
        self._next_attempt = 0.0
        self._off = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._backend!r}>"

    def _hear(self) -> bool:
        """Take in what the watcher has to tell; whether what is known then holds."""
        watcher = self._watcher
        if watcher is None:
            return False
        try:
            while (event := watcher.poll()) is not None:
                self._facts.hear(event)
            return watcher.covers(())
        except TelstateError as error:
            self._switch_off(error)
            return False

    def _covers(self, keys: Sequence[bytes]) -> bool:
        return self._watcher is not None and self._watcher.covers(keys)

    def _follow(self) -> bool:
        """Watch what the facts want watched; whether there is still a watch to be entered."""
        watcher = self._watcher
        if watcher is None:
            return not self._off and bool(self._facts.keys)
        live, now = watcher.covers(()), time.monotonic()
        if not live and now < self._next_attempt:
            return False  # the orders can wait, until there is somebody to take them
        joining, leaving = self._facts.orders()
        try:
            if leaving:
                watcher.discard(leaving)
            if joining or not live:
                self._next_attempt = now + _PAUSE
                watcher.add(joining)
        except TelstateError as error:
            self._switch_off(error)
        return False

    def _switch_off(self, error: TelstateError | None = None) -> None:
        """Know nothing, and learn nothing from now on."""
        self._facts.forget_all()
        self._watcher = None
        if not self._off and error is not None and not isinstance(error, CancelledError):
            logger.warning("nothing is cached any more, since keys cannot be watched: %s", error)
        self._off = True


class CachedBackend(_Cache, Backend):
    """A backend in front of another that need not be asked twice what cannot change.

    What an immutable key holds, that it exists and that it is immutable is remembered from the
    second or third read on, until a watch tells that the key, or an earlier candidate of the view,
    was written or deleted. Everything else goes to the backend behind.

    Parameters
    ----------
    backend : Backend
        The backend behind; from now on it belongs to the cache, which closes it.
    size : int
        Of how many keys to remember something at most (default 1024), counting those that a view
        looks for in vain before it comes to the one that it finds.
    max_bytes : int
        How many bytes of keys and encoded values to keep at most (default 64 MiB).
    max_age : float
        For how many seconds to rely on an answer at most, whatever is told or not told of it
        (default 60; ``math.inf`` is allowed): this bounds the harm of deletions by writers that do
        not publish them, such as katsdptelstate.

    Raises
    ------
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> from telstate_backends import CachedBackend, Delete, Get, MemoryBackend, SetImmutable
    >>> backend = CachedBackend(MemoryBackend())
    >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    >>> [backend.execute(Get((b"n_chans",))).value for _ in range(3)]  # the last is remembered
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

    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Do one operation, atomically, or answer it from memory."""
        if isinstance(operation, Read):
            read: Read[Result] = operation
            return self._read(read, deadline)
        try:
            return self._backend.execute(operation, deadline=deadline)
        finally:
            with self._lock:
                self._facts.forget((operation,))

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do operations in order, in one round trip at most; a failed one gives its error."""
        # In order means that what is read depends on what is written before it.
        writes = any(operation.writes for operation in operations)
        with self._lock:
            errand = self._facts.plan(operations, self._hear() and not writes, self._covers)
        replies = None
        try:
            replies = (
                self._backend.execute_many(errand.operations, deadline=deadline)
                if errand.operations
                else []
            )
        finally:
            with self._lock:
                self._hear()
                results = self._facts.settle(errand, replies)
                self._facts.forget(operations)
                if not writes:  # what is written is not to fail by a watch
                    self._watch_more()
        return results

    def _read(self, read: Read[Result], deadline: Deadline | None) -> Result:
        facts = self._facts
        with self._lock:
            live = self._hear()
            answer = facts.recall(read) if live else None
            if answer is not None:
                return answer
            asking = facts.ask(read.keys, self._covers)
        try:
            found = self._backend.execute(Seek(read.keys, read.whole), deadline=deadline)
        except BaseException:
            with self._lock:
                facts.give_up(asking)
            raise
        with self._lock:
            if asking.covered:
                self._hear()
            facts.learn(asking, found)
            if facts.has_orders or not live:
                self._watch_more()
        return read.answer(found)

    def _watch_more(self) -> None:
        if self._follow():
            self._watch = self._backend.watch(deletions=True)
            self._watcher = self._watch.__enter__()
            self._facts.rejoin()
            self._follow()

    def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> AbstractContextManager[Watcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        return self._backend.watch(keys, patterns, deletions=deletions)

    def close(self) -> None:
        """Forget everything, and close the backend behind."""
        with self._lock:
            self._switch_off()
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.__exit__(None, None, None)
        self._backend.close()

    def _begin_anew(self) -> None:
        """Leave lock and watch to the parent process, of which this is a fork."""
        self._lock = threading.Lock()
        self._facts.forget_all()
        self._watch = self._watcher = None


class AsyncCachedBackend(_Cache, AsyncBackend):
    """An asyncio backend in front of another: :class:`CachedBackend`, awaited.

    Parameters
    ----------
    backend : AsyncBackend
        The backend behind; from now on it belongs to the cache, which closes it.
    size, max_bytes, max_age
        As in :class:`CachedBackend`.

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
        self._turned = 0.0

    @property
    def uncached(self) -> AsyncBackend:
        """The backend behind the cache."""
        return self._backend

    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Do one operation, atomically, or answer it from memory."""
        if isinstance(operation, Read):
            return await self._read(operation, deadline)
        try:
            return await self._backend.execute(operation, deadline=deadline)
        finally:
            self._facts.forget((operation,))

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do operations in order, in one round trip at most; a failed one gives its error."""
        # In order means that what is read depends on what is written before it.
        writes = any(operation.writes for operation in operations)
        await self._turn()
        errand = self._facts.plan(operations, self._hear() and not writes, self._covers)
        replies = None
        try:
            if errand.operations:
                replies = await self._backend.execute_many(errand.operations, deadline=deadline)
            else:
                replies = []
        finally:
            self._hear()
            results = self._facts.settle(errand, replies)
            self._facts.forget(operations)
        if not writes:  # what is written is not to fail by a watch
            await self._watch_more()
        return results

    async def _read(self, read: Read[Result], deadline: Deadline | None) -> Result:
        await self._turn()
        facts = self._facts
        live = self._hear()
        answer = facts.recall(read) if live else None
        if answer is not None:
            return answer
        asking = facts.ask(read.keys, self._covers)
        try:
            found = await self._backend.execute(Seek(read.keys, read.whole), deadline=deadline)
        except BaseException:
            facts.give_up(asking)
            raise
        if asking.covered:
            self._hear()
        facts.learn(asking, found)
        if facts.has_orders or not live:
            await self._watch_more()
        return read.answer(found)

    async def _turn(self) -> None:
        """Let the event loop turn now and then: it brings the notices, and others want it too."""
        # Here, so that who does not use asyncio need not pay for this import.
        from asyncio import sleep

        now = time.monotonic()
        if now - self._turned > _TURN:
            await sleep(0)
            self._turned = time.monotonic()

    async def _watch_more(self) -> None:
        if self._follow() and self._watch is None:
            self._watch = self._backend.watch(deletions=True)
            self._watcher = await self._watch.__aenter__()
            self._facts.rejoin()
            self._follow()

    def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> AbstractAsyncContextManager[AsyncWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        return self._backend.watch(keys, patterns, deletions=deletions)

    def close(self) -> None:
        """Forget everything, and start to close the backend behind."""
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
        backend._begin_anew()


os.register_at_fork(after_in_child=_after_fork)
