"""The asyncio memory backend: the same store as :mod:`telstate_backends.memory`, awaited.

Rules: no threads. Another thread that changes the store wakes a watcher with
``loop.call_soon_threadsafe``. A watcher belongs to the event loop in which it was entered; the first
event after that was closed lets go of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from telstate_backends.closing import AsyncClosing
from telstate_backends.errors import CancelledError
from telstate_backends.memory import MemoryBackend, Tap, apply_many
from telstate_backends.operations.base import Operation
from telstate_backends.operations.snapshots import Dump
from telstate_backends.store import Store
from telstate_backends.updates import Event

Result = TypeVar("Result")


class AsyncMemoryWatcher:
    """Events of a memory store, queued for one event loop."""

    def __init__(
        self,
        store: Store,
        keys: Iterable[bytes] = (),
        patterns: Iterable[bytes] = (),
        deletions: bool = False,
        siblings: set[AsyncMemoryWatcher] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        #: Where the backend keeps its watchers, and this one until it is left, or its loop is closed.
        self._siblings = set() if siblings is None else siblings
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._closed = False
        self._tap = Tap(store, self._tell, keys, patterns, deletions)
        self.add, self.discard, self.covers = self._tap.add, self._tap.discard, self._tap.covers
        self.release = self._tap.close

    def _tell(self, event: Event | None) -> None:
        """Queue an event, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            # The loop is closed: its owner left the watch unfinished, and nobody is to be told, ever.
            with self._store.lock:
                self._siblings.discard(self)
                self.release()

    async def next(self) -> Event:
        """Wait for the next event."""
        event = None if self._closed else await self._events.get()
        if event is None or self._closed:
            raise CancelledError("the memory backend was closed while it was watched")
        return event

    def poll(self) -> Event | None:
        """Give an event that is there already."""
        event = None if self._events.empty() else self._events.get_nowait()
        if self._closed:
            raise CancelledError("the memory backend was closed while it was watched")
        return event

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._closed = True
        self._tell(None)


class AsyncMemoryBackend(AsyncClosing):
    """A store in memory, for asyncio.

    Parameters
    ----------
    store : Store, optional
        A store to share with other backends; by default a new one.

    Examples
    --------
    >>> import asyncio
    >>> from telstate_backends import AsyncMemoryBackend, Get, SetImmutable
    >>> async def main():
    ...     async with AsyncMemoryBackend() as backend:
    ...         await backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    ...         return await backend.execute(Get((b"n_chans",)))
    >>> asyncio.run(main())
    Immutable(value=b'\\xff\\x10')
    """

    #: Whether a watch may ever have to look at the store for what it was not told.
    may_lose_updates = False

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
        self._lock = self.store.lock
        self._watchers: set[AsyncMemoryWatcher] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<AsyncMemoryBackend of {len(self.store.data)} keys>"

    @classmethod
    def from_sync(cls, sync: MemoryBackend) -> AsyncMemoryBackend:
        """Make an asyncio backend that shares the data of a sync one."""
        return cls(sync.store)

    def to_sync(self) -> MemoryBackend:
        """Make a sync backend that shares the data of this one."""
        return MemoryBackend(self.store)

    async def execute(self, operation: Operation[Result], /) -> Result:
        """Do one operation, atomically."""
        with self._lock:
            return operation.apply(self.store)

    async def execute_many(self, operations: Sequence[Operation[Any]], /) -> list[Any]:
        """Do operations in order; one that fails gives its error in its place."""
        with self._lock:
            return apply_many(self.store, operations)

    async def dump(self, key: bytes) -> bytes | None:
        """Give all that a key holds as a DUMP payload, `None` if it does not exist."""
        return await self.execute(Dump(key))

    @asynccontextmanager
    async def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> AsyncIterator[AsyncMemoryWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        watcher = AsyncMemoryWatcher(self.store, keys, patterns, deletions, self._watchers)
        with self._lock:
            self._watchers.add(watcher)
            if self._closed:
                watcher.close()
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)
            watcher.release()

    def close(self) -> None:
        """Wake all watchers of this backend, and let none watch by it; the data stay where they are."""
        with self._lock:
            self._closed = True
            for watcher in tuple(self._watchers):
                watcher.close()

    async def wait_closed(self) -> None:
        """Wait until what `close` started is finished."""
