"""Ziplists, the packed form of small collections up to Redis 6.2.

The layout is drawn in :mod:`telstate_rdb.constants`. Decoding checks every length, the sizes before each
entry and the counts in the header. A text that is the decimal text of a 64-bit integer is encoded as that
integer, as Redis does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from struct import Struct
from struct import error as StructError
from struct import pack

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import integer_of
from telstate_rdb._packed.common import (
    MAX_UNIFORM_SIZE,
    UniformLayout,
    decode_uniform,
    encode_integer,
    uniform_width,
)
from telstate_rdb.errors import RdbParseError

_HEADER = Struct("<IIH")
_END = bytes((c.ZIPLIST_END,))
_U32_LE = Struct("<I")
_U32_BE = Struct(">I")
_INTEGER_SIZES = {
    c.ZIPLIST_INT8: 1,
    c.ZIPLIST_INT16: 2,
    c.ZIPLIST_INT24: 3,
    c.ZIPLIST_INT32: 4,
    c.ZIPLIST_INT64: 8,
}
_SMALL_INTEGERS = {
    code: b"%d" % (code - c.ZIPLIST_SMALL_FIRST)
    for code in range(c.ZIPLIST_SMALL_FIRST, c.ZIPLIST_SMALL_LAST + 1)
}


# ---------------------------------------------------------------------------------------- decoding


def decode_ziplist(data: bytes) -> list[bytes]:
    """Decode a ziplist: its entries, integers as decimal text."""
    try:
        size, tail, count = _HEADER.unpack_from(data)
        if size != len(data):
            raise RdbParseError(f"a ziplist has {len(data)} bytes, but its header says {size}")
        entries, last = _read_entries(data)
    except (IndexError, StructError):
        raise RdbParseError("a ziplist is truncated or points beyond its end") from None
    if count != len(entries) and count != c.ZIPLIST_COUNT_UNKNOWN:
        raise RdbParseError(f"a ziplist has {len(entries)} entries, but its header says {count}")
    if tail != last:
        raise RdbParseError(f"the last entry of a ziplist is at byte {last}, not at {tail}")
    return entries


def _read_entries(data: bytes) -> tuple[list[bytes], int]:
    """Read the entries and the offset of the last; one that is truncated has no byte after it."""
    out: list[bytes] = []
    append = out.append
    small = _SMALL_INTEGERS
    big = c.ZIPLIST_BIG_PREVIOUS
    start = c.ZIPLIST_HEADER_SIZE
    previous = 0  # size of the entry before, which must be repeated here
    quick = 0  # the same, or -1 if that takes more than a byte
    while True:
        position = start + 1
        if data[start] != quick:
            if data[start] == c.ZIPLIST_END:
                break
            position = start + 5
            if data[start] != big or _U32_LE.unpack_from(data, start + 1)[0] != previous:
                raise RdbParseError(
                    f"the entry at byte {start} of a ziplist has the wrong size of the one before"
                )
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
        elif code == c.ZIPLIST_STRING_32BIT:
            begin = position + 5
            stop = begin + _U32_BE.unpack_from(data, position + 1)[0]
            append(data[begin:stop])
        else:
            raise RdbParseError(
                f"the entry at byte {start} of a ziplist has the unknown encoding {code:#x}"
            )
        previous = stop - start
        quick = previous if previous < big else -1
        start = stop
    if start != len(data) - 1:
        raise RdbParseError(f"a ziplist ends at its byte {start}, with more bytes after it")
    return out, start - previous


def decode_ziplist_pairs(data: bytes) -> tuple[tuple[bytes, ...], bytes] | None:
    """Decode pairs of strings of one size below 64 and one small integer; None for anything else."""
    size = len(data)
    if not c.ZIPLIST_HEADER_SIZE + 5 <= size <= MAX_UNIFORM_SIZE:
        return None
    code = data[-2]
    layout = _uniform_layout(data[c.ZIPLIST_HEADER_SIZE + 1], code, size)
    if layout is None or (members := decode_uniform(data, layout)) is None:
        return None
    return members, _SMALL_INTEGERS[code]


@lru_cache(128)
def _uniform_layout(width: int, code: int, size: int) -> UniformLayout | None:
    """Return the layout of a ziplist of `size` bytes whose pairs are strings and one integer."""
    stride = width + 4
    count, rest = divmod(size - c.ZIPLIST_HEADER_SIZE - 1, stride)
    if width >= 64 or code not in _SMALL_INTEGERS or rest:
        return None
    start = c.ZIPLIST_HEADER_SIZE
    header = _HEADER.pack(size, size - 3, min(2 * count, c.ZIPLIST_COUNT_UNKNOWN))
    # The first entry follows none, so the size before it is 0; the size of a second entry is 2.
    return Struct(f"<{start}x" + f"2x{width}s2x" * count + "x"), [
        (slice(start + 1), header + bytes(1)),
        (slice(start + 1, None, stride), bytes((width,)) * count),
        (slice(start + 2 + width, None, stride), bytes((width + 2,)) * count),
        (slice(start + 3 + width, None, stride), bytes((code,)) * count),
        (slice(start + stride, None, stride), bytes((2,)) * (count - 1) + _END),
    ]


# ---------------------------------------------------------------------------------------- encoding


def encode_ziplist(texts: Iterable[bytes]) -> bytes:
    """Return texts encoded as a ziplist.

    Examples
    --------
    >>> encode_ziplist([b"gain", b"2"]).hex(" ")
    '13 00 00 00 10 00 00 00 02 00 00 04 67 61 69 6e 06 f3 ff'
    """
    parts: list[bytes] = []
    previous = size = count = 0
    for text in texts:
        body = encode_ziplist_body(text)
        before = encode_ziplist_previous(previous)
        previous = len(before) + len(body)
        size += previous
        count += 1
        parts += (before, body)
    whole = c.ZIPLIST_HEADER_SIZE + size + 1
    header = _HEADER.pack(whole, whole - 1 - previous, min(count, c.ZIPLIST_COUNT_UNKNOWN))
    return b"%b%b%b" % (header, b"".join(parts), _END)


def encode_ziplist_pairs(
    texts: Sequence[bytes], second: bytes, sizes: Collection[int] | None = None
) -> bytes:
    """Encode texts (of the lengths `sizes`, if known), each followed by the same second text."""
    if width := uniform_width(texts, sizes):
        start, between, last = _uniform_frame(width, second, len(texts))
        return b"%b%b%b" % (start, between.join(texts), last)
    return encode_ziplist(chain.from_iterable((text, second) for text in texts))


@lru_cache(1024)
def _uniform_frame(width: int, second: bytes, count: int) -> tuple[bytes, bytes, bytes]:
    """Return the bytes before, between and after `count` texts of one length."""
    body = encode_ziplist_body(second)
    tail = bytes((2 + width,)) + body
    between = tail + bytes((1 + len(body), width))
    last = tail + _END
    size = c.ZIPLIST_HEADER_SIZE + count * (width + len(between)) + 1
    header = _HEADER.pack(size, size - len(last), 2 * count)
    return header + bytes((0, width)), between, last


def encode_ziplist_previous(size: int) -> bytes:
    """Encode the size of an entry as it stands in front of the next one."""
    if size < c.ZIPLIST_BIG_PREVIOUS:
        return size.to_bytes(1, "little")
    return pack("<BI", c.ZIPLIST_BIG_PREVIOUS, size)


def encode_ziplist_body(text: bytes) -> bytes:
    """Encode an entry without the size of the one before it."""
    number = integer_of(text)
    if number is not None:
        if 0 <= number <= c.ZIPLIST_SMALL_LAST - c.ZIPLIST_SMALL_FIRST:
            return (c.ZIPLIST_SMALL_FIRST + number).to_bytes(1, "little")
        return encode_integer(number, _INTEGER_SIZES)
    size = len(text)
    if size < 1 << 6:
        return b"%c%b" % (size, text)
    if size < 1 << 14:
        return (c.ZIPLIST_STRING_14BIT << 8 | size).to_bytes(2, "big") + text
    return pack(">BI", c.ZIPLIST_STRING_32BIT, size) + text
