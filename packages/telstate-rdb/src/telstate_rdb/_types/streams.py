"""Streams: reading them and going over them.

A stream's entries lie in listpacks (nodes), each under the id of its first entry. A node is::

    count, deleted, number of fields, the fields' names, 0        the master entry
    flags, milliseconds and number since the node's id, then      each entry
        with SAME_FIELDS: the values
        without: number of fields, then each field and its value
        and at the end the number of the entry's items

Rules: nodes must hold what their counts say, and the whole must be what `stream_fault`, which the
writer asks too, finds nothing wrong with; otherwise it is :exc:`RdbParseError`.
"""

# Streams: entries into nodes as Redis cuts them, then groups, consumers and what they hold.
#
# Rules: a node is a listpack of at most 100 entries or about 4 kB. Its first element is the *master
# entry*, whose fields an entry with the same fields need not repeat::
#
#     master   count, deleted (0), number of fields, fields, 0
#     entry    flags, ms - master's ms, sequence - master's sequence,
#              then values (same fields), or number of fields and (field, value) pairs,
#              then how many elements of the listpack all that were
#
# Types 15, 19 and 21 differ in counters only. Which of them a stream needs is `lowest_version`.

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from telstate_rdb._bulk.encode_strings import Compress, encode_length, encode_string
from telstate_rdb._packed.common import join_listpack, listpack_entry, listpack_integer
from telstate_rdb._packed.listpack import decode_listpack
from telstate_rdb._source import Source
from telstate_rdb.constants import (
    STREAM_ENTRIES_READ_UNKNOWN,
    STREAM_ENTRY_DELETED,
    STREAM_ENTRY_SAME_FIELDS,
    TYPE_STREAM_LISTPACKS,
    TYPE_STREAM_LISTPACKS_2,
    TYPE_STREAM_LISTPACKS_3,
    TYPE_VERSIONS,
)
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.values import (
    Stream,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
)

_ID_SIZE = 16
_U64 = 2**64 - 1
_NONE = StreamId(0, 0)


def read_stream_1(source: Source) -> Stream:
    """Read a stream of Redis 5 (type 15)."""
    return _read_stream(source, 1)


def read_stream_2(source: Source) -> Stream:
    """Read a stream of Redis 7.0 (type 19)."""
    return _read_stream(source, 2)


def read_stream_3(source: Source) -> Stream:
    """Read a stream of Redis 7.2 (type 21)."""
    return _read_stream(source, 3)


def _read_stream(source: Source, form: int) -> Stream:
    """Read a stream of one of the three forms."""
    nodes = source.read_length()
    source.expect(nodes * (_ID_SIZE + 2))
    entries: list[StreamEntry] = []
    for _ in range(nodes):
        raw_id = source.read_string()
        if len(raw_id) != _ID_SIZE:
            raise source.error(f"a stream's node has an id of {len(raw_id)} bytes")
        node_id = StreamId.from_bytes(raw_id)
        _add_node(entries, node_id, decode_listpack(source.read_string()))
    length = source.read_length()  # early releases of Redis 5 counted wrongly: not compared
    last_id = _read_id(source)
    first_id = entries[0].id if entries else _NONE
    max_deleted_id = _NONE
    entries_added = length
    if form >= 2:
        first_id = _read_id(source)
        max_deleted_id = _read_id(source)
        entries_added = source.read_length()
    count = source.read_length()
    source.expect(count)
    groups = tuple(_read_group(source, form) for _ in range(count))
    stream = Stream(tuple(entries), last_id, first_id, max_deleted_id, entries_added, groups)
    if fault := stream_fault(stream):
        raise RdbParseError(fault)
    return stream


def stream_fault(stream: Stream) -> str | None:
    """Say what is wrong with a stream that no server would load, as a clause; None if nothing is.

    Ids must ascend up to the stream's last; names of groups, and of consumers in a group, must not
    come twice; and what is pending must be so once, with one consumer of its group at the most.
    """
    last: StreamId | None = None
    for entry in stream.entries:
        if last is not None and entry.id <= last:
            return f"a stream's entry {entry.id} does not come after the one before"
        last = entry.id
    if last is not None and last > stream.last_id:
        return f"a stream has the entry {last} beyond its last id, {stream.last_id}"
    names = [group.name for group in stream.groups]
    if len(set(names)) != len(names):
        return "a stream has two groups of one name"
    for group in stream.groups:
        if fault := _group_fault(group):
            return f"the group {group.name!r} of a stream has {fault}"
    return None


def _group_fault(group: StreamGroup) -> str | None:
    """Say what is wrong with a group."""
    known = {entry.id for entry in group.pending}
    if len(known) != len(group.pending):
        return "an entry pending twice"
    names = [consumer.name for consumer in group.consumers]
    if len(set(names)) != len(names):
        return "two consumers of one name"
    owned = [one for consumer in group.consumers for one in consumer.pending]
    if not known.issuperset(owned):
        return "a consumer with what is not pending in the group"
    if len(set(owned)) != len(owned):
        return "an entry pending with two consumers, or twice with one"
    return None


def _read_raw_id(source: Source) -> StreamId:
    """Read an id of 16 bytes."""
    return StreamId.from_bytes(source.read(_ID_SIZE))


def _read_id(source: Source) -> StreamId:
    """Read an id of two lengths."""
    return StreamId(source.read_length(), source.read_length())


def _read_group(source: Source, form: int) -> StreamGroup:
    """Read a consumer group."""
    name = source.read_string()
    last_id = _read_id(source)
    entries_read: int | None = None
    if form >= 2:
        number = source.read_length()
        entries_read = None if number == STREAM_ENTRIES_READ_UNKNOWN else number
    count = source.read_length()
    source.expect(count * (_ID_SIZE + 9))
    pending = []
    for _ in range(count):
        pending_id = _read_raw_id(source)
        pending.append(StreamPending(pending_id, source.read_signed(8), source.read_length()))
    count = source.read_length()
    source.expect(count * 10)
    consumers = tuple(_read_consumer(source, form) for _ in range(count))
    return StreamGroup(name, last_id, entries_read, tuple(pending), consumers)


def _read_consumer(source: Source, form: int) -> StreamConsumer:
    """Read a consumer of a group."""
    name = source.read_string()
    seen_time = source.read_signed(8)
    active_time = source.read_signed(8) if form >= 3 else None
    count = source.read_length()
    source.expect(count * _ID_SIZE)
    pending = tuple(_read_raw_id(source) for _ in range(count))
    return StreamConsumer(name, seen_time, active_time, pending)


def _add_node(entries: list[StreamEntry], node_id: StreamId, items: list[bytes]) -> None:
    """Append the entries of a node."""
    try:
        _add_entries(entries, node_id, items)
    except (IndexError, ValueError):
        raise RdbParseError(f"the stream's node {node_id} does not hold what it says") from None


def _add_entries(entries: list[StreamEntry], node_id: StreamId, items: list[bytes]) -> None:
    """Append the entries of a node; IndexError or ValueError if it is not a sound one."""
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
        if flags & STREAM_ENTRY_SAME_FIELDS:
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
        if flags & STREAM_ENTRY_DELETED:
            deleted -= 1
            continue
        valid -= 1
        entries.append(StreamEntry(entry_id, fields))
    if valid or deleted or position != len(items):
        raise ValueError


def skip_stream_1(source: Source) -> None:
    """Go over a stream of Redis 5 (type 15)."""
    _skip_stream(source, 1)


def skip_stream_2(source: Source) -> None:
    """Go over a stream of Redis 7.0 (type 19)."""
    _skip_stream(source, 2)


def skip_stream_3(source: Source) -> None:
    """Go over a stream of Redis 7.2 (type 21)."""
    _skip_stream(source, 3)


def _skip_stream(source: Source, form: int) -> None:
    """Go over a stream of one of the three forms."""
    nodes = source.read_length()
    source.expect(nodes * (_ID_SIZE + 2))
    for _ in range(nodes):
        source.skip_string()
        source.skip_string()
    for _ in range(3 if form < 2 else 8):
        source.read_length()
    groups = source.read_length()
    source.expect(groups)
    for _ in range(groups):
        source.skip_string()
        for _ in range(2 if form < 2 else 3):
            source.read_length()
        for _ in range(source.read_length()):
            source.skip(_ID_SIZE + 8)
            source.read_length()
        for _ in range(source.read_length()):
            source.skip_string()
            source.skip(8 if form < 3 else 16)
            source.skip(_ID_SIZE * source.read_length())


NODE_ENTRIES = 100
NODE_BYTES = 4096
_ID = struct.Struct(">QQ")
_MILLISECONDS = struct.Struct("<q")
_NO_ID = StreamId(0, 0)
_VERSION_2 = TYPE_VERSIONS[TYPE_STREAM_LISTPACKS_2]
_VERSION_3 = TYPE_VERSIONS[TYPE_STREAM_LISTPACKS_3]


def lowest_stream_version(stream: Stream) -> int:
    """Give the lowest RDB version that holds a stream with all of its counters."""
    if any(
        consumer.active_time is not None for group in stream.groups for consumer in group.consumers
    ):
        return _VERSION_3
    if stream != without_counters(stream):
        return _VERSION_2
    return TYPE_VERSIONS[TYPE_STREAM_LISTPACKS]


def without_counters(stream: Stream) -> Stream:
    """Give the stream as a server before 7.0 knew it: all its data, without the newer counters.

    What falls away: how many entries were ever added, the greatest id deleted, how many entries
    each group has read, and when each consumer was last active. The result fits into version 9.
    """
    groups = tuple(
        attrs.evolve(
            group,
            entries_read=None,
            consumers=tuple(attrs.evolve(one, active_time=None) for one in group.consumers),
        )
        for group in stream.groups
    )
    return attrs.evolve(
        stream,
        first_id=stream.entries[0].id if stream.entries else _NO_ID,
        max_deleted_id=_NO_ID,
        entries_added=len(stream.entries),
        groups=groups,
    )


def encode_stream(stream: Stream, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Write a stream in the type that `version` has for it: the type and the bytes."""
    if fault := stream_fault(stream):
        raise RdbWriteError(f"No server would load this stream: {fault}.")
    nodes = list(_nodes(stream.entries))
    parts = [encode_length(len(nodes))]
    for first, listpack in nodes:
        parts += (b"\x10", _ID.pack(*first), encode_string(listpack, compress))
    parts += (encode_length(len(stream.entries)), _lengths(*stream.last_id))
    if version >= _VERSION_2:
        parts.append(_lengths(*stream.first_id, *stream.max_deleted_id, stream.entries_added))
    parts.append(encode_length(len(stream.groups)))
    for group in stream.groups:
        parts += _group(group, version, compress)
    if version >= _VERSION_3:
        return TYPE_STREAM_LISTPACKS_3, b"".join(parts)
    kind = TYPE_STREAM_LISTPACKS_2 if version >= _VERSION_2 else TYPE_STREAM_LISTPACKS
    return kind, b"".join(parts)


def _lengths(*numbers: int) -> bytes:
    return b"".join(map(encode_length, numbers))


def _group(group: StreamGroup, version: int, compress: Compress | None) -> Iterator[bytes]:
    yield encode_string(group.name, compress)
    yield _lengths(*group.last_id)
    if version >= _VERSION_2:
        read = group.entries_read
        yield encode_length(STREAM_ENTRIES_READ_UNKNOWN if read is None else read)
    yield encode_length(len(group.pending))
    for pending in group.pending:
        yield _ID.pack(*pending.id) + _MILLISECONDS.pack(pending.delivery_time)
        yield encode_length(pending.delivery_count)
    yield encode_length(len(group.consumers))
    for consumer in group.consumers:
        yield encode_string(consumer.name, compress)
        yield _MILLISECONDS.pack(consumer.seen_time)
        if version >= _VERSION_3:
            active = consumer.active_time
            yield _MILLISECONDS.pack(consumer.seen_time if active is None else active)
        yield encode_length(len(consumer.pending))
        yield from (_ID.pack(*identifier) for identifier in consumer.pending)


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
        same = fields == self.fields
        elements = [
            listpack_integer(STREAM_ENTRY_SAME_FIELDS if same else 0),
            listpack_integer(_wrapped(entry.id.milliseconds - self.first.milliseconds)),
            listpack_integer(_wrapped(entry.id.sequence - self.first.sequence)),
        ]
        if same:
            elements += [listpack_entry(value) for _, value in entry.fields]
        else:
            elements.append(listpack_integer(len(fields)))
            elements += [listpack_entry(text) for pair in entry.fields for text in pair]
        elements.append(listpack_integer(len(elements)))
        self.elements += elements
        self.size += sum(map(len, elements))
        self.count += 1

    def is_full_for(self, entry: StreamEntry) -> bool:
        size = sum(len(field) + len(value) for field, value in entry.fields)
        return self.count >= NODE_ENTRIES or self.size + size >= NODE_BYTES

    def close(self) -> tuple[StreamId, bytes]:
        master = [listpack_integer(self.count), listpack_integer(0)]
        master.append(listpack_integer(len(self.fields)))
        master += map(listpack_entry, self.fields)
        master.append(listpack_integer(0))
        return self.first, join_listpack(master + self.elements)


def _wrapped(difference: int) -> int:
    """Give a difference as 64 bits, signed: what is beyond wraps round, here and when it is read."""
    return (difference + (1 << 63)) % (1 << 64) - (1 << 63)


def _nodes(entries: tuple[StreamEntry, ...]) -> Iterator[tuple[StreamId, bytes]]:
    """Give the nodes: the id of the first entry of each, and the listpack."""
    node: _Node | None = None
    for entry in entries:
        if node is None or node.is_full_for(entry):
            if node is not None:
                yield node.close()
            node = _Node(entry)
        node.add(entry)
    if node is not None:
        yield node.close()
