"""katsdptelstate reads the files that are written by default, whatever they were made from."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rdb_data import SHARED_DATA

from telstate_rdb import Hash, KeyRecord, RdbWriter, SortedSet, read_rdb

SNAPSHOTS = SHARED_DATA / "telstate"

# Run by the peer's Python: per key its kind and a checksum of the encoded values, as JSON.
LOAD = """
import hashlib, json, sys
import katsdptelstate

telstate = katsdptelstate.TelescopeState()
count = telstate.load_from_file(sys.argv[1])
found = {}
for key in telstate.keys():
    kind = telstate.key_type(key).name
    digest = hashlib.sha256()
    if kind == "MUTABLE":
        for value, time in telstate.get_range(key, st=0, et=float("inf"), return_encoded=True):
            digest.update(repr(time).encode() + value)
    elif kind == "INDEXED":
        items = telstate.get(key, return_encoded=True)
        for sub_key in sorted(items):
            digest.update(sub_key + items[sub_key])
    else:
        digest.update(telstate.get(key, return_encoded=True))
    found[key] = [kind, digest.hexdigest()]
assert count == len(found), (count, len(found))
json.dump(found, sys.stdout)
"""


def samples(value: SortedSet) -> Iterator[bytes]:
    """Yield the input of the peer's checksum: time and encoded value of each sample, in order."""
    for member in sorted(value.members):
        (time,) = struct.unpack(">d", member[:8])
        yield repr(time).encode() + member[8:]


def summary(record: KeyRecord[Any]) -> list[str]:
    """Return the kind and the checksum of a key, as `LOAD` does."""
    value = record.value
    if isinstance(value, SortedSet):
        return ["MUTABLE", hashlib.sha256(b"".join(samples(value))).hexdigest()]
    if isinstance(value, Hash):
        items = b"".join(field + value.fields[field] for field in sorted(value.fields))
        return ["INDEXED", hashlib.sha256(items).hexdigest()]
    return ["IMMUTABLE", hashlib.sha256(value).hexdigest()]


@pytest.mark.skipif(not SNAPSHOTS.is_dir(), reason="there is no shared data")
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("name", ["m4-redis7.rdb", "1testdata_sdp_l0.rdb"])
def test_katsdptelstate_reads_our_copies(
    peer: str, tmp_path: Path, name: str, raw: bool, compress: bool
) -> None:
    """Our copy of a snapshot of Redis 7, and of a real one, has every key, byte for byte."""
    path = tmp_path / "copy.rdb"
    with RdbWriter(path, compress=compress) as writer:
        if raw:
            writer.write_records(read_rdb(SNAPSHOTS / name, raw=True))
        else:
            writer.write_records(read_rdb(SNAPSHOTS / name))
    done = subprocess.run(
        [peer, "-c", LOAD, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    expected = {
        record.key.decode("utf-8", "surrogateescape"): summary(record)
        for record in read_rdb(SNAPSHOTS / name)
    }
    assert json.loads(done.stdout) == expected
    assert writer.version == 6
