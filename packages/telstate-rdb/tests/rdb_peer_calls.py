"""Record the calls of the parser of rdbtools; run by the peer's Python.

Usage: ``python rdb_peer_calls.py FILE...``. For each file the list of (method, arguments, keyword
arguments) is written to standard output, pickled; an exception of the parser ends the list.
"""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable
from typing import Any

import rdbtools

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Recorder(rdbtools.RdbCallback):
    """Records every call."""

    def __init__(self) -> None:
        super().__init__(None)
        self.calls: list[Call] = []


def recording(name: str) -> Callable[..., bool]:
    """Make a method that records its calls."""

    def method(self: Recorder, *arguments: Any, **named: Any) -> bool:
        self.calls.append((name, arguments, named))
        return name == "start_module"

    return method


def calls_for(path: str) -> list[Call]:
    """Parse a file."""
    recorder = Recorder()
    try:
        rdbtools.RdbParser(recorder).parse(path)
    except Exception as error:
        recorder.calls.append(("error", (str(error),), {}))
    return recorder.calls


if __name__ == "__main__":
    for method_name, _ in inspect.getmembers(rdbtools.RdbCallback, inspect.isfunction):
        if not method_name.startswith(("_", "encode_")):
            setattr(Recorder, method_name, recording(method_name))
    pickle.dump([calls_for(path) for path in sys.argv[1:]], sys.stdout.buffer)
