"""Tables that are walked over and kept as they are, to be decoded when somebody wants them.

Most of a snapshot of sensors is long sorted sets. To step over one takes a tenth of the time of
taking it apart; what cannot be put off is done here: where it ends, that nothing points outside the
file, and whether all members of a sorted set have one score.

Rules: a table is left as it is only if decoding it cannot fail later. Either the bytes are *trusted*
(the checksum of the file has been verified, so they are what somebody has written), or it has been
validated to the last byte. Everything else is decoded at once, as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

import attrs

from telstate_rdb import constants as c
from telstate_rdb._bulk.read import SPECIAL_SCORES, parse_score
from telstate_rdb._bulk.skip import pass_strings
from telstate_rdb._source import Source
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import Hash, RawValue, SortedSet, make_payload

_DOUBLE = Struct("<d")


@attrs.frozen
class LazyTable:
    """A sorted set or a hash, not decoded yet.

    Parameters
    ----------
    type, parts, version
        The type byte; the bytes of the value as they are in the file, a long one in several parts;
        the version of the file.
    count
        How many members or fields it has, at least one; a field that is there twice counts twice.
    score
        Of a sorted set: the score that all its members have.
    file, offset, key
        Where it is, for errors: the file, the offset of the value in it, and its key.
    """

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
        """The kind of value: what ``TYPE`` would say."""
        return c.TYPE_NAMES[self.type]

    @property
    def raw(self) -> RawValue:
        """The value as it is in the file, in one piece."""
        return RawValue(self.type, b"".join(self.parts), self.version)

    @property
    def size(self) -> int:
        """How many bytes the value has in the file."""
        return sum(map(len, self.parts))

    def dump(self, version: int | None = None) -> bytes:
        """Make the payload that ``DUMP`` would give, see :meth:`RawValue.dump`."""
        return make_payload(self.type, self.parts, self.version if version is None else version)

    def decode(self) -> SortedSet | Hash:
        """Decode it.

        Raises
        ------
        RdbParseError
            If it is malformed although the checksum of the file is right (so it was written like
            that), or was not verified by who asked for it to be trusted.
        """
        try:
            value = decode_raw(self.raw)
        except RdbParseError as error:
            offset = self.offset + (error.offset or 1) - 1
            raise RdbParseError(
                error.reason, file=self.file, offset=offset, key=self.key
            ) from error
        assert isinstance(value, SortedSet | Hash)  # no other type is left lazy
        return value


def walk_table(
    source: Source, version: int, trusted: bool, key: bytes, type_: int
) -> LazyTable | None:
    """Walk over a value of one of the types in :data:`LAZY_TYPES`.

    Parameters
    ----------
    source
        The file, standing behind the key.
    version
        That of the file.
    trusted
        Whether the bytes are known to be what somebody has written.
    key, type_
        The key, and the type byte.

    Returns
    -------
    LazyTable or None
        The table; or None if it must be decoded, and then the source stands where it stood.
    """
    offset = source.offset
    source.start_capture()
    count, score = _WALKERS[type_](source, trusted)
    if not count:
        source.rewind_capture()
        return None
    parts = source.end_capture_in_parts()
    return LazyTable(type_, parts, version, count, score, source.name, offset, key)


_Walked = tuple[int, float | None]
"""How many items there are, and the score of all; no items if the value must be decoded."""

_MUST_DECODE: _Walked = (0, None)


def _walk_sorted_set(source: Source, trusted: bool) -> _Walked:
    """Walk over members, each with its score as a float64."""
    count = source.read_length()
    source.expect(9 * count)
    if not count:
        return _MUST_DECODE
    _first_member(source, trusted)
    tail = source.read(8)
    if not pass_strings(source, count - 1, 8, tail, validate=not trusted):
        return _MUST_DECODE
    return count, _DOUBLE.unpack(tail)[0]


def _walk_sorted_set_of_text(source: Source, trusted: bool) -> _Walked:
    """Walk over members, each with its score as text."""
    count = source.read_length()
    source.expect(2 * count)
    if not count:
        return _MUST_DECODE
    _first_member(source, trusted)
    length = source.read_byte()
    text = SPECIAL_SCORES.get(length)
    tail = bytes((length,))
    if text is None:
        text = source.read(length)
        tail += text
    if not pass_strings(source, count - 1, len(tail), tail, validate=not trusted):
        return _MUST_DECODE
    return count, parse_score(text)


def _first_member(source: Source, trusted: bool) -> None:
    if trusted:
        source.skip_string()
    else:
        source.read_string()


def _walk_hash(source: Source, trusted: bool) -> _Walked:
    """Walk over fields and values; only decoding them shows whether a field is there twice."""
    if not trusted:
        return _MUST_DECODE
    count = source.read_length()
    source.expect(2 * count)
    pass_strings(source, 2 * count)
    return count, None


_WALKERS: dict[int, Callable[[Source, bool], _Walked]] = {
    c.TYPE_ZSET: _walk_sorted_set_of_text,
    c.TYPE_HASH: _walk_hash,
    c.TYPE_ZSET_2: _walk_sorted_set,
}

LAZY_TYPES = frozenset(_WALKERS)
"""The types that are large in files of telescope state; none has another meaning in Valkey."""
