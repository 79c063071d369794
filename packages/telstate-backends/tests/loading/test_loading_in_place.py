"""Snapshots whose values stay in the file: the same results and errors, bounded memory, changed files."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import leave_in_file, outcome

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncMemoryBackend,
    DatabaseCollisionError,
    Delete,
    Export,
    Fields,
    ForeignKeyError,
    Get,
    GetIndexed,
    GetRange,
    Immutable,
    Keys,
    Load,
    MemoryBackend,
    Mutable,
    Operation,
    Peek,
    RdbParseError,
    Samples,
    SetImmutable,
    SetIndexed,
    load_rdb,
    load_rdb_async,
)
from telstate_backends.store import MAX_DECODED, Packed
from telstate_codec.timestamps import encode_sample, range_bounds
from telstate_rdb import Hash, List, RdbWriter, SortedSet, Value, lazy
from telstate_rdb.dump import crc64

needs_extension = pytest.mark.skipif(lazy.walk is None, reason="no extension")

SAMPLES = [encode_sample(float(number), b"v%030d" % number) for number in range(60_000)]


def sorted_set(samples: list[bytes], score: float = 0.0) -> SortedSet:
    """Return samples as a sorted set, in the order in which Redis writes them."""
    return SortedSet(tuple(samples[::-1]), array("d", [score] * len(samples)))


CONTENTS: dict[bytes, Value] = {
    b"fixed": bytes(range(256)) * 40,
    b"sensor": sorted_set(SAMPLES),
    b"table": Hash({b"%d" % number: b"cell" * 20 for number in range(600)}),
    b"short": b"\xff\x01",
}


def write(
    path: Path, contents: dict[bytes, Value], version: int | None = None, database: int = 0
) -> Path:
    """Write a snapshot."""
    with RdbWriter(path, version) as writer:
        for key, value in contents.items():
            writer.write(key, value, database=database)
    return path


def in_place(path: Path, **options: Any) -> MemoryBackend:
    """Load a file in place."""
    backend = MemoryBackend()
    load_rdb(backend, path, in_place=True, **options)
    return backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A snapshot."""
    return write(tmp_path / "x.rdb", CONTENTS)


def is_in_file(backend: MemoryBackend, key: bytes) -> bool:
    """Return whether the contents of a key are still in the file."""
    stored = backend.store.data[key]
    return type(stored) is Packed and stored.in_file is not None


LONG = [b"fixed", b"sensor", b"table"]


def test_what_stays_in_the_file(path: Path) -> None:
    """Reading leaves contents in the file; writing a key takes it into memory."""
    backend = in_place(path)
    assert [key for key in CONTENTS if is_in_file(backend, key)] == LONG
    assert backend.execute(Get((b"sensor",))) == Mutable.of_member(SAMPLES[-1], b"sensor")
    assert (
        backend.execute(GetRange((b"sensor",), *range_bounds(10.0, 12.0, False))) == SAMPLES[10:12]
    )
    assert backend.execute(GetIndexed((b"table",), b"7")) == b"cell" * 20
    assert backend.execute(Get((b"fixed",))) == Immutable(CONTENTS[b"fixed"])  # type: ignore[arg-type]  # bytes
    for key in LONG:
        backend.execute(Peek(key))
        backend.execute(Export(key))
    assert [key for key in CONTENTS if is_in_file(backend, key)] == LONG
    backend.execute(AddSample(b"sensor", encode_sample(1e9, b"new")))
    backend.execute(SetIndexed(b"table", b"new", b"1"))
    assert [key for key in CONTENTS if is_in_file(backend, key)] == [b"fixed"]
    assert backend.execute(Get((b"sensor",))) == Mutable(b"new", 1e9)
    samples = backend.execute(Export(b"sensor"))
    assert isinstance(samples, Samples) and samples[:-1] == SAMPLES


def test_what_is_cached(tmp_path: Path) -> None:
    """What was decoded last is cached, up to a size; a single key above it is cached too."""
    size = MAX_DECODED // 3
    contents: dict[bytes, Value] = {b"big": Hash({b"a": bytes(2 * MAX_DECODED)})}
    contents |= {b"%d" % number: Hash({b"a": bytes(size)}) for number in range(5)}
    backend = in_place(write(tmp_path / "x.rdb", contents))
    store = backend.store
    for _ in range(2):
        for number in range(5):
            assert backend.execute(GetIndexed((b"%d" % number,), b"a")) == bytes(size)
            assert store._decoded_size <= MAX_DECODED  # private: no operation shows it
    assert len(store._decoded) == 2
    decoded = store.read(b"4")
    assert store.read(b"4") is decoded
    backend.execute(GetIndexed((b"big",), b"a"))
    assert len(store._decoded) == 1 and store.read(b"big") is store.read(b"big")
    backend.execute(SetIndexed(b"big", b"b", b"1"))
    assert (len(store._decoded), store._decoded_size) == (0, 0)


@needs_extension
def test_ranges_without_decoding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long sensor, ranges, the latest sample and a preview are read without decoding it."""
    backend = in_place(path)
    expected = in_memory = MemoryBackend()
    load_rdb(in_memory, path)
    monkeypatch.delattr("telstate_rdb.StoredValue.decode")
    steps: list[Operation[Any]] = [Get((b"sensor",)), Peek(b"sensor")]
    for start, end in ((-1, 3), (100, 90), (100, 100), (59_990, 1e9), (30_000, 31_000), (1e9, 0)):
        for previous in (False, True):
            bounds = range_bounds(float(start), float(end), False)
            steps.append(GetRange((b"none", b"sensor"), *bounds, previous))
    for step in steps:
        assert backend.execute(step) == expected.execute(step)


def test_writing_while_reading(tmp_path: Path) -> None:
    """Random operations have the same results as in memory, also after contents went back to the file."""
    keys = st.sampled_from([b"a", b"b", b"c"])
    views = st.lists(keys, min_size=1, max_size=3).map(tuple)
    samples = st.integers(0, 30).map(lambda time: encode_sample(float(time), b"v" * time))
    texts = st.binary(max_size=2)
    bounds = st.tuples(st.integers(-1, 31), st.integers(-1, 31)).map(
        lambda times: range_bounds(float(times[0]), float(times[1]), False)
    )
    steps = st.one_of(
        st.builds(AddSample, keys, samples),
        st.builds(AddSamples, keys, st.lists(samples, max_size=9).map(tuple)),
        st.builds(SetImmutable, keys, texts),
        st.builds(SetIndexed, keys, texts, texts),
        st.builds(Delete, views),
        st.builds(Load, keys, st.just(Samples(SAMPLES[:3])), st.booleans()),
        st.builds(Get, views),
        st.builds(GetIndexed, views, texts),
        st.builds(lambda k, b, p: GetRange(k, b[0], b[1], p), views, bounds, st.booleans()),
        st.builds(Export, keys),
        st.builds(Peek, keys),
        st.just(Keys()),
        st.none(),  # leave everything in a file
    )

    @settings(deadline=None, max_examples=60)
    @given(st.lists(steps, max_size=25))
    def run(operations: list[Operation[Any] | None]) -> None:
        expected, backend = MemoryBackend(), MemoryBackend()
        for operation in operations:
            if operation is None:
                leave_in_file(backend.store)
            else:
                assert outcome(backend, operation) == outcome(expected, operation)

    run()


@pytest.mark.parametrize(
    "operation",
    [
        Get((b"fixed",)),
        Get((b"sensor",)),
        GetRange((b"sensor",), *range_bounds(0.0, 1.0, False)),
        GetIndexed((b"table",), b"1"),
        Export(b"sensor"),
        Peek(b"fixed"),
        AddSample(b"sensor", SAMPLES[0]),
    ],
    ids=lambda operation: f"{type(operation).__name__}",
)
def test_a_changed_file(path: Path, operation: Operation[Any]) -> None:
    """If the file is changed, reading a value is an error with its name; what is in memory is there."""
    backend = in_place(path)
    os.truncate(path, 5000)
    for _ in range(2):
        (error,) = backend.execute_many([operation])
        assert isinstance(error, RdbParseError)
        assert "x.rdb" in str(error) and "was changed after it was opened" in str(error)
    assert backend.execute(Get((b"short",))) == Immutable(b"\xff\x01")
    assert backend.execute(Delete((b"sensor",))) == 1
    backend.execute(AddSample(b"sensor", SAMPLES[0]))
    assert backend.execute(Export(b"sensor")) == Samples(SAMPLES[:1])


def test_a_replaced_file(path: Path) -> None:
    """A file that is replaced, as our own writer replaces it, can still be read."""
    backend = in_place(path)
    write(path, {b"fixed": b"other"})
    assert backend.execute(Get((b"fixed",))) == Immutable(CONTENTS[b"fixed"])  # type: ignore[arg-type]  # bytes
    assert len(backend.execute(Export(b"sensor")) or ()) == len(SAMPLES)  # type: ignore[arg-type]  # samples


def sealed(body: bytes) -> bytes:
    """Return a file with these records and its checksum."""
    content = b"REDIS0010" + body + b"\xff"
    return content + crc64(content).to_bytes(8, "little")


def repeated(path: Path) -> None:
    path.write_bytes(sealed(b"\x00\x01a\x011" * 2))


def expired(path: Path) -> None:
    with RdbWriter(path) as writer:
        writer.write(b"old", bytes(1000), expiry=5)
        writer.write(b"new", bytes(1000), expiry=1 << 45)


def databases(path: Path) -> None:
    with RdbWriter(path) as writer:
        writer.write(b"a", bytes(1000))
        writer.write(b"a", b"1" * 1000, database=3)
        writer.write(b"b", b"2", database=3)


def foreign(path: Path) -> None:
    contents: dict[bytes, Value] = {
        b"scores": sorted_set(SAMPLES[:500], 2.0),
        b"list": List((b"x",) * 1000),
        b"zero": sorted_set(SAMPLES[:500], -0.0),
        b"mixed": SortedSet(tuple(SAMPLES[:500]), array("d", [0.0] * 499 + [1.0])),
        b"expiring": Hash({b"a": bytes(1000)}, {b"a": 1 << 45}),
    }
    write(path, contents)


def no_checksum(path: Path) -> None:
    path.write_bytes(write(path, CONTENTS).read_bytes()[:-8] + bytes(8))


def wrong_byte(path: Path) -> None:
    data = bytearray(write(path, CONTENTS).read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(write(path, CONTENTS).read_bytes()[:-500])


def no_snapshot(path: Path) -> None:
    path.write_bytes(b"something else")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def aof(path: Path) -> None:
    path.write_bytes(write(path, CONTENTS).read_bytes() + b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")


MAKERS = [
    repeated,
    expired,
    databases,
    foreign,
    no_checksum,
    wrong_byte,
    truncated,
    no_snapshot,
    empty,
    aof,
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"foreign": "skip"},
        {"foreign": "skip", "collisions": "refuse"},
        {"foreign": "skip", "databases": 3},
        {"foreign": "skip", "keys": ["a", "s*"]},
        {"foreign": "skip", "strict": False},
    ],
    ids=str,
)
async def test_odd_files(
    tmp_path: Path, make: Callable[[Path], None], options: dict[str, Any]
) -> None:
    """Report, contents or error are those of a load into memory."""
    path = tmp_path / "x.rdb"
    make(path)
    expected, found, found_async = MemoryBackend(), MemoryBackend(), AsyncMemoryBackend()
    try:
        report = load_rdb(expected, path, **options)
    except (RdbParseError, DatabaseCollisionError, ForeignKeyError) as error:
        with pytest.raises(type(error)) as caught:
            load_rdb(found, path, in_place=True, **options)
        assert str(caught.value) == str(error)
        with pytest.raises(type(error)) as caught:
            await load_rdb_async(found_async, path, in_place=True, **options)
        assert str(caught.value) == str(error)
    else:
        assert load_rdb(found, path, in_place=True, **options) == report
        assert await load_rdb_async(found_async, path, in_place=True, **options) == report
    keys = expected.execute(Keys())
    for backend in (found, found_async.to_sync()):
        assert backend.execute(Keys()) == keys
        for key in keys:
            assert backend.execute(Export(key)) == expected.execute(Export(key))


def test_watched_keys_are_published(path: Path) -> None:
    """A key that is watched while the file is loaded is published, sample by sample."""
    with MemoryBackend() as backend, backend.watch([b"table"]) as watcher:
        watcher.next()
        load_rdb(backend, path, in_place=True)
        heard = [watcher.next(timeout=5) for _ in range(600)]
        assert None not in heard
        assert not is_in_file(backend, b"table") and is_in_file(backend, b"sensor")
        fields = backend.execute(Export(b"table"))
        assert fields == Fields(CONTENTS[b"table"].fields)  # type: ignore[union-attr]  # a hash
