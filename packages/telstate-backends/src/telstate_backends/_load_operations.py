"""Conversion of the records of a snapshot to operations, without any I/O.

Contents that telstate does not support are described in words. Large tables are not decoded here, see
:mod:`telstate_rdb.lazy`. Other packed values are decoded once before they are sent to a server, because a
server does not check them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TypeAlias

import telstate_rdb
from telstate_backends.errors import RdbParseError
from telstate_backends.operations.bulk import Load, Restore, unpacked
from telstate_backends.samples import Samples
from telstate_backends.store import SCORES, Fields, Packed, Stored, stored_of
from telstate_backends.types import Immutable, KeyType
from telstate_rdb import KeyRecord, LazyTable, RawValue, StoredValue, Value, decode_raw
from telstate_rdb.constants import TYPE_VERSIONS

Record: TypeAlias = (
    KeyRecord[Value] | KeyRecord[RawValue] | KeyRecord[LazyTable] | KeyRecord[StoredValue]
)

#: The maximum number of samples or sub-keys in one operation.
PART_LENGTH = 20_000
#: The version of DUMP payloads that every server accepts.
PAYLOAD_VERSION = 6

EXPIRED = "a value that has expired"


def contents_of_record(
    record: Record, now: float, file: str | None = None
) -> Stored | Packed | str:
    """Return the contents of a key, or a description of what telstate does not support."""
    value: Value | RawValue | LazyTable | StoredValue = record.value
    if record.expiry is not None and record.expiry <= now * 1000:
        return EXPIRED
    if isinstance(value, bytes):
        return Immutable(value)
    if isinstance(value, LazyTable | StoredValue):
        return SCORES if value.score else Packed(_KINDS[value.type_name], value)
    if isinstance(value, RawValue):
        if value.type_name not in ("string", "zset", "hash"):
            return f"a Redis {value.type_name}"
        try:
            value = decode_raw(value)
        except telstate_rdb.RdbParseError as error:
            raise RdbParseError(file, error.reason, key=record.key) from error
    return stored_of(value)


_KINDS = {"string": KeyType.IMMUTABLE, "zset": KeyType.MUTABLE, "hash": KeyType.INDEXED}


def operations_for(
    record: Record, contents: Stored | Packed, refused: Collection[int] | None = None
) -> Iterable[Load | Restore]:
    """Return the operations that write a record; `refused` are the payload types not to use, `None` all."""
    value: Value | RawValue | LazyTable | StoredValue = record.value
    if refused is not None and isinstance(value, RawValue | LazyTable | StoredValue):
        if value.type not in refused:
            # The oldest version that has the type, which most servers accept.
            version = max(TYPE_VERSIONS[value.type], PAYLOAD_VERSION)
            return (Restore(record.key, value.dump(version), contents),)
        contents = unpacked(contents)
    if type(contents) is Packed or type(contents) is Immutable:
        return (Load(record.key, contents),)
    return _loads(record.key, contents)


def loads_for(operation: Restore) -> Iterable[Load]:
    """Return the operations that do the same without a payload."""
    return _loads(operation.key, unpacked(operation.contents))


def _loads(key: bytes, contents: Stored) -> Iterator[Load]:
    """Yield the operations that write contents, long ones in parts; the first replaces the old contents."""
    if type(contents) is Immutable or len(contents) <= PART_LENGTH:
        yield Load(key, contents)
    elif type(contents) is Samples:
        for start in range(0, len(contents), PART_LENGTH):
            yield Load(key, Samples(contents[start : start + PART_LENGTH]), start == 0)
    else:
        items = iter(contents.items())
        for start in range(0, len(contents), PART_LENGTH):
            yield Load(key, Fields(islice(items, PART_LENGTH)), start == 0)


def size_of(operation: Load | Restore) -> int:
    """Estimate the size of an operation in bytes."""
    if type(operation) is Restore:
        return len(operation.key) + len(operation.payload)
    contents = operation.contents
    if type(contents) is Immutable:
        return len(operation.key) + len(contents.value)
    if type(contents) is Samples:
        # From the longest of three samples, because adding up all takes as long as loading them.
        longest = max(len(contents[0]), len(contents[len(contents) // 2]), len(contents[-1]))
        return len(operation.key) + longest * len(contents)
    if type(contents) is Fields:
        return len(operation.key) + sum(map(len, contents)) + sum(map(len, contents.values()))
    assert type(contents) is Packed
    return len(operation.key) + contents.size
