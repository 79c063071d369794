"""Waiting for keys: what to wait for, and the loops that wait.

- A wait queries the store before it subscribes, so that something already true costs one round trip. After
  that it queries the store whenever a check is due, and judges each update in between by itself.
- A wait that has begun goes on while the store cannot be reached.
- A key that an earlier candidate shadows does not count.
- Conditions get encoded bytes and are called in the thread or task that waits. The errors that they raise
  end the wait, with a note that names the key.
"""

from __future__ import annotations

import builtins
import enum
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from telstate_backends._callables import check_function, check_result
from telstate_backends.abc import AsyncBackend, Backend, Watcher
from telstate_backends.deadline import POLL_INTERVAL, Deadline
from telstate_backends.errors import CancelledError, ConnectionError, TimeoutError
from telstate_backends.events import Event, Update
from telstate_backends.operations.base import Operation, wrong_kind
from telstate_backends.operations.read import Find, Found, GetIndexed, WhichExist
from telstate_backends.types import Contents, Immutable, KeyType, Mutable
from telstate_codec import DecodeError, decode_value, key_repr
from telstate_codec.printable import bounded_repr

Argument = TypeVar("Argument")
Reply = TypeVar("Reply")

# Seconds before a query that failed for want of a connection is repeated.
_RETRY_DELAY = 0.5
# How many missing keys a message names.
_MAX_NAMED = 10


class Verdict(enum.Enum):
    """What an update means to a wait."""

    DONE = 1  #: the wait is over
    CHECK = 2  #: the store must be queried
    IGNORE = 3  #: nothing


class Wait(Protocol, Generic[Reply]):
    """What to wait for: which keys to watch, what to query, and how to judge replies and updates.

    Attributes
    ----------
    keys : tuple of bytes
        The full keys to watch.
    name : str
        What is waited for, in messages.
    """

    keys: tuple[bytes, ...]

    @property
    def name(self) -> str: ...

    def query(self) -> Operation[Reply]:
        """Return the operation whose result shows whether the wait is over."""

    def check_reply(self, reply: Reply) -> bool:
        """Return whether the wait is over, by the result of :meth:`query`."""

    def check_update(self, update: Update) -> Verdict:
        """Judge an update that was published after the last reply."""


class _ConditionalWait(Generic[Argument]):
    """A wait with a condition, or without."""

    _condition: Callable[[Argument], object] | None

    @property
    def name(self) -> str:
        raise NotImplementedError

    def _what(self) -> str:
        return f"condition of the wait for {self.name}"

    def _set_condition(self, condition: Callable[[Argument], object] | None) -> None:
        """Set the condition, which must be a synchronous function."""
        if condition is not None:
            check_function(condition, self._what)
        self._condition = condition

    def _holds(self, argument: Argument) -> bool:
        """Return whether the condition is true, or missing; a note on its errors names the wait."""
        if self._condition is None:
            return True
        try:
            result = self._condition(argument)
            if result is not True and result is not False:
                check_result(result, self._what(), refuse_awaitables=True)
            return bool(result)
        except Exception as error:
            note = f"This is from the {self._what()}."
            # A condition may raise the same error object again and again.
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise


class KeyWait(_ConditionalWait[Contents]):
    """A wait until a key exists, or until a condition on its contents is true.

    Parameters
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    condition : callable, optional
        A synchronous function of the contents (of a mutable key: a sample). Without it, the wait ends as
        soon as the key exists.

    Raises
    ------
    TypeError
        If the condition is not a synchronous function.
    """

    def __init__(
        self, keys: tuple[bytes, ...], condition: Callable[[Contents], object] | None = None
    ) -> None:
        self.keys = keys
        self._set_condition(condition)
        #: Index of the first candidate that exists, as far as is known.
        self._first = len(keys)

    @property
    def name(self) -> str:
        return _name_of(self.keys)

    def query(self) -> Find:
        return Find(self.keys)

    def check_reply(self, reply: Found | None) -> bool:
        if reply is None or reply.contents is None:
            self._first = len(self.keys)
            return False
        self._first = self.keys.index(reply.key)
        return self._holds(reply.contents)

    def check_update(self, update: Update) -> Verdict:
        index = self.keys.index(update.key)
        if index > self._first:
            return Verdict.CHECK  # shadowed, unless the earlier key has been deleted since
        self._first = index
        if self._condition is None:
            return Verdict.DONE
        if update.kind is KeyType.INDEXED:
            return Verdict.CHECK  # the condition is on the whole key, the update has one sub-key
        contents: Contents = Immutable(update.value)
        if update.timestamp is not None:
            contents = Mutable(update.value, update.timestamp)
        return Verdict.DONE if self._holds(contents) else Verdict.IGNORE


class IndexedWait(_ConditionalWait[bytes]):
    """A wait until a sub-key of an indexed key exists, or until a condition on its value is true.

    Parameters
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    sub_key : bytes
        The encoded sub-key.
    condition : callable, optional
        A synchronous function of the encoded value. Without it, the wait ends as soon as the sub-key
        exists.

    Raises
    ------
    TypeError
        If the condition is not a synchronous function.
    """

    def __init__(
        self,
        keys: tuple[bytes, ...],
        sub_key: bytes,
        condition: Callable[[bytes], object] | None = None,
    ) -> None:
        self.keys = keys
        self.sub_key = sub_key
        self._set_condition(condition)

    @property
    def name(self) -> str:
        try:
            sub_key = bounded_repr(decode_value(self.sub_key))
        except DecodeError:
            sub_key = repr(self.sub_key)
        return f"sub-key {sub_key} of {_name_of(self.keys)}"

    def query(self) -> GetIndexed:
        return GetIndexed(self.keys, self.sub_key)

    def check_reply(self, reply: bytes | None) -> bool:
        return reply is not None and self._holds(reply)

    def check_update(self, update: Update) -> Verdict:
        if update.key != self.keys[0]:
            return Verdict.CHECK  # an earlier candidate may shadow it
        if update.kind is not KeyType.INDEXED:
            raise wrong_kind(update.key, update.kind, KeyType.INDEXED)
        if update.sub_key == self.sub_key and self.check_reply(update.value):
            return Verdict.DONE
        return Verdict.IGNORE


class KeysWait:
    """A wait until all of several names exist, or any of them.

    Parameters
    ----------
    names : iterable of tuple of bytes
        For each name its candidate keys; it exists if one of them does.
    require_all : bool
        Whether all of the names are needed (default), or only one.

    Attributes
    ----------
    found : tuple of bool
        For each name whether it existed when the store was last queried.

    Examples
    --------
    >>> from telstate_backends import KeysWait, MemoryBackend, SetImmutable, wait
    >>> backend = MemoryBackend()
    >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    >>> wanted = KeysWait([(b"beam_n_chans", b"n_chans"), (b"n_pols",)], require_all=False)
    >>> wait(backend, wanted, timeout=5)
    >>> wanted.found
    (True, False)
    """

    def __init__(self, names: Iterable[tuple[bytes, ...]], require_all: bool = True) -> None:
        self._names = tuple(names)
        self._require_all = require_all
        self._names_of: dict[bytes, list[tuple[bytes, ...]]] = {}
        for name in self._names:
            for key in name:
                self._names_of.setdefault(key, []).append(name)
        self.keys = tuple(self._names_of)
        self.found = (False,) * len(self._names)
        self._missing = set(self._names)

    @property
    def name(self) -> str:
        missing = [
            _name_of(name) for name, found in zip(self._names, self.found, strict=True) if not found
        ]
        more = len(missing) - _MAX_NAMED
        joint = " and " if self._require_all else " or "
        return joint.join(missing[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")

    def query(self) -> WhichExist:
        return WhichExist(self.keys)

    def check_reply(self, reply: list[bool]) -> bool:
        existing = {key for key, exists in zip(self.keys, reply, strict=True) if exists}
        self.found = tuple(not existing.isdisjoint(name) for name in self._names)
        pairs = zip(self._names, self.found, strict=True)
        self._missing = {name for name, found in pairs if not found}
        return all(self.found) if self._require_all else any(self.found)

    def check_update(self, update: Update) -> Verdict:
        self._missing.difference_update(self._names_of[update.key])
        if self._require_all and self._missing:
            return Verdict.IGNORE
        # By now another key may be gone: the query shows whether they exist at the same time.
        return Verdict.CHECK


def _name_of(keys: tuple[bytes, ...]) -> str:
    return "key " + " or ".join(map(key_repr, keys))


class CancelFuture(Protocol):
    """A future that cancels a wait when it is done: of `concurrent.futures`, `asyncio` or similar."""

    def done(self) -> bool:
        """Return whether the wait is cancelled."""


def wait(
    backend: Backend,
    wanted: Wait[Reply],
    timeout: float | None = None,
    cancel_future: CancelFuture | None = None,
) -> None:
    """Wait until something has happened in a store.

    Parameters
    ----------
    backend : Backend
        The store.
    wanted : KeyWait, IndexedWait or KeysWait
        What to wait for.
    timeout : float, optional
        Seconds to wait at most (default: no limit).
    cancel_future : future, optional
        Cancels the wait when it is done: at once if it is a future of `concurrent.futures` or `asyncio`,
        otherwise within 0.1 s.

    Raises
    ------
    TimeoutError
        If it did not happen in time.
    CancelledError
        If `cancel_future` is done, or the backend is closed.
    ImmutableKeyError
        If the wait is for a sub-key and the key is of another kind.
    ConnectionError
        If the store cannot be reached at first, for as long as the backend retries.

    Notes
    -----
    No attempt to reach the store begins after the timeout. The last one may outlast it: a server has one
    second at least for a reply, and for each step of a new connection (TCP, TLS, login).
    """
    limits = None
    if timeout is not None or cancel_future is not None:
        limits = _Limits.start(timeout, cancel_future)
    try:
        _wait(backend.uncached, wanted, limits)
    except ConnectionError as error:
        over = None if limits is None else limits.find_error(wanted, str(error))
        if over is None:
            raise
        raise over from error


def _wait(backend: Backend, wanted: Wait[Reply], limits: _Limits | None) -> None:
    deadline = None if limits is None else limits.deadline
    if wanted.check_reply(backend.execute(wanted.query(), deadline=deadline)):
        return
    if limits is not None:
        limits.seconds_left(wanted)
    with backend.watch(wanted.keys) as watcher:
        if limits is not None:
            watcher.deadline = deadline
            limits.wake_when_cancelled(watcher)
        has_failed = False  # a query that was due
        while True:
            seconds = None if limits is None else limits.seconds_left(wanted, watcher.trouble)
            if has_failed:
                seconds = _RETRY_DELAY if seconds is None else min(seconds, _RETRY_DELAY)
            verdict = _judge(wanted, watcher.next(seconds), has_failed)
            if verdict is Verdict.CHECK:
                try:
                    reply = backend.execute(wanted.query(), deadline=deadline)
                    has_failed = False
                    if wanted.check_reply(reply):
                        return
                except ConnectionError:
                    has_failed = True
            elif verdict is Verdict.DONE:
                return


async def wait_async(backend: AsyncBackend, wanted: Wait[Reply]) -> None:
    """Wait until something has happened in a store: :func:`wait`, awaited.

    Parameters
    ----------
    backend : AsyncBackend
        The store.
    wanted : KeyWait, IndexedWait or KeysWait
        What to wait for.

    Raises
    ------
    ImmutableKeyError
        If the wait is for a sub-key and the key is of another kind.
    CancelledError
        If the backend is closed (telstate's own error, not asyncio's).
    ConnectionError
        If the store cannot be reached at first, for as long as the backend retries.
    """
    # Imported here, because synchronous programs do not need asyncio.
    from asyncio import timeout

    backend = backend.uncached
    if wanted.check_reply(await backend.execute(wanted.query())):
        return
    async with backend.watch(wanted.keys) as watcher:
        has_failed = False  # a query that was due
        while True:
            event: Event | None = None
            try:
                async with timeout(_RETRY_DELAY if has_failed else None):
                    event = await watcher.next()
            except builtins.TimeoutError:
                pass
            verdict = _judge(wanted, event, has_failed)
            if verdict is Verdict.CHECK:
                try:
                    reply = await backend.execute(wanted.query())
                    has_failed = False
                    if wanted.check_reply(reply):
                        return
                except ConnectionError:
                    has_failed = True
            elif verdict is Verdict.DONE:
                return


def _judge(wanted: Wait[Reply], event: Event | None, has_failed: bool) -> Verdict:
    """Return what an event means; after a failed query, another is due unless the wait is over."""
    verdict = Verdict.CHECK
    if event is None:
        verdict = Verdict.IGNORE
    elif isinstance(event, Update):
        verdict = wanted.check_update(event)
    return Verdict.CHECK if has_failed and verdict is Verdict.IGNORE else verdict


@attrs.frozen
class _Limits:
    """The timeout and the cancel future of a wait."""

    timeout: float | None
    cancel_future: CancelFuture | None
    deadline: Deadline
    #: The cancel future if its callbacks can be relied on, else None: mocks have every method.
    python_future: Any

    @classmethod
    def start(cls, timeout: float | None, cancel_future: CancelFuture | None) -> _Limits:
        if timeout is not None and math.isnan(timeout):
            raise ValueError("The timeout of a wait is NaN; pass seconds, or None for no limit.")
        deadline = Deadline.after(timeout, bool if cancel_future is None else cancel_future.done)
        loaded = [sys.modules.get(name) for name in ("concurrent.futures", "asyncio")]
        types = tuple(module.Future for module in loaded if module is not None)
        python_future = cancel_future if isinstance(cancel_future, types) else None
        return cls(timeout, cancel_future, deadline, python_future)

    def find_error(self, wanted: Wait[Reply], trouble: str | None) -> Exception | None:
        """Return the error that ends the wait now, if any; `trouble` says why there is no connection."""
        if self.cancel_future is not None and self.cancel_future.done():
            return CancelledError(f"The wait for {wanted.name} was cancelled.")
        if self.deadline.end > time.monotonic():
            return None
        text = f"Timed out after {self.timeout:g} s while waiting for {wanted.name}"
        return TimeoutError(f"{text}." if trouble is None else f"{text}: {trouble}")

    def seconds_left(self, wanted: Wait[Reply], trouble: str | None = None) -> float:
        """Return the seconds until the next look at the limits; raise if the wait ends now."""
        error = self.find_error(wanted, trouble)
        if error is not None:
            raise error
        left = max(0.0, self.deadline.end - time.monotonic())
        return left if self.cancel_future is self.python_future else min(left, POLL_INTERVAL)

    def wake_when_cancelled(self, watcher: Watcher) -> None:
        future = self.python_future
        if future is None:
            return
        with _to_wake_lock:
            watchers = _to_wake.get(future)
            is_new = watchers is None
            if watchers is None:
                watchers = _to_wake[future] = weakref.WeakSet()
            watchers.add(watcher)
        if is_new:
            future.add_done_callback(_wake_all)
        elif future.done():
            watcher.wake()  # the callback may have been called already


# The watchers to wake when a cancel future is done. It may live for hours and see thousands of waits, and
# callbacks cannot be removed, so that all waits share one.
_to_wake: weakref.WeakKeyDictionary[CancelFuture, weakref.WeakSet[Watcher]] = (
    weakref.WeakKeyDictionary()
)
_to_wake_lock = threading.Lock()


def _forget_parent() -> None:
    """Leave, in the child of a fork, the lock and the waits to the parent's threads."""
    global _to_wake_lock
    _to_wake_lock = threading.Lock()
    _to_wake.clear()


os.register_at_fork(after_in_child=_forget_parent)


def _wake_all(cancel_future: CancelFuture) -> None:
    with _to_wake_lock:
        watchers = tuple(_to_wake.get(cancel_future, ()))
    for watcher in watchers:
        watcher.wake()
