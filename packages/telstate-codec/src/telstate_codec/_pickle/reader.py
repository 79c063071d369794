"""Reads plain data from pickles, and can do nothing else: the safe policy.

A pickle is a program for a small stack machine. Ours has its opcodes (protocols 0 to 5) but imports
nothing that a pickle names, calls nothing and sets no attributes: a global is looked up in a table
(`allowed`), and to call or build one is to ask that table's constructor, which checks its
arguments. So there is nothing here to be guarded or patched; a new opcode or name must be added to
be understood at all. Time and memory are of the order of the pickle's size (`limits`).
"""

from __future__ import annotations

import struct
from typing import Any, Final

from ..errors import DecodeError
from .limits import MAX_DEPTH, Refusal, refuse
from .machine import DICTIONARIES, Function, Machine, Unfinished
from .opcodes import HANDLERS

_STOP: Final = ord(".")
_PUT_SHORT: Final = ord("q")
_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, complex})


def load_plain(data: bytes) -> object:
    """Read a pickle of plain data.

    Raises
    ------
    DecodeError
        If it is broken or has anything but plain data in it; names what, and where.
    """
    machine = Machine(data)
    handlers, memo = HANDLERS, machine.memo
    pos = 0
    try:
        opcode = data[0]
        while opcode != _STOP:
            if opcode == _PUT_SHORT:  # here and not by its handler, because it is every third one
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
            f"Pickle not read by the safe policy (byte {pos}): {_reason(error)}. "
            "If you trust the source of the data, set_allow_pickle(True) loads all working pickles."
        ) from error


def _reason(error: Exception) -> str:
    """Say what is wrong with a pickle."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, (IndexError, struct.error)):
        return "it ends too early, or lacks a value"
    # From a constructor: what it was given makes no sense.
    return f"{type(error).__name__}: {str(error)[:200]}"


def _check_value(value: object) -> None:
    """Refuse what must not be inside a value.

    That is functions, arrays and dtypes that were begun but not finished, and nesting so deep that
    comparing, hashing or printing the value would overflow the stack.
    """
    depths: dict[int, int] = {}  # of the values seen; 0 while we are in one
    todo: list[tuple[Any, bool]] = [(value, False)]
    while todo:
        item, left = todo.pop()
        if not left and id(item) in depths:
            continue
        inner = _inner(item)
        if left:
            deepest = max((depths.get(id(part), 0) for part in inner), default=0)
            if deepest >= MAX_DEPTH:
                refuse(f"it is nested more than {MAX_DEPTH} deep")
            depths[id(item)] = deepest + 1
        elif isinstance(item, Function):
            refuse(f"the function {item.name} is not plain data")
        elif isinstance(item, Unfinished):
            refuse("an array or dtype is not finished, or part of itself")
        elif inner:
            depths[id(item)] = 0
            todo.append((item, True))
            todo += [(part, False) for part in inner]


def _inner(item: Any) -> list[Any]:
    """Give the parts of a container that matter to `_check_value` (keys do not: they are small)."""
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
