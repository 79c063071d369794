"""What the reader gives: one record for each key, and others for what else is in a file.

Rules: records are frozen. :class:`KeyRecord` is a named tuple, because there are so many of them
and a tuple is made four times as fast as anything else; the others are few.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import attrs

from telstate_rdb.values import module_name

ValueT = TypeVar("ValueT", covariant=True)


class KeyRecord(NamedTuple, Generic[ValueT]):
    """A key and its value.

    Parameters
    ----------
    database
        The number of the database.
    key
        The key.
    value
        Its :data:`~telstate_rdb.values.Value`, or a :class:`~telstate_rdb.values.RawValue` where
        that was asked for.
    expiry
        When the key expires, in milliseconds since 1970; None for never.
    idle
        For how many seconds it had not been used; None if the file does not say.
    frequency
        The counter of its uses (LFU), 0 to 255; None if the file does not say.
    """

    database: int
    key: bytes
    value: ValueT
    expiry: int | None = None
    idle: int | None = None
    frequency: int | None = None


@attrs.frozen
class AuxiliaryField:
    """A fact about the file, such as ``redis-ver``, ``ctime`` (seconds) or ``used-mem``."""

    name: bytes
    value: bytes


@attrs.frozen
class DatabaseSize:
    """How many keys a database has, and how many of them expire: a hint for who loads it."""

    database: int
    keys: int
    expiring: int


@attrs.frozen
class SlotInformation:
    """How many keys a slot of a cluster has, and how many of them expire: likewise a hint."""

    slot: int
    keys: int
    expiring: int


@attrs.frozen
class FunctionLibrary:
    """A library of functions: its source, which names engine and library in its first line."""

    code: bytes


@attrs.frozen
class PreReleaseFunction:
    """A function as release candidates of Redis 7.0 wrote it."""

    name: bytes
    engine: bytes
    description: bytes | None
    code: bytes


@attrs.frozen
class ModuleAuxiliary:
    """Data of a module that belong to no key.

    Parameters
    ----------
    id
        The module's 64-bit id.
    when
        1: to be loaded before the keys, 2: after them.
    body
        The module's values as they are in the file, with the mark of their end.
    """

    id: int
    when: int
    body: bytes

    @property
    def name(self) -> str:
        """The name of the module's type, of nine characters."""
        return module_name(self.id)


AuxiliaryRecord = (
    AuxiliaryField
    | DatabaseSize
    | SlotInformation
    | FunctionLibrary
    | PreReleaseFunction
    | ModuleAuxiliary
)
"""Whatever is in a file besides keys."""
