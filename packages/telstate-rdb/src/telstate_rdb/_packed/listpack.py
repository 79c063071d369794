"""Listpacks, the packed form of small collections since Redis 7, and of streams: decoding.

A pure function on bytes; the layout is drawn in :mod:`telstate_rdb.constants`. Every length, the
size at the end of each entry and the counts of the header are checked; entries of one size, as a
sensor's samples have, are taken all at once.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError

from telstate_rdb.constants import (
    LISTPACK_COUNT_UNKNOWN,
    LISTPACK_END,
    LISTPACK_HEADER_SIZE,
    LISTPACK_INT16,
    LISTPACK_INT24,
    LISTPACK_INT32,
    LISTPACK_INT64,
    LISTPACK_STRING_32BIT,
)
from telstate_rdb.errors import RdbParseError

_HEADER = Struct("<IH")
_U32_LE = Struct("<I")
_MAX_UNIFORM = 1 << 14  # forms of larger ones would not be worth keeping

_SMALL_INTEGERS = tuple(b"%d" % number for number in range(128))
_INTEGER_SIZES = {LISTPACK_INT16: 2, LISTPACK_INT24: 3, LISTPACK_INT32: 4, LISTPACK_INT64: 8}


def decode_listpack(data: bytes) -> list[bytes]:
    """Give the entries of a listpack; integers as decimal text.

    Raises
    ------
    RdbParseError
        If it is not a listpack from its first byte to its last.

    Examples
    --------
    >>> decode_listpack(bytes.fromhex("0c000000 0200 816102 0301 ff"))
    [b'a', b'3']
    """
    try:
        size, count = _HEADER.unpack_from(data)
        if size != len(data):
            raise RdbParseError(f"a listpack of {len(data)} bytes says that it has {size}")
        entries = _entries(data)
    except (IndexError, StructError):
        raise RdbParseError("a listpack is cut short or points outside itself") from None
    if count != len(entries) and count != LISTPACK_COUNT_UNKNOWN:
        raise RdbParseError(f"a listpack of {len(entries)} entries says that it has {count}")
    return entries


def _entries(data: bytes) -> list[bytes]:
    """Give the entries.

    What is cut short shows where it ends: every entry must be followed by its size.
    """
    out: list[bytes] = []
    append = out.append
    small = _SMALL_INTEGERS
    start = LISTPACK_HEADER_SIZE
    while True:
        code = data[start]
        if code < 128:  # 7-bit unsigned
            if data[start + 1] != 1:
                raise RdbParseError(_wrong_size(start))
            append(small[code])
            start += 2
            continue
        if code < 192:  # string of 6 bits of length
            stop = start + code - 127
            text = data[start + 1 : stop]
        elif code < 224:  # 13-bit signed
            stop = start + 2
            number = (code & 31) << 8 | data[start + 1]
            text = b"%d" % (number - 8192 if number > 4095 else number)
        elif code < 240:  # string of 12 bits of length
            stop = start + 2 + ((code & 15) << 8 | data[start + 1])
            text = data[start + 2 : stop]
        elif code == LISTPACK_STRING_32BIT:
            stop = start + 5 + _U32_LE.unpack_from(data, start + 1)[0]
            text = data[start + 5 : stop]
        elif code in _INTEGER_SIZES:
            stop = start + 1 + _INTEGER_SIZES[code]
            text = b"%d" % int.from_bytes(data[start + 1 : stop], "little", signed=True)
        elif code == LISTPACK_END:
            break
        else:
            raise RdbParseError(f"a listpack's entry at its byte {start} is of no kind ({code:#x})")
        append(text)
        length = stop - start
        if length < 128:
            if data[stop] != length:
                raise RdbParseError(_wrong_size(start))
            start = stop + 1
        else:
            mark = backward_size(length)
            if data[stop : stop + len(mark)] != mark:
                raise RdbParseError(_wrong_size(start))
            start = stop + len(mark)
    if start != len(data) - 1:
        raise RdbParseError(f"a listpack ends at its byte {start}, with more bytes behind it")
    return out


def _wrong_size(start: int) -> str:
    return f"a listpack's entry at its byte {start} does not end with its size"


def backward_size(length: int) -> bytes:
    """Give the bytes that end an entry of `length` bytes: its size, to be read backwards.

    Examples
    --------
    >>> backward_size(5).hex(), backward_size(300).hex()
    ('05', '02ac')
    """
    groups = [length & 127]
    while length > 127:
        length >>= 7
        groups.append(length & 127)
    last = len(groups) - 1
    return bytes(group if i == last else group | 128 for i, group in enumerate(groups))[::-1]


@lru_cache(128)
def _uniform_pairs(
    width: int, number: int, size: int
) -> tuple[Struct, bytes, bytes, bytes, bytes, bytes] | None:
    """Give the form of a listpack of `size` bytes of pairs, and all that its pairs must share.

    That is: its first bytes and, of each pair in one string, the code and the size of the first,
    the second, and the size of that.
    """
    count, rest = divmod(size - LISTPACK_HEADER_SIZE - 1, width + 4)
    if not 0 <= width < 64 or number > 127 or rest:
        return None
    return (
        Struct(f"<{LISTPACK_HEADER_SIZE}x" + f"1x{width}s3x" * count + "x"),
        _HEADER.pack(size, min(2 * count, LISTPACK_COUNT_UNKNOWN)),
        bytes((width + 128,)) * count + bytes((LISTPACK_END,)),
        bytes((width + 1,)) * count,
        bytes((number,)) * count,
        bytes((1,)) * count,
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
    if not LISTPACK_HEADER_SIZE + 5 <= size <= _MAX_UNIFORM:
        return None
    number = data[-3]
    width = data[LISTPACK_HEADER_SIZE] - 128
    shared = _uniform_pairs(width, number, size)
    if shared is None:
        return None
    layout, head, codes, sizes, numbers, ones = shared
    stride = width + 4
    if (
        data[:LISTPACK_HEADER_SIZE] != head
        or data[LISTPACK_HEADER_SIZE::stride] != codes
        or data[LISTPACK_HEADER_SIZE + 1 + width :: stride] != sizes
        or data[LISTPACK_HEADER_SIZE + 2 + width :: stride] != numbers
        or data[LISTPACK_HEADER_SIZE + 3 + width :: stride] != ones
    ):
        return None
    return layout.unpack(data), _SMALL_INTEGERS[number]
