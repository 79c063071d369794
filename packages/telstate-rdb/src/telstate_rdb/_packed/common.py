"""What ziplists and listpacks share: integer entries, and pairs that can be handled all at once.

A sensor's samples are members of one length, each with the score 0. Packed, they are *uniform pairs*: the
bytes around the members repeat at equal distances, so a few slices compare them and one ``struct``
unpacks the members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from struct import Struct

from telstate_rdb._bulk.encode_strings import INTEGER_TEXT, may_hold_integers

MAX_UNIFORM_SIZE = 1 << 14
"""Larger packed forms (bytes) are not decoded as uniform pairs: their layouts take too much memory."""

_MAX_UNIFORM_COUNT = 0x7FFF  # pairs: twice as many entries still fit into either header
_MAX_UNIFORM_WIDTH = 0x40  # strings shorter than this have one byte of length in either form

UniformLayout = tuple[Struct, list[tuple[slice, bytes]]]
"""Unpacks the first strings of uniform pairs; and the bytes that must be around them, by place."""


def decode_uniform(data: bytes, layout: UniformLayout) -> tuple[bytes, ...] | None:
    """Return the first strings of uniform pairs; None if the data have another layout."""
    unpacker, checks = layout
    for place, expected in checks:
        if data[place] != expected:
            return None
    return unpacker.unpack(data)


def uniform_width(texts: Sequence[bytes], sizes: Collection[int] | None) -> int:
    """Return the length of texts that can be encoded as the first of uniform pairs; else 0.

    Their length must be the same and short, and none may be the text of an integer.
    """
    if sizes is None:
        sizes = set(map(len, texts))
    if len(sizes) != 1 or len(texts) > _MAX_UNIFORM_COUNT:
        return 0
    (size,) = sizes
    if size >= _MAX_UNIFORM_WIDTH or size <= INTEGER_TEXT and may_hold_integers(texts):
        return 0
    return size


def encode_integer(number: int, sizes: Mapping[int, int]) -> bytes:
    """Encode an integer in the first form of `sizes` (first byte: bytes after it) that can hold it."""
    needed = (number if number >= 0 else ~number).bit_length() // 8 + 1
    for code, size in sizes.items():
        if size >= needed:
            return b"%c%b" % (code, number.to_bytes(size, "little", signed=True))
    raise OverflowError(f"{number} has more than 64 bits")
