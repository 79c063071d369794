"""LZF: compressed data of any origin is decompressed, and malformed data is refused."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_strategies import long_texts

from telstate_rdb._lzf_shapes import make_shape
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import MAX_RATIO, compress_in_python, decompress, decompress_in_python

DECOMPRESSORS = [decompress, decompress_in_python]

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
def test_every_way_to_compress(function: object, steps: list[bytes | tuple[int, int]]) -> None:
    """Literals and copies of every length and distance, overlapping or not, are decompressed."""
    data, full = compressed(steps)
    assert callable(function)
    assert function(data, len(full)) == full


@pytest.mark.parametrize("function", DECOMPRESSORS)
def test_long_strings(function: object) -> None:
    """Strings beyond the size at which joining changes are decompressed too."""
    steps: list[bytes | tuple[int, int]] = [b"abcdefghij", (10, 264), (1, 264), (270, 200)]
    data, full = compressed(steps * 50)
    assert callable(function)
    assert function(data, len(full)) == full


@pytest.mark.parametrize("function", DECOMPRESSORS)
@given(data=st.binary(max_size=60), size=st.integers(0, 5000))
def test_random_bytes(function: object, data: bytes, size: int) -> None:
    """Any bytes decompress to a string of the size or raise RdbParseError."""
    assert callable(function)
    try:
        assert len(function(data, size)) == size
    except RdbParseError:
        pass


@pytest.mark.parametrize("function", DECOMPRESSORS)
@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [
        (b"\x00a\x20\x01", 4, "before the start"),
        (b"\x20\x00", 3, "before the start"),
        (b"\x00a\xe0\x00\x05", 10, "before the start"),
        (b"\x02ab", 3, "does not decompress to 3"),
        (b"\x00a\x20", 4, "truncated"),
        (b"\x00a\xe0\x00", 4, "truncated"),
        (b"\x01ab", 3, "does not decompress to 3"),
        (b"\x01ab", 1, "does not decompress to 1"),
        (b"\x01ab", 0, "does not decompress to 0"),
    ],
)
def test_malformed(function: object, data: bytes, size: int, reason: str) -> None:
    """Malformed data raises an error with the reason."""
    assert callable(function)
    with pytest.raises(RdbParseError, match=reason):
        function(data, size)


def test_bomb() -> None:
    """A size that no data of that length can have is refused without trying."""
    data, full = compressed([b"a", *[(1, 264)] * 50])
    assert len(full) < len(data) * MAX_RATIO
    with pytest.raises(RdbParseError, match="cannot decompress to"):
        decompress(data, len(data) * MAX_RATIO + 1)


@given(
    steps=st.lists(LITERAL | COPY, min_size=1, max_size=60).filter(
        lambda steps: any(isinstance(step, bytes) for step in steps)
    ),
    other=st.randoms(use_true_random=False),
)
def test_shapes(steps: list[bytes | tuple[int, int]], other: random.Random) -> None:
    """A shape decompresses other literals in the same steps, and refuses data with other steps."""
    data, _ = compressed(steps)
    shape = make_shape(data)
    data, full = compressed(
        [other.randbytes(len(step)) if isinstance(step, bytes) else step for step in steps]
    )
    assert shape(data) == full
    place = other.randrange(len(data))
    changed = data[:place] + bytes([data[place] ^ 1 << other.randrange(8)]) + data[place + 1 :]
    actual = shape(changed)
    if actual is not None:
        assert actual == decompress_in_python(changed, len(full))


def test_shapes_are_learnt() -> None:
    """Strings of one shape, then of another of the same sizes, and malformed ones are distinguished."""
    forms: list[Callable[[bytes], list[bytes | tuple[int, int]]]] = [
        lambda text: [text, (8, 40), b"ab"],
        lambda text: [b"ab", text, (10, 40)],
    ]
    for form in forms * 20:
        for number in range(30):
            data, full = compressed(form(b"abc%05d" % number))
            assert decompress_in_python(data, len(full)) == full
            broken = data.replace(b"\xe0\x1f", b"\xe0\x20")
            assert broken != data
            with pytest.raises(RdbParseError):
                decompress_in_python(broken, len(full))


def test_forgotten_shapes() -> None:
    """Any number of sizes is decompressed, although only some are remembered."""
    for length in range(3, 265):
        for size in range(1, 5):
            data, full = compressed([bytes(size), (1, length)])
            for _ in range(9):
                assert decompress_in_python(data, len(full)) == full


REPETITIVE = st.lists(st.sampled_from([b"abc", b"abcd", b"xyz" * 100, b"\0" * 9, b"q"])).map(
    b"".join
)


@given(REPETITIVE | st.binary(max_size=300) | long_texts())
def test_round_trip(data: bytes) -> None:
    """Compressed data is smaller and can be decompressed; other data is not compressed."""
    packed = compress_in_python(data)
    if packed is not None:
        assert len(packed) <= len(data) - 4
        assert decompress(packed, len(data)) == data


def test_longest_distance() -> None:
    """A repetition 8192 bytes back is found, one further back is not."""
    noise = bytes(range(256))
    near, far = noise + bytes(7936) + noise, noise + bytes(7937) + noise
    sizes = [len(compress_in_python(data) or data) for data in (near, far)]
    assert sizes[0] < sizes[1]
    for data in (near, far):
        assert decompress(compress_in_python(data) or b"", len(data)) == data
