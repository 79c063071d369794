"""What is in a file besides keys, as records to bytes.

Rules: a table says for each kind of record from which version on there is such a thing, and whether
it is a hint, which a file of a lower version simply goes without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from telstate_rdb.constants import (
    MODULE_UNSIGNED,
    OPCODE_AUX,
    OPCODE_FUNCTION,
    OPCODE_MODULE_AUX,
    OPCODE_RESIZE,
    OPCODE_SLOT_INFO,
)
from telstate_rdb.encoding.modules import refuse_broken_module
from telstate_rdb.encoding.strings import encode_length, encode_string
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.records import (
    AuxiliaryField,
    AuxiliaryRecord,
    DatabaseSize,
    FunctionLibrary,
    ModuleAuxiliary,
    SlotInformation,
)


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
    refuse_broken_module(record.id, record.body)
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
