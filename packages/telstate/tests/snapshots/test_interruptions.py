"""An interrupted save or load leaves no part of a file, and no reply that a later call could take for its own.

`KeyboardInterrupt` is raised at one line after the other.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import redis
from conftest import needs_server

import telstate
import telstate_backends
import telstate_rdb
from telstate import TelescopeState
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.interruptions import interrupt

pytestmark = [
    needs_server,
    # A socket that is interrupted while it is made is closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PACKAGES = telstate, telstate_backends, telstate_rdb, redis
#: How many lines lie between two interruptions.
STEPS = [211, pytest.param(83, marks=pytest.mark.slow)]


def fill(ts: TelescopeState) -> None:
    """Write keys of each kind."""
    ts["a"], ts["b"] = 1, "two"
    ts.add("s", 3, ts=4.0)
    ts.set_indexed("i", 5, 6)


def check(ts: TelescopeState) -> None:
    """Check that replies belong to their keys."""
    assert (ts["a"], ts["b"], ts["s"], ts["i"]) == (1, "two", 3, {5: 6})
    assert ts.get_many(["b", "a"]) == {"b": "two", "a": 1}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("consistent", [False, True], ids=["plain", "consistent"])
def test_saving(newest: RedisBinary, tmp_path: Path, consistent: bool, step: int) -> None:
    """The file is the old one or the new one, whole."""
    path = tmp_path / "observation.rdb"
    with RedisServer(newest) as server, TelescopeState(server.url) as ts:
        with redis.Redis(port=server.port) as client:
            client.config_set("repl-diskless-sync-delay", 0)
        fill(ts)
        for at in itertools.count(1, step):
            path.write_bytes(b"old")
            came = interrupt(lambda: ts.save(path, consistent=consistent), at, *PACKAGES)
            assert list(tmp_path.iterdir()) == [path]
            if path.read_bytes() != b"old":
                with TelescopeState() as copy:
                    copy.load_from_file(path)
                    check(copy)
            check(ts)
            if not came:
                break
        assert path.read_bytes() != b"old"


@pytest.mark.parametrize("step", STEPS)
def test_loading(newest: RedisBinary, tmp_path: Path, step: int) -> None:
    """What has been loaded is right, and the rest comes the next time."""
    path = tmp_path / "observation.rdb"
    with TelescopeState() as source:
        fill(source)
        source.save(path)
    with RedisServer(newest) as server, TelescopeState(server.url) as ts:
        for at in itertools.count(1, step):
            ts.clear()
            came = interrupt(lambda: ts.load_from_file(path), at, *PACKAGES)
            found = ts.get_many(["a", "b"])
            assert found.items() <= {"a": 1, "b": "two"}.items()
            if not came:
                break
        check(ts)
