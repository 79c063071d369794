"""Lengths and strings as they stand in a file: integers in place of their text, LZF on request.

Rules: pure functions from bytes to bytes. What is written for one string at a time is here for
many at a time as well, because a million members are a million strings: the bulk forms do the same
in C (``map``, ``join``) wherever no member needs a second look.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence

from telstate_rdb.constants import (
    LENGTH_6BIT_MAX,
    LENGTH_14BIT,
    LENGTH_14BIT_MAX,
    LENGTH_32BIT,
    LENGTH_64BIT,
    STRING_INT8,
    STRING_INT16,
    STRING_INT32,
    STRING_LZF,
)
from telstate_rdb.lzf import Compress

COMPRESS_ABOVE = 20  # bytes: nothing shorter is tried, as in Redis
INT32_TEXT = 11  # the longest text of a 32-bit integer: -2147483648
INTEGER_TEXT = 20  # the longest text of a 64-bit integer
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch
_DIGITS = b"-0123456789"
_AFTER_DIGITS = b":"  # no text from here on begins like an integer
_INT8, _INT16, _INT32 = struct.Struct("<Bb"), struct.Struct("<Bh"), struct.Struct("<Bi")


class _LengthPrefixes(dict[int, bytes]):
    """Lengths as they are written: those of up to 14 bits are kept, once made."""

    def __missing__(self, size: int) -> bytes:
        prefix = _make_length(size)
        if size <= LENGTH_14BIT_MAX:
            self[size] = prefix
        return prefix


def _make_length(size: int) -> bytes:
    if size <= LENGTH_6BIT_MAX:
        return size.to_bytes(1, "big")
    if size <= LENGTH_14BIT_MAX:
        return (LENGTH_14BIT << 8 | size).to_bytes(2, "big")
    if size < 1 << 32:
        return struct.pack(">BI", LENGTH_32BIT, size)
    return struct.pack(">BQ", LENGTH_64BIT, size)


_PREFIXES = _LengthPrefixes()
encode_length: Callable[[int], bytes] = _PREFIXES.__getitem__
"""Write a length, 0 to 2**64 - 1: 1, 2, 5 or 9 bytes."""


def integer_of(text: bytes) -> int | None:
    """Give the 64-bit integer that `text` is the one decimal text of; None if there is none.

    Examples
    --------
    >>> integer_of(b"-12"), integer_of(b"012"), integer_of(b"-0"), integer_of(b"9223372036854775808")
    (-12, None, None, None)
    """
    if len(text) > INTEGER_TEXT or _INTEGER(text) is None:
        return None
    number = int(text)
    return number if -1 << 63 <= number < 1 << 63 else None


def may_hold_integers(texts: Sequence[bytes], longest: int = INTEGER_TEXT) -> bool:
    """Say whether one of the texts could be the text of an integer: False is certain."""
    if not texts or min(texts) >= _AFTER_DIGITS or min(map(len, texts)) > longest:
        return False
    starts = b"".join([text[:1] for text in texts])
    return len(starts.translate(None, _DIGITS)) < len(starts)


def encode_string(text: bytes, compress: Compress | None = None) -> bytes:
    """Write a string: as an integer if it is the text of one of up to 32 bits.

    Parameters
    ----------
    text
        The string.
    compress
        Compresses what is longer than 20 bytes; None leaves it as it is.

    Examples
    --------
    >>> encode_string(b"gain"), encode_string(b"-2")
    (b'\\x04gain', b'\\xc0\\xfe')
    """
    size = len(text)
    if size <= INT32_TEXT:
        if _INTEGER(text) is not None and -1 << 31 <= (number := int(text)) < 1 << 31:
            return _encode_integer(number)
    elif compress is not None and size > COMPRESS_ABOVE:
        packed = compress(text)
        if packed is not None:
            return b"%c%b%b%b" % (STRING_LZF, _PREFIXES[len(packed)], _PREFIXES[size], packed)
    return _PREFIXES[size] + text


def _encode_integer(number: int) -> bytes:
    if -1 << 7 <= number < 1 << 7:
        return _INT8.pack(STRING_INT8, number)
    if -1 << 15 <= number < 1 << 15:
        return _INT16.pack(STRING_INT16, number)
    return _INT32.pack(STRING_INT32, number)


def encode_strings(texts: Sequence[bytes], compress: Compress | None = None) -> bytes:
    """Write strings one after the other, without their number."""
    if _wants_a_look(texts, compress):
        return b"".join([encode_string(text, compress) for text in texts])
    return interleave(map(encode_length, map(len, texts)), texts)


def encode_with_suffixes(
    texts: Sequence[bytes], suffixes: Sequence[bytes], compress: Compress | None = None
) -> bytes:
    """Write strings, each with some bytes right after it (the score of a member, say)."""
    if _wants_a_look(texts, compress):
        return interleave([encode_string(text, compress) for text in texts], suffixes)
    return interleave(map(encode_length, map(len, texts)), texts, suffixes)


def encode_with_suffix(
    texts: Sequence[bytes], suffix: bytes, compress: Compress | None = None
) -> bytes:
    """Write strings (at least one), each with the same bytes right after it."""
    sizes = set(map(len, texts))
    compresses = compress is not None and max(sizes) > COMPRESS_ABOVE
    if compresses or min(sizes) <= INT32_TEXT and may_hold_integers(texts, INT32_TEXT):
        encoded = [encode_string(text, compress) for text in texts]
        return repeat_between(encoded, suffix, b"", suffix)
    if len(sizes) == 1:
        head = encode_length(sizes.pop())
        return repeat_between(texts, suffix + head, head, suffix)
    heads = map(encode_length, map(len, texts))
    return interleave(heads, texts, [suffix] * len(texts))


def repeat_between(texts: Sequence[bytes], between: bytes, first: bytes, last: bytes) -> bytes:
    """Join texts (at least one), with `first` before and `last` behind it all.

    Millions of texts are copied once only.
    """
    parts = list(texts)
    parts[0] = first + parts[0]
    parts[-1] += last
    return between.join(parts)


def interleave(*columns: Iterable[bytes]) -> bytes:
    """Join what columns of one length hold, row by row."""
    first, *others = columns
    rows = list(first)
    width = len(columns)
    parts = [b""] * (len(rows) * width)
    parts[::width] = rows
    for place, column in enumerate(others, 1):
        parts[place::width] = column
    return b"".join(parts)


def _wants_a_look(texts: Sequence[bytes], compress: Compress | None) -> bool:
    """Whether some text may not be written as it is."""
    if compress is not None and texts and max(map(len, texts)) > COMPRESS_ABOVE:
        return True
    return may_hold_integers(texts, INT32_TEXT)
