"""Snapshots are read in place: what is long stays in the file, and everything else is as in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from archive_server import ArchiveServer

from telstate import RdbParseError, TelescopeState, TelstateError, aio, open_store
from telstate.overview import describe_snapshot
from telstate_backends.store import Packed
from telstate_rdb import StoredValue, lazy

Opener = Callable[[str], TelescopeState]


def open_asyncio(source: str) -> TelescopeState:
    """Open a snapshot with asyncio, and return a synchronous telescope state of the same store."""
    ats = asyncio.run(aio.TelescopeState.from_snapshot(source))
    return TelescopeState(ats.backend.to_sync())  # type: ignore[attr-defined]  # a store in memory


@pytest.fixture(params=[TelescopeState.from_snapshot, open_store, open_asyncio])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Everything that opens a snapshot by its path."""
    function: Opener = request.param
    return function


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A snapshot with long and short values."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts["weights"] = numpy.arange(1000.0)
    ts.set_indexed("solutions", "m000", numpy.ones(500))
    ts.add_many("gain", range(20_000), [float(time) for time in range(20_000)])
    ts.save(tmp_path / "observation.rdb")
    return str(tmp_path / "observation.rdb")


def in_file(ts: TelescopeState) -> set[bytes]:
    """Return the keys whose values are in the file."""
    store = ts.backend.store
    assert store is not None
    return {
        key
        for key, stored in store.data.items()
        if type(stored) is Packed and stored.in_file is not None
    }


LONG = {b"weights", b"solutions", b"gain"}


def test_long_values_stay_in_the_file(opener: Opener, path: str) -> None:
    """Values are read from the file, and what is written is kept in memory over it."""
    ts = opener(path)
    assert in_file(ts) == LONG
    assert ts["n_chans"] == 4096 and ts["gain"] == 19_999
    assert ts.get_range("gain", st=10, et=12) == [(10, 10.0), (11, 11.0)]
    numpy.testing.assert_array_equal(ts["weights"], numpy.arange(1000.0))
    assert in_file(ts) == LONG
    ts.add("gain", -1, ts=1e9)
    ts["new"] = 1
    ts.delete("weights")
    assert ts["gain"] == -1 and "weights" not in ts and ts["new"] == 1
    assert in_file(ts) == {b"solutions"}
    assert TelescopeState.from_snapshot(path)["gain"] == 19_999


@pytest.mark.skipif(lazy.walk is None, reason="no extension")
def test_saving_copies(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved again is copied without being decoded, and is what it was."""
    ts = TelescopeState.from_snapshot(path, keys=["weights", "gain", "n_chans"])
    expected = TelescopeState()
    expected.load_from_file(path, keys=["weights", "gain", "n_chans"])
    expected.save(tmp_path / "expected.rdb")
    monkeypatch.delattr(StoredValue, "decode")
    assert ts.save(tmp_path / "copy.rdb") == 3
    assert (tmp_path / "copy.rdb").read_bytes() == (tmp_path / "expected.rdb").read_bytes()
    ats = aio.TelescopeState(aio.memory.MemoryBackend.from_sync(ts.backend))  # type: ignore[arg-type]  # in memory
    assert asyncio.run(ats.save(tmp_path / "again.rdb", keys=["weights"])) == 1
    assert in_file(ts) == {b"weights", b"gain"}


def test_saving_over_the_file(path: str) -> None:
    """A telescope state is saved over the file that its values are in."""
    ts = TelescopeState.from_snapshot(path)
    before = Path(path).read_bytes()
    assert ts.save(path) == 4
    assert Path(path).read_bytes() == before
    ts["weights_2"] = ts["weights"]
    assert ts.save(path) == 5
    numpy.testing.assert_array_equal(TelescopeState.from_snapshot(path)["weights_2"], ts["weights"])


def test_a_changed_file(opener: Opener, path: str, tmp_path: Path) -> None:
    """A file that is changed is an error that says so; it is not saved, and the target stays."""
    ts = opener(path)
    os.truncate(path, 3000)
    with pytest.raises(RdbParseError, match="observation.rdb, .*'weights'.*was changed"):
        ts["weights"]
    target = tmp_path / "target.rdb"
    target.write_bytes(b"before")
    with pytest.raises(TelstateError, match="was changed"):
        ts.save(target)
    assert target.read_bytes() == b"before"
    assert ts["n_chans"] == 4096


def test_a_deleted_file(opener: Opener, path: str) -> None:
    """A file that is deleted can still be read."""
    ts = opener(path)
    os.unlink(path)
    assert ts["gain"] == 19_999 and len(ts["weights"]) == 1000


def test_other_sources_are_in_memory(path: str) -> None:
    """A file that the caller opened, and what is loaded into another store, are read as a whole."""
    with open(path, "rb") as file:
        assert in_file(TelescopeState.from_snapshot(file)) == set()
    assert in_file(TelescopeState.from_snapshot(path, strict=False)) == set()
    ts = TelescopeState()
    ts.load_from_file(path)
    os.truncate(path, 0)
    assert in_file(ts) == set() and len(ts["weights"]) == 1000


def test_an_address(opener: Opener, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is downloaded stays in its temporary file, and its description is that of the file."""
    monkeypatch.setenv("no_proxy", "*")
    expected = describe_snapshot(path)
    with ArchiveServer({"/observation.rdb": Path(path).read_bytes()}) as server:
        ts = opener(f"{server.url}/observation.rdb")
        found = describe_snapshot(f"{server.url}/observation.rdb")
    assert in_file(ts) == LONG
    assert ts["gain"] == 19_999 and len(ts["weights"]) == 1000
    assert found == expected
