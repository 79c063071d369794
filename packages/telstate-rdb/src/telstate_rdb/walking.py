"""From one record of a file to the next: the loop that reads a sound file.

Rules:

* Short strings, by far the most frequent values, are taken in the loop itself, from local
  variables; everything else is looked up in the tables of :mod:`telstate_rdb.decoders` and
  :mod:`telstate_rdb.auxiliary`.
* The quick part never decides that something is wrong: it leaves whatever is not plainly right to
  the slow part, which reads the same bytes again and knows what to say.
* An error leaves with the file, the offset and the key filled in, and ends the walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from telstate_rdb import constants as c
from telstate_rdb.auxiliary import AUXILIARY_READERS
from telstate_rdb.decoders import codecs_of_version
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import decompress
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.selection import Selection
from telstate_rdb.source import Source
from telstate_rdb.values import RawValue, Value

LOOK_AHEAD = 1 << 16
"""More than a key and a value of 16383 bytes each: what the quick part can need."""

Checksum = Literal["unread", "ok", "wrong", "not computed", "none"]
"""What the checksum says: not reached yet, right, wrong, left out by the writer (0), or that files
of this version have none."""

_NOT_QUICK = 1 << 62  # as a length: nothing that the quick part can take

AnyRecord = KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord


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
        if not header:
            raise source.error("the file is empty")
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


def walk(state: Walk) -> Iterator[AnyRecord]:
    """Give the records of a file up to the mark of its end, and leave the source behind that."""
    source = state.source
    codecs = codecs_of_version(state.version)
    selection = state.selection
    raw = state.raw
    quick = selection is None and not raw
    new = tuple.__new__
    record_class: type[KeyRecord[Value]] = KeyRecord
    database = state.database
    expiry = idle = frequency = None
    key: bytes | None = None
    where = source.offset
    buffer = source.buffer
    position = source.position
    end = len(buffer)
    try:
        while True:
            if end - position < LOOK_AHEAD:
                source.position = position
                source.look_ahead(LOOK_AHEAD)
                buffer = source.buffer
                position = source.position
                end = len(buffer)
            try:
                type_ = buffer[position]
                if not type_ and quick:  # a string
                    length = buffer[position + 1]
                    if length < 64:
                        start = position + 2
                        stop = start + length
                        key = buffer[start:stop]
                        length = buffer[stop]
                        value: Value = b""
                        if length < 64:
                            start = stop + 1
                            stop = start + length
                            value = buffer[start:stop]
                        elif length < 128:
                            start = stop + 2
                            stop = start + ((length & 63) << 8 | buffer[stop + 1])
                            value = buffer[start:stop]
                        elif length == c.STRING_LZF:
                            length = buffer[stop + 1]
                            start = stop + 2
                            if length >= 64:
                                length = (
                                    (length & 63) << 8 | buffer[start]
                                    if length < 128
                                    else _NOT_QUICK
                                )
                                start += 1
                            size = buffer[start]
                            start += 1
                            if size >= 64:
                                size = (
                                    (size & 63) << 8 | buffer[start] if size < 128 else _NOT_QUICK
                                )
                                start += 1
                            stop = start + length
                            if stop <= end and size != _NOT_QUICK:
                                where = source.base + start
                                value = decompress(buffer[start:stop], size)
                            else:
                                stop = _NOT_QUICK
                        else:
                            stop = _NOT_QUICK
                        if stop <= end:
                            position = stop
                            yield new(record_class, (database, key, value, expiry, idle, frequency))
                            expiry = idle = frequency = None
                            continue
            except IndexError:
                pass  # the buffer ends within the record

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
