"""Sample files, hand-made files, sources that return few bytes, and records as the JSON of other tools."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from telstate_rdb import (
    Hash,
    KeyRecord,
    LazyTable,
    List,
    Module,
    RawValue,
    RdbParseError,
    RdbSource,
    Set,
    SortedSet,
    Stream,
    Value,
    decode_raw,
    read_lazily,
)
from telstate_rdb.dump import crc64

ROOT = Path(__file__).resolve().parents[3]
SHARED_DATA = Path(os.environ.get("TELSTATE_SHARED_DATA", ROOT.parent / "shared" / "data"))
SAMPLES = SHARED_DATA / "rdb-samples"
NO_SAMPLES = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="the sample files are not there; TELSTATE_SHARED_DATA names them"
)


def sample_rows() -> list[dict[str, str]]:
    """Return the rows of files.tsv, which describe the samples; none if there are no samples."""
    table = SAMPLES / "files.tsv"
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


class ChunkedReader(io.RawIOBase):
    """A file that returns at most `size` bytes at a time and cannot seek."""

    def __init__(self, data: bytes, size: int = 1) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, however many are requested."""
        return self._file.read(self._size)


def make_file(*records: bytes, version: int = 11) -> bytes:
    """Return a file of some records, with its checksum."""
    content = b"REDIS%04d" % version + b"".join(records) + b"\xff"
    return content + crc64(content).to_bytes(8, "little")


def encode_length(size: int) -> bytes:
    """Encode a length without the code that is tested."""
    if size < 64:
        return bytes([size])
    if size < 16384:
        return bytes([0x40 | size >> 8, size & 255])
    return b"\x80" + size.to_bytes(4, "big")


def encode_string(data: bytes) -> bytes:
    """Encode a string in its plain form."""
    return encode_length(len(data)) + data


def decode(value: Value | RawValue | LazyTable) -> Value:
    """Decode what was left undecoded, in every possible way."""
    if isinstance(value, LazyTable):
        assert value.size == len(value.raw.body)
        assert decode_raw(value.raw) == value.decode()
        assert value.raw.dump(11) == value.dump(11)
        return value.decode()
    return decode_raw(value) if isinstance(value, RawValue) else value


def read_lazily_and_decode(source: RdbSource, *, raw: bool = False) -> list[KeyRecord[Value]]:
    """Read a file lazily, and then decode everything."""
    return [
        KeyRecord(
            record.database,
            record.key,
            decode(record.value),
            record.expiry,
            record.idle,
            record.frequency,
        )
        for record in list(read_lazily(source, raw=raw))
    ]


def outcome(read: Callable[..., Iterable[object]], source: RdbSource) -> object:
    """Return the records of a file, or the text of its error."""
    try:
        return list(read(source))
    except RdbParseError as error:
        return str(error)


def text(data: bytes) -> str:
    """Return bytes as the JSON of other tools shows them."""
    return data.decode("utf-8", "replace")


def number(value: float) -> str:
    """Return a score as text; like other tools, show -0 as 0."""
    return repr(value + 0.0)


def plain(value: Value) -> object:
    """Return a value in the types of JSON."""
    match value:
        case bytes():
            return text(value)
        case List():
            return [text(element) for element in value.elements]
        case Set():
            return sorted(text(member) for member in value.members)
        case SortedSet():
            return {
                text(member): number(score)
                for member, score in zip(value.members, value.scores, strict=True)
            }
        case Hash():
            return {text(field): text(content) for field, content in value.fields.items()}
        case Stream():
            return {
                str(entry.id): {text(field): text(content) for field, content in entry.fields}
                for entry in value.entries
            }
        case Module():
            return f"{value.name} {len(value.body)}"
        case _:
            raise TypeError(f"No file of these tests has a {type(value).__name__}.")


def by_key(records: Iterable[KeyRecord[Value]]) -> dict[tuple[int, str], object]:
    """Return the values of all keys in the types of JSON."""
    return {(record.database, text(record.key)): plain(record.value) for record in records}
