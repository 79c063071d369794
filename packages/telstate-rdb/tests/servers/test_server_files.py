"""Real servers start from the files that we write, redis-check-rdb accepts them, and we read theirs."""

from __future__ import annotations

import time
from array import array
from pathlib import Path

import pytest
import rdb_strategies as values
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rdb_servers import assert_holds, connect, max_version, readable_versions

from telstate_rdb import (
    FunctionLibrary,
    Hash,
    KeyRecord,
    List,
    RdbWriter,
    Set,
    SortedSet,
    Value,
    read_rdb,
)
from telstate_rdb._types.writers import WRITABLE_VERSIONS
from telstate_testing import RedisBinary, RedisServer

FUTURE = 4_000_000_000_123  # ms since 1970: in the year 2096


def records() -> list[KeyRecord[Value]]:
    """Make keys of every type, small and large, in several databases, with and without an expiry."""
    plain: list[Value] = [b"", b"x" * 100_000, b"12345", b"-1" * 30]
    for count in (3, 128, 129, 513, 20_000):
        zeros = array("d", bytes(8 * count))
        mixed = array("d", ((-1.1) ** (n % 900) for n in range(count)))
        plain += [
            List(values.numbered_texts(count, 20, b"s")),
            Set(values.numbered_texts(count, 20, b"s")),
            Set(tuple(b"%d" % (n << 12) for n in range(count))),
            SortedSet(values.numbered_texts(count, 18, b"s"), zeros),
            SortedSet(values.numbered_texts(count, 18, b"s"), mixed),
            Hash(dict.fromkeys(values.numbered_texts(count, 9, b"s"), b"value")),
        ]
    plain.append(SortedSet((b"a", b"b", b"c"), array("d", [float("inf"), float("-inf"), 0.1])))
    return [
        KeyRecord(number % 3, b"key:%d" % number, value, FUTURE if number % 5 == 0 else None)
        for number, value in enumerate(plain)
    ]


def check(binary: RedisBinary, path: Path, written: list[KeyRecord[Value]]) -> None:
    """Check that redis-check-rdb finds nothing wrong, and that a server starts with the keys."""
    checked = binary.check_rdb(path)
    assert checked.returncode == 0, checked.stdout
    assert f"{len(written)} keys read" in checked.stdout
    with RedisServer(binary, snapshot=path) as server:
        assert_holds(server, written)


@pytest.mark.parametrize("compress", [False, True])
def test_the_default_file(redis_binary: RedisBinary, tmp_path: Path, compress: bool) -> None:
    """Every server starts from a file written by default, with all of its keys."""
    path = tmp_path / "dump.rdb"
    written = records()
    with RdbWriter(path, compress=compress) as writer:
        writer.write_records(written)
    assert writer.version == 6
    check(redis_binary, path, written)


@pytest.mark.parametrize("version", WRITABLE_VERSIONS)
def test_files_of_each_version(redis_server: RedisServer, tmp_path: Path, version: int) -> None:
    """A server starts from a file of each version that it supports."""
    if version not in readable_versions(redis_server):
        pytest.skip(f"{redis_server.binary} does not read RDB version {version}")
    path = tmp_path / "dump.rdb"
    written = records()
    with RdbWriter(path, version) as writer:
        writer.write_records(written)
    check(redis_server.binary, path, written)


@settings(
    max_examples=5,
    phases=[Phase.generate],  # starting a server for each example, shrinking would take long
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    contents=st.lists(values.PLAIN_VALUES, min_size=30, max_size=60),
    streams=st.lists(values.streams(counters=False), max_size=4),
)
def test_any_file(
    redis_binary: RedisBinary, tmp_path: Path, contents: list[Value], streams: list[Value]
) -> None:
    """A server starts from any file, also with streams, which make it version 9."""
    path = tmp_path / "dump.rdb"
    written = [KeyRecord(0, b"%d" % n, value) for n, value in enumerate([*contents, *streams])]
    with RdbWriter(path) as writer:
        writer.write_records(written)
    assert writer.version == (9 if streams else 6)
    check(redis_binary, path, written)


def test_copy_of_a_server_file(redis_binary: RedisBinary, tmp_path: Path) -> None:
    """A server that starts from our copy of another server's file has the same digest."""
    path = tmp_path / "copy.rdb"
    debugging = ("--enable-debug-command", "yes") if redis_binary.version >= (7,) else ()
    with RedisServer(redis_binary, options=debugging) as server:
        client = connect(server)
        for key, value in (("s", "x" * 100), ("i", 42)):
            client.set(key, value)
        client.set("expiring", "soon", px=10**12)
        client.rpush("list", *range(2000))
        client.sadd("set", *(f"member {n}" for n in range(600)))
        client.zadd("zset", {f"m{n}": n / 7 for n in range(600)})
        client.hset("hash", mapping={f"f{n}": n for n in range(600)})
        for number in range(300):
            client.xadd("stream", {"n": number}, id=f"{number + 1}-0")
        client.xgroup_create("stream", "group", "5-0")
        client.xreadgroup("group", "consumer", {"stream": ">"}, count=3)
        client.save()
        digest = client.execute_command("DEBUG", "DIGEST")
        for raw in (False, True):
            with RdbWriter(path) as writer, read_rdb(server.folder / "dump.rdb", raw=raw) as reader:
                writer.write_records(reader)
            assert writer.version in (9, 10, 11)  # that of the server's streams
            with RedisServer(redis_binary, options=debugging, snapshot=path) as other:
                assert connect(other).execute_command("DEBUG", "DIGEST") == digest


def test_functions(redis_server: RedisServer, tmp_path: Path) -> None:
    """A function library that we write is loaded by a server that supports them."""
    if max_version(redis_server) < 10:
        pytest.skip(f"{redis_server.binary} has no functions")
    path = tmp_path / "dump.rdb"
    code = b"#!lua name=library\nredis.register_function('f', function() return 7 end)\n"
    with RdbWriter(path) as writer:
        writer.write(b"key", b"value")
        writer.write_record(FunctionLibrary(code))
    assert writer.version == 10
    with RedisServer(redis_server.binary, snapshot=path) as server:
        assert connect(server).fcall("f", 0) == 7


def test_expired_keys_are_not_loaded(redis_binary: RedisBinary, tmp_path: Path) -> None:
    """An expiry in the past is written as it is; a server starts and does not load the key."""
    path = tmp_path / "dump.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"past", b"1", expiry=int(time.time() * 1000) - 10_000)
        writer.write(b"future", b"2", expiry=FUTURE)
    with RedisServer(redis_binary, snapshot=path) as server:
        assert connect(server).keys() == [b"future"]
