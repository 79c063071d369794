"""Watching keys: typed updates, each once, in order, over lost connections.

Rules: `telstate_backends._changes` decides what is new; here keys and values get their names and types.
A value that cannot be decoded is an update all the same, and says why when it is asked for. The
synchronous `Watch` is here, its asyncio twin in `telstate.aio.watching`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import attrs

from telstate.refusals import refusal
from telstate.views import View
from telstate.waiting import check_seconds, hint_at_globs
from telstate_backends import Backend, CancelledError, KeyType, TimeoutError, Update
from telstate_codec import DecodeError, Key, decode_key, decode_value, encode_key, key_repr

if TYPE_CHECKING:
    from telstate_backends import News


@attrs.frozen(hash=False, repr=False)
class KeyUpdate:
    """One change of one key that took effect.

    Attributes
    ----------
    key : str
        The full name of the key.
    kind : KeyType
        What kind of key it is.
    value
        The value: of the immutable, the new sample, or the sub-key. If it cannot be decoded, asking
        for it raises `error`.
    timestamp : float or None
        Seconds since 1970, of a sample; None for the other kinds.
    sub_key
        The sub-key of an indexed key; None for the other kinds, and if it cannot be decoded.
    error : DecodeError or None
        Why value or sub-key cannot be decoded.

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
        if self.error is not None:
            raise self.error
        return self._value

    def __repr__(self) -> str:
        value = f"error={self.error!r}" if self.error is not None else repr(self._value)
        time = "" if self.timestamp is None else f", timestamp={self.timestamp!r}"
        sub_key = f", sub_key={self.sub_key!r}" if self.kind is KeyType.INDEXED else ""
        return f"KeyUpdate({self.key!r}, {self.kind}, {value}{time}{sub_key})"


@attrs.frozen
class Reconnected:
    """Updates were lost for a while (with the connection, or because nobody took them for too long).

    The updates that follow make up for it: they were read from the store, those of samples in order
    of time. Nothing is missed, except what was deleted again meanwhile.
    """


#: What a watch gives.
WatchEvent: TypeAlias = KeyUpdate | Reconnected


def names_to_watch(
    view: View, keys: Iterable[Key], patterns: Iterable[Key]
) -> tuple[list[tuple[bytes, ...]], list[bytes]]:
    """Check what is to be watched; give candidates for each key, and patterns."""
    if isinstance(patterns, (str, bytes)):
        raise TypeError(f"patterns must be a tuple of globs, not the string {patterns!r}.")
    names = [view.candidates(key) for key in keys]
    globs = [encode_key(pattern) for pattern in patterns]
    if not any(names) and not globs:
        raise ValueError("There is nothing to watch: give keys, patterns or both.")
    return names, globs


def event_of(news: News) -> WatchEvent:
    """Make of what a ledger tells what a user is told."""
    if not isinstance(news, Update):
        return Reconnected()
    key = decode_key(news.key)
    try:
        sub_key = None if news.sub_key is None else decode_value(news.sub_key)
        value = decode_value(news.value)
    except DecodeError as error:
        named = DecodeError(f"Key {key_repr(news.key)}: {error}")
        named.__cause__ = error
        return KeyUpdate(key, news.kind, None, news.timestamp, None, named)
    return KeyUpdate(key, news.kind, value, news.timestamp, sub_key)


class Watch:
    """Updates of keys as they happen: made by `TelescopeState.watch`, which see.

    It is an iterator, and a context manager. It begins where it is entered, or else where the first
    update is asked for. One thread takes the updates; any thread may `close` it.
    """

    def __init__(
        self,
        backend: Backend,
        view: View,
        keys: Iterable[Key],
        patterns: Iterable[Key],
        timeout: float | None,
    ) -> None:
        # Here, so that who watches nothing need not pay for this import.
        from telstate_backends import Follower

        self._keys = tuple(keys)
        self._follower = Follower(backend, *names_to_watch(view, self._keys, patterns))
        self._begun = False
        self._timeout = timeout
        check_seconds(timeout, "a watch")

    if not TYPE_CHECKING:
        __aiter__ = refusal("is not for asyncio", "use for, or a telstate.aio.TelescopeState")
        __aenter__ = refusal("is not for asyncio", "use with, or a telstate.aio.TelescopeState")
        __aexit__ = __aenter__

    def __enter__(self) -> Self:
        self._begin(self._timeout)
        return self

    def _begin(self, timeout: float | None) -> None:
        if not self._begun:
            self._follower.begin(timeout)
            self._begun = True

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
        """Wait for the next update.

        Parameters
        ----------
        timeout
            Seconds to wait at most. Default: as long as it takes.

        Raises
        ------
        TimeoutError
            If none came in time; the next call waits on.
        CancelledError
            If the watch or its backend is closed.
        """
        check_seconds(timeout, "a watch")
        event = self._take(timeout)
        if event is None:
            raise CancelledError("the watch was closed")
        return event

    def close(self) -> None:
        """End the watch: whoever waits for its next update is told at once. From any thread."""
        self._follower.close()

    def _take(self, timeout: float | None) -> WatchEvent | None:
        """Give the next event, `None` if the watch is closed."""
        end = None if timeout is None else time.monotonic() + timeout
        self._begin(timeout)
        news = self._follower.next(None if end is None else max(0.0, end - time.monotonic()))
        if news is not None:
            return event_of(news)
        if self._follower.closed:
            self.__exit__(None, None, None)
            return None
        hint = hint_at_globs(self._keys, "watched")
        raise TimeoutError(f"no update came within {timeout:g} s{hint}")
