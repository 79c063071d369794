"""The packed forms that small collections have: ziplist, listpack and intset.

Rules: pure functions from texts to bytes; a text that is the one decimal text of a 64-bit integer
is stored as that integer, as Redis does. The layouts are drawn in :mod:`telstate_rdb.constants`.
Zipmaps are only read: Redis has not written one since 2.4.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain

from telstate_rdb._bulk.encode_strings import (
    INTEGER_TEXT,
    integer_of,
    may_hold_integers,
)
from telstate_rdb.constants import (
    INTSET_WIDTHS,
    LISTPACK_COUNT_UNKNOWN,
    LISTPACK_END,
    LISTPACK_HEADER_SIZE,
    LISTPACK_INT13,
    LISTPACK_INT16,
    LISTPACK_INT24,
    LISTPACK_INT32,
    LISTPACK_INT64,
    LISTPACK_STRING_6BIT,
    LISTPACK_STRING_12BIT,
    LISTPACK_STRING_32BIT,
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
    ZIPLIST_STRING_14BIT,
    ZIPLIST_STRING_32BIT,
)

# An integer takes the first form that it fits: bits (signed), first byte, bytes that follow.
_ZIPLIST_INTEGERS = (
    (8, ZIPLIST_INT8, 1),
    (16, ZIPLIST_INT16, 2),
    (24, ZIPLIST_INT24, 3),
    (32, ZIPLIST_INT32, 4),
    (64, ZIPLIST_INT64, 8),
)
_LISTPACK_INTEGERS = (
    (16, LISTPACK_INT16, 2),
    (24, LISTPACK_INT24, 3),
    (32, LISTPACK_INT32, 4),
    (64, LISTPACK_INT64, 8),
)
_ZIPLIST_HEADER, _ZIPLIST_END = struct.Struct("<IIH"), bytes((ZIPLIST_END,))
_LISTPACK_HEADER, _LISTPACK_END = struct.Struct("<IH"), bytes((LISTPACK_END,))
_PLAIN_COUNT = 0x7FFF  # so many pairs at the most: their number fits into either header
_PLAIN_BELOW = 0x40  # texts shorter than this have one byte of length, in either form


# ------------------------------------------------------------------------------------ ziplist


def encode_ziplist(texts: Iterable[bytes]) -> bytes:
    """Pack texts into a ziplist.

    Examples
    --------
    >>> encode_ziplist([b"gain", b"2"]).hex(" ")
    '13 00 00 00 10 00 00 00 02 00 00 04 67 61 69 6e 06 f3 ff'
    """
    parts: list[bytes] = []
    previous = size = 0
    count = 0
    for text in texts:
        body = ziplist_body(text)
        before = _ziplist_previous(previous)
        previous = len(before) + len(body)
        size += previous
        count += 1
        parts += (before, body)
    return _close_ziplist(b"".join(parts), count, previous)


def encode_ziplist_pairs(
    texts: Sequence[bytes], second: bytes, sizes: Collection[int] | None = None
) -> bytes:
    """Pack texts, each followed by the same second text (the score 0 of samples, say).

    `sizes` are the lengths that texts have, each once, where they are known already.
    """
    if size := _plain_size(texts, sizes):
        start, between, last = _ziplist_frame(size, second, len(texts))
        return b"%b%b%b" % (start, between.join(texts), last)
    return encode_ziplist(chain.from_iterable((text, second) for text in texts))


@lru_cache(1024)
def _ziplist_frame(size: int, second: bytes, count: int) -> tuple[bytes, bytes, bytes]:
    """Give what stands before, between and behind texts of one size with one second text."""
    body = ziplist_body(second)
    tail = bytes((2 + size,)) + body
    between = tail + bytes((1 + len(body), size))
    last = tail + _ZIPLIST_END
    whole = ZIPLIST_HEADER_SIZE + count * (size + len(between)) + 1
    header = _ZIPLIST_HEADER.pack(whole, whole - len(last), 2 * count)
    return header + bytes((0, size)), between, last


def _close_ziplist(entries: bytes, count: int, last: int) -> bytes:
    """Put header and end around entries, the last of which has `last` bytes."""
    size = ZIPLIST_HEADER_SIZE + len(entries) + 1
    header = _ZIPLIST_HEADER.pack(size, size - 1 - last, min(count, ZIPLIST_COUNT_UNKNOWN))
    return b"%b%b%c" % (header, entries, ZIPLIST_END)


def _ziplist_previous(size: int) -> bytes:
    if size < ZIPLIST_BIG_PREVIOUS:
        return size.to_bytes(1, "little")
    return struct.pack("<BI", ZIPLIST_BIG_PREVIOUS, size)


def ziplist_body(text: bytes) -> bytes:
    """Write an entry but for the size of the one before it."""
    number = integer_of(text)
    if number is not None:
        if 0 <= number <= ZIPLIST_SMALL_LAST - ZIPLIST_SMALL_FIRST:
            return (ZIPLIST_SMALL_FIRST + number).to_bytes(1, "little")
        return _encode_integer(number, _ZIPLIST_INTEGERS)
    size = len(text)
    if size < 1 << 6:
        return b"%c%b" % (size, text)
    if size < 1 << 14:
        return (ZIPLIST_STRING_14BIT << 8 | size).to_bytes(2, "big") + text
    return struct.pack(">BI", ZIPLIST_STRING_32BIT, size) + text


# ----------------------------------------------------------------------------------- listpack


def encode_listpack(texts: Iterable[bytes]) -> bytes:
    """Pack texts into a listpack.

    Examples
    --------
    >>> encode_listpack([b"gain", b"2"]).hex(" ")
    '0f 00 00 00 02 00 84 67 61 69 6e 05 02 01 ff'
    """
    return join_listpack([listpack_entry(text) for text in texts])


def encode_listpack_pairs(
    texts: Sequence[bytes], second: bytes, sizes: Collection[int] | None = None
) -> bytes:
    """Pack texts, each followed by the same second text (the score 0 of samples, say).

    `sizes` are the lengths that texts have, each once, where they are known already.
    """
    if size := _plain_size(texts, sizes):
        start, between, last = _listpack_frame(size, second, len(texts))
        return b"%b%b%b" % (start, between.join(texts), last)
    tail = listpack_entry(second)
    return join_listpack([part for text in texts for part in (listpack_entry(text), tail)])


@lru_cache(1024)
def _listpack_frame(size: int, second: bytes, count: int) -> tuple[bytes, bytes, bytes]:
    """Give what stands before, between and behind texts of one size with one second text."""
    head = bytes((LISTPACK_STRING_6BIT | size,))
    tail = bytes((1 + size,)) + listpack_entry(second)
    between = tail + head
    whole = LISTPACK_HEADER_SIZE + count * (size + len(between)) + 1
    return _LISTPACK_HEADER.pack(whole, 2 * count) + head, between, tail + _LISTPACK_END


def join_listpack(entries: Sequence[bytes]) -> bytes:
    """Make a listpack of entries that are encoded already."""
    return _close_listpack(b"".join(entries), len(entries))


def _close_listpack(entries: bytes, count: int) -> bytes:
    size = LISTPACK_HEADER_SIZE + len(entries) + 1
    header = _LISTPACK_HEADER.pack(size, min(count, LISTPACK_COUNT_UNKNOWN))
    return b"%b%b%c" % (header, entries, LISTPACK_END)


def listpack_entry(text: bytes) -> bytes:
    """Write one entry, its own size at the end included."""
    number = integer_of(text)
    if number is not None:
        return listpack_integer(number)
    size = len(text)
    if size < 1 << 6:
        return b"%c%b%c" % (LISTPACK_STRING_6BIT | size, text, 1 + size)
    if size < 1 << 12:
        body = (LISTPACK_STRING_12BIT << 8 | size).to_bytes(2, "big") + text
    else:
        body = struct.pack("<BI", LISTPACK_STRING_32BIT, size) + text
    return body + _listpack_own_size(len(body))


def listpack_integer(number: int) -> bytes:
    """Write one entry that is a signed 64-bit integer."""
    if 0 <= number < 1 << 7:
        return bytes((number, 1))
    if -1 << 12 <= number < 1 << 12:
        return (LISTPACK_INT13 << 8 | number & 0x1FFF).to_bytes(2, "big") + b"\x02"
    body = _encode_integer(number, _LISTPACK_INTEGERS)
    return body + len(body).to_bytes(1, "little")


def _listpack_own_size(size: int) -> bytes:
    """Write a size 7 bits a byte, the most significant first, high bit on all but the first."""
    if size < 1 << 7:
        return size.to_bytes(1, "little")
    groups = [size & 0x7F | 0x80]
    while (size := size >> 7) >= 1 << 7:
        groups.append(size & 0x7F | 0x80)
    groups.append(size)
    return bytes(reversed(groups))


# ------------------------------------------------------------------------------------- intset


def encode_intset(numbers: Iterable[int]) -> bytes:
    """Pack different 64-bit integers, in any order, into an intset of the least width.

    Examples
    --------
    >>> encode_intset([3, -1]).hex(" ")
    '02 00 00 00 02 00 00 00 ff ff 03 00'
    """
    ordered = sorted(numbers)
    reach = max(ordered[-1], ~ordered[0]) if ordered else 0
    width = next(width for width in INTSET_WIDTHS if reach < 1 << 8 * width - 1)
    code = INTSET_WIDTHS[width]
    return struct.pack(f"<II{len(ordered)}{code}", width, len(ordered), *ordered)


# ----------------------------------------------------------------------------- what both share


def _encode_integer(number: int, forms: tuple[tuple[int, int, int], ...]) -> bytes:
    for bits, code, size in forms:
        if -1 << bits - 1 <= number < 1 << bits - 1:
            return b"%c%b" % (code, number.to_bytes(size, "little", signed=True))
    raise OverflowError(f"{number} has more than 64 bits")


def _plain_size(texts: Sequence[bytes], sizes: Collection[int] | None) -> int:
    """Give the length of the texts if all have one, a short one, and none is an integer; else 0."""
    if sizes is None:
        sizes = set(map(len, texts))
    if len(sizes) != 1 or len(texts) > _PLAIN_COUNT:
        return 0
    (size,) = sizes
    if size >= _PLAIN_BELOW or size <= INTEGER_TEXT and may_hold_integers(texts):
        return 0
    return size
