"""Listing the pickles in snapshots, and rewriting them as MessagePack."""

from __future__ import annotations

import collections
import datetime
import os
import pickle
import subprocess
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telstate import (
    ENCODING_PICKLE,
    KeyType,
    PickledKey,
    RdbParseError,
    RdbWriteError,
    TelescopeState,
    compare,
    find_pickles,
    rewrite_pickles,
    set_allow_pickle,
)
from telstate_rdb import Hash, KeyRecord, List, RdbWriter, SortedSet, read_rdb
from telstate_testing import peer_python
from telstate_testing.observations import write_old_observation


@pytest.fixture
def safe() -> Iterator[None]:
    """The safe policy, for reading again what was written."""
    set_allow_pickle("safe")
    yield
    set_allow_pickle(False)


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """An observation as of before March 2019."""
    path = tmp_path / "old.rdb"
    write_old_observation(path)
    return path


def test_old_observation(old_file: Path, tmp_path: Path, safe: None) -> None:
    """All values but the instance of a class are rewritten, and none changes."""
    listed = {key.name: key for key in find_pickles(old_file)}
    assert set(listed) == {record.key.decode() for record in read_rdb(old_file)}
    names = list(listed)
    assert names.index("1600000000_cal_shared_9") < names.index("1600000000_cal_shared_10")
    catalogue = listed.pop("1600000000_obs_catalogue")
    assert (catalogue.refused, catalogue.types) == (1, {})
    assert "katpoint.catalogue.Catalogue is not plain data" in str(catalogue)
    assert all(key.refused == key.kept == 0 and key.reason is None for key in listed.values())
    assert str(listed["1600000000_cal_antlist"]) == "1600000000_cal_antlist: list"
    assert listed["1600000000_cal_product_G"].types == {"complex64 (2, 2)": 1}
    report = rewrite_pickles(old_file, tmp_path / "new.rdb")
    assert report.left == [catalogue] == find_pickles(tmp_path / "new.rdb")
    assert report.keys == len(listed) + 1
    assert report.rewritten == sum(key.count for key in listed.values())
    old, new = map(TelescopeState.from_snapshot, (old_file, tmp_path / "new.rdb"))
    assert compare(old, new) == []
    set_allow_pickle(False)
    for key in listed:
        new.get(key)
    assert new["sub_dump_rate"] == 0.125
    # Once more, there is nothing to do.
    assert rewrite_pickles(tmp_path / "new.rdb", tmp_path / "again.rdb").rewritten == 0
    assert (tmp_path / "again.rdb").read_bytes() == (tmp_path / "new.rdb").read_bytes()


class Runs:
    """Unpickling an instance of this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def shared(levels: int) -> list[Any]:
    """Return a list that takes a few bytes a level as a pickle, and twice as much a level without references."""
    value: list[Any] = ["x"]
    for _ in range(levels):
        value = [value, value]
    return value


def endless() -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


KEPT: dict[str, Any] = {
    "date": datetime.datetime(2019, 3, 1),
    "set": {1, 2},
    "ordered": collections.OrderedDict(a=1),
    "large": 1 << 70,
    "objects": np.array([None, 1], object),
    "many": shared(40),
    "text": ["x" * 100_000] * 100_000,
    "bytes": [bytearray(100_000)] * 100_000,
    "endless": endless(),
}


def test_what_stays(tmp_path: Path) -> None:
    """A value that MessagePack lacks, or that would take up far more, stays a pickle, and nothing is executed."""
    ts = TelescopeState()
    for name, value in KEPT.items():
        ts.add(name, value, immutable=True, encoding=ENCODING_PICKLE)
    ts.add("runs", Runs(tmp_path / "ran"), immutable=True, encoding=ENCODING_PICKLE)
    ts.add("mixed", 1, ts=1.0)
    ts.add("mixed", 1.5, ts=2.0, encoding=ENCODING_PICKLE)
    ts.add("mixed", {1}, ts=3.0, encoding=ENCODING_PICKLE)
    ts.add("mixed", Runs(tmp_path / "ran"), ts=4.0, encoding=ENCODING_PICKLE)
    ts.set_indexed("indexed", ("a", 1), (1, "b"), encoding=ENCODING_PICKLE)
    ts.set_indexed("indexed", "c", 1)
    ts["plain"] = 1
    report = rewrite_pickles(ts, tmp_path / "new.rdb")
    assert not (tmp_path / "ran").exists()
    found = {key.name: key for key in report.pickles}
    assert {key.name for key in report.left} == {*KEPT, "runs", "mixed"}
    assert all((found[name].kept, found[name].refused) == (1, 0) for name in KEPT)
    assert found["runs"].reason is not None
    mixed = found["mixed"]
    assert mixed == PickledKey(
        "mixed", KeyType.MUTABLE, 3, 4, {"float": 1, "set": 1}, 1, 1, mixed.reason
    )
    assert str(mixed).startswith("mixed: float (1), set (1), refused (1). It stays a pickle: ")
    assert found["indexed"] == PickledKey("indexed", KeyType.INDEXED, 1, 2, {"tuple": 1})
    assert "plain" not in found
    new = TelescopeState.from_snapshot(tmp_path / "new.rdb")
    assert {one.name for one in compare(ts, new)} == {"mixed", "indexed"}
    assert new["indexed"] == {("a", 1): (1, "b"), "c": 1}
    assert new.get_range("mixed", 0, 2.5) == [(1, 1.0), (1.5, 2.0)]
    assert [key.name for key in find_pickles(new)] == [key.name for key in report.left]
    assert [key.name for key in find_pickles(ts, ["m*", "large"])] == ["large", "many", "mixed"]


VALUES: list[Any] = [
    None,
    True,
    -0.0,
    float("nan"),
    complex(-0.0, float("nan")),
    b"bytes\xff",
    "caf\xe9",
    [1, (2, {"a": [3.5]})],
    {1: "a", ("b", 2): None},
    np.float32(1.5),
    np.bool_(True),
    np.arange(6, dtype=">i2").reshape(2, 3),
    np.asfortranarray(np.ones((2, 3), np.complex64)),
    np.array([(1, 2.5)], [("a", "<i4"), ("b", "<f8", (1,))]),
    np.array(["a", "bc"]),
    np.datetime64("2019-03-01"),
    np.zeros((0, 3)),
    np.array(5),
]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_changes(protocol: int, tmp_path: Path) -> None:
    """Values come back with their types, their bits and their order, at whatever protocol they were written."""
    path = tmp_path / "old.rdb"
    with RdbWriter(path) as writer:
        for number, value in enumerate(VALUES):
            writer.write(b"%02d" % number, pickle.dumps(value, protocol))
    assert rewrite_pickles(path, tmp_path / "new.rdb").left == []
    new = TelescopeState.from_snapshot(tmp_path / "new.rdb")
    assert find_pickles(new) == []
    for number, original in enumerate(VALUES):
        found = new[f"{number:02}"]
        value = pickle.loads(pickle.dumps(original, protocol))  # NumPy changes the order of bytes
        assert (type(found), repr(found)) == (type(value), repr(value))
        if isinstance(value, np.ndarray):
            assert (found.dtype, found.flags.f_contiguous) == (
                value.dtype,
                value.flags.f_contiguous,
            )


def test_deep_nesting(tmp_path: Path) -> None:
    """A value that is nested as deeply as every release of msgpack permits is rewritten."""
    with RdbWriter(tmp_path / "old.rdb") as writer:
        writer.write(b"deep", b"\x80\x02" + b"]" * 500 + b"a" * 499 + b".")
    report = rewrite_pickles(tmp_path / "old.rdb", tmp_path / "new.rdb")
    assert (report.rewritten, report.left) == (1, [])
    value = TelescopeState.from_snapshot(tmp_path / "new.rdb")["deep"]
    for _ in range(499):
        (value,) = value
    assert value == []


def test_everything_else_is_copied(tmp_path: Path) -> None:
    """Databases, expiries, keys of other programs and values that look like pickles come along."""
    path = tmp_path / "old.rdb"
    later = 4_000_000_000_000
    pickled = pickle.dumps([1], 2)
    scored = SortedSet((b"12345678" + pickled,), array("d", [1.0]))
    with RdbWriter(path) as writer:
        writer.write(b"list", List((pickled,)))
        writer.write(b"scored", scored)
        writer.write(b"text", b"hello")
        writer.write(b"a", pickled, later)
        writer.write(b"a", pickled, database=3)
        writer.write(b"expiring", Hash({b"\xff\x01": pickled}, {b"\xff\x01": later}))
    report = rewrite_pickles(path, tmp_path / "new.rdb")
    assert [(key.name, key.database) for key in report.pickles] == [
        ("a", 0),
        ("a", 3),
        ("expiring", 0),
        ("text", 0),
    ]
    assert [key.name for key in report.left] == ["text"]
    assert list(read_rdb(tmp_path / "new.rdb")) == [
        KeyRecord(0, b"list", List((pickled,))),
        KeyRecord(0, b"scored", scored),
        KeyRecord(0, b"text", b"hello"),
        KeyRecord(0, b"a", b"\xff\x91\x01", later),
        KeyRecord(3, b"a", b"\xff\x91\x01"),
        KeyRecord(0, b"expiring", Hash({b"\xff\x01": b"\xff\x91\x01"}, {b"\xff\x01": later})),
    ]


def test_both_encodings_of_a_sample(tmp_path: Path) -> None:
    """A sample that is there as a pickle and in MessagePack is there once afterwards."""
    ts = TelescopeState()
    ts.add("gain", 1.5, ts=1.0)
    ts.add("gain", 1.5, ts=1.0, encoding=ENCODING_PICKLE)
    rewrite_pickles(ts, tmp_path / "new.rdb")
    assert TelescopeState.from_snapshot(tmp_path / "new.rdb").get_range("gain", 0) == [(1.5, 1.0)]


def test_damaged_file(old_file: Path, tmp_path: Path) -> None:
    """A damaged file is an error that names it, and the new file is not written."""
    content = bytearray(old_file.read_bytes())
    (tmp_path / "cut.rdb").write_bytes(content[: len(content) // 2])
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.rdb").write_bytes(content)
    out = tmp_path / "out.rdb"
    out.write_bytes(b"old")
    for name in ("cut.rdb", "flipped.rdb"):
        with pytest.raises(RdbParseError, match=name):
            rewrite_pickles(tmp_path / name, out)
        with pytest.raises(RdbParseError, match=name):
            find_pickles(tmp_path / name)
    assert out.read_bytes() == b"old"
    with pytest.raises(FileNotFoundError):
        find_pickles(tmp_path / "none.rdb")


def test_empty_file(tmp_path: Path) -> None:
    """Nothing is replaced by a file without keys."""
    with RdbWriter(tmp_path / "empty.rdb"):
        pass
    out = tmp_path / "out.rdb"
    out.write_bytes(b"old")
    with pytest.raises(RdbWriteError, match="There are no keys to save"):
        rewrite_pickles(tmp_path / "empty.rdb", out)
    assert out.read_bytes() == b"old"


def test_own_file(old_file: Path, safe: None) -> None:
    """A file can be rewritten in place."""
    before = TelescopeState.from_snapshot(old_file)
    assert rewrite_pickles(os.fspath(old_file), old_file).rewritten > 0
    assert compare(before, TelescopeState.from_snapshot(old_file)) == []
    assert len(find_pickles(old_file)) == 1


def test_server(newest_port: int, old_file: Path, tmp_path: Path) -> None:
    """The pickles on a server are listed and rewritten as those of a file."""
    with TelescopeState(f"127.0.0.1:{newest_port}") as ts:
        ts.load_from_file(old_file)
        assert find_pickles(ts) == find_pickles(old_file)
        report = rewrite_pickles(ts, tmp_path / "new.rdb")
        assert report == rewrite_pickles(old_file, tmp_path / "same.rdb")
        both = [TelescopeState.from_snapshot(tmp_path / f"{name}.rdb") for name in ("new", "same")]
        assert compare(both[0], both[1]) == []


# Run by the peer's Python: writes pickles, or prints what it reads in a file without pickles.
PEER = """
import sys
import numpy
import katsdptelstate
from katsdptelstate.rdb_writer import RDBWriter

action, path = sys.argv[1:]
ts = katsdptelstate.TelescopeState()
if action == "write":
    def add(*args, **named):
        ts.add(*args, encoding=katsdptelstate.ENCODING_PICKLE, **named)

    add("config", {"a": [1, (2.5, None)], b"b": numpy.float32(1.5)}, immutable=True)
    add("bytes", b"\\xff", immutable=True)
    add("matrix", numpy.asfortranarray(numpy.arange(6).reshape(2, 3)), immutable=True)
    for number in range(3):
        add("gain", number / 7, ts=1.6e9 + number)
        add("mask", numpy.arange(4) == number, ts=1.6e9 + number)
    with RDBWriter(path) as writer:
        writer.save(ts)
else:
    ts.load_from_file(path)
for key in ts.keys():
    found = ts[key] if ts.is_immutable(key) else ts.get_range(key, st=0)
    print(key, repr(found), isinstance(found, numpy.ndarray) and found.flags.f_contiguous)
"""


@pytest.mark.slow
@pytest.mark.skipif(peer_python() is None, reason="there is no katsdptelstate")
def test_peer(tmp_path: Path) -> None:
    """What katsdptelstate wrote as pickles, it reads without them after they were rewritten."""

    def run(action: str, path: Path, **environment: str) -> str:
        command = [str(peer_python()), "-W", "ignore", "-c", PEER, action, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    written = run("write", tmp_path / "old.rdb", KATSDPTELSTATE_ALLOW_PICKLE="1")
    report = rewrite_pickles(tmp_path / "old.rdb", tmp_path / "new.rdb")
    assert (report.keys, report.rewritten, report.left) == (5, 9, [])
    assert run("read", tmp_path / "new.rdb") == written
