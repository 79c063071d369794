"""What a file holds besides keys: how each such record is read, in one table.

A function here takes a :class:`~telstate_rdb.source.Source` that stands behind the opcode, and the
number of the current database.
"""

from __future__ import annotations

from collections.abc import Callable

from telstate_rdb import constants as c
from telstate_rdb.modules import read_module_body
from telstate_rdb.records import (
    AuxiliaryField,
    AuxiliaryRecord,
    DatabaseSize,
    FunctionLibrary,
    ModuleAuxiliary,
    PreReleaseFunction,
    SlotInformation,
)
from telstate_rdb.source import Source


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
