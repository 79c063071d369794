"""Watching keys: typed updates, each once and in order, across lost connections.

The followers of `telstate_backends` decide what is new; here keys and values are decoded. A value that
cannot be decoded is an update all the same, and raises the error when it is read.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

import attrs

from telstate._calls.common import check_names, is_glob
from telstate._view import View
from telstate_backends import (
    AsyncBackend,
    Backend,
    CancelledError,
    CheckDue,
    Follower,
    KeyType,
    TimeoutError,
    Update,
)
from telstate_codec import DecodeError, Key, decode_key, decode_value, encode_key, key_repr
from telstate_codec.printable import bounded_repr

__all__ = ["KeyUpdate", "Reconnected", "Watch", "WatchEvent"]

# How many keys a representation names.
MAX_SHOWN = 5


@attrs.frozen(hash=False, repr=False)
class KeyUpdate:
    """A change of a key.

    Attributes
    ----------
    key : str
        The full name of the key.
    kind : KeyType
        The kind of the key.
    value
        The value: of the immutable, the new sample, or the sub-key. If it cannot be decoded, reading
        it raises `error`.
    timestamp : float or None
        The time of a sample in seconds since 1970; None for the other kinds.
    sub_key
        The sub-key of an indexed key; None for the other kinds, and if it cannot be decoded.
    error : DecodeError or None
        Why the value or the sub-key cannot be decoded.

    Examples
    --------
    >>> KeyUpdate("gain", KeyType.MUTABLE, 1.5, 100.0)
    KeyUpdate('gain', KeyType.MUTABLE, 1.5, timestamp=100.0)
    """

    key: str
    kind: KeyType
    _value: Any
    timestamp: float | None = None
    sub_key: Any = None
    error: DecodeError | None = attrs.field(default=None, eq=False)

    __match_args__ = ("key", "kind", "value", "timestamp", "sub_key")

    @property
    def value(self) -> Any:
        """The new value; if it cannot be decoded, this raises `error`."""
        if self.error is not None:
            raise self.error
        return self._value

    def __repr__(self) -> str:
        value = f"error={self.error!r}" if self.error is not None else bounded_repr(self._value)
        time = "" if self.timestamp is None else f", timestamp={self.timestamp!r}"
        sub_key = f", sub_key={bounded_repr(self.sub_key)}" if self.kind is KeyType.INDEXED else ""
        return f"KeyUpdate({self.key!r}, {self.kind}, {value}{time}{sub_key})"


@attrs.frozen
class Reconnected:
    """Updates were lost, with the connection or because the watch fell too far behind.

    The updates that follow replace them: they were read from the store, samples in order of time.
    Only keys that were deleted in the meantime are missing.
    """


#: What a watch yields.
WatchEvent: TypeAlias = KeyUpdate | Reconnected


def encode_names(
    view: View, keys: Collection[Key], patterns: Iterable[Key]
) -> tuple[list[tuple[bytes, ...]], list[bytes]]:
    """Return the candidates of each key, and the patterns; a key that may be a pattern is both."""
    check_names(patterns, "patterns")
    names = [view.candidates(key) for key in keys]
    globs = [encode_key(pattern) for pattern in (*patterns, *filter(is_glob, keys))]
    if not any(names) and not globs:
        raise ValueError("There is nothing to watch. Name keys, patterns or both.")
    return names, globs


def decode_update(change: Update | CheckDue) -> WatchEvent:
    """Return the event for a change that a follower reports."""
    if not isinstance(change, Update):
        return Reconnected()
    key = decode_key(change.key)
    try:
        sub_key = None if change.sub_key is None else decode_value(change.sub_key)
        value = decode_value(change.value)
    except DecodeError as error:
        named = DecodeError(f"Key {key_repr(change.key)}: {error}")
        named.__cause__ = error
        return KeyUpdate(key, change.kind, None, change.timestamp, None, named)
    return KeyUpdate(key, change.kind, value, change.timestamp, sub_key)


def describe_watch(
    backend: Backend | AsyncBackend,
    view: View,
    keys: Iterable[Key],
    patterns: Iterable[Key],
    state: str,
) -> str:
    """Return the representation of a watch, without asking the store."""
    from telstate._display import backend_name

    facts = [f"Watch on {backend_name(backend)}"]
    for kind, some in ("keys", keys), ("patterns", patterns):
        shown = [key_repr(name) for name in some]
        more = ", ..." if len(shown) > MAX_SHOWN else ""
        if shown:
            facts.append(f"{kind} {', '.join(shown[:MAX_SHOWN])}{more}")
    return f"<{', '.join(facts)}, prefixes {view.prefixes}, {state}>"


class Watch:
    """Updates of keys as they happen; made by `TelescopeState.watch`.

    A watch is an iterator and a context manager. It begins where it is entered, or else where the
    first update is requested. One thread takes the updates; any thread may call `close`.
    """

    def __init__(
        self,
        backend: Backend,
        view: View,
        keys: Collection[Key],
        patterns: Iterable[Key],
        timeout: float | None,
    ) -> None:
        names, globs = encode_names(view, keys, patterns)
        self._follower = Follower(backend, names, globs)
        self._describe = partial(describe_watch, backend, view, keys, globs)
        self._begun = False
        self._timeout = timeout

    def __repr__(self) -> str:
        state = "closed" if self._follower.closed else "open" if self._begun else "not open"
        return self._describe(state)

    def __enter__(self) -> Self:
        if not self._begun:
            self._begin(self._timeout)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._follower.__exit__(exc_type, exc_value, traceback)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchEvent:
        event = self._take(self._timeout)
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout: float | None = None) -> WatchEvent:
        """Wait for the next update and return it.

        Parameters
        ----------
        timeout
            The longest time to wait, in seconds. Default: no limit.

        Raises
        ------
        TimeoutError
            If no update came in time; the next call continues to wait.
        CancelledError
            If the watch or its backend is closed.
        """
        event = self._take(timeout)
        if event is None:
            raise CancelledError("The watch was closed.")
        return event

    def close(self) -> None:
        """End the watch, from any thread; a call that waits for the next update returns at once."""
        self._follower.close()

    def _begin(self, timeout: float | None) -> None:
        self._follower.begin(timeout)
        self._begun = True

    def _take(self, timeout: float | None) -> WatchEvent | None:
        """Return the next event, None if the watch is closed."""
        end = None if timeout is None else time.monotonic() + timeout
        if not self._begun:
            self._begin(timeout)
        change = self._follower.next(None if end is None else max(0.0, end - time.monotonic()))
        if change is not None:
            return decode_update(change)
        if self._follower.closed:
            self.__exit__(None, None, None)
            return None
        raise TimeoutError(f"No update came within {timeout:g} s.")
