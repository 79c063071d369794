"""The content of real servers, in a form that can be compared with our values."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import redis

from telstate_rdb import Hash, KeyRecord, List, Set, SortedSet, Stream, Value
from telstate_testing import RedisServer


def connect(server: RedisServer, database: int = 0) -> Any:
    """Connect to a server; redis-py's own annotations mix sync and async, hence Any."""
    return redis.Redis(host=server.host, port=server.port, db=database)


def max_version(server: RedisServer) -> int:
    """Return the RDB version that a server writes, which is the last that it reads."""
    client = connect(server)
    client.set("version", "x")
    version = int.from_bytes(client.dump("version")[-10:-8], "little")
    client.delete("version")
    return version


def fetch(client: Any, key: bytes) -> object:
    """Get a value from a server by the commands of its type."""
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return set(client.smembers(key))
        case b"zset":
            found = client.zrange(key, 0, -1, withscores=True)
            return {member: bits(score) for member, score in found}
        case b"hash":
            return dict(client.hgetall(key))
        case b"stream":
            return [(identifier, list(fields.items())) for identifier, fields in client.xrange(key)]
        case other:
            return other


def expected(value: Value) -> object:
    """Return the result of `fetch` for a value."""
    match value:
        case bytes():
            return value
        case List():
            return list(value.elements)
        case Set():
            return set(value.members)
        case SortedSet():
            return {m: bits(s) for m, s in zip(value.members, value.scores, strict=True)}
        case Hash():
            return dict(value.fields)
        case Stream():
            return [(str(e.id).encode(), list(dict(e.fields).items())) for e in value.entries]
        case _:
            raise NotImplementedError(type(value).__name__)


def bits(score: float) -> bytes:
    """Return the 64 bits of a score, so that only equal bits are equal."""
    return array("d", [score]).tobytes()


def assert_holds(server: RedisServer, records: Iterable[KeyRecord[Value]]) -> None:
    """Check that a server has exactly these records."""
    by_database: dict[int, dict[bytes, KeyRecord[Value]]] = {}
    for record in records:
        by_database.setdefault(record.database, {})[record.key] = record
    sizes = {name: facts["keys"] for name, facts in connect(server).info("keyspace").items()}
    assert sizes == {f"db{number}": len(keys) for number, keys in by_database.items()}
    for number, keys in by_database.items():
        client = connect(server, number)
        for key, record in keys.items():
            assert fetch(client, key) == expected(record.value), key
            ttl = client.pttl(key)
            assert (ttl == -1) == (record.expiry is None), key
            if record.expiry is not None and server.binary.version >= (7,):
                assert client.execute_command("PEXPIRETIME", key) == record.expiry
