"""Lazy tables decode to what a plain read gives, and no broken table is left undecoded."""

from __future__ import annotations

import io
import struct
import tempfile
from array import array
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import (
    NO_SAMPLES,
    SAMPLES,
    ChunkedReader,
    decode,
    make_file,
    outcome,
    read_lazily_and_decode,
    sample_rows,
)
from rdb_strategies import HASHES, SETS, SORTED_SETS, TEXTS

from telstate_rdb import (
    KeyRecord,
    LazyTable,
    RdbParseError,
    RdbWriter,
    SortedSet,
    Value,
    decode_raw,
    read_lazily,
    read_rdb,
)
from telstate_rdb.lzf import decompress
from telstate_rdb.reader import verify_checksum

# A hash with a repeated field, and sorted sets with an LZF member that refers to bytes before its start:
# valid as far as their lengths go.
BAD_LZF = b"\xc3\x03\x05\x00a\xff"
BAD_TABLES = {
    "field twice": b"\x04\x01k\x02\x01a\x011\x01a\x012",
    "compressed member": b"\x05\x01k\x03\x01a"
    + bytes(8)
    + BAD_LZF
    + bytes(8)
    + b"\x01c"
    + bytes(8),
    "first member": b"\x05\x01k\x02" + BAD_LZF + bytes(8) + b"\x01b" + bytes(8),
    "score as text": b"\x03\x01k\x02\x01a\x010" + BAD_LZF + b"\x010",
}
AFTER = b"\x00\x05after\x011"


@given(
    st.lists(SORTED_SETS | HASHES | SETS | TEXTS, max_size=4),
    st.sampled_from([6, 7, 8, 9, 10, 11, 12]),
    st.booleans(),
    st.sampled_from([1000, 5000, 70_000]),
)
def test_every_encoding(values: list[Value], version: int, compress: bool, size: int) -> None:
    """A file of any version and from any source, read lazily, has the same values as in a plain read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.rdb"
        with RdbWriter(path, version=version, compress=compress) as writer:
            for number, value in enumerate(values):
                writer.write(b"%d" % number, value)
        data = path.read_bytes()
    expected = list(read_rdb(data))
    for raw in (False, True):
        assert read_lazily_and_decode(data, raw=raw) == expected
        assert read_lazily_and_decode(ChunkedReader(data, size), raw=raw) == expected


@NO_SAMPLES
@pytest.mark.parametrize(
    "row", sample_rows() or [{"file": "no samples"}], ids=lambda row: row["file"]
)
def test_samples(row: dict[str, str]) -> None:
    """Every sample, read lazily, gives the same records or the same error as a plain read."""
    path = SAMPLES / row["file"]
    expected = outcome(read_rdb, path.read_bytes())
    assert outcome(read_lazily_and_decode, path.read_bytes()) == expected
    raw = outcome(lambda source: read_lazily_and_decode(source, raw=True), path.read_bytes())
    assert raw == expected or isinstance(expected, str)


def test_sorted_sets_with_one_score_are_lazy() -> None:
    """A sorted set whose members all have one score is lazy and has that score; others are decoded."""
    one = b"\x05\x01a\x02\x01x" + struct.pack("<d", 2.5) + b"\x01y" + struct.pack("<d", 2.5)
    other = b"\x05\x01b\x02\x01x" + bytes(8) + b"\x01y" + struct.pack("<d", -0.0)
    text = b"\x03\x01c\x02\x01x\x041e-3\x01y\x041e-3\x03\x01d\x02\x01x\x010\x01y\x0217"
    infinite = b"\x03\x01e\x01\x01x\xfe"
    records = list(read_lazily(make_file(one + other + text + infinite)))
    found = [
        (each.value.count, each.value.score) if isinstance(each.value, LazyTable) else each.value
        for each in records
    ]
    assert found == [
        (2, 2.5),
        SortedSet((b"x", b"y"), array("d", [0.0, -0.0])),
        (2, 1e-3),
        SortedSet((b"x", b"y"), array("d", [0.0, 17.0])),
        (1, float("inf")),
    ]


# Members as sensors have them (a time and a value), of one length in a row or of several, with and without order.
_TIMES = st.integers(0, 3).map(lambda number: struct.pack(">d", 1.6e9 + number))
_MEMBERS = st.lists(
    st.builds(bytes.__add__, _TIMES, st.binary(max_size=3)) | st.binary(max_size=9),
    min_size=1,
    unique=True,
)


@given(_MEMBERS, st.integers(0, 40), st.randoms(use_true_random=False), st.sampled_from([6, 9]))
def test_ends(members: list[bytes], more: int, random: Random, version: int) -> None:
    """The smallest and the largest member are found without decoding the others."""
    members += [struct.pack(">d", 1e9 * number) + b"same length" for number in range(more)]
    members.append(struct.pack(">d", 2e9) + bytes(70_000))
    random.shuffle(members)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.rdb"
        with RdbWriter(path, version=version, compress=True) as writer:
            writer.write(b"k", SortedSet(tuple(members), array("d", bytes(8 * len(members)))))
        (record,) = read_lazily(path)
    assert isinstance(record.value, LazyTable)
    assert record.value.find_ends() == (min(members), max(members))


def test_empty_tables_are_decoded() -> None:
    """A collection without members, which no server writes, is decoded."""
    values = [
        each.value for each in read_lazily(make_file(b"\x05\x01a\x00\x04\x01b\x00\x03\x01c\x00"))
    ]
    assert not any(isinstance(value, LazyTable) for value in values)


@pytest.mark.parametrize("name", BAD_TABLES)
def test_broken_under_a_right_checksum(name: str) -> None:
    """If the checksum is right, a broken table raises a complete error when it is decoded."""
    data = make_file(BAD_TABLES[name] + AFTER)
    with pytest.raises(RdbParseError) as at_once:
        list(read_rdb(data, name="odd.rdb"))
    broken, after = read_lazily(data, name="odd.rdb")
    assert isinstance(broken.value, LazyTable)
    with pytest.raises(RdbParseError) as later:
        broken.value.decode()
    assert (later.value.file, later.value.key) == ("odd.rdb", b"k")
    assert later.value.reason == at_once.value.reason
    assert 9 < (later.value.offset or 0) < len(data) - len(AFTER)
    assert after == KeyRecord(0, b"after", b"1")


@pytest.mark.parametrize("name", BAD_TABLES)
@pytest.mark.parametrize("form", ["no checksum", "old", "pipe"])
def test_broken_without_a_checksum(name: str, form: str) -> None:
    """If no checksum was verified before, a broken table is an error while reading."""
    data = make_file(BAD_TABLES[name] + AFTER)
    if form == "no checksum":
        data = data[:-8] + bytes(8)
    elif form == "old":
        data = data[:-8].replace(b"REDIS0011", b"REDIS0004")
    for raw in (False, True):
        source = ChunkedReader(data, 10) if form == "pipe" else data
        with pytest.raises(
            RdbParseError, match="twice" if raw and name == "field twice" else "key b'k'"
        ):
            for each in read_lazily(source, raw=True) if raw else read_lazily(source):
                if not isinstance(each.value, LazyTable):
                    decode(each.value)


TABLES = (
    b"\x05\x01a\x0a"
    + b"".join(b"\x0a%010d" % number + bytes(8) for number in range(10))
    + b"\x04\x01b\x03\x01x\x03one\x01y\xc0\x07\x01z\xc3\x05\x0b\x00a\xe0\x01\x00"
    + b"\x03\x01c\x02\x01x\x010\x01y\x010"
    + AFTER
)


def test_one_wrong_byte_under_a_checksum() -> None:
    """One wrong byte anywhere is an error at the call, the same as that of a plain read."""
    data = make_file(TABLES)
    for place in range(9, len(data)):
        wrong = data[:place] + bytes((data[place] ^ 0x41,)) + data[place + 1 :]
        expected = outcome(read_rdb, wrong)
        if wrong[-8:] == bytes(8) or not isinstance(expected, str):
            continue
        with pytest.raises(RdbParseError) as caught:
            read_lazily(wrong)
        assert str(caught.value) == expected


def test_truncated() -> None:
    """A file that is truncated anywhere is an error at the call or while reading."""
    data = make_file(TABLES)
    for size in range(len(data)):
        with pytest.raises(RdbParseError):
            list(read_lazily(data[:size]))
        with pytest.raises(RdbParseError):
            list(read_lazily(ChunkedReader(data[:size], 7)))


@pytest.mark.parametrize("flip", [0x01, 0x41, 0x80, 0xFF])
def test_one_wrong_byte_without_a_checksum(flip: int) -> None:
    """Without a checksum, a wrong byte has the effect that it has on a plain read."""
    data = make_file(TABLES)[:-8] + bytes(8)
    for place in range(9, len(data) - 8):
        wrong = data[:place] + bytes((data[place] ^ flip,)) + data[place + 1 :]
        try:
            expected = list(read_rdb(wrong))
        except RdbParseError:
            with pytest.raises(RdbParseError):
                list(read_lazily(wrong))
        else:
            assert read_lazily_and_decode(wrong) == expected


CHECKSUMS = [
    (make_file(b""), True),
    (make_file(TABLES, version=5), True),
    (make_file(TABLES)[:-8] + bytes(8), None),
    (b"REDIS0004\xff", None),
    (b"REDIS0010", False),
    (b"REDIS", None),
    (b"", None),
    (b"no RDB file, this", None),
    (make_file(TABLES) + b"!", False),
    (make_file(TABLES) + b"\0", True),  # because a CRC cannot see zeros after it; reading does
    (make_file(TABLES)[:-1], False),
    (b"VALKEY080\xff" + bytes(range(8)), False),
]


@pytest.mark.parametrize(("data", "expected"), CHECKSUMS)
def test_verify_checksum(data: bytes, expected: bool | None, tmp_path: Path) -> None:
    """The checksum of everything that can be read twice is verified; files keep their position."""
    path = tmp_path / "x.rdb"
    path.write_bytes(b"before" + data)
    with path.open("rb") as file, path.open("rb", buffering=0) as unbuffered:
        for each in (file, unbuffered, io.BytesIO(b"before" + data)):
            each.seek(6)
            assert verify_checksum(each) is expected
            assert each.tell() == 6
    path.write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), path, str(path)):
        assert verify_checksum(source) is expected
    assert verify_checksum(ChunkedReader(data, 3)) is None


def test_long_values(tmp_path: Path) -> None:
    """A value that is longer than what is read at once is complete."""
    members = tuple(bytes([65 + number]) * 300_000 for number in range(5))
    value = SortedSet(members, array("d", bytes(40)))
    with RdbWriter(tmp_path / "long.rdb", version=9) as writer:
        writer.write(b"long", value)
        writer.write(b"short", b"1")
    first, second = read_lazily(tmp_path / "long.rdb")
    assert isinstance(first.value, LazyTable)
    assert first.value.decode() == value == decode_raw(first.value.raw)
    assert second == KeyRecord(0, b"short", b"1")


def test_different_score_at_the_end(tmp_path: Path) -> None:
    """A long sorted set with another score at its end is decoded from its first byte."""
    members = tuple(b"%08d" % number * 40 for number in range(4000))
    value = SortedSet(members, array("d", [0.0] * 3999 + [1.0]))
    with RdbWriter(tmp_path / "long.rdb", version=9) as writer:
        writer.write(b"long", value)
        writer.write(b"short", b"1")
    for source in (
        tmp_path / "long.rdb",
        ChunkedReader((tmp_path / "long.rdb").read_bytes(), 70_000),
    ):
        assert list(read_lazily(source)) == [
            KeyRecord(0, b"long", value),
            KeyRecord(0, b"short", b"1"),
        ]


def test_filters() -> None:
    """Databases, keys and types are filtered as in a plain read."""
    data = make_file(b"\xfe\x03" + TABLES)
    assert [each.key for each in read_lazily(data, keys="[ac]")] == [b"a", b"c"]
    assert [each.key for each in read_lazily(data, types="hash", databases=3)] == [b"b"]
    assert list(read_lazily(data, databases=0)) == []
    assert decompress(b"\x00a\xe0\x01\x00", 11) == b"a" * 11  # as in one of the tables
