"""``with`` and ``async with`` for what has to be closed; a base for all such classes."""

# What a backend is, sync and asyncio: a place to execute operations and to watch keys.
#
# Rules: `execute` raises what goes wrong. `execute_many` takes one round trip; an operation in it
# that fails does not keep the others from being done, and its error stands in its place in the list
# that is given back; only what concerns all of them (no connection) is raised.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from telstate_backends.events import Event
from telstate_backends.operations.base import Operation


class Closing:
    """Something that is closed at the end of a ``with`` statement."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what it holds; can be called twice."""
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
    """Something that is closed at the end of an ``async with`` statement."""

    __slots__ = ()

    def close(self) -> None:
        """Start to let go of what it holds; can be called twice."""
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


Result = TypeVar("Result")
AnyBackend = TypeVar("AnyBackend")


class Watcher(Protocol):
    """What `watch` of a sync backend gives: events, one at a time, in order."""

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event.

        Parameters
        ----------
        timeout : float, optional
            How many seconds to wait at most; without it, as long as it takes.

        Returns
        -------
        Event or None
            `None` if the time is over or somebody called :meth:`wake`.

        Raises
        ------
        CancelledError
            If the backend is closed.
        ConnectionError
            If the store cannot be reached again.
        """

    def poll(self) -> Event | None:
        """Give an event that is there already, `None` if there is none; never waits."""

    def add(self, keys: Iterable[bytes], /) -> None:
        """Watch these keys too; a check is due (`SUBSCRIBED`) when updates of all of them arrive."""

    def discard(self, keys: Iterable[bytes], /) -> None:
        """Watch these keys no more; what has arrived of them may still be told."""

    def covers(self, keys: Iterable[bytes], /) -> bool:
        """Tell whether no update of these keys is missed now, as far as is known."""

    def wake(self) -> None:
        """Make :meth:`next` return now, or when it is next called. From any thread."""


class AsyncWatcher(Protocol):
    """What `watch` of an asyncio backend gives: events, one at a time, in order."""

    async def next(self) -> Event:
        """Wait for the next event.

        Raises
        ------
        CancelledError
            If the backend is closed (telstate's own error, not asyncio's).
        ConnectionError
            If the store cannot be reached again.
        """

    def poll(self) -> Event | None:
        """Give an event that is there already, `None` if there is none; never waits."""

    def add(self, keys: Iterable[bytes], /) -> None:
        """Watch these keys too; a check is due (`SUBSCRIBED`) when updates of all of them arrive."""

    def discard(self, keys: Iterable[bytes], /) -> None:
        """Watch these keys no more; what has arrived of them may still be told."""

    def covers(self, keys: Iterable[bytes], /) -> bool:
        """Tell whether no update of these keys is missed now, as far as is known."""


@runtime_checkable
class Backend(Protocol):
    """A store as seen from ordinary code; its methods can be called from any thread."""

    def execute(self, operation: Operation[Result], /) -> Result:
        """Do one operation, atomically."""

    def execute_many(self, operations: Sequence[Operation[Any]], /) -> list[Any]:
        """Do operations in order, in one round trip; a failed one gives its error."""

    def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> AbstractContextManager[Watcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on.

        The first event is :attr:`CheckDue.SUBSCRIBED`: no update after it is missed. With
        `deletions`, deletions are told too, as :class:`Deleted` and :class:`Cleared`: those by
        writers that publish them, so not by katsdptelstate.
        """

    def close(self) -> None:
        """Let go of connections and wake all watchers; can be called twice."""

    def __enter__(self) -> Backend: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


@runtime_checkable
class AsyncBackend(Protocol):
    """A store as seen from one asyncio event loop."""

    async def execute(self, operation: Operation[Result], /) -> Result:
        """Do one operation, atomically."""

    async def execute_many(self, operations: Sequence[Operation[Any]], /) -> list[Any]:
        """Do operations in order, in one round trip; a failed one gives its error."""

    def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> AbstractAsyncContextManager[AsyncWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on.

        The first event is :attr:`CheckDue.SUBSCRIBED`: no update after it is missed. With
        `deletions`, deletions are told too, as :class:`Deleted` and :class:`Cleared`: those by
        writers that publish them, so not by katsdptelstate.
        """

    def close(self) -> None:
        """Start to let go of connections and to wake all watchers; can be called twice."""

    async def wait_closed(self) -> None:
        """Wait until what :meth:`close` started is finished."""

    async def __aenter__(self) -> AsyncBackend: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


def store_behind(backend: AnyBackend) -> AnyBackend:
    """Give the backend behind a cache, or the backend itself if it is none.

    Who watches must ask the store itself: what a cache knows may be older than the watch.

    Examples
    --------
    >>> from telstate_backends import CachedBackend, MemoryBackend
    >>> backend = MemoryBackend()
    >>> store_behind(CachedBackend(backend)) is store_behind(backend) is backend
    True
    """
    behind: AnyBackend = getattr(backend, "uncached", backend)
    return behind
