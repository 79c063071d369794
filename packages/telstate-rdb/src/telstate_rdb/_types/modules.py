"""Values of modules: not understood, but known where they end.

A value is a sequence of an opcode and what it says, up to an opcode that ends it; see
:mod:`telstate_rdb.constants`.
"""

# What modules say is written as it is; but what would run into the bytes behind it is refused.

from __future__ import annotations

from collections.abc import Callable

from telstate_rdb._source import Source
from telstate_rdb.constants import (
    MODULE_DOUBLE,
    MODULE_END,
    MODULE_FLOAT,
    MODULE_SIGNED,
    MODULE_STRING,
    MODULE_UNSIGNED,
)
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.values import Module, module_name


def read_module(source: Source) -> Module:
    """Read a module's value (type 7)."""
    return Module(source.read_length(), read_module_body(source))


def skip_module(source: Source) -> None:
    """Go over a module's value (type 7)."""
    source.read_length()
    skip_module_body(source)


def read_module_body(source: Source) -> bytes:
    """Read module values with the mark of their end; strings among them are decoded to be sure."""
    source.start_capture()
    skip_module_body(source, Source.read_string)
    return source.end_capture()


def check_module_body(body: bytes) -> None:
    """Check that bytes are module values and the mark of their end, and no more.

    Raises
    ------
    RdbParseError
        If they are not.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"what a module says must be bytes, but is of type {type(body).__name__}")
    source = Source(body, name="value of a module")
    read_module_body(source)
    if not source.at_end():
        raise source.error("there are more bytes behind the mark of its end")


def skip_module_body(
    source: Source, skip_string: Callable[[Source], object] = Source.skip_string
) -> None:
    """Go over module values and the mark of their end."""
    while (opcode := source.read_length()) != MODULE_END:
        if opcode in (MODULE_SIGNED, MODULE_UNSIGNED):
            source.read_length()
        elif opcode == MODULE_STRING:
            skip_string(source)
        elif opcode == MODULE_DOUBLE:
            source.skip(8)
        elif opcode == MODULE_FLOAT:
            source.skip(4)
        else:
            raise source.error(f"a module's value has the unknown opcode {opcode}")


def refuse_old_module(source: Source) -> Module:
    """Refuse a module's value of the form that only the module can find the end of (type 6)."""
    raise source.error(
        "the value is of a module in the form of release candidates of Redis 4.0 (type 6), "
        "which only that module can read"
    )


def refuse_broken_module(module_id: int, body: bytes) -> None:
    """Refuse bytes that are not values of a module with the mark of their end."""
    try:
        check_module_body(body)
    except RdbParseError as error:
        raise RdbWriteError(
            f"The body for the module {module_name(module_id)!r} is not what modules write "
            f"({error}): it must be as it was read."
        ) from error
