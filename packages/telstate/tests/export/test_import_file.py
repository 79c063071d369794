"""Files that are imported: their formats, keys that exist already, and malformed files."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from archive_server import TOKEN, ArchiveServer
from conftest import NEWEST, NO_NEWEST
from fakeredis import FakeRedis

from telstate import (
    ConnectionError,
    DatabaseCollisionError,
    DecodeError,
    ImmutableKeyError,
    KeysExistError,
    KeyType,
    RdbParseError,
    ReadOnlyError,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    TelescopeState,
    compare,
    export,
    import_file,
)
from telstate_rdb import RdbWriter
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.files import OneWayFile

LINES = b"""\
{"key": "n_chans", "value": 4096}
{"key": "gain", "time": 100.0, "value": 1.5}
{"key": "gain", "time": 110.0, "value": 2.0}
{"key": "peak", "sub_key": {"$tuple": ["a", 1]}, "value": 14.9}
"""


def filled() -> TelescopeState:
    """Return a telescope state with these lines."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts.add_many("gain", [1.5, 2.0], [100.0, 110.0])
    ts.set_indexed("peak", ("a", 1), 14.9)
    return ts


@pytest.fixture(
    params=[
        "memory",
        "fakeredis",
        *(NEWEST or NO_NEWEST),
        *(pytest.param(f"{name}-cluster", marks=pytest.mark.slow) for name in NEWEST[:1]),
    ]
)
def target(request: pytest.FixtureRequest, server_port: Callable[[str], int]) -> TelescopeState:
    """An empty telescope state on each backend in turn."""
    if request.param == "memory":
        return TelescopeState()
    if request.param == "fakeredis":
        return TelescopeState(RedisBackend(FakeRedis()))
    if request.param.endswith("-cluster"):
        ports = request.getfixturevalue("ports_of_cluster")(request.param.removesuffix("-cluster"))
        ts = TelescopeState(f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20")
    else:
        ts = TelescopeState(f"127.0.0.1:{server_port(request.param)}")
    request.addfinalizer(ts.close)
    return ts


def test_blank_lines() -> None:
    """Blank lines are skipped, also before the first row."""
    ts = TelescopeState()
    import_file(ts, io.BytesIO(b"\n" + LINES.replace(b"\n", b"\n \n")))
    assert compare(ts, filled()) == []


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "rdb"])
def test_formats(target: TelescopeState, tmp_path: Path, suffix: str) -> None:
    """The content says what a file is; progress counts up to all of it."""
    path, counts = tmp_path / f"out.{suffix}", []
    if suffix == "rdb":
        filled().save(path)
    else:
        export(filled(), path)
    other = path.rename(tmp_path / "renamed")
    report = import_file(target, other, progress=lambda *count: counts.append(count))
    assert (report.keys, report.existing) == (3, 0)
    assert compare(target, filled()) == []
    assert counts[-1] == ((3, 3) if suffix == "rdb" else (4, 4))


@pytest.mark.parametrize("content", ["jsonl", "gzip", "rdb", "rdb.gz"])
def test_open_files(tmp_path: Path, content: str) -> None:
    """A file that is open is read from its position; one that cannot seek is copied."""
    filled().save(tmp_path / "out.rdb")
    snapshot = (tmp_path / "out.rdb").read_bytes()
    data = {
        "jsonl": LINES,
        "gzip": gzip.compress(LINES),
        "rdb": snapshot,
        "rdb.gz": gzip.compress(snapshot),
    }[content]
    later = io.BytesIO(b"before" + data)
    later.seek(6)
    for file in (io.BytesIO(data), OneWayFile(data, most=7), later):
        ts = TelescopeState()
        assert import_file(ts, file).keys == 3
        assert compare(ts, filled()) == []


def test_address(tmp_path: Path) -> None:
    """A file is downloaded; a token is in no message."""
    filled().save(tmp_path / "out.rdb")
    files = {
        "/out.jsonl": LINES,
        "/out.gz": gzip.compress(LINES),
        "/out.rdb": (tmp_path / "out.rdb").read_bytes(),
        "/bad": LINES + b"{",
    }
    with ArchiveServer(files) as server:
        for path in ("/out.jsonl", "/out.gz", "/out.rdb"):
            ts = TelescopeState()
            assert import_file(ts, server.url + path).keys == 3
            assert compare(ts, filled()) == []
        with pytest.raises(DecodeError, match=r"127\.0\.0\.1:\d+/bad, line 5: ") as raised:
            import_file(TelescopeState(), f"{server.url}/bad?token={TOKEN}")
        assert TOKEN not in str(raised.value)


def test_named_pipe(tmp_path: Path) -> None:
    """A path may be that of a pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(LINES,))
    writer.start()
    ts = TelescopeState()
    assert import_file(ts, path).keys == 3
    writer.join()


def test_lines_of_other_programs() -> None:
    """Rows of a key need not be together, times may be text, the last value of several counts."""
    lines = """
        {"time": "2020-09-13T12:26:40Z", "key": "gain", "value": 1}
        {"key": "n_chans", "value": 1}
        {"key": "gain", "value": 2, "time": 1600000001}

        {"value": 2, "key": "n_chans"}
        {"key": "gain", "value": 3, "time": 1}
        {"key": "peak", "sub_key": null, "value": 1}
        {"key": "peak", "sub_key": null, "value": NaN}
        {"key": "\\u00e9", "value": 1, "time": null}
    """
    ts = TelescopeState()
    ts.add("gain", 5, ts=5)
    assert import_file(ts, io.BytesIO(lines.strip().encode()), existing="replace").keys == 4
    assert ts.get_range("gain", st=0) == [(3, 1.0), (1, 1.6e9), (2, 1.6e9 + 1)]
    assert (ts["n_chans"], ts["\xe9"]) == (2, 1)
    assert str(ts["peak"]) == "{None: nan}"


@pytest.mark.parametrize("as_snapshot", [False, True])
def test_existing_keys(target: TelescopeState, tmp_path: Path, as_snapshot: bool) -> None:
    """They are refused with their names, replaced, or kept, as a whole."""
    path = tmp_path / "out"
    path.write_bytes(LINES)
    if as_snapshot:
        filled().save(path)
    target["n_chans"] = 1024
    target.add("gain", 5.0, ts=5.0)
    target["other"] = 1
    with pytest.raises(KeysExistError, match="2 of 3 keys .*: 'gain', 'n_chans'") as raised:
        import_file(target, path)
    assert raised.value.keys == ("gain", "n_chans")
    assert isinstance(raised.value, ImmutableKeyError)
    assert "peak" not in target
    report = import_file(target, path, existing="keep")
    assert (report.keys, report.existing) == (1, 2)
    assert target["peak"] == {("a", 1): 14.9}
    assert (target["n_chans"], target.get_range("gain", st=0)) == (1024, [(5.0, 5.0)])
    report = import_file(target, path, existing="replace")
    assert (report.keys, report.existing) == (3, 3)
    target.delete("other")
    assert compare(target, filled()) == []
    with pytest.raises(ValueError, match="existing must be"):
        import_file(target, path, existing="merge")  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize("as_snapshot", [False, True])
def test_selected_keys(tmp_path: Path, as_snapshot: bool) -> None:
    """Keys are chosen and left out by name and by pattern; one that is not there is an error."""
    path = tmp_path / "out"
    path.write_bytes(LINES)
    if as_snapshot:
        filled().save(path)
    ts = TelescopeState()
    for keys in (["nope", "gain"], ["x*", "gain"]):
        with pytest.raises(KeyError, match=f"out has no key {keys[0]!r:.3}"):
            import_file(ts, path, keys)
    assert ts.keys() == []
    assert import_file(ts.view("v"), path, ["*n*", "peak"], exclude=["n*"]).keys == 2
    assert ts.keys() == ["gain", "peak"]
    with pytest.raises(ReadOnlyError, match="Cannot import a file"):
        import_file(ts.view("v", read_only=True), path)


MALFORMED = [
    (b"{", "line 5: Expecting property name"),
    (b"[1]", "line 5: it is not an object with a key and a value"),
    (b'{"key": "a"}', "line 5: it is not an object with a key and a value"),
    (b'{"key": "a", "value": 1, "unit": "m"}', "line 5: field 'unit' is not known"),
    (b'{"key": 1, "value": 1}', "line 5: .*int"),
    (b'{"key": "a", "value": {"$what": 1}}', r"line 5: '\$what' is not a mark"),
    (b'{"key": "a", "value": {"$encoded": 1}}', "line 5: "),
    (b'{"key": "a", "value": 1e400, "time": -1}', "line 5: .*-1"),
    (b'{"key": "a", "value": 1, "time": "noon"}', "line 5: .*noon"),
    (b'{"key": "a", "value": 36893488147419103232}', "line 5: "),
    (b'{"key": "a", "value": 1, "time": 1, "sub_key": 1}', "line 5: it has a time and a sub-key"),
    (b'{"key": "gain", "value": 1}', "line 5: Key 'gain' is of several kinds"),
    (b'{"key": "a", "value": ' + b"[" * 100_000, "line 5: "),
    (b"\xff\xfe", "line 5: "),
]


@pytest.mark.parametrize(("line", "message"), MALFORMED)
def test_malformed_lines(target: TelescopeState, line: bytes, message: str) -> None:
    """The error says where, and nothing is loaded."""
    with pytest.raises(DecodeError, match=f"^The file, {message}") as raised:
        import_file(target, io.BytesIO(LINES + line + b"\n"))
    assert str(raised.value).endswith(".")
    assert len(str(raised.value)) < 200
    assert target.keys() == []


def test_malformed_files(tmp_path: Path) -> None:
    """Truncated and other files are errors that name the file, and nothing is loaded."""
    ts, path = TelescopeState(), tmp_path / "out.jsonl.gz"
    path.write_bytes(gzip.compress(LINES * 1000)[:-20])
    with pytest.raises(DecodeError, match="out.jsonl.gz.*: .*(ended|not)"):
        import_file(ts, path)
    path.write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(DecodeError, match="out.jsonl.gz.*: .*(ended|not)"):
        import_file(ts, path)
    path.write_bytes(b"key,time,value\n")
    with pytest.raises(RdbParseError, match="out.jsonl.gz"):
        import_file(ts, path)
    path.write_bytes(b"")
    assert import_file(ts, path).keys == 0
    with pytest.raises(FileNotFoundError, match="nope"):
        import_file(ts, tmp_path / "nope")
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    path = tmp_path / "out.parquet"
    parquet.write_table(arrow.table({"key": ["a"], "value": [1]}), path)
    with pytest.raises(DecodeError, match="out.parquet: it was not exported by telstate"):
        import_file(ts, path)
    filled().save(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RdbParseError, match="out.parquet"):
        import_file(ts, path)
    export(filled(), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DecodeError, match="out.parquet: "):
        import_file(ts, path)
    assert ts.keys() == []


def test_several_databases(tmp_path: Path) -> None:
    """Keys of the same name in several databases are refused, unless one is chosen."""
    path = tmp_path / "two.rdb"
    with RdbWriter(path) as writer:
        for database in (0, 2):
            writer.write(b"n_chans", b"\xff" + bytes([database]), database=database)
    ts = TelescopeState()
    with pytest.raises(DatabaseCollisionError, match="0 and 2"):
        import_file(ts, path)
    assert ts.keys() == []
    assert import_file(ts, path, database=2).keys == 1
    assert ts["n_chans"] == 2


def test_server_without_memory(newest_port: int, tmp_path: Path) -> None:
    """A server that takes no more is an error; what `progress` counted is loaded."""
    path, counts = tmp_path / "out.jsonl", []
    with path.open("w") as file:
        for number in range(100):
            file.write(json.dumps({"key": f"k{number:03}", "value": "x" * 50_000}) + "\n")
    with redis.Redis(port=newest_port) as client, TelescopeState(f"127.0.0.1:{newest_port}") as ts:

        def fill(*count: int) -> None:
            counts.append(count)
            client.config_set("maxmemory", 1)

        try:
            with pytest.raises(RefusedError, match="maxmemory"):
                import_file(ts, path, progress=fill)
        finally:
            client.config_set("maxmemory", 0)
        assert counts == [(client.dbsize(), 100)]


def test_server_that_goes_away(newest: RedisBinary, tmp_path: Path) -> None:
    """A server that is killed in the middle is an error, once calls have been retried."""
    path, counts = tmp_path / "out.jsonl", []
    with path.open("w") as file:
        for number in range(100):
            file.write(json.dumps({"key": f"k{number:03}", "value": "x" * 50_000}) + "\n")
    with RedisServer(newest) as server:
        policy = RetryPolicy(seconds=0.1)
        ts = TelescopeState(RedisBackend.from_url(server.url, retry=policy))

        def kill(*count: int) -> None:
            counts.append(count)
            server.kill()

        with ts, pytest.raises(ConnectionError, match=str(server.port)):
            import_file(ts, path, progress=kill)
        assert len(counts) == 1 and 0 < counts[0][0] < counts[0][1] == 100


def test_long_keys(newest_port: int, tmp_path: Path) -> None:
    """A key that takes several operations is whole at the end, and replaces the one that was there."""
    path, source = tmp_path / "out.jsonl", TelescopeState()
    values: list[Any] = [float(number) for number in range(45_000)]
    source.add_many("gain", values, values)
    with source.pipeline() as p:
        for number in range(21_000):
            p.set_indexed("peak", number, number)
    export(source, path)
    with TelescopeState(f"127.0.0.1:{newest_port}") as ts:
        ts.add("gain", "old", ts=0.5)
        ts["peak"] = "old"
        assert import_file(ts, path, existing="replace").keys == 2
        assert ts.key_type("peak") is KeyType.INDEXED
        assert compare(ts, source) == []
