"""Streams: entries in listpacks (*nodes*), then groups, consumers and what is pending with them.

A node is stored under the id of its first entry and has at most 100 entries or about 4 kB. It begins with
the *master entry*, whose fields an entry with the same fields need not repeat::

    master   count, deleted, number of fields, fields, 0
    entry    flags, ms - node's ms, sequence - node's sequence,
             then values (same fields), or number of fields and (field, value) pairs,
             then the number of the entry's elements

Types 15, 19 and 21 differ in counters only; 26 and 27 also have idempotent producers and, in 27, entries
that were given back. A node must hold what its counts say, and the stream must be
consistent, see :func:`find_stream_fault`; otherwise reading it is :exc:`RdbParseError` and writing it
:exc:`RdbWriteError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_length, encode_lengths, encode_string
from telstate_rdb._packed.listpack import (
    decode_listpack,
    encode_listpack_entry,
    encode_listpack_integer,
    join_listpack,
)
from telstate_rdb._source import Source
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.lzf import Compress
from telstate_rdb.values import (
    Stream,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    StreamProducers,
)

WRITTEN_TYPES = (c.TYPE_STREAM_LISTPACKS, c.TYPE_STREAM_LISTPACKS_2, c.TYPE_STREAM_LISTPACKS_3)
"""The types of streams that are written."""

STREAM_TYPES = (*WRITTEN_TYPES, c.TYPE_STREAM_LISTPACKS_4, c.TYPE_STREAM_LISTPACKS_5)
"""The types that hold streams: each has counters that those before it have not."""

NODE_ENTRIES = 100
NODE_BYTES = 4096
_ID = struct.Struct(">QQ")
_MILLISECONDS = struct.Struct("<q")
_NO_ID = StreamId(0, 0)
_U64 = 2**64 - 1


# ----------------------------------------------------------------------------------------- reading


def read_stream(type_: int, source: Source) -> Stream:
    """Read a stream of one of the types in `STREAM_TYPES`."""
    nodes = source.read_length()
    source.expect(nodes * (_ID.size + 2))
    entries: list[StreamEntry] = []
    for _ in range(nodes):
        raw_id = source.read_string()
        if len(raw_id) != _ID.size:
            raise source.error(f"a node of a stream has an id of {len(raw_id)} bytes")
        _read_node(entries, StreamId.from_bytes(raw_id), decode_listpack(source.read_string()))
    length = source.read_length()  # early releases of Redis 5 counted wrongly: not compared
    last_id = _read_id(source)
    first_id = entries[0].id if entries else _NO_ID
    max_deleted_id = _NO_ID
    entries_added = length
    if type_ != c.TYPE_STREAM_LISTPACKS:
        first_id = _read_id(source)
        max_deleted_id = _read_id(source)
        entries_added = source.read_length()
    count = source.read_length()
    source.expect(count)
    groups = tuple(_read_group(type_, source) for _ in range(count))
    if type_ == c.TYPE_STREAM_LISTPACKS:
        groups = _with_derived_counters(groups, length, first_id, last_id)
    producers = _read_producers(source) if type_ >= c.TYPE_STREAM_LISTPACKS_4 else None
    stream = Stream(
        tuple(entries), last_id, first_id, max_deleted_id, entries_added, groups, producers
    )
    if fault := find_stream_fault(stream):
        raise RdbParseError(fault)
    return stream


def _read_raw_id(source: Source) -> StreamId:
    """Read an id of 16 bytes."""
    return StreamId.from_bytes(source.read(_ID.size))


def _read_id(source: Source) -> StreamId:
    """Read an id of two lengths."""
    return StreamId(source.read_length(), source.read_length())


def _read_group(type_: int, source: Source) -> StreamGroup:
    name = source.read_string()
    last_id = _read_id(source)
    entries_read: int | None = None
    if type_ != c.TYPE_STREAM_LISTPACKS:
        number = source.read_length()
        entries_read = None if number == c.STREAM_ENTRIES_READ_UNKNOWN else number
    count = source.read_length()
    source.expect(count * (_ID.size + 9))
    pending = tuple(
        StreamPending(_read_raw_id(source), source.read_signed(8), source.read_length())
        for _ in range(count)
    )
    count = source.read_length()
    source.expect(count * 10)
    consumers = tuple(_read_consumer(type_, source) for _ in range(count))
    returned: tuple[StreamId, ...] = ()
    if type_ >= c.TYPE_STREAM_LISTPACKS_5:
        count = source.read_length()
        source.expect(count * _ID.size)
        returned = tuple(_read_raw_id(source) for _ in range(count))
    return StreamGroup(name, last_id, entries_read, pending, consumers, returned)


def _with_derived_counters(
    groups: tuple[StreamGroup, ...], length: int, first_id: StreamId, last_id: StreamId
) -> tuple[StreamGroup, ...]:
    """Return groups with the number of entries read that servers derive where a file does not have it."""
    return tuple(
        attrs.evolve(group, entries_read=_derive_entries_read(group, length, first_id, last_id))
        for group in groups
    )


def _derive_entries_read(
    group: StreamGroup, length: int, first_id: StreamId, last_id: StreamId
) -> int | None:
    if not length or group.last_id < first_id:
        return 0
    if group.last_id == last_id:
        return length
    return 1 if group.last_id == first_id else None


def _read_producers(source: Source) -> StreamProducers:
    duration, max_entries = source.read_length(), source.read_length()
    messages: dict[bytes, dict[bytes, StreamId]] = {}
    for _ in range(source.read_length()):
        name = source.read_string()
        messages[name] = {}
        for _ in range(source.read_length()):
            message = source.read_string()
            messages[name][message] = _read_id(source)
    return StreamProducers(
        duration, max_entries, messages, source.read_length(), source.read_length()
    )


def _read_consumer(type_: int, source: Source) -> StreamConsumer:
    name = source.read_string()
    seen_time = source.read_signed(8)
    active_time = source.read_signed(8) if type_ >= c.TYPE_STREAM_LISTPACKS_3 else None
    count = source.read_length()
    source.expect(count * _ID.size)
    pending = tuple(_read_raw_id(source) for _ in range(count))
    return StreamConsumer(name, seen_time, active_time, pending)


def _read_node(entries: list[StreamEntry], node_id: StreamId, items: list[bytes]) -> None:
    """Append the entries of a node."""
    try:
        _read_entries(entries, node_id, items)
    except (IndexError, ValueError):
        raise RdbParseError(f"the node {node_id} of a stream contradicts its counts") from None


def _read_entries(entries: list[StreamEntry], node_id: StreamId, items: list[bytes]) -> None:
    """Append the entries of a node; raise IndexError or ValueError if it is malformed."""
    valid, deleted, field_count = int(items[0]), int(items[1]), int(items[2])
    position = 3 + field_count
    if field_count < 0 or items[position] != b"0":
        raise ValueError
    names = items[3:position]
    position += 1
    for _ in range(valid + deleted):
        flags = int(items[position])
        entry_id = StreamId(  # the differences are those of unsigned numbers
            node_id.milliseconds + int(items[position + 1]) & _U64,
            node_id.sequence + int(items[position + 2]) & _U64,
        )
        start = position
        position += 3
        if flags & c.STREAM_ENTRY_SAME_FIELDS:
            stop = position + field_count
            fields = tuple(zip(names, items[position:stop]))
        else:
            count = int(items[position])
            stop = position + 1 + 2 * count
            fields = tuple(zip(items[position + 1 : stop : 2], items[position + 2 : stop : 2]))
            if count < 0:
                raise ValueError
        if int(items[stop]) != stop - start:
            raise ValueError
        position = stop + 1
        if flags & c.STREAM_ENTRY_DELETED:
            deleted -= 1
            continue
        valid -= 1
        entries.append(StreamEntry(entry_id, fields))
    if valid or deleted or position != len(items):
        raise ValueError


def skip_stream(type_: int, source: Source) -> None:
    """Skip a stream of one of the types in `STREAM_TYPES`."""
    has_counters = type_ != c.TYPE_STREAM_LISTPACKS
    nodes = source.read_length()
    source.expect(nodes * (_ID.size + 2))
    for _ in range(nodes):
        source.skip_string()
        source.skip_string()
    for _ in range(8 if has_counters else 3):
        source.read_length()
    groups = source.read_length()
    source.expect(groups)
    for _ in range(groups):
        source.skip_string()
        for _ in range(3 if has_counters else 2):
            source.read_length()
        for _ in range(source.read_length()):
            source.skip(_ID.size + 8)
            source.read_length()
        for _ in range(source.read_length()):
            source.skip_string()
            source.skip(16 if type_ >= c.TYPE_STREAM_LISTPACKS_3 else 8)
            source.skip(_ID.size * source.read_length())
        if type_ >= c.TYPE_STREAM_LISTPACKS_5:
            source.skip(_ID.size * source.read_length())
    if type_ >= c.TYPE_STREAM_LISTPACKS_4:
        _read_producers(source)


# ---------------------------------------------------------------------------------------- checking


def find_stream_fault(stream: Stream) -> str | None:
    """Return the reason why no server would load a stream, without a full stop, or None."""
    last: StreamId | None = None
    for entry in stream.entries:
        if last is not None and entry.id <= last:
            return f"the entry {entry.id} of a stream does not come after the one before"
        last = entry.id
    if last is not None and last > stream.last_id:
        return f"a stream has the entry {last} beyond its last id, {stream.last_id}"
    names = [group.name for group in stream.groups]
    if len(set(names)) != len(names):
        return "a stream has two groups with the same name"
    for group in stream.groups:
        if fault := _find_group_fault(group):
            return f"the group {group.name!r} of a stream has {fault}"
    return None


def _find_group_fault(group: StreamGroup) -> str | None:
    known = {entry.id for entry in group.pending}
    if len(known) != len(group.pending):
        return "an entry pending twice"
    names = [consumer.name for consumer in group.consumers]
    if len(set(names)) != len(names):
        return "two consumers with the same name"
    owned = [id_ for consumer in group.consumers for id_ in consumer.pending]
    if not known.issuperset(owned):
        return "a consumer with an entry that is not pending in the group"
    if len(set(owned)) != len(owned):
        return "an entry pending with two consumers, or twice with one"
    return None


# ----------------------------------------------------------------------------------------- writing


def lowest_stream_version(stream: Stream) -> int:
    """Return the lowest RDB version that can hold a stream with all of its counters."""
    if any(
        consumer.active_time is not None for group in stream.groups for consumer in group.consumers
    ):
        return c.TYPE_VERSIONS[c.TYPE_STREAM_LISTPACKS_3]
    if stream != without_counters(stream):
        return c.TYPE_VERSIONS[c.TYPE_STREAM_LISTPACKS_2]
    return c.TYPE_VERSIONS[c.TYPE_STREAM_LISTPACKS]


def without_counters(stream: Stream) -> Stream:
    """Return a stream as a server before 7.0 would know it: all its data, without newer counters.

    The result fits into RDB version 9. It lacks the number of entries ever added, the greatest deleted id,
    how many entries each group has read, and when each consumer was last active.

    Parameters
    ----------
    stream
        The stream, which is not changed.

    Returns
    -------
    Stream
        The same entries, groups and pending entries.

    Examples
    --------
    >>> stream = Stream((), StreamId(9, 1), StreamId(0, 0), StreamId(9, 1), 1, ())
    >>> without_counters(stream).max_deleted_id
    StreamId(milliseconds=0, sequence=0)
    """
    length = len(stream.entries)
    first_id = stream.entries[0].id if length else _NO_ID
    groups = tuple(
        attrs.evolve(
            group,
            consumers=tuple(
                attrs.evolve(consumer, active_time=None) for consumer in group.consumers
            ),
        )
        for group in stream.groups
    )
    return attrs.evolve(
        stream,
        first_id=first_id,
        max_deleted_id=_NO_ID,
        entries_added=length,
        groups=_with_derived_counters(groups, length, first_id, stream.last_id),
        producers=None,
    )


def encode_stream(stream: Stream, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Encode a stream; return its type and bytes."""
    if fault := find_stream_fault(stream):
        raise RdbWriteError(f"No server would load this stream: {fault}.")
    for group in stream.groups:
        if group.returned:
            raise RdbWriteError(
                f"The group {group.name!r} of a stream has entries that were given back, which only "
                "Redis 8.8 can hold. Acknowledge or claim them first."
            )
    type_ = max(type_ for type_ in WRITTEN_TYPES if c.TYPE_VERSIONS[type_] <= version)
    nodes = list(_encode_nodes(stream.entries))
    parts = [encode_length(len(nodes))]
    for first, listpack in nodes:
        parts += (encode_length(_ID.size), _ID.pack(*first), encode_string(listpack, compress))
    parts += (encode_length(len(stream.entries)), encode_lengths(*stream.last_id))
    if type_ != c.TYPE_STREAM_LISTPACKS:
        counters = (*stream.first_id, *stream.max_deleted_id, stream.entries_added)
        parts.append(encode_lengths(*counters))
    parts.append(encode_length(len(stream.groups)))
    for group in stream.groups:
        parts += _encode_group(group, type_, compress)
    return type_, b"".join(parts)


def _encode_group(group: StreamGroup, type_: int, compress: Compress | None) -> Iterator[bytes]:
    yield encode_string(group.name, compress)
    yield encode_lengths(*group.last_id)
    if type_ != c.TYPE_STREAM_LISTPACKS:
        read = group.entries_read
        yield encode_length(c.STREAM_ENTRIES_READ_UNKNOWN if read is None else read)
    yield encode_length(len(group.pending))
    for pending in group.pending:
        yield _ID.pack(*pending.id) + _MILLISECONDS.pack(pending.delivery_time)
        yield encode_length(pending.delivery_count)
    yield encode_length(len(group.consumers))
    for consumer in group.consumers:
        yield encode_string(consumer.name, compress)
        yield _MILLISECONDS.pack(consumer.seen_time)
        if type_ == c.TYPE_STREAM_LISTPACKS_3:
            active = consumer.active_time
            yield _MILLISECONDS.pack(consumer.seen_time if active is None else active)
        yield encode_length(len(consumer.pending))
        yield from (_ID.pack(*id_) for id_ in consumer.pending)


class _Node:
    """A node that is being filled."""

    def __init__(self, first: StreamEntry) -> None:
        self.first = first.id
        self.fields = [field for field, _ in first.fields]
        self.count = 0
        self.elements: list[bytes] = []
        self.size = 0

    def add(self, entry: StreamEntry) -> None:
        fields = [field for field, _ in entry.fields]
        is_same = fields == self.fields
        elements = [
            encode_listpack_integer(c.STREAM_ENTRY_SAME_FIELDS if is_same else 0),
            encode_listpack_integer(_wrap(entry.id.milliseconds - self.first.milliseconds)),
            encode_listpack_integer(_wrap(entry.id.sequence - self.first.sequence)),
        ]
        if is_same:
            elements += [encode_listpack_entry(value) for _, value in entry.fields]
        else:
            elements.append(encode_listpack_integer(len(fields)))
            elements += [encode_listpack_entry(text) for pair in entry.fields for text in pair]
        elements.append(encode_listpack_integer(len(elements)))
        self.elements += elements
        self.size += sum(map(len, elements))
        self.count += 1

    def is_full_for(self, entry: StreamEntry) -> bool:
        size = sum(len(field) + len(value) for field, value in entry.fields)
        return self.count >= NODE_ENTRIES or self.size + size >= NODE_BYTES

    def close(self) -> tuple[StreamId, bytes]:
        master = [encode_listpack_integer(self.count), encode_listpack_integer(0)]
        master.append(encode_listpack_integer(len(self.fields)))
        master += map(encode_listpack_entry, self.fields)
        master.append(encode_listpack_integer(0))
        return self.first, join_listpack(master + self.elements)


def _wrap(difference: int) -> int:
    """Return a difference of unsigned numbers modulo 2**64, as a signed number."""
    return (difference + (1 << 63)) % (1 << 64) - (1 << 63)


def _encode_nodes(entries: tuple[StreamEntry, ...]) -> Iterator[tuple[StreamId, bytes]]:
    """Yield for each node the id of its first entry, and its listpack."""
    node: _Node | None = None
    for entry in entries:
        if node is None or node.is_full_for(entry):
            if node is not None:
                yield node.close()
            node = _Node(entry)
        node.add(entry)
    if node is not None:
        yield node.close()
