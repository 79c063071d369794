"""The memory backend: operations applied to a store in this process, one at a time.

Rules: any number of backends, sync and asyncio, may share one store; its lock sees to it that
operations are atomic. Closing a backend wakes its own watchers, those to come as well, and nothing
else: the data live as long as somebody refers to the store.
"""

# The asyncio memory backend: the same store as :mod:`telstate_backends.memory`, awaited.
#
# Rules: no threads. Another thread that changes the store wakes a watcher with
# ``loop.call_soon_threadsafe``. A watcher belongs to the event loop in which it was entered; the first
# event after that was closed lets go of it.

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from telstate_backends.abc import AsyncBackend, Backend
from telstate_backends.deadline import Deadline
from telstate_backends.errors import CancelledError, TelstateError
from telstate_backends.events import (
    CLEAR_CHANNEL,
    CheckDue,
    Event,
    channels_of,
    prefixes_of,
)
from telstate_backends.operations.base import Operation
from telstate_backends.store import Store
from telstate_rdb.globs import Glob

Result = TypeVar("Result")

# Seconds of the longest sleep, because operating systems do not accept a timeout of years.
_MAX_SLEEP = 1e6


class Tap:
    """What one watcher hears of a store.

    Parameters
    ----------
    store : Store
        The store.
    tell : callable
        Takes the events; the first says that they come from now on.
    keys, patterns, deletions
        As in :meth:`MemoryBackend.watch`.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[Event], None],
        keys: Iterable[bytes],
        patterns: Iterable[bytes],
        deletions: bool,
    ) -> None:
        self._store = store
        self._tell = tell
        self._keys = set(keys)
        self._globs = [Glob(pattern) for pattern in patterns]
        self._deletions = deletions
        with store.lock:
            self._tell(CheckDue.SUBSCRIBED)
            store.listen(tell, channels_of(self._keys, deletions))
            store.listen(tell, (CLEAR_CHANNEL,) if deletions else ())
            store.listen_to_patterns(tell, self._globs, prefixes_of(deletions))

    def add(self, keys: Iterable[bytes]) -> None:
        """Hear of these keys too."""
        with self._store.lock:
            new = set(keys) - self._keys
            if new:
                self._keys |= new
                self._store.listen(self._tell, channels_of(new, self._deletions))
                self._tell(CheckDue.SUBSCRIBED)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Hear of these keys no more."""
        with self._store.lock:
            old = self._keys.intersection(keys)
            self._keys -= old
            self._store.unlisten(self._tell, channels_of(old, self._deletions))

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Tell whether all of these keys are heard of."""
        return all(
            key in self._keys or any(glob.matches(key) for glob in self._globs) for key in keys
        )

    def close(self) -> None:
        """Hear nothing any more."""
        with self._store.lock:
            self._store.unlisten(self._tell, channels_of(self._keys, self._deletions))
            self._store.unlisten(self._tell, (CLEAR_CHANNEL,))
            self._store.unlisten_to_patterns(self._tell)


class MemoryWatcher:
    """Events of a memory store, queued for one thread."""

    trouble: str | None = None

    def __init__(
        self,
        store: Store,
        keys: Iterable[bytes] = (),
        patterns: Iterable[bytes] = (),
        deletions: bool = False,
    ) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closed = False
        self._tap = Tap(store, self._events.put, keys, patterns, deletions)
        self.add, self.discard, self.covers = self._tap.add, self._tap.discard, self._tap.covers

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event; `None` if the time is over or somebody called `wake`."""
        if timeout is not None:
            timeout = min(max(timeout, 0.0), _MAX_SLEEP)
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            event = None
        if self._closed:
            raise CancelledError("the memory backend was closed while it was watched")
        return event

    def poll(self) -> Event | None:
        """Give an event that is there already."""
        return self.next(0.0)

    def wake(self) -> None:
        """Make `next` return now, or when it is next called."""
        self._events.put(None)

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._closed = True
        self.wake()

    def release(self) -> None:
        """Hear nothing any more."""
        self._tap.close()


class MemoryBackend(Backend):
    """A store in memory, for ordinary code; its methods can be called from any thread.

    Parameters
    ----------
    store : Store, optional
        A store to share with other backends; by default a new one.

    Examples
    --------
    >>> from telstate_backends import Get, MemoryBackend, SetImmutable
    >>> backend = MemoryBackend()
    >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    >>> backend.execute(Get((b"beam_n_chans", b"n_chans")))
    Immutable(value=b'\\xff\\x10')
    """

    store: Store
    may_lose_updates = False

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
        self._lock = self.store.lock
        self._watchers: set[MemoryWatcher] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<MemoryBackend of {len(self.store.data)} keys>"

    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Do one operation, atomically."""
        with self._lock:
            return operation.apply(self.store)

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do operations in order; one that fails gives its error in its place."""
        with self._lock:
            return apply_many(self.store, operations)

    @contextmanager
    def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> Iterator[MemoryWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        watcher = MemoryWatcher(self.store, keys, patterns, deletions)
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
            for watcher in self._watchers:
                watcher.close()


def apply_many(store: Store, operations: Sequence[Operation[Any]]) -> list[Any]:
    """Apply operations in order; one that fails gives its error in its place."""
    results: list[Any] = []
    for operation in operations:
        try:
            results.append(operation.apply(store))
        except TelstateError as error:
            results.append(error)
    return results


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
        # Imported here: asyncio takes longer to import than all of this package.
        import asyncio

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


class AsyncMemoryBackend(AsyncBackend):
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

    store: Store
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

    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Do one operation, atomically."""
        with self._lock:
            return operation.apply(self.store)

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do operations in order; one that fails gives its error in its place."""
        with self._lock:
            return apply_many(self.store, operations)

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
