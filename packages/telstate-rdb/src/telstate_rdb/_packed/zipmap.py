"""Zipmaps, the packed form of small hashes up to Redis 2.4, which no server writes any more.

The layout is drawn in :mod:`telstate_rdb.constants`.
"""

from __future__ import annotations

from telstate_rdb.constants import ZIPMAP_BIG_LENGTH, ZIPMAP_COUNT_UNKNOWN, ZIPMAP_END
from telstate_rdb.errors import RdbParseError


def decode_zipmap(data: bytes) -> list[bytes]:
    """Decode a zipmap: its fields and values, in turn."""
    out: list[bytes] = []
    try:
        position = 1
        while data[position] != ZIPMAP_END:
            field, position = _read_string(data, position, 0)
            value, position = _read_string(data, position, 1)
            out += field, value
    except IndexError:
        raise RdbParseError("a zipmap is truncated") from None
    if position != len(data) - 1:
        raise RdbParseError(f"a zipmap ends at its byte {position}, with more bytes after it")
    if data[0] < ZIPMAP_COUNT_UNKNOWN and data[0] != len(out) // 2:
        raise RdbParseError(
            f"a zipmap has {len(out) // 2} fields, but its first byte says {data[0]}"
        )
    return out


def _read_string(data: bytes, position: int, padded: int) -> tuple[bytes, int]:
    """Read a field (or, with `padded` 1, a value and the padding after it)."""
    length = data[position]
    start = position + 1
    if length == ZIPMAP_BIG_LENGTH:
        start += 4
        length = int.from_bytes(data[position + 1 : start], "little")
    elif length == ZIPMAP_END:
        raise RdbParseError(f"a zipmap has a field without a value before its byte {position}")
    padding = data[start] if padded else 0
    start += padded
    stop = start + length
    if stop + padding >= len(data):
        raise RdbParseError(f"the string at byte {position} of a zipmap reaches beyond its end")
    return data[start:stop], stop + padding
