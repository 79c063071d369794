"""Decoding ziplists, listpacks, intsets and zipmaps, entry by entry, valid and malformed."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb import RdbParseError
from telstate_rdb._packed import listpack, ziplist
from telstate_rdb._packed.intset import decode_intset
from telstate_rdb._packed.listpack import decode_listpack
from telstate_rdb._packed.ziplist import decode_ziplist
from telstate_rdb._packed.zipmap import decode_zipmap

LONG = bytes(range(256)) * 2

# One row for each kind of entry: its bytes without the sizes that link it to others, and its text.
ZIPLIST_ENTRIES = [
    (b"\x00", b""),
    (b"\x05hello", b"hello"),
    (b"\x3f" + LONG[:63], LONG[:63]),
    (b"\x40\x40" + LONG[:64], LONG[:64]),
    (b"\x42\x00" + LONG, LONG),
    (b"\x80\x00\x00\x00\x03abc", b"abc"),
    (b"\xc0\xff\x7f", b"32767"),
    (b"\xd0\x00\x00\x00\x80", b"-2147483648"),
    (b"\xe0" + b"\xff" * 8, b"-1"),
    (b"\xf0\x00\x00\x80", b"-8388608"),
    (b"\xf1", b"0"),
    (b"\xfd", b"12"),
    (b"\xfe\x80", b"-128"),
]
LISTPACK_ENTRIES = [
    (b"\x00", b"0"),
    (b"\x7f", b"127"),
    (b"\x80", b""),
    (b"\x85hello", b"hello"),
    (b"\xbf" + LONG[:63], LONG[:63]),
    (b"\xc0\x80", b"128"),
    (b"\xcf\xff", b"4095"),
    (b"\xd0\x00", b"-4096"),
    (b"\xdf\xff", b"-1"),
    (b"\xe0\x40" + LONG[:64], LONG[:64]),
    (b"\xe2\x00" + LONG, LONG),
    (b"\xf0\x03\x00\x00\x00abc", b"abc"),
    (b"\xf1\x00\x80", b"-32768"),
    (b"\xf2\xff\xff\x7f", b"8388607"),
    (b"\xf3\x00\x00\x00\x80", b"-2147483648"),
    (b"\xf4" + b"\xff" * 7 + b"\x7f", b"9223372036854775807"),
]


def make_ziplist(entries: list[bytes], count: int | None = None) -> bytes:
    """Make a ziplist of entries without the sizes in front of them."""
    body = b""
    last = previous = 0
    for entry in entries:
        last = len(body)
        size = bytes([previous]) if previous < 254 else b"\xfe" + struct.pack("<I", previous)
        body += size + entry
        previous = len(size) + len(entry)
    count = len(entries) if count is None else count
    return struct.pack("<IIH", len(body) + 11, 10 + last, count) + body + b"\xff"


def own_size(size: int) -> bytes:
    """Encode the size of an entry of a listpack, below 16384."""
    return bytes([size]) if size < 128 else bytes([size >> 7, size & 127 | 128])


def make_listpack(entries: list[bytes], count: int | None = None) -> bytes:
    """Make a listpack of entries without the sizes after them."""
    body = b"".join(entry + own_size(len(entry)) for entry in entries)
    count = len(entries) if count is None else count
    return struct.pack("<IH", len(body) + 7, count) + body + b"\xff"


FORMS = [
    pytest.param(make_ziplist, decode_ziplist, ZIPLIST_ENTRIES, id="ziplist"),
    pytest.param(make_listpack, decode_listpack, LISTPACK_ENTRIES, id="listpack"),
]
Make = Callable[..., bytes]
Decode = Callable[[bytes], list[bytes]]
Entries = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(("make", "decode", "entries"), FORMS)
def test_every_kind_of_entry(make: Make, decode: Decode, entries: Entries) -> None:
    """Every kind of entry is decoded, alone, after every other, and without a count in the header."""
    assert decode(make([])) == []
    assert decode(make([entry for entry, _ in entries], 65535)) == [text for _, text in entries]
    for first, first_text in entries:
        for second, second_text in entries:
            assert decode(make([first, second])) == [first_text, second_text]


@pytest.mark.parametrize(("make", "decode", "entries"), FORMS)
def test_every_change(make: Make, decode: Decode, entries: Entries) -> None:
    """Every change of a byte, every truncation and every addition gives entries or RdbParseError."""
    data = make([entry for entry, _ in entries])
    for position in range(len(data)):
        for change in (1, 0x80, 0xFF, 0x40):
            changed = data[:position] + bytes([data[position] ^ change]) + data[position + 1 :]
            try:
                decode(changed)
            except RdbParseError:
                pass
        with pytest.raises(RdbParseError):
            decode(data[:position])
    with pytest.raises(RdbParseError):
        decode(data + b"\xff")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (make_ziplist([b"\x01a"], 2), "has 1 entries, but its header says 2"),
        (make_ziplist([b"\x3fa"]), "points beyond its end"),
        (make_ziplist([b"\x80\xff\xff\xff\xffa"]), "points beyond its end"),
        (make_ziplist([b"\xff"]), "has the unknown encoding"),
        (make_ziplist([b"\x90"]), "has the unknown encoding"),
        (make_ziplist([b"\x01a"])[:-1] + b"\xff\xff", "but its header says"),
        (
            make_ziplist([b"\x01a", b"\x01b"]).replace(b"\x03\x01b", b"\x04\x01b"),
            "has the wrong size of the one before",
        ),
        (b"\x0f\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff\xff", "with more bytes after it"),
        (
            b"\x0e\0\0\0\x0b\0\0\0\x01\0\0\x01a\xff",
            "last entry of a ziplist is at byte 10, not at 11",
        ),
        (b"\x0e\0\0\0\x0a\0\0\0", "truncated"),
    ],
)
def test_malformed_ziplists(data: bytes, reason: str) -> None:
    """A malformed ziplist raises an error with the reason."""
    with pytest.raises(RdbParseError, match=reason):
        decode_ziplist(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (make_listpack([b"\x81a"], 2), "has 1 entries, but its header says 2"),
        (make_listpack([b"\xbfa"]), "points beyond its end"),
        (make_listpack([b"\xf0\xff\xff\xff\xffa"]), "does not end with its size"),
        (make_listpack([b"\xf5"]), "has the unknown encoding"),
        (b"\x0a\0\0\0\x01\0\x81a\x03\xff", "does not end with its size"),
        (b"\x09\0\0\0\x01\0\x01\x02\xff", "does not end with its size"),
        (b"\x0a\0\0\0\x01\0\x01\x01\xff\xff", "with more bytes after it"),
        (b"\x0e\0\0\0", "truncated"),
    ],
)
def test_malformed_listpacks(data: bytes, reason: str) -> None:
    """A malformed listpack raises an error with the reason."""
    with pytest.raises(RdbParseError, match=reason):
        decode_listpack(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\x01\x01a", "reaches beyond its end"),
        (b"\x01\x05a\x00\xff", "reaches beyond its end"),
        (b"\x01\x01a\x01\x05b\xff", "reaches beyond its end"),
        (b"\x01\x01a\xff", "a field without a value"),
        (b"\x02\x01a\x01\x00b\xff", "has 1 fields, but its first byte says 2"),
        (b"\x01\x01a\x01\x00b\xff\xff", "with more bytes after it"),
    ],
)
def test_malformed_zipmaps(data: bytes, reason: str) -> None:
    """A malformed zipmap raises an error with the reason."""
    with pytest.raises(RdbParseError, match=reason):
        decode_zipmap(data)


def test_zipmap() -> None:
    """Long strings, padding and an unknown count are decoded."""
    big = b"\xfe" + struct.pack("<I", 300)
    data = b"\xfe\x01a\x02\x03bc???" + big + b"f" * 300 + big + b"\x00" + b"v" * 300 + b"\xff"
    assert decode_zipmap(data) == [b"a", b"bc", b"f" * 300, b"v" * 300]


@pytest.mark.parametrize(("width", "code"), [(2, "h"), (4, "i"), (8, "q")])
def test_intset(width: int, code: str) -> None:
    """Integers of each width are decoded, including the least and the greatest."""
    greatest = 2 ** (8 * width - 1) - 1
    numbers = [-greatest - 1, -1, 0, greatest]
    data = struct.pack(f"<II4{code}", width, 4, *numbers)
    assert decode_intset(data) == [b"%d" % number for number in numbers]
    with pytest.raises(RdbParseError, match="its header says 4 integers"):
        decode_intset(data + b"\0")


PAIRS = st.tuples(st.integers(0, 70), st.integers(1, 40), st.integers(0, 14))


@given(PAIRS, st.integers(0, 1000), st.integers(1, 255))
def test_uniform_pairs(shape: tuple[int, int, int], position: int, change: int) -> None:
    """Pairs decoded in bulk equal those decoded one by one, and no change is overlooked."""
    width, count, second = shape
    members = [(b"%d" % i).rjust(width, b".")[-width or 99 :] for i in range(count)]
    members = [member[:width] for member in members]
    head = (
        bytes([width]) if width < 64 else b"\x40" + bytes([width]),
        bytes([128 + width]) if width < 64 else b"\xe0" + bytes([width]),
    )
    number = bytes([0xF1 + second]) if second < 13 else bytes([0xFE, second])
    for data, decode, bulk in (
        (
            make_ziplist([part for m in members for part in (head[0] + m, number)]),
            decode_ziplist,
            ziplist.decode_ziplist_pairs,
        ),
        (
            make_listpack([part for m in members for part in (head[1] + m, bytes([second]))]),
            decode_listpack,
            listpack.decode_listpack_pairs,
        ),
    ):
        assert decode(data) == [part for m in members for part in (m, b"%d" % second)]
        found = bulk(data)
        if found is not None:
            assert found == (tuple(members), b"%d" % second)
        else:
            assert width > 63 or second > 12
        position %= len(data)
        changed = data[:position] + bytes([data[position] ^ change]) + data[position + 1 :]
        found = bulk(changed)
        if found is not None:
            assert [part for m in found[0] for part in (m, found[1])] == decode(changed)
