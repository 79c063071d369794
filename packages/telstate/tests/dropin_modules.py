"""telstate as katsdptelstate, for the length of a test; what the tests of the drop-in share."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import telstate
from telstate.dropin import NAME
from telstate.dropin._finder import FINDER

#: Gives a module of katsdptelstate by its name: "" or "aio.redis". (A type checker knows none of them.)
Old = Callable[[str], Any]


@contextmanager
def installed() -> Iterator[Old]:
    """Install the drop-in, and take all of it away again."""
    telstate.install_as_katsdptelstate()
    try:
        yield lambda name: import_module(f"{NAME}.{name}" if name else NAME)
    finally:
        sys.meta_path.remove(FINDER)
        for name in [one for one in sys.modules if one.split(".")[0] == NAME]:
            del sys.modules[name]


def run(*arguments: str, folder: Path | None = None, code: int = 0) -> str:
    """Run Python in a process of its own, in a folder; give what it prints."""
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert result.returncode == code, result.stderr
    return result.stdout if code == 0 else result.stderr
