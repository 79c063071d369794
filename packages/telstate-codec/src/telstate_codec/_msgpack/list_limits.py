"""How long lists may be, so that msgpack takes no memory for items that are not there.

msgpack makes a list as long as it is said to be before it has seen its items, and does so for up to
a thousand lists within lists: a value of a few bytes could ask for any amount. It can be given a
limit, but one for all lists. So the limit must go with the lists that a value can have, which its
bytes tell without being decoded: a list of more than 15 starts with one of two bytes, and where
those are rare (in text, in small numbers) all lists may be long.
"""

from __future__ import annotations

from typing import Final

QUICK_ITEMS: Final = 512
"""What a list may have in any value; a thousand of them within each other take 4 MB."""

FEW: Final = 128
"""Bytes of a tuple within a value in which msgpack's own limit, the bytes that there are, will do."""

_SHORTEST: Final = 15  # a list of so many or fewer starts with neither of the two bytes
_LIST_16, _LIST_32 = b"\xdc", b"\xdd"
_FLOAT: Final = b"\xcb"
_FLOAT_SIZE: Final = 9
_TIMES: Final = 4  # items, of 8 bytes each, that may not be there, per byte that is
_BYTES_PER_MARK: Final = 256  # there are fewer marks than this where looking at each is worth it


def limit_inside(data: bytes) -> int:
    """Give the limit for lists in a tuple within a value.

    All of them together then take a small multiple of the bytes of the tuple, unfilled.
    """
    marks = data.count(_LIST_16) + data.count(_LIST_32)
    return max(_SHORTEST, min(QUICK_ITEMS, len(data) // marks)) if marks else QUICK_ITEMS


def limit_of(data: bytes, start: int) -> int:
    """Give the limit for lists in MessagePack that starts at an offset.

    That is what the value, if it is a long list itself, needs, provided that those within it cannot
    use it to ask for much. Otherwise it is `QUICK_ITEMS`.
    """
    form = data[start : start + 1]
    if form == _LIST_16:
        items = start + 3
    elif form == _LIST_32:
        items = start + 5
    else:
        return QUICK_ITEMS
    count = int.from_bytes(data[start + 1 : items], "big")
    if count <= QUICK_ITEMS or count > len(data):
        return QUICK_ITEMS
    if data[items : items + 1] == _FLOAT and len(data) - items == _FLOAT_SIZE * count:
        if data[items::_FLOAT_SIZE] == _FLOAT * count:  # then no list is in it
            return count
    return count if _is_harmless(data, items, count) else QUICK_ITEMS


def _is_harmless(data: bytes, start: int, limit: int) -> bool:
    """Tell whether lists from an offset on take a small multiple of their bytes, with a limit."""
    allowed = _TIMES * len(data)
    looks = len(data) // _BYTES_PER_MARK + 16
    for mark, size in ((_LIST_16, 2), (_LIST_32, 4)):
        at = data.find(mark, start)
        while at >= 0:
            looks -= 1
            claimed = int.from_bytes(data[at + 1 : at + 1 + size], "big")
            if QUICK_ITEMS < claimed <= limit:
                allowed -= claimed
            if allowed < 0 or looks < 0:
                return False
            at = data.find(mark, at + 1)
    return True
