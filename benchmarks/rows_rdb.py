"""Reading and writing snapshots.

Reading is compared with rdbtools and a callback that does nothing; our reader returns whole records.
Writing is done from records and from DUMP payloads, and compared with katsdptelstate for payloads.

One file has 80 MB and is made up here, in a version that rdbtools reads: 200,000 strings, half of them
text, a sorted set of a million members, and 20,000 sorted sets of 10 to 30 members. Texts and small sets
differ in length and content and are compressed. The other file is made by Redis 6.2: strings, hashes, lists
and sets of various sizes. Our wheel contains a decompressor in C, and katsdptelstate's extra ``rdb`` installs
python-lzf, also in C. A row says so in its title if both use Python instead.
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

# Quick runs have a hundredth of these.
STRINGS, MEMBERS, SETS = 200_000, 1_000_000, 20_000
VALUE_SIZES = range(12, 30)  # of the values of members, which follow 8 bytes of time
Compress = Callable[[bytes], bytes | None]
KINDS = ("strings", "large", "small")
SYLLABLES = (
    "ka ro mee ska tel sta ant beam cal del fre gai hor int lam mod noi pol ref sen tar vis".split()
)


def words(chooser: random.Random, least: int, most: int) -> bytes:
    """Return a text of made-up words of various lengths."""
    count = chooser.randint(least, most)
    names = ("".join(chooser.choices(SYLLABLES, k=chooser.randint(1, 4))) for _ in range(count))
    return " ".join(names).encode()


def length(size: int) -> bytes:
    """Return the length of a string as RDB files have it."""
    return bytes([size]) if size < 64 else struct.pack(">H", 0x4000 | size)


def string(value: bytes, compress: Compress) -> bytes:
    """Return a string as RDB files have it, compressed where that makes it shorter."""
    packed = compress(value)
    if packed is None:
        return length(len(value)) + value
    return b"\xc3" + length(len(packed)) + length(len(value)) + packed


def strings(chooser: random.Random, compress: Compress, part: int) -> Iterator[bytes]:
    """Yield the records of the strings: every second one is text, the others are random bytes."""
    for number in range(STRINGS // part):
        key = b"string:%06d" % number
        value = chooser.randbytes(100) if number % 2 else words(chooser, 12, 40)
        yield bytes([0, len(key)]) + key + string(value, compress)


def large_set(chooser: random.Random, compress: Compress, part: int) -> Iterator[bytes]:
    """Yield the parts of the record of the large sorted set, the greatest member first."""
    yield b"\x05\x03big\x80" + struct.pack(">I", MEMBERS // part)
    for number in range(MEMBERS // part, 0, -1):
        yield b"\x27" + struct.pack(">d", 1.5e9 + number) + chooser.randbytes(31) + bytes(8)


def small_sets(chooser: random.Random, compress: Compress, part: int) -> Iterator[bytes]:
    """Yield the records of the small sorted sets: ziplists, of various lengths, compressed."""
    for number in range(SETS // part):
        size = chooser.choice(VALUE_SIZES)
        count = chooser.randint(10, 30)
        before, entries = 0, b""
        for i in range(count):
            member = struct.pack(">d", 1.5e9 + i / 16) + chooser.randbytes(size)
            # An entry: the size of the one before, its own encoding, the content. 0xf1 is the number 0.
            entries += bytes([before, len(member)]) + member + bytes([len(member) + 2, 0xF1])
            before = 2
        head = struct.pack("<IIH", 11 + len(entries), 8 + len(entries), 2 * count)
        key = b"small:%05d" % number
        yield bytes([12, len(key)]) + key + string(head + entries + b"\xff", compress)


def write(path: Path, *kinds: str, part: int) -> None:
    """Write a snapshot without a checksum."""
    makers: dict[str, Callable[[random.Random, Compress, int], Iterator[bytes]]] = {
        "strings": strings,
        "large": large_set,
        "small": small_sets,
    }
    lzf: Any = importlib.import_module("telstate_rdb.lzf")
    chooser = random.Random(1)
    with path.open("wb") as file:
        file.write(b"REDIS0009\xfe\x00")
        for kind in kinds:
            file.writelines(makers[kind](chooser, lzf.compress_lzf, part))
        file.write(b"\xff" + bytes(8))


def shared(side: Side, *kinds: str) -> Path:
    """Return the path of the snapshot with these kinds of key, which our side makes for both."""
    path = Path(side.settings["shared"], f"{'-'.join(kinds)}.rdb")
    if not path.exists():
        write(path, *kinds, part=100 if side.is_quick else 1)
    return path


def from_server(side: Side) -> Path | None:
    """Return the path of a snapshot that a real server made, which the peer can read, if there is one."""
    path = Path(side.settings["shared"], "server.rdb")
    if side.is_ours and not path.exists():
        testing: Any = importlib.import_module("telstate_testing")
        readable = [one for one in testing.redis_binaries() if one.version < (7,)]
        if readable:
            redis: Any = importlib.import_module("redis")
            with testing.RedisServer(readable[0]) as server:
                with redis.Redis.from_url(server.url) as client:
                    fill(client, 200 if side.is_quick else 20_000)
                    client.save()
                (server.folder / "dump.rdb").rename(path)
    return path if path.exists() else None


def fill(client: Any, count: int) -> None:
    """Write so many strings, hashes, lists and sets each, of various sizes, to a server."""
    chooser = random.Random(1)
    for start in range(0, count, 1000):
        with client.pipeline(transaction=False) as p:
            for number in range(start, min(start + 1000, count)):
                size = chooser.choice((100, 300) if number % 50 == 0 else (1, 3, 10, 30))
                texts = [words(chooser, 1, 12) for _ in range(size)]
                p.set(f"text:{number}", b"; ".join(texts))
                p.set(f"number:{number}", chooser.randrange(10 ** chooser.randrange(1, 18)))
                p.hset(f"hash:{number}", mapping={f"f{i}": one for i, one in enumerate(texts)})
                p.rpush(f"list:{number}", *texts)
                p.sadd(f"set:{number}", *texts)
                p.sadd(f"numbers:{number}", *(chooser.randrange(10**6) for _ in texts))
            p.execute()


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
        return "no decompressor in C"
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


@row("rdb: read 80 MB of strings, a large and small sorted sets", at_least=5, rounds=5)
def read_all(side: Side) -> Timed:
    path = shared(side, *KINDS)
    return reader(side, path)


@row("rdb: the same, decompressed in Python on both sides", rounds=5)
def read_all_in_python(side: Side) -> Timed:
    path = shared(side, *KINDS)
    return reader(side, path, compiled=False)


@row("rdb: read 200,000 strings, half of them text", rounds=5)
def read_strings(side: Side) -> Timed:
    path = shared(side, "strings")
    return reader(side, path)


def define_read(how: str, **options: Any) -> None:
    """Define the row for reading the strings with options that the peer lacks."""

    @row(f"rdb: read 200,000 strings {how}", rounds=5)
    def read_with_options(side: Side) -> Timed:
        if not side.is_ours:
            return "has no such option"
        return reader(side, shared(side, "strings"), **options)


define_read("as raw records", raw=True)
define_read("and keep none of them", keys="nothing*")
define_read("and recover from damage", strict=False)


@row("rdb: read a sorted set of a million members", rounds=5)
def read_large(side: Side) -> Timed:
    path = shared(side, "large")
    return reader(side, path)


@row("rdb: read 20,000 compressed sorted sets of 10 to 30 members", rounds=5)
def read_small(side: Side) -> Timed:
    path = shared(side, "small")
    return reader(side, path)


@row("rdb: read strings, hashes, lists and sets that a server saved", rounds=5)
def read_from_server(side: Side) -> Timed:
    path = from_server(side)
    return reader(side, path) if path else "no server older than Redis 7"


# ---------------------------------------------------------------------------------- writing


def define_write(what: str, *kinds: str) -> None:
    """Define the row for writing the records of a file that another row reads."""

    @row(f"rdb: write {what}", rounds=5)
    def write_records(side: Side) -> Timed:
        if not side.is_ours:
            return "writes no records"
        rdb = importlib.import_module("telstate_rdb")
        records = list(rdb.read_rdb(shared(side, *kinds)))

        def ours() -> None:
            with rdb.RdbWriter(side.folder / "written.rdb") as writer:
                writer.write_records(records)

        return ours


define_write("80 MB of strings, a large and small sorted sets, from records", *KINDS)
define_write("200,000 strings, from records", "strings")
define_write("a sorted set of a million members, from records", "large")
define_write("20,000 sorted sets of 10 to 30 members, from records", "small")


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
