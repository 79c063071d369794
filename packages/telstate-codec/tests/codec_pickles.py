"""Helpers for tests of malicious pickles: an assembler, and a recorder of audit events."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np

from telstate_codec.pickles import PicklePolicy, load_pickle

# The assembler: each function returns the opcodes that push something.


def text(value: str) -> bytes:
    """Push a text."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def global_name(module: str, attribute: str) -> bytes:
    """Push a global."""
    return f"c{module}\n{attribute}\n".encode()


def dotted_name(module: str, attribute: str) -> bytes:
    """Push a global as protocol 4 does, where the attribute may contain dots."""
    return b"\x80\x04" + text(module) + text(attribute) + b"\x93"


def call(function: bytes, *args: bytes) -> bytes:
    """Call a function."""
    return function + b"(" + b"".join(args) + b"tR"


def strings(*values: str) -> bytes:
    """Push a list of texts."""
    return b"](" + b"".join(map(text, values)) + b"e"


def mapping(**items: bytes) -> bytes:
    """Push a dictionary."""
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


class Audit:
    """A context manager that records the interpreter's audit events."""

    def __init__(self) -> None:
        self.is_recording = False
        self.events: list[str] = []
        sys.addaudithook(self.record)

    def record(self, event: str, args: tuple[Any, ...]) -> None:
        """Record an event."""
        if self.is_recording and event != "builtins.id":  # our machine calls id()
            self.events.append(f"{event} {args!r}"[:200])

    def __enter__(self) -> list[str]:
        for data in (pickle.dumps(np.arange(3), 2), b"Vtext\n."):
            load_pickle(data, PicklePolicy.SAFE)  # imports everything
        self.events = []
        self.is_recording = True
        return self.events

    def __exit__(self, *error: object) -> None:
        self.is_recording = False


AUDIT = Audit()
"""The only instance, because hooks cannot be removed: ``with AUDIT as events``."""
