"""LZF: compressed data of any origin is decompressed, and malformed data is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_strategies import long_texts

from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import (
    MAX_RATIO,
    Compress,
    compress_in_python,
    compress_lzf,
    decompress,
    decompress_in_python,
    decompress_quickly,
)

#: In C, where the extension was built, and in Python.
DECOMPRESSORS = [decompress_quickly, decompress_in_python]
COMPRESSORS = [compress_lzf, compress_in_python]
Decompress = Callable[[bytes, int], bytes]

LITERAL = st.binary(min_size=1, max_size=32)
COPY = st.tuples(st.integers(1, 8192), st.integers(3, 264))


def compressed(steps: list[bytes | tuple[int, int]]) -> tuple[bytes, bytes]:
    """Compress by the given steps; return the data and the string, which is made byte by byte."""
    data = bytearray()
    full = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            data += bytes([len(step) - 1]) + step
            full += step
            continue
        distance, length = step
        distance = min(distance, len(full))
        if not distance:
            continue
        high, low = divmod(distance - 1, 256)
        if length < 9:
            data += bytes([(length - 2) << 5 | high, low])
        else:
            data += bytes([0xE0 | high, length - 9, low])
        for _ in range(length):
            full.append(full[-distance])
    return bytes(data), bytes(full)


@pytest.mark.parametrize("function", DECOMPRESSORS)
@given(steps=st.lists(LITERAL | COPY, max_size=60))
def test_every_way_to_compress(function: Decompress, steps: list[bytes | tuple[int, int]]) -> None:
    """Literals and copies of every length and distance, overlapping or not, are decompressed."""
    data, full = compressed(steps)
    assert function(data, len(full)) == full


@pytest.mark.parametrize("function", DECOMPRESSORS)
def test_long_strings(function: Decompress) -> None:
    """Strings beyond the size at which joining changes are decompressed too."""
    steps: list[bytes | tuple[int, int]] = [b"abcdefghij", (10, 264), (1, 264), (270, 200)]
    data, full = compressed(steps * 50)
    assert function(data, len(full)) == full


@pytest.mark.parametrize("function", DECOMPRESSORS)
@given(data=st.binary(max_size=60), size=st.integers(0, 5000))
def test_random_bytes(function: Decompress, data: bytes, size: int) -> None:
    """Any bytes decompress to a string of the size or raise ValueError."""
    try:
        assert len(function(data, size)) == size
    except ValueError:
        pass


@pytest.mark.parametrize("function", DECOMPRESSORS)
@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [
        (b"\x00a\x20\x01", 4, "before the start"),
        (b"\x20\x00", 3, "before the start"),
        (b"\x00a\xe0\x00\x05", 10, "before the start"),
        (b"\x02ab", 3, "truncated"),
        (b"\x00a\x20", 4, "truncated"),
        (b"\x00a\xe0\x00", 4, "truncated"),
        (b"\xe0", 0, "truncated|before the start"),
        (b"\x01ab", 3, "shorter than its string"),
        (b"\x01ab", 1, "longer than its string"),
        (b"\x01ab", 0, "longer than its string"),
        (b"\x00a\xe0\xff\x00", 264, "longer than its string"),
        (b"", 1, "cannot decompress to 1"),
    ],
)
def test_malformed(function: Decompress, data: bytes, size: int, reason: str) -> None:
    """Malformed data raises an error with the reason."""
    with pytest.raises(ValueError, match=reason):
        function(data, size)
    with pytest.raises(RdbParseError, match=reason):
        decompress(data, size)


@pytest.mark.parametrize("function", DECOMPRESSORS)
@pytest.mark.parametrize("size", [MAX_RATIO * 1000, 1 << 62, -1])
def test_bomb(function: Decompress, size: int) -> None:
    """A size that no data of that length can have is refused without trying."""
    data, full = compressed([b"a", *[(1, 264)] * 50])
    assert len(full) < len(data) * MAX_RATIO
    with pytest.raises(ValueError, match="cannot decompress to"):
        function(data, size)


def test_a_size_beyond_those_of_c() -> None:
    """A size of 64 bits, as found where a damaged file is searched for records, is an error like others."""
    with pytest.raises(RdbParseError, match=f"1 compressed bytes cannot decompress to {1 << 63}"):
        decompress(b"a", 1 << 63)


@given(data=st.binary(max_size=60), size=st.integers(0, 300))
def test_same_judgement(data: bytes, size: int) -> None:
    """C and Python accept the same data, and say of it the same."""
    outcomes: list[bytes | str] = []
    for function in DECOMPRESSORS:
        try:
            outcomes.append(function(data, size))
        except ValueError as error:
            outcomes.append(str(error))
    assert isinstance(outcomes[0], str) == isinstance(outcomes[1], str)
    assert isinstance(outcomes[0], str) or outcomes[0] == outcomes[1]


REPETITIVE = st.lists(st.sampled_from([b"abc", b"abcd", b"xyz" * 100, b"\0" * 9, b"q"])).map(
    b"".join
)


@pytest.mark.parametrize("compress", COMPRESSORS)
@given(data=REPETITIVE | st.binary(max_size=300) | long_texts())
def test_round_trip(compress: Compress, data: bytes) -> None:
    """Compressed data is smaller and can be decompressed; other data is not compressed."""
    packed = compress(data)
    if packed is not None:
        assert len(packed) <= len(data) - 4
        for function in DECOMPRESSORS:
            assert function(packed, len(data)) == data


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_longest_distance(compress: Compress) -> None:
    """A repetition 8192 bytes back is found, one further back is not."""
    noise = bytes(range(256))
    near, far = noise + bytes(7936) + noise, noise + bytes(7937) + noise
    sizes = [len(compress(data) or data) for data in (near, far)]
    assert sizes[0] < sizes[1]
    for data in (near, far):
        assert decompress(compress(data) or b"", len(data)) == data
