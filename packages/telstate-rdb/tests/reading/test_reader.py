"""Reading: sources, options, keys with their attributes, and records that are not keys."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest
from rdb_data import ChunkedReader, make_file

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
    Set,
    SlotInformation,
    SortedSet,
    Value,
    decode_dump,
    read_rdb,
)
from telstate_rdb.dump import crc64
from telstate_rdb.reader import ReadOptions
from telstate_rdb.values import module_name

MODULE_ID = bytes.fromhex("81 45e25238df912c03")
MODULE_BODY = bytes.fromhex("01 4005 02 07") + b"\x04" + struct.pack("<d", 1.5)
MODULE_BODY += b"\x03" + struct.pack("<f", 0.5) + b"\x05\x03abc" + b"\x00"
BIG = bytes(range(256)) * 100

# One of each kind of record, in plain forms.
PARTS = (
    b"\xfa\x09redis-ver\x057.0.0",
    b"\xf5\x05#!lua",
    b"\xf6\x01f\x03lua\x01\x04what\x04code",
    b"\xf6\x01g\x03lua\x00\x04code",
    b"\xf7" + MODULE_ID + b"\x02\x01" + MODULE_BODY,
    b"\xfe\x00\xfb\x03\x01",
    b"\xf4\x05\x02\x01",
    b"\x00\x01a\x01A",
    b"\xfd" + struct.pack("<i", 1700000000) + b"\x00\x01b\xc1\x39\x30",
    b"\xfc" + struct.pack("<q", 1700000000123) + b"\xf9\x07\x01\x04list\x02\x01x\x01y",
    b"\xf8\x41\x00\x02\x03set\x02\x01x\xc0\xff",
    b"\xfe\x07",
    b"\x03\x04zset\x05\x01a\x031.5\x01b\xfd\x01c\xfe\x01d\xff\x01e\x02-1",
    b"\x04\x04hash\x02\x01f\x01v\x01g\xc3\x05\x0b\x00a\xe0\x01\x00",
    b"\x05\x05zset2\x02\x01a" + struct.pack("<d", 2.5) + b"\x01b" + struct.pack("<d", -0.0),
    b"\x07\x06module" + MODULE_ID + MODULE_BODY,
    b"\x00\x03big\x80" + struct.pack(">I", len(BIG)) + BIG,
)
KEYS: list[KeyRecord[Value]] = [
    KeyRecord(0, b"a", b"A"),
    KeyRecord(0, b"b", b"12345", 1700000000000),
    KeyRecord(0, b"list", List((b"x", b"y")), 1700000000123, None, 7),
    KeyRecord(0, b"set", Set((b"x", b"-1")), None, 256),
    KeyRecord(
        7,
        b"zset",
        SortedSet(
            (b"a", b"b", b"c", b"d", b"e"),
            array("d", [1.5, float("nan"), float("inf"), float("-inf"), -1.0]),
        ),
    ),
    KeyRecord(7, b"hash", Hash({b"f": b"v", b"g": b"a" * 11})),
    KeyRecord(7, b"zset2", SortedSet((b"a", b"b"), array("d", [2.5, -0.0]))),
    KeyRecord(7, b"module", Module(0x45E25238DF912C03, MODULE_BODY)),
    KeyRecord(7, b"big", BIG),
]


SNAPSHOT = make_file(*PARTS)


def test_keys() -> None:
    """Every key has its own database, value, expiry and use."""
    reader = read_rdb(SNAPSHOT)
    assert reader.version == 11
    checksums = [reader.checksum]
    assert list(reader) == KEYS
    checksums.append(reader.checksum)
    assert checksums == ["unread", "ok"]


def test_auxiliary_records() -> None:
    """Records that are not keys are returned if they are requested, in the order of the file."""
    records = list(read_rdb(SNAPSHOT, auxiliary=True))
    assert [record for record in records if isinstance(record, KeyRecord)] == KEYS
    assert [record for record in records if not isinstance(record, KeyRecord)] == [
        AuxiliaryField(b"redis-ver", b"7.0.0"),
        FunctionLibrary(b"#!lua"),
        PreReleaseFunction(b"f", b"lua", b"what", b"code"),
        PreReleaseFunction(b"g", b"lua", None, b"code"),
        ModuleAuxiliary(0x45E25238DF912C03, 1, MODULE_BODY),
        DatabaseSize(0, 3, 1),
        SlotInformation(5, 2, 1),
    ]
    assert module_name(0x45E25238DF912C03) == "ReJSON-RL"


def test_path(tmp_path: Path) -> None:
    """A file is opened by its path and closed at its end."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(SNAPSHOT)
    assert list(read_rdb(path)) == KEYS
    assert list(read_rdb(str(path))) == KEYS
    with read_rdb(path) as reader:
        assert reader.name == str(path)


def test_missing_file(tmp_path: Path) -> None:
    """A file that cannot be opened is an OSError at the call."""
    with pytest.raises(FileNotFoundError):
        read_rdb(tmp_path / "none.rdb")


def test_bytes() -> None:
    """Bytes, a bytearray and a memoryview can be read."""
    for source in (SNAPSHOT, bytearray(SNAPSHOT), memoryview(SNAPSHOT)):
        assert list(read_rdb(source)) == KEYS


def test_open_file(tmp_path: Path) -> None:
    """An open file is read from its position, and left open."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"before" + SNAPSHOT)
    for buffering in (0, -1):
        with path.open("rb", buffering=buffering) as file:
            file.seek(6)
            assert list(read_rdb(file)) == KEYS
            assert not file.closed


def test_files_that_cannot_seek() -> None:
    """A pipe, a decompressor, a socket and a file that returns single bytes can be read."""
    compressed = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(SNAPSHOT)))
    reading, writing = os.pipe()
    thread = threading.Thread(target=_write_all, args=(writing,))
    thread.start()
    with open(reading, "rb") as pipe:
        assert list(read_rdb(pipe)) == KEYS
    thread.join()
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("rb") as file:
        with theirs:
            theirs.sendall(SNAPSHOT)
        assert list(read_rdb(file)) == KEYS
    assert list(read_rdb(compressed)) == KEYS
    assert list(read_rdb(ChunkedReader(SNAPSHOT))) == KEYS


def _write_all(descriptor: int) -> None:
    with open(descriptor, "wb") as pipe:
        pipe.write(SNAPSHOT)


OPENERS = [
    (gzip.compress, gzip.open),
    (partial(bz2.compress, compresslevel=1), bz2.open),
    (lzma.compress, lzma.open),
]


def _corrupt(data: bytes, cut: bool) -> io.BytesIO:
    """Truncate compressed data at two thirds, or change their last bytes, the checksum."""
    return io.BytesIO(data[: len(data) * 2 // 3] if cut else data[:-8] + b"\xa5" * 8)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "recover"])
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "changed"])
@pytest.mark.parametrize(("compress", "opener"), OPENERS, ids=["gzip", "bz2", "lzma"])
def test_broken_decompressor(
    compress: Callable[[bytes], bytes],
    opener: Callable[[BinaryIO], BinaryIO],
    cut: bool,
    strict: bool,
) -> None:
    """Corrupt compressed data are an error of the snapshot, after all records before it."""
    content = random.Random(4).randbytes(600 << 10)
    body = b"".join(
        b"\x00\x06%06d\x44\x00" % i + content[i * 1024 : i * 1024 + 1024] for i in range(600)
    )
    broken = _corrupt(compress(b"REDIS0004" + body + b"\xff"), cut)
    reader = read_rdb(opener(broken), strict=strict)
    keys: list[bytes] = []
    reason = ""
    try:
        keys.extend(record.key for record in reader)
        reason = reader.losses[-1].reason
    except RdbParseError as error:
        assert strict
        reason = error.reason
    assert "cannot be read further" in reason
    assert keys == [b"%06d" % number for number in range(len(keys))]
    assert len(keys) > 300


def test_broken_deflate() -> None:
    """An error of zlib is an error of the snapshot."""
    data = bytearray(gzip.compress(b"REDIS0004" + b"\x00\x01k\x3f" + b"abc" * 21 + b"\xff"))
    data[10] |= 0x06  # an invalid type of block
    with pytest.raises(RdbParseError, match="cannot be read further.*invalid block type"):
        list(read_rdb(gzip.open(io.BytesIO(data))))


def test_no_decompressor() -> None:
    """The error for a compressed file names the function that opens it."""
    for data, opener in (
        (gzip.compress(SNAPSHOT), "gzip.open"),
        (bz2.compress(SNAPSHOT), "bz2.open"),
        (lzma.compress(SNAPSHOT), "lzma.open"),
    ):
        with pytest.raises(RdbParseError, match=opener):
            read_rdb(data)


def test_system_errors() -> None:
    """An error of the operating system while reading is raised as it is."""

    class Failing(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise TimeoutError("timed out")

    with pytest.raises(TimeoutError):
        read_rdb(Failing(), strict=False)


def test_text_file(tmp_path: Path) -> None:
    """A file in text mode is a TypeError that says what to do."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"REDIS0003\xff")
    with path.open(encoding="latin-1") as file:
        with pytest.raises(TypeError, match="returns str.*open it in binary mode"):
            read_rdb(file)  # type: ignore[call-overload]  # the mistake


def test_live_source() -> None:
    """A record from a socket is returned before the socket is closed."""
    ours, theirs = socket.socketpair()
    value = b"\x00\x01k\x80" + struct.pack(">I", 1 << 16) + bytes(1 << 16)
    ours.settimeout(20)
    with ours, theirs, ours.makefile("rb") as file:
        thread = threading.Thread(target=theirs.sendall, args=(b"REDIS0004" + value * 3,))
        thread.start()
        assert next(read_rdb(file)).key == b"k"
        thread.join()


def test_non_blocking_file() -> None:
    """A non-blocking file without data is an error, not the end of the file."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "wb"), open(reading, "rb", buffering=0) as file:
        with pytest.raises(BlockingIOError):
            read_rdb(file)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"REDIS00", "this is not an RDB file: it starts with b'REDIS00'"),
        (b"ELFELFELFELF", "this is not an RDB file"),
        (b"REDIS0000\xff", "RDB version 0 is not known"),
        (b"REDIS00-1\xff", "this is not an RDB file"),
    ],
)
def test_header(data: bytes, reason: str) -> None:
    """A file that is not an RDB file, or of an unknown version, is an error at the call."""
    with pytest.raises(RdbParseError, match=reason) as caught:
        read_rdb(data, name="this.rdb")
    assert (caught.value.file, caught.value.offset) == ("this.rdb", 0)


@pytest.mark.parametrize("version", range(1, 13))
def test_versions(version: int) -> None:
    """All versions from 1 to 12 are read; from 5 on they have a checksum."""
    data = b"REDIS%04d\xfe\x00\x00\x01k\x01v\xff" % version
    reader = read_rdb(data + (bytes(8) if version >= 5 else b""))
    assert list(reader) == [KeyRecord(0, b"k", b"v")]
    assert reader.checksum == ("not computed" if version >= 5 else "none")


def test_wrong_checksum() -> None:
    """A wrong checksum is an error after all records, and shows both checksums."""
    data = make_file(b"\x00\x01k\x01v")
    changed = data.replace(b"\x01v", b"\x01w")
    reader = read_rdb(changed)
    assert next(reader) == KeyRecord(0, b"k", b"w")
    stored = int.from_bytes(data[-8:], "little")
    computed = crc64(changed[:-8])
    with pytest.raises(RdbParseError) as caught:
        next(reader)
    assert caught.value.reason == (
        f"the checksum is {stored:016x}, but that of the file's bytes is {computed:016x}"
    )
    assert caught.value.offset == len(data) - 8
    assert reader.checksum == "wrong"


def test_error_names_the_place(tmp_path: Path) -> None:
    """An error names the file, the byte and the key."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(make_file(b"\x00\x01k\x01v", b"\x0d\x05wrong\x02ab"))
    reader = read_rdb(path)
    assert next(reader) == KeyRecord(0, b"k", b"v")
    with pytest.raises(RdbParseError) as caught:
        next(reader)
    assert caught.value.key == b"wrong"
    assert caught.value.offset == 9 + 5 + 7
    assert str(caught.value) == (
        f"{path}, byte 21, key b'wrong': a ziplist is truncated or points beyond its end"
    )


def test_unknown_type_is_named() -> None:
    """An unknown type or opcode is an error that names it and the version."""
    for byte in (8, 26, 0x80, 0xF3):
        with pytest.raises(
            RdbParseError, match=f"byte {byte:#04x} is neither an opcode.* version 11"
        ):
            list(read_rdb(make_file(bytes([byte]) + b"\x01k\x01v")))
    with pytest.raises(RdbParseError, match="byte 0x17 is neither an opcode.* version 80"):
        list(read_rdb(b"VALKEY080\x17\x01k\x01v\xff" + bytes(8)))


def test_old_module() -> None:
    """The value of a module of type 6 cannot be skipped, and the error says so."""
    with pytest.raises(RdbParseError, match="type 6"):
        list(read_rdb(make_file(b"\x06\x01k" + MODULE_ID + b"\x00")))


# -------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"databases": 7}, {b"zset", b"hash", b"zset2", b"module", b"big"}),
        ({"databases": [0, 3]}, {b"a", b"b", b"list", b"set"}),
        ({"keys": "z*"}, {b"zset", b"zset2"}),
        ({"keys": b"?"}, {b"a", b"b"}),
        ({"types": "zset"}, {b"zset", b"zset2"}),
        ({"types": ["string", "module"]}, {b"a", b"b", b"module", b"big"}),
        ({"types": ["hash", "list"], "databases": {0}}, {b"list"}),
        ({"databases": []}, set()),
    ],
)
def test_filter(options: ReadOptions, wanted: set[bytes]) -> None:
    """Only the requested keys are returned, and the checksum is still verified."""
    reader = read_rdb(SNAPSHOT, **options)
    assert list(reader) == [record for record in KEYS if record.key in wanted]
    assert reader.checksum == "ok"


def test_rejected_values_are_not_decoded() -> None:
    """A malformed value that the filter rejects is not an error."""
    data = make_file(b"\x0d\x05wrong\x02ab", b"\x00\x01k\x01v")
    assert list(read_rdb(data, keys="k")) == [KeyRecord(0, b"k", b"v")]


def test_unknown_type_in_filter() -> None:
    """A type that Redis does not have is a ValueError that names the types."""
    with pytest.raises(ValueError, match="Unknown types.*zset"):
        read_rdb(SNAPSHOT, types="sorted_set")  # type: ignore[arg-type]  # the mistake


def test_one_pattern() -> None:
    """Several patterns are a TypeError that says what keys= takes."""
    with pytest.raises(TypeError, match="keys= takes one pattern"):
        read_rdb(SNAPSHOT, keys=["a*"])  # type: ignore[call-overload]  # the mistake


def test_raw() -> None:
    """A raw value has exactly the bytes of the value, and its payload decodes to the value."""
    raw = list(read_rdb(SNAPSHOT, raw=True))
    assert [(r.database, r.key, r.expiry, r.idle, r.frequency) for r in raw] == [
        (r.database, r.key, r.expiry, r.idle, r.frequency) for r in KEYS
    ]
    assert [decode_dump(r.value.dump()) for r in raw] == [r.value for r in KEYS]
    assert raw[0].value == RawValue(0, b"\x01A", 11)
    assert [record.value.type_name for record in raw] == [
        *("string", "string", "list", "set", "zset", "hash", "zset", "module", "string")
    ]
    assert list(read_rdb(ChunkedReader(SNAPSHOT), raw=True)) == raw


def test_progress(tmp_path: Path) -> None:
    """Progress is reported while reading, with the size of the file if it is known."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(SNAPSHOT)
    seen: list[tuple[int, int | None]] = []
    list(read_rdb(path, progress=lambda done, size: seen.append((done, size))))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    from_bytes: list[tuple[int, int | None]] = []
    list(
        read_rdb(
            ChunkedReader(SNAPSHOT), progress=lambda done, size: from_bytes.append((done, size))
        )
    )
    assert [seen[-1], from_bytes[-1]] == [(len(SNAPSHOT), len(SNAPSHOT)), (len(SNAPSHOT), None)]


def test_closing(tmp_path: Path) -> None:
    """A reader closes its file if it is left early or closed unread."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(SNAPSHOT)
    with read_rdb(path) as reader:
        assert next(reader) == KEYS[0]
    unread = read_rdb(path)
    unread.close()


@pytest.mark.parametrize("strict", [True, False])
def test_nothing_after_closing(tmp_path: Path, strict: bool) -> None:
    """A closed reader has no more records, even those that were in its buffer."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(SNAPSHOT)
    for source in (path, SNAPSHOT):
        reader = read_rdb(source, strict=strict)
        assert next(reader) == KEYS[0]
        reader.close()
        assert list(reader) == []
        unread = read_rdb(source, strict=strict)
        unread.close()
        assert list(unread) == []


def test_memory_is_bounded_by_the_largest_value(tmp_path: Path) -> None:
    """A file of 128 MB with values of 1 MB is read in a few megabytes."""
    value = b"\x00\x01k\x80" + struct.pack(">I", 1 << 20) + bytes(1 << 20)
    path = tmp_path / "dump.rdb"
    with path.open("wb") as file:
        file.write(b"REDIS0004")
        for _ in range(128):
            file.write(value)
        file.write(b"\xff")
    code = (
        "import resource, sys; from telstate_rdb import read_rdb\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = sum(1 for _ in read_rdb(sys.argv[1]))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    count, kilobytes = map(int, output.stdout.split())
    assert count == 128
    assert kilobytes < 16 * 1024


def test_import_is_light() -> None:
    """A first record needs neither NumPy nor the extras, nor the parts of this package for other uses."""
    code = (
        "import sys, telstate_rdb\n"
        "next(telstate_rdb.read_rdb(b'REDIS0003\\0\\3key\\5value\\xff'))\n"
        "unused = ['_filter', '_recovery', '_resync', 'lazy', 'writer', 'atomic_file', 'summary', 'cli']\n"
        "names = ['numpy', 'rich', 'click', 'rdbtools', *('telstate_rdb.' + name for name in unused)]\n"
        "print([name for name in names if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert output.stdout == "[]\n"
