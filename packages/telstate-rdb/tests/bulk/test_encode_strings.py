"""Encoding lengths and strings: they are read back, and take the fewest bytes."""

from __future__ import annotations

import pytest
import rdb_strategies as values
from hypothesis import example, given
from hypothesis import strategies as st

from telstate_rdb._bulk.encode_strings import (
    encode_length,
    encode_string,
    encode_strings,
    encode_with_suffix,
    integer_of,
)
from telstate_rdb._source import Source
from telstate_rdb.lzf import Compress, compress_in_python, compress_lzf

COMPRESSORS = [None, compress_in_python, compress_lzf]
TEXTS = values.TEXTS | values.NEAR_INTEGERS


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "00"),
        (63, "3f"),
        (64, "4040"),
        (16383, "7fff"),
        (16384, "8000004000"),
        (2**32 - 1, "80ffffffff"),
        (2**32, "810000000100000000"),
        (2**64 - 1, "81ffffffffffffffff"),
    ],
)
def test_lengths(length: int, expected: str) -> None:
    """A length is encoded in the shortest form."""
    assert encode_length(length).hex() == expected


@pytest.mark.parametrize("compress", COMPRESSORS)
@given(text=TEXTS)
def test_string_round_trip(compress: Compress | None, text: bytes) -> None:
    """A string that is encoded is read back."""
    source = Source(encode_string(text, compress))
    assert source.read_string() == text
    assert source.at_end()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "00"),
        (b"0", "c000"),
        (b"-128", "c080"),
        (b"128", "c18000"),
        (b"-32769", "c2ff7fffff"),
        (b"2147483647", "c2ffffff7f"),
        (b"2147483648", "0a32313437343833363438"),
        (b"-0", "022d30"),
        (b"01", "023031"),
        (b"1\n", "02310a"),
    ],
)
def test_strings(text: bytes, expected: str) -> None:
    """A string is encoded as an integer if it is the canonical text of one of up to 32 bits."""
    assert encode_string(text).hex() == expected


@pytest.mark.parametrize("compress", COMPRESSORS)
@given(texts=st.lists(TEXTS, max_size=20), suffix=st.binary(max_size=3))
@example(texts=[b"one length"] * 3, suffix=b"!")
def test_many_strings_are_each_string(
    compress: Compress | None, texts: list[bytes], suffix: bytes
) -> None:
    """Many strings are encoded to the same bytes as each of them."""
    each = [encode_string(text, compress) for text in texts]
    assert encode_strings(texts, compress) == b"".join(each)
    if texts:
        with_suffix = b"".join(one + suffix for one in each)
        assert encode_with_suffix(texts, suffix, compress) == with_suffix
    suffixes = [b"%d" % place for place in range(len(texts))]
    expected = b"".join(map(b"".join, zip(each, suffixes, strict=True)))
    assert encode_strings(texts, compress, suffixes) == expected


@given(values.INTEGERS)
def test_integer_texts(number: int) -> None:
    """Exactly the texts of 64-bit integers are recognised."""
    expected = number if -(2**63) <= number < 2**63 else None
    assert integer_of(b"%d" % number) == expected
    assert integer_of(b"+%d" % number) is None


@given(values.NEAR_INTEGERS)
def test_near_integers(text: bytes) -> None:
    """A text that differs from the canonical text of its number is not an integer."""
    assert integer_of(text) is None
