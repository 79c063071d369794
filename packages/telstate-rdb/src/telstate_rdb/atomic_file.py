"""Replacing a file atomically: readers see the complete old content or the complete new content.

* The new content is written to a file without a name where the system supports that (``O_TMPFILE``). It
  gets a name only when it is complete and synced, so a process that is killed leaves nothing behind.
  Elsewhere it has a name from the start: ``.<target>.<random>.part``, beside the target.
* That name is then renamed over the target, and the folder is synced.
* A part file that a killed process left behind is removed by the next process that writes the same target.
  A part file in use is locked (``flock``), and a lock ends with its process, so none in use is removed.
* The new file gets the mode and (where permitted) the owner of the old one, otherwise those of any new file.
  A symbolic link stays, and its target is replaced. Other hard links to the old file keep its content.
* Until it is renamed, a file that replaces another is readable by its owner only: it may hold secrets.
* A full disk (or any other failure) raises RdbWriteError, and the old file stays.
* Where the system has no locks (Windows), part files that killed processes left behind stay. Where it has no
  modes, owners or folders that can be synced, these steps are left out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from telstate_rdb.errors import RdbWriteError
from telstate_rdb.printable import escape_path, without_credentials

try:
    import fcntl
except ImportError:  # as on Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

_NEW_FILE_MODE = 0o666  # before the umask
_PRIVATE_MODE = 0o600  # if there is an old file, until its mode is copied
_ATTEMPTS = 100
_PIECE = 1 << 18  # bytes per write: larger writes take longer per byte
_SUFFIX = ".part"
_O_TMPFILE = getattr(os, "O_TMPFILE", None)
_O_PRIVATE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_DESCRIPTORS = "/proc/self/fd"
_LONGEST_NAME = 200  # bytes of the target's name in that of the part: file systems allow 255
# The errors of O_TMPFILE on file systems without files that have no name.
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}


class AtomicFile:
    """The new content of a file while it is being written.

    Call `open`, then `write` and `rewrite_start` as often as needed, then `commit` or `discard`.

    Parameters
    ----------
    path
        The file to create or to replace.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "example"
    >>> file = AtomicFile(path)
    >>> file.open()
    >>> file.write(b"content")
    >>> file.commit()
    >>> path.read_bytes()
    b'content'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._target = Path(os.path.realpath(self.path))
        self._descriptor = -1
        self._part: Path | None = None

    @property
    def shown(self) -> str:
        """The path as shown in messages."""
        return escape_path(self.path) or repr(self.path)

    @property
    def is_open(self) -> bool:
        """Whether there is new content that is neither committed nor discarded."""
        return self._descriptor >= 0

    @without_credentials()
    def open(self) -> None:
        """Start the new content; remove the part files of killed processes.

        Raises
        ------
        OSError
            If no file can be created there: no such folder, no permission.
        RdbWriteError
            If the target exists and is not a regular file.
        """
        mode = _NEW_FILE_MODE
        # The path before its target: /dev/stdout leads to a pipe, whose name does not exist.
        for path in (self.path, self._target):
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(os.stat(path).st_mode):
                    raise RdbWriteError(
                        f"{self.shown} is not a regular file and cannot be replaced. Use the name of "
                        "a file."
                    )
                mode = _PRIVATE_MODE
        _remove_left_parts(self._target)
        try:
            self._descriptor = _open_unnamed(self._target.parent, mode)
            if self._descriptor < 0:
                self._descriptor, self._part = _open_named(self._target, mode)
        except OSError as error:  # it names the folder or the part file, not the target
            error.filename = self.path
            raise

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises
        ------
        RdbWriteError
            If they cannot be written, for example on a full disk; the new content is discarded.
        """
        view = memoryview(data)
        with self._translate_errors("written"):
            while view:
                view = view[os.write(self._descriptor, view[:_PIECE]) :]

    def rewrite_start(self, data: bytes) -> None:
        """Replace the first bytes of the new content."""
        with self._translate_errors("written"):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, data)
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def commit(self) -> None:
        """Replace the old content by the new."""
        with self._translate_errors("put in place"):
            self._copy_mode_and_owner()
            os.fsync(self._descriptor)
            if self._part is None:
                # Known before it exists, so that an interruption at any moment leaves nothing behind.
                self._part = _part_name(self._target)
                _link(self._descriptor, self._part)
            # Systems without locks rename closed files only.
            if not _HAS_LOCKS:
                self._close()
            os.replace(self._part, self._target)
        self._part = None
        self._close()
        try:
            _sync_folder(self._target.parent)
        except OSError as error:
            raise RdbWriteError(
                f"{self.shown} is written, but its folder could not be synced: {error.strerror}. "
                "A power failure may bring the old file back."
            ) from error

    def discard(self) -> None:
        """Discard the new content; the old stays."""
        self._close()
        if self._part is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._part)
            self._part = None

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @contextlib.contextmanager
    def _translate_errors(self, action: str) -> Iterator[None]:
        """Discard the new content after an error of the system, and raise RdbWriteError."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise RdbWriteError(
                f"{self.shown} could not be {action}: {error.strerror or error}. "
                "The old file is unchanged, and nothing is left of the new one."
            ) from error

    def _copy_mode_and_owner(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            old = os.stat(self._target)
            new = os.fstat(self._descriptor)
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                with contextlib.suppress(PermissionError):
                    os.fchown(self._descriptor, old.st_uid, old.st_gid)
            if hasattr(os, "fchmod"):
                os.fchmod(self._descriptor, stat.S_IMODE(old.st_mode))


def _part_stem(target: Path) -> str:
    """Return the start of the names of a target's part files."""
    name = os.fsencode(target.name)[:_LONGEST_NAME]
    return f".{os.fsdecode(name)}."


def _part_name(target: Path) -> Path:
    return target.with_name(f"{_part_stem(target)}{secrets.token_hex(8)}{_SUFFIX}")


def _open_unnamed(folder: Path, mode: int) -> int:
    """Open a file without a name; return -1 where the system does not support that."""
    if _O_TMPFILE is None or not os.path.isdir(_DESCRIPTORS):
        return -1
    try:
        return os.open(folder, _O_TMPFILE | os.O_RDWR | _O_PRIVATE, mode)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return -1
        raise


def _open_named(target: Path, mode: int = _NEW_FILE_MODE) -> tuple[int, Path]:
    """Create a part file that is locked, and that no other process has removed meanwhile."""
    for _ in range(_ATTEMPTS):
        part = _part_name(target)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | _O_PRIVATE
        descriptor = os.open(part, flags, mode)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, part
        os.close(descriptor)
    raise RdbWriteError(
        f"{escape_path(str(target))} could not be written: its part files were removed repeatedly."
    )


def _link(descriptor: int, part: Path) -> None:
    """Link an unnamed file to the name of a part file, just before it is renamed."""
    _lock(descriptor)
    # A folder's descriptor (which has no effect on an absolute name) makes Python call linkat(2), which
    # follows the link in /proc to the file.
    folder = os.open(part.parent, os.O_RDONLY | os.O_DIRECTORY | _O_PRIVATE)
    try:
        os.link(f"{_DESCRIPTORS}/{descriptor}", part, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _lock(descriptor: int) -> bool:
    """Lock a file; return whether it is ours (or the system or the file system has no locks)."""
    if not _HAS_LOCKS:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove_left_parts(target: Path) -> None:
    """Remove the part files of processes that have ended."""
    if not _HAS_LOCKS:  # it is not known which have ended
        return
    pattern = re.compile(re.escape(_part_stem(target)) + "[0-9a-f]{16}" + re.escape(_SUFFIX))
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        left = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
        for path in left:
            _remove_unlocked_part(path)


def _remove_unlocked_part(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _O_PRIVATE | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable; systems that cannot sync a folder do so by themselves."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _O_PRIVATE)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
