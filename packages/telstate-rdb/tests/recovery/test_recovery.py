"""Recovery returns all complete records, reports what is lost, and invents nothing."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import ChunkedReader, encode_string, make_file

from telstate_rdb import KeyRecord, Loss, RawValue, RdbParseError, Value, read_rdb
from telstate_rdb._parser import RecordParser, read_header
from telstate_rdb._recovery import recover as recover_batches
from telstate_rdb._resync import BLOCK_STEP, MAX_WORK, MAX_WORK_PER_BYTE, Search
from telstate_rdb._source import Source

COUNT = 40


def samples(count: int) -> bytes:
    """Encode a sorted set like the samples of a sensor."""
    content = (struct.pack(">d", 1.6e9 + i) + b"\xff\xcb" + bytes(8) for i in range(count))
    return bytes([count]) + b"".join(encode_string(member) + bytes(8) for member in content)


PARTS = [b"REDIS0011", b"\xfa\x09redis-ver\x057.2.4", b"\xfe\x00"]
for number in range(COUNT):
    key = encode_string(b"key:%03d" % number)
    PARTS.append(
        [
            b"\x00" + key + encode_string(b"value %d" % number),
            b"\x05" + key + samples(20),
            b"\xfc" + struct.pack("<q", 1700000000000 + number) + b"\x00" + key + b"\xc0\x05",
            b"\x04" + key + b"\x01\x05field\x05value",
        ][number % 4]
    )
DATA = make_file(*PARTS[1:])
PARTS.append(b"\xff")
RECORDS = list(read_rdb(DATA))
STARTS = [len(b"".join(PARTS[: 3 + number])) for number in range(COUNT + 1)]


def recover(data: bytes) -> tuple[list[KeyRecord[Value]], list[Loss]]:
    """Recover a file; a source that returns single bytes must give the same."""
    reader = read_rdb(data, strict=False)
    records = list(reader)
    dripping = read_rdb(ChunkedReader(data), strict=False)
    assert list(dripping) == records
    assert [loss.offset for loss in dripping.losses] == [loss.offset for loss in reader.losses]
    return records, reader.losses


def test_nothing_lost() -> None:
    """A valid file is recovered completely, without losses."""
    assert recover(DATA) == (RECORDS, [])


def test_malformed_value() -> None:
    """A malformed value with a known end costs only its key."""
    bad = b"\x0d\x03bad\x04abcd"
    data = DATA[: STARTS[7]] + bad + DATA[STARTS[7] :]
    records, losses = recover(data)
    assert records == RECORDS
    assert losses[0] == Loss(
        STARTS[7] + 5, 5, b"bad", "a ziplist is truncated or points beyond its end"
    )
    assert "the checksum is" in losses[1].reason


@pytest.mark.parametrize("place", [0, 1, 2, 3, 20, 36])
def test_record_overwritten(place: int) -> None:
    """After an overwritten record the next ones are found."""
    start, stop = STARTS[place], STARTS[place + 1]
    data = DATA[:start] + b"\xf0" * (stop - start) + DATA[stop:]
    records, losses = recover(data)
    assert records == RECORDS[:place] + RECORDS[place + 1 :]
    assert losses[0].offset == start
    assert losses[0].size == stop - start
    assert "is neither an opcode" in losses[0].reason


def test_forged_length() -> None:
    """A key with a false length costs only itself."""
    data = DATA[: STARTS[8] + 1] + b"\x81" + b"\xff" * 8 + DATA[STARTS[8] + 8 :]
    records, losses = recover(data)
    assert records == RECORDS[:8] + RECORDS[9:]
    assert "should follow" in losses[0].reason or "truncated" in losses[0].reason


def test_two_losses() -> None:
    """Corruption in two places is reported as two losses."""
    data = bytearray(DATA)
    for place in (5, 25):
        data[STARTS[place] : STARTS[place] + 2] = b"\xf1\xf1"
    records, losses = recover(bytes(data))
    assert [record.key for record in records] == [
        record.key for number, record in enumerate(RECORDS) if number not in (5, 25)
    ]
    assert [loss.offset for loss in losses[:2]] == [STARTS[5], STARTS[25]]


@pytest.mark.parametrize("size", [STARTS[3] + 4, STARTS[20] - 1, len(DATA) - 9, len(DATA) - 3])
def test_truncated(size: int) -> None:
    """A truncated file gives its complete records."""
    records, losses = recover(DATA[:size])
    assert records == RECORDS[: len(records)]
    assert len(records) == sum(start <= size for start in STARTS[1:])
    assert len(losses) == 1
    assert losses[0].size is None


def test_noise_at_the_end() -> None:
    """If no record follows the corruption, none is invented."""
    noise = random.Random(1).randbytes(100_000)
    reader = read_rdb(DATA[: STARTS[10]] + b"\xf2" + noise, strict=False)
    assert list(reader) == RECORDS[:10]
    assert reader.losses[-1].offset == STARTS[10]
    assert reader.losses[-1].size is None


def test_zeros() -> None:
    """Zeros, which could be empty strings, are not mistaken for records."""
    reader = read_rdb(DATA[: STARTS[10]] + b"\xf2" + bytes(1000), strict=False)
    assert list(reader) == RECORDS[:10]


def test_raw() -> None:
    """Raw values are recovered too, and malformed ones are found."""
    data = DATA[: STARTS[7]] + b"\x0d\x03bad\x04abcd" + DATA[STARTS[7] :]
    reader = read_rdb(data, strict=False, raw=True)
    records = list(reader)
    assert [record.key for record in records] == [record.key for record in RECORDS]
    assert all(isinstance(record.value, RawValue) for record in records)
    assert [loss.key for loss in reader.losses] == [b"bad", None]


def test_header() -> None:
    """Without a known header nothing can be recovered, which is an error."""
    with pytest.raises(RdbParseError):
        read_rdb(b"RODIS0011" + DATA[9:], strict=False)


@given(st.integers(9, len(DATA) - 9), st.binary(min_size=1, max_size=40))
def test_any_corruption(position: int, noise: bytes) -> None:
    """Whatever is overwritten, the records before it are returned and a loss is reported."""
    stop = min(position + len(noise), len(DATA) - 8)
    data = DATA[:position] + noise[: stop - position] + DATA[stop:]
    records, losses = recover(data)
    assert losses or data == DATA
    before = [record for place, record in enumerate(RECORDS) if STARTS[place + 1] <= position]
    assert records[: len(before)] == before


def search_of(data: bytes) -> tuple[Search, list[bytes]]:
    """Recover a file; return the search, which has counted its work, and the keys.

    The work cannot be seen from outside, so this uses private names.
    """
    source = Source(data)
    parser = RecordParser(source, read_header(source), raw=True, validates=True, recovers=True)
    search = Search(parser)
    records = [record for batch in recover_batches(parser, [], search) for record in batch]
    return search, [record.key for record in records if isinstance(record, KeyRecord)]


VALID_KEY = b"\xfe\0\0\1a\1b"


@pytest.mark.parametrize("record", [b"\xfe\0", b"\xfb\0\0", b"\xf9", b"\xfa\0\0"])
def test_work_grows_with_the_size(record: bytes) -> None:
    """The search does not repeat its work for many records of which none is a key."""
    search, keys = search_of(b"REDIS0009" + VALID_KEY + b"\x77" + record * 4000)
    assert keys == [b"a"]
    assert search.work < 1000 * 4000 * len(record)


def test_work_is_remembered() -> None:
    """The records that a failed trial has passed are not parsed again from the second one on."""
    members = (b"\x1f" + b"x" * 31) * 63
    sets = b"".join(b"\2\3%03d\x3f" % number + members for number in range(3))
    search, _ = search_of(b"REDIS0009" + VALID_KEY + b"\x77" + (sets + b"\x77") * 200)
    assert search.work < 1.7 * 200 * len(sets)


def test_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes too long is given up, which is reported."""
    assert MAX_WORK_PER_BYTE <= 8 and MAX_WORK <= 1 << 27
    monkeypatch.setattr("telstate_rdb._resync.MAX_WORK", 1000)
    monkeypatch.setattr("telstate_rdb._resync.MAX_WORK_PER_BYTE", 0)
    lists = b"".join(b"\1\3%03d\x3f" % number for number in range(500))
    reader = read_rdb(b"REDIS0009" + VALID_KEY + b"\x77" + lists + b"\x77", strict=False)
    assert [record.key for record in reader] == [b"a"]
    assert "given up" in reader.losses[-1].reason


def test_zeros_are_skipped() -> None:
    """Zeros are skipped without a trial, and the records after them are found."""
    hole = bytes(1 << 20)
    search, keys = search_of(DATA[: STARTS[10]] + b"\xf2" + hole + DATA[STARTS[10] :])
    assert keys == [record.key for record in RECORDS]
    assert search.trials < 10


@pytest.mark.parametrize("before", [1000, BLOCK_STEP - 40, 2 * BLOCK_STEP - 100, 20_000_000])
def test_the_same_from_every_source(tmp_path: Path, before: int) -> None:
    """A path, a pipe and bytes give the same records, however large the corrupt part is."""
    hole = bytes(before) + b"\xf2" * 60
    big = b"\0\3big\x80" + struct.pack(">I", 1 << 22) + bytes(1 << 22)
    data = DATA[: STARTS[10]] + b"\xf2" + hole + big + DATA[STARTS[10] :]
    path = tmp_path / "broken.rdb"
    path.write_bytes(data)

    sources = (data, path, ChunkedReader(data, 77_777))
    readers = [read_rdb(source, strict=False) for source in sources]
    found = [[record.key for record in reader] for reader in readers]
    keys = [record.key for record in RECORDS]
    assert found == [[*keys[:10], b"big", *keys[10:]]] * 3
    assert readers[0].losses == readers[1].losses == readers[2].losses


def test_value_that_ends_too_early() -> None:
    """If no record follows a malformed value, the loss begins with its record."""
    bad = b"\x0d\x03bad\x04abcd"
    data = DATA[: STARTS[7]] + bad + b"\xf2" * 9 + DATA[STARTS[7] :]
    records, losses = recover(data)
    assert records == RECORDS
    assert (losses[0].offset, losses[0].size, losses[0].key) == (STARTS[7], len(bad) + 9, b"bad")


@pytest.mark.parametrize("raw", [False, True], ids=["decoded", "raw"])
def test_long_malformed_value(tmp_path: Path, raw: bool) -> None:
    """A malformed value that is longer than what is read at once costs only its key."""
    members = [b"%030d" % number for number in range(50_000)]
    members[-1] = members[0]
    body = b"\x80" + struct.pack(">I", len(members)) + b"".join(map(encode_string, members))
    valid = b"\x80" + struct.pack(">I", len(members) - 1) + body[5:-31]
    data = make_file(
        b"\x00\x01a\x01A", b"\x02\x01b" + body, b"\x02\x01c" + valid, b"\x00\x01d\x01D"
    )
    path = tmp_path / "broken.rdb"
    path.write_bytes(data)
    for source in (path, data, ChunkedReader(data, 77_777)):
        reader = read_rdb(source, strict=False, raw=raw)
        records = list(reader)
        assert [record.key for record in records] == [b"a", b"c", b"d"]
        if raw:
            assert records[1].value == RawValue(2, valid, 11)
        expected = Loss(9 + 5 + 3, len(body), b"b", "a set has a member twice")
        assert (reader.losses, reader.checksum) == ([expected], "ok")
