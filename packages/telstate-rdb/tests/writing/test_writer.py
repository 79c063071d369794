"""RdbWriter: keys are read back as they were written, in the right version, or nothing is written."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any

import pytest
import rdb_strategies as values
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import NO_SAMPLES, SAMPLES, sample_rows

from telstate_rdb import (
    AuxiliaryField,
    DatabaseSize,
    FunctionLibrary,
    Hash,
    KeyRecord,
    List,
    Module,
    ModuleAuxiliary,
    PreReleaseFunction,
    RawValue,
    RdbParseError,
    RdbWriteError,
    RdbWriter,
    SlotInformation,
    SortedSet,
    Stream,
    StreamId,
    Value,
    decode_dump,
    encode_dump,
    parse_dump,
    read_rdb,
)
from telstate_rdb._crc64 import crc64
from telstate_rdb._types.writers import WRITABLE_VERSIONS, default_version
from telstate_rdb.values import Set

NO_ID = StreamId(0, 0)
STREAM = Stream((), NO_ID, NO_ID, NO_ID, 0, ())
EXPIRING = Hash({b"f": b"v"}, {b"f": 1800000000000})


def write(path: Path, *records: KeyRecord[Any], version: int | None = None, **options: bool) -> int:
    """Write a file and return its version."""
    with RdbWriter(path, version, **options) as writer:
        writer.write_records(records)
    return writer.version


def keys_of(*plain: Value) -> list[KeyRecord[Value]]:
    """Make a record of each value."""
    return [KeyRecord(0, b"key %d" % number, value) for number, value in enumerate(plain)]


def header_of(path: Path) -> tuple[bytes, bool]:
    """Return the header of a file, and whether it has the right checksum."""
    data = path.read_bytes()
    return data[:9], int.from_bytes(data[-8:], "little") == crc64(data[:-8]) != 0


def test_bytes_of_a_small_file(tmp_path: Path) -> None:
    """A file has exactly the bytes that the format prescribes."""
    path = tmp_path / "a.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"a", b"x")
        writer.write(b"b", b"-1", 1000)
        writer.write(b"a", Hash({b"f": b"v"}), database=3)
    expected = (
        b"REDIS0006\xfe\x00\x00\x01a\x01x"
        b"\xfc\xe8\x03\0\0\0\0\0\0\x00\x01b\xc0\xff"
        b"\xfe\x03\x0d\x01a\x11\x11\0\0\0\x0d\0\0\0\x02\0\0\x01f\x03\x01v\xff\xff"
    )
    assert path.read_bytes() == expected + crc64(expected).to_bytes(8, "little")
    assert writer.keys_written == 3


RECORDS: st.SearchStrategy[list[KeyRecord[Value]]] = st.lists(
    st.builds(
        KeyRecord,
        st.integers(0, 3) | st.sampled_from([63, 64, 16383, 16384]),
        values.TEXTS,
        values.PLAIN_VALUES,
        st.none() | st.integers(0, 2**63 - 1),
        idle=st.none(),
        frequency=st.none(),
    ),
    max_size=6,
    unique_by=lambda record: (record.database, record.key),
)


@given(records=RECORDS, version=st.sampled_from([None, *WRITABLE_VERSIONS]), compress=st.booleans())
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[KeyRecord[Value]],
    version: int | None,
    compress: bool,
) -> None:
    """Keys, values, expiries and databases are read as they were written, in every version."""
    path = tmp_path_factory.mktemp("written") / "a.rdb"
    assert write(path, *records, version=version, compress=compress) == (version or 6)
    with read_rdb(path) as reader:
        assert list(reader) == records
    assert reader.version == (version or 6)
    assert header_of(path)[1]


@given(records=RECORDS)
def test_one_at_a_time_or_many_at_once(
    tmp_path_factory: pytest.TempPathFactory, records: list[KeyRecord[Value]]
) -> None:
    """Writing records one by one or in bulk gives the same file."""
    folder = tmp_path_factory.mktemp("written")
    write(folder / "bulk.rdb", *records)
    with RdbWriter(folder / "single.rdb") as writer:
        for record in records:
            writer.write(record.key, record.value, record.expiry, record.database)
    assert (folder / "single.rdb").read_bytes() == (folder / "bulk.rdb").read_bytes()


@pytest.mark.parametrize(
    ("value", "version"),
    [(b"", 6), (Module(1 << 60, b"\0"), 8), (STREAM, 9), (EXPIRING, 12)],
    ids=["string", "module", "stream", "expiring field"],
)
def test_lowest_version(tmp_path: Path, value: Value, version: int) -> None:
    """The file gets the lowest version that can hold all values, whichever of them comes first."""
    path = tmp_path / "a.rdb"
    for order in (keys_of(b"before", value, b"after" * 200_000), keys_of(value, List((b"x",)))):
        assert write(path, *order) == version
        assert header_of(path) == (b"REDIS%04d" % version, True)
        assert list(read_rdb(path)) == order


def test_requested_version(tmp_path: Path) -> None:
    """A value that the requested version cannot hold raises an error with the key; others are written."""
    path = tmp_path / "a.rdb"
    with RdbWriter(path, version=9) as writer:
        writer.write(b"plain", b"value")
        with pytest.raises(RdbWriteError, match=r"Key b'new' cannot be written: .*version 12"):
            writer.write(b"new", EXPIRING)
        writer.write(b"stream", STREAM)
    assert [record.key for record in read_rdb(path)] == [b"plain", b"stream"]
    assert header_of(path) == (b"REDIS0009", True)


def test_valkey(tmp_path: Path) -> None:
    """Version 80 is a file of Valkey, with its own type of hash with expiring fields."""
    records = keys_of(EXPIRING, STREAM, b"x")
    write(tmp_path / "a.rdb", *records, version=80)
    assert list(read_rdb(tmp_path / "a.rdb")) == records
    assert header_of(tmp_path / "a.rdb") == (b"VALKEY080", True)


@pytest.mark.parametrize("version", [0, 5, 13, 79, 81, -1])
def test_versions_that_cannot_be_written(version: int) -> None:
    """Requesting a version that cannot be written raises ValueError at once."""
    with pytest.raises(ValueError, match=f"RDB version {version} cannot be written"):
        RdbWriter("never.rdb", version=version)
    with pytest.raises(ValueError, match=f"RDB version {version} cannot be written"):
        encode_dump(b"", version)


# ------------------------------------------------------------------------------------- payloads


SMALL = SortedSet((b"a", b"b"), array("d", [1, 2]))
COPIED: list[tuple[Value, int, int | None, bool]] = [
    # value, version of its payload, requested version of the file, whether it is copied as it is
    (b"x" * 30, 12, None, True),
    (SMALL, 9, None, True),
    (SMALL, 10, None, False),
    (SMALL, 10, 9, False),
    (SMALL, 10, 10, True),
    (SMALL, 6, 12, True),
    (List((b"x",)), 9, None, False),
    (Set((b"1", b"2")), 11, None, True),
    (STREAM, 9, None, True),
    (STREAM, 10, None, False),
    (STREAM, 11, 12, True),
    (EXPIRING, 12, None, True),
    (EXPIRING, 12, 80, False),
    (EXPIRING, 80, None, True),
    (EXPIRING, 80, 12, False),
    (EXPIRING, 80, 80, True),
    (Module(1 << 60, b"\x01\x05\x00"), 9, None, True),
]


@pytest.mark.parametrize("case", COPIED, ids=str)
def test_payloads_of_every_version(
    tmp_path: Path, case: tuple[Value, int, int | None, bool]
) -> None:
    """A payload is copied if the version of the file has its type, and encoded again otherwise."""
    value, version, requested, is_copied = case
    payload = encode_dump(value, version)
    path = tmp_path / "a.rdb"
    with RdbWriter(path, requested) as writer:
        writer.write_dump(b"key", payload, expiry=7, database=1)
    assert list(read_rdb(path)) == [KeyRecord(1, b"key", value, 7)]
    (raw,) = read_rdb(path, raw=True)
    before = parse_dump(payload)
    assert ((raw.value.type, raw.value.body) == (before.type, before.body)) == is_copied
    assert writer.version == (requested or default_version(decode_dump(payload)))


@given(value=values.PLAIN_VALUES, version=st.sampled_from([None, *WRITABLE_VERSIONS]))
def test_dump_round_trip(value: Value, version: int | None) -> None:
    """A payload of any version is decoded to the value that it was made of."""
    payload = encode_dump(value, version)
    assert decode_dump(payload) == value
    assert parse_dump(payload).version == (version or 6)


def test_copied_string(tmp_path: Path) -> None:
    """A string is copied as it is, even if it could be shorter."""
    raw = RawValue(0, b"\x0212", 10)
    with RdbWriter(tmp_path / "a.rdb") as writer:
        writer.write_dump(b"key", raw.dump())
    assert [record.value.body for record in read_rdb(tmp_path / "a.rdb", raw=True)] == [raw.body]


MALFORMED = {
    "empty": b"",
    "checksum": encode_dump(b"x")[:-1] + b"\0",
    "type": RawValue(99, b"\0", 6).dump(),
    "truncated": RawValue(0, b"\x05abc", 6).dump(),
    "too long": RawValue(0, b"\x01abc", 6).dump(),
    "too long, encoded again": RawValue(17, b"\x01abc", 10).dump(),
    "malformed": RawValue(16, b"\x03abc", 10).dump(),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_payloads(tmp_path: Path, payload: bytes) -> None:
    """A malformed payload raises an error with the key, and leaves no trace in the file."""
    with RdbWriter(tmp_path / "a.rdb") as writer:
        writer.write(b"before", b"1")
        with pytest.raises(RdbParseError, match="key b'broken'"):
            writer.write_dump(b"broken", payload)
        writer.write(b"after", b"2")
    assert [record.key for record in read_rdb(tmp_path / "a.rdb")] == [b"before", b"after"]


# ------------------------------------------------------------------ records that are not keys


AUXILIARY = [
    (AuxiliaryField(b"redis-ver", b"7.4.0"), 7, True),
    (DatabaseSize(0, 5, 1), 7, True),
    (SlotInformation(16383, 5, 1), 12, True),
    (ModuleAuxiliary(1 << 60, 2, b"\x05\x01x\x00"), 9, False),
    (FunctionLibrary(b"#!lua name=x\n"), 10, False),
]


@pytest.mark.parametrize("requested", [None, *WRITABLE_VERSIONS])
@pytest.mark.parametrize(("record", "needed", "is_hint"), AUXILIARY, ids=lambda one: str(one)[:20])
def test_auxiliary_records(
    tmp_path: Path, requested: int | None, record: Any, needed: int, is_hint: bool
) -> None:
    """Hints are written if the requested version has them; other records raise the version or an error."""
    path = tmp_path / "a.rdb"
    with RdbWriter(path, requested) as writer:
        writer.write(b"key", b"value")
        if requested is not None and requested < needed and not is_hint:
            with pytest.raises(RdbWriteError, match=f"needs version {needed} or later"):
                writer.write_record(record)
        else:
            writer.write_record(record)
    there = not is_hint if requested is None else requested >= needed
    expected = [KeyRecord(0, b"key", b"value"), *([record] if there else [])]
    assert list(read_rdb(path, auxiliary=True)) == expected
    assert writer.version == (requested or (6 if is_hint else needed))


def test_function_of_release_candidates(tmp_path: Path) -> None:
    """A function that only release candidates load is refused."""
    with RdbWriter(tmp_path / "a.rdb") as writer:
        with pytest.raises(RdbWriteError, match="only release candidates"):
            writer.write_record(PreReleaseFunction(b"f", b"lua", None, b""))


@pytest.mark.parametrize(("requested", "kept"), [(None, False), (8, False), (9, True), (12, True)])
def test_idle_time_and_frequency(tmp_path: Path, requested: int | None, kept: bool) -> None:
    """Idle time and frequency are kept if the requested version has them."""
    records = [KeyRecord(0, b"idle", b"", None, 100000), KeyRecord(0, b"used", b"", 5, None, 255)]
    write(tmp_path / "a.rdb", *records, version=requested)
    expected = [one if kept else one._replace(idle=None, frequency=None) for one in records]
    assert list(read_rdb(tmp_path / "a.rdb")) == expected


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"key": b"there"}, "was already written to database 0"),
        ({"expiry": -1}, "has the expiry \\(ms since 1970\\) -1"),
        ({"expiry": 1 << 63}, "has the expiry"),
        ({"database": -1}, "has the database -1"),
        ({"idle": -1}, "has the idle time \\(s\\) -1"),
        ({"frequency": 256}, "has the frequency 256"),
        ({"value": List(())}, "An empty list cannot be written"),
    ],
    ids=str,
)
def test_keys_that_cannot_be_written(
    tmp_path: Path, arguments: dict[str, Any], reason: str
) -> None:
    """A key that cannot be written raises an error with the key, and leaves no trace in the file."""
    with RdbWriter(tmp_path / "a.rdb") as writer:
        writer.write(b"there", b"1")
        with pytest.raises(RdbWriteError, match=f"Key b'.*{reason}"):
            writer.write(**{"key": b"new", "value": b"2", **arguments})
        writer.write(b"last", b"3")
    assert list(read_rdb(tmp_path / "a.rdb")) == [
        KeyRecord(0, b"there", b"1"),
        KeyRecord(0, b"last", b"3"),
    ]
    assert writer.keys_written == 2


@pytest.mark.parametrize("key", ["text", bytearray(b"x"), None, 5])
def test_keys_are_bytes(tmp_path: Path, key: Any) -> None:
    """A key that is not bytes raises TypeError, also in bulk."""
    with RdbWriter(tmp_path / "a.rdb") as writer:
        with pytest.raises(TypeError, match="must be bytes"):
            writer.write(key, b"value")
        writer.write(b"database 0", b"is current now")
        with pytest.raises(TypeError, match="must be bytes"):
            writer.write_records([KeyRecord(0, key, b"value")])
    assert writer.keys_written == 1


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    """After an exception in the block the target is unchanged, and nothing else is there."""
    path = tmp_path / "a.rdb"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        with RdbWriter(path) as writer:
            writer.write(b"key", b"value" * 1_000_000)
            raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.rdb"]


def test_a_file_without_keys(tmp_path: Path) -> None:
    """A file without keys is valid; with keep_empty=False the target stays as it is."""
    path = tmp_path / "a.rdb"
    write(path, keep_empty=False)
    assert os.listdir(tmp_path) == []
    write(path)
    assert list(read_rdb(path)) == []
    write(path, *keys_of(b"x"))
    write(path, keep_empty=False)
    assert list(read_rdb(path)) == keys_of(b"x")


def test_only_inside_the_block(tmp_path: Path) -> None:
    """Writing before or after the block, or using a writer twice, raises an error."""
    writer = RdbWriter(tmp_path / "a.rdb")
    with pytest.raises(RdbWriteError, match="Use RdbWriter in a with statement"):
        writer.write(b"key", b"value")
    with writer:
        pass
    with pytest.raises(RdbWriteError, match="Use RdbWriter in a with statement"):
        writer.write_records([])
    with pytest.raises(RdbWriteError, match="has been used already"):
        writer.__enter__()


# ----------------------------------------------------------------------------------------- samples


BAD = {"redis/corrupt_empty_keys.rdb"}  # its values cannot be written, although the file is valid
SOUND = [
    row["file"]
    for row in sample_rows()
    if not row["scan_error"] and row["crc"] != "BAD" and row["file"] not in BAD
]


@NO_SAMPLES
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("name", SOUND)
def test_copies_of_samples(tmp_path: Path, name: str, raw: bool) -> None:
    """The copy of each sample, raw or decoded, has its keys and values, in the lowest version."""
    try:
        original = list(read_rdb(SAMPLES / name))
        packed = list(read_rdb(SAMPLES / name, raw=True, auxiliary=True))
    except RdbParseError as error:
        pytest.skip(f"not a valid file: {error}")
    path = tmp_path / "copy.rdb"
    with RdbWriter(path) as writer:
        if raw:
            records = [r for r in packed if isinstance(r, KeyRecord)]
            writer.write_records(records)
        else:
            writer.write_records(original)
    expected = [record._replace(idle=None, frequency=None) for record in original]
    assert list(read_rdb(path)) == expected
    assert writer.version == max([6, *(default_version(record.value) for record in original)])
    assert header_of(path)[1]
