"""Recovery: what is whole is given, what is lost is named, nothing is invented."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import Dripping

from telstate_rdb import KeyRecord, Loss, RawValue, RdbParseError, Value, read_rdb
from telstate_rdb.crc import crc64

COUNT = 40


def string(data: bytes) -> bytes:
    """Encode a string plainly."""
    size = bytes([len(data)]) if len(data) < 64 else b"\x80" + struct.pack(">I", len(data))
    return size + data


def samples(count: int) -> bytes:
    """Make the body of a sorted set as a sensor's samples are."""
    content = (struct.pack(">d", 1.6e9 + i) + b"\xff\xcb" + bytes(8) for i in range(count))
    return bytes([count]) + b"".join(string(member) + bytes(8) for member in content)


PARTS = [b"REDIS0011", b"\xfa\x09redis-ver\x057.2.4", b"\xfe\x00"]
for number in range(COUNT):
    key = string(b"key:%03d" % number)
    PARTS.append(
        [
            b"\x00" + key + string(b"value %d" % number),
            b"\x05" + key + samples(20),
            b"\xfc" + struct.pack("<q", 1700000000000 + number) + b"\x00" + key + b"\xc0\x05",
            b"\x04" + key + b"\x01\x05field\x05value",
        ][number % 4]
    )
PARTS.append(b"\xff")
CONTENT = b"".join(PARTS)
DATA = CONTENT + crc64(CONTENT).to_bytes(8, "little")
RECORDS = list(read_rdb(DATA))
STARTS = [len(b"".join(PARTS[: 3 + number])) for number in range(COUNT + 1)]


def recover(data: bytes) -> tuple[list[KeyRecord[Value]], list[Loss]]:
    """Recover a file; a source of single bytes must give the same."""
    reader = read_rdb(data, strict=False)
    records = list(reader)
    dripping = read_rdb(Dripping(data), strict=False)
    assert list(dripping) == records
    assert [loss.offset for loss in dripping.losses] == [loss.offset for loss in reader.losses]
    return records, reader.losses


def test_nothing_lost() -> None:
    """A sound file is recovered whole, with nothing to report."""
    assert recover(DATA) == (RECORDS, [])


def test_malformed_value() -> None:
    """A value that is malformed, but has an end, costs only its key."""
    bad = b"\x0d\x03bad\x04abcd"
    data = DATA[: STARTS[7]] + bad + DATA[STARTS[7] :]
    records, losses = recover(data)
    assert records == RECORDS
    assert losses[0] == Loss(
        STARTS[7] + 5, 5, b"bad", "a ziplist is cut short or points outside itself"
    )
    assert "the checksum is" in losses[1].reason


@pytest.mark.parametrize("place", [0, 1, 2, 3, 20, 36])
def test_record_overwritten(place: int) -> None:
    """After a record that makes no sense, the next ones are found again."""
    start, stop = STARTS[place], STARTS[place + 1]
    data = DATA[:start] + b"\xf0" * (stop - start) + DATA[stop:]
    records, losses = recover(data)
    assert records == RECORDS[:place] + RECORDS[place + 1 :]
    assert losses[0].offset == start
    assert losses[0].size == stop - start
    assert "is no opcode" in losses[0].reason


def test_forged_length() -> None:
    """A key whose length is a lie costs itself and no more."""
    data = DATA[: STARTS[8] + 1] + b"\x81" + b"\xff" * 8 + DATA[STARTS[8] + 8 :]
    records, losses = recover(data)
    assert records == RECORDS[:8] + RECORDS[9:]
    assert "are said to follow" in losses[0].reason or "cut short" in losses[0].reason


def test_two_losses() -> None:
    """Damage in two places is two losses."""
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
    """From a file that is cut short come the records before the cut."""
    records, losses = recover(DATA[:size])
    assert records == RECORDS[: len(records)]
    assert len(records) == sum(start <= size for start in STARTS[1:])
    assert len(losses) == 1
    assert losses[0].size is None


def test_rubbish_in_front_of_nothing() -> None:
    """Where no record follows the damage, nothing is made up."""
    noise = random.Random(1).randbytes(100_000)
    reader = read_rdb(DATA[: STARTS[10]] + b"\xf2" + noise, strict=False)
    assert list(reader) == RECORDS[:10]
    assert reader.losses[-1].offset == STARTS[10]
    assert reader.losses[-1].size is None


def test_zeros() -> None:
    """Zeros, which could be strings of no length, are not taken for records."""
    reader = read_rdb(DATA[: STARTS[10]] + b"\xf2" + bytes(1000), strict=False)
    assert list(reader) == RECORDS[:10]


def test_raw() -> None:
    """Raw values are recovered too, and looked at all the same."""
    data = DATA[: STARTS[7]] + b"\x0d\x03bad\x04abcd" + DATA[STARTS[7] :]
    reader = read_rdb(data, strict=False, raw=True)
    records = list(reader)
    assert [record.key for record in records] == [record.key for record in RECORDS]
    assert all(isinstance(record.value, RawValue) for record in records)
    assert [loss.key for loss in reader.losses] == [b"bad", None]


def test_header() -> None:
    """Without a header that is known nothing can be recovered: that is an error."""
    with pytest.raises(RdbParseError):
        read_rdb(b"RODIS0011" + DATA[9:], strict=False)


@given(st.integers(9, len(DATA) - 9), st.binary(min_size=1, max_size=40))
def test_any_damage(position: int, damage: bytes) -> None:
    """Whatever is overwritten, records before it survive, and a loss is reported."""
    stop = min(position + len(damage), len(DATA) - 8)
    data = DATA[:position] + damage[: stop - position] + DATA[stop:]
    records, losses = recover(data)
    assert losses or data == DATA
    before = [record for place, record in enumerate(RECORDS) if STARTS[place + 1] <= position]
    assert records[: len(before)] == before
