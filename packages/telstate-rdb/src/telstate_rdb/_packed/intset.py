"""Intsets, the packed form of small sets of integers: decoding.

A pure function on bytes; the layout is drawn in :mod:`telstate_rdb.constants`.
"""

from __future__ import annotations

from struct import Struct, unpack_from

from telstate_rdb.constants import INTSET_HEADER_SIZE, INTSET_WIDTHS
from telstate_rdb.errors import RdbParseError

_HEADER = Struct("<II")


def decode_intset(data: bytes) -> list[bytes]:
    """Give the members of an intset as decimal text, in ascending order.

    Raises
    ------
    RdbParseError
        If the width is none that there is, or the members are not as many as it says or not in
        ascending order.

    Examples
    --------
    >>> decode_intset(bytes.fromhex("02000000 02000000 ffff 2a00"))
    [b'-1', b'42']
    """
    if len(data) < INTSET_HEADER_SIZE:
        raise RdbParseError("an intset is cut short")
    width, count = _HEADER.unpack_from(data)
    if width not in INTSET_WIDTHS:
        raise RdbParseError(f"an intset says that its integers have {width} bytes")
    if INTSET_HEADER_SIZE + width * count != len(data):
        raise RdbParseError(
            f"an intset of {len(data)} bytes says that it has {count} integers of {width} bytes"
        )
    numbers = unpack_from(f"<{count}{INTSET_WIDTHS[width]}", data, INTSET_HEADER_SIZE)
    if any(a >= b for a, b in zip(numbers, numbers[1:])):
        raise RdbParseError("an intset's integers are not in ascending order")
    return [b"%d" % number for number in numbers]
