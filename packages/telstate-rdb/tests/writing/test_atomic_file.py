"""Replacing a file: the new content is complete, or the old content stays, and nothing else is left."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from telstate_rdb import atomic_file
from telstate_rdb.atomic_file import AtomicFile
from telstate_rdb.errors import RdbWriteError


@pytest.fixture(params=["nameless", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of part file: without a name, and with one."""
    if request.param == "named":  # private, as no system without O_TMPFILE can be made here
        monkeypatch.setattr(atomic_file, "_O_TMPFILE", None)
    return str(request.param)


def replace(path: Path, data: bytes = b"new") -> None:
    """Replace a file."""
    file = AtomicFile(path)
    file.open()
    file.write(data)
    file.commit()


@pytest.mark.usefixtures("way")
class TestEitherWay:
    """Behaviour on file systems with and without unnamed files."""

    def test_new_file(self, tmp_path: Path) -> None:
        """A new file is created, and nothing else."""
        replace(tmp_path / "a.rdb")
        assert os.listdir(tmp_path) == ["a.rdb"]
        assert (tmp_path / "a.rdb").read_bytes() == b"new"

    def test_old_file_until_the_end(self, tmp_path: Path) -> None:
        """Readers see the old content until the commit, and the new content after it."""
        path = tmp_path / "a.rdb"
        path.write_bytes(b"old")
        file = AtomicFile(path)
        file.open()
        file.write(b"??w")
        file.rewrite_start(b"ne")
        assert path.read_bytes() == b"old"
        file.commit()
        assert path.read_bytes() == b"new"
        assert not file.is_open
        assert os.listdir(tmp_path) == ["a.rdb"]

    def test_discard(self, tmp_path: Path) -> None:
        """Discarding leaves the old file, and nothing of the new content."""
        path = tmp_path / "a.rdb"
        path.write_bytes(b"old")
        file = AtomicFile(path)
        file.open()
        file.write(b"new")
        file.discard()
        file.discard()
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["a.rdb"]

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
    def test_mode_of_the_old_file(self, tmp_path: Path, mode: int) -> None:
        """The new file has the mode of the old one."""
        path = tmp_path / "a.rdb"
        path.write_bytes(b"old")
        path.chmod(mode)
        replace(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_new_content_is_private(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until it has the mode of the old file, only the owner can read what replaces it."""
        path = tmp_path / "a.rdb"
        path.write_bytes(b"old")
        path.chmod(0o600)
        opened: list[int] = []
        fchmod = os.fchmod

        def watch(descriptor: int, mode: int) -> None:
            opened.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            fchmod(descriptor, mode)

        monkeypatch.setattr(os, "fchmod", watch)
        replace(path)
        assert opened == [0o600]

    def test_sync_before_rename(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The new content is synced before it is renamed, and the folder after that."""
        done: list[tuple[str, int]] = []
        sync, rename = os.fsync, os.replace

        def watch_sync(descriptor: int) -> None:
            sync(descriptor)
            done.append(("sync", os.fstat(descriptor).st_ino))

        def watch_rename(old: Path, new: Path) -> None:
            rename(old, new)
            done.append(("rename", os.stat(new).st_ino))

        monkeypatch.setattr(os, "fsync", watch_sync)
        monkeypatch.setattr(os, "replace", watch_rename)
        replace(tmp_path / "a.rdb")
        file, folder = (path.stat().st_ino for path in (tmp_path / "a.rdb", tmp_path))
        assert done == [("sync", file), ("rename", file), ("sync", folder)]

    def test_no_such_folder(self, tmp_path: Path) -> None:
        """A path into a folder that does not exist raises OSError with that path at once."""
        path = tmp_path / "no" / "a.rdb"
        with pytest.raises(FileNotFoundError) as caught:
            AtomicFile(path).open()
        assert caught.value.filename == str(path)

    def test_mode_of_a_new_file(self, tmp_path: Path) -> None:
        """A new file has the mode of any new file."""
        replace(tmp_path / "a.rdb")
        (tmp_path / "ordinary").write_bytes(b"")
        modes = [(tmp_path / name).stat().st_mode for name in ("a.rdb", "ordinary")]
        assert modes[0] == modes[1]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    def test_owner(self, tmp_path: Path) -> None:
        """The new file has the owner of the old one."""
        path = tmp_path / "a.rdb"
        path.write_bytes(b"old")
        os.chown(path, 12345, 54321)
        replace(path)
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)

    @pytest.mark.parametrize("there", [True, False])
    def test_symbolic_link(self, tmp_path: Path, there: bool) -> None:
        """A symbolic link stays one, and its target gets the new content."""
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        if there:
            (folder / "real.rdb").write_bytes(b"old")
        link = tmp_path / "a.rdb"
        link.symlink_to("elsewhere/real.rdb")
        replace(link)
        assert link.is_symlink()
        assert (folder / "real.rdb").read_bytes() == b"new"
        assert os.listdir(folder) == ["real.rdb"]

    def test_longest_name(self, tmp_path: Path) -> None:
        """A name as long as file systems allow works."""
        replace(tmp_path / ("ä" * 127))
        assert os.listdir(tmp_path) == ["ä" * 127]

    def test_relative_path_and_working_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A relative path is resolved when the object is made."""
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path)
        file = AtomicFile("a.rdb")
        file.open()
        monkeypatch.chdir(tmp_path / "sub")
        file.write(b"new")
        file.commit()
        assert (tmp_path / "a.rdb").read_bytes() == b"new"
        assert os.listdir(tmp_path / "sub") == []

    def test_two_writers(self, tmp_path: Path) -> None:
        """Of two writers of one file, the last to finish wins, and both contents are complete."""
        path = tmp_path / "a.rdb"
        first, second = AtomicFile(path), AtomicFile(path)
        for file, data in ((first, b"first"), (second, b"second")):
            file.open()
            file.write(data)
        second.commit()
        assert path.read_bytes() == b"second"
        first.commit()
        assert path.read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["a.rdb"]

    def test_folder_removed_meanwhile(self, tmp_path: Path) -> None:
        """If the folder is gone at the end, the error says so."""
        folder = tmp_path / "sub"
        folder.mkdir()
        file = AtomicFile(folder / "a.rdb")
        file.open()
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()
        with pytest.raises(RdbWriteError, match="could not be put in place: No such file"):
            file.commit()
        assert not file.is_open


def test_part_files_that_were_left_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlocked part files of the same target are removed; locked ones and all others stay."""
    left = tmp_path / f".a.rdb.{'0' * 16}.part"
    others = [tmp_path / name for name in (f".b.rdb.{'0' * 16}.part", ".a.rdb.part", "a.rdb.part")]
    for path in (left, *others):
        path.write_bytes(b"?")
    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "_O_TMPFILE", None)  # private, see `way`
        using = AtomicFile(tmp_path / "a.rdb")
        using.open()
    (used,) = set(tmp_path.iterdir()) - {*others}
    replace(tmp_path / "a.rdb")
    assert sorted(tmp_path.iterdir()) == sorted([*others, used, tmp_path / "a.rdb"])
    using.discard()
    replace(tmp_path / "a.rdb")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "a.rdb"])


def test_special_files_are_not_replaced(tmp_path: Path) -> None:
    """A device, a pipe or a folder is refused, and stays."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/full")):
        with pytest.raises(RdbWriteError, match="is not a regular file"):
            AtomicFile(path).open()
    assert os.listdir(tmp_path) == ["pipe"]


def test_pipe_behind_a_descriptor() -> None:
    """A path that leads to an open pipe, as /dev/stdout may, is refused."""
    ends = os.pipe()
    try:
        with pytest.raises(RdbWriteError, match="^/dev/fd/[0-9]+ is not a regular file"):
            AtomicFile(f"/dev/fd/{ends[1]}").open()
    finally:
        for end in ends:
            os.close(end)


def test_an_empty_path() -> None:
    """An empty path is refused, and shown in quotes."""
    with pytest.raises(RdbWriteError, match="^'' is not a regular file"):
        AtomicFile("").open()


def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the folder cannot be synced, the error says that the new file is written."""

    def fail_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    with pytest.raises(RdbWriteError, match="is written, but its folder could not be synced"):
        replace(tmp_path / "a.rdb")
    assert (tmp_path / "a.rdb").read_bytes() == b"new"
