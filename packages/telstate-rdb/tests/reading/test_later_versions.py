"""Files of versions that came later, and what a snapshot can be a part of."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from rdb_data import ChunkedReader, encode_length, encode_string, make_file

from telstate_rdb import (
    Array,
    Hash,
    KeyRecord,
    RdbParseError,
    SlotImport,
    SortedSet,
    Stream,
    StreamGroup,
    StreamId,
    StreamProducers,
    Value,
    decode_dump,
    decode_raw,
    parse_dump,
    read_lazily,
    read_rdb,
)
from telstate_rdb._packed.listpack import encode_listpack
from telstate_rdb.dump import crc64
from telstate_rdb.reader import verify_checksum

STRING = b"\0" + encode_string(b"key") + encode_string(b"value")
RECORD = KeyRecord(0, b"key", b"value")


def valkey_file(*records: bytes, version: int = 80) -> bytes:
    """Return a file of Valkey, with its checksum."""
    content = b"VALKEY%03d" % version + b"".join(records) + b"\xff"
    return content + crc64(content).to_bytes(8, "little")


def payload(body: bytes, version: int) -> bytes:
    """Return a DUMP payload."""
    content = body + version.to_bytes(2, "little")
    return content + crc64(content).to_bytes(8, "little")


def strings(*texts: bytes) -> bytes:
    """Encode strings, one after the other."""
    return b"".join(map(encode_string, texts))


def lengths(*numbers: int) -> bytes:
    """Encode lengths, one after the other."""
    return b"".join(map(encode_length, numbers))


def read_value(*records: bytes, version: int = 15) -> Value:
    """Read the only key of a file in every way; return its value."""
    content = make_file(*records, version=version)
    (record,) = read_rdb(content)
    (raw,) = read_rdb(content, raw=True)
    (recovered,) = read_rdb(content, strict=False)
    assert decode_raw(raw.value) == record.value == recovered.value
    assert decode_dump(raw.value.dump()) == record.value
    (measured,) = (size for batch in read_rdb(content).measures() for size in batch)
    assert isinstance(measured, tuple) and measured[1] == record.key
    both = make_file(*records, STRING, version=version)
    assert [found.key for found in read_rdb(both, types="string")] == [b"key"]  # it can be skipped
    return record.value


@pytest.mark.parametrize("version", [13, 15, 16, 79, 9999])
def test_unknown_versions_of_redis(version: int) -> None:
    """Known types are read whatever the version is, in files and payloads."""
    content = make_file(STRING, version=version)
    assert list(read_rdb(content)) == [RECORD] == list(read_lazily(content))
    assert decode_dump(payload(b"\0" + encode_string(b"v"), version)) == b"v"


@pytest.mark.parametrize("version", [80, 81, 999])
def test_unknown_versions_of_valkey(version: int) -> None:
    """Known types are read whatever the version is."""
    content = valkey_file(STRING, version=version)
    assert list(read_rdb(content)) == [RECORD] == list(read_lazily(content))


@pytest.mark.parametrize("byte", [0x08, 0x22, 0x6A, 0xF1])
def test_unknown_type(byte: int) -> None:
    """An unknown type or opcode is an error that names it and the version; recovery steps over it."""
    others = [b"\0" + encode_string(b"key%d" % n) + b"\1v" for n in range(4)]
    content = make_file(STRING, bytes([byte]), encode_string(b"new"), b"\1x", *others, version=16)
    reader = read_rdb(content)
    assert next(reader) == RECORD
    with pytest.raises(RdbParseError, match=rf"byte {byte:#04x} is .* version 16"):
        next(reader)
    assert len(list(read_rdb(content, strict=False))) == 5


def test_opcodes_of_redis_enterprise() -> None:
    """The opcodes of Redis Enterprise, each with a length, are skipped."""
    content = make_file(b"\x6b\x05", STRING, b"\x79\x41\x00", version=11)
    assert list(read_rdb(content, auxiliary=True)) == [RECORD]


def test_slot_import_of_valkey() -> None:
    """An import of slots is a record that is not a key."""
    record = b"\xf3" + encode_string(b"j" * 40) + lengths(2, 0, 99, 16000, 16383)
    found = list(read_rdb(valkey_file(record, STRING), auxiliary=True))
    assert found == [SlotImport(b"j" * 40, ((0, 99), (16000, 16383))), RECORD]
    assert list(read_rdb(valkey_file(record, STRING))) == [RECORD]


def test_key_metadata_of_redis() -> None:
    """What modules know of a key is skipped, between the key's expiry and its type."""
    metadata = (
        b"\xf3" + lengths(2) + b"abcd\x02\x07\x05" + encode_string(b"x") + b"\0efgh\x01\x01\0"
    )
    expiry = b"\xfc" + (1 << 41).to_bytes(8, "little")
    content = make_file(expiry, metadata, STRING, STRING, version=13)
    assert list(read_rdb(content)) == [KeyRecord(0, b"key", b"value", 1 << 41), RECORD]
    assert decode_dump(payload(metadata + b"\0" + encode_string(b"v"), 13)) == b"v"
    assert parse_dump(payload(metadata + b"\0" + encode_string(b"v"), 13)).body == b"\1v"


def test_array() -> None:
    """An array has elements at some indices, and a cursor."""
    elements = lengths(0, 1) + struct.pack("<q", -5) + lengths(7, 2) + struct.pack("<d", 1.5)
    elements += (
        lengths(1000, 3) + encode_string(b"short") + lengths(70_000, 0) + encode_string(b"long")
    )
    head = b"\x1c" + encode_string(b"array")
    expected = {0: b"-5", 7: b"1.5", 1000: b"short", 70_000: b"long"}
    assert read_value(head + lengths(4, 0) + elements, version=14) == Array(expected)
    assert read_value(head + lengths(4, 1, 7) + elements, version=14) == Array(expected, 7)
    (record,) = read_rdb(
        make_file(head + lengths(4, 0) + elements, STRING, version=14), types="array"
    )
    assert record.key == b"array"


FIELDS = (b"age", b"name", b"email")
VALUES = (b"42", b"Ada", b"ada@example.org")
TEMPLATE = b"\xf2" + lengths(5, 3) + strings(*FIELDS)
EXPECTED = Hash(dict(zip(FIELDS, VALUES)))
PACKED = encode_string(encode_listpack((b"5", *VALUES)))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param((b"\x1d", b"\0" + encode_string(encode_listpack(FIELDS)) + PACKED), id="29"),
        pytest.param((b"\x1d", lengths(1, 3) + strings(*FIELDS) + PACKED), id="29-strings"),
        pytest.param((b"\x1e", PACKED), id="30"),
        pytest.param((b"\x1f", lengths(1, 3) + strings(*FIELDS, *VALUES)), id="31"),
        pytest.param((b"\x20", lengths(5) + strings(*VALUES)), id="32"),
    ],
)
def test_hash_templates(value: tuple[bytes, bytes]) -> None:
    """A hash takes its fields from a template, or has them itself in a payload."""
    type_, body = value
    assert read_value(TEMPLATE, type_ + encode_string(b"hash") + body) == EXPECTED


def test_missing_hash_template() -> None:
    """A hash whose template is not in the file is an error that says so."""
    content = make_file(
        b"\x20" + encode_string(b"hash") + lengths(5) + strings(*VALUES), version=15
    )
    with pytest.raises(RdbParseError, match="template 5, which the file does not have"):
        list(read_rdb(content))


@pytest.mark.parametrize("type_", [26, 27])
def test_streams_with_producers(type_: int) -> None:
    """Streams of Redis 8.6 have idempotent producers, those of 8.8 also entries that were given back."""
    node = encode_listpack([b"1", b"0", b"1", b"f", b"0", b"2", b"0", b"0", b"v", b"4"])
    content = lengths(1) + encode_string(struct.pack(">QQ", 1, 1)) + encode_string(node)
    content += lengths(1, 1, 1, 1, 1, 0, 0, 1)
    content += lengths(1) + encode_string(b"group") + lengths(1, 1, 1, 1)
    content += struct.pack(">QQq", 1, 1, 99) + lengths(2, 0)
    if type_ == 27:
        content += lengths(1) + struct.pack(">QQ", 1, 1)
    content += lengths(100, 50, 1) + encode_string(b"producer")
    content += lengths(1) + encode_string(b"message") + lengths(1, 1, 7, 3)
    stream = read_value(bytes([type_]) + encode_string(b"stream") + content)
    assert isinstance(stream, Stream)
    entry = StreamId(1, 1)
    assert stream.producers == StreamProducers(100, 50, {b"producer": {b"message": entry}}, 7, 3)
    (group,) = stream.groups
    assert isinstance(group, StreamGroup)
    assert group.returned == ((entry,) if type_ == 27 else ())


def test_aof_file(tmp_path: Path) -> None:
    """Of an AOF file that begins with a snapshot, the snapshot is read."""
    content = make_file(STRING) + b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\nnew\r\n" * 1000
    path = tmp_path / "appendonly.aof"
    path.write_bytes(content)
    for source in (content, path, io.BytesIO(content), ChunkedReader(content, 7)):
        reader = read_rdb(source)
        assert list(reader) == [RECORD]
        assert (reader.container, reader.checksum) == ("aof", "ok")
    assert list(read_lazily(path)) == [RECORD]
    assert list(read_rdb(content, strict=False)) == [RECORD]
    with_timestamps = make_file(STRING) + b"#TS:1700000000\r\n*1\r\n$4\r\nPING\r\n"
    assert list(read_rdb(with_timestamps)) == [RECORD]
    with pytest.raises(RdbParseError, match="AOF file that does not begin with a snapshot"):
        read_rdb(b"*1\r\n$4\r\nPING\r\n")


MARK = b"0123456789abcdef0123456789abcdef01234567"
SNAPSHOT = make_file(STRING)


@pytest.mark.parametrize(
    "content",
    [
        b"$EOF:" + MARK + b"\r\n" + SNAPSHOT + MARK,
        b"\n\n$EOF:" + MARK + b"\r\n" + SNAPSHOT + MARK + b"*1\r\n$4\r\nPING\r\n",
        b"+FULLRESYNC " + MARK + b" 17\r\n\n$EOF:" + MARK + b"\r\n" + SNAPSHOT + MARK,
        SNAPSHOT + MARK,
        b"$%d\r\n" % len(SNAPSHOT) + SNAPSHOT,
        b"\n$%d\r\n" % len(SNAPSHOT) + SNAPSHOT + b"*1\r\n$4\r\nPING\r\n",
    ],
)
def test_replication_stream(content: bytes) -> None:
    """The reply of a server to SYNC is read, with the mark or the length around its snapshot."""
    for source in (content, ChunkedReader(content, 3)):
        reader = read_rdb(source)
        assert list(reader) == [RECORD]
        assert (reader.container, reader.checksum) == ("replication", "ok")
    assert list(read_lazily(content)) == [RECORD]
    recovering = read_rdb(content, strict=False)
    assert list(recovering) == [RECORD] and not recovering.losses


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"$EOF:" + MARK + b"\r\n" + SNAPSHOT + MARK[::-1], "not followed by the mark"),
        (b"$EOF:" + MARK + b"\r\n" + SNAPSHOT + MARK[:9], "9 more"),
        (b"$7\r\n" + SNAPSHOT, "should end at byte 11"),
        (SNAPSHOT + MARK + b"x", "more bytes follow"),
        (SNAPSHOT + b"*x", "more bytes follow"),
    ],
)
def test_broken_containers(content: bytes, reason: str) -> None:
    """What does not end as announced is an error."""
    with pytest.raises(RdbParseError, match=reason):
        list(read_rdb(content))


def test_checksum_of_wrapped_snapshots() -> None:
    """The checksum of what is more than a snapshot is not verified beforehand."""
    assert verify_checksum(SNAPSHOT) is True
    assert verify_checksum(b"$EOF:" + MARK + b"\r\n" + SNAPSHOT + MARK) is None


def test_sorted_sets_are_the_same() -> None:
    """What a telescope state uses is the same in a later version."""
    body = lengths(1) + encode_string(b"a") + struct.pack("<d", 2.0)
    value = read_value(b"\5" + encode_string(b"zset") + body, version=14)
    assert isinstance(value, SortedSet) and list(value.scores) == [2.0]
