"""Following what happens to keys: a ledger decides, and two shells of a few lines do its bidding.

Rules: who follows is told of each change once, in order; see :mod:`telstate_backends._changes`. If the
store cannot be reached when it must be read, that is tried again until it can be; only the beginning
fails, after the backend's own retries. Nothing of this is shared: a follower belongs to one thread
(or task), except that any thread may :meth:`Follower.close` it.
"""

from __future__ import annotations

import builtins
import math
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from types import TracebackType

from telstate_backends._changes import Ledger, News, Plan
from telstate_backends.abc import AsyncBackend, AsyncWatcher, Backend, Watcher
from telstate_backends.deadline import GRACE, Beginning, Patience, limited
from telstate_backends.errors import ConnectionError, RefusedError, TimeoutError
from telstate_backends.operations.read import Exists

#: Seconds before a look at the store that failed for want of a connection is tried again.
PAUSE = 0.5
#: Seconds after which a follower looks at the clock again; more than some thousands of years is no time.
LONGEST = 3600.0


def _ledger(
    backend: Backend | AsyncBackend, names: Iterable[tuple[bytes, ...]], patterns: Iterable[bytes]
) -> Ledger:
    return Ledger(names, patterns, backend.may_lose_updates, late=backend.may_deliver_late)


class Follower:
    """Each change of some keys, once: a context manager, entered to begin.

    Parameters
    ----------
    backend : Backend
        The store.
    names : iterable of tuple of bytes
        For each name its candidate keys, in the order of the view.
    patterns : iterable of bytes
        Globs of full keys.

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
        self._backend = backend.uncached
        self._make_ledger = partial(_ledger, backend, tuple(names), tuple(patterns))
        self._ledger = self._make_ledger()
        self._stack = ExitStack()
        self._watcher: Watcher | None = None
        self.closed = False

    def __enter__(self) -> Follower:
        self.begin()
        return self

    def begin(self, timeout: float | None = None) -> None:
        """Enter it, within a time limit; if that is over, it can be tried again.

        Parameters
        ----------
        timeout : float, optional
            How many seconds to try to reach the store; without it, as long as the backend does.

        Raises
        ------
        TimeoutError
            If the store could not be reached in time.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        patience = Patience(end, lambda: self.closed)
        try:
            with limited(patience):
                # A store that cannot be reached is an error now; later on it is waited for.
                with Beginning():
                    self._backend.execute(Exists(self._ledger.keys[:1] or (b"",)))
                try:
                    self._begin(end, deletions=True)
                except RefusedError:
                    # Not every user may hear of deletions; it goes without that too.
                    self._begin(end, deletions=False)
        except ConnectionError as error:
            if self.closed:
                return
            if patience.left() == 0:
                raise TimeoutError(
                    f"what happens could not be followed within {timeout:g} s: {error}"
                ) from error
            raise

    def _begin(self, end: float, deletions: bool) -> None:
        # What was read in an attempt before this one is out of date.
        ledger = self._ledger = self._make_ledger()
        end = max(end, time.monotonic() + GRACE)
        with ExitStack() as stack:
            watching = self._backend.watch(ledger.keys, ledger.patterns, deletions=deletions)
            self._watcher = stack.enter_context(watching)
            while not ledger.begun and not self.closed:
                left = end - time.monotonic()
                if left <= 0:
                    raise ConnectionError("the connection was lost in the beginning")
                event = self._watcher.next(min(left, LONGEST))
                if event is not None:
                    ledger.hear(event)
                self._perform(ledger.work())
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

    def next(self, timeout: float | None = None) -> News | None:
        """Wait for the next change.

        Parameters
        ----------
        timeout : float, optional
            How many seconds to wait at most; without it, as long as it takes.

        Returns
        -------
        Update or CheckDue or None
            `CheckDue` if updates were lost: what follows it was read from the store. `None` if the
            time is over or the follower is closed.

        Raises
        ------
        CancelledError
            If the backend is closed.
        RefusedError
            If the store refuses to be read or watched.
        """
        if self._watcher is None:
            raise RuntimeError("a follower must be entered before it is asked: use 'with'")
        end = math.inf if timeout is None else time.monotonic() + timeout
        patience = Patience(end, lambda: self.closed)
        while not self.closed:
            pause = math.inf
            try:
                with limited(patience):
                    self._perform(self._ledger.work())
            except ConnectionError:
                pause = PAUSE
            news = self._ledger.pop()
            if news is not None:
                return news
            # What has come already is still given, be the time ever so short.
            left = max(0.0, end - time.monotonic())
            event = self._watcher.next(min(left, pause, LONGEST))
            if event is not None:
                self._ledger.hear(event)
            elif left == 0:
                return None
        return None

    def close(self) -> None:
        """Make :meth:`next` return now, and from now on at once. From any thread."""
        self.closed = True
        if self._watcher is not None:
            self._watcher.wake()

    def _perform(self, plan: Plan[None]) -> None:
        try:
            operations = next(plan)
            while True:
                operations = plan.send(self._backend.execute_many(operations))
        except StopIteration:
            pass


class AsyncFollower:
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
        self._backend = backend.uncached
        self._ledger = _ledger(backend, names, patterns)
        self._stack = AsyncExitStack()
        self._watcher: AsyncWatcher | None = None

    async def __aenter__(self) -> AsyncFollower:
        with Beginning():
            await self._backend.execute(Exists(self._ledger.keys[:1] or (b"",)))
        try:
            await self._begin(deletions=True)
        except RefusedError:
            await self._begin(deletions=False)
        return self

    async def _begin(self, deletions: bool) -> None:
        ledger = self._ledger
        async with AsyncExitStack() as stack:
            watching = self._backend.watch(ledger.keys, ledger.patterns, deletions=deletions)
            self._watcher = await stack.enter_async_context(watching)
            while not ledger.begun:
                ledger.hear(await self._watcher.next())
                await self._perform(ledger.work())
            self._stack = stack.pop_all()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        await self._stack.aclose()

    async def next(self) -> News:
        """Wait for the next change; a call that is cancelled loses none.

        Returns
        -------
        Update or CheckDue
            `CheckDue` if updates were lost: what follows it was read from the store.

        Raises
        ------
        CancelledError
            If the backend is closed (telstate's own error, not asyncio's).
        RefusedError
            If the store refuses to be read or watched.
        """
        # Here, so that who does not use asyncio need not pay for this import.
        from asyncio import timeout

        if self._watcher is None:
            raise RuntimeError("a follower must be entered before it is asked: use 'async with'")
        while True:
            pause = None
            try:
                await self._perform(self._ledger.work())
            except ConnectionError:
                pause = PAUSE
            news = self._ledger.pop()
            if news is not None:
                return news
            try:
                async with timeout(pause):
                    self._ledger.hear(await self._watcher.next())
            except builtins.TimeoutError:
                pass

    async def _perform(self, plan: Plan[None]) -> None:
        try:
            operations = next(plan)
            while True:
                operations = plan.send(await self._backend.execute_many(operations))
        except StopIteration:
            pass
