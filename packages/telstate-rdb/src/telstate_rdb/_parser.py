"""From one record of a file to the next: the loop that reads a sound file.

Rules:

* Short strings, by far the most frequent values, are taken in the loop itself, from local
  variables; everything else is looked up in the tables of :mod:`telstate_rdb._types.readers` and
  :mod:`telstate_rdb._auxiliary`.
* The quick part never decides that something is wrong: it leaves whatever is not plainly right to
  the slow part, which reads the same bytes again and knows what to say.
* An error leaves with the file, the offset and the key filled in, and ends the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import attrs

from telstate_rdb import constants as c
from telstate_rdb._auxiliary import AUXILIARY_READERS
from telstate_rdb._filter import Selection
from telstate_rdb._source import Source
from telstate_rdb._types.readers import PACKED_DECODERS, codecs_of_version
from telstate_rdb._types.strings import decode_string
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lazy import LAZY_TYPES, LazyTable, read_lazy_table
from telstate_rdb.lzf import decompress_quickly
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import RawValue, Value

LOOK_AHEAD = 1 << 16
"""More than a key and a value of 16383 bytes each: what the quick part can need."""

Checksum = Literal["unread", "ok", "wrong", "not computed", "none"]
"""What the checksum says: not reached yet, right, wrong, left out by the writer (0), or that files
of this version have none."""

AnyRecord = KeyRecord[Value] | KeyRecord[RawValue] | KeyRecord[LazyTable] | AuxiliaryRecord


_COMPRESSED = {
    b"\x1f\x8b": "gzip.open",
    b"BZh": "bz2.open",
    b"\xfd7zXZ": "lzma.open",
}
"""How compressed files start, and what opens them."""


class _NotQuick(Exception):
    """The quick part leaves a record to the slow one."""


@attrs.define
class Walk:
    """A file under way, and what is known of it.

    Parameters
    ----------
    source
        The file, standing behind its header.
    version
        From its header.
    selection
        Which keys are wanted; None for all.
    raw
        Whether values are to be left as they are.
    auxiliary
        Whether records that are not keys are wanted.
    keep
        Whether the source is to keep the record under way, to go back to its start.
    finish
        Whether the walk includes what is behind the mark of the end, and closes the file.
    lazy
        Whether tables are to be left undecoded, see :mod:`telstate_rdb.lazy`.
    trusted
        Whether the checksum of the file is known to be right.
    database
        The current database.
    checksum
        What is known of the checksum.
    """

    source: Source
    version: int
    selection: Selection | None = None
    raw: bool = False
    auxiliary: bool = False
    keep: bool = False
    finish: bool = False
    lazy: bool = False
    trusted: bool = False
    database: int = 0
    checksum: Checksum = "unread"


def read_header(source: Source) -> int:
    """Read the first bytes of a file; give its version.

    Raises
    ------
    RdbParseError
        If it is no RDB file or of a version that is not known.
    """
    source.look_ahead(c.HEADER_SIZE)
    header = source.buffer[source.position : source.position + c.HEADER_SIZE]
    for magic in (c.MAGIC_REDIS, c.MAGIC_VALKEY):
        digits = header[len(magic) :]
        if header.startswith(magic) and len(header) == c.HEADER_SIZE and digits.isdigit():
            break
    else:
        if source.at_end():
            raise source.error("the file is empty")
        if len(header) < c.HEADER_SIZE:
            source.check()
        for start, opener in _COMPRESSED.items():
            if header.startswith(start):
                raise source.error(f"the file is compressed: give what {opener} makes of it")
        raise source.error(f"this is no RDB file: it starts with {header!r}")
    version = int(digits)
    valkey = magic == c.MAGIC_VALKEY
    if (version != c.VALKEY_VERSION) if valkey else not c.MIN_VERSION <= version <= c.MAX_VERSION:
        raise source.error(
            f"RDB version {version} of {'Valkey' if valkey else 'Redis'} is not known; a newer "
            "release of telstate-rdb may read it"
        )
    source.position += c.HEADER_SIZE
    return version


def _quick_decoders(state: Walk) -> list[Callable[[bytes], Value] | None]:
    """Give, by type byte, what turns the one string that a value consists of into the value."""
    decoders: list[Callable[[bytes], Value] | None] = [None] * 256
    if state.selection is None and not state.raw:
        for type_ in codecs_of_version(state.version):
            decoders[type_] = PACKED_DECODERS.get(type_)
    return decoders


def walk(state: Walk) -> Iterator[AnyRecord]:
    """Give the records of a file up to the mark of its end, and leave the source behind that.

    Raises
    ------
    RdbParseError
        At the first record that is not sound.
    """
    source = state.source
    codecs = codecs_of_version(state.version)
    selection = state.selection
    raw = state.raw
    lazy_types = LAZY_TYPES if state.lazy else frozenset()
    if raw:
        lazy_types -= {c.TYPE_HASH}  # a server would load a hash that has a field twice
    quick = _quick_decoders(state)
    new = tuple.__new__
    string_lzf = c.STRING_LZF
    look_ahead = LOOK_AHEAD
    plain = decode_string
    record_class: type[KeyRecord[Value]] = KeyRecord
    database = state.database
    expiry = idle = frequency = None
    key: bytes | None = None
    data: bytes | None
    value: Value = b""
    where = source.offset
    buffer = source.buffer
    position = source.position
    end = len(buffer)
    try:
        while True:
            if end - position < look_ahead:
                source.position = position
                source.look_ahead(look_ahead)
                buffer = source.buffer
                position = source.position
                end = len(buffer)
            try:
                decode = quick[buffer[position]]
                if decode is None:
                    raise _NotQuick
                length = buffer[position + 1]
                if length < 64:
                    start = position + 2
                    stop = start + length
                elif length < 128:
                    start = position + 3
                    stop = start + ((length & 63) << 8 | buffer[position + 2])
                else:
                    raise _NotQuick
                key = buffer[start:stop]
                length = buffer[stop]
                if length < 64:
                    start = stop + 1
                    stop = start + length
                    data = buffer[start:stop]
                elif length < 128:
                    start = stop + 2
                    stop = start + ((length & 63) << 8 | buffer[stop + 1])
                    data = buffer[start:stop]
                elif length == string_lzf:
                    length = buffer[stop + 1]
                    start = stop + 2
                    if length >= 64:
                        if length >= 128:
                            raise _NotQuick
                        length = (length & 63) << 8 | buffer[start]
                        start += 1
                    size = buffer[start]
                    start += 1
                    if size >= 64:
                        if size >= 128:
                            raise _NotQuick
                        size = (size & 63) << 8 | buffer[start]
                        start += 1
                    stop = start + length
                    data = decompress_quickly(buffer[start:stop], size)
                    if data is None or len(data) != size:
                        raise _NotQuick
                else:
                    raise _NotQuick
                value = data if decode is plain else decode(data)
            except (_NotQuick, IndexError, ValueError, RdbParseError):
                stop = end + 1
            if stop <= end:
                position = stop
                yield new(record_class, (database, key, value, expiry, idle, frequency))
                expiry = idle = frequency = None
                continue

            # The slow part: everything else, and whatever was not plainly right above.
            key = None
            source.position = position
            where = source.offset
            if state.keep and expiry is None and idle is None and frequency is None:
                source.keep_from = where
            opcode = source.read_byte()
            if opcode in codecs:
                read, skip = codecs[opcode]
                key = source.read_string()
                where = source.offset
                if selection is not None and not selection.wants(database, key, opcode):
                    skip(source)
                elif (
                    opcode in lazy_types
                    and (
                        table := read_lazy_table(source, state.version, state.trusted, key, opcode)
                    )
                    is not None
                ):
                    yield KeyRecord(database, key, table, expiry, idle, frequency)
                elif raw:
                    source.start_capture()
                    skip(source)
                    body = RawValue(opcode, source.end_capture(), state.version)
                    yield KeyRecord(database, key, body, expiry, idle, frequency)
                else:
                    yield new(record_class, (database, key, read(source), expiry, idle, frequency))
                expiry = idle = frequency = None
            elif opcode == c.OPCODE_EXPIRY_MS:
                expiry = source.read_signed(8)
            elif opcode == c.OPCODE_EXPIRY_S:
                expiry = source.read_signed(4) * 1000
            elif opcode == c.OPCODE_FREQUENCY:
                frequency = source.read_byte()
            elif opcode == c.OPCODE_IDLE:
                idle = source.read_length()
            elif opcode == c.OPCODE_DATABASE:
                state.database = database = source.read_length()
            elif opcode == c.OPCODE_END:
                if state.finish:
                    read_end(state)
                return
            elif opcode in AUXILIARY_READERS:
                record = AUXILIARY_READERS[opcode](source, database)
                if state.auxiliary:
                    yield record
            else:
                raise RdbParseError(
                    f"byte {opcode:#04x} is no opcode and no type of value that version "
                    f"{state.version} has"
                )
            buffer = source.buffer
            position = source.position
            end = len(buffer)
    except RdbParseError as error:
        error.file = source.name
        error.key = key
        if error.offset is None:
            error.offset = where
        raise
    finally:
        if state.finish:
            source.close()


def read_end(state: Walk) -> None:
    """Read what is behind the mark of the end: the checksum, and nothing more.

    Raises
    ------
    RdbParseError
        If the checksum is wrong or anything follows.
    """
    source = state.source
    computed = source.take_checksum()
    where = source.offset
    if state.version < c.CHECKSUM_VERSION:
        state.checksum = "none"
    else:
        stored = source.read_unsigned(c.CHECKSUM_SIZE)
        if not stored:
            state.checksum = "not computed"
        elif stored == computed:
            state.checksum = "ok"
        else:
            state.checksum = "wrong"
            raise source.error(
                f"the checksum is {stored:016x}, but that of the file's bytes is {computed:016x}",
                where,
            )
    if not source.at_end():
        raise source.error("there are more bytes behind the end of the snapshot")
