"""When writing is cut off: processes that are killed, disks that are full, limits on files.

All of these are made to happen, not simulated.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from telstate_rdb import KeyRecord, RdbWriteError, RdbWriter, read_rdb

WRITER = Path(__file__).with_name("rdb_crash_writer.py")
OLD = [KeyRecord(0, b"old", b"file")]


def write_old(path: Path) -> None:
    """Write the file that is to survive."""
    with RdbWriter(path) as writer:
        writer.write_records(OLD)


def kill_a_writer(path: Path, way: str, delay: float, begun: int = 1) -> None:
    """Start a process that writes, and kill it some time after it has begun so many files."""
    process = subprocess.Popen([sys.executable, WRITER, path, way], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        for number in range(begun):
            assert process.stdout.readline() == b"%d\n" % (number + 1)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def assert_old_or_new(path: Path) -> bool:
    """Check that a file is the old one or a new one, whole; tell whether it is new."""
    found = list(read_rdb(path))  # which checks the checksum, too
    if found == OLD:
        return False
    values = {record.value for record in found}
    assert len(found) == 64
    assert len(values) == 1
    return True


@pytest.mark.slow
@pytest.mark.parametrize("way", ["nameless", "named"])
def test_killed_at_any_moment(tmp_path: Path, way: str) -> None:
    """However often a writer is killed: the old file or a new one, and nothing piles up."""
    path = tmp_path / "a.rdb"
    generator = random.Random()
    write_old(path)
    for attempt in range(30):
        begun = attempt % 3 + 1
        kill_a_writer(path, way, generator.uniform(0, 0.03), begun)
        new = assert_old_or_new(path)
        assert new or begun == 1
        # What one killed process leaves, the next one removes.
        assert len(os.listdir(tmp_path)) <= (1 if way == "nameless" else 2) + 1
    write_old(path)
    assert os.listdir(tmp_path) == ["a.rdb"]


@pytest.mark.parametrize("way", ["nameless", "named"])
def test_killed_before_the_first_file_is_whole(tmp_path: Path, way: str) -> None:
    """A writer that is killed at once leaves the old file; what it leaves goes with the next."""
    path = tmp_path / "a.rdb"
    write_old(path)
    kill_a_writer(path, way, 0)
    assert_old_or_new(path)
    write_old(path)
    assert os.listdir(tmp_path) == ["a.rdb"]


# ---------------------------------------------------------------------------------- no more room


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of one megabyte; skips the test where none can be had."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "telstate-test", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def limited_files(folder: Path) -> Iterator[Path]:
    """No file of this process may grow beyond one megabyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


ROOM = {
    "small disk": (small_disk, errno.ENOSPC, "No space left on device"),
    "limited files": (limited_files, errno.EFBIG, "File too large"),
}


@pytest.mark.parametrize("kind", ROOM)
@pytest.mark.parametrize("way", ["nameless", "named"])
@pytest.mark.parametrize("size", [10_000, 3_000_000], ids=["many small", "one large"])
def test_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str, size: int
) -> None:
    """Where there is no more room, the error says so, and the old file alone is there."""
    if way == "named":
        monkeypatch.setattr("telstate_rdb.atomic_file._O_TMPFILE", None)
    limit, number, reason = ROOM[kind]
    with limit(tmp_path) as folder:
        path = folder / "a.rdb"
        write_old(path)
        with pytest.raises(RdbWriteError, match=f"a.rdb could not be written: {reason}") as caught:
            with RdbWriter(path) as writer:
                for key in range(3_000_000 // size):
                    writer.write(b"key %d" % key, os.urandom(size))
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == number
        assert list(read_rdb(path)) == OLD
        assert os.listdir(folder) == ["a.rdb"]
        write_old(path)  # there is room again


def test_no_room_in_the_last_bytes(tmp_path: Path) -> None:
    """Where the room ends within the checksum, the old file stays as well."""
    with small_disk(tmp_path) as folder:
        path = folder / "a.rdb"
        write_old(path)
        room = os.statvfs(folder)
        free = room.f_bavail * room.f_frsize
        with pytest.raises(RdbWriteError, match="No space left on device"):
            with RdbWriter(path) as writer:
                # All but the last two of the bytes that the new file will have.
                writer.write(b"key", os.urandom(free - 9 - 2 - 1 - 4 - 5 - 1 - 6))
        assert list(read_rdb(path)) == OLD
        assert os.listdir(folder) == ["a.rdb"]


def test_after_an_error_the_writer_is_closed(tmp_path: Path) -> None:
    """Who goes on writing after an error of the disk is told so, and so at the end of the block."""
    path = tmp_path / "a.rdb"
    with limited_files(tmp_path):
        with pytest.raises(RdbWriteError, match="start again after an error of writing"):
            with RdbWriter(path) as writer:
                with pytest.raises(RdbWriteError, match="File too large"):
                    writer.write(b"key", os.urandom(2_000_000))
                with pytest.raises(RdbWriteError, match="start again after an error of writing"):
                    writer.write(b"other", b"value")
    assert os.listdir(tmp_path) == []
