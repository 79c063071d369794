"""Reading and writing snapshots.

Reading is compared with rdbtools and a callback that does nothing; our reader returns whole records.
Writing is done from records and from DUMP payloads, and compared with katsdptelstate for payloads.

The file has 80 MB and is what Redis 6.2 would save (rdbtools reads nothing newer): 200,000 strings of 100
bytes, half of them compressible, a sorted set of a million members, and 20,000 sorted sets of 20 members.
Strings and small sets are compressed. Our wheel contains a decompressor in C, and rdbtools uses python-lzf,
also in C, if there is a compiler to install it. A row says so in its title if both use Python instead.
"""

import importlib
import importlib.util
import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from unittest import mock

from harness import Side, Timed, row

STRINGS = 200_000
MEMBERS = 1_000_000
SETS = 20_000
SET_SIZE = 20
VALUE_SIZE = 28  # of a member: timestamp and value
KINDS = ("strings", "large", "small")


def strings(chooser: random.Random) -> Iterator[bytes]:
    """Yield the records of the strings; Redis compresses the compressible ones in the same way."""
    for number in range(STRINGS):
        key = b"string:%06d" % number
        if number % 2:
            value = b"\x40\x64" + chooser.randbytes(100)
        else:  # It holds the number twice, "abcdefgh" ten times and "tail".
            value = b"\xc3\x1c\x40\x64\x07%08d\xc0\x07\x07abcdefgh\xe0\x3f\x07\x03tail" % number
        yield bytes([0, len(key)]) + key + value


def large_set(chooser: random.Random) -> Iterator[bytes]:
    """Yield the parts of the record of the large sorted set, the greatest member first."""
    yield b"\x05\x03big\x80" + struct.pack(">I", MEMBERS)
    for number in range(MEMBERS, 0, -1):
        yield b"\x27" + struct.pack(">d", 1.5e9 + number) + chooser.randbytes(31) + bytes(8)


def small_sets(chooser: random.Random) -> Iterator[bytes]:
    """Yield the records of the small sorted sets: ziplists, compressed as Redis does it.

    Nine bytes of a member repeat in the next and are compressed: the score, the sizes and the start of the
    timestamp.
    """
    stride = VALUE_SIZE + 4
    size = 10 + SET_SIZE * stride + 1
    head = struct.pack("<IIH", size, size - 3, 2 * SET_SIZE)
    for number in range(SETS):
        members = [
            struct.pack(">d", 1.5e9 + i / 16) + chooser.randbytes(VALUE_SIZE - 8)
            for i in range(SET_SIZE)
        ]
        first = head + bytes([0, VALUE_SIZE]) + members[0] + bytes([VALUE_SIZE + 2, 0xF1, 2])
        first += bytes([VALUE_SIZE]) + members[1]
        data = b"".join(
            bytes([len(part) - 1]) + part for part in (first[i : i + 32] for i in range(0, 78, 32))
        )
        for member in members[2:]:
            data += bytes([0xE0, 0, stride - 1, VALUE_SIZE - 6]) + member[5:]
        data += bytes([1, VALUE_SIZE + 2, 0xF1, 0, 0xFF])
        key = b"small:%05d" % number
        sizes = struct.pack(">HH", 0x4000 | len(data), 0x4000 | size)
        yield bytes([12, len(key)]) + key + b"\xc3" + sizes + data


def write(path: Path, *kinds: str) -> None:
    """Write a snapshot without a checksum."""
    makers: dict[str, Callable[[random.Random], Iterator[bytes]]] = {
        "strings": strings,
        "large": large_set,
        "small": small_sets,
    }
    chooser = random.Random(1)
    with path.open("wb") as file:
        file.write(b"REDIS0009\xfe\x00")
        for kind in kinds:
            file.writelines(makers[kind](chooser))
        file.write(b"\xff" + bytes(8))


def modules_with_decompressor(path: Path, compiled: bool) -> dict[str, Any]:
    """Read a file with a new copy of our reader, which finds its C extension or not; return its modules."""
    with mock.patch.dict(sys.modules):
        for name in [name for name in sys.modules if name.partition(".")[0] == "telstate_rdb"]:
            del sys.modules[name]
        if not compiled:
            cast(dict[str, Any], sys.modules)["telstate_rdb._lzf"] = None  # Importing it fails.
        for _ in importlib.import_module("telstate_rdb").read_rdb(path):
            pass
        return {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] == "telstate_rdb"
        }


def reader(side: Side, path: Path, compiled: bool = True, **options: Any) -> Timed:
    """Return a function that reads a whole snapshot, decompressing in C or in Python."""
    if (
        compiled
        and importlib.util.find_spec("telstate_rdb._lzf" if side.is_ours else "lzf") is None
    ):
        return None
    if side.is_ours:
        modules = modules_with_decompressor(path, compiled)
        read_rdb = modules["telstate_rdb"].read_rdb

        def ours() -> None:
            # Imports inside functions must find the same copy of the package.
            with mock.patch.dict(sys.modules, modules):
                for _ in read_rdb(path, **options):
                    pass

        return ours
    rdbtools = importlib.import_module("rdbtools")

    def theirs() -> None:
        with mock.patch.object(rdbtools.parser, "HAS_PYTHON_LZF", compiled):
            rdbtools.RdbParser(rdbtools.RdbCallback(string_escape=None)).parse(str(path))

    return theirs


@row("rdb: read 80 MB of strings, a large and small sorted sets", at_least=5)
def read_all(side: Side) -> Timed:
    path = side.folder / "all.rdb"
    write(path, *KINDS)
    return reader(side, path)


@row("rdb: the same, decompressed in Python on both sides")
def read_all_in_python(side: Side) -> Timed:
    path = side.folder / "all-in-python.rdb"
    write(path, *KINDS)
    return reader(side, path, compiled=False)


@row("rdb: read 200,000 strings, half of them compressed")
def read_strings(side: Side) -> Timed:
    path = side.folder / "strings.rdb"
    write(path, "strings")
    return reader(side, path)


def define_read(how: str, **options: Any) -> None:
    """Define the row for reading the strings with options that the peer lacks."""

    @row(f"rdb: read 200,000 strings {how}")
    def read_with_options(side: Side) -> Timed:
        if not side.is_ours:
            return None
        path = side.folder / "strings.rdb"
        write(path, "strings")
        return reader(side, path, **options)


define_read("as raw records", raw=True)
define_read("and keep none of them", keys="nothing*")
define_read("and recover from damage", strict=False)


@row("rdb: read a sorted set of a million members")
def read_large(side: Side) -> Timed:
    path = side.folder / "large.rdb"
    write(path, "large")
    return reader(side, path)


@row("rdb: read 20,000 compressed sorted sets of 20 members")
def read_small(side: Side) -> Timed:
    path = side.folder / "small.rdb"
    write(path, "small")
    return reader(side, path)


@row("rdb: read a snapshot of telescope state, written by the peer")
def read_snapshot(side: Side) -> Timed:
    if "snapshot_version_6" not in side.settings:
        return None
    return reader(side, Path(side.settings["snapshot_version_6"]))


# ---------------------------------------------------------------------------------- writing


def define_write(what: str, *kinds: str) -> None:
    """Define the row for writing the records of a file that another row reads."""

    @row(f"rdb: write {what}")
    def write_records(side: Side) -> Timed:
        if not side.is_ours:
            return None
        rdb = importlib.import_module("telstate_rdb")
        path = side.folder / "source.rdb"
        write(path, *kinds)
        records = list(rdb.read_rdb(path))

        def ours() -> None:
            with rdb.RdbWriter(side.folder / "written.rdb") as writer:
                writer.write_records(records)

        return ours


define_write("80 MB of strings, a large and small sorted sets, from records", *KINDS)
define_write("200,000 strings, from records", "strings")
define_write("a sorted set of a million members, from records", "large")
define_write("20,000 sorted sets of 20 members, from records", "small")


def checksum(data: bytes) -> int:
    """Compute the checksum of a payload, slowly, because the sides have no library for it in common."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


@row("rdb: write 20,000 keys from DUMP payloads")
def write_payloads(side: Side) -> Timed:
    payload = b"\x00\x40\x64" + random.Random(1).randbytes(100) + b"\x09\x00"
    payload += checksum(payload).to_bytes(8, "little")
    keys = [b"string:%06d" % number for number in range(20_000)]
    path = side.folder / "payloads.rdb"
    if side.is_ours:
        make = importlib.import_module("telstate_rdb").RdbWriter
    else:
        make = importlib.import_module("katsdptelstate.rdb_writer").RDBWriter

    def run() -> None:
        with make(path) as writer:
            write_key = writer.write_dump if side.is_ours else writer.write_key
            for key in keys:
                write_key(key, payload)

    return run
