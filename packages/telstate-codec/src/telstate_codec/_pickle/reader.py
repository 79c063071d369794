"""The safe policy: a reader of plain data from pickles, which can do nothing else.

A pickle is a program for a small stack machine. Our machine has the same opcodes (protocols 0 to 5),
but imports nothing that a pickle names, calls nothing and sets no attributes: a global is looked up
in a table (see `allowed`), and calling or building it calls a constructor from that table, which
checks its arguments. Opcodes and names that are not in a table are unknown, so nothing has to be
forbidden. Time and memory are proportional to the size of the pickle (see `limits`).
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ..errors import TRUST_ADVICE, DecodeError
from .limits import MAX_DEPTH, Refusal, refuse
from .machine import DICTIONARIES, Function, Machine, Unfinished
from .opcodes import HANDLERS

_STOP: Final = ord(".")
_PUT_SHORT: Final = ord("q")
_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, complex})


def load_plain(data: bytes) -> object:
    """Read a pickle of plain data, or raise `DecodeError`, which says what is wrong and where."""
    machine = Machine(data)
    handlers, memo = HANDLERS, machine.memo
    pos = 0
    try:
        opcode = data[0]
        while opcode != _STOP:
            if opcode == _PUT_SHORT:  # without a handler, because it is every third opcode
                memo[data[pos + 1]] = machine.stack[-1]
                pos += 2
            else:
                pos = handlers[opcode](machine, pos + 1)
            opcode = data[pos]
        value = machine.stack.pop()
        if machine.has_globals or machine.containers > MAX_DEPTH:
            _check_value(value)
        return value
    except Exception as error:
        raise DecodeError(
            f"The safe policy does not read this pickle (byte {pos}): {_reason(error)}.{TRUST_ADVICE}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, (IndexError, struct.error)):
        return "it ends too early, or lacks a value"
    # Raised by a constructor, because of its arguments.
    return f"{type(error).__name__}: {str(error)[:200]}"


def _check_value(value: object) -> None:
    """Refuse functions and unfinished objects in a value, and nesting that could overflow the stack."""
    # By the id of each container; 0 until all of its parts have been visited.
    depths: dict[int, int] = {}
    todo: list[tuple[Any, bool]] = [(value, False)]
    while todo:
        item, parts_done = todo.pop()
        if not parts_done and id(item) in depths:
            continue
        inner = _parts(item)
        if parts_done:
            deepest = max((depths.get(id(part), 0) for part in inner), default=0)
            if deepest >= MAX_DEPTH:
                refuse(f"it is nested more than {MAX_DEPTH} deep")
            depths[id(item)] = deepest + 1
        elif isinstance(item, Function):
            refuse(f"the function {item.name} is not plain data")
        elif isinstance(item, Unfinished):
            refuse("an array or dtype is not finished, or contains itself")
        elif inner:
            depths[id(item)] = 0
            todo.append((item, True))
            todo += [(part, False) for part in inner]


def _parts(item: Any) -> list[Any]:
    """Return the parts of a container that `_check_value` visits; keys are limited elsewhere."""
    kind = type(item)
    parts: Any
    if kind in (list, tuple):
        parts = item
    elif kind in DICTIONARIES:
        parts = item.values()
    elif kind.__name__ == "ndarray" and item.dtype.hasobject:
        parts = item.ravel().tolist()
    else:
        return []
    return [part for part in parts if type(part) not in _LEAVES]
