"""Streams: entries into nodes as Redis cuts them, then groups, consumers and what they hold.

Rules: a node is a listpack of at most 100 entries or about 4 kB. Its first element is the *master
entry*, whose fields an entry with the same fields need not repeat::

    master   count, deleted (0), number of fields, fields, 0
    entry    flags, ms - master's ms, sequence - master's sequence,
             then values (same fields), or number of fields and (field, value) pairs,
             then how many elements of the listpack all that were

Types 15, 19 and 21 differ in counters only. Which of them a stream needs is `lowest_version`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from telstate_rdb.constants import (
    STREAM_ENTRIES_READ_UNKNOWN,
    STREAM_ENTRY_SAME_FIELDS,
    TYPE_STREAM_LISTPACKS,
    TYPE_STREAM_LISTPACKS_2,
    TYPE_STREAM_LISTPACKS_3,
    TYPE_VERSIONS,
)
from telstate_rdb.encoding.packed import join_listpack, listpack_entry, listpack_integer
from telstate_rdb.encoding.strings import Compress, encode_length, encode_string
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.streams import stream_fault
from telstate_rdb.values import Stream, StreamEntry, StreamGroup, StreamId

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
