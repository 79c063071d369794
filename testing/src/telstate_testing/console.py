"""Examples of commands in a README or a page: what they print is compared with what is shown."""

from __future__ import annotations

import difflib
import doctest
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from telstate_testing.terminals import Terminal

COLUMNS = 100
#: A command of an example that has not ended by then hangs.
TIMEOUT_SECONDS = 300
_COMMAND = re.compile(r"^\$ (.*\n(?:> .*\n)*)", re.MULTILINE)


def console_examples(readme: Path) -> list[str]:
    """Return the code blocks of a README that are marked ``console``."""
    return re.findall(r"^```console\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)


def check_example(
    example: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    terminal: bool = False,
) -> None:
    """Run the commands of an example in a folder, and compare what each prints with what is shown.

    A command follows ``$``, and goes on in lines that begin with ``>``. The commands of this Python's
    environment are found. On a terminal, it has 100 columns and no colours. ``...`` stands for any text.
    """
    _, *parts = _COMMAND.split(example)
    for command, shown in zip(parts[::2], parts[1::2]):
        printed = _run(_continued(command), folder, environment or {}, terminal)
        _compare(command, shown, printed)


def run_script(script: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a script of bash in a folder; it must succeed."""
    done = subprocess.run(
        [_bash(), "-e", "-c", script],
        cwd=folder,
        env=_environment(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise AssertionError(f"exit status {done.returncode} of\n{script}\n{done.stdout}")


class Background:
    """The command of an example that runs beside what follows it, in the current folder."""

    def __init__(self, example: str, environment: Mapping[str, str] | None = None) -> None:
        _, self._command, self._shown = _COMMAND.split(example)
        self._output = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [_bash(), "-c", _continued(self._command)],
            env=_environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def check(self) -> None:
        """Wait for the end of the command, and compare what it has printed with what is shown."""
        with self._output as output:
            try:
                self._process.wait(TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise
            output.seek(0)
            _compare(self._command, self._shown, output.read())


def _bash() -> str:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    return bash


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, **changes}
    # A program that prints to a pipe writes whole lines, as it does for readers.
    variables.pop("PYTHONUNBUFFERED", None)
    return variables


def _continued(command: str) -> str:
    """Return a command without the prompts of its further lines."""
    return command.replace("\n> ", "\n")


def _run(command: str, folder: Path, environment: Mapping[str, str], terminal: bool) -> str:
    """Run a command in bash and return what it prints, on standard error too."""
    variables = _environment(environment)
    if not terminal:
        return subprocess.run(
            [_bash(), "-c", command],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
        ).stdout
    for name in ("COLUMNS", "LINES"):
        variables.pop(name, None)
    words = [_bash(), "-c", command]
    with Terminal(words, COLUMNS, cwd=folder, env=variables | {"TERM": "dumb"}) as running:
        printed = running.read()
        running.process.wait(TIMEOUT_SECONDS)
    return printed


def _compare(command: str, shown: str, printed: str) -> None:
    want, got = _plain(shown), _plain(printed)
    if not doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
        difference = difflib.unified_diff(
            want.splitlines(), got.splitlines(), "shown", "printed", lineterm=""
        )
        raise AssertionError("\n".join([f"$ {command}", *difference]))


def _plain(text: str) -> str:
    """Return a text with spaces for tabs, and none at the ends of lines."""
    lines = [line.expandtabs().rstrip() for line in text.splitlines()]
    return "\n".join(lines).rstrip("\n") + "\n"
