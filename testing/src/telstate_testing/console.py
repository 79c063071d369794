"""Examples of commands in a README: what they print is compared with what is shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def console_examples(readme: Path) -> list[str]:
    """Return the code blocks of a README that are marked ``console``."""
    return re.findall(r"^```console\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)


def check_example(example: str, folder: Path, name: str, module: str) -> None:
    """Run the lines of an example that begin with ``$`` in a folder, and compare what they print.

    The command of this name runs a module of this Python.
    """
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    command = folder / name
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    printed = ""
    for line in example.splitlines():
        if line.startswith("$ "):
            result = subprocess.run(
                [bash, "-c", line[2:]],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            printed += f"{line}\n{result.stdout}"
    assert _plain(printed) == _plain(example)


def _plain(text: str) -> list[str]:
    """Return the lines of a text, with spaces for tabs, and none at their ends."""
    return [line.expandtabs().rstrip() for line in text.splitlines()]
