"""The in-memory store: what a Redis database would hold, in dictionaries and sorted sequences.

Keys and values are bytes, compared and sorted as bytes. An empty collection does not exist. The contents of
a key from a snapshot may be :class:`Packed` until an operation needs them.

Operations are applied one at a time, while their backend holds the lock of the store. Those that change
something call :meth:`Store.publish` if the store is :attr:`Store.watched`; listeners are called with the
lock held, so they only queue the event. A process forks between two operations.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, cast, final

import attrs

from telstate_backends.errors import translate_rdb_errors
from telstate_backends.events import CHANNEL_PREFIX, Change, Event, place_of
from telstate_backends.samples import Samples, sort_samples
from telstate_backends.types import Contents, Immutable, Indexed, KeyType, Mutable
from telstate_rdb.globs import Glob

if TYPE_CHECKING:
    from telstate_rdb import LazyTable, StoredValue, Value


@final
class Fields(dict[bytes, bytes]):
    """The sub-keys and values of one indexed key."""

    __slots__ = ()


Stored: TypeAlias = Immutable | Samples | Fields

#: The sum of the sizes in files of what is cached decoded; at least one key is.
MAX_DECODED = 4 << 20
#: A range of samples that take more bytes in a file is read from there by itself.
LONG = 1 << 20


@final
@attrs.frozen(eq=False)
class Packed:
    """The contents of a key as they are in a snapshot, decoded when an operation needs them.

    Attributes
    ----------
    kind : KeyType
        The kind of key.
    value : LazyTable or StoredValue
        The value in memory, or in the file that it was loaded from.
    """

    kind: KeyType
    value: LazyTable | StoredValue

    @property
    def size(self) -> int:
        """Their size in bytes in the file."""
        return self.value.size

    @property
    def count(self) -> int:
        """The number of samples or sub-keys; in a broken file, equal ones count twice."""
        return self.value.count

    @translate_rdb_errors()
    def unpack(self) -> Stored:
        """Return the decoded contents, which are not empty."""
        contents = stored_of(self.value.decode())
        assert not isinstance(contents, str)  # its scores were checked before
        return contents

    @property
    def in_file(self) -> StoredValue | None:
        """The value in its file, `None` if it is in memory."""
        return cast("StoredValue", self.value) if self.value.is_stored else None

    @property
    def _ordered(self) -> StoredValue | None:
        """The samples in a file of which some can be read without the others."""
        value = self.in_file
        return value if value is not None and value.is_ordered else None

    @translate_rdb_errors()
    def find_ends(self) -> tuple[bytes, bytes] | None:
        """Return the first and the last sample without decoding the others, if that can be done."""
        if self.kind is not KeyType.MUTABLE or self.in_file is not self._ordered:
            return None
        return self.value.find_ends()

    @translate_rdb_errors()
    def find_latest(self) -> bytes | None:
        """Return the latest sample if it can be read from a file by itself."""
        value = self._ordered
        return None if value is None else value.find_ends()[1]

    @translate_rdb_errors()
    def find_range(self, start: bytes, end: bytes) -> Samples | None:
        """Return all samples around a range if these can be read from a file by themselves.

        The first is before the range, if there is any.
        """
        value = self._ordered
        if value is None or not value.has_ranges:
            return None
        return Samples(value.read_range(start, end))

    @translate_rdb_errors()
    def read_head(self, limit: int) -> tuple[bytes, int] | None:
        """Return the beginning of an immutable value in a file, and the length of all of it."""
        value = self.in_file
        if value is None or self.kind is not KeyType.IMMUTABLE:
            return None
        return value.read_head(limit)


SCORES = "a sorted set with scores that are not 0"


def stored_of(value: Value) -> Stored | str:
    """Return a value of a snapshot as the contents of a key, or a description of what is not supported."""
    # Imported here because few programs read snapshots.
    from telstate_rdb import Hash, SortedSet

    if isinstance(value, bytes):
        return Immutable(value)
    if isinstance(value, SortedSet):
        # Bytes are compared much faster than floats; -0.0 is the only other zero.
        scores = value.scores
        if scores.tobytes() != bytes(8 * len(scores)) and scores.count(0.0) != len(scores):
            return SCORES
        if not value.members:
            return "an empty sorted set"
        # No server writes a member twice, but a broken file may.
        return Samples(sort_samples(value.members))
    if isinstance(value, Hash):
        if value.expiries:
            return "a hash with fields that expire"
        return Fields(value.fields) if value.fields else "an empty hash"
    return f"a Redis {value.type_name}"


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
        return Mutable.of_member(stored.latest, key)
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

    __slots__ = (
        "__weakref__",
        "_decoded",
        "_decoded_size",
        "data",
        "listeners",
        "lock",
        "pattern_listeners",
    )

    def __init__(self) -> None:
        with _forking:
            _in_this_process.add(self)
        self.lock = threading.RLock()
        self.data: dict[bytes, Stored | Packed] = {}
        #: What was decoded from files last, in the order of use.
        self._decoded: dict[Packed, Stored] = {}
        self._decoded_size = 0
        self.listeners: dict[bytes, list[Listener]] = {}
        self.pattern_listeners: list[tuple[bytes, Glob, Listener]] = []

    def get(self, key: bytes) -> Stored | None:
        """Return the contents of a key to be read or changed, `None` if it does not exist."""
        stored = self.data.get(key)
        return self.unpack(key, stored) if type(stored) is Packed else stored

    def read(self, key: bytes) -> Stored | None:
        """Return the contents of a key only to be read, `None` if it does not exist."""
        stored = self.data.get(key)
        return self.decode(key, stored) if type(stored) is Packed else stored

    def find(self, keys: tuple[bytes, ...]) -> tuple[bytes, Stored] | None:
        """Return the first of the candidate keys that exists, with its contents, only to be read."""
        data = self.data
        for key in keys:
            stored = data.get(key)
            if stored is not None:
                return key, self.decode(key, stored) if type(stored) is Packed else stored
        return None

    def find_contents(self, keys: tuple[bytes, ...]) -> tuple[bytes, Contents] | None:
        """Return the first of the candidate keys that exists, with what a reader sees of its contents."""
        data = self.data
        for key in keys:
            stored = data.get(key)
            if stored is not None:
                if type(stored) is Packed:
                    if stored not in self._decoded and (latest := stored.find_latest()) is not None:
                        return key, Mutable.of_member(latest, key)
                    stored = self.decode(key, stored)
                return key, stored if type(stored) is Immutable else contents_of(key, stored)
        return None

    def find_range(
        self, keys: tuple[bytes, ...], start: bytes, end: bytes
    ) -> tuple[bytes, Stored] | None:
        """Return the first of the candidate `keys` that exists, with its contents.

        Of a long value in a file these may be only the samples around `start` and `end`.
        """
        for key in keys:
            stored = self.data.get(key)
            if stored is not None:
                if type(stored) is Packed:
                    if stored.size > LONG and (some := stored.find_range(start, end)):
                        return key, some
                    stored = self.decode(key, stored)
                return key, stored
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
        """Return the packed contents of a key, which are stored decoded; after an error they are unchanged."""
        stored = self.data[key] = self._forget_decoded(packed) or packed.unpack()
        return stored

    def decode(self, key: bytes, packed: Packed) -> Stored:
        """Return the packed contents of a key decoded, only to be read.

        They are stored decoded; those that are in a file stay there, and what was decoded last is cached.
        """
        if packed.in_file is None:
            return self.unpack(key, packed)
        decoded = self._decoded
        stored = decoded.pop(packed, None)
        if stored is None:
            stored = packed.unpack()
            if type(stored) is Immutable and packed.size > MAX_DECODED:
                return stored  # reading it again costs little more
            self._decoded_size += packed.size
        decoded[packed] = stored
        while self._decoded_size > MAX_DECODED and len(decoded) > 1:
            self._forget_decoded(next(iter(decoded)))
        return stored

    def _forget_decoded(self, packed: Packed) -> Stored | None:
        stored = self._decoded.pop(packed, None)
        if stored is not None:
            self._decoded_size -= packed.size
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
