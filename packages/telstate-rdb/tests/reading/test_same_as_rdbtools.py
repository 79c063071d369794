"""Files that rdbtools can read (up to version 9) give the same records as with rdbtools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rdb_data import NO_SAMPLES, SAMPLES, SHARED_DATA, sample_rows

from telstate_rdb import Hash, KeyRecord, List, Module, Set, SortedSet, Stream, Value, read_rdb
from telstate_testing import peer_python

PEER = peer_python()
NO_PEER = pytest.mark.skipif(PEER is None, reason="no rdbtools: TELSTATE_PEER_PYTHON is not set")

# rdbtools ignores the wrong checksum of one and the bytes after the end of the other.
WE_REJECT = {"librdb/invalid_chksum_v8.rdb", "redis-rdb-tools/redis_40_with_module.rdb"}
# rdbtools itself fails on these.
PEER_REJECTS = {"redis/corrupt_ziplist.rdb"}

OLD = [
    row["file"]
    for row in sample_rows()
    if row["header"].startswith("REDIS00") and int(row["header"][5:]) <= 9
]


def text(data: bytes) -> str:
    """Return bytes as text, one character for each byte."""
    return data.decode("latin-1")


def content(value: Value) -> tuple[str, object]:
    """Return a value as the script with rdbtools does."""
    match value:
        case bytes():
            return "string", text(value)
        case List():
            return "list", [text(element) for element in value.elements]
        case Set():
            return "set", sorted(text(member) for member in value.members)
        case SortedSet():
            pairs = zip(value.members, value.scores, strict=True)
            return "zset", {text(member): repr(score + 0.0) for member, score in pairs}
        case Hash():
            return "hash", {text(field): text(v) for field, v in value.fields.items()}
        case Stream():
            return "stream", None
        case Module():
            return "module", value.name
        case _:
            raise TypeError(f"No file of these tests has a {type(value).__name__}.")


def ours(record: KeyRecord[Value]) -> list[object]:
    """Return a record as the script with rdbtools does."""
    return [record.database, text(record.key), *content(record.value), record.expiry]


def theirs(*paths: Path) -> list[Any]:
    """Read files with rdbtools."""
    script = Path(__file__).parents[1] / "rdb_peer.py"
    output = subprocess.run(
        [str(PEER), str(script), *map(str, paths)], check=True, capture_output=True, text=True
    )
    found = [json.loads(line) for line in output.stdout.splitlines()]
    for records in found:
        for record in records if isinstance(records, list) else []:
            if record[2] == "set":
                record[3].sort()
    return found


@pytest.mark.slow
@NO_PEER
@NO_SAMPLES
def test_as_rdbtools() -> None:
    """Every sample of a version up to 9 gives the records that rdbtools gives."""
    names = [name for name in OLD if name not in PEER_REJECTS]
    for name, expected in zip(names, theirs(*(SAMPLES / name for name in names)), strict=True):
        reader = read_rdb(SAMPLES / name, strict=name not in WE_REJECT)
        assert [ours(record) for record in reader] == expected, name


@pytest.mark.slow
@NO_PEER
@NO_SAMPLES
def test_telescope_state_as_rdbtools() -> None:
    """Snapshots that katsdptelstate wrote give the records that rdbtools gives."""
    names = ["m4-katsdptelstate.rdb", "1testdata_sdp_l0.rdb"]
    paths = [SHARED_DATA / "telstate" / name for name in names]
    for path, expected in zip(paths, theirs(*paths), strict=True):
        assert [ours(record) for record in read_rdb(path)] == expected, path
