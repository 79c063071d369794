"""Tables, uniform or not, in one piece or many, are read and skipped correctly."""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import ChunkedReader, encode_length, encode_string, make_file, read_lazily_and_decode

from telstate_rdb import (
    Hash,
    KeyRecord,
    List,
    RawValue,
    RdbParseError,
    Set,
    SortedSet,
    Value,
    read_rdb,
)
from telstate_rdb._bulk.encode_strings import encode_string as encode_shortest
from telstate_rdb._source import Source
from telstate_rdb.lzf import compress_lzf

# Lengths and numbers of strings: runs that are taken apart in one step, and what interrupts them.
RUNS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 8, 17, 62, 63, 64, 65, 200, 300]),
        st.sampled_from([1, 2, 7, 8, 9, 63, 64, 65, 130]),
    ),
    min_size=1,
    max_size=4,
)
SCORES = st.lists(st.floats(allow_nan=False), min_size=1, max_size=3)


def strings(runs: list[tuple[int, int]]) -> list[bytes]:
    """Return different strings in runs of one length; very short ones cannot all differ."""
    return [
        (
            (b"%x:" % (place * 1000 + i)).ljust(size, b"\x07")[:size]
            if size < 9
            else (b"%x:" % (place * 1000 + i)).ljust(size, b"\x07")
        )
        for place, (size, count) in enumerate(runs)
        for i in range(count)
    ]


def check(type_: int, count: int, body: bytes, expected: Value, piece: int) -> None:
    """Compare a table with the expected value: decoded, skipped, raw and lazy, whole and in pieces."""
    value = encode_length(count) + body
    data = b"REDIS0004" + bytes([type_]) + b"\x01k" + value + b"\x00\x01z\x01z\xff"
    records = [KeyRecord(0, b"k", expected), KeyRecord(0, b"z", b"z")]
    for source in (data, ChunkedReader(data, piece)):
        assert list(read_rdb(source)) == records
    for source in (data, ChunkedReader(data, piece)):
        assert list(read_rdb(source, keys="z")) == records[1:]
    for source in (data, ChunkedReader(data, piece)):
        assert next(read_rdb(source, raw=True)).value == RawValue(type_, value, 4)
    trusted = make_file(data[9:-1])
    for raw in (False, True):
        for source in (ChunkedReader(data, piece), trusted):
            assert read_lazily_and_decode(source, raw=raw) == records


PIECE = st.sampled_from([1, 7, 100, 1000, 5000])


@given(RUNS, PIECE)
def test_lists(runs: list[tuple[int, int]], piece: int) -> None:
    """The elements of a list are in order."""
    elements = strings(runs)
    body = b"".join(map(encode_string, elements))
    check(1, len(elements), body, List(tuple(elements)), piece)


@given(RUNS, PIECE)
def test_sets(runs: list[tuple[int, int]], piece: int) -> None:
    """The members of a set are in the order of the file."""
    members = list(dict.fromkeys(strings(runs)))
    body = b"".join(map(encode_string, members))
    check(2, len(members), body, Set(tuple(members)), piece)


@given(RUNS, st.integers(0, 70), PIECE)
def test_hashes(runs: list[tuple[int, int]], size: int, piece: int) -> None:
    """Every field of a hash has its value."""
    fields = {field: field[::-1].rjust(size) for field in strings(runs)}
    body = b"".join(encode_string(field) + encode_string(value) for field, value in fields.items())
    check(4, len(fields), body, Hash(fields), piece)


@given(RUNS, SCORES, PIECE)
def test_sorted_sets(runs: list[tuple[int, int]], scores: list[float], piece: int) -> None:
    """Every member of a sorted set has its score, whether the scores are equal or not."""
    members = list(dict.fromkeys(strings(runs)))
    column = [scores[i % len(scores)] for i in range(len(members))]
    body = b"".join(encode_string(m) + struct.pack("<d", s) for m, s in zip(members, column))
    check(5, len(members), body, SortedSet(tuple(members), array("d", column)), piece)


@given(RUNS, SCORES, PIECE)
def test_sorted_sets_of_text(runs: list[tuple[int, int]], scores: list[float], piece: int) -> None:
    """Every member has its score if the scores are text, too."""
    members = list(dict.fromkeys(strings(runs)))
    column = [scores[i % len(scores)] for i in range(len(members))]
    body = b"".join(encode_string(m) + text_score(s) for m, s in zip(members, column))
    check(3, len(members), body, SortedSet(tuple(members), array("d", column)), piece)


def text_score(score: float) -> bytes:
    """Encode a score as text."""
    if score in (float("inf"), float("-inf")):
        return b"\xfe" if score > 0 else b"\xff"
    text = repr(score).encode()
    return bytes([len(text)]) + text


@pytest.mark.parametrize("change", ["length", "score"])
@pytest.mark.parametrize("place", [0, 1, 7, 8, 63, 64, 65, 127, 499])
def test_one_different_member(change: str, place: int) -> None:
    """One member with another length or score is noticed in a run wherever it is."""
    members = [b"%017d" % i for i in range(500)]
    column = [0.0] * 500
    if change == "length":
        members[place] += b"!"
    else:
        column[place] = 5e-324
    body = b"".join(encode_string(m) + struct.pack("<d", s) for m, s in zip(members, column))
    check(5, 500, body, SortedSet(tuple(members), array("d", column)), 3000)
    body = b"".join(encode_string(m) + text_score(s) for m, s in zip(members, column))
    check(3, 500, body, SortedSet(tuple(members), array("d", column)), 3000)


def test_more_than_a_window() -> None:
    """A sorted set of 200,000 members, read in chunks, is complete."""
    members = tuple(b"%020d" % i for i in range(200_000))
    body = b"".join(b"\x14" + member + bytes(8) for member in members)
    data = b"REDIS0004\x05\x01k\x80" + struct.pack(">I", 200_000) + body + b"\xff"
    (record,) = read_rdb(io.BytesIO(data))
    assert record.value == SortedSet(members, array("d", bytes(1_600_000)))
    assert list(read_rdb(io.BytesIO(data), types="string")) == []


UNUSUAL: list[tuple[str, bytes, bytes]] = [
    ("integer", b"\xc0\xff", b"-1"),
    ("long", b"\x80" + struct.pack(">I", 20000) + b"x" * 20000, b"x" * 20000),
    ("very long", b"\x81" + struct.pack(">Q", 3) + b"abc", b"abc"),
    ("compressed", b"\xc3\x05\x0b\x00a\xe0\x01\x00", b"a" * 11),
]


@pytest.mark.parametrize(
    ("name", "encoded", "expected"), UNUSUAL, ids=[name for name, _, _ in UNUSUAL]
)
def test_unusual_strings(name: str, encoded: bytes, expected: bytes) -> None:
    """Strings in unusual forms are read correctly among usual ones."""
    before, after = [b"%03d" % i for i in range(20)], [b"%03d" % i for i in range(20, 40)]
    elements = (*before, expected, *after)
    parts = [*map(encode_string, before), encoded, *map(encode_string, after)]
    check(1, 41, b"".join(parts), List(elements), 50)
    zeros = array("d", bytes(8 * 41))
    check(5, 41, b"".join(part + bytes(8) for part in parts), SortedSet(elements, zeros), 50)
    check(3, 41, b"".join(part + b"\x010" for part in parts), SortedSet(elements, zeros), 50)
    pairs = b"".join(part + b"\x01v" for part in parts)
    check(4, 41, pairs, Hash(dict.fromkeys(elements, b"v")), 50)


READS: list[tuple[Callable[[Source], object], bytes, object]] = [
    (Source.read_length, b"\x3f", 63),
    (Source.read_length, b"\x7f\xff", 16383),
    (Source.read_length, b"\x80\x00\x01\x00\x00", 65536),
    (Source.read_length, b"\x81" + b"\xff" * 8, 2**64 - 1),
    (Source.read_string, b"\xc0\x80", b"-128"),
    (Source.read_string, b"\xc1\x00\x80", b"-32768"),
    (Source.read_string, b"\xc2\xff\xff\xff\x7f", b"2147483647"),
]


@pytest.mark.parametrize(("read", "data", "expected"), READS)
def test_lengths_and_integers(
    read: Callable[[Source], object], data: bytes, expected: object
) -> None:
    """Each form of a length and of an integer is read, and none of the bytes after it."""
    source = Source(data + b"more")
    assert read(source) == expected
    assert source.offset == len(data)
    assert read(Source(ChunkedReader(data, 1))) == expected


@pytest.mark.parametrize("size", [1, 63, 64, 127, 128, 192, 193, 194, 252])
def test_long_text_scores(size: int) -> None:
    """A score is as long as its first byte says, even where that would mean another form of a string."""
    members = tuple(b"%02d" % number for number in range(20))
    texts = [b"%d" % (number % 10) for number in range(19)] + [b"7".zfill(size)]
    body = b"".join(
        encode_string(member) + bytes([len(text)]) + text for member, text in zip(members, texts)
    )
    check(3, 20, body, SortedSet(members, array("d", map(float, texts))), 50)


MIXED = [
    text
    for number in range(300)
    for text in (b"%d" % number, b"beam %d " % number * (10 + number), b"antenna m%03d" % number)
]


def test_compressed_strings_are_read_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, compressed and plain strings in turn are read in blocks, not one by one."""
    table = b"".join(encode_shortest(text, compress_lzf) for text in MIXED)
    file = make_file(b"\x02\x03set" + encode_length(len(MIXED)) + table)
    read_string = Source.read_string
    calls: list[int] = []

    def count(self: Source) -> bytes:
        calls.append(self.offset)
        return read_string(self)

    monkeypatch.setattr(Source, "read_string", count)
    assert [record.value for record in read_rdb(file)] == [Set(tuple(MIXED))]
    assert len(calls) <= 2


def test_a_string_that_cannot_be_decompressed() -> None:
    """The error has the offset of the compressed bytes, whatever is before and after them."""
    packed = compress_lzf(b"telstate" * 20)
    assert packed is not None
    before = b"\x02\x03set\x03\x04gain\xc3" + encode_length(len(packed)) + encode_length(161)
    with pytest.raises(RdbParseError, match="shorter than its string") as caught:
        list(read_rdb(make_file(before + packed + b"\xc0\x07")))
    assert caught.value.offset == 9 + len(before)
