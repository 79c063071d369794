"""Handlers of the opcodes for containers, stack, memo and globals, and the table of all opcodes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from .allowed import CALLS, find_global
from .limits import refuse
from .literal_opcodes import LITERALS
from .machine import DICTIONARIES, TRUNCATED, Function, Handler, Machine, Unfinished

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
        refuse("items are appended to something that is not a list")
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
    if type(target) not in DICTIONARIES:
        refuse("items are set in something that is not a dictionary")
    keys = items[::2]
    machine.limits.check_keys(keys, target)
    target.update(zip(keys, items[1::2], strict=True))


def _add_items(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    target = machine.stack[-1]
    if type(target) is not set:
        refuse("elements are added to something that is not a set")
    machine.limits.check_keys(items, target)
    target.update(items)
    return pos


def _frozen_set(machine: Machine, pos: int) -> int:
    items = machine.pop_mark()
    machine.limits.check_elements(items)
    machine.stack.append(frozenset(items))
    return pos


# Stack and memo

_unpack_index: Final = struct.Struct("<I").unpack_from


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
    line, pos = machine.read_line(pos, 20)
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


# Results of `find_global` by the text in the pickle, "module\nname"; only few names are found at all.
_FOUND: Final[dict[bytes, object]] = {}


def _global(machine: Machine, pos: int) -> int:
    find = machine.data.find
    middle = find(b"\n", pos, pos + 257)
    end = find(b"\n", middle + 1, middle + 258)
    if middle < 0 or end < 0:
        refuse("the name of a global has no end, or is too long")
    both = machine.data[pos:end]
    if both not in _FOUND:
        module, name = both.decode().split("\n")
        _FOUND[both] = find_global(module, name)
    machine.has_globals = True
    machine.stack.append(_FOUND[both])
    return end + 1


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
    """Return the name of a class, or of the class of another object."""
    return thing.__name__ if isinstance(thing, type) else f"a {type(thing).__name__}"


def _instance_line(machine: Machine, pos: int) -> int:
    pos = _global(machine, pos)
    refuse("it makes an instance of a class of Python 2")


# Other opcodes


def _protocol(machine: Machine, pos: int) -> int:
    if machine.data[pos] > 5:
        refuse(f"protocol {machine.data[pos]} is not known")
    return pos + 1


def _frame(machine: Machine, pos: int) -> int:
    if int.from_bytes(machine.read(pos, 8), "little") > machine.size - pos - 8:
        refuse(TRUNCATED)
    return pos + 8


def _refused(reason: str) -> Handler:
    def handler(machine: Machine, pos: int) -> int:
        refuse(reason)

    return handler


# The reader handles "q" and "." itself.
_OPCODES: Final[dict[bytes, Handler]] = {
    **LITERALS,
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": _mark,
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
    **dict.fromkeys(
        (b"\x82", b"\x83", b"\x84"), _refused("it uses the extension registry of copyreg")
    ),
    **dict.fromkeys((b"P", b"Q"), _refused("it refers to an object outside of it")),
    **dict.fromkeys((b"\x97", b"\x98"), _refused("it refers to a buffer outside of it")),
}

HANDLERS: Final[list[Handler]] = [
    _OPCODES.get(bytes([opcode]), _refused(f"it has an unknown opcode, 0x{opcode:02x}"))
    for opcode in range(256)
]
"""The handler of each byte as an opcode."""
