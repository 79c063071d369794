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

from __future__ import annotations

from telstate_rdb.constants import (
    STREAM_ENTRIES_READ_UNKNOWN,
    STREAM_ENTRY_DELETED,
    STREAM_ENTRY_SAME_FIELDS,
)
from telstate_rdb.errors import RdbParseError
from telstate_rdb.listpack import decode_listpack
from telstate_rdb.source import Source
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
