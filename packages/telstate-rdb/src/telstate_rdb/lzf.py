"""LZF, the compression of strings in RDB files: in C where the extension was built, Python otherwise.

The format is drawn in :mod:`telstate_rdb.constants`. Any reader reads the output of either compressor, but
the two need not produce the same bytes. When decompressing, the full size is known beforehand and no more
memory than that is used.
"""

from __future__ import annotations

from collections.abc import Callable

from telstate_rdb.constants import LZF_MAX_COPY, LZF_MAX_DISTANCE, LZF_MAX_LITERAL
from telstate_rdb.errors import RdbParseError

try:
    from telstate_rdb import _lzf
except ImportError:
    _c_decompress: Callable[[bytes, int], bytes] | None = None
    _c_compress: Callable[[bytes], bytes | None] | None = None
else:
    _c_decompress, _c_compress = _lzf.decompress, _lzf.compress

is_compiled = _c_decompress is not None
"""Whether the extension in C was built."""

Compress = Callable[[bytes], bytes | None]
"""Returns LZF data, or None if it is not at least four bytes shorter (as in Redis)."""

MAX_RATIO = LZF_MAX_COPY // 3
"""Data can grow by at most this factor when it is decompressed."""

_SMALL = 4096
"""Up to this size, joining bytes anew is faster than appending to a bytearray."""

# By control byte: the most significant part of the distance of a copy, and its length.
_DISTANCES = tuple(((control & 31) << 8) + 1 for control in range(256))
_LENGTHS = tuple((control >> 5) + 2 for control in range(256))

_LEAST_SAVING = 4  # bytes
_SHORTEST_COPY = 3
_LONG_COPY = 9  # from here on the length takes a byte of its own


# ----------------------------------------------------------------------------------- decompressing


def decompress(data: bytes, size: int) -> bytes:
    """Decompress a string.

    Parameters
    ----------
    data
        The compressed bytes.
    size
        The size of the string in bytes.

    Raises
    ------
    RdbParseError
        If the data is truncated, points before its start, or decompresses to another size.

    Examples
    --------
    >>> decompress(bytes([0]) + b"a" + bytes([0b111_00000, 1, 0]), 11)
    b'aaaaaaaaaaa'
    """
    try:
        return decompress_quickly(data, size)
    except ValueError as error:
        raise RdbParseError(str(error)) from None
    except OverflowError:  # the size is no size in C
        raise RdbParseError(f"{len(data)} compressed bytes cannot decompress to {size}") from None


def decompress_in_python(data: bytes, size: int) -> bytes:
    """Decompress by moving slices, so that the cost depends on the number of literals and copies.

    Raises
    ------
    ValueError
        As `decompress` raises RdbParseError.
    """
    if not 0 <= size <= len(data) * MAX_RATIO:
        raise ValueError(f"{len(data)} compressed bytes cannot decompress to {size}")
    distances = _DISTANCES
    lengths = _LENGTHS
    end = len(data)
    try:
        done = data[0] + 1  # len(out); data that starts with a copy fails below
        position = done + 1
        out: bytes | bytearray = data[1:position]
        if size > _SMALL:
            out = bytearray(out)
        if done > LZF_MAX_LITERAL:
            raise ValueError("a copy in compressed data points before the start")
        while position < end:
            control = data[position]
            if control < 32:  # literal bytes
                start = position + 1
                position += control + 2
                out += data[start:position]
                done += control + 1
                continue
            if control < 224:
                start = done - distances[control] - data[position + 1]
                length = lengths[control]
                position += 2
            else:
                start = done - distances[control] - data[position + 2]
                length = data[position + 1] + 9
                position += 3
            stop = start + length
            if 0 <= start and stop <= done:
                out += out[start:stop]
            elif start < 0:
                raise ValueError("a copy in compressed data points before the start")
            else:  # it overlaps its own output: a repetition
                out += (out[start:] * (length // (done - start) + 1))[:length]
            done += length
    except IndexError:
        if not data and not size:
            return b""
        raise ValueError("compressed data is truncated") from None
    if position != end:
        raise ValueError("compressed data is truncated")
    if done != size:
        longer = "longer" if done > size else "shorter"
        raise ValueError(f"compressed data is {longer} than its string")
    return bytes(out)


decompress_quickly: Callable[[bytes, int], bytes] = _c_decompress or decompress_in_python
"""The faster function; malformed data is a ValueError with a reason."""


# ------------------------------------------------------------------------------------- compressing


def compress_in_python(data: bytes) -> bytes | None:
    """Compress in pure Python, about a megabyte a second.

    Examples
    --------
    >>> compress_in_python(b"telstate" * 10)
    b'\\x07telstate\\xe0?\\x07'
    >>> compress_in_python(bytes(range(100))) is None
    True
    """
    limit = len(data) - _LEAST_SAVING
    seen: dict[bytes, int] = {}
    output = bytearray()
    literal = position = 0  # `literal` is the start of the bytes that are not written yet
    end = len(data) - _SHORTEST_COPY + 1
    while position < end:
        start = data[position : position + _SHORTEST_COPY]
        match = seen.get(start, -1)
        seen[start] = position
        if match < 0 or position - match > LZF_MAX_DISTANCE:
            position += 1
            continue
        _append_literals(output, data, literal, position)
        length = _count_equal(data, match, position)
        _append_copy(output, position - match - 1, length)
        position += length
        literal = position
        if len(output) > limit:
            return None
    _append_literals(output, data, literal, len(data))
    return bytes(output) if len(output) <= limit else None


def _count_equal(data: bytes, match: int, position: int) -> int:
    """Count the equal bytes at `match` and at `position` (they may overlap)."""
    most = min(LZF_MAX_COPY, len(data) - position)
    length = _SHORTEST_COPY
    while length < most and data[match + length] == data[position + length]:
        length += 1
    return length


def _append_literals(output: bytearray, data: bytes, start: int, stop: int) -> None:
    for place in range(start, stop, LZF_MAX_LITERAL):
        run = data[place : min(place + LZF_MAX_LITERAL, stop)]
        output.append(len(run) - 1)
        output += run


def _append_copy(output: bytearray, offset: int, length: int) -> None:
    if length < _LONG_COPY:
        output += bytes((length - 2 << 5 | offset >> 8, offset & 0xFF))
    else:
        output += bytes((7 << 5 | offset >> 8, length - _LONG_COPY, offset & 0xFF))


compress_lzf: Compress = _c_compress or compress_in_python
"""The faster compressor."""
