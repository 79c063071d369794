"""LZF: what is compressed, by whomever, is decompressed; what is broken is refused."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb._lzf_shapes import make_shape
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import MAX_RATIO, decompress, decompress_in_python

DECOMPRESSORS = [decompress, decompress_in_python]

LITERAL = st.binary(min_size=1, max_size=32)
COPY = st.tuples(st.integers(1, 8192), st.integers(3, 264))


def compressed(steps: list[bytes | tuple[int, int]]) -> tuple[bytes, bytes]:
    """Compress as the steps say; give the data, and what they stand for, made byte by byte."""
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
    """Literals and copies of every length and distance, overlapping or not, are understood."""
    data, full = compressed(steps)
    assert callable(function)
    assert function(data, len(full)) == full


@pytest.mark.parametrize("function", DECOMPRESSORS)
def test_long_strings(function: object) -> None:
    """Strings beyond the size where the way of joining changes are right too."""
    steps: list[bytes | tuple[int, int]] = [b"abcdefghij", (10, 264), (1, 264), (270, 200)]
    data, full = compressed(steps * 50)
    assert callable(function)
    assert function(data, len(full)) == full


@pytest.mark.parametrize("function", DECOMPRESSORS)
@given(data=st.binary(max_size=60), size=st.integers(0, 5000))
def test_rubbish(function: object, data: bytes, size: int) -> None:
    """Whatever the bytes, they give a string of the size or RdbParseError."""
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
        (b"\x00a\x20", 4, "cut short"),
        (b"\x00a\xe0\x00", 4, "cut short"),
        (b"\x01ab", 3, "does not decompress to 3"),
        (b"\x01ab", 1, "does not decompress to 1"),
        (b"\x01ab", 0, "does not decompress to 0"),
    ],
)
def test_broken(function: object, data: bytes, size: int, reason: str) -> None:
    """Data of another size is refused, with the reason."""
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
    """A shape decompresses other literals in the same steps; what has other steps is refused."""
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
    """Strings of one form, then of another of the same sizes, and broken ones, are told apart."""
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
    """Any number of sizes is decompressed right; no more than some are remembered."""
    for length in range(3, 265):
        for size in range(1, 5):
            data, full = compressed([bytes(size), (1, length)])
            for _ in range(9):
                assert decompress_in_python(data, len(full)) == full
