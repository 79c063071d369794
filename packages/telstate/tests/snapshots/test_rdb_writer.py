"""`RDBWriter` and `load_from_file` on every synchronous backend."""

import gzip
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from telstate import KeyType, RdbParseError, RdbWriteError, RDBWriter, TelescopeState, aio


def fill(ts: TelescopeState) -> None:
    """Write a key of each kind, and a long sensor."""
    ts["n_chans"] = 4096
    ts["weights"] = numpy.arange(12, dtype=">f4").reshape(3, 4)
    ts.set_indexed("peak", ("J1939-6342", 17), 14.9)
    for number in range(1000):
        ts.add("elevation", number / 7, ts=1.6e9 + number)


def test_real_snapshot(ts: TelescopeState, real_snapshot: Path) -> None:
    """The snapshot of a real observation has its known kinds and values."""
    assert ts.load_from_file(real_snapshot) == 199
    kinds = [ts.key_type(key) for key in ts.keys()]
    assert kinds.count(KeyType.IMMUTABLE) == 77
    assert kinds.count(KeyType.MUTABLE) == 122
    assert ts["sdp_l0_n_chans"] == 4096
    assert ts["stream_name"] == "sdp_l0"
    assert ts["1606356963_obs_activity"] == b"stop"
    assert ts["sdp_l0_bls_ordering"].nbytes > 250_000
    view = ts.view("sdp_l0").view("1606356963").view("1606356963_sdp_l0")
    assert view["int_time"] == 7.996616971962617
    assert view["chunk_info"]["correlator_data"]["shape"][1:] == (4096, 7080)


def test_round_trip_of_a_real_snapshot(
    ts: TelescopeState, real_snapshot: Path, tmp_path: Path
) -> None:
    """A snapshot that is loaded and saved again has the same bytes for each key."""
    ts.load_from_file(real_snapshot)
    with RDBWriter(tmp_path / "again.rdb") as writer:
        writer.save(ts)
    assert (writer.keys_written, writer.keys_failed) == (199, 0)
    again = TelescopeState()
    assert again.load_from_file(tmp_path / "again.rdb") == 199
    assert again.keys() == ts.keys()
    for key in ts.keys():
        if ts.key_type(key) is KeyType.MUTABLE:
            expected = ts.get_range(key, st=0, return_encoded=True)
            assert again.get_range(key, st=0, return_encoded=True) == expected
        else:
            assert again.get(key, return_encoded=True) == ts.get(key, return_encoded=True)


def test_sources(ts: TelescopeState, real_snapshot: Path, tmp_path: Path) -> None:
    """A source can be text, a Path or an open file, which need not be seekable."""
    assert TelescopeState().load_from_file(str(real_snapshot)) == 199
    with open(real_snapshot, "rb") as file:
        assert TelescopeState().load_from_file(file) == 199
    packed = gzip.compress(real_snapshot.read_bytes())
    with gzip.open(io.BytesIO(packed)) as unpacked:
        assert TelescopeState().load_from_file(unpacked) == 199


async def test_invalid_sources() -> None:
    """A source of another type raises a TypeError, synchronous and asyncio."""
    none: Any = [b"REDIS0009"]
    with pytest.raises(TypeError, match="A list is not an RDB file: pass a path"):
        TelescopeState.from_snapshot(none)
    with pytest.raises(TypeError, match="A list is not an RDB file: pass a path"):
        await aio.TelescopeState.from_snapshot(none)


def test_broken_snapshot(ts: TelescopeState, real_snapshot: Path, tmp_path: Path) -> None:
    """A truncated file, or one that is not an RDB file, raises an error with its name."""
    for name, content in {
        "short.rdb": real_snapshot.read_bytes()[:-100],
        "text.rdb": b"no RDB file at all",
        "empty.rdb": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RdbParseError, match=name):
            ts.load_from_file(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        ts.load_from_file(tmp_path / "missing.rdb")


def test_save_from_several_stores(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Several saves go into one file; missing and repeated keys are logged and counted."""
    one, two = TelescopeState(), TelescopeState()
    fill(one)
    two["a_k"] = 1
    with RDBWriter(tmp_path / "both.rdb") as writer:
        keys: list[str | bytes] = ["n_chans", "nope", b"peak"]
        writer.save(one, keys=iter(keys))
        writer.save(two.view("a").backend)
        writer.save(one, keys=["n_chans"])
    assert (writer.keys_written, writer.keys_failed) == (3, 2)
    assert "'nope'" in caplog.text
    again = TelescopeState()
    again.load_from_file(tmp_path / "both.rdb")
    assert again.keys() == ["a_k", "n_chans", "peak"]


def test_write_key(tmp_path: Path) -> None:
    """`write_key` writes a payload of DUMP."""
    ts = TelescopeState()
    fill(ts)
    payload = ts.backend.dump(b"elevation")
    assert payload is not None
    with RDBWriter(tmp_path / "one.rdb") as writer:
        writer.write_key(b"elevation", payload)
    again = TelescopeState()
    again.load_from_file(tmp_path / "one.rdb")
    assert again.get_range("elevation", st=0) == ts.get_range("elevation", st=0)


def test_no_file_without_keys_or_after_an_error(tmp_path: Path) -> None:
    """Without keys no file is written, and an error leaves the old file unchanged."""
    with RDBWriter(tmp_path / "empty.rdb") as writer:
        writer.save(TelescopeState())
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.rdb"
    old.write_bytes(b"old")
    ts = TelescopeState()
    fill(ts)
    with pytest.raises(ZeroDivisionError), RDBWriter(old) as writer:
        writer.save(ts)
        1 / 0  # noqa: B018  # an error of the caller between two saves
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_save_refuses_invalid_arguments(tmp_path: Path) -> None:
    """`save` refuses a single string as keys, a writer that is not open, and anything but a store."""
    with pytest.raises(TypeError, match="single name"), RDBWriter(tmp_path / "x.rdb") as writer:
        writer.save(TelescopeState(), keys="abc")
    with pytest.raises(RdbWriteError, match="with statement"):
        RDBWriter(tmp_path / "x.rdb").save(TelescopeState())
    with pytest.raises(TypeError, match="TelescopeState"), RDBWriter(tmp_path / "x.rdb") as writer:
        writer.save(3)  # type: ignore[arg-type]  # that it is refused is the test


def test_full_disk(tmp_path: Path) -> None:
    """If the disk is full, the error names the file, the old one stays, and no other is left."""
    target = tmp_path / "old.rdb"
    target.write_bytes(b"old")
    code = """
import resource, sys, numpy, telstate
sys.dont_write_bytecode = True  # Python would cache a part of a module
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
ts = telstate.TelescopeState()
for number in range(100):
    ts[f"k{number}"] = numpy.random.default_rng(number).bytes(100_000)
with telstate.RDBWriter(sys.argv[1]) as writer:
    writer.save(ts)
"""
    run = [sys.executable, "-c", code, str(target)]
    output = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert output.returncode == 1
    assert "RdbWriteError" in output.stderr and str(target) in output.stderr
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
