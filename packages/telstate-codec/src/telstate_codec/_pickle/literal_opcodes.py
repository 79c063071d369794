"""Handlers of the opcodes that push a literal: numbers, constants and strings."""

from __future__ import annotations

import re
import struct
from typing import Final

from .limits import MAX_DIGITS, refuse
from .machine import TRUNCATED, Handler, Machine

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
    while data[pos] == _FLOAT_CODE:  # floats often follow each other
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
    line, pos = machine.read_line(pos, MAX_DIGITS + 2)
    value: object = _BOOLEANS.get(line)
    if value is None:
        match = _INTEGER.fullmatch(line)
        value = int(match[1]) if match else refuse("an integer is not valid")
    machine.stack.append(value)
    return pos


def _float_line(machine: Machine, pos: int) -> int:
    line, pos = machine.read_line(pos, 64)
    machine.stack.append(float(line) if _FLOAT.fullmatch(line) else refuse("a float is not valid"))
    return pos


def _long(machine: Machine, pos: int, length_size: int) -> int:
    start = pos + length_size
    length = int.from_bytes(machine.read(pos, length_size), "little")
    number = int.from_bytes(machine.read(start, length), "little", signed=True)
    machine.stack.append(number)
    return start + length


# Strings

# By the size of a length field in bytes.
_LENGTHS: Final = {1: struct.Struct("<B"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}


def _text(length_size: int, encoding: str, errors: str = "strict") -> Handler:
    unpack = _LENGTHS[length_size].unpack_from

    def push(machine: Machine, pos: int) -> int:
        start = pos + length_size
        end: int = start + unpack(machine.data, pos)[0]
        if end > machine.size:
            refuse(TRUNCATED)
        machine.stack.append(machine.data[start:end].decode(encoding, errors))
        return end

    return push


def _short_text(machine: Machine, pos: int) -> int:
    end = pos + 1 + machine.data[pos]
    if end > machine.size:
        refuse(TRUNCATED)
    text = machine.data[pos + 1 : end].decode("latin-1")
    machine.stack.append(text)
    return end


def _bytes(length_size: int, kind: type[bytes] | type[bytearray]) -> Handler:
    unpack = _LENGTHS[length_size].unpack_from

    def push(machine: Machine, pos: int) -> int:
        start = pos + length_size
        length: int = unpack(machine.data, pos)[0]
        machine.stack.append(kind(machine.read(start, length)))
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
    line, pos = machine.read_line(pos, machine.size)
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        refuse("a string is not in quotes")
    machine.stack.append(_ESCAPE.sub(_unescape, line[1:-1]).decode("latin-1"))
    return pos


def _unicode_line(machine: Machine, pos: int) -> int:
    line, pos = machine.read_line(pos, machine.size)
    machine.stack.append(line.decode("raw-unicode-escape"))
    return pos


LITERALS: Final[dict[bytes, Handler]] = {
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
    b")": _constant(()),
}
"""The handlers, by opcode."""
