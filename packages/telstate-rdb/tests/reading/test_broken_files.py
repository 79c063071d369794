"""Broken files give correct records or RdbParseError, and no length in them is trusted."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import NO_SAMPLES, SAMPLES, ChunkedReader

from telstate_rdb import KeyRecord, RdbParseError, Value, decode_dump, read_rdb
from telstate_rdb.constants import TYPE_NAMES
from telstate_rdb.dump import crc64

WITH_CHECKSUM = [
    "librdb/stream_v11.rdb",
    "librdb/zset_lp_v11.rdb",
    "librdb/quicklist2_v11.rdb",
    "librdb/module_aux_v12.rdb",
    "librdb/set_is_v11.rdb",
    "rdb/hash_with_hfe.rdb",
    "rdb/hash_as_listpack_with_hfe.rdb",
    "rdb/valkey_hash2_with_hfe.rdb",
    "rdb/memory.rdb",
    "rdb/stream_listoacks_3.rdb",
    "rdb/listpack.rdb",
    "redis-rdb-tools/redis_50_with_streams.rdb",
]
SMALL = [
    "librdb/quicklist2_v11.rdb",
    "librdb/set_is_v11.rdb",
    "rdb/hash_with_hfe.rdb",
    "rdb/valkey_hash2_with_hfe.rdb",
]
WITHOUT_CHECKSUM = [
    "redis/encodings.rdb",
    "rdb/parser_filters.rdb",
    "rdb/zipmap_that_doesnt_compress.rdb",
    "librdb/hash_zm_v2.rdb",
]


def read_all(data: bytes) -> tuple[list[KeyRecord[Value]], RdbParseError | None]:
    """Return the records of a file, and the error after them."""
    records: list[KeyRecord[Value]] = []
    try:
        records.extend(read_rdb(data))
    except RdbParseError as error:
        return records, error
    return records, None


def read_sample(name: str) -> tuple[bytes, list[KeyRecord[Value]]]:
    """Return the bytes of a sample and its records."""
    data = (SAMPLES / name).read_bytes()
    return data, list(read_rdb(data))


@NO_SAMPLES
@pytest.mark.parametrize("name", WITH_CHECKSUM + WITHOUT_CHECKSUM)
def test_changed_byte(name: str) -> None:
    """A changed byte gives records or RdbParseError, which it always is if there is a checksum."""
    data, _ = read_sample(name)
    chooser = random.Random(name)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= chooser.randrange(1, 256)
        _, error = read_all(bytes(changed))
        assert error is not None or name in WITHOUT_CHECKSUM, position


@NO_SAMPLES
@pytest.mark.parametrize("name", WITH_CHECKSUM + WITHOUT_CHECKSUM)
def test_truncated(name: str) -> None:
    """A truncated file gives the complete records, and then RdbParseError."""
    data, expected = read_sample(name)
    counts = set()
    for size in range(len(data)):
        records, error = read_all(data[:size])
        assert records == expected[: len(records)]
        assert error is not None, size
        counts.add(len(records))
    assert counts == set(range(len(expected) + 1))


@NO_SAMPLES
@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_change_of_every_byte(name: str) -> None:
    """Every possible change of every byte of a small file is noticed."""
    data, _ = read_sample(name)
    for position in range(len(data)):
        for change in range(1, 256):
            changed = data[:position] + bytes([data[position] ^ change]) + data[position + 1 :]
            assert read_all(changed)[1] is not None, (position, change)


@NO_SAMPLES
@pytest.mark.parametrize("name", WITH_CHECKSUM[:4])
def test_changed_byte_in_recovery(name: str) -> None:
    """Recovery of a changed or truncated file raises nothing, and reports a loss."""
    data, _ = read_sample(name)
    for position in range(9, len(data), 3):
        reader = read_rdb(data[:position] + b"\xaa" + data[position + 1 :], strict=False)
        list(reader)
        assert reader.losses or data[position] == 0xAA
        reader = read_rdb(data[:position], strict=False)
        list(reader)
        assert reader.losses


@given(
    st.sampled_from(sorted(TYPE_NAMES)),
    st.binary(max_size=80),
    st.sampled_from([6, 9, 12, 80]),
)
def test_random_value(type_: int, body: bytes, version: int) -> None:
    """Random bytes in place of a value are a value or RdbParseError, from bytes and byte by byte."""
    payload = bytes([type_]) + body + version.to_bytes(2, "little")
    try:
        decode_dump(payload + crc64(payload).to_bytes(8, "little"))
    except RdbParseError:
        pass
    data = b"REDIS0012" + bytes([type_]) + b"\x01k" + body + b"\xff" + bytes(8)
    records, error = read_all(data)
    in_bytes: list[KeyRecord[Value]] = []
    if error is None:
        assert list(read_rdb(ChunkedReader(data))) == records
    else:
        with pytest.raises(RdbParseError):
            in_bytes.extend(read_rdb(ChunkedReader(data)))
        assert in_bytes == records
    list(read_rdb(data, strict=False))
    try:
        list(read_rdb(data, raw=True))
    except RdbParseError:
        pass


@given(st.binary(max_size=100))
def test_random_file(data: bytes) -> None:
    """Random bytes after a header are records or RdbParseError."""
    read_all(data)
    read_all(b"REDIS0011" + data)
    read_all(b"VALKEY080" + data)
    list(read_rdb(b"REDIS0011" + data, strict=False))


# --------------------------------------------------------------------------------- false lengths

HUGE = b"\x81" + (2**63).to_bytes(8, "big")
MANY = b"\x81" + (2**40).to_bytes(8, "big")
MOST = b"\x81" + b"\xff" * 8
U32 = b"\xff\xff\xff\xff"
FALSE_ZIPLIST = struct.pack("<IIH", 16, 10, 1) + b"\x00\x80" + U32[:3] + b"\xff"
FALSE_LISTPACK = struct.pack("<IH", 13, 1) + b"\xf0" + U32 + b"a\xff"
FALSE_LENGTHS = {
    "string": b"\x00\x01k" + HUGE,
    "longest string": b"\x00\x01k" + MOST,
    "key": b"\x00" + HUGE,
    "list": b"\x01\x01k" + MANY + b"\x01a" * 50,
    "set": b"\x02\x01k" + MANY + b"\x01a" * 50,
    "zset": b"\x03\x01k" + MANY + b"\x01a\x010" * 50,
    "hash": b"\x04\x01k" + MANY + b"\x01a\x01b" * 50,
    "zset2": b"\x05\x01k" + MANY + (b"\x01a" + bytes(8)) * 50,
    "quicklist": b"\x0e\x01k" + MANY,
    "quicklist2": b"\x12\x01k" + MANY,
    "quicklist2 plain": b"\x12\x01k\x01\x01" + HUGE,
    "stream": b"\x15\x01k" + MANY,
    "stream groups": b"\x0f\x01k\x00\x00\x00\x00" + MANY,
    "stream pending": b"\x0f\x01k\x00\x00\x00\x00\x01\x01g\x00\x00" + MANY,
    "stream consumers": b"\x0f\x01k\x00\x00\x00\x00\x01\x01g\x00\x00\x00" + MANY,
    "module string": b"\x07\x01k\x01\x05" + HUGE,
    "hash with expiries": b"\x18\x01k" + bytes(8) + MANY,
    "compressed": b"\x00\x01k\xc3" + HUGE + HUGE,
    "bomb": b"\x00\x01k\xc3\x09" + MANY + b"\x00a" + b"\xe0\xff\x00" * 2 + b"\x00",
    "ziplist string": b"\x0a\x01k" + bytes([len(FALSE_ZIPLIST)]) + FALSE_ZIPLIST,
    "listpack string": b"\x14\x01k" + bytes([len(FALSE_LISTPACK)]) + FALSE_LISTPACK,
    "intset": b"\x0b\x01k\x0a" + struct.pack("<II", 2, 2**31) + b"\x01\x00",
    "zipmap": b"\x09\x01k\x08\x01\xfe" + U32 + b"a\xff",
    "aux": b"\xfa" + HUGE,
    "function": b"\xf5" + HUGE,
}


@pytest.mark.parametrize("name", sorted(FALSE_LENGTHS))
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "recover"])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_false_lengths(name: str, strict: bool, known: bool) -> None:
    """An impossible length is an error before memory is allocated for it."""
    data = b"REDIS0011" + FALSE_LENGTHS[name] + bytes(50)
    tracemalloc.start()
    reader = read_rdb(data if known else ChunkedReader(data), strict=strict)
    if strict:
        with pytest.raises(RdbParseError):
            list(reader)
    else:
        assert [record.key for record in reader if record.value] == []
        assert reader.losses
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


@pytest.mark.parametrize("name", ["string", "list", "zset2", "stream", "key"])
def test_false_lengths_on_an_endless_pipe(name: str) -> None:
    """An impossible length is an error before more than the first chunk of a pipe is read."""

    class Endless(io.RawIOBase):
        given = io.BytesIO(b"REDIS0011" + FALSE_LENGTHS[name])
        more = 4  # reads until it fails, because it would go on for ever

        def read(self, size: int = -1) -> bytes:
            if byte := self.given.read(1):
                return byte
            self.more -= 1
            assert self.more >= 0, "too much was read"
            return b"\x01" * min(size, 1 << 20)

    source = Endless()
    with pytest.raises(RdbParseError, match="more than any value has"):
        list(read_rdb(source))


@pytest.mark.parametrize("name", ["string", "zset2", "stream", "module string", "aux", "key"])
def test_false_lengths_in_skipped_values(name: str) -> None:
    """Skipping a value trusts its lengths no more than reading it."""
    data = b"REDIS0011" + FALSE_LENGTHS[name] + bytes(50)
    for source in (data, ChunkedReader(data)):
        with pytest.raises(RdbParseError):
            list(read_rdb(source, keys="other"))
    with pytest.raises(RdbParseError):
        list(read_rdb(data, raw=True))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x02\x01k\x02\x01a\x01a", "a set has a member twice"),
        (b"\x04\x01k\x02\x01a\x01b\x01a\x01c", "a hash has a field twice"),
        (b"\x03\x01k\x01\x01a\x03abc", "a score that is not a number: b'abc'"),
        (b"\x03\x01k\x01\x01a\x031_0", "a score that is not a number"),
        (b"\x12\x01k\x01\x03\x01a", "a node of the unknown form 3"),
        (b"\x07\x01k\x01\x06", "the unknown opcode 6"),
        (b"\x01\x01k\xc0\x05", "byte 0xc0 is not a length"),
        (b"\x01\x01k\x82\x05", "byte 0x82 is not a length"),
        (b"\x00\x01k\xc4", "byte 0xc4 is not a form of a string"),
        (b"\x17\x01k" + b"\x0c" + bytes.fromhex("0c000000 0200 816102 0301 ff"), "without a value"),
        (b"\x0b\x01k\x09" + bytes.fromhex("03000000 01000000 05"), "integers of 3 bytes"),
        (b"\x0b\x01k\x0c" + bytes.fromhex("02000000 02000000 05000400"), "ascending"),
        (b"\x0f\x01k\x01\x03abc\x00" + bytes(20), "an id of 3 bytes"),
    ],
)
def test_malformed(value: bytes, reason: str) -> None:
    """A malformed value raises an error that says what is wrong with it."""
    with pytest.raises(RdbParseError, match=reason) as caught:
        list(read_rdb(b"REDIS0011" + value + b"\xff" + bytes(8)))
    assert caught.value.key == b"k"
