"""Loading and dumping all kinds of keys on every backend, and foreign keys."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable
from typing import Any

import pytest
import redis
from conftest import needs_server
from subjects import AsyncSubject, Subject, SyncSubject

from telstate_backends import (
    AddSample,
    Clear,
    Export,
    Fields,
    ForeignKeyError,
    GetKeyType,
    Immutable,
    Keys,
    Load,
    LoadReport,
    MemoryBackend,
    RdbParseError,
    RedisBackend,
    RefusedError,
    Samples,
    SetImmutable,
    Skipped,
    _load,
    _load_operations,
    load_rdb,
    load_rdb_async,
    load_records,
    load_records_async,
)
from telstate_backends.operations.bulk import dump_payload
from telstate_codec.timestamps import encode_sample
from telstate_rdb import Hash, KeyRecord, List, SortedSet, Value, decode_dump, encode_dump
from telstate_rdb.dump import parse_dump
from telstate_testing.files import OneWayFile

SAMPLES = [encode_sample(float(number), b"v%d" % number) for number in range(50_000)]
FIXED: KeyRecord[Value] = KeyRecord(0, b"fixed", b"\xff\x01")
FOREIGN: list[KeyRecord[Value]] = [
    KeyRecord(0, b"list", List((b"x",))),
    KeyRecord(0, b"scores", SortedSet((SAMPLES[0],), array("d", [1.0]))),
    KeyRecord(0, b"fields", Hash({b"a": b"b"}, {b"a": 1 << 50})),
]
EXPIRED: KeyRecord[Value] = KeyRecord(0, b"expired", b"gone", expiry=1000)


async def load(subject: Subject, records: Iterable[Any], **options: Any) -> LoadReport:
    """Load records into a subject."""
    if isinstance(subject, SyncSubject):
        return load_records(subject.backend, records, **options)
    assert isinstance(subject, AsyncSubject)
    return await load_records_async(subject.backend, records, **options)


@pytest.fixture
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return a number of samples that are loaded in three parts."""
    if request.node.callspec.params["subject"] != "fakeredis":
        return 2 * _load_operations.PART_LENGTH + 1
    # fakeredis takes seconds for full parts. The constant is private, but still larger than what a
    # script passes to one command.
    monkeypatch.setattr(_load_operations, "PART_LENGTH", 4000)
    return 8001


@pytest.mark.parametrize("raw", [False, True])
def test_full_server(newest_url: str, raw: bool) -> None:
    """A server that has reached its maxmemory refuses keys that it has not, whether raw or decoded."""
    records = {
        "string": FIXED,
        "zset": KeyRecord(0, b"gain", SortedSet((SAMPLES[0],), array("d", [0.0]))),
        "hash": KeyRecord(0, b"peak", Hash({b"\xff\x01": b"\xff\x02"})),
    }
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as backend:
        client.config_set("maxmemory", "1")
        try:
            for record in records.values():
                value: Any = parse_dump(encode_dump(record.value)) if raw else record.value
                with pytest.raises(RefusedError, match="out of memory"):
                    load_records(backend, [KeyRecord(0, record.key, value)])
            assert backend.execute(Keys()) == []
        finally:
            client.config_set("maxmemory", "0")


async def test_loading(subject: Subject, count: int) -> None:
    """All kinds of keys are loaded completely and replace existing ones, with progress and a count."""
    samples = SAMPLES[:count]
    table = {b"%d" % number: b"cell" for number in range(count)}
    records: list[KeyRecord[Value]] = [
        FIXED,
        # Redis writes long sorted sets from the last member to the first; -0.0 equals 0.
        KeyRecord(0, b"long", SortedSet(tuple(samples[::-1]), array("d", bytes(8 * count)))),
        KeyRecord(3, b"minus", SortedSet((SAMPLES[2], SAMPLES[1]), array("d", [0.0, -0.0]))),
        KeyRecord(0, b"table", Hash(table)),
        KeyRecord(0, b"later", b"stays", expiry=1 << 50),
    ]
    seen: list[int] = []
    await subject.execute(SetImmutable(b"long", b"old"))
    report = await load(subject, records, progress=lambda so_far: seen.append(so_far.keys))
    assert (report.keys, report.skipped) == (5, [])
    assert seen == sorted(seen) and seen[-1] == 5
    assert await subject.execute(Export(b"fixed")) == Immutable(b"\xff\x01")
    assert await subject.execute(Export(b"long")) == samples
    assert await subject.execute(Export(b"minus")) == SAMPLES[1:3]
    assert await subject.execute(Export(b"table")) == table
    assert await subject.execute(Export(b"later")) == Immutable(b"stays")


@pytest.mark.parametrize("record", FOREIGN, ids=lambda record: record.key.decode())
def test_foreign_keys_are_refused(record: KeyRecord[Value]) -> None:
    """A foreign key is an error that names it and says how to skip it."""
    with pytest.raises(ForeignKeyError, match=f"{record.key.decode()!r}.*foreign='skip'"):
        load_records(MemoryBackend(), [record])


def test_foreign_keys_are_skipped() -> None:
    """On request, foreign keys are skipped and reported; expired keys always are."""
    backend = MemoryBackend()
    report = load_records(backend, [*FOREIGN, EXPIRED, FIXED], foreign="skip")
    assert report.keys == 1
    assert report.skipped == [
        Skipped(b"list", "a Redis list"),
        Skipped(b"scores", "a sorted set with scores that are not 0"),
        Skipped(b"fields", "a hash with fields that expire"),
        Skipped(b"expired", "a value that has expired"),
    ]
    assert load_records(backend, [EXPIRED]).keys == 0


@pytest.mark.parametrize("make", [bytes, io.BytesIO, OneWayFile])
async def test_damaged_files(subject: Subject, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file leaves a store as it was; only from a pipe, a server gets the keys before the damage."""
    content = b"REDIS0006\xfe\x00" + b"".join(
        b"\x00\x05%05d\x42\x58" % number + bytes(600) for number in range(310)
    )
    # The constant is private; fakeredis takes seconds for full batches.
    monkeypatch.setattr(_load, "BATCH_LENGTH", 100)
    await subject.execute(SetImmutable(b"00000", b"mine"))
    with pytest.raises(RdbParseError):
        await load_file(subject, make(content + b"\x00\x05"))
    found = await subject.execute(Keys())
    assert isinstance(subject, SyncSubject | AsyncSubject)
    if make is OneWayFile and subject.backend.uncached.store is None:
        assert found == [b"%05d" % number for number in range(300)]  # whole batches
    else:
        assert found == [b"00000"]
        assert await subject.execute(Export(b"00000")) == Immutable(b"mine")


async def load_file(subject: Subject, file: Any, **options: Any) -> LoadReport:
    """Load a file into a subject."""
    if isinstance(subject, SyncSubject):
        return load_rdb(subject.backend, file, **options)
    assert isinstance(subject, AsyncSubject)
    return await load_rdb_async(subject.backend, file, **options)


def test_refused_keys_in_memory() -> None:
    """If a foreign key is refused, a store in memory stays as it was."""
    backend = MemoryBackend()
    with pytest.raises(ForeignKeyError):
        load_records(backend, [FIXED, *FOREIGN])
    assert backend.execute(Keys()) == []


async def test_keys_that_are_there_twice(subject: Subject) -> None:
    """The last value of a key counts, and the report names keys of several databases and repeated ones."""
    records: list[KeyRecord[Value]] = [
        KeyRecord(0, b"a", b"1"),
        KeyRecord(0, b"b", b"1"),
        KeyRecord(0, b"a", b"2"),
        KeyRecord(1, b"b", b"2"),
        KeyRecord(1, b"c", b"1"),
        KeyRecord(2, b"b", b"3"),
    ]
    report = await load(subject, records)
    assert (report.keys, report.repeated, report.collisions) == (3, [b"a"], [b"b"])
    assert report.databases == [0, 1, 2]
    values = [await subject.execute(Export(key)) for key in (b"a", b"b", b"c")]
    assert values == [Immutable(b"2"), Immutable(b"3"), Immutable(b"1")]


async def test_patterns(subject: Subject) -> None:
    """One pattern, or several, choose the keys to load."""
    content = b"REDIS0006" + b"".join(b"\x00\x02%b\x011" % key for key in (b"a1", b"a2", b"b1"))
    content += b"\xff" + bytes(8)
    for patterns, expected in (
        (b"a*", [b"a1", b"a2"]),
        ([b"a1", "b*"], [b"a1", b"b1"]),
        ([], []),
        (None, [b"a1", b"a2", b"b1"]),
    ):
        await subject.execute(Clear())
        report = await load_file(subject, content, keys=patterns)
        assert await subject.execute(Keys()) == expected
        assert report.keys == len(expected)


async def test_dumping(subject: Subject) -> None:
    """DUMP payloads can be decoded, and have a version that the oldest readers accept."""
    await subject.execute(SetImmutable(b"fixed", b"\xff\x01"))
    await subject.execute(AddSample(b"sensor", SAMPLES[1]))
    await subject.execute(Load(b"table", Fields({b"a": b"1", b"b": bytes(100)})))
    payloads = [
        dump_payload(await subject.execute(Export(key))) for key in (b"fixed", b"sensor", b"table")
    ]
    assert dump_payload(await subject.execute(Export(b"none"))) is None
    assert [decode_dump(payload) for payload in payloads if payload is not None] == [
        b"\xff\x01",
        SortedSet((SAMPLES[1],), array("d", [0.0])),
        Hash({b"a": b"1", b"b": bytes(100)}),
    ]
    assert {payload[-10:-8] for payload in payloads if payload is not None} <= {
        version.to_bytes(2, "little") for version in range(1, 7)
    }


def test_restoring_payloads(server_url: str) -> None:
    """Every server restores the DUMP payloads of every backend."""
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        for contents in (Immutable(b"x"), Samples(SAMPLES[:300]), Fields({b"a": b"1"})):
            memory = MemoryBackend()
            memory.execute(Load(b"k", contents))
            payload = memory.dump(b"k")
            assert payload is not None
            client.restore("k", 0, payload, replace=True)
            assert backend.execute(Export(b"k")) == contents
            assert backend.dump(b"k") == payload


@needs_server
async def test_loading_the_snapshot_of_a_server(subject: Subject, newest_url: str) -> None:
    """The snapshot of a server can be loaded into every backend, with the same result."""
    with RedisBackend.from_url(newest_url) as source, redis.Redis.from_url(newest_url) as client:
        source.execute(Load(b"long", Samples(SAMPLES[:2000])))
        source.execute(Load(b"short", Samples(SAMPLES[:20])))
        source.execute(Load(b"table", Fields({b"a": b"1"})))
        source.execute(SetImmutable(b"fixed", b"12345"))
        client.rpush("list", "x")
        expected = {key: source.execute(Export(key)) for key in source.execute(Keys(b"[^l]*"))}
        expected[b"long"] = Samples(SAMPLES[:2000])
        client.save()
        folder = client.config_get("dir")["dir"]
        with open(f"{folder}/dump.rdb", "rb") as file:
            content = file.read()
    await subject.execute(Clear())
    if isinstance(subject, SyncSubject):
        report = load_rdb(subject.backend, content, foreign="skip")
    else:
        assert isinstance(subject, AsyncSubject)
        report = await load_rdb_async(subject.backend, io.BytesIO(content), foreign="skip")
    assert report.keys == 4
    assert [skipped.key for skipped in report.skipped] == [b"list"]
    assert {key: await subject.execute(Export(key)) for key in expected} == expected


def test_foreign_keys_on_a_server(newest_url: str) -> None:
    """Reading a list, or exporting a sorted set with scores, is an error that names the key."""
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as backend:
        client.rpush("list", "x")
        client.zadd("scores", {"abcdefghi": 1.0})
        with pytest.raises(ForeignKeyError, match="'list' holds a Redis list"):
            backend.execute(GetKeyType((b"none", b"list")))
        with pytest.raises(ForeignKeyError, match="'scores'"):
            backend.execute(Export(b"scores"))
        with pytest.raises(ForeignKeyError, match="'scores'"):
            backend.dump(b"scores")
