"""katsdptelstate reads the files of `RDBWriter` and `save`, from every backend, sync and asyncio."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
import redis

from telstate import RDBWriter, TelescopeState, aio
from telstate.aio.rdb_writer import RDBWriter as AsyncRDBWriter
from telstate_testing import RedisBinary, RedisServer, peer_python, redis_binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(peer_python() is None, reason="there is no katsdptelstate"),
]

# Run by the peer's Python: prints what it reads in each of the given files.
READ = """
import json, sys
import katsdptelstate

found = {}
for path in sys.argv[1:]:
    telstate = katsdptelstate.TelescopeState()
    count = telstate.load_from_file(path)
    assert count == len(telstate.keys())
    found[path] = {
        key: [
            telstate.key_type(key).name,
            repr(telstate.get_range(key, st=0))
            if telstate.key_type(key).name == "MUTABLE"
            else repr(telstate[key]),
        ]
        for key in telstate.keys()
    }
json.dump(found, sys.stdout)
"""


def fill(ts: TelescopeState) -> None:
    """Write short and long keys of each kind, so that a server uses each of its encodings."""
    ts["n_chans"] = 4096
    ts["weights"] = numpy.arange(3, dtype=">f4")
    ts["text"] = "µ" * 20_000
    for number in range(3):
        ts.add("gain", number / 7, ts=1.6e9 + number)
        ts.set_indexed("peak", ("J1939-6342", number), [number, None])
    for number in range(300):
        ts.add("elevation", number / 7, ts=1.6e9 + number)
        ts.set_indexed("table", number, "x" * 100)


def expected(ts: TelescopeState) -> dict[str, list[str]]:
    """Return what the peer should read for each key."""
    found = {}
    for key in ts.keys():
        kind = ts.key_type(key)
        assert kind is not None
        value = ts.get_range(key, st=0) if kind.name == "MUTABLE" else ts[key]
        found[key] = [kind.name, repr(value)]
    return found


def read(*paths: Path) -> dict[str, Any]:
    """Return what the peer reads in files."""
    run = [str(peer_python()), "-c", READ, *map(str, paths)]
    # The peer must not import our packages.
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, env={})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def same(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> bool:
    """Return whether both read the same, in any order of sub-keys."""
    return {key: [kind, sorted(text)] for key, (kind, text) in found.items()} == {
        key: [kind, sorted(text)] for key, (kind, text) in wanted.items()
    }


def test_the_peer_reads_what_each_backend_saves(ts: TelescopeState, tmp_path: Path) -> None:
    """The peer reads all that `save` and `RDBWriter` write, from any backend."""
    fill(ts)
    wanted = expected(ts)
    paths = [tmp_path / "saved.rdb", tmp_path / "written.rdb"]
    assert ts.save(paths[0]) == 7
    with RDBWriter(paths[1]) as writer:
        writer.save(ts, keys=["n_chans", "weights"])
        writer.save(ts, keys=["text", "gain", "peak", "elevation", "table"])
    found = read(*paths)
    assert [path.name for path in paths if not same(found[str(path)], wanted)] == []


async def test_the_peer_reads_what_is_saved_under_asyncio(
    ats: aio.TelescopeState, tmp_path: Path
) -> None:
    """The same holds for the asyncio classes."""
    source = TelescopeState()
    fill(source)
    source.save(tmp_path / "source.rdb")
    paths = [tmp_path / "saved.rdb", tmp_path / "written.rdb"]
    assert await ats.load_from_file(tmp_path / "source.rdb") == 7
    assert await ats.save(paths[0]) == 7
    async with AsyncRDBWriter(paths[1]) as writer:
        await writer.save(ats)
    found = read(*paths)
    wanted = expected(source)
    assert [path.name for path in paths if not same(found[str(path)], wanted)] == []


@pytest.mark.parametrize("binary", redis_binaries(), ids=str)
def test_the_peer_reads_dump_payloads_of_a_server(binary: RedisBinary, tmp_path: Path) -> None:
    """The peer reads files made of a server's DUMP payloads, in any encoding."""
    path = tmp_path / "dumped.rdb"
    with RedisServer(binary) as server, redis.Redis(port=server.port) as client:
        with TelescopeState(server.url) as ts:
            fill(ts)
            wanted = expected(ts)
        with RDBWriter(path) as writer:
            for key in sorted(client.scan_iter()):
                payload = client.dump(key)
                assert isinstance(payload, bytes)
                writer.write_key(key, payload)
    assert writer.keys_written == 7
    assert same(read(path)[str(path)], wanted)
    again = TelescopeState.from_snapshot(path)
    assert same(expected(again), wanted)
