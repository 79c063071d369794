"""Backends in memory: operations are applied to a store in this process, one at a time.

Any number of backends, synchronous and asyncio, may share one store, whose lock makes operations atomic.
Closing a backend ends its own watches, and later ones, and nothing else: the data live as long as
somebody refers to the store. There are no threads: a thread that changes the store wakes an asyncio
watcher with ``loop.call_soon_threadsafe``. asyncio is imported when it is first used, because it takes
longer to import than this whole package.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from operator import itemgetter
from typing import Any, TypeVar

from telstate_backends.abc import (
    AsyncBackend,
    Backend,
    Capabilities,
    Consume,
    SnapshotEntry,
    Wants,
    want_all,
)
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
from telstate_backends.operations.bulk import copy_contents, unpacked
from telstate_backends.store import Packed, Store, Stored
from telstate_rdb.globs import Glob

Result = TypeVar("Result")

#: Seconds of the longest sleep, because operating systems do not accept a timeout of years.
_MAX_SLEEP = 1e6


class StoreSubscription:
    """The keys and patterns of a store that are watched; `deliver` is called with each event."""

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Event], None],
        keys: Iterable[bytes],
        patterns: Iterable[bytes],
        deletions: bool,
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._keys = set(keys)
        self._globs = [Glob(pattern) for pattern in patterns]
        self._deletions = deletions
        with store.lock:
            deliver(CheckDue.SUBSCRIBED)
            store.listen(deliver, channels_of(self._keys, deletions))
            store.listen(deliver, (CLEAR_CHANNEL,) if deletions else ())
            store.listen_to_patterns(deliver, self._globs, prefixes_of(deletions))

    def add(self, keys: Iterable[bytes], /) -> None:
        """Watch more keys."""
        with self._store.lock:
            new = set(keys) - self._keys
            if new:
                self._keys |= new
                self._store.listen(self._deliver, channels_of(new, self._deletions))
                self._deliver(CheckDue.SUBSCRIBED)

    def discard(self, keys: Iterable[bytes], /) -> None:
        """Stop watching keys."""
        with self._store.lock:
            old = self._keys.intersection(keys)
            self._keys -= old
            self._store.unlisten(self._deliver, channels_of(old, self._deletions))

    def covers(self, keys: Iterable[bytes], /) -> bool:
        """Return whether all of these keys are watched."""
        return all(
            key in self._keys or any(glob.matches(key) for glob in self._globs) for key in keys
        )

    def release(self) -> None:
        """End the subscription."""
        with self._store.lock:
            self._store.unlisten(self._deliver, channels_of(self._keys, self._deletions))
            self._store.unlisten(self._deliver, (CLEAR_CHANNEL,))
            self._store.unlisten_to_patterns(self._deliver)


def _closed() -> CancelledError:
    return CancelledError("The memory backend was closed while it was watched.")


class MemoryWatcher(StoreSubscription):
    """Events of a store in memory, queued for one thread."""

    trouble: str | None = None
    deadline: Deadline | None = None

    def __init__(
        self,
        store: Store,
        keys: Iterable[bytes] = (),
        patterns: Iterable[bytes] = (),
        deletions: bool = False,
    ) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._is_closed = False
        super().__init__(store, self._events.put, keys, patterns, deletions)

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event; `None` after the timeout, and when `wake` was called."""
        if timeout is not None:
            timeout = min(max(timeout, 0.0), _MAX_SLEEP)
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            event = None
        if self._is_closed:
            raise _closed()
        return event

    def poll(self) -> Event | None:
        """Return an event that has already arrived."""
        return self.next(0.0)

    def wake(self) -> None:
        """Make `next` return now, or when it is next called."""
        self._events.put(None)

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._is_closed = True
        self.wake()


class AsyncMemoryWatcher(StoreSubscription):
    """Events of a store in memory, queued for the event loop in which the watch was entered.

    If that loop is closed without ending the watch, the next event ends it.
    """

    def __init__(
        self,
        store: Store,
        keys: Iterable[bytes],
        patterns: Iterable[bytes],
        deletions: bool,
        siblings: set[AsyncMemoryWatcher],
    ) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._is_closed = False
        self._siblings = siblings
        super().__init__(store, self._put, keys, patterns, deletions)

    def _put(self, event: Event | None) -> None:
        """Queue an event, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop is closed
            with self._store.lock:
                self._siblings.discard(self)
                self.release()

    async def next(self) -> Event:
        """Wait for the next event."""
        event = None if self._is_closed else await self._events.get()
        if event is None or self._is_closed:
            raise _closed()
        return event

    def poll(self) -> Event | None:
        """Return an event that has already arrived."""
        event = None if self._events.empty() else self._events.get_nowait()
        if self._is_closed:
            raise _closed()
        return event

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._is_closed = True
        self._put(None)


AnyMemoryWatcher = TypeVar("AnyMemoryWatcher", MemoryWatcher, AsyncMemoryWatcher)


class _MemoryBase(Capabilities):
    """What the synchronous and the asyncio backend share."""

    store: Store
    may_lose_updates = False

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
        self._lock = self.store.lock
        self._watchers: set[Any] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.store.data)} keys>"

    def _apply_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        results: list[Any] = []
        with self._lock:
            for operation in operations:
                try:
                    results.append(operation.apply(self.store))
                except TelstateError as error:
                    results.append(error)
        return results

    @contextmanager
    def _registered(self, watcher: AnyMemoryWatcher) -> Iterator[AnyMemoryWatcher]:
        with self._lock:
            self._watchers.add(watcher)
            if self._is_closed:
                watcher.close()
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)
            watcher.release()

    def _snapshot(self, wants: Wants, is_cut: Callable[[], bool] = bool) -> Iterator[SnapshotEntry]:
        """Copy what is wanted now, and return an iterator over that."""
        with self._lock:
            entries = [
                (key, stored if type(stored) is Packed else copy_contents(stored))
                for key, stored in self.store.data.items()
                if wants(key)
            ]
        return _unpacking(sorted(entries, key=itemgetter(0)), is_cut)

    def close(self) -> None:
        """End all watches of this backend, and later ones; the data are kept."""
        with self._lock:
            self._is_closed = True
            for watcher in tuple(self._watchers):
                watcher.close()


def _unpacking(
    entries: Iterable[tuple[bytes, Stored | Packed]], is_cut: Callable[[], bool]
) -> Iterator[SnapshotEntry]:
    for key, contents in entries:
        if is_cut():
            raise CancelledError("The snapshot was cancelled.")
        yield key, unpacked(contents)


class MemoryBackend(_MemoryBase, Backend):
    """A store in memory, for synchronous programs; its methods can be called from any thread.

    Parameters
    ----------
    store : Store, optional
        A store to share with other backends (default: a new one).

    Examples
    --------
    >>> from telstate_backends import Get, MemoryBackend, SetImmutable
    >>> backend = MemoryBackend()
    >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    >>> backend.execute(Get((b"beam_n_chans", b"n_chans")))
    Immutable(value=b'\\xff\\x10')
    """

    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically; the deadline is ignored."""
        with self._lock:
            return operation.apply(self.store)

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order; the error of a failed one is its result."""
        return self._apply_many(operations)

    def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment."""
        return consume(self._snapshot(wants))

    @contextmanager
    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> Iterator[MemoryWatcher]:
        """Watch keys, and all keys that match glob patterns; see :meth:`Backend.watch`."""
        with self._registered(MemoryWatcher(self.store, keys, patterns, deletions)) as watcher:
            yield watcher


class AsyncMemoryBackend(_MemoryBase, AsyncBackend):
    """A store in memory, for asyncio.

    Parameters
    ----------
    store : Store, optional
        A store to share with other backends (default: a new one).

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

    @classmethod
    def from_sync(cls, sync: MemoryBackend) -> AsyncMemoryBackend:
        """Return an asyncio backend that shares the data of a synchronous one, `sync`."""
        return cls(sync.store)

    def to_sync(self) -> MemoryBackend:
        """Return a synchronous backend that shares the data of this one."""
        return MemoryBackend(self.store)

    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically; the deadline is ignored."""
        with self._lock:
            return operation.apply(self.store)

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order; the error of a failed one is its result."""
        return self._apply_many(operations)

    async def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment; `consume` is called in a thread."""
        # Imported here because synchronous programs do not need it.
        from telstate_backends.threads import run_in_thread

        cut = threading.Event()
        entries = self._snapshot(wants, cut.is_set)
        return await run_in_thread(lambda: consume(entries), cut.set)

    @asynccontextmanager
    async def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> AsyncIterator[AsyncMemoryWatcher]:
        """Watch keys, and all keys that match glob patterns; see :meth:`Backend.watch`."""
        watcher = AsyncMemoryWatcher(self.store, keys, patterns, deletions, self._watchers)
        with self._registered(watcher):
            yield watcher

    async def wait_closed(self) -> None:
        """Return at once, since `close` leaves nothing to be done."""
