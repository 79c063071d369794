"""What a file holds besides keys: how each such record is read, in one table.

A function here takes a :class:`~telstate_rdb._source.Source` that stands behind the opcode, and the
number of the current database.
"""

# What is in a file besides keys, as records to bytes.
#
# Rules: a table says for each kind of record from which version on there is such a thing, and whether
# it is a hint, which a file of a lower version simply goes without.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_length, encode_string
from telstate_rdb._source import Source
from telstate_rdb._types.modules import check_module_body, read_module_body
from telstate_rdb.constants import (
    MODULE_UNSIGNED,
    OPCODE_AUX,
    OPCODE_FUNCTION,
    OPCODE_MODULE_AUX,
    OPCODE_RESIZE,
    OPCODE_SLOT_INFO,
)
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.records import (
    AuxiliaryField,
    AuxiliaryRecord,
    DatabaseSize,
    FunctionLibrary,
    ModuleAuxiliary,
    PreReleaseFunction,
    SlotInformation,
)


def _read_field(source: Source, database: int) -> AuxiliaryField:
    return AuxiliaryField(source.read_string(), source.read_string())


def _read_size(source: Source, database: int) -> DatabaseSize:
    return DatabaseSize(database, source.read_length(), source.read_length())


def _read_slot(source: Source, database: int) -> SlotInformation:
    return SlotInformation(source.read_length(), source.read_length(), source.read_length())


def _read_library(source: Source, database: int) -> FunctionLibrary:
    return FunctionLibrary(source.read_string())


def _read_function(source: Source, database: int) -> PreReleaseFunction:
    name, engine = source.read_string(), source.read_string()
    description = source.read_string() if source.read_length() else None
    return PreReleaseFunction(name, engine, description, source.read_string())


def _read_module(source: Source, database: int) -> ModuleAuxiliary:
    module_id = source.read_length()
    if (mark := source.read_length()) != c.MODULE_UNSIGNED:
        raise source.error(f"a module's data begin with {mark}, not with {c.MODULE_UNSIGNED}")
    when = source.read_length()
    return ModuleAuxiliary(module_id, when, read_module_body(source))


AUXILIARY_READERS: dict[int, Callable[[Source, int], AuxiliaryRecord]] = {
    c.OPCODE_AUX: _read_field,
    c.OPCODE_RESIZE: _read_size,
    c.OPCODE_SLOT_INFO: _read_slot,
    c.OPCODE_FUNCTION: _read_library,
    c.OPCODE_FUNCTION_PRE_GA: _read_function,
    c.OPCODE_MODULE_AUX: _read_module,
}


@attrs.frozen
class Auxiliary:
    """A record as it is written, the version it needs, and whether one can do without it."""

    version: int
    is_hint: bool
    data: bytes


def _field(record: AuxiliaryField) -> bytes:
    return b"%c%b%b" % (OPCODE_AUX, encode_string(record.name), encode_string(record.value))


def _lengths(opcode: int, *numbers: int) -> bytes:
    return b"%c%b" % (opcode, b"".join(map(encode_length, numbers)))


def _size(record: DatabaseSize) -> bytes:
    return _lengths(OPCODE_RESIZE, record.keys, record.expiring)


def _slot(record: SlotInformation) -> bytes:
    return _lengths(OPCODE_SLOT_INFO, record.slot, record.keys, record.expiring)


def _library(record: FunctionLibrary) -> bytes:
    return b"%c%b" % (OPCODE_FUNCTION, encode_string(record.code))


def _module(record: ModuleAuxiliary) -> bytes:
    check_module_body(record.id, record.body)
    return _lengths(OPCODE_MODULE_AUX, record.id, MODULE_UNSIGNED, record.when) + record.body


# Version, hint, and how it is written. The functions take the class that they stand beside; a
# table cannot say so, hence Any.
_FORMS: dict[type, tuple[int, bool, Callable[[Any], bytes]]] = {
    AuxiliaryField: (7, True, _field),
    DatabaseSize: (7, True, _size),
    SlotInformation: (12, True, _slot),
    FunctionLibrary: (10, False, _library),
    ModuleAuxiliary: (9, False, _module),
}


def encode_auxiliary(record: AuxiliaryRecord) -> Auxiliary:
    """Write a record that is no key.

    Raises
    ------
    RdbWriteError
        If no server that is not a release candidate would load it.
    TypeError
        If it is no such record.
    """
    if type(record) not in _FORMS:
        if isinstance(record, AuxiliaryRecord):
            raise RdbWriteError(
                f"A {type(record).__name__} cannot be written: only release candidates of Redis "
                "7.0 load it."
            )
        raise TypeError(f"{type(record).__name__} is not a record of an RDB file.")
    version, is_hint, write = _FORMS[type(record)]
    return Auxiliary(version, is_hint, write(record))
