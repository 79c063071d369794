"""Reads plain data from pickles, and can do nothing else: the machine of the safe policy.

A pickle is a program for a small stack machine. This one has its opcodes (protocols 0 to 5) but
imports nothing, calls nothing and sets no attributes: a global is looked up in a table
(`_pickle_globals`), and to call or build one is to ask that table's constructor, which checks its
arguments. So there is nothing here to be guarded or patched; a new opcode or name must be added to
be understood at all.

Rules: a handler is a function of the machine and the position behind its opcode; it gives the
position of the next opcode. Anything that goes wrong in it, whatever the exception, means that the
pickle is broken or refused. Time and memory are of the order of the pickle's size (`_pickle_limits`),
and nothing recurses.
"""

from __future__ import annotations

import re
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ._pickle_globals import CALLS, Function, Unfinished, find_global
from ._pickle_limits import MAX_DEPTH, MAX_DIGITS, Limits, Refusal, refuse
from .errors import DecodeError

STOP: Final = ord(".")
_PUT_SHORT: Final = ord("q")
_TRUNCATED: Final = "it ends too early"
_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, complex})
_DICTIONARIES: Final = frozenset({dict, OrderedDict, defaultdict})


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
            refuse(_TRUNCATED)
        return self.data[pos : pos + length]


Handler: TypeAlias = Callable[[Machine, int], int]


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
        while opcode != STOP:
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
    elif kind in _DICTIONARIES:
        parts = item.values()
    elif kind.__name__ == "ndarray" and item.dtype.hasobject:
        parts = item.ravel().tolist()
    else:
        return []
    return [part for part in parts if type(part) not in _LEAVES]


# Numbers and constants


def _constant(value: object) -> Handler:
    def push(machine: Machine, pos: int) -> int:
        machine.stack.append(value)
        return pos

    return push


def _packed(layout: str) -> Handler:
    reader = struct.Struct(layout)
    unpack, size = reader.unpack_from, reader.size

    def push(machine: Machine, pos: int) -> int:
        machine.stack.append(unpack(machine.data, pos)[0])
        return pos + size

    return push


def _float(machine: Machine, pos: int) -> int:
    push, data = machine.stack.append, machine.data
    push(_unpack_float(data, pos)[0])
    pos += 8
    while data[pos] == _FLOAT_CODE:  # they often come in rows
        push(_unpack_float(data, pos + 1)[0])
        pos += 9
    return pos


def _small_int(machine: Machine, pos: int) -> int:
    machine.stack.append(machine.data[pos])
    return pos + 1


_INTEGER: Final = re.compile(rb"([+-]?[0-9]{1,%d})L?" % MAX_DIGITS)
_FLOAT_CODE: Final = ord("G")
_unpack_float: Final = struct.Struct(">d").unpack_from
_FLOAT: Final = re.compile(rb"[+-]?(inf|nan|[0-9]+\.?[0-9]*(e[+-]?[0-9]+)?)")
_BOOLEANS: Final = {b"00": False, b"01": True}


def _integer_line(machine: Machine, pos: int) -> int:
    line, pos = machine.line(pos, MAX_DIGITS + 2)
    value: object = _BOOLEANS.get(line)
    if value is None:
        match = _INTEGER.fullmatch(line)
        value = int(match[1]) if match else refuse("an integer is not understood")
    machine.stack.append(value)
    return pos


def _float_line(machine: Machine, pos: int) -> int:
    line, pos = machine.line(pos, 64)
    machine.stack.append(
        float(line) if _FLOAT.fullmatch(line) else refuse("a float is not understood")
    )
    return pos


def _long(machine: Machine, pos: int, length_size: int) -> int:
    start = pos + length_size
    length = int.from_bytes(machine.take(pos, length_size), "little")
    number = int.from_bytes(machine.take(start, length), "little", signed=True)
    machine.stack.append(number)
    return start + length


# Strings

# Size of a length -> how to read it.
_LENGTHS: Final = {1: struct.Struct("<B"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}


def _text(length_size: int, encoding: str, errors: str = "strict") -> Handler:
    unpack = _LENGTHS[length_size].unpack_from

    def push(machine: Machine, pos: int) -> int:
        start = pos + length_size
        end: int = start + unpack(machine.data, pos)[0]
        if end > machine.size:
            refuse(_TRUNCATED)
        machine.stack.append(machine.data[start:end].decode(encoding, errors))
        return end

    return push


def _short_text(machine: Machine, pos: int) -> int:
    end = pos + 1 + machine.data[pos]
    if end > machine.size:
        refuse(_TRUNCATED)
    text = machine.data[pos + 1 : end].decode("latin-1")
    machine.stack.append(text)
    return end


def _bytes(length_size: int, kind: type[bytes] | type[bytearray]) -> Handler:
    unpack = _LENGTHS[length_size].unpack_from

    def push(machine: Machine, pos: int) -> int:
        start = pos + length_size
        length: int = unpack(machine.data, pos)[0]
        machine.stack.append(kind(machine.take(start, length)))
        return start + length

    return push


_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|[\s\S]?)")
_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if len(escape) == 3:
        return bytes.fromhex(escape[1:].decode())
    return _ESCAPES[escape] if escape in _ESCAPES else refuse("an escape in a string is unknown")


def _quoted_text(machine: Machine, pos: int) -> int:
    line, pos = machine.line(pos, machine.size)
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        refuse("a string is not in quotes")
    machine.stack.append(_ESCAPE.sub(_unescape, line[1:-1]).decode("latin-1"))
    return pos


def _unicode_line(machine: Machine, pos: int) -> int:
    line, pos = machine.line(pos, machine.size)
    machine.stack.append(line.decode("raw-unicode-escape"))
    return pos


# Containers


def _empty(kind: Callable[[], object]) -> Handler:
    def push(machine: Machine, pos: int) -> int:
        machine.containers += 1
        machine.stack.append(kind())
        return pos

    return push


def _mark(machine: Machine, pos: int) -> int:
    machine.marks.append(machine.stack)
    machine.stack = []
    return pos


def _list(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    machine.containers += 1
    machine.stack.append(items)
    return pos


def _tuple(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    machine.containers += 1
    machine.stack.append(tuple(items))
    return pos


def _tuple_of(count: int) -> Handler:
    def push(machine: Machine, pos: int) -> int:
        stack = machine.stack
        machine.containers += 1
        if len(stack) < count:
            refuse("it lacks a value")
        stack[-count:] = (tuple(stack[-count:]),)
        return pos

    return push


def _append(machine: Machine, pos: int) -> int:
    item = machine.stack.pop()
    _extend(machine, (item,))
    return pos


def _appends(machine: Machine, pos: int) -> int:
    _extend(machine, machine.pop_mark())
    return pos


def _extend(machine: Machine, items: list[Any] | tuple[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not list:
        refuse("items are appended to what is not a list")
    target.extend(items)


def _dict(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    machine.containers += 1
    machine.stack.append({})
    _update(machine, items)
    return pos


def _set_item(machine: Machine, pos: int) -> int:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _update(machine, (key, value))
    return pos


def _set_items(machine: Machine, pos: int) -> int:
    _update(machine, machine.pop_mark())
    return pos


def _update(machine: Machine, items: list[Any] | tuple[Any, Any]) -> None:
    target = machine.stack[-1]
    if type(target) not in _DICTIONARIES:
        refuse("items are set in what is not a dictionary")
    keys = items[::2]
    machine.limits.check_keys(keys, target)
    target.update(zip(keys, items[1::2], strict=True))


def _add_items(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    target = machine.stack[-1]
    if type(target) is not set:
        refuse("elements are added to what is not a set")
    machine.limits.check_keys(items, target)
    target.update(items)
    return pos


def _frozen_set(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    machine.limits.check_elements(items)
    machine.stack.append(frozenset(items))
    return pos


# Stack and memo

_unpack_index: Final = _LENGTHS[4].unpack_from


def _pop(machine: Machine, pos: int) -> int:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()
    return pos


def _pop_mark(machine: Machine, pos: int) -> int:
    machine.pop_mark()
    return pos


def _duplicate(machine: Machine, pos: int) -> int:
    machine.stack.append(machine.stack[-1])
    return pos


def _memo_index(machine: Machine, pos: int) -> tuple[int, int]:
    line, pos = machine.line(pos, 20)
    return int(line), pos


def _get(machine: Machine, index: int) -> None:
    try:
        value = machine.memo[index]
    except KeyError:
        refuse("it refers to a value that it has not made")
    if isinstance(value, Unfinished) and value.result is not None:
        value = value.result
    machine.stack.append(value)


def _put_line(machine: Machine, pos: int) -> int:
    index, pos = _memo_index(machine, pos)
    machine.memo[index] = machine.stack[-1]
    return pos


def _put_long(machine: Machine, pos: int) -> int:
    machine.memo[_unpack_index(machine.data, pos)[0]] = machine.stack[-1]
    return pos + 4


def _memoize(machine: Machine, pos: int) -> int:
    machine.memo[len(machine.memo)] = machine.stack[-1]
    return pos


def _get_line(machine: Machine, pos: int) -> int:
    index, pos = _memo_index(machine, pos)
    _get(machine, index)
    return pos


def _get_short(machine: Machine, pos: int) -> int:
    _get(machine, machine.data[pos])
    return pos + 1


def _get_long(machine: Machine, pos: int) -> int:
    _get(machine, _unpack_index(machine.data, pos)[0])
    return pos + 4


# Globals


def _global(machine: Machine, pos: int) -> int:
    module, pos = machine.line(pos, 256)
    name, pos = machine.line(pos, 256)
    machine.has_globals = True
    machine.stack.append(find_global(module.decode(), name.decode()))
    return pos


def _stack_global(machine: Machine, pos: int) -> int:
    name = machine.stack.pop()
    module = machine.stack.pop()
    if type(name) is not str or type(module) is not str or len(name) + len(module) > 512:
        refuse("the name of a global is not text, or is too long")
    machine.has_globals = True
    machine.stack.append(find_global(module, name))
    return pos


def _reduce(machine: Machine, pos: int) -> int:
    args = machine.stack.pop()
    function = machine.stack.pop()
    if type(args) is not tuple:
        refuse("the arguments of a call are not a tuple")
    if type(function) is Function:
        call = function.call
    elif isinstance(function, type) and function in CALLS:
        call = CALLS[function]
    else:
        refuse(f"it calls {_name(function)}")
    machine.stack.append(call(machine.limits, args))
    return pos


def _new_object(machine: Machine, pos: int) -> int:
    args = machine.stack.pop()
    kind = machine.stack.pop()
    if kind is not object or args != ():
        refuse(f"it makes an instance of {_name(kind)}")
    machine.stack.append(object())
    return pos


def _build(machine: Machine, pos: int) -> int:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if not isinstance(target, Unfinished) or target.result is not None:
        refuse(f"it sets the state of {_name(target)}")
    machine.stack[-1] = target.result = target.build(machine.limits, state)
    return pos


def _name(thing: object) -> str:
    """Name a class, or say which class a thing is of."""
    return thing.__name__ if isinstance(thing, type) else f"a {type(thing).__name__}"


def _instance_line(machine: Machine, pos: int) -> int:
    pos = _global(machine, pos)
    refuse("it makes an instance of a class of Python 2")


# The rest


def _protocol(machine: Machine, pos: int) -> int:
    if machine.data[pos] > 5:
        refuse(f"protocol {machine.data[pos]} is not known")
    return pos + 1


def _frame(machine: Machine, pos: int) -> int:
    if int.from_bytes(machine.take(pos, 8), "little") > machine.size - pos - 8:
        refuse(_TRUNCATED)
    return pos + 8


def _refused(reason: str) -> Handler:
    def handler(machine: Machine, pos: int) -> int:
        refuse(reason)

    return handler


_OPCODES: Final[dict[bytes, Handler]] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"I": _integer_line,
    b"L": _integer_line,
    b"K": _small_int,
    b"M": _packed("<H"),
    b"J": _packed("<i"),
    b"\x8a": lambda machine, pos: _long(machine, pos, 1),
    b"\x8b": lambda machine, pos: _long(machine, pos, 4),
    b"F": _float_line,
    b"G": _float,
    b"S": _quoted_text,
    b"U": _short_text,
    b"T": _text(4, "latin-1"),
    b"V": _unicode_line,
    b"X": _text(4, "utf-8", "surrogatepass"),
    b"\x8c": _text(1, "utf-8", "surrogatepass"),
    b"\x8d": _text(8, "utf-8", "surrogatepass"),
    b"C": _bytes(1, bytes),
    b"B": _bytes(4, bytes),
    b"\x8e": _bytes(8, bytes),
    b"\x96": _bytes(8, bytearray),
    b"(": _mark,
    b")": _constant(()),
    b"t": _tuple,
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"]": _empty(list),
    b"l": _list,
    b"a": _append,
    b"e": _appends,
    b"}": _empty(dict),
    b"d": _dict,
    b"s": _set_item,
    b"u": _set_items,
    b"\x8f": _empty(set),
    b"\x90": _add_items,
    b"\x91": _frozen_set,
    b"0": _pop,
    b"1": _pop_mark,
    b"2": _duplicate,
    b"p": _put_line,
    b"r": _put_long,
    b"\x94": _memoize,
    b"g": _get_line,
    b"h": _get_short,
    b"j": _get_long,
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _new_object,
    b"b": _build,
    b"i": _instance_line,
    b"o": _refused("it makes an instance of a class of Python 2"),
    b"\x92": _refused("it makes an instance with keyword arguments"),
    b"\x82": _refused("it uses the extension registry of copyreg"),
    b"\x83": _refused("it uses the extension registry of copyreg"),
    b"\x84": _refused("it uses the extension registry of copyreg"),
    b"P": _refused("it refers to an object outside of it"),
    b"Q": _refused("it refers to an object outside of it"),
    b"\x97": _refused("it refers to a buffer outside of it"),
    b"\x98": _refused("it refers to a buffer outside of it"),
}

HANDLERS: Final[list[Handler]] = [
    _OPCODES.get(bytes([opcode]), _refused(f"it has an unknown opcode, 0x{opcode:02x}"))
    for opcode in range(256)
]
"""A handler for each byte that can be an opcode."""
