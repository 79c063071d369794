"""Tables that are skipped while a file is read, and decoded when they are needed.

Most of a snapshot of sensors is long sorted sets, and skipping one takes a tenth of the time of decoding
it. While it is skipped, its end is found and its scores are compared.

A table is only left undecoded if decoding it cannot fail later: either its bytes are *trusted*, because
the checksum of the file has been verified, or every string in it has been validated. Every other table is
decoded at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import ClassVar

import attrs

from telstate_rdb import constants as c
from telstate_rdb._bulk.read import SPECIAL_SCORES, parse_score, skip_table
from telstate_rdb._bulk.runs import PAIRS, Layout, scan
from telstate_rdb._source import Source
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import Hash, RawValue, SortedSet, make_payload

_Walk = Callable[
    [bytes, int, int, bytes, bytes, int, int, bool],
    tuple[int, int, int, int, int, int, bytes, int],
]

try:
    from telstate_rdb import _walk
except ImportError:  # the extension was not built
    walk: _Walk | None = None
else:
    walk = _walk.walk

NO_ORDER = 2
_DOUBLE = Struct("<d")
_WINDOW = 1 << 17
_AT_ONCE = 1 << 12  # strings, so that there is a window after some of them
# More than the extension must have to take a string: two lengths and the beginning.
_STRING_START = 128


@attrs.frozen
class LazyTable:
    """A sorted set or hash that is not decoded yet; made by :func:`telstate_rdb.read_lazily`.

    Parameters
    ----------
    type
        The type byte, see :mod:`telstate_rdb.constants`.
    parts
        The bytes of the value as in the file.
    version
        The RDB version of the file.
    count
        The number of members or fields, at least one. A repeated field counts twice.
    score
        The score that all members of a sorted set have; None for a hash.
    file, offset, key
        The name of the file, the offset of the value in it and its key, for error messages.
    """

    is_stored: ClassVar[bool] = False

    type: int
    parts: tuple[bytes, ...]
    version: int
    count: int
    score: float | None
    file: str | None
    offset: int
    key: bytes

    @property
    def type_name(self) -> c.TypeName:
        """The kind of value, as the command ``TYPE`` names it."""
        return c.TYPE_NAMES[self.type]

    @property
    def raw(self) -> RawValue:
        """The value as in the file, in one piece."""
        return RawValue(self.type, b"".join(self.parts), self.version)

    @property
    def size(self) -> int:
        """The number of bytes that the value has in the file."""
        return sum(map(len, self.parts))

    def dump(self, version: int | None = None) -> bytes:
        """Return the payload that ``DUMP`` would return, see :meth:`RawValue.dump`."""
        return make_payload(self.type, self.parts, self.version if version is None else version)

    def find_ends(self) -> tuple[bytes, bytes]:
        """Return the smallest and the largest member of a sorted set, without decoding the others.

        Examples
        --------
        >>> from telstate_rdb import read_lazily
        >>> members = b"\\x01b\\x010" b"\\x01a\\x010" b"\\x01c\\x010"
        >>> (record,) = read_lazily(b"REDIS0003" b"\\x03\\x04gain\\x03" + members + b"\\xff")
        >>> record.value.count, record.value.find_ends()
        (3, (b'a', b'c'))
        """
        source = Source(self.raw.body, name=self.file)
        count = source.read_length()
        tail = self._tail_length(source)
        smallest: bytes | None = None
        largest = b""
        for piece in scan(source, count, Layout(1, tail)):
            if piece is None:
                low = high = source.read_string()
                source.skip(tail)
            else:
                low, high = piece.ends(0)
            smallest = low if smallest is None else min(smallest, low)
            largest = max(largest, high)
        assert smallest is not None  # no table is empty
        return smallest, largest

    def _tail_length(self, source: Source) -> int:
        """Return the number of bytes after each member, from those after the first; all are the same."""
        position = source.position
        source.skip_string()
        tail, _ = read_score(source, self.type)
        source.position = position
        return len(tail)

    def decode(self) -> SortedSet | Hash:
        """Return the decoded value.

        Raises
        ------
        RdbParseError
            If the value is malformed although the checksum of the file is right.
        """
        try:
            value = decode_raw(self.raw)
        except RdbParseError as error:
            offset = self.offset + (error.offset or 1) - 1
            raise RdbParseError(
                error.reason, file=self.file, offset=offset, key=self.key
            ) from error
        assert isinstance(value, SortedSet | Hash)  # no other type is read lazily
        return value


_LazyReader = Callable[[Source, int, bytes, int], "LazyTable | None"]
"""A function of a source, the file's version, a key and a type byte; None: the value must be decoded."""


def make_lazy_readers(*, is_trusted: bool, with_hashes: bool) -> dict[int, _LazyReader]:
    """Return the readers of the types that are read lazily; none has another meaning in Valkey."""
    types = _SKIPPERS.keys() if with_hashes else _SKIPPERS.keys() - {c.TYPE_HASH}
    return dict.fromkeys(types, partial(_read_lazy_table, is_trusted))


def _read_lazy_table(
    is_trusted: bool, source: Source, version: int, key: bytes, type_: int
) -> LazyTable | None:
    """Read a value that can be decoded later; otherwise go back to its start."""
    offset = source.offset
    source.start_capture()
    count, score = _SKIPPERS[type_](source, is_trusted)
    if not count:
        source.rewind_capture()
        return None
    parts = (source.end_capture(),)
    return LazyTable(type_, parts, version, count, score, source.name, offset, key)


# Each of these returns the number of items, 0 if the value must be decoded, and the score of all.


def _skip_sorted_set(type_: int, source: Source, is_trusted: bool) -> tuple[int, float | None]:
    """Skip a table of members with scores."""
    count = source.read_length()
    source.expect((9 if type_ == c.TYPE_ZSET_2 else 2) * count)
    if not count:
        return 0, None
    _skip_string(source, is_trusted)
    tail, score = read_score(source, type_)
    if not _skip_with_tail(source, count - 1, tail, is_trusted):
        return 0, None
    return count, score


def read_score(source: Source, type_: int) -> tuple[bytes, float]:
    """Read the score of a member in a table of this type; return its bytes in the file, and the score."""
    if type_ == c.TYPE_ZSET_2:
        bits = source.read(8)
        return bits, _DOUBLE.unpack(bits)[0]
    length = source.read_byte()
    if length in SPECIAL_SCORES:
        return bytes((length,)), parse_score(SPECIAL_SCORES[length])
    text = source.read(length)
    return bytes((length,)) + text, parse_score(text)


def _skip_with_tail(source: Source, count: int, tail: bytes, is_trusted: bool) -> bool:
    """Skip strings, each followed by the same bytes; return whether they all are."""
    if walk is not None:
        return TableWalk(source, is_trusted).skip(count, tail)
    start = source.position
    for piece in scan(source, count, Layout(1, len(tail)), ends_only=True):
        if piece is None:
            _skip_string(source, is_trusted)
            if not skip_tail(source, tail):
                return False
        elif piece.tails() != tail * piece.count:
            source.position = start  # where the piece ends may not even be in the table
            return False
        start = source.position
    return True


def skip_tail(source: Source, tail: bytes) -> bool:
    """Skip the bytes after a string if they are these; return whether they are."""
    source.look_ahead(len(tail))  # a shorter score may be the last bytes of a file
    stop = source.position + len(tail)
    if source.buffer[source.position : stop] != tail:
        return False
    source.position = stop
    return True


class TableWalk:
    """A walk over the strings of a table by the extension in C, which notes their order.

    Attributes
    ----------
    order
        1 if each string is greater than the one before it, -1 if each is less, otherwise another number.
    windows
        The offset of a string at every 256 KB or so (1 MB if they are long), and how many strings are before
        it, in turn.
    last_offset
        The offset of the last string, if they are in order.
    done
        How many strings have been passed.
    is_after_string
        Whether the last of them was passed, but not the bytes after it, which are others than expected.
    """

    def __init__(self, source: Source, is_trusted: bool, windows: array[int] | None = None) -> None:
        self._source = source
        self._is_trusted = is_trusted
        self._last: tuple[int, bytes, int] = (
            0,
            b"",
            0,
        )  # order, beginning and size of the last string
        self.last_offset = 0
        self.done = 0
        self.is_after_string = False
        self.windows = windows

    @property
    def order(self) -> int:
        return self._last[0]

    def skip(self, count: int, tail: bytes) -> bool:
        """Skip strings, each followed by the same bytes; return whether they all are.

        If not, the source is before the string with another tail, or after it, and `is_after_string`.
        """
        assert walk is not None
        source = self._source
        stop = self.done + count
        while self.done < stop:
            source.look_ahead(_STRING_START)
            if self.windows is not None:
                self._note_window(self.windows)
            order, head, last_size = self._last
            position, walked, start, rest, is_uniform, order, head, last_size = walk(
                source.buffer,
                source.position,
                min(stop - self.done, _AT_ONCE),
                tail,
                head,
                last_size,
                order,
                self._is_trusted,
            )
            self.last_offset = source.base + start
            source.position = position
            self._last = order, head, last_size
            if rest:
                source.skip(rest)
            elif is_uniform and not walked:  # an unusual string
                _skip_string(source, self._is_trusted)
                self._last = NO_ORDER, b"", 0
                walked = rest = 1
            self.done += walked
            if not is_uniform or rest and not skip_tail(source, tail):
                self.is_after_string = rest > 0
                return False
        return True

    def _note_window(self, windows: array[int]) -> None:
        offset = self._source.offset
        if not windows or offset - windows[-2] >= _WINDOW:
            windows.append(offset)
            windows.append(self.done)


def _skip_string(source: Source, is_trusted: bool) -> None:
    if is_trusted:
        source.skip_string()
    else:
        source.read_string()  # which raises an error if it cannot be decompressed


def _skip_hash(source: Source, is_trusted: bool) -> tuple[int, float | None]:
    """Skip a table of fields and values, unless decoding must show that no field is repeated."""
    return skip_table(source, PAIRS) if is_trusted else 0, None


_SKIPPERS: dict[int, Callable[[Source, bool], tuple[int, float | None]]] = {
    c.TYPE_ZSET: partial(_skip_sorted_set, c.TYPE_ZSET),
    c.TYPE_HASH: _skip_hash,
    c.TYPE_ZSET_2: partial(_skip_sorted_set, c.TYPE_ZSET_2),
}
