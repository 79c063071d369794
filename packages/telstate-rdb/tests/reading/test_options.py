"""Filters, raw=True and strict=False change what is returned, but not what is read."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import ChunkedReader, encode_string, make_file

from telstate_rdb import KeyRecord, RawValue, RdbParseError, Value, decode_raw, read_rdb
from telstate_rdb.globs import Glob
from telstate_rdb.reader import LazyOptions

# Values of every form that the loop for short values knows, and of forms that end it.
VALUES = {
    "short": b"\x00%b\x05value",
    "14 bits": b"\x00%b\x44\x00" + b"x" * 1024,
    "32 bits": b"\x00%b\x80\x00\x00\x40\x00" + b"x" * 0x4000,
    "int8": b"\x00%b\xc0\xff",
    "int16": b"\x00%b\xc1\x00\x80",
    "int32": b"\x00%b\xc2\x00\x00\x00\x80",
    "compressed": b"\x00%b\xc3\x05\x0b\x00a\xe0\x01\x00",
    "compressed, long": b"\x00%b\xc3\x05\x41\x09\x00a\xe0\xff\x00",
    "intset": b"\x0b%b\x0a\x02\x00\x00\x00\x01\x00\x00\x00\x07\x00",
    "table": b"\x02%b\x02\x01a\x01b",
    "sorted set": b"\x05%b\x01\x01a" + bytes(8),
}
ATTRIBUTES = [
    b"",
    b"",
    b"\xfc" + bytes(range(8)),
    b"\xfd" + bytes(range(4)),
    b"\xf8\x07",
    b"\xf9\x09",
]
KEYS = [b"%b%d" % (b"ab"[number % 2 :][:1], number) for number in range(20)]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file with keys in two databases."""
    chooser = random.Random(draw(st.integers(0, 10_000)))
    records = []
    for key in [*KEYS, b"long" * 100]:
        if chooser.random() < 0.1:
            records.append(b"\xfe%c" % chooser.randrange(2))
        records += chooser.sample(ATTRIBUTES, 2)
        records.append(chooser.choice([*VALUES.values()]) % encode_string(key))
    return make_file(*records)


@st.composite
def filters(draw: st.DrawFn) -> LazyOptions:
    """Some databases, a pattern and some types."""
    options: LazyOptions = {}
    if draw(st.booleans()):
        options["keys"] = draw(st.sampled_from(["*", "a*", "?1", "none", "[bl]*"]))
    if draw(st.booleans()):
        options["types"] = draw(st.sampled_from(["string", "set", "zset", "stream"]))
    if draw(st.booleans()):
        databases: int | list[int] = draw(
            st.sampled_from([[0], [1], [0, 1], [7]]) | st.integers(0, 1)
        )
        options["databases"] = databases
    return options


def passes(record: KeyRecord[Value], options: LazyOptions) -> bool:
    """Return whether a record passes a filter."""
    databases = options.get("databases")
    kind = "string" if isinstance(record.value, bytes) else record.value.type_name
    return (
        Glob(str(options.get("keys", "*")).encode()).matches(record.key)
        and options.get("types", kind) == kind
        and (
            databases is None
            or record.database in ([databases] if isinstance(databases, int) else databases)
        )
    )


@given(files(), filters(), st.booleans(), st.sampled_from([1, 7, 1000, 1 << 20]))
def test_the_same_records(data: bytes, options: LazyOptions, strict: bool, size: int) -> None:
    """All combinations return the records that pass the filter, complete and in order."""
    expected = [record for record in read_rdb(data) if passes(record, options)]
    for source in (data, ChunkedReader(data, size)):
        reader = read_rdb(source, strict=strict, **options)
        assert list(reader) == expected
        assert (reader.checksum, reader.losses) == ("ok", [])
    for source in (data, ChunkedReader(data, size)):
        raw = list(read_rdb(source, raw=True, strict=strict, **options))
        assert all(type(record.value) is RawValue for record in raw)
        decoded = [KeyRecord(one.database, one.key, decode_raw(one.value), *one[3:]) for one in raw]
        assert decoded == expected


@pytest.mark.parametrize("value", VALUES)
def test_truncated_value(value: str) -> None:
    """A value that is truncated anywhere is an error with every option, after the records before it."""
    record = VALUES[value] % b"\x01k"
    options: list[LazyOptions] = [{}, {"keys": "other"}, {"keys": "k"}, {"types": "stream"}]
    for size in range(1, len(record), 1 + len(record) // 50):
        data = b"REDIS0004" + b"\x00\x05other\x01v" + record[:size]
        for option in options:
            for raw in (False, True):
                keys = []
                with pytest.raises(RdbParseError):
                    for found in read_rdb(data, raw=raw, **option):
                        keys.append(found.key)
                assert keys == ([b"other"] if option in options[:2] else [])
