"""The records of a file: one for each key, and others for everything else.

Records are frozen. :class:`KeyRecord` is a named tuple, because files have many of them and tuples
are created fastest.
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
        Its :data:`~telstate_rdb.values.Value`, or a :class:`~telstate_rdb.values.RawValue` or
        :class:`~telstate_rdb.LazyTable` if it was left undecoded.
    expiry
        When the key expires, in milliseconds since 1970; None for never.
    idle
        The seconds since it was last used; None if they are not in the file.
    frequency
        The logarithmic counter of its uses (LFU), 0 to 255; None if it is not in the file.
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
    """The number of keys in a database, and of those that expire: a hint for allocating memory."""

    database: int
    keys: int
    expiring: int


@attrs.frozen
class SlotInformation:
    """The number of keys in a slot of a cluster, and of those that expire: also a hint."""

    slot: int
    keys: int
    expiring: int


@attrs.frozen
class FunctionLibrary:
    """The source code of a library of functions, whose first line names engine and library."""

    code: bytes


@attrs.frozen
class PreReleaseFunction:
    """A function in the form of the release candidates of Redis 7.0."""

    name: bytes
    engine: bytes
    description: bytes | None
    code: bytes


@attrs.frozen
class ModuleAuxiliary:
    """Data of a module that do not belong to a key.

    Parameters
    ----------
    id
        The module's 64-bit id.
    when
        1: to be loaded before the keys, 2: after them.
    body
        The module's values as they are in the file, with their end mark.
    """

    id: int
    when: int
    body: bytes

    @property
    def name(self) -> str:
        """The name of the module's type, of nine characters."""
        return module_name(self.id)


@attrs.frozen
class SlotImport:
    """Slots that a node of a Valkey cluster was importing when it wrote the file.

    Parameters
    ----------
    job
        The name of the import.
    ranges
        The first and the last slot of each range.
    """

    job: bytes
    ranges: tuple[tuple[int, int], ...]


AuxiliaryRecord = (
    AuxiliaryField
    | DatabaseSize
    | SlotInformation
    | FunctionLibrary
    | PreReleaseFunction
    | ModuleAuxiliary
    | SlotImport
)
"""A record that is not a key."""
