"""Conditions of waits: ordinary functions of the user, and what is said of the errors that they raise.

Rules: what a condition raises ends the wait as it is; a note on it names what was waited for. One that would
have to be awaited is refused, because what it gives counts as true.
"""

# Waiting for a key: a pure object decides, and two loops of a few lines feed it.
#
# Rules: a wait looks at the store before it subscribes, so that what is already true costs one trip;
# after that it looks whenever a check is due, and judges each update in between by the update itself.
# If the store cannot be reached once it waits, it goes on waiting until the store can be.
# A key that an earlier candidate shadows does not count. Conditions are ordinary functions, see encoded bytes
# and are called by the loop, in the caller's own thread or task; a note on what they raise names the key. The sync loop can be cancelled by a future and has a
# timeout; for the asyncio one, both are asyncio's own affair.

# Waiting until several keys exist: one wait, one subscription, for all of them.
#
# Rules: as for every wait, see :mod:`telstate_backends._wait`. An update counts as the coming of its
# key; before the wait ends the store is asked once more, so that what it gives exists all at once.

from __future__ import annotations

import builtins
import enum
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import attrs

from telstate_backends._callables import check_ordinary, check_result
from telstate_backends.abc import AsyncBackend, Backend, Watcher
from telstate_backends.deadline import GLANCE, Beginning, Patience, limited
from telstate_backends.errors import CancelledError, ConnectionError, TimeoutError
from telstate_backends.events import Event, Update
from telstate_backends.operations.base import Operation, wrong_kind
from telstate_backends.operations.read import Find, GetIndexed, WhichExist
from telstate_backends.types import Contents, Immutable, KeyType, Mutable
from telstate_codec import DecodeError, decode_value, key_repr

Tried = TypeVar("Tried")


def name_of(keys: tuple[bytes, ...]) -> str:
    """Name what candidate keys stand for, in messages."""
    return "key " + " or ".join(map(key_repr, keys))


def check_condition(condition: object, keys: tuple[bytes, ...]) -> None:
    """Refuse a condition that is no ordinary function, for who gives it to a wait inside another.

    Parameters
    ----------
    condition : object
        What the user gave.
    keys : tuple of bytes
        The candidate keys of the wait.

    Raises
    ------
    TypeError
        If it is no ordinary function.
    """
    check_ordinary(condition, f"the condition of the wait for {name_of(keys)}")


def conditional(
    condition: Callable[[Tried], object] | None, name: str
) -> Callable[[Tried], bool] | None:
    """Make a user's condition one that gives a truth value, and names the key in a note on its errors.

    Parameters
    ----------
    condition : callable or None
        What the user gave.
    name : str
        What the wait is for.

    Raises
    ------
    TypeError
        If it is no ordinary function.
    """
    if condition is None:
        return None
    what = f"the condition of the wait for {name}"
    check_ordinary(condition, what)
    note = f"This is from {what}."
    check = condition

    def holds(tried: Tried) -> bool:
        try:
            verdict = check(tried)
            if verdict is not True and verdict is not False:
                check_result(verdict, what, refuse_futures=True)
            return bool(verdict)
        except Exception as error:
            # A condition may raise the same one again and again.
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise

    return holds


Checked = TypeVar("Checked")


class Verdict(enum.Enum):
    """What an update means to a wait."""

    DONE = 1  #: what was waited for has happened
    CHECK = 2  #: the store must be asked
    IGNORE = 3  #: nothing


class Wait(Protocol, Generic[Checked]):
    """What is waited for: which keys to watch, what to ask, and how to judge the answers."""

    keys: tuple[bytes, ...]
    name: str  #: what is waited for, in messages

    def question(self) -> Operation[Checked]:
        """Give the operation whose result tells whether it has happened."""

    def judge_answer(self, answer: Checked) -> bool:
        """Tell whether it has happened, from the result of :meth:`question`."""

    def judge_update(self, update: Update) -> Verdict:
        """Tell whether it has happened, from an update that came after the last answer."""


class KeyWait:
    """A wait until a key exists, or until a condition on its contents is true.

    Parameters
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    condition : callable, optional
        An ordinary function, called with the contents (of a mutable key: a sample); without it, it is
        enough that the key exists.

    Raises
    ------
    TypeError
        If the condition is no ordinary function.
    """

    def __init__(
        self, keys: tuple[bytes, ...], condition: Callable[[Contents], object] | None = None
    ) -> None:
        self.keys = keys
        self.name = name_of(keys)
        self._condition = conditional(condition, self.name)
        #: Place among the candidates of the first that exists, as far as is known.
        self._first = len(keys)

    def question(self) -> Find:
        """Ask which candidate exists and what it holds."""
        return Find(self.keys)

    def judge_answer(self, answer: tuple[bytes, Contents] | None) -> bool:
        """Try the condition on what the store holds."""
        if answer is None:
            self._first = len(self.keys)
            return False
        key, contents = answer
        self._first = self.keys.index(key)
        return self._holds(contents)

    def judge_update(self, update: Update) -> Verdict:
        """Try the condition on an update, if no earlier candidate shadows its key."""
        place = self.keys.index(update.key)
        if place > self._first:
            return Verdict.CHECK  # shadowed, unless the earlier key has been deleted since
        self._first = place
        if update.kind is KeyType.INDEXED:
            # The condition is on the whole of an indexed key, of which an update is a part.
            return Verdict.DONE if self._condition is None else Verdict.CHECK
        return Verdict.DONE if self._holds(_contents(update)) else Verdict.IGNORE

    def _holds(self, contents: Contents) -> bool:
        return self._condition is None or self._condition(contents)


def _text(encoded: bytes) -> str:
    try:
        return repr(decode_value(encoded))
    except DecodeError:
        return repr(encoded)


def _contents(update: Update) -> Contents:
    if update.timestamp is None:
        return Immutable(update.value)
    return Mutable(update.value, update.timestamp)


class IndexedWait:
    """A wait until a sub-key of an indexed key exists, or until a condition on its value is true.

    Parameters
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    sub_key : bytes
        The encoded sub-key.
    condition : callable, optional
        An ordinary function, called with the encoded value; without it, it is enough that the sub-key
        exists.

    Raises
    ------
    TypeError
        If the condition is no ordinary function.
    """

    def __init__(
        self,
        keys: tuple[bytes, ...],
        sub_key: bytes,
        condition: Callable[[bytes], object] | None = None,
    ) -> None:
        self.keys = keys
        self.sub_key = sub_key
        self.name = f"sub-key {_text(sub_key)} of {name_of(keys)}"
        self._condition = conditional(condition, self.name)

    def question(self) -> GetIndexed:
        """Ask for the value; a key of another kind is an error."""
        return GetIndexed(self.keys, self.sub_key)

    def judge_answer(self, answer: bytes | None) -> bool:
        """Try the condition on the value in the store."""
        return answer is not None and (self._condition is None or self._condition(answer))

    def judge_update(self, update: Update) -> Verdict:
        """Try the condition on an update of the sub-key, if nothing can shadow its key."""
        if update.key != self.keys[0]:
            return Verdict.CHECK
        if update.kind is not KeyType.INDEXED:
            raise wrong_kind(update.key, update.kind, KeyType.INDEXED)
        if update.sub_key == self.sub_key and self.judge_answer(update.value):
            return Verdict.DONE
        return Verdict.IGNORE


class CancelFuture(Protocol):
    """A future whose being done cancels a wait: one of `concurrent.futures` or of `asyncio`."""

    def done(self) -> bool:
        """Tell whether the wait is cancelled."""


def _calls_back(future: CancelFuture) -> bool:
    """Tell whether a future can be relied on to call back: mocks have every method, and keep none."""
    loaded = [sys.modules.get(name) for name in ("concurrent.futures", "asyncio")]
    return isinstance(future, tuple(module.Future for module in loaded if module is not None))


#: Seconds after which a wait looks at the clock again; more than some thousands of years is no time.
_LONGEST = 3600.0
#: Seconds before a look at the store that failed for want of a connection is tried again.
_PAUSE = 0.5


@attrs.frozen
class _Deadline:
    """How long a wait may still take, and whether it is cancelled."""

    timeout: float | None
    cancel_future: CancelFuture | None
    end: float | None

    @classmethod
    def after(cls, timeout: float | None, cancel_future: CancelFuture | None) -> _Deadline:
        if timeout is not None and math.isnan(timeout):
            raise ValueError("the timeout of a wait is NaN; give seconds, or None to wait for ever")
        # An infinite timeout gives an end that never comes.
        end = None if timeout is None else time.monotonic() + timeout
        return cls(timeout, cancel_future, end)

    def remaining(self, name: str, trouble: str | None = None) -> float | None:
        """Give the seconds left; raise if there are none, or if the wait is cancelled.

        Parameters
        ----------
        name : str
            What is waited for.
        trouble : str, optional
            Why the store cannot be asked at present.
        """
        if self.cancel_future is not None and self.cancel_future.done():
            raise CancelledError(f"the wait for {name} was cancelled")
        left = None if self.end is None else self.end - time.monotonic()
        if left is not None and left <= 0:
            if trouble is not None:
                raise TimeoutError(
                    f"timed out after {self.timeout:g} s of waiting for {name}: {trouble}"
                )
            raise TimeoutError(
                f"timed out after {self.timeout:g} s: {name} did not come, or not as wanted"
            )
        if self.cancel_future is not None and not _calls_back(self.cancel_future):
            return _shortest(left, GLANCE)
        return None if left is None else min(left, _LONGEST)

    @contextmanager
    def heeded(self, name: str) -> Iterator[None]:
        """Have the backend heed it; an error of the connection that comes of it is no news."""
        if self.end is None and self.cancel_future is None:
            yield
            return
        end = math.inf if self.end is None else self.end
        cancelled = bool if self.cancel_future is None else self.cancel_future.done
        try:
            with limited(Patience(end, cancelled)):
                yield
        except ConnectionError as error:
            try:
                self.remaining(name, str(error))
            except (TimeoutError, CancelledError) as over:
                raise over from error
            raise


def wait(
    backend: Backend,
    wanted: Wait[Checked],
    timeout: float | None = None,
    cancel_future: CancelFuture | None = None,
) -> None:
    """Wait until something has happened in a store.

    Parameters
    ----------
    backend : Backend
        The store.
    wanted : KeyWait or IndexedWait
        What to wait for.
    timeout : float, optional
        How many seconds to wait at most; without it, as long as it takes.
    cancel_future : future, optional
        Cancels the wait when it is done: at once if it is one of Python's, else within 0.1 s.

    Raises
    ------
    TimeoutError
        If it did not happen in time.
    CancelledError
        If `cancel_future` is done, or the backend is closed.
    ImmutableKeyError
        If the wait is for a sub-key and the key is of another kind.
    ConnectionError
        If the store cannot be reached at the first look, for as long as the backend tries again.

    Notes
    -----
    The timeout bounds attempts: none is begun after it. A server that is there but silent (a black
    hole) can hold up the one that is under way: a reply for a second at least, a new connection for
    its socket timeout (5 s by default).
    """
    deadline = _Deadline.after(timeout, cancel_future)
    with deadline.heeded(wanted.name):
        _wait(backend, wanted, deadline)


def _wait(backend: Backend, wanted: Wait[Checked], deadline: _Deadline) -> None:
    backend = backend.uncached
    with Beginning():
        answer = backend.execute(wanted.question())
    if wanted.judge_answer(answer):
        return
    deadline.remaining(wanted.name)
    with backend.watch(wanted.keys) as watcher:
        _wake_when_done(deadline.cancel_future, watcher)
        owed = False  # a look at the store that was due and failed
        while True:
            left = deadline.remaining(wanted.name, watcher.trouble)
            event = watcher.next(_shortest(left, _PAUSE) if owed else left)
            verdict = _judge(wanted, event)
            if verdict is Verdict.DONE:
                return
            if verdict is Verdict.CHECK or owed:
                try:
                    if wanted.judge_answer(backend.execute(wanted.question())):
                        return
                    owed = False
                except ConnectionError:
                    owed = True


async def wait_async(backend: AsyncBackend, wanted: Wait[Checked]) -> None:
    """Wait until something has happened in a store: :func:`wait`, awaited.

    Parameters
    ----------
    backend : AsyncBackend
        The store.
    wanted : KeyWait or IndexedWait
        What to wait for.

    Raises
    ------
    ImmutableKeyError
        If the wait is for a sub-key and the key is of another kind.
    CancelledError
        If the backend is closed (telstate's own error, not asyncio's).
    """
    # Here, so that who does not use asyncio need not pay for this import.
    from asyncio import timeout as timeout_after

    backend = backend.uncached
    with Beginning():
        answer = await backend.execute(wanted.question())
    if wanted.judge_answer(answer):
        return
    async with backend.watch(wanted.keys) as watcher:
        owed = False  # a look at the store that was due and failed
        while True:
            event: Event | None = None
            try:
                async with timeout_after(_PAUSE if owed else None):
                    event = await watcher.next()
            except builtins.TimeoutError:
                pass
            verdict = _judge(wanted, event)
            if verdict is Verdict.DONE:
                return
            if verdict is Verdict.CHECK or owed:
                try:
                    if wanted.judge_answer(await backend.execute(wanted.question())):
                        return
                    owed = False
                except ConnectionError:
                    owed = True


def _shortest(left: float | None, pause: float) -> float:
    return pause if left is None else min(left, pause)


def _judge(wanted: Wait[Checked], event: Event | None) -> Verdict:
    if event is None:
        return Verdict.IGNORE
    return wanted.judge_update(event) if isinstance(event, Update) else Verdict.CHECK


#: The watchers to wake for each cancel future that can call back. A future may live for hours and see
#: thousands of waits, and its callbacks cannot be taken back: so there is one for all of them.
_to_wake: weakref.WeakKeyDictionary[CancelFuture, weakref.WeakSet[Watcher]] = (
    weakref.WeakKeyDictionary()
)
_to_wake_lock = threading.Lock()


def _wake_when_done(cancel_future: CancelFuture | None, watcher: Watcher) -> None:
    add_done_callback = getattr(cancel_future, "add_done_callback", None)
    if cancel_future is None or add_done_callback is None:
        return
    with _to_wake_lock:
        watchers = _to_wake.get(cancel_future)
        is_new = watchers is None
        if watchers is None:
            watchers = _to_wake[cancel_future] = weakref.WeakSet()
        watchers.add(watcher)
    if is_new:
        add_done_callback(_wake_all)
    elif cancel_future.done():
        watcher.wake()  # the callback may have been before us


def _wake_all(cancel_future: CancelFuture) -> None:
    with _to_wake_lock:
        watchers = tuple(_to_wake.get(cancel_future, ()))
    for watcher in watchers:
        watcher.wake()


#: How many missing names a message gives.
_MOST_NAMED = 10


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
        For each name whether it existed when the store was last asked.

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
        self._enough = all if require_all else any
        self._joint = " and " if require_all else ", nor "
        self.keys = tuple(dict.fromkeys(key for name in self._names for key in name))
        self._existing: set[bytes] = set()
        self.found = (False,) * len(self._names)
        self.name = self._missing()

    def question(self) -> WhichExist:
        """Ask which of all the keys exist."""
        return WhichExist(self.keys)

    def judge_answer(self, answer: list[bool]) -> bool:
        """Tell whether enough of them exist now."""
        self._existing = {key for key, exists in zip(self.keys, answer, strict=True) if exists}
        self.found = self._look()
        self.name = self._missing()
        return self._enough(self.found)

    def judge_update(self, update: Update) -> Verdict:
        """Take note that a key has come; when it is enough the store is asked."""
        self._existing.add(update.key)
        return Verdict.CHECK if self._enough(self._look()) else Verdict.IGNORE

    def _look(self) -> tuple[bool, ...]:
        return tuple(not self._existing.isdisjoint(name) for name in self._names)

    def _missing(self) -> str:
        names = [
            name_of(name) for name, found in zip(self._names, self.found, strict=True) if not found
        ]
        more = len(names) - _MOST_NAMED
        return self._joint.join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
