"""The in-memory store: what a Redis database would hold, in dictionaries and sorted lists.

Rules: keys and values are bytes, compared and sorted as bytes. Samples of a key are one sorted list
without repeats, so that appending a later sample and reading the latest cost the same at any
length. An empty collection does not exist. Operations run on a store one at a time: its backends
hold its lock while they do, and listeners are called meanwhile, so they only queue. Who changes
something calls :meth:`Store.publish` if the store is :attr:`Store.watched`. What comes from a
snapshot may be :class:`Packed` until an operation looks into it. A process forks between operations.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TypeAlias, final

import attrs

from telstate_backends.events import CHANNEL_PREFIX, Change, Event, place_of
from telstate_backends.types import Immutable, Indexed, KeyType, Mutable
from telstate_rdb.globs import Glob


@final
class Samples(list[bytes]):
    """The samples of one mutable key: timestamp and value each, sorted, no two equal."""

    __slots__ = ()

    def insert_sample(self, member: bytes) -> bool:
        """Put in one sample; `False` if it is there already."""
        if not self or self[-1] < member:
            self.append(member)
            return True
        index = bisect_left(self, member)
        if self[index] == member:
            return False
        self.insert(index, member)
        return True


@final
class Fields(dict[bytes, bytes]):
    """The sub-keys and values of one indexed key."""

    __slots__ = ()


Stored: TypeAlias = Immutable | Samples | Fields


@final
@attrs.frozen(eq=False)
class Packed:
    """What a key holds, as it is in a snapshot, to be decoded when an operation needs it.

    Attributes
    ----------
    kind : KeyType
        The kind of key.
    size : int
        How many bytes it takes like this.
    unpack : callable
        Decodes it; what it gives is not empty. May raise
        :exc:`~telstate_backends.RdbParseError`.
    """

    kind: KeyType
    size: int
    unpack: Callable[[], Stored]


Listener: TypeAlias = Callable[[Event], None]

_KINDS: dict[type, KeyType] = {
    Immutable: KeyType.IMMUTABLE,
    Samples: KeyType.MUTABLE,
    Fields: KeyType.INDEXED,
}


def kind_of(stored: Stored | Packed) -> KeyType:
    """Tell the kind of key that holds this."""
    return stored.kind if type(stored) is Packed else _KINDS[type(stored)]


def contents_of(key: bytes, stored: Stored) -> Immutable | Mutable | Indexed:
    """Give what a reader gets: the value, the latest sample, or all sub-keys."""
    if type(stored) is Immutable:
        return stored
    if type(stored) is Samples:
        return Mutable.of_member(stored[-1], key)
    return Indexed(dict(stored))


class Store:
    """The contents of one memory backend, shared by its sync and asyncio handles.

    Attributes
    ----------
    lock : threading.RLock
        Held by whoever looks at anything else here.
    data : dict[bytes, Immutable or Samples or Fields or Packed]
        What each key holds; :meth:`get` and :meth:`find` give it unpacked.
    listeners : dict[bytes, list of callables]
        Who is told what is published on a channel.
    pattern_listeners : list of (bytes, Glob, callable)
        Who is told what is published on the channels that begin so and go on with a key that
        matches.
    """

    __slots__ = ("__weakref__", "data", "listeners", "lock", "pattern_listeners")

    def __init__(self) -> None:
        with _forking:
            _in_this_process.add(self)
        self.lock = threading.RLock()
        self.data: dict[bytes, Stored | Packed] = {}
        self.listeners: dict[bytes, list[Listener]] = {}
        self.pattern_listeners: list[tuple[bytes, Glob, Listener]] = []

    def get(self, key: bytes) -> Stored | None:
        """Give what a key holds, if it exists."""
        stored = self.data.get(key)
        return self.unpack(key, stored) if type(stored) is Packed else stored

    def find(self, keys: tuple[bytes, ...]) -> tuple[bytes, Stored] | None:
        """Give the first of the candidate keys that exists, with what it holds."""
        data = self.data
        for key in keys:
            stored = data.get(key)
            if stored is not None:
                return key, self.unpack(key, stored) if type(stored) is Packed else stored
        return None

    def find_kind(self, keys: tuple[bytes, ...]) -> tuple[bytes, KeyType] | None:
        """Give the first of the candidate keys that exists, with its kind."""
        data = self.data
        for key in keys:
            stored = data.get(key)
            if stored is not None:
                return key, kind_of(stored)
        return None

    def unpack(self, key: bytes, packed: Packed) -> Stored:
        """Decode what a key holds, and keep it decoded; if that fails, it stays as it is."""
        stored = self.data[key] = packed.unpack()
        return stored

    @property
    def watched(self) -> bool:
        """Whether anybody is told about updates."""
        return bool(self.listeners or self.pattern_listeners)

    def heard(self, key: bytes) -> bool:
        """Tell whether anybody is told about updates of a key."""
        return CHANNEL_PREFIX + key in self.listeners or any(
            prefix == CHANNEL_PREFIX and glob.matches(key)
            for prefix, glob, _ in self.pattern_listeners
        )

    def publish(self, change: Change) -> None:
        """Tell those who watch the key, once each."""
        place, key = place_of(change)
        told = list(self.listeners.get(place + key, ()))
        told += [
            listener
            for prefix, glob, listener in self.pattern_listeners
            if prefix == place and glob.matches(key)
        ]
        for listener in dict.fromkeys(told):
            listener(change)

    def listen(self, listener: Listener, channels: Iterable[bytes]) -> None:
        """Tell `listener` what is published on these channels, from now on."""
        for channel in set(channels):
            self.listeners.setdefault(channel, []).append(listener)

    def unlisten(self, listener: Listener, channels: Iterable[bytes]) -> None:
        """Tell `listener` nothing of these channels any more."""
        for channel in set(channels):
            remaining = [each for each in self.listeners.get(channel, ()) if each is not listener]
            if remaining:
                self.listeners[channel] = remaining
            else:
                self.listeners.pop(channel, None)

    def listen_to_patterns(
        self, listener: Listener, globs: Iterable[Glob], prefixes: Iterable[bytes]
    ) -> None:
        """Tell `listener` of all keys that match, on the channels that begin so, from now on."""
        self.pattern_listeners += [
            (prefix, glob, listener) for glob in globs for prefix in prefixes
        ]

    def unlisten_to_patterns(self, listener: Listener) -> None:
        """Tell `listener` of no pattern any more."""
        self.pattern_listeners = [
            entry for entry in self.pattern_listeners if entry[2] is not listener
        ]


_in_this_process: weakref.WeakSet[Store] = weakref.WeakSet()

#: Held while a store is made, and while the process forks.
_forking = threading.RLock()
_held: list[Store] = []


def _before_fork() -> None:
    """Wait until no operation is under way, so that the child has whole stores and locks that are free.

    Nobody who has the lock of one store waits for that of another, or for a fork.
    """
    _forking.acquire()
    for store in tuple(_in_this_process):
        store.lock.acquire()
        _held.append(store)


def _after_fork() -> None:
    while _held:
        _held.pop().lock.release()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
