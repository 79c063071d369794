"""Installing the drop-in for the length of a test, and running programs that use it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import telstate
from telstate.dropin import FINDER, NAME

#: Returns a module of katsdptelstate by its name, such as "" or "aio.redis", untyped.
Old = Callable[[str], Any]


@contextmanager
def installed() -> Iterator[Old]:
    """Install the drop-in, then remove its finder and its modules."""
    telstate.install_as_katsdptelstate()
    try:
        yield lambda name: import_module(f"{NAME}.{name}" if name else NAME)
    finally:
        sys.meta_path.remove(FINDER)
        for name in [one for one in sys.modules if one.split(".")[0] == NAME]:
            del sys.modules[name]


def run(*arguments: str, folder: Path | None = None, code: int = 0) -> str:
    """Run Python in a subprocess and return its output, or its errors if it must fail."""
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert result.returncode == code, result.stderr
    return result.stdout if code == 0 else result.stderr
