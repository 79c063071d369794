"""Replace a file as a whole: whoever looks sees the old one or the new one, whatever happens.

Rules:

* What is written goes to a file without a name where the system has such (``O_TMPFILE``); it gets
  one only when it is whole and synced, so that a process that is killed leaves nothing behind.
  Elsewhere it has a name from the start: ``.<target>.<random>.part``, beside the target.
* The new name is then renamed over the target, and the folder is synced.
* A part file that a killed process left is removed by the next one that writes the same target. A
  part file in use is locked (``flock``), and a lock ends with its process, so none in use is ever
  taken for a left one.
* The new file gets mode and (where permitted) owner of the old one; where there was none, what the
  umask says. A symbolic link stays, and what it points to is replaced. Other hard links to the old
  file keep the old content.
* Until then nobody but the owner can look into what is to replace an old file, which may hold what
  others must not see.
* A disk that is full (or any other failure) is told as RdbWriteError, and the old file stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from telstate_rdb.errors import RdbWriteError

_NEW_FILE_MODE = 0o666  # less what the umask takes away
_PRIVATE_MODE = 0o600  # where there is an old file, until its mode is taken over
_ATTEMPTS = 100
_PIECE = 1 << 18  # bytes given to the system at once: more of them take longer each
_SUFFIX = ".part"
_O_TMPFILE = getattr(os, "O_TMPFILE", None)
_DESCRIPTORS = "/proc/self/fd"
_LONGEST_NAME = 200  # bytes of the target's name in the part's: file systems allow 255 in all
# What file systems without nameless files say to O_TMPFILE.
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}


class Replacement:
    """A new content of a file, while it is made.

    Call `open`, then `write` and `rewrite_start` as often as needed, then `commit` or `discard`.

    Parameters
    ----------
    path
        The file to make or to replace.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._target = Path(os.path.realpath(self.path))
        self._descriptor = -1
        self._part: Path | None = None

    @property
    def shown(self) -> str:
        """The path as messages show it."""
        return self.path or repr(self.path)

    @property
    def is_open(self) -> bool:
        """Whether there is a new content that is neither committed nor discarded."""
        return self._descriptor >= 0

    def open(self) -> None:
        """Begin; remove what killed processes left.

        Raises
        ------
        OSError
            If no file can be made there: no such folder, no permission.
        RdbWriteError
            If the target is there and is no regular file.
        """
        mode = _NEW_FILE_MODE
        # What is asked for comes first: /dev/stdout leads to a pipe, whose name leads nowhere.
        for path in (self.path, self._target):
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(os.stat(path).st_mode):
                    raise RdbWriteError(
                        f"{self.shown} is not a regular file, so it cannot be replaced by a "
                        "snapshot; give the name of a file."
                    )
                mode = _PRIVATE_MODE
        _remove_left(self._target)
        try:
            self._descriptor = _open_nameless(self._target.parent, mode)
            if self._descriptor < 0:
                self._descriptor, self._part = _open_named(self._target, mode)
        except OSError as error:  # which names the folder or the part file, not what is wanted
            raise OSError(error.errno, error.strerror, self.path) from error

    def write(self, data: bytes) -> None:
        """Add bytes at the end.

        Raises
        ------
        RdbWriteError
            If the disk is full, for example; the new content is discarded then.
        """
        view = memoryview(data)
        with self._telling("written"):
            while view:
                view = view[os.write(self._descriptor, view[:_PIECE]) :]

    def rewrite_start(self, data: bytes) -> None:
        """Replace the first bytes of the new content."""
        with self._telling("written"):
            os.pwrite(self._descriptor, data, 0)

    def commit(self) -> None:
        """Put the new content in place of the old, for good."""
        with self._telling("put in place"):
            self._take_over_owner()
            os.fsync(self._descriptor)
            if self._part is None:
                self._part = _give_name(self._descriptor, self._target)
            os.rename(self._part, self._target)
        self._part = None
        self.discard()  # which has nothing left to do but to close
        try:
            _sync_folder(self._target.parent)
        except OSError as error:
            raise RdbWriteError(
                f"{self.shown} is written, but its folder could not be synced: {error.strerror}. "
                "After a power failure the old file may be there again."
            ) from error

    def discard(self) -> None:
        """Forget the new content; the old stays."""
        part, self._part = self._part, None
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Turn what the system says into an error that says what it means for the file."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise RdbWriteError(
                f"{self.shown} could not be {what}: {error.strerror or error}. "
                "What was there before is unchanged; nothing is left of the new file."
            ) from error

    def _take_over_owner(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            old = os.stat(self._target)
            new = os.fstat(self._descriptor)
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                with contextlib.suppress(PermissionError):
                    os.fchown(self._descriptor, old.st_uid, old.st_gid)
            os.fchmod(self._descriptor, stat.S_IMODE(old.st_mode))


def _part_stem(target: Path) -> str:
    """Give what the names of a target's part files start with."""
    name = os.fsencode(target.name)[:_LONGEST_NAME]
    return f".{os.fsdecode(name)}."


def _part_name(target: Path) -> Path:
    return target.with_name(f"{_part_stem(target)}{secrets.token_hex(8)}{_SUFFIX}")


def _open_nameless(folder: Path, mode: int) -> int:
    """Open a file without a name; -1 where the system has no such."""
    if _O_TMPFILE is None or not os.path.isdir(_DESCRIPTORS):
        return -1
    try:
        return os.open(folder, _O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return -1
        raise


def _open_named(target: Path, mode: int = _NEW_FILE_MODE) -> tuple[int, Path]:
    """Make a part file that is locked, and that no other process has removed meanwhile."""
    for _ in range(_ATTEMPTS):
        part = _part_name(target)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        descriptor = os.open(part, flags, mode)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, part
        os.close(descriptor)
    raise RdbWriteError(f"{target} could not be written: its part files keep vanishing.")


def _give_name(descriptor: int, target: Path) -> Path:
    """Give a nameless file the name of a part file, just before it is renamed."""
    _lock(descriptor)
    part = _part_name(target)
    # With a folder's descriptor (which an absolute name makes no use of) this is linkat(2), which
    # follows the link in /proc to the file.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(f"{_DESCRIPTORS}/{descriptor}", part, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
    return part


def _lock(descriptor: int) -> bool:
    """Lock a file; True if it is ours (or if the file system knows no locks)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove_left(target: Path) -> None:
    """Remove the part files of processes that are no more."""
    pattern = re.compile(re.escape(_part_stem(target)) + "[0-9a-f]{16}" + re.escape(_SUFFIX))
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        left = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
        for path in left:
            _remove_unlocked(path)


def _remove_unlocked(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last; file systems that cannot sync a folder do so by themselves."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
