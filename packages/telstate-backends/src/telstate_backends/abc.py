"""The interface of every backend: execute operations and watch keys, synchronously or with asyncio.

``execute`` raises the error of its operation. ``execute_many`` takes one round trip; an operation in it
that fails does not stop the others, and its error takes the place of its result. Only an error that
concerns all of them (no connection, say) is raised. Capabilities that differ between backends are
attributes, so no caller has to guess them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from telstate_backends.deadline import Deadline
from telstate_backends.errors import ForeignKeyError, RefusedError
from telstate_backends.events import Event
from telstate_backends.operations.base import Operation
from telstate_backends.store import Store, Stored

Result = TypeVar("Result")

#: A key of a snapshot and its contents, or the error for a key that telstate does not support.
SnapshotEntry: TypeAlias = tuple[bytes, Stored | ForeignKeyError]
#: Uses the entries of a snapshot; it may be called again with those of another one.
Consume: TypeAlias = Callable[[Iterator[SnapshotEntry]], Result]
#: Returns whether a key is wanted.
Wants: TypeAlias = Callable[[bytes], bool]


def want_all(key: bytes) -> bool:
    """Want every key."""
    return True


def _without_snapshots(backend: object) -> RefusedError:
    return RefusedError(f"A {type(backend).__name__} has no consistent snapshots.")


class Closing:
    """Base of classes that are closed at the end of a ``with`` statement."""

    __slots__ = ()

    def close(self) -> None:
        """Release all resources; can be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()


class AsyncClosing:
    """Base of classes that are closed at the end of an ``async with`` statement."""

    __slots__ = ()

    def close(self) -> None:
        """Start to release all resources; can be called twice."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Wait until what :meth:`close` started is finished."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()
        await self.wait_closed()


class _AnyWatcher(Protocol):
    def poll(self) -> Event | None:
        """Return an event that has already arrived, or `None`, without waiting."""

    def add(self, keys: Iterable[bytes], /) -> None:
        """Watch more keys; `CheckDue.SUBSCRIBED` follows when updates of all of them arrive."""

    def discard(self, keys: Iterable[bytes], /) -> None:
        """Stop watching keys; events of them that have already arrived may still be returned."""

    def covers(self, keys: Iterable[bytes], /) -> bool:
        """Return whether, as far as is known, no update of these keys is being missed."""


class Watcher(_AnyWatcher, Protocol):
    """Events of a synchronous backend, one at a time, in order; :meth:`Backend.watch` returns it.

    Attributes
    ----------
    trouble : str or None
        Why no events can arrive at the moment (a lost connection), `None` if they can.
    deadline : Deadline or None
        Until when a connection may take to be made, one second at least. `None`, the default, for as long
        as the timeouts of the client allow.
    """

    deadline: Deadline | None

    @property
    def trouble(self) -> str | None:
        """Why no events can arrive at the moment."""

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most (default: no limit).

        Returns
        -------
        Event or None
            `None` after the timeout, and when :meth:`wake` was called.

        Raises
        ------
        CancelledError
            If the backend is closed.
        ConnectionError
            If the connection to the store cannot be restored.
        """

    def wake(self) -> None:
        """Make :meth:`next` return now, or when it is next called. Can be called from any thread."""


class AsyncWatcher(_AnyWatcher, Protocol):
    """Events of an asyncio backend, one at a time, in order; :meth:`AsyncBackend.watch` returns it."""

    async def next(self) -> Event:
        """Wait for the next event and return it.

        Raises
        ------
        CancelledError
            If the backend is closed (telstate's own error, not asyncio's).
        ConnectionError
            If the connection to the store cannot be restored.
        """


class Capabilities:
    """What callers may ask about a backend, synchronous or asyncio.

    Attributes
    ----------
    address : str or None
        Address of the server, without a password; `None` for a backend in memory.
    store : Store or None
        The store of a backend in memory; `None` for a server.
    takes_payloads : bool
        Whether :class:`Restore` is the fastest way to load a key.
    may_lose_updates : bool
        Whether a watcher may ever have to read the store because it missed an update.
    may_deliver_late : bool
        Whether an update published before a watch began may still arrive during it.
    """

    address: str | None = None
    store: Store | None = None
    takes_payloads: bool = False
    may_lose_updates: bool = True
    may_deliver_late: bool = False


class Backend(Capabilities, Closing, ABC):
    """A store for synchronous programs; its methods can be called from any thread."""

    @property
    def uncached(self) -> Backend:
        """The backend behind a cache, or this backend if it is not a cache.

        Programs that watch keys must read from it, since the cache may be older than the watch.
        """
        return self

    @abstractmethod
    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically, and return its result.

        Parameters
        ----------
        operation : Operation
            The operation.
        deadline : Deadline, optional
            Until when to retry and to wait for a reply (default: as the backend's retry policy and
            timeouts say). A store in memory replies at once and ignores it.
        """

    @abstractmethod
    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order, in one round trip, and return their results.

        The result of an operation that failed is its error. `deadline` is that of :meth:`execute`.
        """

    @abstractmethod
    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> AbstractContextManager[Watcher]:
        """Watch keys, and all keys that match glob patterns, from now on.

        Returns a context manager that yields a :class:`Watcher`. Its first event is
        :attr:`CheckDue.SUBSCRIBED`; no update of `keys`, or of a key that matches one of `patterns`, is
        missed after it. With `deletions`, deletions are events too (:class:`Deleted` and :class:`Cleared`), if the writer
        publishes them: this package does, katsdptelstate does not.
        """

    def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment, however long that takes.

        Parameters
        ----------
        consume : callable
            Called with an iterator over pairs of a key, in any order, and its contents: an
            :class:`Immutable`, :class:`Samples` or :class:`Fields`, or a :exc:`ForeignKeyError`. It is
            called again if the connection is lost, within the retry policy, and must then start anew.
        wants : callable
            Returns whether a key is wanted (default: all are).

        Returns
        -------
        object
            What `consume` returned.

        Raises
        ------
        RefusedError
            If the server does not send its snapshot to this user.
        ConnectionError
            If the server cannot be reached, or the connection is lost meanwhile.

        Notes
        -----
        A server sends its own snapshot, as to a replica. A cluster has one moment for each node; keys of
        slots that move meanwhile are read after that.

        Examples
        --------
        >>> from telstate_backends import MemoryBackend, SetImmutable
        >>> backend = MemoryBackend()
        >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
        >>> backend.take_snapshot(dict)
        {b'n_chans': Immutable(value=b'\\xff\\x10')}
        """
        raise _without_snapshots(self)

    def dump(self, key: bytes) -> bytes | None:
        """Return all that a key holds as a DUMP payload, `None` if it does not exist."""
        # Imported here because few programs use it.
        from telstate_backends.operations.bulk import Export, dump_payload

        return dump_payload(self.execute(Export(key)))


class AsyncBackend(Capabilities, AsyncClosing, ABC):
    """A store for one asyncio event loop: :class:`Backend`, awaited."""

    @property
    def uncached(self) -> AsyncBackend:
        """The backend behind a cache, or this backend if it is not a cache."""
        return self

    @abstractmethod
    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically; see :meth:`Backend.execute`."""

    @abstractmethod
    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order, in one round trip, and return their results.

        The result of an operation that failed is its error. `deadline` is that of :meth:`execute`.
        """

    @abstractmethod
    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> AbstractAsyncContextManager[AsyncWatcher]:
        """Watch keys, and all keys that match glob patterns, from now on; see :meth:`Backend.watch`."""

    async def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment; see :meth:`Backend.take_snapshot`.

        `consume` is a synchronous function; it and `wants` are called in a thread.
        """
        raise _without_snapshots(self)

    async def dump(self, key: bytes) -> bytes | None:
        """Return all that a key holds as a DUMP payload, `None` if it does not exist."""
        # Imported here because few programs use it.
        from telstate_backends.operations.bulk import Export, dump_payload

        return dump_payload(await self.execute(Export(key)))
