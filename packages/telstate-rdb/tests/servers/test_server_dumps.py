"""DUMP and RESTORE with real servers, in both directions, for every type and around every limit."""

from __future__ import annotations

import itertools
import math
from array import array
from typing import Any

import pytest
import rdb_strategies as values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdb_servers import connect, expected, fetch, max_version, readable_versions

from telstate_rdb import (
    Hash,
    List,
    RawValue,
    Set,
    SortedSet,
    Stream,
    Value,
    decode_dump,
    encode_dump,
    parse_dump,
    without_counters,
)
from telstate_testing import RedisServer

# A server is shared by all examples, and each of them restores the keys that it needs.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
KEY = b"key"


def integers(count: int, step: int) -> tuple[bytes, ...]:
    """Make the texts of integers."""
    return tuple(b"%d" % (number * step) for number in range(count))


def scores(count: int) -> array[float]:
    """Make scores that need all 17 digits, including infinities."""
    special = [math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 0.1 + 0.2]
    return array("d", [*special, *(math.sqrt(n) for n in range(count))][:count])


LENGTHS = [0, 1, 11, 20, 21, 63, 64, 65, 253, 254, 255, 4095, 4096, 8192, 16383, 16384, 70000]
EXAMPLES: list[Value] = [
    *(b"x" * size for size in LENGTHS),
    *(b"%d" % (sign * (1 << bits) + step) for bits, sign, step in itertools.product(
        (7, 15, 31, 63), (1, -1), (-1, 0, 1)
    )),
    *(List(values.numbered_texts(count, 4)) for count in (1, 511, 512, 513, 5000)),
    *(List((b"a", b"x" * size, b"", b"-1")) for size in LENGTHS),
    List(integers(3000, 7)),
    *(Set(integers(count, step)) for count in (511, 512, 513) for step in (1, 99999, 1 << 40)),
    *(Set(values.numbered_texts(count, 30)) for count in (1, 127, 128, 129, 600)),
    *(Set((b"a", b"x" * size)) for size in LENGTHS),
    *(SortedSet(values.numbered_texts(count, 17), scores(count)) for count in (1, 7, 127, 128, 129, 2000)),
    *(SortedSet(values.numbered_texts(count, 17), array("d", bytes(8 * count))) for count in (1, 128, 129, 2000)),
    *(SortedSet((b"a", b"x" * size), scores(2)) for size in LENGTHS),
    *(Hash(dict(zip(values.numbered_texts(count, 5), values.numbered_texts(count, 6)))) for count in (1, 511, 512, 513, 2000)),
    *(Hash({b"a": b"b", b"x" * size: b"y" * size}) for size in LENGTHS),
]  # fmt: skip


@pytest.mark.parametrize("compress", [False, True])
def test_examples(redis_server: RedisServer, compress: bool) -> None:
    """Servers restore the payload of each value in each version, and dump the same value."""
    client = connect(redis_server)
    versions = readable_versions(redis_server)
    for value in EXAMPLES:
        for version in (None, *versions):
            payload = encode_dump(value, version, compress=compress)
            client.restore(KEY, 0, payload, replace=True)
            assert fetch(client, KEY) == expected(value), (version, value)
            assert decode_dump(client.dump(KEY)) == value, (version, value)


@pytest.mark.parametrize("compress", [False, True])
@SHARED
@given(value=values.PLAIN_VALUES, data=st.data())
def test_any_value(
    redis_server: RedisServer, compress: bool, value: Value, data: st.DataObject
) -> None:
    """The same holds for random values."""
    version = data.draw(st.sampled_from([None, *readable_versions(redis_server)]))
    client = connect(redis_server)
    client.restore(KEY, 0, encode_dump(value, version, compress=compress), replace=True)
    assert fetch(client, KEY) == expected(value)
    assert decode_dump(client.dump(KEY)) == value


@SHARED
@given(stream=values.streams(counters=False))
def test_any_stream(redis_server: RedisServer, stream: Stream) -> None:
    """Servers restore any stream, with groups, consumers and pending entries."""
    client = connect(redis_server)
    client.restore(KEY, 0, encode_dump(stream), replace=True)
    assert fetch(client, KEY) == expected(stream)
    back = decode_dump(client.dump(KEY))
    assert isinstance(back, Stream)
    assert without_counters(back) == stream


def make_stream(client: Any) -> None:
    """Make a stream by commands: several nodes, deleted entries, groups, pending entries."""
    client.delete(KEY)
    for number in range(1, 251):
        fields = {"reading": number, "unit": "K"} if number % 10 else {"note": "x" * number}
        client.xadd(KEY, fields, id=f"{1000 + number // 3}-{number}")
    client.xdel(KEY, "1001-3", "1083-250")
    client.xgroup_create(KEY, "all", "0")
    client.xgroup_create(KEY, "late", "$")
    client.xreadgroup("all", "ann", {KEY: ">"}, count=30)
    client.xreadgroup("all", "bob", {KEY: ">"}, count=5)
    client.xack(KEY, "all", "1000-1")
    client.xgroup_createconsumer(KEY, "late", "idle")


def test_stream_made_by_commands(redis_server: RedisServer) -> None:
    """A stream of a server is decoded, and our payload of it restores the same stream."""
    client = connect(redis_server)
    make_stream(client)
    stream = decode_dump(client.dump(KEY))
    assert isinstance(stream, Stream)
    assert expected(stream) == fetch(client, KEY)
    assert [(g.name, len(g.pending)) for g in stream.groups] == [(b"all", 34), (b"late", 0)]
    client.restore(b"copy", 0, encode_dump(stream), replace=True)
    assert decode_dump(client.dump(b"copy")) == stream
    assert client.xpending(b"copy", "all") == client.xpending(KEY, "all")


def make_by_commands(client: Any, value: Value) -> None:
    """Make a value as clients do, element by element."""
    client.delete(KEY)
    match value:
        case bytes():
            client.set(KEY, value)
        case List():
            client.rpush(KEY, *value.elements)
        case Set():
            client.sadd(KEY, *value.members)
        case SortedSet():
            client.zadd(KEY, dict(zip(value.members, value.scores)))
        case Hash():
            client.hset(KEY, mapping=dict(value.fields))


def test_server_dumps(redis_server: RedisServer) -> None:
    """Dumps of values made by commands are decoded, and packed as we pack them."""
    client = connect(redis_server)
    newest = max_version(redis_server)
    for value in EXAMPLES:
        make_by_commands(client, value)
        payload = client.dump(KEY)
        # Not `value`: ZADD of Redis 7 turns -0 into 0, for example.
        assert expected(decode_dump(payload)) == fetch(client, KEY)
        ours, theirs = parse_dump(encode_dump(value, newest)), parse_dump(payload)
        assert (ours.type, ours.version) == (theirs.type, theirs.version), value
        if isinstance(value, List):
            assert nodes(ours) == nodes(theirs)


def nodes(raw: RawValue) -> int:
    """Return the number of nodes of a quicklist."""
    first = raw.body[0]
    return first if first < 64 else (first & 63) << 8 | raw.body[1]


@SHARED
@given(value=values.PLAIN_VALUES)
def test_random_server_dumps(redis_server: RedisServer, value: Value) -> None:
    """The same holds for random values."""
    client = connect(redis_server)
    make_by_commands(client, value)
    assert expected(decode_dump(client.dump(KEY))) == fetch(client, KEY)
