"""The data set of every type in every encoding, as each server writes it."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from rdb_data import by_key
from rdb_servers import assert_holds, connect, has_command

from telstate_rdb import Module, RdbWriter, decode_dump, encode_dump, read_rdb
from telstate_testing import RedisBinary, RedisServer


def test_every_value_is_read(filled_server: RedisServer, server_file: Path) -> None:
    """The file has what the server answers."""
    assert_holds(filled_server, read_rdb(server_file))


def test_every_payload_is_decoded(filled_server: RedisServer, server_file: Path) -> None:
    """A payload of DUMP has the value that is in the file."""
    for record in read_rdb(server_file):
        client = connect(filled_server, record.database)
        assert decode_dump(client.dump(record.key)) == record.value, record.key


@pytest.mark.parametrize("has_mark", [True, False])
def test_replication_stream(filled_server: RedisServer, server_file: Path, has_mark: bool) -> None:
    """The reply to SYNC has the same keys, whether its snapshot ends with a mark or has a length."""
    announcements = [b"REPLCONF capa eof\r\n"] if has_mark else []
    if filled_server.binary.family == "valkey":  # which sends expiring fields to its like only
        announcements.append(b"REPLCONF version 9.1.0\r\n")
    with socket.create_connection((filled_server.host, filled_server.port), timeout=60) as link:
        stream = link.makefile("rb")
        for announcement in announcements:
            link.sendall(announcement)
            assert stream.readline() == b"+OK\r\n"
        link.sendall(b"SYNC\r\n")
        reader = read_rdb(stream)
        assert by_key(reader) == by_key(read_rdb(server_file))
        assert reader.container == "replication"


def test_aof_preamble(redis_binary: RedisBinary) -> None:
    """The snapshot at the start of an AOF file is read, and the commands after it are not."""
    with RedisServer(
        redis_binary, ("--appendonly", "yes", "--aof-use-rdb-preamble", "yes")
    ) as server:
        client = connect(server)
        client.set("before", "1")
        client.bgrewriteaof()
        while True:
            state = client.info("persistence")
            if not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]):
                break
            time.sleep(0.01)
        client.set("after", "2")
        client.config_set("appendonly", "no")
        bases = [*server.folder.glob("appendonly.aof"), *server.folder.glob("*/*.base.rdb")]
        (path,) = bases
        reader = read_rdb(path)
        assert [record.key for record in reader] == [b"before"]
        assert reader.container == ("aof" if path.suffix == ".aof" else "rdb")


@pytest.mark.parametrize("compress", [False, True])
def test_payloads_go_back(filled_server: RedisServer, server_file: Path, compress: bool) -> None:
    """A payload that was decoded and encoded again is restored by the server that gave it."""
    with RedisServer(filled_server.binary) as other:
        for record in read_rdb(server_file):
            old, new = connect(filled_server, record.database), connect(other, record.database)
            payload = encode_dump(decode_dump(old.dump(record.key)), compress=compress)
            new.restore(record.key, record.expiry or 0, payload, absttl=True)
            if not isinstance(record.value, Module):  # vector sets are built anew
                assert decode_dump(new.dump(record.key)) == record.value, record.key


def stream_facts(server: RedisServer, key: bytes) -> object:
    """Return what a server says of a stream, without how it is stored."""
    client = connect(server)
    facts = client.xinfo_stream(key)
    groups = client.xinfo_groups(key)
    return {name: fact for name, fact in facts.items() if "radix" not in str(name)}, groups


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_copies_go_back(
    filled_server: RedisServer, server_file: Path, tmp_path: Path, raw: bool, auxiliary: bool
) -> None:
    """The server starts from a copy of its file, whether values are copied or decoded and encoded."""
    path = tmp_path / "copy.rdb"
    with RdbWriter(path) as writer:
        writer.write_records(read_rdb(server_file, raw=raw, auxiliary=auxiliary))
    with RedisServer(filled_server.binary, snapshot=path) as other:
        assert_holds(other, read_rdb(server_file))
        assert bool(auxiliary and has_command(connect(other), "FUNCTION")) == bool(
            has_command(connect(other), "FUNCTION") and connect(other).function_list()
        )
        for name in (b"stream:nodes", b"stream:empty with group", b"stream:emptied"):
            assert stream_facts(other, name) == stream_facts(filled_server, name)
