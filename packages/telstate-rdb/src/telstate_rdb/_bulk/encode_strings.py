"""Encoding lengths and strings as they stand in a file: integers instead of their text, LZF on request.

A million members are a million strings, so each function for one string has a bulk form, which does the same
in C (``map``, ``join``) unless a string might be an integer or be compressed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence

from telstate_rdb import constants as c
from telstate_rdb.lzf import Compress

COMPRESS_ABOVE = 20  # bytes: as in Redis
INT32_TEXT = 11  # the longest text of a 32-bit integer: -2147483648
INTEGER_TEXT = 20  # the longest text of a 64-bit integer
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch
_DIGITS = b"-0123456789"
_AFTER_DIGITS = b":"  # no text from here on starts like an integer
_INT8, _INT16, _INT32 = struct.Struct("<Bb"), struct.Struct("<Bh"), struct.Struct("<Bi")


class LengthPrefixes(dict[int, bytes]):
    """Encoded lengths, each after the bytes `lead`; those of up to 14 bits are kept."""

    def __init__(self, lead: bytes = b"") -> None:
        self._lead = lead

    def __missing__(self, size: int) -> bytes:
        prefix = self._lead + _encode_new_length(size)
        if size <= c.LENGTH_14BIT_MAX:
            self[size] = prefix
        return prefix


def _encode_new_length(size: int) -> bytes:
    if size <= c.LENGTH_6BIT_MAX:
        return size.to_bytes(1, "big")
    if size <= c.LENGTH_14BIT_MAX:
        return (c.LENGTH_14BIT << 8 | size).to_bytes(2, "big")
    if size < 1 << 32:
        return struct.pack(">BI", c.LENGTH_32BIT, size)
    return struct.pack(">BQ", c.LENGTH_64BIT, size)


_PREFIXES = LengthPrefixes()
encode_length: Callable[[int], bytes] = _PREFIXES.__getitem__
"""Encode a length from 0 to 2**64 - 1 in 1, 2, 5 or 9 bytes."""


def encode_lengths(*numbers: int) -> bytes:
    """Encode several lengths."""
    return b"".join(map(encode_length, numbers))


def integer_of(text: bytes) -> int | None:
    """Return the 64-bit integer whose decimal text is `text`, or None."""
    if len(text) > INTEGER_TEXT or _INTEGER(text) is None:
        return None
    number = int(text)
    return number if -1 << 63 <= number < 1 << 63 else None


def may_hold_integers(texts: Sequence[bytes], longest: int = INTEGER_TEXT) -> bool:
    """Return False if certainly none of the texts is the text of an integer."""
    if not texts or min(texts) >= _AFTER_DIGITS or min(map(len, texts)) > longest:
        return False
    starts = b"".join([text[:1] for text in texts])
    return len(starts.translate(None, _DIGITS)) < len(starts)


def encode_string(text: bytes, compress: Compress | None = None) -> bytes:
    """Encode a string, as an integer if it is the text of one of up to 32 bits."""
    size = len(text)
    if size <= INT32_TEXT:
        if _INTEGER(text) is not None and -1 << 31 <= (number := int(text)) < 1 << 31:
            return _encode_integer(number)
    elif compress is not None and size > COMPRESS_ABOVE:
        packed = compress(text)
        if packed is not None:
            return b"%c%b%b%b" % (c.STRING_LZF, _PREFIXES[len(packed)], _PREFIXES[size], packed)
    return _PREFIXES[size] + text


def _encode_integer(number: int) -> bytes:
    if -1 << 7 <= number < 1 << 7:
        return _INT8.pack(c.STRING_INT8, number)
    if -1 << 15 <= number < 1 << 15:
        return _INT16.pack(c.STRING_INT16, number)
    return _INT32.pack(c.STRING_INT32, number)


def encode_strings(
    texts: Sequence[bytes], compress: Compress | None = None, *columns: Sequence[bytes]
) -> bytes:
    """Encode strings, each followed by its row of further columns (the score of a member)."""
    if _must_encode_singly(texts, compress):
        return interleave([encode_string(text, compress) for text in texts], *columns)
    return interleave(map(encode_length, map(len, texts)), texts, *columns)


def encode_with_suffix(
    texts: Sequence[bytes], suffix: bytes, compress: Compress | None = None
) -> bytes:
    """Encode strings (at least one), each followed by the same bytes."""
    sizes = set(map(len, texts))
    is_compressed = compress is not None and max(sizes) > COMPRESS_ABOVE
    if is_compressed or min(sizes) <= INT32_TEXT and may_hold_integers(texts, INT32_TEXT):
        encoded = [encode_string(text, compress) for text in texts]
        return repeat_between(encoded, suffix, b"", suffix)
    if len(sizes) == 1:
        head = encode_length(sizes.pop())
        return repeat_between(texts, suffix + head, head, suffix)
    heads = map(encode_length, map(len, texts))
    return interleave(heads, texts, [suffix] * len(texts))


def repeat_between(texts: Sequence[bytes], between: bytes, first: bytes, last: bytes) -> bytes:
    """Join texts (at least one) with bytes between them and around them, copying each only once."""
    parts = list(texts)
    parts[0] = first + parts[0]
    parts[-1] += last
    return between.join(parts)


def interleave(*columns: Iterable[bytes]) -> bytes:
    """Join columns of one length, row by row."""
    first, *others = columns
    rows = list(first)
    width = len(columns)
    parts = [b""] * (len(rows) * width)
    parts[::width] = rows
    for place, column in enumerate(others, 1):
        parts[place::width] = column
    return b"".join(parts)


def _must_encode_singly(texts: Sequence[bytes], compress: Compress | None) -> bool:
    """Return whether a text might be compressed or be an integer."""
    if compress is not None and texts and max(map(len, texts)) > COMPRESS_ABOVE:
        return True
    return may_hold_integers(texts, INT32_TEXT)
