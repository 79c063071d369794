"""Values that stay in their file, and are read and decoded when they are needed.

`telstate_rdb.read_in_place` walks a file once and notes where its values are. They are read by ``pread``
from the file that was opened then: one that was replaced by another file since is still there, and one that was
changed is noticed at the next read, because its size or its time of modification has changed. (A mapped file
that is truncated would kill the process.)

Nothing that is in memory depends on the size of a value: of a long sorted set whose members are in order,
only the offset of a member at every 256 KB or so (1 MB if they are long) is kept, so that a range of it, or
its ends, can be read without the rest.
"""

from __future__ import annotations

import io
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, TypeVar

import attrs

from telstate_rdb import constants as c
from telstate_rdb._bulk.read import skip_items, skip_table
from telstate_rdb._bulk.runs import PAIRS, SCORED, TEXT_SCORED, Layout, scan
from telstate_rdb._source import Source, open_path
from telstate_rdb._types.readers import PACKED_DECODERS, codecs_of_version
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lazy import NO_ORDER, LazyTable, TableWalk, read_score, walk
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import Hash, RawValue, SortedSet, Value

LEAST_SIZE = 512
"""A value of fewer bytes in the file takes less memory than its place does, and is read."""

_PIECE = 1 << 21
_EVERYTHING = 1 << 60
_FIRST_READ = 1 << 9  # most of what is read is short, and the rest of a longer value follows
_ASCENDING, _DESCENDING = 1, -1

Result = TypeVar("Result")


class OpenFile:
    """A file that values are read from; it is closed when nothing refers to it any more.

    Parameters
    ----------
    source
        The path of a regular file, or one that is open, which may be closed afterwards.
    name
        Its name in errors (default: the path).
    """

    __slots__ = ("_descriptor", "_state", "name", "version")

    def __init__(
        self, source: str | os.PathLike[str] | io.BufferedReader, name: str | None = None
    ) -> None:
        self._descriptor = -1
        self.version = 0  # of the format, once it is known
        if isinstance(source, io.BufferedReader):
            self._descriptor = os.dup(source.fileno())
            self.name = name
        else:
            with open_path(source) as file:
                self._descriptor = os.dup(file.fileno())
            self.name = name or os.fsdecode(source)
        self._state = self._read_state()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _read_state(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    @property
    def size(self) -> int:
        """Its size in bytes when it was opened."""
        return self._state[0]

    def open(
        self,
        start: int = 0,
        stop: int | None = None,
        key: bytes | None = None,
        at_once: int = _EVERYTHING,
    ) -> Source:
        """Return a source that reads it from one offset to another, at first no more than `at_once`."""
        stop = self.size if stop is None else stop
        part = _Part(self, key, start, stop, at_once)
        source = Source(part, name=self.name)
        source.seek = part.seek
        source.base = start
        source.size = stop
        return source

    def read(self, offset: int, size: int, key: bytes | None = None) -> bytes:
        """Read so many bytes.

        Raises
        ------
        RdbParseError
            If the file was changed since it was opened. It names the key.
        """
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (
            more := os.pread(self._descriptor, size - len(data), offset + len(data))
        ):
            data += more  # the system reads no more than 2 GB at once
        if len(data) < size or self._read_state() != self._state:
            raise RdbParseError(
                "the file was changed after it was opened; open it again",
                file=self.name,
                offset=offset,
                key=key,
            )
        return data


class _Part:
    """The bytes of a file from one offset to another, to be read in order."""

    def __init__(
        self, file: OpenFile, key: bytes | None, offset: int, stop: int, at_once: int
    ) -> None:
        self._file = file
        self._key = key
        self._offset = offset
        self._stop = stop
        self._most = at_once

    def seek(self, offset: int) -> None:
        """Go to an offset in the file."""
        self._offset = offset

    def read(self, size: int, /) -> bytes:
        """Return bytes, usually more than asked for: a large piece takes less time than small ones."""
        count = min(max(size, _PIECE), self._stop - self._offset, self._most)
        self._most = _EVERYTHING
        data = self._file.read(self._offset, count, self._key)
        self._offset += count
        return data


@attrs.frozen(eq=False)
class StoredValue:
    """A value that is in its file; made by :func:`telstate_rdb.read_in_place`.

    Parameters
    ----------
    file
        The file.
    type
        The type byte, see :mod:`telstate_rdb.constants`.
    offset, size
        Where the value is in the file, in bytes.
    key
        Its key, for error messages.
    count
        The number of members or fields, at least one; of a string, 1. A repeated field counts twice.
    score
        The score that all members of a sorted set have; None for another value.
    order
        1 if each member of a sorted set is greater than the one before it, -1 if each is less,
        otherwise another number.
    """

    is_stored: ClassVar[bool] = True

    file: OpenFile
    type: int
    offset: int
    size: int
    key: bytes
    count: int = 1
    score: float | None = None
    order: int = 0
    _tail: int = 0  # the number of bytes after each member of a sorted set
    _last: int = 0  # the offset of the last member, if they are in order
    _windows: array[int] | None = attrs.field(default=None, repr=False)

    @property
    def type_name(self) -> c.TypeName:
        """The kind of value, as the command ``TYPE`` names it."""
        return c.TYPE_NAMES[self.type]

    @property
    def version(self) -> int:
        """The RDB version of the file."""
        return self.file.version

    @property
    def raw(self) -> RawValue:
        """The value as in the file, in one piece."""
        body = self.file.read(self.offset, self.size, self.key)
        return RawValue(self.type, body, self.version)

    @property
    def is_ordered(self) -> bool:
        """Whether the members of a sorted set are known to be in order, ascending or descending."""
        return self.order in (_ASCENDING, _DESCENDING)

    @property
    def can_be_copied(self) -> bool:
        """Whether every server accepts the value as it is: its checksum is right and no member is repeated."""
        return self.type == c.TYPE_STRING or self.is_ordered

    @property
    def has_ranges(self) -> bool:
        """Whether a range of its members can be read without the others."""
        return self._windows is not None

    def pieces(self) -> Iterator[bytes]:
        """Return an iterator over the bytes of the value, two megabytes at a time."""
        for start in range(self.offset, self.offset + self.size, _PIECE):
            yield self.file.read(start, min(_PIECE, self.offset + self.size - start), self.key)

    def dump(self, version: int | None = None) -> bytes:
        """Return the payload that ``DUMP`` would return, see :meth:`RawValue.dump`."""
        return self.raw.dump(version)

    def decode(self) -> Value:
        """Return the value, read and decoded.

        Raises
        ------
        RdbParseError
            If the file was changed, or the value is malformed although the checksum of the file is right.
        """
        return self._read(self.offset, codecs_of_version(self.version)[self.type][0])

    def read_head(self, size: int) -> tuple[bytes, int]:
        """Return up to `size` bytes of the beginning of a string, and the length of all of it."""

        def read(source: Source) -> tuple[bytes, int]:
            first = source.read_byte()
            source.position -= 1
            if first >= c.LENGTH_SPECIAL:
                whole = source.read_string()
                return whole[:size], len(whole)
            length = source.read_length()
            return source.read(min(size, length)), length

        return self._read(self.offset, read)

    def find_ends(self) -> tuple[bytes, bytes]:
        """Return the smallest and the largest member of a sorted set."""
        if not self.is_ordered:
            value = self.decode()
            assert isinstance(value, SortedSet)
            return min(value.members), max(value.members)
        ends = self._read(self.offset, _read_first), self._read(self._last, Source.read_string)
        return ends if self.order == _ASCENDING else ends[::-1]

    def read_range(self, start: bytes, stop: bytes) -> list[bytes]:
        """Return the members from the last one before `start` to the last one before `stop`, and some more.

        It is for sorted sets that have ranges. The members are sorted, and are all that there are between the
        first and the last one returned; there is at least one.
        """
        assert self._windows is not None
        count = len(self._windows) // 2
        numbers = range(count)
        if self.order == _ASCENDING:
            first = max(bisect_left(numbers, start, key=self._first_member) - 1, 0)
            last = max(bisect_left(numbers, stop, key=self._first_member), first + 1)
            return self._read_windows(first, last)
        # From the end of the file, where the first member of each window is the largest.
        backwards: Callable[[int], bytes] = lambda number: self._first_member(count - 1 - number)
        start_window = bisect_left(numbers, start, key=backwards)
        first = max(start_window - 1, 0)
        last = min(max(bisect_left(numbers, stop, key=backwards), start_window) + 1, count)
        return self._read_windows(count - last, count - first)[::-1]

    def _first_member(self, window: int) -> bytes:
        assert self._windows is not None
        return self._read(self._windows[2 * window], Source.read_string)

    def _read_windows(self, first: int, last: int) -> list[bytes]:
        """Return the members in some windows, in the order of the file."""
        windows = self._windows
        assert windows is not None
        offset, before = windows[2 * first : 2 * first + 2]
        stop, end = self.offset + self.size, self.count
        if 2 * last < len(windows):
            stop, end = windows[2 * last : 2 * last + 2]
        read = partial(_read_members, count=end - before, tail=self._tail)
        return self._read(offset, read, stop, stop - offset)

    def _read(
        self,
        offset: int,
        read: Callable[[Source], Result],
        stop: int | None = None,
        at_once: int = _FIRST_READ,
    ) -> Result:
        """Read something from an offset on."""
        if stop is None:
            stop = self.offset + self.size
        try:
            return read(self.file.open(offset, stop, self.key, at_once))
        except RdbParseError as error:
            error.file = self.file.name
            error.key = self.key
            if error.offset is None:
                error.offset = self.offset
            raise


def _read_first(source: Source) -> bytes:
    """Read the first string of a table."""
    source.read_length()
    return source.read_string()


def _read_members(source: Source, count: int, tail: int) -> list[bytes]:
    """Read strings, each followed by so many bytes."""
    members: list[bytes] = []
    for piece in scan(source, count, Layout(1, tail)):
        if piece is None:
            members.append(source.read_string())
            source.skip(tail)
        else:
            members += piece.column(0)
    return members


AnyRecord = (
    KeyRecord[Value]
    | KeyRecord[RawValue]
    | KeyRecord[LazyTable]
    | KeyRecord[StoredValue]
    | AuxiliaryRecord
)
"""A record of any kind."""


LazyReader = Callable[[Source, int, bytes, int], LazyTable | StoredValue | Value | None]
"""A function of a source, the file's version, a key and a type byte; None: the value must be decoded."""


def make_stored_readers(file: OpenFile, *, is_trusted: bool) -> dict[int, LazyReader]:
    """Return the readers of the types whose values stay in the file."""
    readers: dict[int, LazyReader] = dict.fromkeys(
        (c.TYPE_ZSET, c.TYPE_ZSET_2, c.TYPE_HASH, *PACKED_DECODERS), partial(_read_value, file)
    )
    if is_trusted:
        readers[c.TYPE_STRING] = partial(_skip_string, file)
        readers[c.TYPE_HASH] = partial(_skip_hash, file)
        if walk is not None:
            readers[c.TYPE_ZSET] = readers[c.TYPE_ZSET_2] = partial(_walk_sorted_set, file)
    return readers


def _read_value(
    file: OpenFile, source: Source, version: int, key: bytes, type_: int
) -> StoredValue | Value:
    """Read a value, to validate it; return it if it is short."""
    start = source.offset
    value = codecs_of_version(version)[type_][0](source)
    size = source.offset - start
    if size < LEAST_SIZE:
        return value
    if isinstance(value, SortedSet):
        bits = value.scores.tobytes()
        if bits == bits[:8] * len(value.members):
            return StoredValue(file, type_, start, size, key, len(value.members), value.scores[0])
    elif isinstance(value, Hash):
        if not value.expiries:
            return StoredValue(file, type_, start, size, key, len(value.fields))
    elif isinstance(value, bytes):
        return StoredValue(file, type_, start, size, key)
    return value


def _skip_string(
    file: OpenFile, source: Source, version: int, key: bytes, type_: int
) -> StoredValue | None:
    """Skip a string that is not short."""
    start = source.offset
    first = source.read_byte()
    source.position -= 1
    if first < c.LENGTH_14BIT or c.LENGTH_SPECIAL <= first != c.STRING_LZF:
        return None
    source.skip_string()
    return StoredValue(file, type_, start, source.offset - start, key)


def _skip_hash(
    file: OpenFile, source: Source, version: int, key: bytes, type_: int
) -> StoredValue | Value:
    """Skip a hash that is a table."""
    start = source.offset
    count = skip_table(source, PAIRS)
    value = StoredValue(file, type_, start, source.offset - start, key, count)
    return value if count else value.decode()


def _walk_sorted_set(
    file: OpenFile, source: Source, version: int, key: bytes, type_: int
) -> StoredValue | Value:
    """Skip a sorted set that is a table, and note the order of its members and where some of them are."""
    start = source.offset
    layout = SCORED if type_ == c.TYPE_ZSET_2 else TEXT_SCORED
    count = source.read_length()
    source.expect(count * (layout.strings + layout.tail))
    table = TableWalk(source, True, array("Q"))
    score, tail = 0.0, b""
    is_uniform = True
    if count:
        table.skip(1, b"")
        tail, score = read_score(source, type_)
        is_uniform = table.skip(count - 1, tail)
    if not is_uniform:
        if table.is_after_string:
            read_score(source, type_)
        skip_items(source, count - table.done, layout)
    size = source.offset - start
    order = table.order or _ASCENDING  # a single member is in order
    windows = table.windows if order != NO_ORDER and len(table.windows or ()) > 2 else None
    value = StoredValue(
        file, type_, start, size, key, count, score, order, len(tail), table.last_offset, windows
    )
    return value if count and is_uniform else value.decode()
