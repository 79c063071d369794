"""Interrupted writing: killed processes, full disks and limits on files, none of them simulated."""

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

WRITER = Path(__file__).parents[1] / "rdb_crash_writer.py"
OLD = [KeyRecord(0, b"old", b"file")]


def write_old(path: Path) -> None:
    """Write the file that must survive."""
    with RdbWriter(path) as writer:
        writer.write_records(OLD)


def kill_a_writer(path: Path, way: str, delay: float, begun: int = 1) -> None:
    """Start a process that writes, and kill it some time after it has started `begun` files."""
    process = subprocess.Popen([sys.executable, WRITER, path, way], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        for number in range(begun):
            assert process.stdout.readline() == b"%d\n" % (number + 1)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def assert_old_or_new(path: Path) -> bool:
    """Check that a file is the old one or a complete new one; return whether it is new."""
    found = list(read_rdb(path))  # verifies the checksum too
    if found == OLD:
        return False
    values = {record.value for record in found}
    assert len(found) == 64
    assert len(values) == 1
    return True


@pytest.mark.slow
@pytest.mark.parametrize("way", ["nameless", "named"])
def test_killed_at_any_moment(tmp_path: Path, way: str) -> None:
    """However often a writer is killed, the file is the old one or a new one, and no part files remain."""
    path = tmp_path / "a.rdb"
    generator = random.Random()
    write_old(path)
    for attempt in range(30):
        begun = attempt % 3 + 1
        kill_a_writer(path, way, generator.uniform(0, 0.03), begun)
        new = assert_old_or_new(path)
        assert new or begun == 1
        # The part file of a killed process is removed by the next one.
        assert len(os.listdir(tmp_path)) <= (1 if way == "nameless" else 2) + 1
    write_old(path)
    assert os.listdir(tmp_path) == ["a.rdb"]


@pytest.mark.parametrize("way", ["nameless", "named"])
def test_killed_during_the_first_file(tmp_path: Path, way: str) -> None:
    """A writer that is killed at once leaves the old file; the next writer removes its part file."""
    path = tmp_path / "a.rdb"
    write_old(path)
    kill_a_writer(path, way, 0)
    assert_old_or_new(path)
    write_old(path)
    assert os.listdir(tmp_path) == ["a.rdb"]


# -------------------------------------------------------------------------------------- no room


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte, or skip the test."""
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
    """Limit the files of this process to one megabyte."""
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
    """Without room the error says so, and only the old file is there."""
    if way == "named":
        # Private, as no system without O_TMPFILE can be made here.
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
    """If the room ends within the checksum, the old file stays as well."""
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
    """Writing after an error of the disk raises an error, as does the end of the block."""
    path = tmp_path / "a.rdb"
    with limited_files(tmp_path):
        with pytest.raises(RdbWriteError, match="a new one after a write error"):
            with RdbWriter(path) as writer:
                with pytest.raises(RdbWriteError, match="File too large"):
                    writer.write(b"key", os.urandom(2_000_000))
                with pytest.raises(RdbWriteError, match="a new one after a write error"):
                    writer.write(b"other", b"value")
    assert os.listdir(tmp_path) == []
