"""Followers: each change of some keys, once and in order.

A `ChangeTracker` decides; the synchronous and the asyncio follower execute its operations and wait for
events. If the store cannot be reached when it must be read, that is repeated until it can be; only entering
a follower fails, after the backend's own retries. A follower belongs to one thread or task, except that any
thread may :meth:`Follower.close` it.
"""

from __future__ import annotations

import builtins
import math
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType

from telstate_backends._changes import ChangeTracker, Plan, TrackedEvent
from telstate_backends.abc import AsyncBackend, AsyncWatcher, Backend, Watcher
from telstate_backends.deadline import GRACE, Deadline
from telstate_backends.errors import ConnectionError, RefusedError, TimeoutError
from telstate_backends.operations.read import Exists

# Seconds before a scan that failed for want of a connection is repeated.
_RETRY_DELAY = 0.5


class _AnyFollower:
    def __init__(
        self,
        backend: Backend | AsyncBackend,
        names: Iterable[tuple[bytes, ...]],
        patterns: Iterable[bytes] = (),
    ) -> None:
        self._names = tuple(names)
        self._patterns = tuple(patterns)
        self._remember = backend.may_lose_updates
        self._late = backend.may_deliver_late
        self._tracker = self._make_tracker()

    def _make_tracker(self) -> ChangeTracker:
        return ChangeTracker(self._names, self._patterns, self._remember, self._late)

    def _first_query(self) -> Exists:
        """Return an operation that shows whether the store can be reached."""
        return Exists(self._tracker.keys[:1] or (b"",))


class Follower(_AnyFollower):
    """Each change of some keys, once: a context manager, entered to start.

    Parameters
    ----------
    backend : Backend
        The store.
    names : iterable of tuple of bytes
        For each name its candidate keys, in the order of the view.
    patterns : iterable of bytes
        Globs of full keys.

    Attributes
    ----------
    closed : bool
        Whether it has been closed.

    Examples
    --------
    >>> from telstate_backends import Follower, MemoryBackend, SetImmutable
    >>> backend = MemoryBackend()
    >>> with Follower(backend, [(b"beam_n_chans", b"n_chans")]) as follower:
    ...     backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    ...     follower.next(timeout=5)
    Update(key=b'n_chans', kind=<KeyType.IMMUTABLE: 1>, value=b'\\xff\\x10', timestamp=None, sub_key=None)
    """

    def __init__(
        self, backend: Backend, names: Iterable[tuple[bytes, ...]], patterns: Iterable[bytes] = ()
    ) -> None:
        super().__init__(backend, names, patterns)
        self._backend = backend.uncached
        self._stack = ExitStack()
        self._watcher: Watcher | None = None
        self.closed = False

    def __enter__(self) -> Follower:
        self.begin()
        return self

    def begin(self, timeout: float | None = None) -> None:
        """Enter it, within a time limit; after a `TimeoutError`, it can be tried again.

        Parameters
        ----------
        timeout : float, optional
            Seconds to try to reach the store at most (default: as long as the backend retries).

        Raises
        ------
        TimeoutError
            If the store could not be reached in time.
        """
        deadline = Deadline.after(timeout, lambda: self.closed)
        try:
            # From here on, a store that cannot be reached is waited for.
            self._backend.execute(self._first_query(), deadline=deadline)
            try:
                self._start(deadline, deletions=True)
            except RefusedError:
                # The user may lack the permission for the channels of deletions.
                self._start(deadline, deletions=False)
        except ConnectionError as error:
            if self.closed:
                return
            if deadline.left() == 0:
                raise TimeoutError(
                    f"The watch could not be started within {timeout:g} s: {error}"
                ) from error
            raise

    def _start(self, deadline: Deadline, deletions: bool) -> None:
        # What an earlier attempt has read is out of date.
        tracker = self._tracker = self._make_tracker()
        end = max(deadline.end, time.monotonic() + GRACE)
        with ExitStack() as stack:
            watching = self._backend.watch(tracker.keys, tracker.patterns, deletions=deletions)
            self._watcher = stack.enter_context(watching)
            while not tracker.is_ready and not self.closed:
                left = end - time.monotonic()
                if left <= 0:
                    raise ConnectionError("The connection was lost while the watch was started.")
                event = self._watcher.next(left)
                if event is not None:
                    tracker.put(event)
                self._execute(tracker.process(), deadline)
            self._stack = stack.pop_all()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.closed = True
        self._stack.close()

    def next(self, timeout: float | None = None) -> TrackedEvent | None:
        """Wait for the next change.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most (default: no limit).

        Returns
        -------
        Update or CheckDue or None
            `CheckDue` if updates were lost: the updates that follow it were read from the store. `None`
            if the time is over or the follower is closed.

        Raises
        ------
        CancelledError
            If the backend is closed.
        RefusedError
            If the store refuses to be read or watched.
        """
        if self._watcher is None:
            raise RuntimeError("A follower must be entered first: use 'with'.")
        deadline = Deadline.after(timeout, lambda: self.closed)
        while not self.closed:
            pause = math.inf
            try:
                self._execute(self._tracker.process(), deadline)
            except ConnectionError:
                pause = _RETRY_DELAY
            change = self._tracker.pop()
            if change is not None:
                return change
            # With no time left, an event that has already arrived is still processed.
            left = max(0.0, deadline.end - time.monotonic())
            event = self._watcher.next(min(left, pause))
            if event is not None:
                self._tracker.put(event)
            elif left == 0:
                return None
        return None

    def close(self) -> None:
        """Make :meth:`next` return `None` now and from now on. From any thread."""
        self.closed = True
        if self._watcher is not None:
            self._watcher.wake()

    def _execute(self, plan: Plan[None], deadline: Deadline) -> None:
        try:
            operations = next(plan)
            while True:
                results = self._backend.execute_many(operations, deadline=deadline)
                operations = plan.send(results)
        except StopIteration:
            pass


class AsyncFollower(_AnyFollower):
    """Each change of some keys, once: :class:`Follower`, awaited.

    Parameters
    ----------
    backend : AsyncBackend
        The store.
    names, patterns
        As for :class:`Follower`.
    """

    def __init__(
        self,
        backend: AsyncBackend,
        names: Iterable[tuple[bytes, ...]],
        patterns: Iterable[bytes] = (),
    ) -> None:
        super().__init__(backend, names, patterns)
        self._backend = backend.uncached
        self._stack = AsyncExitStack()
        self._watcher: AsyncWatcher | None = None

    async def __aenter__(self) -> AsyncFollower:
        # From here on, a store that cannot be reached is waited for.
        await self._backend.execute(self._first_query())
        try:
            await self._start(deletions=True)
        except RefusedError:
            # The user may lack the permission for the channels of deletions.
            await self._start(deletions=False)
        return self

    async def _start(self, deletions: bool) -> None:
        # What an earlier attempt has read is out of date.
        tracker = self._tracker = self._make_tracker()
        async with AsyncExitStack() as stack:
            watching = self._backend.watch(tracker.keys, tracker.patterns, deletions=deletions)
            self._watcher = await stack.enter_async_context(watching)
            while not tracker.is_ready:
                tracker.put(await self._watcher.next())
                await self._execute(tracker.process())
            self._stack = stack.pop_all()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        await self._stack.aclose()

    async def next(self) -> TrackedEvent:
        """Wait for the next change; a call that is cancelled loses none.

        Returns
        -------
        Update or CheckDue
            `CheckDue` if updates were lost: the updates that follow it were read from the store.

        Raises
        ------
        CancelledError
            If the backend is closed (telstate's own error, not asyncio's).
        RefusedError
            If the store refuses to be read or watched.
        """
        # Imported here, because synchronous programs do not need asyncio.
        from asyncio import timeout

        if self._watcher is None:
            raise RuntimeError("A follower must be entered first: use 'async with'.")
        while True:
            pause = None
            try:
                await self._execute(self._tracker.process())
            except ConnectionError:
                pause = _RETRY_DELAY
            change = self._tracker.pop()
            if change is not None:
                return change
            try:
                async with timeout(pause):
                    self._tracker.put(await self._watcher.next())
            except builtins.TimeoutError:
                pass

    async def _execute(self, plan: Plan[None]) -> None:
        try:
            operations = next(plan)
            while True:
                operations = plan.send(await self._backend.execute_many(operations))
        except StopIteration:
            pass
