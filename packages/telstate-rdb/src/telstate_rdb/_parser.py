"""The record loop: from one record of a file to the next.

Most records are keys with a short string, or with a small collection that is packed into a string. A
loop parses those that are in the buffer from local variables. It never decides that something is wrong:
at anything unusual it ends, and the record is read by `RecordParser.read_record`, which handles every
record and raises the errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from telstate_rdb import constants as c
from telstate_rdb._auxiliary import auxiliary_readers, other_readers
from telstate_rdb._source import Source
from telstate_rdb._types.hashes import resolve_template
from telstate_rdb._types.readers import (
    PACKED_DECODERS,
    TEMPLATE_REFERENCES,
    codecs_of_version,
    decode_string,
)
from telstate_rdb._types.zsets import find_fault
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import decompress_quickly
from telstate_rdb.records import KeyRecord
from telstate_rdb.values import RawValue, SortedSet, Value

if TYPE_CHECKING:  # most readers do not need them
    from telstate_rdb._filter import Filter
    from telstate_rdb.stored import AnyRecord, LazyReader

LOOK_AHEAD = 1 << 16
"""More than a key and a value of 16383 bytes each, the longest that are parsed from the buffer."""

STRETCH_SIZE = 1 << 16
"""The number of bytes after which the loop ends if keys must be checked."""

Checksum = Literal["unread", "ok", "wrong", "not computed", "none"]
"""The state of a file's checksum: not reached yet, right, wrong, left out by the writer (0), or not
there because files of this version have none."""

_COMPRESSED_FILES = {
    b"\x1f\x8b": "gzip.open",
    b"BZh": "bz2.open",
    b"\xfd7zXZ": "lzma.open",
}
"""How compressed files start, and what opens them."""


_REPLICATION_START = re.compile(
    rb"\n*(?:\+FULLRESYNC [^\r\n]*\r\n)?\n*\$(?:EOF:([0-9a-f]{40})|([0-9]{1,18}))\r\n"
)
"""How the reply to ``SYNC`` or ``PSYNC`` begins: the mark that ends the snapshot, or the snapshot's size."""

_LONGEST_START = 1 << 10
_END_MARK = re.compile(rb"[0-9a-f]{40}")
_AOF_COMMANDS = re.compile(rb"\*[1-9][0-9]*\r\n|#TS:[0-9]+\r\n")

Container = Literal["rdb", "aof", "replication"]
"""What the bytes are: an RDB file, an AOF file that begins with a snapshot, or the reply to ``SYNC``."""


def read_header(source: Source) -> int:
    """Read the first bytes of a file and return its version."""
    source.look_ahead(c.HEADER_SIZE)
    if source.buffer[source.position : source.position + 1] in (b"\n", b"+", b"$"):
        _read_replication_start(source)
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
        for start, opener in _COMPRESSED_FILES.items():
            if header.startswith(start):
                raise source.error(f"the file is compressed: open it with {opener}")
        if _AOF_COMMANDS.match(header):
            raise source.error("this is an AOF file that does not begin with a snapshot")
        raise source.error(f"this is not an RDB file: it starts with {header!r}")
    if not (version := int(digits)):
        raise source.error("RDB version 0 is not known")
    source.position += c.HEADER_SIZE
    return version


def _read_replication_start(source: Source) -> None:
    """Read what comes before the snapshot in the reply to ``SYNC``, if the source is one."""
    size = 0
    while (match := _REPLICATION_START.match(source.buffer, source.position)) is None:
        if size == len(source.buffer) or size > _LONGEST_START:
            return
        size = len(source.buffer)
        source.look_ahead(size - source.position + 1)  # more may not come before it is read
    source.position = match.end()
    source.start_checksum()
    mark, announced_size = match.groups()
    if mark is None:
        source.expect_end(source.offset + int(announced_size), b"")
    else:
        source.expect_end(None, mark)


Measure = tuple[int, bytes, int, int, int | None]
"""Database, key, type byte, size of key and value in the file, and expiry: see `RecordParser.measure`. A plain
tuple takes a third of the time of a record."""

_Decoder = Callable[[bytes], Value]


def is_text(key: bytes) -> bool:
    """Return whether a key is printable text."""
    try:
        return key.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _unwanted(data: bytes) -> bytes:
    """Stand for the decoder of values that the filter rejects, whatever their key."""
    raise AssertionError


class RecordParser:
    """A parser of the records of one file, whose source is positioned after the header."""

    def __init__(
        self,
        source: Source,
        version: int,
        *,
        key_filter: Filter | None = None,
        raw: bool = False,  # leave values undecoded
        validates: bool = False,  # but decode them too, to find malformed ones
        auxiliary: bool = False,  # return records that are not keys
        lazy_readers: Mapping[int, LazyReader] = MappingProxyType({}),  # by type byte
        longest_packed: int = 1 << 14,  # leave longer packed values to the lazy readers
        recovers: bool = False,  # keep the current record for `go_back`, and check keys for being text
    ) -> None:
        self.source = source
        self.version = version
        self.checksum: Checksum = "unread"
        self.container: Container = "rdb"
        self.database = 0
        self.record_start = source.offset  # including the expiry and the like before a key
        self.all_keys_are_text = True  # so far, if the parser `recovers`
        self._filter = key_filter
        self._raw = raw
        self._validates = validates
        self._auxiliary = auxiliary
        self._recovers = recovers
        self._measures = False
        self._codecs = codecs_of_version(version)
        self._auxiliary_readers = auxiliary_readers(version)
        self._other_readers = other_readers(version)
        self._lazy_readers = lazy_readers
        self._longest_packed = longest_packed
        self._decoders = self._make_decoders()
        self._new_keys: list[bytes] = []  # not checked for being text yet
        self._reset()

    def _reset(self) -> None:
        """Forget what comes before a key and belongs to it."""
        self._expiry: int | None = None
        self._idle: int | None = None
        self._frequency: int | None = None
        self._ended = False

    def _make_decoders(self) -> list[_Decoder | None]:
        """Return, by type byte, the decoders of values that are one string."""
        decoders: list[_Decoder | None] = [None] * 256
        accepts_database = self._filter is None or self._filter.accepts_database(self.database)
        types = None if self._filter is None else self._filter.types
        for type_ in self._codecs.keys() & PACKED_DECODERS.keys():
            if not accepts_database or types is not None and type_ not in types:
                decoders[type_] = _unwanted
            elif (self._raw or self._measures) and not self._validates:
                decoders[type_] = decode_string
            elif self._measures and c.TYPE_NAMES[type_] == "zset":
                decoders[type_] = partial(self._decode_and_check, PACKED_DECODERS[type_])
            else:
                decoders[type_] = PACKED_DECODERS[type_]
        return decoders

    def parse(self) -> Iterator[Iterable[AnyRecord]]:
        """Parse the records up to the end mark, a stretch of the file at a time."""
        source = self.source
        records: Iterator[AnyRecord] = iter(())
        try:
            while not self._ended:
                if self._expiry is None and self._idle is None and self._frequency is None:
                    self.record_start = source.offset
                    if self._recovers:
                        source.mark()
                        self._check_new_keys()
                source.look_ahead(LOOK_AHEAD)
                position = source.position
                records = self._parse_short_values()
                yield records
                if source.position == position:
                    yield self.read_record()
        finally:
            if isinstance(records, Generator):
                records.close()

    def _check_new_keys(self) -> None:
        if self.all_keys_are_text and not is_text(b" ".join(self._new_keys)):
            self.all_keys_are_text = False
        self._new_keys.clear()

    def measure(self) -> None:
        """From here on, return a `Measure` for each key.

        If the parser validates values, it refuses sorted sets that no server loads; otherwise it skips
        values.
        """
        self._measures = True
        self._raw = False
        self._decoders = self._make_decoders()

    def check_value(self, value: Value) -> None:
        """Raise an error for a value that the parser refuses although it can be decoded."""
        if self._measures and isinstance(value, SortedSet) and (fault := find_fault(value)):
            raise RdbParseError(fault)

    def _decode_and_check(self, decode: _Decoder, data: bytes) -> Value:
        value = decode(data)
        self.check_value(value)
        return value

    def go_back(self) -> None:
        """Go back to the start of the current record."""
        self.source.go_back()
        self.resume()

    def resume(self) -> None:
        """Prepare for parsing records from where the source is now."""
        self._reset()
        self.checksum = "unread"

    def _parse_short_values(self) -> Iterator[AnyRecord]:
        """Parse the keys whose values are a short string in the buffer, up to any other record."""
        source = self.source
        buffer = source.buffer
        position = first = source.position
        end = len(buffer)
        limit = min(end, position + STRETCH_SIZE) if self._recovers else end
        database = self.database
        expiry, idle, frequency = self._expiry, self._idle, self._frequency
        decoders = self._decoders
        matches = None if self._filter is None else self._filter.matches
        has_filter = self._filter is not None
        is_wanted: object = True
        raw, recovers, version = self._raw, self._recovers, self.version
        measures = self._measures
        longest = self._longest_packed
        is_plain = not (raw or recovers or measures)
        decodes = not raw or self._validates
        before_short, before_long = (0, 0) if raw else (1, 2)  # bytes of a length to leave out
        note_key = self._new_keys.append
        new = tuple.__new__
        record_class: type[KeyRecord[Value]] | type[KeyRecord[RawValue]] = KeyRecord
        string, unwanted, string_lzf = decode_string, _unwanted, c.STRING_LZF
        data: bytes | None
        value: Value | RawValue
        try:
            while position < limit:
                start = position
                decode = decoders[buffer[start]]
                if decode is None:
                    if buffer[start] != c.OPCODE_EXPIRY_MS:
                        break
                    expiry = int.from_bytes(buffer[start + 1 : start + 9], "little", signed=True)
                    start += 9
                    decode = decoders[buffer[start]]
                    if decode is None:
                        break
                size = buffer[start + 1]
                if size < 64:
                    text = start + 2
                elif size < 128:
                    text = start + 3
                    size = (size & 63) << 8 | buffer[start + 2]
                else:
                    break
                body = text + size
                key = buffer[text:body]
                if has_filter:
                    is_wanted = decode is not unwanted and (matches is None or matches(key))
                form = buffer[body]
                if form < 64:
                    stop = body + 1 + form
                    data = buffer[body + before_short : stop]
                elif form < 128:
                    size = (form & 63) << 8 | buffer[body + 1]
                    if size > longest:
                        break
                    stop = body + 2 + size
                    data = buffer[body + before_long : stop]
                elif form == string_lzf:
                    size = buffer[body + 1]
                    place = body + 2
                    if size >= 64:
                        if size >= 128:
                            break
                        size = (size & 63) << 8 | buffer[place]
                        place += 1
                    full_size = buffer[place]
                    place += 1
                    if full_size >= 64:
                        if full_size >= 128:
                            break
                        full_size = (full_size & 63) << 8 | buffer[place]
                        place += 1
                    if full_size > longest:
                        break
                    stop = place + size
                    if decodes and is_wanted:
                        data = decompress_quickly(buffer[place:stop], full_size)
                    else:
                        data = buffer[body:stop]
                elif c.STRING_INT8 <= form <= c.STRING_INT32:
                    stop = body + 1 + (1 << (form & 3))
                    if decodes and is_wanted:
                        data = b"%d" % int.from_bytes(
                            buffer[body + 1 : stop], "little", signed=True
                        )
                    else:
                        data = buffer[body:stop]
                else:
                    break
                if stop > end:
                    break
                if not is_wanted:
                    position = stop
                elif is_plain:
                    value = data if decode is string else decode(data)
                    position = stop
                    yield new(record_class, (database, key, value, expiry, idle, frequency))
                else:
                    if raw:
                        if form >= 128:
                            if decodes:
                                decode(data)
                                data = buffer[body:stop]
                        elif decodes and decode is not string:
                            decode(data[1 if form < 64 else 2 :])
                        value = new(RawValue, (buffer[start], data, version))
                    else:
                        value = data if decode is string else decode(data)
                    if recovers:
                        note_key(key)
                    position = stop
                    if measures:
                        yield database, key, buffer[start], stop - text, expiry  # type: ignore[misc]  # a Measure
                    else:
                        yield new(record_class, (database, key, value, expiry, idle, frequency))
                expiry = idle = frequency = None
        except (IndexError, ValueError, RdbParseError):
            pass  # the buffer ends within the record, or it is malformed
        if position > first:
            source.position = position
            self._expiry = self._idle = self._frequency = None

    def read_record(self) -> list[AnyRecord]:
        """Read one record of any kind, or a part of it; return the record if it is complete."""
        source = self.source
        self._key: bytes | None = None
        self._value_start = source.offset
        try:
            opcode = source.read_byte()
            if opcode in self._codecs:
                return self._read_key(opcode)
            if opcode in self._auxiliary_readers:
                record = self._auxiliary_readers[opcode](source, self.database)
                return [record] if self._auxiliary else []
            if opcode == c.OPCODE_EXPIRY_MS:
                self._expiry = source.read_signed(8)
            elif opcode == c.OPCODE_EXPIRY_S:
                self._expiry = source.read_signed(4) * 1000
            elif opcode == c.OPCODE_FREQUENCY:
                self._frequency = source.read_byte()
            elif opcode == c.OPCODE_IDLE:
                self._idle = source.read_length()
            elif opcode == c.OPCODE_DATABASE:
                self.database = source.read_length()
                self._decoders = self._make_decoders()
            elif opcode == c.OPCODE_END:
                self._ended = True
            elif opcode in self._other_readers:
                self._other_readers[opcode](source)
            else:
                raise RdbParseError(
                    f"byte {opcode:#04x} is neither an opcode nor a type that is known in version "
                    f"{self.version}"
                )
        except RdbParseError as error:
            error.file = source.name
            error.key = self._key
            if error.offset is None:
                error.offset = self._value_start
            raise
        return []

    def _read_key(self, type_: int) -> list[AnyRecord]:
        """Read a key and its value, of which the type byte has been read."""
        source = self.source
        read, skip = self._codecs[type_]
        key = self._key = source.read_string()
        start = self._value_start = source.offset
        if self._recovers:
            self._new_keys.append(key)
        value: Any = None  # its type depends on the options
        if self._filter is not None and not self._filter.accepts(self.database, key, type_):
            skip(source)
            self._reset()
            return []
        if type_ in self._lazy_readers:
            value = self._lazy_readers[type_](source, self.version, key, type_)
        if value is None:
            if self._measures and not self._validates:
                skip(source)
            elif self._raw and not self._validates:
                source.start_capture()
                skip(source)
                value = self._make_raw(type_, source.end_capture())
            else:
                value = read(source)
                self.check_value(value)
                if self._raw:
                    value = None  # frees it
                    value = self._make_raw(type_, source.read_again(start))
        attributes = self._expiry, self._idle, self._frequency
        self._reset()
        if self._measures:
            size = len(key) + source.offset - start
            return [(self.database, key, type_, size, attributes[0])]  # type: ignore[list-item]  # a Measure
        return [KeyRecord(self.database, key, value, *attributes)]

    def _make_raw(self, type_: int, body: bytes) -> RawValue:
        """Make a raw value that can be decoded by itself."""
        if type_ in TEMPLATE_REFERENCES:
            type_, body = resolve_template(self.source, type_, body)
        return RawValue(type_, body, self.version)

    def read_end(self) -> None:
        """Read what follows the end mark: the checksum and nothing more."""
        source = self.source
        computed = source.take_checksum()
        start = source.offset
        if self.version < c.CHECKSUM_VERSION:
            self.checksum = "none"
        else:
            stored = source.read_unsigned(c.CHECKSUM_SIZE)
            if not stored:
                self.checksum = "not computed"
            elif stored == computed:
                self.checksum = "ok"
            else:
                self.checksum = "wrong"
                raise source.error(
                    f"the checksum is {stored:016x}, but that of the file's bytes is "
                    f"{computed:016x}",
                    start,
                )
        self.container = self._read_container_end()

    def _read_container_end(self) -> Container:
        """Read what follows the snapshot, and return what it was a part of."""
        source = self.source
        if source.announced_end is not None:
            if source.offset != source.announced_end:
                raise source.error(
                    f"the snapshot should end at byte {source.announced_end}, as announced before it"
                )
            return "replication"
        if source.end_mark:
            if source.read(len(source.end_mark)) != source.end_mark:
                raise source.error("the snapshot is not followed by the mark announced before it")
            return "replication"
        if source.at_end():
            return "rdb"
        source.look_ahead(64)
        rest = source.buffer[source.position : source.position + 64]
        if _AOF_COMMANDS.match(rest):
            return "aof"
        if _END_MARK.fullmatch(rest):  # redis-cli --rdb before 7.2 may leave it
            source.position += len(rest)
            return "replication"
        raise source.error("more bytes follow the end of the snapshot")
