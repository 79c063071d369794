"""The records of a file that are not keys: how each is read and written, in two tables.

A reader takes a :class:`~telstate_rdb._source.Source` that stands after the opcode, and the number of the
current database.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_lengths, encode_string
from telstate_rdb._source import Source
from telstate_rdb._types.modules import check_module_body, read_module_body, skip_module_body
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.records import (
    AuxiliaryField,
    AuxiliaryRecord,
    DatabaseSize,
    FunctionLibrary,
    ModuleAuxiliary,
    PreReleaseFunction,
    SlotImport,
    SlotInformation,
)


def _read_field(source: Source, database: int) -> AuxiliaryField:
    return AuxiliaryField(source.read_string(), source.read_string())


def _encode_field(record: AuxiliaryField) -> bytes:
    return b"%c%b%b" % (c.OPCODE_AUX, encode_string(record.name), encode_string(record.value))


def _read_size(source: Source, database: int) -> DatabaseSize:
    return DatabaseSize(database, source.read_length(), source.read_length())


def _encode_size(record: DatabaseSize) -> bytes:
    return b"%c%b" % (c.OPCODE_RESIZE, encode_lengths(record.keys, record.expiring))


def _read_slot(source: Source, database: int) -> SlotInformation:
    return SlotInformation(source.read_length(), source.read_length(), source.read_length())


def _encode_slot(record: SlotInformation) -> bytes:
    counts = encode_lengths(record.slot, record.keys, record.expiring)
    return b"%c%b" % (c.OPCODE_SLOT_INFO, counts)


def _read_library(source: Source, database: int) -> FunctionLibrary:
    return FunctionLibrary(source.read_string())


def _encode_library(record: FunctionLibrary) -> bytes:
    return b"%c%b" % (c.OPCODE_FUNCTION, encode_string(record.code))


def _read_pre_release_function(source: Source, database: int) -> PreReleaseFunction:
    name, engine = source.read_string(), source.read_string()
    description = source.read_string() if source.read_length() else None
    return PreReleaseFunction(name, engine, description, source.read_string())


def _read_module(source: Source, database: int) -> ModuleAuxiliary:
    module_id = source.read_length()
    if (opcode := source.read_length()) != c.MODULE_UNSIGNED:
        raise source.error(f"the data of a module begins with {opcode}, not {c.MODULE_UNSIGNED}")
    when = source.read_length()
    return ModuleAuxiliary(module_id, when, read_module_body(source))


def _encode_module(record: ModuleAuxiliary) -> bytes:
    check_module_body(record.id, record.body)
    header = encode_lengths(record.id, c.MODULE_UNSIGNED, record.when)
    return b"%c%b%b" % (c.OPCODE_MODULE_AUX, header, record.body)


def _read_slot_import(source: Source, database: int) -> SlotImport:
    job, count = source.read_string(), source.read_length()
    source.expect(2 * count)
    return SlotImport(
        job, tuple((source.read_length(), source.read_length()) for _ in range(count))
    )


def _encode_slot_import(record: SlotImport) -> bytes:
    head = b"%c%b" % (c.OPCODE_SLOT_IMPORT, encode_string(record.job))
    return head + encode_lengths(len(record.ranges), *chain.from_iterable(record.ranges))


def skip_key_metadata(source: Source) -> None:
    """Skip what modules know of the next key, or say with a DUMP payload."""
    for _ in range(source.read_length()):
        source.skip(4)
        skip_module_body(source)


def read_hash_template(source: Source) -> None:
    """Read the fields that later hashes refer to by a number."""
    number, count = source.read_length(), source.read_length()
    source.expect(count)
    source.hash_templates[number] = tuple(source.read_string() for _ in range(count))


AUXILIARY_READERS: dict[int, Callable[[Source, int], AuxiliaryRecord]] = {
    c.OPCODE_AUX: _read_field,
    c.OPCODE_RESIZE: _read_size,
    c.OPCODE_SLOT_INFO: _read_slot,
    c.OPCODE_FUNCTION: _read_library,
    c.OPCODE_FUNCTION_PRE_GA: _read_pre_release_function,
    c.OPCODE_MODULE_AUX: _read_module,
}


def auxiliary_readers(version: int) -> dict[int, Callable[[Source, int], AuxiliaryRecord]]:
    """Return the readers of the records that files of a version can have."""
    if version < c.VALKEY_VERSION:
        return AUXILIARY_READERS
    return AUXILIARY_READERS | {c.OPCODE_SLOT_IMPORT: _read_slot_import}


# What comes before keys, or between them, and makes no record: its opcode, the first version that has it,
# and a function that reads it.
_OTHERS: tuple[tuple[int, int, Callable[[Source], object]], ...] = (
    (c.OPCODE_ENTERPRISE_1, 1, Source.read_length),
    (c.OPCODE_ENTERPRISE_2, 1, Source.read_length),
    (c.OPCODE_KEY_METADATA, 13, skip_key_metadata),
    (c.OPCODE_HASH_TEMPLATE, 15, read_hash_template),
)


def other_readers(version: int) -> dict[int, Callable[[Source], object]]:
    """Return the readers of what makes no record, for files of a version."""
    if version >= c.VALKEY_VERSION:
        return {}
    return {opcode: read for opcode, first, read in _OTHERS if version >= first}


# The version that introduced each kind of record, whether it is a hint, and its encoder. An encoder takes
# the class that it stands beside, which a table cannot express: hence Any.
_ENCODERS: dict[type, tuple[int, bool, Callable[[Any], bytes]]] = {
    AuxiliaryField: (7, True, _encode_field),
    DatabaseSize: (7, True, _encode_size),
    SlotInformation: (12, True, _encode_slot),
    FunctionLibrary: (10, False, _encode_library),
    ModuleAuxiliary: (9, False, _encode_module),
    SlotImport: (c.VALKEY_VERSION, True, _encode_slot_import),
}


def encode_auxiliary(record: AuxiliaryRecord) -> tuple[int, bool, bytes]:
    """Return the version that a record needs, whether it is only a hint, and its bytes."""
    if type(record) not in _ENCODERS:
        if isinstance(record, AuxiliaryRecord):
            raise RdbWriteError(
                f"A {type(record).__name__} cannot be written: only release candidates of Redis 7.0 "
                "load it."
            )
        raise TypeError(f"{type(record).__name__} is not a record of an RDB file.")
    version, is_hint, encode = _ENCODERS[type(record)]
    return version, is_hint, encode(record)
