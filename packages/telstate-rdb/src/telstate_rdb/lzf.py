"""LZF, the compression of strings in RDB files: decompressing.

python-lzf is used where it is installed (extra ``lzf``; written in C), otherwise the function
here. Rules: the full size is known beforehand and nothing is made beyond it; data that lead
anywhere else are :exc:`RdbParseError`. See :mod:`telstate_rdb.constants` for the layout.
"""

# LZF compression: python-lzf where it is installed, the same format in Python otherwise.
#
# Rules: a compressor gives None where it is not worth the while: where less than four bytes would be
# saved, as in Redis. The format is drawn in :mod:`telstate_rdb.constants`. Any output of either is
# read by every reader; the two need not give the same bytes.

from __future__ import annotations

from collections.abc import Callable

from telstate_rdb.constants import LZF_MAX_COPY, LZF_MAX_DISTANCE, LZF_MAX_LITERAL
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf_shapes import LONGEST, known_shape, note_unknown

try:
    import lzf
except ImportError:
    _c_decompress: Callable[[bytes, int], bytes | None] | None = None
else:
    _c_decompress = lzf.decompress

Compress = Callable[[bytes], bytes | None]
"""Returns LZF data that is worth it (at least four bytes shorter than the string), or None."""

MAX_RATIO = LZF_MAX_COPY // 3
"""No data can grow by more than this when they are decompressed."""

_SMALL = 4096
"""Up to this size, joining bytes anew is quicker than appending to a bytearray."""

# By control byte: the most significant part of the distance of a copy, and its length.
_DISTANCES = tuple(((control & 31) << 8) + 1 for control in range(256))
_LENGTHS = tuple((control >> 5) + 2 for control in range(256))


def decompress(data: bytes, size: int) -> bytes:
    """Decompress a string.

    Parameters
    ----------
    data
        The compressed bytes.
    size
        How many bytes they stand for.

    Raises
    ------
    RdbParseError
        If they do not: the data are cut short, point to before their start, or stand for more or
        fewer bytes.

    Examples
    --------
    >>> decompress(bytes([0]) + b"a" + bytes([0b111_00000, 1, 0]), 11)
    b'aaaaaaaaaaa'
    """
    if size > len(data) * MAX_RATIO:
        raise RdbParseError(f"{len(data)} compressed bytes cannot stand for {size}")
    if _c_decompress is None:
        return decompress_in_python(data, size)
    try:
        full = _c_decompress(data, size) if size else b""
    except ValueError:
        full = None
    if full is None or len(full) != size or not size:
        return decompress_in_python(data, size)  # which says what is wrong
    return full


def decompress_in_python(data: bytes, size: int) -> bytes:
    """Do what :func:`decompress` does, without python-lzf.

    Strings like those before are moved all at once, see :mod:`telstate_rdb.lzf_shapes`.
    """
    shape = known_shape((len(data), size))
    if shape is not None and (full := shape(data)) is not None:
        return full
    full = _decompress_in_steps(data, size)
    if 0 < size <= LONGEST:
        note_unknown(data, size)
    return full


def _decompress_in_steps(data: bytes, size: int) -> bytes:
    """Do what :func:`decompress` does for a string by itself.

    Slices are moved, never single bytes: what it costs depends on the number of literals and
    copies.
    """
    distances = _DISTANCES
    lengths = _LENGTHS
    end = len(data)
    try:
        done = data[0] + 1  # len(out); what begins with a copy fails below
        position = done + 1
        out: bytes | bytearray = data[1:position]
        if size > _SMALL:
            out = bytearray(out)
        if done > LZF_MAX_LITERAL:
            raise RdbParseError("compressed data point to before their start")
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
                raise RdbParseError("compressed data point to before their start")
            else:  # it overlaps what it makes: a repetition
                out += (out[start:] * (length // (done - start) + 1))[:length]
            done += length
    except IndexError:
        if not data and not size:
            return b""
        raise RdbParseError("compressed data are cut short") from None
    if len(out) != size or done != size or position != end:
        raise RdbParseError(f"compressed data do not stand for {size} bytes as they say")
    return bytes(out)


decompress_quickly: Callable[[bytes, int], bytes | None] = _c_decompress or decompress_in_python
"""The quickest way for what is known to be short. Wrong data give anything but the right size, or
raise ValueError or RdbParseError; :func:`decompress` says what is wrong with them."""


SAVED_AT_LEAST = 4  # bytes
_SHORTEST_COPY = 3
_LONG_COPY = 9  # from here on the length takes a byte of its own


def compress_python(data: bytes) -> bytes | None:
    """Compress in pure Python: about a megabyte a second.

    Examples
    --------
    >>> compress_python(b"telstate" * 10)
    b'\\x07telstate\\xe0?\\x07'
    >>> compress_python(bytes(range(100))) is None
    True
    """
    limit = len(data) - SAVED_AT_LEAST
    seen: dict[bytes, int] = {}
    output = bytearray()
    literal = position = 0  # where the bytes begin that are not written yet; where we are
    end = len(data) - _SHORTEST_COPY + 1
    while position < end:
        start = data[position : position + _SHORTEST_COPY]
        match = seen.get(start, -1)
        seen[start] = position
        if match < 0 or position - match > LZF_MAX_DISTANCE:
            position += 1
            continue
        _put_literals(output, data, literal, position)
        length = _match_length(data, match, position)
        _put_copy(output, position - match - 1, length)
        position += length
        literal = position
        if len(output) > limit:
            return None
    _put_literals(output, data, literal, len(data))
    return bytes(output) if len(output) <= limit else None


def _match_length(data: bytes, match: int, position: int) -> int:
    """For how many bytes the text at `position` is that at `match` (they may overlap)."""
    most = min(LZF_MAX_COPY, len(data) - position)
    length = _SHORTEST_COPY
    while length < most and data[match + length] == data[position + length]:
        length += 1
    return length


def _put_literals(output: bytearray, data: bytes, start: int, stop: int) -> None:
    for place in range(start, stop, LZF_MAX_LITERAL):
        run = data[place : min(place + LZF_MAX_LITERAL, stop)]
        output.append(len(run) - 1)
        output += run


def _put_copy(output: bytearray, offset: int, length: int) -> None:
    if length < _LONG_COPY:
        output += bytes((length - 2 << 5 | offset >> 8, offset & 0xFF))
    else:
        output += bytes((7 << 5 | offset >> 8, length - _LONG_COPY, offset & 0xFF))


def _find() -> Compress:
    """Give the fastest compressor there is."""
    try:
        import lzf
    except ImportError:
        return compress_python
    native = lzf.compress

    def compress_native(data: bytes) -> bytes | None:
        return native(data, len(data) - SAVED_AT_LEAST)

    return compress_native


compress_lzf: Compress = _find()
"""The compressor to use: python-lzf's if it is installed."""
