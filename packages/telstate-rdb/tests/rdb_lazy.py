"""Lazily read records made into ordinary ones, and files with a right checksum."""

from __future__ import annotations

import io
from collections.abc import Iterable

from telstate_rdb import KeyRecord, LazyTable, RawValue, Value, decode_raw, read_lazily
from telstate_rdb._crc64 import crc64
from telstate_rdb.reader import RdbSource


def sealed(body: bytes, version: int = 10) -> bytes:
    """Give a file of some records, with its checksum."""
    content = b"REDIS%04d" % version + body + b"\xff"
    return content + crc64(content).to_bytes(8, "little")


def unpacked(value: Value | RawValue | LazyTable) -> Value:
    """Decode what was put off, in every way there is."""
    if isinstance(value, LazyTable):
        assert value.size == len(value.raw.body)
        assert decode_raw(value.raw) == value.decode()
        assert value.raw.dump(11) == value.dump(11)
        return value.decode()
    return decode_raw(value) if isinstance(value, RawValue) else value


def read_and_decode(source: RdbSource, *, raw: bool = False) -> list[KeyRecord[Value]]:
    """Read a file lazily, and then decode everything."""
    records: Iterable[KeyRecord[Value] | KeyRecord[RawValue] | KeyRecord[LazyTable]]
    if raw:
        records = list(read_lazily(source, raw=True))
    else:
        records = list(read_lazily(source))
    return [
        KeyRecord(
            each.database,
            each.key,
            unpacked(each.value),
            each.expiry,
            each.idle,
            each.frequency,
        )
        for each in records
    ]


class Pipe(io.RawIOBase):
    """A file that gives so many bytes at a time and cannot seek."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        """Give the next piece, however much is asked for."""
        return self._file.read(self._size)
