"""Comparing two files: which keys, values and expiries differ.

The first file is read into an index of 57 bytes and the name for each key: a digest of the value, not the
value itself. Then the second file is read and compared with the index. Values are equal whatever their
encoding, their order where it has no meaning, and the version of the file.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

import attrs

from telstate_rdb._source import Progress, RdbSource, read_from_start
from telstate_rdb.convert import library_name
from telstate_rdb.reader import read_rdb
from telstate_rdb.records import AuxiliaryRecord, FunctionLibrary, KeyRecord
from telstate_rdb.selection import Selection, read_selected
from telstate_rdb.values import (
    Array,
    Hash,
    List,
    Module,
    Set,
    SortedSet,
    Stream,
    StreamConsumer,
    StreamGroup,
    Value,
)

What = Literal["only in A", "only in B", "type", "value", "expiry"]
"""How a key differs."""

Sign = Literal["-", "+"]
"""Which of two files has something: the first or the second."""

LIBRARY = "function library"
"""The type of a difference between function libraries, which have no database."""

_Place = tuple[int | None, bytes]
_Parts = list[tuple[bytes, ...]]
_PartsReader = Callable[[Collection[_Place]], dict[_Place, _Parts]]

_GROUP_BYTES = 1 << 26  # of values that are compared at once in full
_ENTRY = struct.Struct("<16sqQQB")  # digest, expiry, elements, bytes, type
_NO_EXPIRY = -1  # which servers take as none, too
_TYPES = ("string", "list", "set", "zset", "hash", "stream", "module", "array", LIBRARY)


class Side(NamedTuple):
    """A key in one of two files.

    Parameters
    ----------
    type
        Its type, as the command ``TYPE`` names it.
    elements
        The number of its elements, fields, members or entries; the bytes of a string.
    size
        The number of bytes in all of its elements.
    expiry
        When it expires, in milliseconds since 1970; None for never.
    """

    type: str
    elements: int
    size: int
    expiry: int | None


class Change(NamedTuple):
    """A part of a value that only one of two files has: ``-`` for the first, ``+`` for the second."""

    sign: Sign
    parts: tuple[bytes, ...]


@attrs.frozen
class Difference:
    """A key that differs.

    Parameters
    ----------
    what
        How it differs. A key whose value and expiry differ has ``"value"``.
    database
        The number of its database; None for a function library.
    key
        Its name.
    before, after
        The key in the first and in the second file; None if it is not there.
    changes
        The parts of the value that differ, if they were asked for.
    """

    what: What
    database: int | None
    key: bytes
    before: Side | None
    after: Side | None
    changes: tuple[Change, ...] = ()


def compare_rdb(
    before: RdbSource,
    after: RdbSource,
    *,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    ignore_times: bool = False,
    full: bool = False,
    progress: tuple[Progress | None, Progress | None] = (None, None),
    names: tuple[str | None, str | None] = (None, None),
) -> Iterator[Difference]:
    """Compare two files.

    Parameters
    ----------
    before, after
        The files, as for :func:`telstate_rdb.read_rdb`. With `full` they are read more than once, so
        they must be paths, bytes, or open files that can seek; these are read from their start.
    selection
        The keys to compare.
    ignore_times
        Whether the times at which consumers of streams were last seen make no difference.
    full
        Whether the parts of values that differ are found. A list is compared from both of its ends.
    progress, names
        The functions that are called with the progress, and the names in errors, one for each file.

    Yields
    ------
    Difference
        The keys that differ, in the order of the second file, then those that only the first has.

    Raises
    ------
    RdbParseError, OSError
        As for :func:`telstate_rdb.read_rdb`.

    Examples
    --------
    >>> old = b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\x00\\x04mode\\x01c" b"\\xff"
    >>> new = b"REDIS0003" b"\\x00\\x04gain\\x032.5" b"\\xff"
    >>> for difference in compare_rdb(old, new):
    ...     print(difference.what, difference.key)
    value b'gain'
    only in A b'mode'
    """
    if full:
        before, after = read_from_start(before), read_from_start(after)
    found = _compare(before, after, selection, ignore_times, progress, names)
    if not full:
        return found
    readers = tuple(
        functools.partial(_read_parts, source, watch, name, ignore_times)
        for source, watch, name in zip((before, after), progress, names, strict=True)
    )
    return _explain(found, readers)


def _compare(
    before: RdbSource,
    after: RdbSource,
    selection: Selection,
    ignore_times: bool,
    progress: tuple[Progress | None, Progress | None],
    names: tuple[str | None, str | None],
) -> Iterator[Difference]:
    index: dict[int | None, dict[bytes, bytes]] = {}
    records = read_selected(before, selection, auxiliary=True, progress=progress[0], name=names[0])
    for database, key, entry in _entries(records, ignore_times):
        index.setdefault(database, {})[key] = entry
    records = read_selected(after, selection, auxiliary=True, progress=progress[1], name=names[1])
    for database, key, entry in _entries(records, ignore_times):
        old = index.get(database, {}).pop(key, None)
        if old == entry:
            continue
        new = _side(entry)
        if old is None:
            yield Difference("only in B", database, key, None, new)
            continue
        what: What = "expiry" if old[:16] == entry[:16] else "value"
        if old[-1] != entry[-1]:
            what = "type"
        yield Difference(what, database, key, _side(old), new)
    for database, rest in index.items():
        for key, entry in rest.items():
            yield Difference("only in A", database, key, _side(entry), None)


def _side(entry: bytes) -> Side:
    _, expiry, elements, size, kind = _ENTRY.unpack(entry)
    return Side(_TYPES[kind], elements, size, None if expiry == _NO_EXPIRY else expiry)


def _entries(
    records: Iterable[KeyRecord[Value] | AuxiliaryRecord], ignore_times: bool
) -> Iterator[tuple[int | None, bytes, bytes]]:
    """Return the database, the name and the index entry of each key and function library."""
    for record in records:
        if isinstance(record, KeyRecord):
            kind = "string" if isinstance(record.value, bytes) else record.value.type_name
            summary = _summarise(record.value, ignore_times)
            expiry = _NO_EXPIRY if record.expiry is None else record.expiry
            entry = _ENTRY.pack(summary[0], expiry, *summary[1:], _TYPES.index(kind))
            yield record.database, record.key, entry
        elif isinstance(record, FunctionLibrary):
            digest = blake2b(record.code, digest_size=16).digest()
            size = len(record.code)
            entry = _ENTRY.pack(digest, _NO_EXPIRY, size, size, _TYPES.index(LIBRARY))
            yield None, library_name(record.code), entry


def _summarise(value: Value, ignore_times: bool) -> tuple[bytes, int, int]:
    """Return a digest of a value, its number of elements and its number of bytes."""
    if isinstance(value, bytes):
        return blake2b(value, digest_size=16).digest(), len(value), len(value)
    digest = blake2b(digest_size=16)
    size = 0
    for part in _parts(value, ignore_times):
        for text in part:
            size += len(text)
            digest.update(len(text).to_bytes(8, "little"))
            digest.update(text)
    return digest.digest(), _count(value), size


def _count(value: Value) -> int:
    match value:
        case bytes():
            return len(value)
        case List() | Array():
            return len(value.elements)
        case Set() | SortedSet():
            return len(value.members)
        case Hash():
            return len(value.fields)
        case Stream():
            return len(value.entries)
        case Module():
            return len(value.body)


def _parts(value: Value, ignore_times: bool) -> Iterable[tuple[bytes, ...]]:
    """Return the parts of a value, in an order that depends on nothing but the value."""
    match value:
        case bytes():
            return [(value,)]
        case List():
            return ((element,) for element in value.elements)
        case Set():
            return ((member,) for member in sorted(value.members))
        case SortedSet():
            pairs = zip(value.members, value.scores, strict=True)
            return sorted((member, _score(score)) for member, score in pairs)
        case Hash():
            return sorted(_fields(value))
        case Stream():
            return _stream_parts(value, ignore_times)
        case Array():
            return ((b"%d" % index, text) for index, text in sorted(value.elements.items()))
        case Module():
            return [(b"%d" % value.id, value.body)]


def _score(score: float) -> bytes:
    """Return a score as text; -0 as 0, which servers write in its place."""
    return repr(score + 0.0).encode()


def _fields(value: Hash) -> Iterator[tuple[bytes, ...]]:
    for field, text in value.fields.items():
        expiry = value.expiries.get(field)
        yield (field, text) if expiry is None else (field, text, b"expires %d" % expiry)


def _stream_parts(value: Stream, ignore_times: bool) -> Iterator[tuple[bytes, ...]]:
    for entry in value.entries:
        yield str(entry.id).encode(), *(text for field in entry.fields for text in field)
    for name in ("last_id", "first_id", "max_deleted_id", "entries_added"):
        yield name.encode(), str(getattr(value, name)).encode()
    for group in sorted(value.groups, key=lambda group: group.name):
        yield from _group_parts(group, ignore_times)


def _group_parts(group: StreamGroup, ignore_times: bool) -> Iterator[tuple[bytes, ...]]:
    position = f"last_id {group.last_id} entries_read {group.entries_read}"
    yield b"group", group.name, position.encode()
    for pending in group.pending:
        delivery = f"{pending.id} delivered {pending.delivery_count} times"
        yield b"pending in", group.name, f"{delivery}, at {pending.delivery_time}".encode()
    for consumer in sorted(group.consumers, key=lambda consumer: consumer.name):
        yield b"consumer of", group.name, consumer.name, _consumer(consumer, ignore_times)


def _consumer(consumer: StreamConsumer, ignore_times: bool) -> bytes:
    pending = "pending " + " ".join(map(str, consumer.pending))
    if ignore_times:
        return pending.encode()
    return f"seen {consumer.seen_time} active {consumer.active_time} {pending}".encode()


# ---------------------------------------------------------------------------------- what differs


def _explain(
    differences: Iterable[Difference], readers: Sequence[_PartsReader]
) -> Iterator[Difference]:
    """Add what differs to differences, as many at once as memory allows."""
    group: list[Difference] = []
    size = 0
    for difference in differences:
        more = sum(side.size for side in (difference.before, difference.after) if side)
        if group and size + more > _GROUP_BYTES:
            yield from _explain_group(group, readers)
            group, size = [], 0
        group.append(difference)
        size += more
    yield from _explain_group(group, readers)


def _explain_group(
    group: Sequence[Difference], readers: Sequence[_PartsReader]
) -> Iterator[Difference]:
    wanted = {(one.database, one.key) for one in group if one.what == "value"}
    old, new = (read(wanted) if wanted else {} for read in readers)
    for difference in group:
        place = difference.database, difference.key
        if place in wanted:
            kind = "" if difference.before is None else difference.before.type
            find = _FINDERS.get(kind, _changes)
            difference = attrs.evolve(difference, changes=tuple(find(old[place], new[place])))
        yield difference


def _read_parts(
    source: RdbSource,
    progress: Progress | None,
    name: str | None,
    ignore_times: bool,
    wanted: Collection[_Place],
) -> dict[_Place, _Parts]:
    keys = {key for _, key in wanted}
    found: dict[_Place, _Parts] = {}
    records = read_rdb(
        read_from_start(source),
        keys=keys.__contains__,
        auxiliary=True,
        progress=progress,
        name=name,
    )
    for record in records:
        if isinstance(record, KeyRecord):
            if (place := (record.database, record.key)) in wanted:
                found[place] = list(_parts(record.value, ignore_times))
        elif isinstance(record, FunctionLibrary):
            found[None, library_name(record.code)] = [(record.code,)]
    return found


def _changes(old: _Parts, new: _Parts) -> Iterator[Change]:
    """Return the parts that only one side has, in their order."""
    only_old, only_new = set(old).difference(new), set(new).difference(old)
    found = [(part, Change("-", part)) for part in only_old]
    found += [(part, Change("+", part)) for part in only_new]
    for _, change in sorted(found, key=lambda pair: (pair[0][:1], pair[1].sign == "+", pair[0])):
        yield change


def _string_changes(old: _Parts, new: _Parts) -> Iterator[Change]:
    yield from (Change("-", old[0]), Change("+", new[0]))


def _list_changes(old: _Parts, new: _Parts) -> Iterator[Change]:
    """Return what is between the beginning and the end that both lists have."""
    shorter = min(len(old), len(new))
    start = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    rest = shorter - start
    end = next((n for n in range(rest) if old[-1 - n] != new[-1 - n]), rest)
    sides: tuple[tuple[Sign, _Parts], ...] = (("-", old), ("+", new))
    for sign, parts in sides:
        for number in range(start, len(parts) - end):
            yield Change(sign, (b"%d" % number, *parts[number]))


_FINDERS = {"string": _string_changes, LIBRARY: _string_changes, "list": _list_changes}
