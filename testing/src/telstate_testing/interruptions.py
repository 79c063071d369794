"""Interrupts a call at a chosen line, as Ctrl-C or a signal handler that raises would."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any


def interrupt(call: Callable[[], object], at: int, *packages: ModuleType) -> bool:
    """Call a function and raise `KeyboardInterrupt` in it, which is not passed on.

    It is not raised at the line of a ``with`` or ``try`` statement but at the next. Python comes to such a line
    at moments at which no signal arrives, and which the handlers around it do not cover (when the block of a
    ``with`` ends, for example), so that an exception would leave a lock taken for ever.

    Parameters
    ----------
    call
        The function.
    at
        At which line to raise it, counted from 1.
    packages
        The packages whose lines count, if this thread executes them.

    Returns
    -------
    bool
        Whether the call came to that line.
    """
    folders = tuple(os.path.dirname(str(package.__file__)) + os.sep for package in packages)
    count = 0
    raised = False

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count, raised
        if not frame.f_code.co_filename.startswith(folders):
            return None
        if event == "line":
            count += 1
            if count >= at and not raised and not _begins_block(frame):
                raised = True
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return count >= at


def _begins_block(frame: FrameType) -> bool:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith(("with ", "async with ", "try:"))
