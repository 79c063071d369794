"""Listpacks, the packed form of small collections since Redis 7, and of streams.

The layout is drawn in :mod:`telstate_rdb.constants`. Decoding checks every length, the size at the end of
each entry and the counts in the header. A text that is the decimal text of a 64-bit integer is encoded as
that integer, as Redis does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
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

_HEADER = Struct("<IH")
_END = bytes((c.LISTPACK_END,))
_U32_LE = Struct("<I")
_SMALL_INTEGERS = tuple(b"%d" % number for number in range(128))
_INTEGER_SIZES = {
    c.LISTPACK_INT16: 2,
    c.LISTPACK_INT24: 3,
    c.LISTPACK_INT32: 4,
    c.LISTPACK_INT64: 8,
}


# ---------------------------------------------------------------------------------------- decoding


def decode_listpack(data: bytes) -> list[bytes]:
    """Decode a listpack: its entries, integers as decimal text."""
    try:
        size, count = _HEADER.unpack_from(data)
        if size != len(data):
            raise RdbParseError(f"a listpack has {len(data)} bytes, but its header says {size}")
        entries = _read_entries(data)
    except (IndexError, StructError):
        raise RdbParseError("a listpack is truncated or points beyond its end") from None
    if count != len(entries) and count != c.LISTPACK_COUNT_UNKNOWN:
        raise RdbParseError(f"a listpack has {len(entries)} entries, but its header says {count}")
    return entries


def _read_entries(data: bytes) -> list[bytes]:
    """Read the entries up to the end; one that is truncated is not followed by its size."""
    out: list[bytes] = []
    append = out.append
    small = _SMALL_INTEGERS
    start = c.LISTPACK_HEADER_SIZE
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
        elif code == c.LISTPACK_STRING_32BIT:
            stop = start + 5 + _U32_LE.unpack_from(data, start + 1)[0]
            text = data[start + 5 : stop]
        elif code in _INTEGER_SIZES:
            stop = start + 1 + _INTEGER_SIZES[code]
            text = b"%d" % int.from_bytes(data[start + 1 : stop], "little", signed=True)
        elif code == c.LISTPACK_END:
            break
        else:
            raise RdbParseError(
                f"the entry at byte {start} of a listpack has the unknown encoding {code:#x}"
            )
        append(text)
        length = stop - start
        if length < 128:
            if data[stop] != length:
                raise RdbParseError(_wrong_size(start))
            start = stop + 1
        else:
            mark = _encode_own_size(length)
            if data[stop : stop + len(mark)] != mark:
                raise RdbParseError(_wrong_size(start))
            start = stop + len(mark)
    if start != len(data) - 1:
        raise RdbParseError(f"a listpack ends at its byte {start}, with more bytes after it")
    return out


def _wrong_size(start: int) -> str:
    return f"the entry at byte {start} of a listpack does not end with its size"


def decode_listpack_pairs(data: bytes) -> tuple[tuple[bytes, ...], bytes] | None:
    """Decode pairs of strings of one size below 64 and one small integer; None for anything else."""
    size = len(data)
    if not c.LISTPACK_HEADER_SIZE + 5 <= size <= MAX_UNIFORM_SIZE:
        return None
    number = data[-3]
    layout = _uniform_layout(data[c.LISTPACK_HEADER_SIZE] - c.LISTPACK_STRING_6BIT, number, size)
    if layout is None or (members := decode_uniform(data, layout)) is None:
        return None
    return members, _SMALL_INTEGERS[number]


@lru_cache(128)
def _uniform_layout(width: int, number: int, size: int) -> UniformLayout | None:
    """Return the layout of a listpack of `size` bytes whose pairs are strings and one integer."""
    stride = width + 4
    count, rest = divmod(size - c.LISTPACK_HEADER_SIZE - 1, stride)
    if not 0 <= width < 64 or number > 127 or rest:
        return None
    start = c.LISTPACK_HEADER_SIZE
    code = bytes((c.LISTPACK_STRING_6BIT | width,))
    return Struct(f"<{start}x" + f"1x{width}s3x" * count + "x"), [
        (slice(start), _HEADER.pack(size, min(2 * count, c.LISTPACK_COUNT_UNKNOWN))),
        (slice(start, None, stride), code * count + _END),
        (slice(start + 1 + width, None, stride), bytes((width + 1,)) * count),
        (slice(start + 2 + width, None, stride), bytes((number,)) * count),
        (slice(start + 3 + width, None, stride), bytes((1,)) * count),
    ]


# ---------------------------------------------------------------------------------------- encoding


def encode_listpack(texts: Iterable[bytes]) -> bytes:
    """Encode texts as a listpack."""
    return join_listpack([encode_listpack_entry(text) for text in texts])


def encode_listpack_pairs(
    texts: Sequence[bytes], second: bytes, sizes: Collection[int] | None = None
) -> bytes:
    """Encode texts (of the lengths `sizes`, if known), each followed by the same second text."""
    if width := uniform_width(texts, sizes):
        start, between, last = _uniform_frame(width, second, len(texts))
        return b"%b%b%b" % (start, between.join(texts), last)
    tail = encode_listpack_entry(second)
    return join_listpack([part for text in texts for part in (encode_listpack_entry(text), tail)])


@lru_cache(1024)
def _uniform_frame(width: int, second: bytes, count: int) -> tuple[bytes, bytes, bytes]:
    """Return the bytes before, between and after `count` texts of one length."""
    head = bytes((c.LISTPACK_STRING_6BIT | width,))
    tail = bytes((1 + width,)) + encode_listpack_entry(second)
    between = tail + head
    size = c.LISTPACK_HEADER_SIZE + count * (width + len(between)) + 1
    return _HEADER.pack(size, 2 * count) + head, between, tail + _END


def join_listpack(entries: Sequence[bytes]) -> bytes:
    """Make a listpack of encoded entries."""
    content = b"".join(entries)
    size = c.LISTPACK_HEADER_SIZE + len(content) + 1
    header = _HEADER.pack(size, min(len(entries), c.LISTPACK_COUNT_UNKNOWN))
    return b"%b%b%b" % (header, content, _END)


def encode_listpack_entry(text: bytes) -> bytes:
    """Encode one entry, including its size at the end."""
    number = integer_of(text)
    if number is not None:
        return encode_listpack_integer(number)
    size = len(text)
    if size < 1 << 6:
        return b"%c%b%c" % (c.LISTPACK_STRING_6BIT | size, text, 1 + size)
    if size < 1 << 12:
        body = (c.LISTPACK_STRING_12BIT << 8 | size).to_bytes(2, "big") + text
    else:
        body = pack("<BI", c.LISTPACK_STRING_32BIT, size) + text
    return body + _encode_own_size(len(body))


def encode_listpack_integer(number: int) -> bytes:
    """Encode one entry that is a signed 64-bit integer."""
    if 0 <= number < 1 << 7:
        return bytes((number, 1))
    if -1 << 12 <= number < 1 << 12:
        return (c.LISTPACK_INT13 << 8 | number & 0x1FFF).to_bytes(2, "big") + b"\x02"
    body = encode_integer(number, _INTEGER_SIZES)
    return body + len(body).to_bytes(1, "little")


def _encode_own_size(size: int) -> bytes:
    """Encode the size of an entry, to be read backwards from its end: 7 bits a byte."""
    if size < 1 << 7:
        return size.to_bytes(1, "little")
    groups = [size & 0x7F | 0x80]
    while (size := size >> 7) >= 1 << 7:
        groups.append(size & 0x7F | 0x80)
    groups.append(size)
    return bytes(reversed(groups))
