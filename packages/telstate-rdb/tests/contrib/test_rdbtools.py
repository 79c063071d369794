"""Callbacks of rdbtools get the same calls from our reader as from the parser of rdbtools."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anycrc
import attrs
import pytest
from rdb_data import NO_SAMPLES, SAMPLES, SHARED_DATA, sample_rows

import telstate_rdb
from telstate_rdb import (
    Hash,
    List,
    RdbParseError,
    RdbWriter,
    Set,
    SortedSet,
    Stream,
    StreamEntry,
    StreamId,
    Value,
)
from telstate_rdb._bulk.encode_strings import encode_length, encode_string
from telstate_rdb._packed.intset import encode_intset
from telstate_rdb._packed.ziplist import encode_ziplist
from telstate_rdb.contrib import rdbtools as rdbtools
from telstate_rdb.contrib.rdbtools import Callback
from telstate_rdb.dump import crc64

HELPERS = Path(__file__).parents[1]
Call = tuple[str, tuple[Any, ...], dict[str, Any]]
METHODS = [name for name in vars(Callback) if not name.startswith("_")]


class Recorder:
    """A callback that records every call, and requests the bytes of modules."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Callable[..., bool]:
        if name not in METHODS:
            raise AttributeError(name)

        def method(*arguments: Any, **named: Any) -> bool:
            self.calls.append((name, arguments, named))
            return name == "start_module"

        return method


def our_calls(path: Path) -> list[Call]:
    """Drive a recorder from our reader."""
    recorder = Recorder()
    rdbtools.drive(path, recorder)
    return recorder.calls


def their_calls(peer: str, *paths: Path) -> list[list[Call]]:
    """Return the calls of the parser of rdbtools, for each file."""
    command = [peer, str(HELPERS / "rdb_peer_calls.py"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found: list[list[Call]] = pickle.loads(done.stdout)
    return found


def comparable(calls: list[Call]) -> list[str]:
    """Format calls so that types and the bits of floats count, and the order in `info` does not."""
    return [
        repr((name, arguments, {key: _ordered(value) for key, value in named.items()}))
        for name, arguments, named in calls
    ]


def _ordered(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, dict) else value


# -------------------------------------------------------------------------------------- samples

DIFFERENT = {
    "librdb/invalid_chksum_v8.rdb": "rdbtools looks at no checksum",
    "librdb/script_legacy.rdb": "it has integers that are stored as text, as no Redis does",
    "rdb/zipmap_big_len.rdb": "rdbtools takes the mark for 'not known' as the number of fields",
    "redis-rdb-tools/redis_40_with_module.rdb": "it has bytes after its end",
    "redis/corrupt_ziplist.rdb": "its ziplist is broken on purpose",
}
READABLE = [row["file"] for row in sample_rows() if "REDIS0001" <= row["header"] <= "REDIS0009"]


@NO_SAMPLES
def test_samples(peer: str) -> None:
    """Every sample that rdbtools reads makes the same calls."""
    names = [name for name in READABLE if name not in DIFFERENT]
    assert len(names) > 60
    for name, theirs in zip(names, their_calls(peer, *(SAMPLES / n for n in names)), strict=True):
        assert comparable(our_calls(SAMPLES / name)) == comparable(theirs), name


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data are not there")
def test_real_snapshot(peer: str) -> None:
    """The snapshot of a real observation makes the same calls."""
    path = SHARED_DATA / "telstate" / "1testdata_sdp_l0.rdb"
    (theirs,) = their_calls(peer, path)
    assert comparable(our_calls(path)) == comparable(theirs)


# ------------------------------------------------------------------------ files made for the purpose


def text(data: bytes) -> bytes:
    """A string that is stored as it is, number or not."""
    return encode_length(len(data)) + data


def zipmap(*texts: bytes) -> bytes:
    """A zipmap of fields and values."""
    parts = [
        b"%c%b%b" % (len(one), b"\0" if place % 2 else b"", one) for place, one in enumerate(texts)
    ]
    return text(b"%c%b\xff" % (len(texts) // 2, b"".join(parts)))


def double(number: float) -> bytes:
    """A score of 8 bytes."""
    return struct.pack("<d", number)


INF, NAN = float("inf"), float("nan")
MODULE = encode_length(0x8C060A37A2DA5001)
MODULE_VALUES = (
    b"\x01\x05\x01" + encode_length(2**64 - 3) + b"\x02\x07"
    b"\x03\0\0\xc0\x3f\x04" + double(-2.5) + b"\x05\x03str\x05\xc0\x0c\0"
)  # fmt: skip
FILES = {
    "nothing": b"",
    "strings": b"\0\xc1\x39\x30\xc0\x63" b"\0\x01q\x0299" b"\0\x01r\0" b"\0\x03-1x\x02-0",
    "use": b"\xf8\x05\0\x01a\x01x" b"\xf9\xff\0\x01b\x01x" b"\xfd\0\0\0\x60\xf8\x40\xff\0\x01c\0",
    "expiries": b"".join(
        b"\xfc%b\0%b\0" % (time.to_bytes(8, "little"), encode_string(b"%d" % time))
        for time in (0, 1, 999, 10**12 + 123, 221925052800999, 221925052801000, 10**17, 2**63 - 1)
    ),
    "databases": b"\xfe\x05\xfb\x01\0\0\x01a\0" b"\xfe\x07\xfb\0\0\xfa\x01n\xc0\x05\xfa\x01n\x01v",
    "aux": b"\xfa\x04lang\x02en\xfa\x01i\xc2\0\0\x01\0",
    "lists": b"\x01\x01l\x04" + text(b"12") + b"\xc0\x0c" + text(b"x" * 70) + b"\0"
    + b"\x0a\x01m" + text(encode_ziplist([b"x", b"12", b"007", b"-1", b"", b"9" * 19])),
    "quicklist": b"\x0e\x01l\x03" + text(encode_ziplist([b"a", b"1"]))
    + text(encode_ziplist([b"b" * 300])) + encode_string(encode_ziplist([b"c"])),
    "sets": b"\x02\x01s\x02\xc0\x05" + text(b"6") + b"\x0b\x01i" + text(encode_intset([1, -70000])),
    "hashes": b"\x04\x01h\x02" + b"\xc1\x44\xfd\xc2\x70\x11\x01\0" + text(b"f") + text(b"7")
    + b"\x0d\x01z" + text(encode_ziplist([b"1", b"2", b"a", b"b"])),
    "zipmap": b"\x09\x01z" + zipmap(b"12", b"12", b"a", b"-5", b"b", b"007", b"c", b"1.5", b"d", b""),
    "text scores": b"\x03\x01z\x05" + text(b"a") + b"\xfd" + text(b"b") + b"\xfe" + text(b"c")
    + b"\xff" + text(b"d") + b"\x013" + b"\xc0\x05" + b"\x03-.5",
    "scores": b"\x05\x01z\x04" + text(b"a") + double(INF) + b"\xc0\x05" + double(-0.0)
    + text(b"n") + double(NAN) + text(b"x") + double(0.1),
    "packed scores": b"\x0c\x01z" + text(encode_ziplist(
        [b"a", b"-inf", b"5", b"-0", b"c", b"1.5", b"d", b"inf", b"e", b"1e300", b"f", b"nan", b"g", b"7"]
    )),
    "modules": b"\xf8\x05\x07\x01m" + MODULE + MODULE_VALUES + b"\x07\xc0\x11" + MODULE + b"\0"
    + b"\xf7" + MODULE + b"\x02\x02" + MODULE_VALUES,
}  # fmt: skip


def make_file(path: Path, body: bytes) -> Path:
    """Put header, a database and end around records."""
    select = b"" if body[:1] in (b"\xfe", b"\xfa", b"") else b"\xfe\x00"
    data = b"REDIS0009" + select + body + b"\xff"
    path.write_bytes(data + crc64(data).to_bytes(8, "little"))
    return path


def test_made_files(peer: str, tmp_path: Path) -> None:
    """Files with rare forms make the same calls too, with the same types and bits of floats."""
    paths = [make_file(tmp_path / f"{name}.rdb", body) for name, body in FILES.items()]
    for path, theirs in zip(paths, their_calls(peer, *paths), strict=True):
        assert comparable(our_calls(path)) == comparable(theirs), path.stem


# ------------------------------------------------------------------- files that rdbtools cannot read


def all_kinds() -> list[Value]:
    """Values of all kinds, small and large."""
    texts = tuple(b"%05d-member" % number for number in range(700))
    fields = dict(zip(texts, reversed(texts)))
    ids = [StreamId(1000 + number // 7, number) for number in range(130)]
    entries = tuple(StreamEntry(one, ((b"field", b"%d" % one.sequence),)) for one in ids)
    stream = Stream(entries, ids[-1], ids[0], StreamId(0, 0), len(entries), ())
    return [
        b"string", b"123", List(texts[:5]), List(texts), Set(texts[:5]), Set((b"1", b"2")), Set(texts),
        SortedSet(texts[:5], array("d", [1, 2.5, INF, -INF, 1e300])),
        SortedSet(texts, array("d", range(700))), Hash(dict(list(fields.items())[:5])), Hash(fields), stream,
    ]  # fmt: skip


def write_all(path: Path, version: int) -> Path:
    """Write all kinds of values in a version."""
    with RdbWriter(path, version) as writer:
        for number, value in enumerate(all_kinds()):
            writer.write(b"key %d" % number, value, expiry=4 * 10**12 if number % 3 else None)
    return path


@pytest.fixture(scope="session")
def peer_with_ours(peer: str) -> dict[str, str]:
    """The environment variables with which the peer's Python can import our package."""
    version = subprocess.run(
        [peer, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True
    ).stdout.split()
    if version != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(f"the peer's Python is {'.'.join(version)}: it cannot import our dependencies")
    modules = (telstate_rdb, anycrc, attrs)
    paths = dict.fromkeys(str(Path(str(module.__file__)).parents[1]) for module in modules)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def tools(peer: str, environment: dict[str, str], whose: str, path: Path) -> dict[str, Any]:
    """Run rdbtools' tools on a file."""
    command = [peer, str(HELPERS / "rdb_peer_tools.py"), whose, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_tools_of_rdbtools(peer: str, peer_with_ours: dict[str, str], tmp_path: Path) -> None:
    """JSON, diff, protocol and memory report are the same for old files, and for new ones as for old."""
    old = write_all(tmp_path / "old.rdb", 9)
    expected = tools(peer, peer_with_ours, "theirs", old)
    assert tools(peer, peer_with_ours, "ours", old) == expected
    for version in (10, 11, 12, 80):
        found = tools(peer, peer_with_ours, "ours", write_all(tmp_path / "new.rdb", version))
        for kind in ("JSONCallback", "DiffCallback", "ProtocolCallback", "KeyValsOnlyCallback"):
            assert without_packing(found[kind]) == without_packing(expected[kind]), (version, kind)
        kinds = [[line[1], line[2], line[5]] for line in found["MemoryCallback"]]
        assert kinds == [[line[1], line[2], line[5]] for line in expected["MemoryCallback"]]


def test_default_files(peer: str, tmp_path: Path) -> None:
    """rdbtools reads the files that are written by default, compressed or not, as we read them."""
    plain = [value for value in all_kinds() if not isinstance(value, Stream)]
    paths = [tmp_path / "plain.rdb", tmp_path / "compressed.rdb"]
    for path in paths:
        with RdbWriter(path, compress=path.stem == "compressed") as writer:
            for number, value in enumerate(plain):
                writer.write(b"%d" % number, value, expiry=10**12, database=number % 3)
    for path, theirs in zip(paths, their_calls(peer, *paths), strict=True):
        assert comparable(our_calls(path)) == comparable(theirs)
        assert theirs[-1][0] == "end_rdb"


def without_packing(output: str) -> str:
    """Remove the fields that describe how values are packed."""
    return "\n".join(line for line in output.splitlines() if "listpack" not in line)


@NO_SAMPLES
@pytest.mark.parametrize("row", sample_rows(), ids=lambda row: str(row["file"]))
def test_every_sample_is_driven(row: dict[str, str]) -> None:
    """Files of all versions are read, or refused as the reader refuses them."""
    path = SAMPLES / row["file"]
    try:
        expected = sum(1 for _ in telstate_rdb.read_rdb(path))
    except RdbParseError:
        with pytest.raises(RdbParseError):
            our_calls(path)
        return
    starts = {"set", *(name for name in METHODS if name.startswith("start_"))}
    starts -= {"start_rdb", "start_database"}
    calls = our_calls(path)
    keys = [call for call in calls if call[0] in starts and call[1][0] is not None]
    assert len(keys) == expected
    assert [calls[0][0], calls[-1][0]] == ["start_rdb", "end_rdb"]


def test_options_of_the_reader(tmp_path: Path) -> None:
    """Keys that the filter excludes make no calls."""
    path = write_all(tmp_path / "a.rdb", 10)
    recorder = Recorder()
    rdbtools.drive(path, recorder, types="string", keys="key [01]")
    assert [call[0] for call in recorder.calls] == [
        "start_rdb", "start_database", "set", "set", "end_database", "end_rdb"
    ]  # fmt: skip


def test_a_broken_value_names_key_and_file(tmp_path: Path) -> None:
    """A malformed value raises an error with its key and the file."""
    path = make_file(tmp_path / "a.rdb", b"\x0a\x01k\x03abc")
    with pytest.raises(RdbParseError, match=r"a.rdb, key b'k'"):
        our_calls(path)
