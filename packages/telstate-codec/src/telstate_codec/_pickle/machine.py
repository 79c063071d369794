"""The state of the machine that reads plain data from pickles; the rules of its handlers."""

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
        """Give what was pushed since the last mark, and go back to before it."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def line(self, pos: int, longest: int) -> tuple[bytes, int]:
        """Read to the end of the line; give it and the position behind it."""
        end = self.data.find(b"\n", pos, pos + longest + 1)
        if end < 0:
            refuse("a line has no end, or is too long")
        return self.data[pos:end], end + 1

    def take(self, pos: int, length: int) -> bytes:
        """Give `length` bytes from `pos`."""
        if length > self.size - pos:
            refuse(TRUNCATED)
        return self.data[pos : pos + length]


Handler: TypeAlias = Callable[[Machine, int], int]
"""What an opcode does.

It gets the machine and the position behind the opcode, and gives the position of the next opcode.
Whatever it raises means that the pickle is broken or refused. It must not recurse, and what it
spends beyond the size of what it reads it takes from `Machine.limits`.
"""

Arguments: TypeAlias = tuple[Any, ...]
Call: TypeAlias = Callable[[Limits, Arguments], object]


class Function:
    """Stands for a function while a pickle is read. It can be called, and must not be left over."""

    __slots__ = ("call", "name")
    __hash__ = None  # type: ignore[assignment]  # cannot be a key, so cannot hide in one

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self.call = call


class Unfinished:
    """A value that needs a BUILD opcode to be one; `result` is set when it got it."""

    __slots__ = ("result",)
    __hash__ = None  # type: ignore[assignment]  # cannot be a key, so cannot hide in one

    def __init__(self) -> None:
        self.result: object = None

    def build(self, limits: Limits, state: object) -> object:
        """Make the value from its state."""
        raise NotImplementedError


def as_bytes(value: object, limits: Limits) -> bytes:
    """Give the bytes that Python 2 wrote as ``str`` (read as Latin-1), or Python 3 as `bytes`."""
    if isinstance(value, str):
        limits.charge(len(value))
        return value.encode("latin-1")
    if isinstance(value, (bytes, bytearray)):
        limits.charge(len(value))
        return bytes(value)
    refuse(f"bytes are needed, not {type(value).__name__}")
