"""Verifying snapshots: their bytes, and the values in them."""

from __future__ import annotations

import gzip
import io
import os
import struct
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from telstate import SnapshotProblem, TelescopeState, Verification, verify_snapshot
from telstate_rdb import Hash, List, RdbWriter, SortedSet
from telstate_testing.files import OneWayFile
from telstate_testing.observations import write_old_observation


def verify(content: bytes) -> Verification:
    """Verify the bytes of a file."""
    return verify_snapshot(io.BytesIO(content))


def test_sound_files(real_snapshot: Path, tmp_path: Path) -> None:
    """Files that are complete have no problems, however they are opened."""
    found = verify_snapshot(real_snapshot)
    assert (found.sound, found.keys, found.checksum) == (True, 199, "not computed")
    assert (found.problems, found.unread) == ([], [])
    content = real_snapshot.read_bytes()
    assert verify(content) == found
    assert verify_snapshot(OneWayFile(content)) == found
    compressed = gzip.compress(content)
    with gzip.open(io.BytesIO(compressed)) as file:
        assert verify_snapshot(file) == found
    (tmp_path / "compressed").write_bytes(compressed)
    assert verify_snapshot(tmp_path / "compressed") == found
    reading, writing = os.pipe()
    with open(reading, "rb") as file, ThreadPoolExecutor() as threads:
        with open(writing, "wb") as pipe:
            threads.submit(pipe.write, compressed).add_done_callback(lambda _: pipe.close())
            assert verify_snapshot(file) == found
    TelescopeState().save(tmp_path / "empty.rdb", keep_empty=True)
    assert verify_snapshot(tmp_path / "empty.rdb").sound


def test_pickles(tmp_path: Path) -> None:
    """Pickles that the safe policy reads are sound, and others are not read."""
    write_old_observation(tmp_path / "old.rdb")
    found = verify_snapshot(tmp_path / "old.rdb")
    assert found.sound
    (problem,) = found.unread
    assert problem.name == "1600000000_obs_catalogue"
    assert "Catalogue is not plain data" in str(problem)


def test_damaged_files(real_snapshot: Path, tmp_path: Path) -> None:
    """Wherever a file is cut off or changed, it is not sound."""
    TelescopeState.from_snapshot(real_snapshot).save(tmp_path / "with-checksum.rdb")
    content = (tmp_path / "with-checksum.rdb").read_bytes()
    assert verify(content).checksum == "ok"
    for size in (0, 4, 9, 100, len(content) // 2, len(content) - 8, len(content) - 1):
        found = verify(content[:size])
        assert not found.sound, size
        assert all(map(str, found.problems))
    for place in (20, 1000, len(content) // 2, len(content) - 20, len(content) - 2):
        changed = bytearray(content)
        changed[place] ^= 0x10
        assert not verify(bytes(changed)).sound, place
    assert not verify(content + b"more").sound


def test_keys_that_are_there_twice(tmp_path: Path) -> None:
    """A key that is in a database twice is named, also if the file cannot be opened again."""
    snapshot = b"REDIS0003" b"\x00\x04gain\x02\xff\x01" b"\x00\x04gain\x02\xff\x02" b"\xff"
    (tmp_path / "twice.rdb").write_bytes(snapshot)
    for source in (tmp_path / "twice.rdb", io.BytesIO(snapshot), OneWayFile(snapshot)):
        assert [str(problem) for problem in verify_snapshot(source).problems] == [
            "key gain: the key is in the database twice, so that no server loads the file"
        ]


def test_values(tmp_path: Path) -> None:
    """Values that cannot be decoded are problems; keys of other programs are only mentioned."""
    time = struct.pack(">d", 1.0)
    members = (
        time + b"\xff\xc1",
        time + b"\xff\x01",
        b"short",
        struct.pack(">d", -1.0) + b"\xff\x01",
    )
    bad_scores = SortedSet((b"a",), array("d", [1.0]))
    path = tmp_path / "values.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"fine", b"\xff\x01")
        writer.write(b"newer", b"\x90", database=2)
        writer.write(b"sensor\n", SortedSet(members, array("d", bytes(8 * 4))))
        writer.write(b"indexed", Hash({b"\xff": b"\xff\x01", b"\xff\x02": b"\xff\x93"}))
        writer.write(b"text", b"hello")
        writer.write(b"list", List((b"a",)))
        writer.write(b"scored", bad_scores)
    found = verify_snapshot(path)
    assert [str(problem) for problem in found.problems] == [
        "key newer of database 2: Header byte 0x90 is not known; a newer version may be needed.",
        r"key sensor\n: 2 samples without a valid time",
        r"key sensor\n: 2 samples of 4: The value cannot be decoded: it holds byte 0xc1 where an object "
        "should start.",
        "key indexed: 1 sub-key of 2: The value cannot be decoded: it ends too early.",
        "key indexed: 1 value of 2: The value cannot be decoded: it ends too early.",
    ]
    assert found.problems[0] == SnapshotProblem(found.problems[0].reason, "newer", 2)
    assert [problem.name for problem in found.unread] == ["text", "list", "scored"]
    assert str(found.unread[1]) == "key list: a Redis list, which telstate does not support"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is an error."""
    with pytest.raises(FileNotFoundError):
        verify_snapshot(tmp_path / "none.rdb")
    with pytest.raises(IsADirectoryError):
        verify_snapshot(tmp_path)
