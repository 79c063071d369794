"""Running a command of ours: in this process, in a pipe, in a shell, and on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from telstate_testing.terminals import Terminal


class Result(NamedTuple):
    """The exit status and the output of a command."""

    exit_code: object
    stdout: str
    stderr: str
    data: bytes  # standard output, not decoded


class Command:
    """A command that ``python -m MODULE`` runs, and that `main` runs in this process."""

    def __init__(self, module: str, main: Callable[..., Any]) -> None:
        self.words = (sys.executable, "-m", module)
        self._main = main

    def run(self, *arguments: str | Path) -> Result:
        """Run the command in this process."""
        data = io.BytesIO()
        output = io.TextIOWrapper(data, encoding="utf-8", newline="")
        status: object = "main returned, and did not exit"
        with redirect_stdout(output), redirect_stderr(io.StringIO()) as errors:
            try:
                self._main([str(argument) for argument in arguments])
            except SystemExit as ended:
                status = ended.code
        output.flush()
        found = data.getvalue()
        return Result(status, found.decode(errors="replace"), errors.getvalue(), found)

    def run_in_shell(
        self, script: str, *arguments: str | Path
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a line of shell in which "$@" is the command with its arguments."""
        command: Sequence[str | Path] = ("bash", "-c", script, "bash", *self.words, *arguments)
        return subprocess.run(command, capture_output=True)

    def run_on_terminal(
        self,
        *arguments: str | Path,
        columns: int = 80,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run the command on a pseudo-terminal; return its exit status and what the terminal got."""
        unwanted = ("COLUMNS", "LINES", "NO_COLOR")
        variables = {name: text for name, text in os.environ.items() if name not in unwanted}
        variables |= {"TERM": "xterm-256color", **(environment or {})}
        with Terminal([*self.words, *arguments], columns, env=variables) as terminal:
            shown = terminal.read()
            return terminal.process.wait(), shown
