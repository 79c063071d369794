"""LZF compression: python-lzf where it is installed, the same format in Python otherwise.

Rules: a compressor gives None where it is not worth the while: where less than four bytes would be
saved, as in Redis. The format is drawn in :mod:`telstate_rdb.constants`. Any output of either is
read by every reader; the two need not give the same bytes.
"""

from __future__ import annotations

from telstate_rdb.constants import LZF_MAX_COPY, LZF_MAX_DISTANCE, LZF_MAX_LITERAL
from telstate_rdb.encoding.strings import Compress

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
