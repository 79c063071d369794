"""The machine that reads plain data from pickles: its state, and the types that its tables share."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from .limits import Limits, refuse

TRUNCATED: Final = "it ends too early"
DICTIONARIES: Final = frozenset({dict, OrderedDict, defaultdict})


class Machine:
    """The state while one pickle is read."""

    __slots__ = ("data", "size", "stack", "marks", "memo", "limits", "has_globals", "containers")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.limits = Limits(len(data))
        self.has_globals = False
        self.containers = 0  # made by opcodes; no value is nested deeper than this

    def pop_mark(self) -> list[Any]:
        """Return the values above the last mark, and restore the stack below it."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def read_line(self, pos: int, max_length: int) -> tuple[bytes, int]:
        """Return the rest of a line, and the position after it."""
        end = self.data.find(b"\n", pos, pos + max_length + 1)
        if end < 0:
            refuse("a line has no end, or is too long")
        return self.data[pos:end], end + 1

    def read(self, pos: int, length: int) -> bytes:
        """Return `length` bytes from `pos`."""
        if length > self.size - pos:
            refuse(TRUNCATED)
        return self.data[pos : pos + length]


Handler: TypeAlias = Callable[[Machine, int], int]
"""The implementation of an opcode.

It takes the machine and the position after the opcode, and returns the position of the next opcode.
Any exception means that the pickle is malformed or refused. A handler must not recurse, and must
charge memory and work beyond the size of what it reads to `Machine.limits`.
"""

Arguments: TypeAlias = tuple[Any, ...]
Call: TypeAlias = Callable[[Limits, Arguments], object]
"""A constructor: it checks the arguments of a call in a pickle and returns the result."""


class Function:
    """A stand-in for a function, which a pickle can only call."""

    __slots__ = ("call", "name")
    __hash__ = None  # type: ignore[assignment]  # not hashable, so that it cannot hide in a key

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self.call = call


class Unfinished:
    """A value that still needs its state, from a BUILD opcode; `result` is set when it has it."""

    __slots__ = ("result",)
    __hash__ = None  # type: ignore[assignment]  # not hashable, so that it cannot hide in a key

    def __init__(self) -> None:
        self.result: object = None

    def build(self, limits: Limits, state: object) -> object:
        """Return the finished value."""
        raise NotImplementedError


def as_bytes(value: object, limits: Limits) -> bytes:
    """Return bytes that Python 2 pickled as ``str`` (read as Latin-1), or Python 3 as `bytes`."""
    if isinstance(value, str):
        limits.charge(len(value))
        return value.encode("latin-1")
    if isinstance(value, (bytes, bytearray)):
        limits.charge(len(value))
        return bytes(value)
    refuse(f"bytes are needed, not {type(value).__name__}")
