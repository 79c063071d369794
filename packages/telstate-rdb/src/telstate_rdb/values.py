"""The values that a key can have, as plain frozen records of bytes.

A string is simply :class:`bytes`; everything else is an instance of a class in this module.

* Integers are decimal text, as Redis returns them to clients.
* Members, elements and entries are in the order of the file (which is descending for large sorted
  sets). ``==`` ignores the order where it has no meaning to Redis.
* The form in the file makes no difference: a hash is a :class:`Hash`, whether it was a zipmap, a
  ziplist, a listpack or a table.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import attrs

from telstate_rdb import constants as c
from telstate_rdb._crc64 import crc64


@attrs.frozen
class List:
    """A list: `elements` from the left (head) to the right (tail)."""

    type_name: ClassVar[c.TypeName] = "list"
    elements: tuple[bytes, ...]


@attrs.frozen
class Set:
    """A set: `members` in the order of the file; no member twice. Equality ignores order."""

    type_name: ClassVar[c.TypeName] = "set"
    members: tuple[bytes, ...] = attrs.field(eq=frozenset)


@attrs.frozen(eq=False)
class SortedSet:
    """A sorted set, as two columns of equal length.

    Equality ignores order and compares scores bit for bit (so a NaN equals itself, and -0.0 is
    not 0.0).

    Parameters
    ----------
    members
        The members, in the order of the file.
    scores
        ``array('d')``: the float64 score of each member; may be infinite or NaN.

    Examples
    --------
    >>> value = SortedSet((b"a", b"b"), array("d", [1.5, float("inf")]))
    >>> list(zip(value.members, value.scores))
    [(b'a', 1.5), (b'b', inf)]
    """

    type_name: ClassVar[c.TypeName] = "zset"
    members: tuple[bytes, ...]
    scores: array[float]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SortedSet):
            return NotImplemented
        if self.members == other.members:
            return self.scores.tobytes() == other.scores.tobytes()
        return self._bits() == other._bits()

    __hash__ = None  # type: ignore[assignment]  # the default would differ for equal values

    def _bits(self) -> dict[bytes, int]:
        """Return the 64 bits of each member's score."""
        bits = memoryview(self.scores.tobytes()).cast("q")
        return dict(zip(self.members, bits, strict=True))


@attrs.frozen
class Hash:
    """A hash.

    Parameters
    ----------
    fields
        The value of each field.
    expiries
        When a field expires, in milliseconds since 1970; fields that never expire are left out.
    is_valkey
        Whether it was read from a file or payload of Valkey 9. Redis and Valkey have different forms for
        fields that expire; unless a version is requested, it is written as it was read. It makes no
        difference to equality.
    """

    type_name: ClassVar[c.TypeName] = "hash"
    fields: Mapping[bytes, bytes]
    expiries: Mapping[bytes, int] = attrs.field(factory=dict)
    is_valkey: bool = attrs.field(default=False, eq=False, repr=False)


class StreamId(NamedTuple):
    """The id of a stream's entry: milliseconds since 1970 and a sequence number; sorts in stream order."""

    milliseconds: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"

    @classmethod
    def from_bytes(cls, data: bytes) -> StreamId:
        """Return the id of 16 bytes of data in a file, which are big-endian."""
        return cls(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big"))


@attrs.frozen
class StreamEntry:
    """An entry of a stream: its id, and its fields and values (a field may be repeated)."""

    id: StreamId
    fields: tuple[tuple[bytes, bytes], ...]


@attrs.frozen
class StreamPending:
    """An entry that was delivered to a consumer and is not acknowledged yet.

    Parameters
    ----------
    id
        The id of the entry.
    delivery_time
        When it was last delivered, in milliseconds since 1970.
    delivery_count
        How often it was delivered.
    """

    id: StreamId
    delivery_time: int
    delivery_count: int


@attrs.frozen
class StreamConsumer:
    """A consumer of a group.

    Parameters
    ----------
    name
        Its name.
    seen_time
        When it last tried to read, in milliseconds since 1970.
    active_time
        When it last received an entry, in milliseconds since 1970; -1 for never, None if that is
        not in the file.
    pending
        The ids that it has not acknowledged, which are also in the group's `pending`.
    """

    name: bytes
    seen_time: int
    active_time: int | None
    pending: tuple[StreamId, ...]


@attrs.frozen
class StreamGroup:
    """A consumer group of a stream.

    Parameters
    ----------
    name
        Its name.
    last_id
        The id of the last entry delivered to it.
    entries_read
        The number of entries that it has read; None if that is not known. A file from before Redis 7.0
        does not have it: then it is what a server derives when it loads the file.
    pending
        All entries that were delivered and not acknowledged, in the order of their ids.
    consumers
        Its consumers.
    returned
        The ids of the pending entries that no consumer holds, because they were given back (``XNACK`` of
        Redis 8.8).
    """

    name: bytes
    last_id: StreamId
    entries_read: int | None
    pending: tuple[StreamPending, ...]
    consumers: tuple[StreamConsumer, ...]
    returned: tuple[StreamId, ...] = ()


@attrs.frozen
class StreamProducers:
    """What a stream of Redis 8.6 remembers to recognise messages that are added twice.

    Parameters
    ----------
    duration
        How long a message is remembered, in seconds.
    max_entries
        The number of messages that are remembered for each producer.
    messages
        For each producer the ids of its messages, and the entries that they became.
    added
        The number of messages that were ever added with an id.
    duplicates
        The number of those that were recognised as duplicates.
    """

    duration: int
    max_entries: int
    messages: Mapping[bytes, Mapping[bytes, StreamId]]
    added: int
    duplicates: int


@attrs.frozen
class Stream:
    """A stream.

    Parameters
    ----------
    entries
        Its entries without the deleted ones, in the order of their ids.
    last_id
        The last id that was assigned.
    first_id
        The id of the first entry; 0-0 for none.
    max_deleted_id
        The greatest id that was deleted; 0-0 for none (or if an old file does not have it).
    entries_added
        The number of entries that were ever added (in an old file: the number of entries).
    groups
        Its consumer groups.
    producers
        Its idempotent producers; None if the file does not have them (before Redis 8.6).
    """

    type_name: ClassVar[c.TypeName] = "stream"
    entries: tuple[StreamEntry, ...]
    last_id: StreamId
    first_id: StreamId
    max_deleted_id: StreamId
    entries_added: int
    groups: tuple[StreamGroup, ...]
    producers: StreamProducers | None = None


@attrs.frozen
class Array:
    """A sparse array of Redis 8.8.

    Parameters
    ----------
    elements
        The element at each index that has one, as text.
    cursor
        The index at which an element was inserted last (``ARINSERT``); None for nowhere yet.
    """

    type_name: ClassVar[c.TypeName] = "array"
    elements: Mapping[int, bytes]
    cursor: int | None = None


@attrs.frozen
class Module:
    """A value of a module's own type, which only that module understands.

    Parameters
    ----------
    id
        The module's 64-bit id, see `name` and `version`.
    body
        Its values as they are in the file, with their end mark.
    """

    type_name: ClassVar[c.TypeName] = "module"
    id: int
    body: bytes

    @property
    def name(self) -> str:
        """The name of the module's type, of nine characters."""
        return module_name(self.id)

    @property
    def version(self) -> int:
        """The version of the encoding, as the module counts them."""
        return self.id & ((1 << c.MODULE_VERSION_BITS) - 1)


def module_name(module_id: int) -> str:
    """Return the name that is part of a module's id.

    Examples
    --------
    >>> module_name(0x45E25238DF912C03)
    'ReJSON-RL'
    """
    shifts = range(c.MODULE_VERSION_BITS, c.MODULE_VERSION_BITS + 6 * c.MODULE_NAME_LENGTH, 6)
    return "".join(
        c.MODULE_NAME_CHARACTERS[module_id >> shift & 0x3F] for shift in reversed(shifts)
    )


Value = bytes | List | Set | SortedSet | Hash | Stream | Module | Array
"""The value of a key; a string is plain bytes."""


class RawValue(NamedTuple):
    """A value as it is in the file, not decoded.

    It is a named tuple, which is created three times as fast as an attrs class.

    Parameters
    ----------
    type
        The type byte, see :mod:`telstate_rdb.constants`.
    body
        The bytes of the value.
    version
        The RDB version of the file, which determines what the type byte means.
    """

    type: int
    body: bytes
    version: int

    @property
    def type_name(self) -> c.TypeName:
        """The kind of value, as the command ``TYPE`` names it."""
        return c.TYPE_NAMES[self.type]

    def dump(self, version: int | None = None) -> bytes:
        """Return the payload that ``DUMP`` would return, for ``RESTORE``.

        Parameters
        ----------
        version
            The RDB version in the payload (default: the file's). A server refuses a version above
            its own, and a type that is not in :data:`~telstate_rdb.constants.TYPE_VERSIONS` for
            its own.
        """
        return make_payload(self.type, (self.body,), self.version if version is None else version)


def make_payload(type_: int, parts: tuple[bytes, ...], version: int) -> bytes:
    """Make a DUMP payload from a type byte, the parts of a value, and a version."""
    pieces = (bytes((type_,)), *parts, version.to_bytes(2, "little"))
    crc = 0
    for piece in pieces:
        crc = crc64(piece, crc)
    return b"".join((*pieces, crc.to_bytes(8, "little")))
