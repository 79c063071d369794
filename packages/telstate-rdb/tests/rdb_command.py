"""Running the command: in this process, in a pipe, in a shell, and on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from rdb_data import SAMPLES, sample_rows

from telstate_rdb import RdbParseError, read_rdb
from telstate_rdb.cli.main import main

COMMAND = (sys.executable, "-m", "telstate_rdb")


class Result(NamedTuple):
    """The exit status and the output of a command."""

    exit_code: object
    stdout: str
    stderr: str
    data: bytes  # standard output, not decoded


def run(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    data = io.BytesIO()
    output = io.TextIOWrapper(data, encoding="utf-8", newline="")
    with redirect_stdout(output), redirect_stderr(io.StringIO()) as errors:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    output.flush()
    found = data.getvalue()
    return Result(ended.value.code, found.decode(errors="replace"), errors.getvalue(), found)


def run_in_shell(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which "$@" is the command with its arguments."""
    command: Sequence[str | Path] = ("bash", "-c", script, "bash", *COMMAND, *arguments)
    return subprocess.run(command, capture_output=True)


def run_on_terminal(
    *arguments: str | Path, columns: int = 80, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run the command on a pseudo-terminal; return its exit status and what the terminal got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    variables |= {"TERM": "xterm-256color", **(environment or {})}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=variables
    )
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 1 << 16):
            pieces.append(piece)
    except OSError:  # the process has closed the terminal
        pass
    finally:
        os.close(ours)
    return process.wait(), b"".join(pieces).decode().replace("\r\n", "\n")


def readable_samples() -> list[Path]:
    """Return the samples of other projects that can be read to their end."""
    found = []
    for row in sample_rows():
        path = SAMPLES / row["file"]
        try:
            for _ in read_rdb(path, auxiliary=True):
                pass
        except RdbParseError:
            continue
        found.append(path)
    return found
