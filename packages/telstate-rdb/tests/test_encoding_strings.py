"""Lengths, strings and LZF: what is written is what is read, in the fewest bytes."""

from __future__ import annotations

import pytest
import rdb_strategies as values
from hypothesis import example, given
from hypothesis import strategies as st

from telstate_rdb._bulk.encode_strings import (
    Compress,
    encode_length,
    encode_string,
    encode_strings,
    encode_with_suffix,
    encode_with_suffixes,
    integer_of,
)
from telstate_rdb._source import Source
from telstate_rdb.lzf import compress_in_python, compress_lzf, decompress

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
    """A length takes the shortest form."""
    assert encode_length(length).hex() == expected


@pytest.mark.parametrize("compress", COMPRESSORS)
@given(text=TEXTS)
def test_string_round_trip(compress: Compress | None, text: bytes) -> None:
    """A string that is written is read again."""
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
    """A string is an integer if it is the one text of a 32-bit integer."""
    assert encode_string(text).hex() == expected


@pytest.mark.parametrize("compress", COMPRESSORS)
@given(texts=st.lists(TEXTS, max_size=20), suffix=st.binary(max_size=3))
@example(texts=[b"one length"] * 3, suffix=b"!")
def test_many_strings_are_each_string(
    compress: Compress | None, texts: list[bytes], suffix: bytes
) -> None:
    """Writing many strings gives the bytes that writing each gives."""
    each = [encode_string(text, compress) for text in texts]
    assert encode_strings(texts, compress) == b"".join(each)
    if texts:
        with_suffix = b"".join(one + suffix for one in each)
        assert encode_with_suffix(texts, suffix, compress) == with_suffix
    suffixes = [b"%d" % place for place in range(len(texts))]
    expected = b"".join(map(b"".join, zip(each, suffixes, strict=True)))
    assert encode_with_suffixes(texts, suffixes, compress) == expected


@given(values.INTEGERS)
def test_integer_texts(number: int) -> None:
    """Exactly the texts of 64-bit integers are taken for integers."""
    expected = number if -(2**63) <= number < 2**63 else None
    assert integer_of(b"%d" % number) == expected
    assert integer_of(b"+%d" % number) is None


@given(values.NEAR_INTEGERS)
def test_what_only_looks_like_an_integer(text: bytes) -> None:
    """A text that is not how its number is printed is no integer."""
    assert integer_of(text) is None


REPETITIVE = st.lists(st.sampled_from([b"abc", b"abcd", b"xyz" * 100, b"\0" * 9, b"q"])).map(
    b"".join
)


@given(REPETITIVE | st.binary(max_size=300) | values.long_texts())
def test_lzf_round_trip(data: bytes) -> None:
    """What is compressed is smaller and can be decompressed; otherwise it is not compressed."""
    packed = compress_in_python(data)
    if packed is not None:
        assert len(packed) <= len(data) - 4
        assert decompress(packed, len(data)) == data


def test_lzf_reaches_as_far_back_as_the_format_does() -> None:
    """A repetition 8192 bytes back is found, one beyond is not."""
    noise = bytes(range(256))
    near, far = noise + bytes(7936) + noise, noise + bytes(7937) + noise
    sizes = [len(compress_in_python(data) or data) for data in (near, far)]
    assert sizes[0] < sizes[1]
    for data in (near, far):
        assert decompress(compress_in_python(data) or b"", len(data)) == data
