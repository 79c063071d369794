"""What the tests of hostile pickles share: an assembler, and an ear for what is being done."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np

from telstate_codec.pickles import PicklePolicy, load_pickle

# The assembler: each function gives the opcodes that push something.


def text(value: str) -> bytes:
    """Push a text."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def name(module: str, attribute: str) -> bytes:
    """Push a global."""
    return f"c{module}\n{attribute}\n".encode()


def named(module: str, attribute: str) -> bytes:
    """Push a global in the way of protocol 4, in which the attribute may have dots."""
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
    """What the interpreter reports of what is being done, while it is listened to."""

    def __init__(self) -> None:
        self.listening = False
        self.events: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Note an event."""
        if self.listening and event != "builtins.id":  # which our machine does
            self.events.append(f"{event} {args!r}"[:200])

    def __enter__(self) -> list[str]:
        for data in (pickle.dumps(np.arange(3), 2), b"Vtext\n."):
            load_pickle(data, PicklePolicy.SAFE)  # everything is imported now
        self.events = []
        self.listening = True
        return self.events

    def __exit__(self, *error: object) -> None:
        self.listening = False


AUDIT = Audit()
"""The only one: a hook cannot be removed. ``with AUDIT as events`` collects the reports."""
