"""Intsets, the packed form of small sets of integers.

The layout is drawn in :mod:`telstate_rdb.constants`.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct, pack, unpack_from

from telstate_rdb.constants import INTSET_HEADER_SIZE, INTSET_WIDTHS
from telstate_rdb.errors import RdbParseError

_HEADER = Struct("<II")


def decode_intset(data: bytes) -> list[bytes]:
    """Decode an intset: its members as decimal text, in ascending order."""
    if len(data) < INTSET_HEADER_SIZE:
        raise RdbParseError("an intset is truncated")
    width, count = _HEADER.unpack_from(data)
    if width not in INTSET_WIDTHS:
        raise RdbParseError(f"an intset has integers of {width} bytes, which must be 2, 4 or 8")
    if INTSET_HEADER_SIZE + width * count != len(data):
        raise RdbParseError(
            f"an intset has {len(data)} bytes, but its header says {count} integers of {width}"
        )
    numbers = unpack_from(f"<{count}{INTSET_WIDTHS[width]}", data, INTSET_HEADER_SIZE)
    if any(a >= b for a, b in zip(numbers, numbers[1:])):
        raise RdbParseError("the integers of an intset are not in ascending order")
    return [b"%d" % number for number in numbers]


def encode_intset(numbers: Iterable[int]) -> bytes:
    """Encode different 64-bit integers, in any order, as an intset of the least width."""
    ordered = sorted(numbers)
    reach = max(ordered[-1], ~ordered[0]) if ordered else 0
    width = next(width for width in INTSET_WIDTHS if reach < 1 << 8 * width - 1)
    code = INTSET_WIDTHS[width]
    return pack(f"<II{len(ordered)}{code}", width, len(ordered), *ordered)
