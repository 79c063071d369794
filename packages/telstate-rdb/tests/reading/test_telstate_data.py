"""Generated and real snapshots of telescope state have exactly the values that were stored."""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from typing import Any

import pytest
from rdb_data import SHARED_DATA

from telstate_rdb import Hash, SortedSet, Value, read_rdb

FOLDER = SHARED_DATA / "telstate"
NO_DATA = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the snapshots are not there; TELSTATE_SHARED_DATA names them"
)
FILES = [
    ("m4-katsdptelstate.rdb", "m4.json", 6, "not computed"),
    ("m4-redis7.rdb", "m4.json", 10, "ok"),
    pytest.param("m64-redis7.rdb", "m64.json", 10, "ok", marks=pytest.mark.slow),
]


def summary(value: Value) -> dict[str, Any]:
    """Summarise a value like the JSON files beside the snapshots."""
    match value:
        case bytes():
            return {"kind": "immutable", "sha256": sha256(value).hexdigest()}
        case SortedSet():
            assert not any(value.scores)
            members = sorted(value.members)
            times = [struct.unpack(">d", member[:8])[0] for member in members]
            content = (
                repr(time).encode() + member[8:]
                for time, member in zip(times, members, strict=True)
            )
            return {
                "kind": "mutable",
                "samples": len(members),
                "first": times[0],
                "last": times[-1],
                "sha256": sha256(b"".join(content)).hexdigest(),
            }
        case Hash():
            content = (field + value.fields[field] for field in sorted(value.fields))
            return {
                "kind": "indexed",
                "sub_keys": len(value.fields),
                "sha256": sha256(b"".join(content)).hexdigest(),
            }
    raise AssertionError(f"A telescope state has no {type(value)}.")


@NO_DATA
@pytest.mark.parametrize(("name", "expected", "version", "checksum"), FILES)
def test_snapshots(name: str, expected: str, version: int, checksum: str) -> None:
    """Every key in the snapshot of an observation has the right kind, samples and values."""
    reader = read_rdb(FOLDER / name)
    found = {record.key.decode(): summary(record.value) for record in reader}
    assert (reader.version, reader.checksum) == (version, checksum)
    assert found == json.loads((FOLDER / expected).read_text())


@NO_DATA
def test_real_observation() -> None:
    """The snapshot of a real observation has its 77 immutable and 122 mutable keys."""
    kinds = [summary(record.value)["kind"] for record in read_rdb(FOLDER / "1testdata_sdp_l0.rdb")]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"immutable": 77, "mutable": 122}
