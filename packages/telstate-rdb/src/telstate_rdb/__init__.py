"""Read and write Redis snapshots (RDB files) and DUMP payloads of every Redis version.

Start with `read_rdb` and `RdbWriter`; `decode_dump` and `encode_dump` are for payloads of ``DUMP``.
"""

from telstate_rdb.dumping import encode_dump
from telstate_rdb.encoding.streams import without_counters
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.payloads import decode_dump, decode_raw, parse_dump
from telstate_rdb.reading import RdbReader, read_rdb
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
from telstate_rdb.recovering import Loss
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
from telstate_rdb.writing import RdbWriter

__all__ = [
    "AuxiliaryField",
    "AuxiliaryRecord",
    "DatabaseSize",
    "FunctionLibrary",
    "Hash",
    "KeyRecord",
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
    "read_rdb",
    "without_counters",
]
