"""Encoding packed forms: they decode to the same texts and equal those of Redis byte for byte."""

from __future__ import annotations

import pytest
import rdb_strategies as values
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb._packed.intset import decode_intset, encode_intset
from telstate_rdb._packed.listpack import (
    decode_listpack,
    encode_listpack,
    encode_listpack_integer,
    encode_listpack_pairs,
)
from telstate_rdb._packed.ziplist import decode_ziplist, encode_ziplist, encode_ziplist_pairs

TEXTS = st.lists(values.TEXTS | values.NEAR_INTEGERS, max_size=30)
UNIFORM = st.integers(0, 70).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=40)
)


@given(TEXTS)
def test_ziplist_round_trip(texts: list[bytes]) -> None:
    """A ziplist decodes to the texts that it was made of."""
    assert decode_ziplist(encode_ziplist(texts)) == texts


@given(TEXTS)
def test_listpack_round_trip(texts: list[bytes]) -> None:
    """A listpack decodes to the texts that it was made of."""
    assert decode_listpack(encode_listpack(texts)) == texts


@given(UNIFORM | st.lists(values.TEXTS, min_size=1, max_size=10), values.TEXTS)
def test_pairs_in_bulk_are_pairs_one_by_one(texts: list[bytes], second: bytes) -> None:
    """Pairs with one second text are encoded in bulk to the same bytes as one by one."""
    one_by_one = [part for text in texts for part in (text, second)]
    assert encode_listpack_pairs(texts, second) == encode_listpack(one_by_one)
    assert encode_ziplist_pairs(texts, second[:64]) == encode_ziplist(
        [part[:64] if place % 2 else part for place, part in enumerate(one_by_one)]
    )


@given(st.sets(values.INTEGERS.filter(lambda number: -(2**63) <= number < 2**63)))
def test_intset_round_trip(numbers: set[int]) -> None:
    """An intset decodes to its numbers in ascending order."""
    assert decode_intset(encode_intset(numbers)) == [b"%d" % number for number in sorted(numbers)]


@pytest.mark.parametrize("count", [65534, 65535, 65536])
def test_more_entries_than_the_header_counts(count: int) -> None:
    """From 65535 entries on the count in the header is unknown."""
    texts = [b"abc"] * count
    assert decode_ziplist(encode_ziplist(texts)) == texts
    assert decode_listpack(encode_listpack(texts)) == texts


# Entries as Redis encodes them: the body of an entry of a ziplist, and a whole entry of a listpack.
ENTRIES = [
    (b"", "00", "80 01"),
    (b"a", "01 61", "81 61 02"),
    (b"0", "f1", "00 01"),
    (b"12", "fd", "0c 01"),
    (b"13", "fe 0d", "0d 01"),
    (b"-1", "fe ff", "df ff 02"),
    (b"127", "fe 7f", "7f 01"),
    (b"128", "c0 80 00", "c0 80 02"),
    (b"4095", "c0 ff 0f", "cf ff 02"),
    (b"4096", "c0 00 10", "f1 00 10 03"),
    (b"-4096", "c0 00 f0", "d0 00 02"),
    (b"32768", "f0 00 80 00", "f2 00 80 00 04"),
    (b"8388608", "d0 00 00 80 00", "f3 00 00 80 00 05"),
    (b"2147483648", "e0" + " 00 00 00 80 00 00 00 00", "f4 00 00 00 80 00 00 00 00 09"),
    (b"-9223372036854775808", "e0" + " 00" * 7 + " 80", "f4" + " 00" * 7 + " 80 09"),
    (b"9223372036854775808", "13" + b"9223372036854775808".hex(), None),
    (b"-0", "02 2d 30", "82 2d 30 03"),
    (b"007", "03 30 30 37", "83 30 30 37 04"),
    (b"x" * 63, "3f" + " 78" * 63, "bf" + " 78" * 63 + "40"),
    (b"x" * 64, "40 40" + " 78" * 64, "e0 40" + " 78" * 64 + "42"),
    (b"x" * 126, "40 7e" + " 78" * 126, "e0 7e" + " 78" * 126 + "01 80"),
    (b"x" * 16384, "80 00 00 40 00" + "78" * 16384, "f0 00 40 00 00" + "78" * 16384 + "01 80 85"),
]


@pytest.mark.parametrize(
    ("text", "ziplist", "listpack"), ENTRIES, ids=lambda value: str(value)[:24]
)
def test_entries(text: bytes, ziplist: str, listpack: str | None) -> None:
    """Each text is encoded as Redis encodes it."""
    assert encode_ziplist([text])[11:-1] == bytes.fromhex(ziplist)
    if listpack is not None:
        assert encode_listpack([text])[6:-1] == bytes.fromhex(listpack)


def test_number_beyond_64_bits() -> None:
    """An integer beyond 64 bits raises OverflowError."""
    with pytest.raises(OverflowError, match="more than 64 bits"):
        encode_listpack_integer(1 << 63)
