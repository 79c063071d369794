"""Ziplists, the packed form of small collections up to Redis 6.2: decoding.

A pure function on bytes; the layout is drawn in :mod:`telstate_rdb.constants`. Every length, the
sizes of entries before each one and the counts of the header are checked; entries of one size, as
a sensor's samples have, are taken all at once.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError

from telstate_rdb.constants import (
    ZIPLIST_BIG_PREVIOUS,
    ZIPLIST_COUNT_UNKNOWN,
    ZIPLIST_END,
    ZIPLIST_HEADER_SIZE,
    ZIPLIST_INT8,
    ZIPLIST_INT16,
    ZIPLIST_INT24,
    ZIPLIST_INT32,
    ZIPLIST_INT64,
    ZIPLIST_SMALL_FIRST,
    ZIPLIST_SMALL_LAST,
    ZIPLIST_STRING_32BIT,
)
from telstate_rdb.errors import RdbParseError

_HEADER = Struct("<IIH")
_U32_LE = Struct("<I")
_MAX_UNIFORM = 1 << 14  # forms of larger ones would not be worth keeping
_U32_BE = Struct(">I")

# Size and meaning of integer entries, by encoding byte.
_INTEGER_SIZES = {
    ZIPLIST_INT8: 1,
    ZIPLIST_INT16: 2,
    ZIPLIST_INT24: 3,
    ZIPLIST_INT32: 4,
    ZIPLIST_INT64: 8,
}
_SMALL_INTEGERS = {
    code: b"%d" % (code - ZIPLIST_SMALL_FIRST)
    for code in range(ZIPLIST_SMALL_FIRST, ZIPLIST_SMALL_LAST + 1)
}


def decode_ziplist(data: bytes) -> list[bytes]:
    """Give the entries of a ziplist; integers as decimal text.

    Raises
    ------
    RdbParseError
        If it is not a ziplist from its first byte to its last.

    Examples
    --------
    >>> decode_ziplist(bytes.fromhex("10000000 0d000000 0200 000161 03f4 ff"))
    [b'a', b'3']
    """
    try:
        size, tail, count = _HEADER.unpack_from(data)
        if size != len(data):
            raise RdbParseError(f"a ziplist of {len(data)} bytes says that it has {size}")
        entries, last = _entries(data)
    except (IndexError, StructError):
        raise RdbParseError("a ziplist is cut short or points outside itself") from None
    if count != len(entries) and count != ZIPLIST_COUNT_UNKNOWN:
        raise RdbParseError(f"a ziplist of {len(entries)} entries says that it has {count}")
    if tail != last:
        raise RdbParseError(f"a ziplist's last entry is at its byte {last}, not at {tail}")
    return entries


def _entries(data: bytes) -> tuple[list[bytes], int]:
    """Give the entries and the offset of the last one.

    What is cut short shows where it ends: every entry must be followed by a byte.
    """
    out: list[bytes] = []
    append = out.append
    small = _SMALL_INTEGERS
    start = ZIPLIST_HEADER_SIZE
    previous = 0  # size of the entry before, as it should be repeated here
    quick = 0  # the same, or -1 where that takes more than a byte
    while True:
        position = start + 1
        if data[start] != quick:
            if data[start] == ZIPLIST_END:
                break
            position = start + 5
            if (
                data[start] != ZIPLIST_BIG_PREVIOUS
                or _U32_LE.unpack_from(data, start + 1)[0] != previous
            ):
                raise RdbParseError(f"a ziplist's entry at its byte {start} follows no entry")
        code = data[position]
        if code < 64:
            begin = position + 1
            stop = begin + code
            append(data[begin:stop])
        elif code < 128:
            begin = position + 2
            stop = begin + ((code & 63) << 8 | data[position + 1])
            append(data[begin:stop])
        elif code in small:
            stop = position + 1
            append(small[code])
        elif code in _INTEGER_SIZES:
            stop = position + 1 + _INTEGER_SIZES[code]
            append(b"%d" % int.from_bytes(data[position + 1 : stop], "little", signed=True))
        elif code == ZIPLIST_STRING_32BIT:
            begin = position + 5
            stop = begin + _U32_BE.unpack_from(data, position + 1)[0]
            append(data[begin:stop])
        else:
            raise RdbParseError(f"a ziplist's entry at its byte {start} is of no kind ({code:#x})")
        previous = stop - start
        quick = previous if previous < ZIPLIST_BIG_PREVIOUS else -1
        start = stop
    if start != len(data) - 1:
        raise RdbParseError(f"a ziplist ends at its byte {start}, with more bytes behind it")
    return out, start - previous


@lru_cache(128)
def _uniform_pairs(
    width: int, code: int, size: int
) -> tuple[Struct, bytes, bytes, bytes, bytes, bytes] | None:
    """Give the form of a ziplist of `size` bytes of pairs, and all that its pairs must share.

    That is: its first bytes and, of each pair in one string, the size of the first, the sizes in
    front of the second and of the pairs from the second on, and the code of the second.
    """
    count, rest = divmod(size - ZIPLIST_HEADER_SIZE - 1, width + 4)
    if width >= 64 or code not in _SMALL_INTEGERS or rest:
        return None
    return (
        Struct(f"<{ZIPLIST_HEADER_SIZE}x" + f"2x{width}s2x" * count + "x"),
        _HEADER.pack(size, size - 3, min(2 * count, ZIPLIST_COUNT_UNKNOWN)) + bytes(1),
        bytes((width,)) * count,
        bytes((width + 2,)) * count,
        bytes((2,)) * (count - 1) + bytes((ZIPLIST_END,)),
        bytes((code,)) * count,
    )


def decode_uniform_pairs(data: bytes) -> tuple[tuple[bytes, ...], bytes] | None:
    """Decode pairs whose first are strings of one size below 64 and second one small integer.

    Such are the samples of a sensor: members of one length, each with the score 0.

    Returns
    -------
    members, score
        The first of each pair and the second that they share, or None if `data` are anything
        else, sound or not.
    """
    size = len(data)
    if not ZIPLIST_HEADER_SIZE + 5 <= size <= _MAX_UNIFORM:
        return None
    code = data[-2]
    width = data[ZIPLIST_HEADER_SIZE + 1]
    shared = _uniform_pairs(width, code, size)
    if shared is None:
        return None
    layout, head, widths, sizes, ends, codes = shared
    stride = width + 4
    if (
        data[: ZIPLIST_HEADER_SIZE + 1] != head
        or data[ZIPLIST_HEADER_SIZE + 1 :: stride] != widths
        or data[ZIPLIST_HEADER_SIZE + 2 + width :: stride] != sizes
        or data[ZIPLIST_HEADER_SIZE + 3 + width :: stride] != codes
        or data[ZIPLIST_HEADER_SIZE + stride :: stride] != ends
    ):
        return None
    return layout.unpack(data), _SMALL_INTEGERS[code]
