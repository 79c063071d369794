"""What the type checker must make of the reader: pinned, never run."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import assert_type

from telstate_rdb import (
    AuxiliaryRecord,
    Hash,
    KeyRecord,
    List,
    Loss,
    Module,
    RawValue,
    RdbReader,
    Set,
    SortedSet,
    Stream,
    StreamEntry,
    Value,
    decode_dump,
    decode_raw,
    parse_dump,
    read_rdb,
)

assert_type(read_rdb("dump.rdb"), RdbReader[KeyRecord[Value]])
assert_type(read_rdb(b"", keys="a*", types="zset"), RdbReader[KeyRecord[Value]])
assert_type(read_rdb("dump.rdb", raw=True), RdbReader[KeyRecord[RawValue]])
assert_type(read_rdb("dump.rdb", auxiliary=True), RdbReader[KeyRecord[Value] | AuxiliaryRecord])
assert_type(
    read_rdb("dump.rdb", raw=True, auxiliary=True),
    RdbReader[KeyRecord[RawValue] | AuxiliaryRecord],
)
assert_type(read_rdb("dump.rdb", strict=False).losses, list[Loss])

for record in read_rdb("dump.rdb"):
    assert_type(record, KeyRecord[Value])
    assert_type(record.database, int)
    assert_type(record.key, bytes)
    assert_type(record.expiry, int | None)
    match record.value:
        case bytes() as text:
            assert_type(text, bytes)
        case List(elements):
            assert_type(elements, tuple[bytes, ...])
        case Set(members):
            assert_type(members, tuple[bytes, ...])
        case SortedSet(members, scores):
            assert_type(scores, array[float])
        case Hash(fields, expiries):
            assert_type(fields, Mapping[bytes, bytes])
            assert_type(expiries, Mapping[bytes, int])
        case Stream(entries=entries):
            assert_type(entries, tuple[StreamEntry, ...])
        case Module() as module:
            assert_type(module.body, bytes)

assert_type(decode_dump(b""), Value)
assert_type(decode_raw(parse_dump(b"")), Value)
assert_type(parse_dump(b"").dump(), bytes)
