"""The content of real servers, in a form that can be compared with our values."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import redis

from telstate_rdb import Hash, KeyRecord, List, Module, Set, SortedSet, Stream, Value
from telstate_rdb._types.writers import WRITABLE_VERSIONS
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


def readable_versions(server: RedisServer) -> list[int]:
    """Return the RDB versions, of those that we write, that a server reads."""
    newest = max_version(server)
    # Valkey 9 refuses versions that only Redis writes.
    foreign = range(12, 80) if newest >= 80 else ()
    return [
        version for version in WRITABLE_VERSIONS if version <= newest and version not in foreign
    ]


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
        case Module():
            return value.name.encode()
        case _:
            raise TypeError(f"No file of these tests has a {type(value).__name__}.")


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
            if isinstance(record.value, Hash) and record.value.expiries:
                times = client.execute_command(
                    "HPEXPIRETIME", key, "FIELDS", len(record.value.fields), *record.value.fields
                )
                assert times == [record.value.expiries.get(f, -1) for f in record.value.fields], key


FIELD_EXPIRY = 4_000_000_000_000  # ms since 1970: in the year 2096
LIBRARY = b"#!lua name=library\nredis.register_function('f', function() return 7 end)\n"


def has_command(client: Any, name: str) -> bool:
    """Return whether a server has a command."""
    return bool(client.execute_command("COMMAND INFO", name) != [None])


def fill(server: RedisServer) -> None:
    """Write the data set to a server: every type in every encoding that this version has.

    Keys are in databases 0, 1 and 9. The names say the type and encoding, as in ``hash:table:expiring``.
    """
    client = connect(server)
    _fill_strings(client)
    _fill_collections(client)
    _fill_streams(client)
    if has_command(client, "HPEXPIREAT"):
        _fill_expiring_fields(client)
    if has_command(client, "VADD"):  # the values of a module
        for number in range(20):
            client.execute_command(
                "VADD", "vectors", "VALUES", 3, 1, number, -1, f"element {number}"
            )
    if has_command(client, "FUNCTION"):
        client.function_load(LIBRARY)
    for number in (1, 9):
        other = connect(server, number)
        other.set("same name", f"in database {number}")
        other.set(f"database {number}", "x", pxat=FIELD_EXPIRY + number)
        other.rpush("list", number)


def _fill_strings(client: Any) -> None:
    texts = {
        "empty": b"",
        "short": b"short text",
        "44": b"e" * 44,
        "45": b"r" * 45,
        "binary": bytes(range(256)),
        "utf-8": "größe ✓".encode(),
        "compressible": b"telescope " * 100,
        "long": bytes(n * n % 251 for n in range(20_000)),
        "long compressible": b"0123456789" * 20_000,
    }
    numbers = (
        0,
        7,
        -1,
        127,
        -128,
        128,
        32767,
        -32769,
        2**31 - 1,
        -(2**31),
        2**31,
        -(2**63),
        2**63 - 1,
    )
    for name, text in texts.items():
        client.set(f"string:{name}", text)
    for number in numbers:
        client.set(f"string:number:{number}", number)
    client.set("same name", "in database 0")
    client.set("string:expiring", "x", pxat=FIELD_EXPIRY)
    client.set("string:expiring later", "x", ex=10**9)
    for key in (
        b"",
        b"\xff\xfe not utf-8 \x00",
        b"line\nbreak\ttab",
        b"12345",
        b"k" * 70,
        b"K" * 20_000,
    ):
        client.set(key, key)


def _fill_collections(client: Any) -> None:
    numbers = [0, 1, -1, 12, 13, 127, -4096, 40_000, -(2**20), 2**24, -(2**31), 2**40, -(2**63)]
    texts = ["", "a", "text", "x" * 60]
    client.rpush("list:small", *numbers, *texts)
    client.rpush("list:nodes", *(f"element {n} " + "y" * (n % 300) for n in range(600)))
    client.rpush("list:long elements", "a", "z" * 9000, "b", b"0123456789" * 2000)
    client.sadd("set:16 bits", *range(20))
    client.sadd("set:32 bits", *range(0, 10**8, 10**6))
    client.sadd("set:64 bits", 1, 2**40, -(2**60))
    client.sadd("set:small", *numbers, *texts)
    client.sadd("set:table", *(f"member {n}" for n in range(700)))
    client.sadd("set:table of numbers", *range(3000))
    client.sadd("set:long member", "a", "x" * 100)
    scores = [
        0,
        1,
        -1,
        0.1,
        1e300,
        -2.5e-300,
        float("inf"),
        float("-inf"),
        2**53 + 2.0,
        -0.0,
        1 / 3,
    ]
    client.zadd("zset:small", {f"member {n}": score for n, score in enumerate(scores)})
    client.zadd("zset:small numbers", {str(number): number for number in numbers})
    client.zadd("zset:same score", dict.fromkeys((f"m{n:04}" for n in range(100)), 0))
    client.zadd("zset:table", {f"member {n}": scores[n % len(scores)] * n for n in range(1, 500)})
    client.zadd("zset:table of one score", dict.fromkeys((f"m{n:04}" for n in range(500)), 0))
    client.zadd("zset:long member", {"a": 1, "x" * 100: 2})
    client.hset(
        "hash:small", mapping={f"field {n}": value for n, value in enumerate([*numbers, *texts])}
    )
    client.hset("hash:table", mapping={f"field {n}": f"value {n}" * (n % 9) for n in range(700)})
    client.hset("hash:long value", mapping={"a": "b", "c": "x" * 300})
    client.pexpireat("hash:small", FIELD_EXPIRY)
    client.pexpireat("zset:table", FIELD_EXPIRY + 1)
    client.zadd("prefix:a:1", {"a": 1})
    client.hset("prefix:a:2", "field", "value")
    client.set("prefix:b", "value")


def _fill_streams(client: Any) -> None:
    for number in range(250):
        client.xadd(
            "stream:nodes", {"n": number, "text": "t" * (number % 90)}, id=f"{number + 1}-{number}"
        )
    for number in range(0, 250, 7):
        client.xdel("stream:nodes", f"{number + 1}-{number}")
    client.xadd("stream:different fields", {"a": 1}, id="1-1")
    client.xadd("stream:different fields", {"b": 2, "c": "3"}, id="1-2")
    client.xadd("stream:different fields", {"a": 4}, id="5-0")
    client.xtrim("stream:different fields", minid="1-2", approximate=False)
    for group, start in (("group", "0"), ("late group", "20-19"), ("idle group", "$")):
        client.xgroup_create("stream:nodes", group, start)
    client.xreadgroup("group", "first", {"stream:nodes": ">"}, count=10)
    client.xreadgroup("group", "second", {"stream:nodes": ">"}, count=5)
    client.xack("stream:nodes", "group", "2-1", "3-2")
    client.execute_command("XGROUP", "CREATECONSUMER", "stream:nodes", "late group", "never read")
    client.xgroup_create("stream:empty with group", "group", "0", mkstream=True)
    client.xadd("stream:emptied", {"a": 1}, id="7-7")
    client.xdel("stream:emptied", "7-7")


def _fill_expiring_fields(client: Any) -> None:
    """Make hashes with expiring fields: Redis has a listpack and a table of them, Valkey a table."""
    for name, count in (("small", 5), ("table", 700)):
        key = f"hash:{name}:expiring"
        client.hset(key, mapping={f"field {n}": f"value {n}" for n in range(count)})
        for number in range(0, count, 3):
            time = FIELD_EXPIRY + number
            client.execute_command("HPEXPIREAT", key, time, "FIELDS", 1, f"field {number}")
