"""What the type checker must make of the reader: pinned, never run."""

from __future__ import annotations

import gzip
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, assert_type

from telstate_rdb import (
    AnyRecord,
    Array,
    AuxiliaryRecord,
    BinaryReader,
    Changes,
    Checksum,
    Command,
    CommandMaker,
    Container,
    Difference,
    Hash,
    KeyMemory,
    KeyRecord,
    LazyTable,
    List,
    Loss,
    Merged,
    Module,
    PrefixSum,
    PrefixTree,
    Progress,
    RawValue,
    RdbError,
    RdbParseError,
    RdbReader,
    RdbSource,
    RdbWriteError,
    Selection,
    Set,
    SlotImport,
    SortedSet,
    StoredValue,
    Stream,
    StreamEntry,
    StreamProducers,
    TypeName,
    Value,
    compare_rdb,
    convert_rdb,
    decode_dump,
    decode_json,
    decode_raw,
    encode_command,
    encode_json,
    list_keys,
    measure_key,
    merge_rdb,
    parse_dump,
    read_in_place,
    read_lazily,
    read_rdb,
    read_selected,
    split_rdb,
)
from telstate_rdb.entry_point import run_command
from telstate_rdb.extras import require_extra
from telstate_rdb.printable import escape, escape_path

assert_type(read_rdb("dump.rdb"), RdbReader[KeyRecord[Value]])
assert_type(read_rdb(b"", keys="a*", types="zset"), RdbReader[KeyRecord[Value]])
assert_type(read_rdb("dump.rdb", raw=True), RdbReader[KeyRecord[RawValue]])
assert_type(read_rdb("dump.rdb", auxiliary=True), RdbReader[KeyRecord[Value] | AuxiliaryRecord])
assert_type(
    read_rdb("dump.rdb", raw=True, auxiliary=True),
    RdbReader[KeyRecord[RawValue] | AuxiliaryRecord],
)
assert_type(read_rdb("dump.rdb", strict=False).losses, list[Loss])
assert_type(read_rdb("dump.rdb").checksum, Checksum)
assert_type(read_in_place("dump.rdb"), RdbReader[KeyRecord[Value] | KeyRecord[StoredValue]])
assert_type(read_lazily("dump.rdb"), RdbReader[KeyRecord[Value] | KeyRecord[LazyTable]])
assert_type(
    read_lazily("dump.rdb", raw=True), RdbReader[KeyRecord[RawValue] | KeyRecord[LazyTable]]
)


def options_that_are_variables(flag: bool) -> None:
    """A `bool` gives the union of what its two values give."""
    assert_type(read_rdb("dump.rdb", raw=flag), RdbReader[KeyRecord[Value] | KeyRecord[RawValue]])
    assert_type(
        read_rdb("dump.rdb", raw=flag, auxiliary=flag),
        RdbReader[KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord],
    )
    assert_type(
        read_rdb("dump.rdb", auxiliary=flag),
        RdbReader[KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord],
    )
    assert_type(
        read_lazily("dump.rdb", raw=flag),
        RdbReader[KeyRecord[Value] | KeyRecord[RawValue] | KeyRecord[LazyTable]],
    )
    any_records: RdbReader[AnyRecord] = read_rdb("dump.rdb", raw=flag, auxiliary=flag)
    assert_type(next(any_records), AnyRecord)


def wrapper(source: RdbSource, types: TypeName, progress: Progress) -> RdbReader[KeyRecord[Value]]:
    """The types of the arguments have public names."""
    return read_rdb(source, types=types, progress=progress)


reader: BinaryReader = gzip.open("dump.rdb.gz")
kind: TypeName = "zset"
state: Literal["unread", "ok", "wrong", "not computed", "none"] = read_rdb(reader).checksum
wrapper(reader, kind, print)

errors: tuple[type[RdbError], ...] = (RdbParseError, RdbWriteError)

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

any_record = next(iter(read_rdb("dump.rdb", auxiliary=True)))
raw = next(iter(read_rdb("dump.rdb", raw=True)))
assert_type(read_selected("dump.rdb"), Iterator[KeyRecord[Value]])
assert_type(
    read_selected("dump.rdb", Selection(keys=["a*"]), raw=True), Iterator[KeyRecord[RawValue]]
)
assert_type(read_selected("dump.rdb", auxiliary=True), Iterator[KeyRecord[Value] | AuxiliaryRecord])
assert_type(list_keys("dump.rdb"), Iterator[list[tuple[int, bytes, int, int, int | None]]])
assert_type(encode_json(any_record), Iterator[str])
assert_type(decode_json("{}"), KeyRecord[Value] | AuxiliaryRecord)
assert_type(CommandMaker("6.2").commands(any_record), Iterator[Command])
assert_type(encode_command((b"PING",)), bytes)
assert_type(measure_key(raw, "7.0"), KeyMemory)
assert_type(measure_key(raw).memory, int | None)
assert_type(next(PrefixTree(b":").rows()), PrefixSum)
assert_type(compare_rdb("a.rdb", "b.rdb", full=True), Iterator[Difference])
assert_type(convert_rdb("a.rdb", "b.rdb", changes=Changes(to_database=1)), int)
assert_type(merge_rdb(["a.rdb", "b.rdb"], "c.rdb", prefer="last"), Merged)
assert_type(merge_rdb([gzip.open("a.rdb.gz"), "b.rdb"], "c.rdb", progress=[None, print]), Merged)
assert_type(split_rdb("a.rdb", "folder", by="db"), Mapping[Path, int])
assert_type(escape(b"key"), str)
assert_type(escape_path("dump.rdb"), str)


def later_versions(array: Array, record: SlotImport, stream: Stream) -> None:
    """The types of what came with later versions."""
    assert_type(array.cursor, int | None)
    assert_type(record.ranges, tuple[tuple[int, int], ...])
    assert_type(stream.producers, StreamProducers | None)
    reader = read_rdb("dump.rdb")
    assert_type(reader.container, Container)
    assert_type(next(reader.batches()), list[KeyRecord[Value]])


run_command("telstate_rdb.cli.main", "telstate-rdb")
assert_type(require_extra("telstate-rdb", "cli", "The command needs", "click"), None)
