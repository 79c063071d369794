"""Running a program on a pseudo-terminal, and reading what it shows there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

_LINES = 40
_TIMEOUT_SECONDS = 300


class Terminal:
    """A program on a pseudo-terminal, as a context manager at whose end it is killed.

    `options` are those of `subprocess.Popen`, for streams that are not the terminal for example.
    """

    def __init__(self, command: Sequence[str | Path], columns: int = 80, **options: Any) -> None:
        self._shown = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
        streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(command, **streams | options)
        except BaseException:
            os.close(self._ours)
            raise
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def settings(self) -> list[Any]:
        """The settings of the terminal, as `termios.tcgetattr` returns them."""
        return termios.tcgetattr(self._ours)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._ours, text.encode())

    def read(self) -> str:
        """Return what is shown until the program has closed the terminal."""
        while self._read_more():
            pass
        shown, self._shown = self._shown, b""
        return _text(shown)

    def read_until(self, ending: str) -> str:
        """Return what is shown up to a text, which must appear; what follows it is returned next time."""
        end = ending.encode()
        while end not in self._shown:
            assert self._read_more(), f"{ending!r} is not shown: {self._shown!r}"
        before, _, self._shown = self._shown.partition(end)
        return _text(before)

    def _read_more(self) -> bool:
        """Read what is shown next; return False if the program has closed the terminal."""
        ready, _, _ = select.select([self._ours], [], [], _TIMEOUT_SECONDS)
        assert ready, f"The program hangs. It has shown {self._shown!r}."
        try:
            self._shown += os.read(self._ours, 1 << 16)
        except OSError:
            return False
        return True


def _text(shown: bytes) -> str:
    return shown.decode(errors="replace").replace("\r\n", "\n")
