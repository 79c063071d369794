"""The commands export, dump and load: what they write and print, and what they refuse."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import needs_server
from state_command import COMMAND, Result, run, run_in_shell, run_on_terminal

from telstate import TelescopeState, compare, export
from telstate_backends import SetImmutable
from telstate_rdb import RdbWriter
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.observations import fill_observation


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of a small observation."""
    ts, path = TelescopeState(), tmp_path_factory.mktemp("observation") / "small.rdb"
    fill_observation(ts, antennas=2, channels=4, seconds=20)
    ts.save(path)
    return path


def address(port: int) -> str:
    """Return the address of a server."""
    return f"127.0.0.1:{port}"


def failed(result: Result, status: int = 2) -> str:
    """Check that a command ended with one line on standard error, and return it."""
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.endswith("\n") and result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet", "rdb"])
def test_there_and_back(observation: Path, newest_port: int, tmp_path: Path, suffix: str) -> None:
    """What is exported or dumped comes back into a server as it was."""
    original = TelescopeState.from_snapshot(observation)
    count, path = len(original.keys()), tmp_path / f"copy.{suffix}"
    if suffix == "rdb":
        assert run("dump", observation, path).stdout == f"keys\t{count}\n"
    else:
        result = run("export", observation, "-o", path)
        assert result.stdout.startswith(f"keys\t{count}\nrows\t")
    assert run("load", path, address(newest_port)).stdout == f"keys\t{count}\n"
    with TelescopeState(address(newest_port)) as ts:
        assert compare(ts, original) == []
    again = tmp_path / "again.rdb"
    result = run("dump", address(newest_port), again, "--consistent", "--json")
    assert json.loads(result.stdout) == {"keys": count}
    assert compare(TelescopeState.from_snapshot(again), original) == []


def test_csv(observation: Path, tmp_path: Path) -> None:
    """Times are ISO 8601, or seconds with --unix."""
    path = tmp_path / "out.csv"
    glob = "m000_pos_*_azim"
    result = run("export", observation, glob, "-o", path, "--json")
    lines = path.read_text().splitlines()
    assert json.loads(result.stdout)["rows"] == len(lines) - 1 > 0
    assert lines[1].split(",")[1] == "2020-09-13T12:26:40.000000Z"
    assert run("export", observation, glob, "-o", path, "--unix", "--force").exit_code == 0
    assert path.read_text().splitlines()[1].split(",")[1] == "1600000000.0"


def test_range(observation: Path, tmp_path: Path) -> None:
    """Of sensors there are samples of a range, which may be relative to the last sample of these keys."""
    path = tmp_path / "out.csv"
    words = ("export", observation, "m000_pos_*_azim", "sub_band", "-o", path, "--unix")
    assert run(*words, "--start", "-4s", "--end", "1600000018").exit_code == 0
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert {row[1] for row in rows} == {"1600000014.0", "1600000016.0", ""}
    assert "--end is not after" in failed(run(*words, "--start", "-1s", "--end", "-2s", "--force"))


@pytest.mark.parametrize("command", ["export", "dump"])
def test_files_that_exist(observation: Path, tmp_path: Path, command: str) -> None:
    """They are overwritten with --force only, and never if a key or a pattern is not there."""
    path = tmp_path / ("out.csv" if command == "export" else "out.rdb")
    path.write_bytes(b"old")
    target: list[Any] = ["-o", path] if command == "export" else [path]
    words: list[Any] = [command, observation, *target]
    assert "exists. Use --force" in failed(run(*words))
    empty = tmp_path / "empty.rdb"
    TelescopeState().save(empty, keep_empty=True)
    cases: list[tuple[list[Any], int, str]] = [
        ([*words, "nope*"], 1, "'nope*': no key matches"),
        ([*words, "m000_observar"], 1, "m000_observer"),
        ([*words, "m*", "--exclude", "m*"], 1, "'m*': no key matches"),
        ([command, empty, *target], 2, f"no keys to save, so {path} was left as it was.\n"),
        ([command, tmp_path / "nope.rdb", *target], 2, "nope.rdb"),
    ]
    for arguments, status, message in cases:
        assert message in failed(run(*arguments, "--force"), status)
        assert path.read_bytes() == b"old"
    assert run(*words, "m00?_*", "--exclude", "m001_*", "--force").exit_code == 0
    assert path.read_bytes() != b"old"
    if command == "dump":
        names = TelescopeState.from_snapshot(path).keys()
        assert names and all(name.startswith("m000_") for name in names)


def test_wrong_usage(observation: Path, newest_port: int, tmp_path: Path) -> None:
    """It is said in one line what is wrong."""
    path = tmp_path / "out.xls"
    assert "suffix of" in failed(run("export", observation, "-o", path))
    assert "'-o'" in failed(run("export", observation))
    assert "is a file" in failed(run("load", observation, tmp_path / "other.rdb"))
    server = address(newest_port)
    assert "standard output" in failed(run("dump", observation, "-"))
    # An option that would make no difference is not accepted.
    assert "--view" in failed(run("dump", observation, tmp_path / "out.rdb", "--view", "m000"))
    assert "exclude each other" in failed(run("load", observation, server, "--keep", "--replace"))
    path.write_text('{"key": 1}\n')
    assert f"{path}, line 1: " in failed(run("load", path, server))
    assert "No such file" in failed(run("load", tmp_path / "nope.rdb", server))
    assert "small.rdb has no key 'nope*'" in failed(run("load", observation, server, "nope*"), 1)


def test_keys_that_exist(observation: Path, newest_port: int) -> None:
    """Nothing is loaded and some are named, unless they are to be replaced or kept."""
    with TelescopeState(address(newest_port)) as ts:
        ts["m000_observer"], ts["m001_observer"] = "old", "old"
        words: list[Any] = [
            "load",
            observation,
            address(newest_port),
            "m*_observer",
            "--exclude",
            "m002_*",
        ]
        message = failed(run(*words))
        assert "2 of 2 keys of " in message
        assert message.endswith(": 'm000_observer', 'm001_observer'. Use --replace or --keep.\n")
        assert run(*words, "--keep").stdout == "keys\t0\nkept\t2\n"
        assert ts["m000_observer"] == "old"
        assert run(*words, "--replace").stdout == "keys\t2\nreplaced\t2\n"
        assert ts["m000_observer"].startswith("m000")


def test_standard_input(
    observation: Path, newest_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be standard input, and the store to export from, too."""
    server = address(newest_port)
    with observation.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(file)))
        assert run("load", "-", server, "m000_observer").stdout == "keys\t1\n"
    monkeypatch.setattr(sys, "stdin", None)
    assert "it is closed" in failed(run("load", "-", server))


def test_several_databases(newest_port: int, tmp_path: Path) -> None:
    """Keys of the same name in several databases of a file are refused, unless one is chosen."""
    path = tmp_path / "two.rdb"
    with RdbWriter(path) as writer:
        for database in (0, 2):
            writer.write(b"n_chans", b"\xff" + bytes([database]), database=database)
    server = address(newest_port)
    assert "Choose one of them with --from-db." in failed(run("load", path, server))
    assert run("load", path, server, "--from-db", "2", "--db", "1").exit_code == 0
    with TelescopeState(server, db=1) as ts:
        assert ts["n_chans"] == 2
        ts.clear()


def test_pickles(tmp_path: Path) -> None:
    """They are exported as they are stored, with a hint, or decoded where that is allowed."""
    ts, path = TelescopeState(), tmp_path / "old.rdb"
    ts.backend.execute(SetImmutable(b"config", b"\x80\x02K\x05."))
    ts.save(path)
    result = run("export", path, "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 0
    assert "--allow-pickle safe" in result.stderr
    assert "$encoded" in (tmp_path / "out.jsonl").read_text()


@pytest.mark.parametrize("suffix", ["jsonl", "rdb"])
def test_server_without_memory(newest: RedisBinary, tmp_path: Path, suffix: str) -> None:
    """A load that a server cannot hold ends with one line that says how much of it is loaded."""
    ts, path = TelescopeState(), tmp_path / f"large.{suffix}"
    for number in range(200):
        ts[f"k{number:03}"] = os.urandom(50_000)
    assert write(ts, path) == 200
    with RedisServer(newest, ["--maxmemory", "6mb"]) as server:
        message = failed(run("load", path, address(server.port)))
        assert "out of memory" in message
        assert f" % of {path} was loaded before that." in message
        with redis.Redis(port=server.port) as client:
            assert 0 < client.dbsize() < 200


def write(ts: TelescopeState, path: Path) -> int:
    """Write a store to a file of either format; return the number of keys."""
    return ts.save(path) if path.suffix == ".rdb" else export(ts, path).keys


@contextmanager
def server_that_goes_away(port: int, most: int) -> Iterator[int]:
    """Forward a port to a server until it has got so many bytes; then nothing answers any more."""
    listener = socket.create_server(("127.0.0.1", 0))
    left, ends = [most], [listener]

    def end() -> None:
        for one in ends:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def forward(source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                left[0] -= counts * len(data)
                if left[0] < 0:
                    break
                sink.sendall(data)
        except OSError:
            pass
        if left[0] < 0:
            end()

    def accept() -> None:
        try:
            while True:
                ours, _ = listener.accept()
                theirs = socket.create_connection(("127.0.0.1", port))
                ends.extend((ours, theirs))
                for arguments in ((ours, theirs, True), (theirs, ours, False)):
                    threading.Thread(target=forward, args=arguments, daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        end()


# Calls are retried for ten seconds.
@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "rdb"])
def test_server_that_goes_away(newest_port: int, tmp_path: Path, suffix: str) -> None:
    """A load ends with one line that says how much of it is loaded."""
    ts, path = TelescopeState(), tmp_path / f"large.{suffix}"
    for number in range(200):
        ts[f"k{number:03}"] = os.urandom(50_000)
    assert write(ts, path) == 200
    with server_that_goes_away(newest_port, 5_000_000) as port:
        message = failed(run("load", path, address(port)))
    assert f"Redis at 127.0.0.1:{port}" in message
    assert f" % of {path} was loaded before that." in message


def test_full_disk(observation: Path, tmp_path: Path) -> None:
    """A file that cannot be written is an error, and the old one stays."""
    path = tmp_path / "out.parquet"
    path.write_bytes(b"old")
    # Python would also cache parts of modules.
    script = 'export PYTHONDONTWRITEBYTECODE=1; ulimit -f 4; exec "$@"'
    done = run_in_shell(script, "export", observation, "-o", path, "--force")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1 and b"out.parquet could not be written" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@needs_server
def test_progress(observation: Path, newest_port: int) -> None:
    """A terminal shows a bar, which disappears, and then the result in aligned columns."""
    status, text = run_on_terminal("load", observation, address(newest_port))
    assert status == 0
    assert "small.rdb" in text
    count = len(TelescopeState.from_snapshot(observation).keys())
    assert f"{count}/{count}" in text
    assert text.endswith(f"keys               {count}\n")


def test_interruption(newest_port: int, tmp_path: Path) -> None:
    """Ctrl-C ends a command without a message."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    process = subprocess.Popen(
        [*COMMAND, "load", path, address(newest_port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with path.open("wb") as file:  # as soon as the command reads from it
        file.write(b'{"key": "a", "value": 1}\n')
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == -signal.SIGINT
    with redis.Redis(port=newest_port) as client:
        assert client.dbsize() == 0


def test_dump_without_a_file(
    observation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A glob in place of the file is wrong usage, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.iterdir())
    done = run("dump", observation, "m000_*")
    assert done.exit_code == 2 and "FILE comes before it" in done.stderr
    assert list(tmp_path.iterdir()) == before
