"""Read and write Redis snapshots (RDB files) and DUMP payloads of every Redis version.

Start with `read_rdb` and `RdbWriter`; `decode_dump` and `encode_dump` are for payloads of ``DUMP``.

Importing this package loads nothing: what a name needs is loaded when it is first asked for, so that
a part of the package (such as :mod:`telstate_rdb.globs`) costs no more than itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telstate_rdb._recovery import Loss
    from telstate_rdb._types.streams import without_counters
    from telstate_rdb.dump import decode_dump, decode_raw, encode_dump, parse_dump
    from telstate_rdb.errors import RdbParseError, RdbWriteError
    from telstate_rdb.lazy import LazyTable
    from telstate_rdb.reader import RdbReader, read_lazily, read_rdb
    from telstate_rdb.records import (
        AuxiliaryField,
        AuxiliaryRecord,
        DatabaseSize,
        FunctionLibrary,
        KeyRecord,
        ModuleAuxiliary,
        PreReleaseFunction,
        SlotInformation,
    )
    from telstate_rdb.values import (
        Hash,
        List,
        Module,
        RawValue,
        Set,
        SortedSet,
        Stream,
        StreamConsumer,
        StreamEntry,
        StreamGroup,
        StreamId,
        StreamPending,
        Value,
    )
    from telstate_rdb.writer import RdbWriter

    __version__: str

_HOMES = {
    "dump": ["decode_dump", "decode_raw", "encode_dump", "parse_dump"],
    "_types.streams": ["without_counters"],
    "errors": ["RdbParseError", "RdbWriteError"],
    "lazy": ["LazyTable"],
    "reader": ["RdbReader", "read_lazily", "read_rdb"],
    "records": [
        "AuxiliaryField",
        "AuxiliaryRecord",
        "DatabaseSize",
        "FunctionLibrary",
        "KeyRecord",
        "ModuleAuxiliary",
        "PreReleaseFunction",
        "SlotInformation",
    ],
    "_recovery": ["Loss"],
    "values": [
        "Hash",
        "List",
        "Module",
        "RawValue",
        "Set",
        "SortedSet",
        "Stream",
        "StreamConsumer",
        "StreamEntry",
        "StreamGroup",
        "StreamId",
        "StreamPending",
        "Value",
    ],
    "writer": ["RdbWriter"],
}
_LAZY = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AuxiliaryField",
    "AuxiliaryRecord",
    "DatabaseSize",
    "FunctionLibrary",
    "Hash",
    "KeyRecord",
    "LazyTable",
    "List",
    "Loss",
    "Module",
    "ModuleAuxiliary",
    "PreReleaseFunction",
    "RawValue",
    "RdbParseError",
    "RdbReader",
    "RdbWriteError",
    "RdbWriter",
    "Set",
    "SlotInformation",
    "SortedSet",
    "Stream",
    "StreamConsumer",
    "StreamEntry",
    "StreamGroup",
    "StreamId",
    "StreamPending",
    "Value",
    "decode_dump",
    "decode_raw",
    "encode_dump",
    "parse_dump",
    "read_lazily",
    "read_rdb",
    "without_counters",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("telstate-rdb")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
