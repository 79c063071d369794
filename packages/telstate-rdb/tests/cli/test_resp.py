"""The commands of ``resp`` rebuild files on real servers, and what a server lacks is left out."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from rdb_command import readable_samples, run
from rdb_data import NO_SAMPLES
from rdb_servers import connect, has_command

from telstate_rdb import (
    FunctionLibrary,
    Hash,
    KeyRecord,
    List,
    Module,
    RdbWriter,
    Selection,
    Stream,
    StreamConsumer,
    StreamGroup,
    StreamId,
    StreamPending,
    TypeName,
    read_rdb,
)
from telstate_rdb.diff import compare_rdb
from telstate_rdb.resp import CommandMaker, encode_command, parse_target
from telstate_testing import RedisBinary, RedisServer, redis_binaries


def send(server: RedisServer, data: bytes) -> list[bytes]:
    """Send commands to a server as ``redis-cli --pipe`` does; return the errors in its replies."""
    end = b"the end of the commands"
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        connection.sendall(data + encode_command((b"ECHO", end)))
        replies = b""
        while end not in replies[-100:]:
            piece = connection.recv(1 << 20)
            assert piece, "the server has closed the connection"
            replies += piece
    return [line for line in replies.split(b"\r\n") if line.startswith(b"-")]


def check(server: RedisServer, path: Path, *options: str) -> None:
    """Check that a server has the content of a file after the commands were sent to it."""
    connect(server).flushall()
    if has_command(connect(server), "FUNCTION"):
        connect(server).function_flush()
    result = run("resp", path, *options)
    assert result.exit_code == 0
    assert send(server, result.data) == []
    connect(server).save()
    saved = server.folder / "dump.rdb"
    is_exact = "--restore" in options
    found = list(compare_rdb(path, saved, ignore_times=not is_exact))
    # The values of some modules are never written alike.
    assert [one for one in found if one.before is None or one.before.type != "module"] == []


@pytest.mark.parametrize("options", [[], ["--restore"], ["--replace"]], ids=str)
def test_same_server(
    redis_binary: RedisBinary, server_file: Path, tmp_path: Path, options: list[str]
) -> None:
    """A file of each server, with every type in every encoding, is rebuilt on that server."""
    options = [*options, "--target", str(redis_binary)]
    with RedisServer(redis_binary) as server:
        check(server, server_file, *options)
        if redis_binary.version >= (7,):
            check(server, server_file)
        if "--replace" in options:  # a second time changes nothing
            assert send(server, run("resp", server_file, *options).data) == []
            connect(server).save()
            saved = server.folder / "dump.rdb"
            types: list[TypeName] = ["string", "list", "set", "zset", "hash", "stream"]
            assert not list(
                compare_rdb(server_file, saved, selection=Selection(types=types), ignore_times=True)
            )


def newest_redis() -> RedisBinary:
    """Return the newest server that can hold all of the samples."""
    found = [binary for binary in redis_binaries() if str(binary).startswith("redis")]
    if not found or found[-1].version < (7, 4):
        pytest.skip("no Redis 7.4 or later on this machine")
    return found[-1]


@NO_SAMPLES
def test_samples(tmp_path: Path) -> None:
    """Every sample is rebuilt on a server, but for its modules."""
    path = tmp_path / "without modules.rdb"
    names = ("string", "list", "set", "zset", "hash", "stream")
    types = [option for name in names for option in ("--type", name)]
    with RedisServer(newest_redis(), ["--databases", "64"]) as server:
        for sample in readable_samples():
            if sample.name == "corrupt_empty_keys.rdb":  # which no server can hold
                continue
            assert run("convert", sample, path, *types, "--no-expiry", "--force").exit_code == 0
            if any(record.database >= 64 for record in read_rdb(path)):
                continue
            check(server, path)


def test_older_server(tmp_path: Path) -> None:
    """What Redis 6.2 lacks is left out and named; it takes the rest."""
    path = tmp_path / "dump.rdb"
    group = StreamGroup(b"group", StreamId(1, 0), 1, (), ())
    with RdbWriter(path) as writer:
        writer.write_record(FunctionLibrary(b"#!lua name=lib\n"))
        writer.write(b"hash", Hash({b"a": b"1", b"b": b"2"}, {b"a": 4_000_000_000_000}))
        no_id = StreamId(0, 0)
        writer.write(b"stream", Stream((), StreamId(5, 0), no_id, StreamId(4, 0), 9, (group,)))
    for options in ([], ["--restore"]):
        result = run("resp", path, "--target", "6.2", *options)
        assert result.exit_code == 0
        assert result.stderr == (
            "Left out for 6.2: function libraries (1), expiries of hash fields (1), "
            "counters of streams (1).\n"
        )
        assert b"ENTRIES" not in result.data
        old = [binary for binary in redis_binaries() if binary.version[:2] == (6, 2)]
        if old:
            with RedisServer(old[0]) as server:
                assert send(server, result.data) == []
                client = connect(server)
                assert client.hgetall("hash") == {b"a": b"1", b"b": b"2"}
                assert client.xinfo_stream("stream")["last-generated-id"] == b"5-0"
                assert client.xinfo_groups("stream")[0]["last-delivered-id"] == b"1-0"
    assert run("resp", path).stderr == ""


def test_pending_entries_that_were_deleted(redis_binary: RedisBinary, tmp_path: Path) -> None:
    """Entries that are pending although they were deleted are pending again."""
    path = tmp_path / "dump.rdb"
    pending = tuple(StreamPending(StreamId(n, 0), 10**12, n) for n in (2, 5))
    consumer = StreamConsumer(b"c", 10**12, None, tuple(one.id for one in pending))
    group = StreamGroup(b"group", StreamId(5, 0), None, pending, (consumer,))
    last, none = StreamId(9, 9), StreamId(0, 0)
    with RdbWriter(path) as writer:
        writer.write(b"stream", Stream((), last, none, StreamId(7, 0), 9, (group,)))
    with RedisServer(redis_binary) as server:
        assert send(server, run("resp", path, "--target", str(redis_binary)).data) == []
        found = connect(server).xpending_range("stream", "group", "-", "+", 10)
        assert [(one["message_id"], one["times_delivered"]) for one in found] == [
            (b"2-0", 2),
            (b"5-0", 5),
        ]
        assert connect(server).xlen("stream") == 0


def test_long_collections_are_divided() -> None:
    """A command has at most 1000 elements, or a megabyte."""
    many = List(tuple(b"%d" % n for n in range(2500)))
    commands = list(CommandMaker().commands(KeyRecord(0, b"k", many)))
    assert [len(command) - 2 for command in commands[1:]] == [1000, 1000, 500]
    large = List((b"x" * 600_000,) * 4)
    commands = list(CommandMaker().commands(KeyRecord(0, b"k", large)))
    assert [len(command) - 2 for command in commands[1:]] == [2, 2]


def test_expiries(tmp_path: Path) -> None:
    """Expiries can be left out and shifted, and keys moved to another database."""
    path = tmp_path / "dump.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"k", b"v", expiry=4_000_000_000_000, database=2)
    data = run("resp", path, "--shift-expiry", "-1.5", "--to-db", "7").data
    assert data == b"".join(
        encode_command(command)
        for command in (
            (b"SELECT", b"7"),
            (b"SET", b"k", b"v"),
            (b"PEXPIREAT", b"k", b"3999999998500"),
        )
    )
    assert b"PEXPIREAT" not in run("resp", path, "--no-expiry").data


def test_modules_without_a_home() -> None:
    """A value of a module is restored from its payload, or left out where no module can be loaded."""
    record = KeyRecord(0, b"k", Module(0x45E25238DF912C03, b"\x02\x01\x00"))
    _, (name, *_) = CommandMaker(target="7.0").commands(record)
    assert name == b"RESTORE"
    maker = CommandMaker(target="3.2")
    assert len(list(maker.commands(record))) == 1
    assert maker.omitted == {"values of modules": 1}


@pytest.mark.parametrize("target", ["", "x", "redis", "7.x", "keydb-6.2"])
def test_unknown_target(target: str) -> None:
    """A target that is not a release raises an error."""
    with pytest.raises(ValueError, match="not a release"):
        parse_target(target)
    result = run("resp", __file__, "--target", target)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
