"""Whether the checksum of a file is right, found out before anything else is done with the file.

Rules: only what is sure to be the same the second time is read twice: bytes, paths of regular files,
open regular files. The bytes go by in pieces that fit into the processor's cache, so that this costs
a fraction of a millisecond for each megabyte.
"""

from __future__ import annotations

import io
import os
from typing import Protocol

from telstate_rdb import constants as c
from telstate_rdb.crc import crc64
from telstate_rdb.source import BinaryReader, size_of

_PIECE = 1 << 18


class _Rewindable(Protocol):
    """A file that can go back."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


def verified(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader,
) -> bool | None:
    """Tell whether the checksum at the end of a file is that of its bytes.

    Returns
    -------
    bool or None
        None if there is none, or the file cannot be read twice: then nothing of it is read. A file
        that is read stands where it stood before.

    Raises
    ------
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> verified(b"REDIS0006\\xff\\xf4\\xc2\\xf4\\xa6\\x94\\x4c\\x77\\x40"), verified(b"REDIS0003\\xff")
    (False, None)
    """
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with io.FileIO(source) as file:
            return verified(file)
    size = size_of(source)
    if size is None or not isinstance(source, io.BytesIO | io.FileIO | io.BufferedReader):
        return None
    return _verified(source, size)


def _verified(file: _Rewindable, size: int) -> bool | None:
    place = file.tell()
    buffer = memoryview(bytearray(_PIECE))
    crc = 0
    try:
        if not _has_checksum(_filled(file, buffer[: c.HEADER_SIZE])):
            return None
        file.seek(place + size - c.CHECKSUM_SIZE)
        stored = int.from_bytes(_filled(file, buffer[: c.CHECKSUM_SIZE]), "little")
        if not stored:
            return None
        file.seek(place)
        rest = size - c.CHECKSUM_SIZE
        while rest and (piece := _filled(file, buffer[:rest])):
            crc = crc64(piece, crc)
            rest -= len(piece)
    finally:
        file.seek(place)
    return not rest and crc == stored


def _filled(file: _Rewindable, buffer: memoryview) -> memoryview:
    """Read as much as there is room for, or as there is in the file."""
    have = 0
    while have < len(buffer) and (count := file.readinto(buffer[have:])):
        have += count
    return buffer[:have]


def _has_checksum(header: memoryview) -> bool:
    """Tell whether a file that starts like this ends with a checksum."""
    text = bytes(header)
    if text.startswith(c.MAGIC_VALKEY):
        return True
    digits = text[len(c.MAGIC_REDIS) :]
    return (
        text.startswith(c.MAGIC_REDIS)
        and digits.isdigit()
        and int(digits) >= c.CHECKSUM_VERSION
        and len(text) == c.HEADER_SIZE
    )
