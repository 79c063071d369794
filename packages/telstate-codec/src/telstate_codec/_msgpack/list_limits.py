"""Limits on the length of lists, so that msgpack takes no memory for items that are not there.

msgpack allocates a list at the length that its header claims before it has seen the items, and does
so for up to a thousand nested lists: a value of a few bytes could ask for any amount of memory. It
takes a limit, but only one for all lists. The limits here depend on the lists that a value can hold,
which its bytes show without being decoded: every list of more than 15 items starts with one of two
bytes, and where those are rare (in text, in small numbers) all lists may be long.
"""

from __future__ import annotations

from typing import Final

from .format import FLOAT_64, FORMS, LIST_16, LIST_32

QUICK_ITEMS: Final = 512
"""Length that lists may have in any value; a thousand of them, nested, take 4 MB."""

SMALL_TUPLE: Final = 128
"""Size in bytes up to which a tuple within a value needs no limit but msgpack's own, its size."""

_MAX_UNMARKED: Final = 15  # lists of up to so many items start with neither of the two bytes
_MARK_16, _MARK_32, _FLOAT = bytes([LIST_16]), bytes([LIST_32]), bytes([FLOAT_64])
_HEADER_SIZES: Final = {_MARK_16: 3, _MARK_32: 5}
_FLOAT_SIZE: Final = 1 + FORMS[FLOAT_64].length
_CLAIMS_PER_BYTE: Final = 4  # items of long lists that may be claimed, per byte of the value
_BYTES_PER_MARK: Final = 256  # if marks are more frequent, checking each takes too long


def limit_inside(data: bytes) -> int:
    """Return the limit for lists in a tuple within a value, which bounds all of them together."""
    marks = data.count(_MARK_16) + data.count(_MARK_32)
    return max(_MAX_UNMARKED, min(QUICK_ITEMS, len(data) // marks)) if marks else QUICK_ITEMS


def limit_of(data: bytes, start: int) -> int:
    """Return the limit for lists in the MessagePack that starts at an offset.

    It is the length of the outermost list where the lists inside cannot abuse such a limit, and
    `QUICK_ITEMS` otherwise.
    """
    items, count = _read_header(data, start)
    if count <= QUICK_ITEMS or count > len(data):
        return QUICK_ITEMS
    if _are_floats(data, items, count) or _is_harmless(data, items, count):
        return count
    return QUICK_ITEMS


def is_list_of_floats(data: bytes, start: int = 0) -> bool:
    """Return whether the MessagePack from an offset on is a list of more than 15 floats and nothing else."""
    return _are_floats(data, *_read_header(data, start))


def _read_header(data: bytes, start: int) -> tuple[int, int]:
    """Return the offset and the number of the items of a list of more than 15; for all else the number is 0."""
    items = start + _HEADER_SIZES.get(data[start : start + 1], 0)
    return items, int.from_bytes(data[start + 1 : items], "big")


def _are_floats(data: bytes, start: int, count: int) -> bool:
    size = _FLOAT_SIZE * count
    return len(data) - start == size > 0 and data[start::_FLOAT_SIZE] == _FLOAT * count


def _is_harmless(data: bytes, start: int, limit: int) -> bool:
    """Return whether lists of up to `limit` items need memory in proportion to the size of the data."""
    claims_left = _CLAIMS_PER_BYTE * len(data)
    checks_left = len(data) // _BYTES_PER_MARK + 16
    for mark, size in ((_MARK_16, 2), (_MARK_32, 4)):
        at = data.find(mark, start)
        while at >= 0:
            checks_left -= 1
            claimed = int.from_bytes(data[at + 1 : at + 1 + size], "big")
            if QUICK_ITEMS < claimed <= limit:
                claims_left -= claimed
            if claims_left < 0 or checks_left < 0:
                return False
            at = data.find(mark, at + 1)
    return True
