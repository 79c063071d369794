"""Values of modules: opaque, but it is known where they end.

A value is a sequence of an opcode and its operand, up to an opcode that ends it, as drawn in
:mod:`telstate_rdb.constants`. It is written as it was read, but not if it would not end where it should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_length
from telstate_rdb._source import Source
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.lzf import Compress
from telstate_rdb.values import Module, module_name


def read_module(source: Source) -> Module:
    """Read the value of a module (type 7)."""
    return Module(source.read_length(), read_module_body(source))


def skip_module(source: Source) -> None:
    """Skip the value of a module (type 7)."""
    source.read_length()
    skip_module_body(source)


def read_module_body(source: Source) -> bytes:
    """Read opcodes and operands up to and including the end; decode strings to check them."""
    source.start_capture()
    skip_module_body(source, Source.read_string)
    return source.end_capture()


def skip_module_body(
    source: Source, skip_string: Callable[[Source], object] = Source.skip_string
) -> None:
    """Skip opcodes and operands up to and including the end."""
    while (opcode := source.read_length()) != c.MODULE_END:
        if opcode in (c.MODULE_SIGNED, c.MODULE_UNSIGNED):
            source.read_length()
        elif opcode == c.MODULE_STRING:
            skip_string(source)
        elif opcode == c.MODULE_DOUBLE:
            source.skip(8)
        elif opcode == c.MODULE_FLOAT:
            source.skip(4)
        else:
            raise source.error(f"the value of a module has the unknown opcode {opcode}")


def refuse_old_module(source: Source) -> NoReturn:
    """Raise an error for a value in the old form, whose end only its module can find (type 6)."""
    raise source.error(
        "the value is that of a module, in the form of the release candidates of Redis 4.0 (type 6), "
        "which only the module itself can read"
    )


def lowest_module_version(value: Module) -> int:
    """Return the lowest RDB version that can hold the value of a module."""
    return c.TYPE_VERSIONS[c.TYPE_MODULE_2]


def encode_module(value: Module, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Encode the value of a module; return its type and bytes."""
    check_module_body(value.id, value.body)
    return c.TYPE_MODULE_2, encode_length(value.id) + value.body


def check_module_body(module_id: int, body: bytes) -> None:
    """Raise an error unless `body` is one value of a module, end and all, and nothing more."""
    if not isinstance(body, bytes):
        raise TypeError(f"the body of a module must be bytes, not {type(body).__name__}")
    source = Source(body, name="value of a module")
    try:
        read_module_body(source)
        if not source.at_end():
            raise source.error("there are more bytes after its end")
    except RdbParseError as error:
        raise RdbWriteError(
            f"The body of the module {module_name(module_id)!r} is not valid ({error}): it must be "
            "as it was read."
        ) from error
