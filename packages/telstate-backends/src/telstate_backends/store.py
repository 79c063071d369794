"""The in-memory store: what a Redis database would hold, in dictionaries and sorted lists.

Keys and values are bytes, compared and sorted as bytes. The samples of a key are one sorted list without
duplicates, so that appending a later sample and reading the latest cost the same at any length. An empty
collection does not exist. The contents of a key from a snapshot may be :class:`Packed` until an operation
needs them.

Operations are applied one at a time, while their backend holds the lock of the store. Those that change
something call :meth:`Store.publish` if the store is :attr:`Store.watched`; listeners are called with the
lock held, so they only queue the event. A process forks between two operations.
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

# Among more than so many times as many later samples, inserting samples one by one is faster than sorting.
_FEW = 100


@final
class Samples(list[bytes]):
    """The samples of one mutable key: timestamp and value each, sorted, no two equal."""

    __slots__ = ()

    def insert_sample(self, member: bytes) -> bool:
        """Insert a sample, by its member of the sorted set; return whether it is new."""
        if not self or self[-1] < member:
            self.append(member)
            return True
        index = bisect_left(self, member)
        if self[index] == member:
            return False
        self.insert(index, member)
        return True

    def insert_samples(self, members: Iterable[bytes]) -> None:
        """Insert one or more samples: one by one if there are few, and otherwise by sorting."""
        new = sorted(set(members))
        start = bisect_left(self, new[0])
        if len(self) - start > _FEW * len(new):
            for member in new:
                self.insert_sample(member)
        else:
            # Sorting merges the two runs.
            self[start:] = dict.fromkeys(sorted([*self[start:], *new]))


@final
class Fields(dict[bytes, bytes]):
    """The sub-keys and values of one indexed key."""

    __slots__ = ()


Stored: TypeAlias = Immutable | Samples | Fields


@final
@attrs.frozen(eq=False)
class Packed:
    """The contents of a key as they are in a snapshot, decoded when an operation needs them.

    Attributes
    ----------
    kind : KeyType
        The kind of key.
    size : int
        Their size in bytes.
    unpack : callable
        Returns the decoded contents, which are not empty. It may raise
        :exc:`~telstate_backends.RdbParseError`.
    count : int
        The number of samples or sub-keys; in a broken file, equal ones count twice.
    find_ends : callable or None
        For samples: returns the first and the last of them without decoding the others.
    """

    kind: KeyType
    size: int
    unpack: Callable[[], Stored]
    count: int = 0
    find_ends: Callable[[], tuple[bytes, bytes]] | None = None


Listener: TypeAlias = Callable[[Event], None]

#: The kind of key that has contents of a class.
KINDS: dict[type[Stored], KeyType] = {
    Immutable: KeyType.IMMUTABLE,
    Samples: KeyType.MUTABLE,
    Fields: KeyType.INDEXED,
}


def kind_of(stored: Stored | Packed) -> KeyType:
    """Return the kind of key that has such contents."""
    return stored.kind if type(stored) is Packed else KINDS[type(stored)]


def contents_of(key: bytes, stored: Stored) -> Immutable | Mutable | Indexed:
    """Return what a reader sees: the value, the latest sample, or all sub-keys."""
    if type(stored) is Immutable:
        return stored
    if type(stored) is Samples:
        return Mutable.of_member(stored[-1], key)
    return Indexed(dict(stored))


class Store:
    """The contents of one or more memory backends, synchronous and asyncio.

    Attributes
    ----------
    lock : threading.RLock
        Must be held to access anything else here.
    data : dict[bytes, Immutable or Samples or Fields or Packed]
        The contents of each key; :meth:`get` and :meth:`find` return them decoded.
    listeners : dict[bytes, list of callables]
        Called with each event that is published on a channel.
    pattern_listeners : list of (bytes, Glob, callable)
        Called with each event on a channel that has this prefix, followed by a key that matches.
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
        """Return the contents of a key, `None` if it does not exist."""
        stored = self.data.get(key)
        return self.unpack(key, stored) if type(stored) is Packed else stored

    def find(self, keys: tuple[bytes, ...]) -> tuple[bytes, Stored] | None:
        """Return the first of the candidate `keys` that exists, with its contents."""
        data = self.data
        for key in keys:
            stored = data.get(key)
            if stored is not None:
                return key, self.unpack(key, stored) if type(stored) is Packed else stored
        return None

    def find_kind(self, keys: tuple[bytes, ...]) -> tuple[bytes, KeyType] | None:
        """Return the first of the candidate `keys` that exists, with its kind."""
        data = self.data
        for key in keys:
            stored = data.get(key)
            if stored is not None:
                return key, kind_of(stored)
        return None

    def unpack(self, key: bytes, packed: Packed) -> Stored:
        """Store the packed contents of a key decoded, and return them; after an error they are unchanged."""
        stored = self.data[key] = packed.unpack()
        return stored

    @property
    def watched(self) -> bool:
        """Whether there are any listeners."""
        return bool(self.listeners or self.pattern_listeners)

    def has_listeners(self, key: bytes) -> bool:
        """Return whether there are any listeners for updates of a key."""
        return CHANNEL_PREFIX + key in self.listeners or any(
            prefix == CHANNEL_PREFIX and glob.matches(key)
            for prefix, glob, _ in self.pattern_listeners
        )

    def publish(self, change: Change) -> None:
        """Call each listener for the key of a change once."""
        channel_prefix, key = place_of(change)
        listeners = list(self.listeners.get(channel_prefix + key, ()))
        listeners += [
            listener
            for prefix, glob, listener in self.pattern_listeners
            if prefix == channel_prefix and glob.matches(key)
        ]
        for listener in dict.fromkeys(listeners):
            listener(change)

    def listen(self, listener: Listener, channels: Iterable[bytes]) -> None:
        """Call a listener with what is published on these channels, from now on."""
        for channel in set(channels):
            self.listeners.setdefault(channel, []).append(listener)

    def unlisten(self, listener: Listener, channels: Iterable[bytes]) -> None:
        """Stop calling a listener for these channels."""
        for channel in set(channels):
            remaining = [each for each in self.listeners.get(channel, ()) if each is not listener]
            if remaining:
                self.listeners[channel] = remaining
            else:
                self.listeners.pop(channel, None)

    def listen_to_patterns(
        self, listener: Listener, globs: Iterable[Glob], prefixes: Iterable[bytes]
    ) -> None:
        """Call a listener for all keys that match one of the globs, on channels with these prefixes, from now on."""
        self.pattern_listeners += [
            (prefix, glob, listener) for glob in globs for prefix in prefixes
        ]

    def unlisten_to_patterns(self, listener: Listener) -> None:
        """Stop calling a listener for patterns."""
        self.pattern_listeners = [
            entry for entry in self.pattern_listeners if entry[2] is not listener
        ]


_in_this_process: weakref.WeakSet[Store] = weakref.WeakSet()

#: Held while a store is created, and while the process forks.
_forking = threading.RLock()
_held: list[Store] = []


def _before_fork() -> None:
    """Wait until no operation is running, so that the child gets consistent stores and free locks.

    This cannot deadlock: no thread that holds the lock of a store waits for another one, or for a fork.
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
