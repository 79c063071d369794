"""Arrays, which Redis 8.8 introduced: they are read, not written."""

from __future__ import annotations

import struct

from telstate_rdb import constants as c
from telstate_rdb._source import Source
from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import Array

_DOUBLE = struct.Struct("<d")


def read_array(source: Source) -> Array:
    """Read an array (type 28)."""
    count = source.read_length()
    cursor = source.read_length() if source.read_length() else None
    source.expect(3 * count)
    elements: dict[int, bytes] = {}
    for _ in range(count):
        index = source.read_length()
        elements[index] = _read_element(source)
    if len(elements) != count:
        raise RdbParseError("an array has an index twice")
    return Array(elements, cursor)


def _read_element(source: Source) -> bytes:
    form = source.read_length()
    if form in (c.ARRAY_STRING, c.ARRAY_SHORT_STRING):
        return source.read_string()
    if form == c.ARRAY_INTEGER:
        return b"%d" % source.read_signed(8)
    if form == c.ARRAY_DOUBLE:
        return repr(_DOUBLE.unpack(source.read(8))[0]).encode()
    raise source.error(f"an array has an element of the unknown form {form}")


def skip_array(source: Source) -> None:
    """Skip an array (type 28)."""
    count = source.read_length()
    if source.read_length():
        source.read_length()
    for _ in range(count):
        source.read_length()
        if source.read_length() in (c.ARRAY_STRING, c.ARRAY_SHORT_STRING):
            source.skip_string()
        else:
            source.skip(8)
