"""Where the sample files are, how to feed a reader, and records in the shape of other tools' JSON."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from telstate_rdb.records import KeyRecord
from telstate_rdb.values import Hash, List, Module, Set, SortedSet, Stream, Value

ROOT = Path(__file__).resolve().parents[3]
SHARED_DATA = Path(os.environ.get("TELSTATE_SHARED_DATA", ROOT.parent / "shared" / "data"))
SAMPLES = SHARED_DATA / "rdb-samples"
NO_SAMPLES = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="the sample files are not there; TELSTATE_SHARED_DATA names them"
)


def sample_rows() -> list[dict[str, str]]:
    """The lines of files.tsv: what is known of each sample; none where there are no samples."""
    table = SAMPLES / "files.tsv"
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


class Dripping(io.RawIOBase):
    """A file that gives one byte at a time and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._bytes: Iterator[int] = iter(data)

    def read(self, size: int = -1) -> bytes:
        """Give the next byte, however many are asked for."""
        return bytes([byte]) if (byte := next(self._bytes, None)) is not None else b""


def text(data: bytes) -> str:
    """Show bytes as the JSON of other tools does."""
    return data.decode("utf-8", "replace")


def number(value: float) -> str:
    """Show a score so that equal ones look equal; other tools show -0 as 0."""
    return repr(value + 0.0)


def plain(value: Value) -> object:
    """Give a value as what JSON has."""
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


def by_key(records: Iterable[KeyRecord[Value]]) -> dict[tuple[int, str], object]:
    """Give the plain values of all keys."""
    return {(record.database, text(record.key)): plain(record.value) for record in records}
