"""Snapshots are loaded without decoding long keys, with the same results."""

from __future__ import annotations

import threading
import tracemalloc
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import Subject, SyncSubject, outcome

import telstate_rdb
from telstate_backends import (
    AddSample,
    AddSamples,
    Delete,
    Exists,
    Export,
    Fields,
    Find,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    Keys,
    KeyType,
    KeyTypes,
    Load,
    LoadReport,
    MemoryBackend,
    Operation,
    Peek,
    RdbParseError,
    RedisBackend,
    Samples,
    SetImmutable,
    SetIndexed,
    Update,
    load_rdb,
    load_rdb_async,
    load_records,
)
from telstate_backends.operations.bulk import value_of
from telstate_backends.store import Packed
from telstate_codec.timestamps import encode_sample, range_bounds
from telstate_rdb import (
    Hash,
    List,
    RdbWriter,
    SortedSet,
    Value,
    read_rdb,
)
from telstate_rdb.dump import crc64

ROOT = Path(__file__).resolve().parents[4]
SHARED = ROOT.parent / "shared" / "data"
FILES = sorted(SHARED.glob("*/**/*.rdb"))

SAMPLES = [encode_sample(float(number), b"v%d" % number) for number in range(3000)]


def sorted_set(count: int, score: float = 0.0) -> SortedSet:
    """Return a sorted set of samples, in the order in which Redis writes long ones."""
    return SortedSet(tuple(SAMPLES[count - 1 :: -1]), array("d", [score] * count))


TABLE = Hash({b"%d" % number: b"cell" * (number % 40) for number in range(600)})
CONTENTS: dict[bytes, Value] = {
    b"fixed": b"\xff\x01",
    b"sensor": sorted_set(3000),
    b"short": sorted_set(3),
    b"other": sorted_set(200),
    b"table": TABLE,
    b"small": Hash({b"a": b"1"}),
}
KEYS = sorted(CONTENTS)


def write(
    path: Path, contents: dict[bytes, Value], version: int = 6, compress: bool = True
) -> Path:
    """Write a snapshot."""
    with RdbWriter(path, version=version, compress=compress) as writer:
        for key, value in contents.items():
            writer.write(key, value)
    return path


def sealed(body: bytes) -> bytes:
    """Return a file with these records and its checksum."""
    content = b"REDIS0010" + body + b"\xff"
    return content + crc64(content).to_bytes(8, "little")


def eager(source: Path | bytes, **options: Any) -> tuple[MemoryBackend, LoadReport]:
    """Load a snapshot, decoding everything."""
    backend = MemoryBackend()
    return backend, load_records(backend, read_rdb(source), **options)


def views(keys: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, ...]]:
    """Tuples of candidate keys."""
    return st.lists(keys, min_size=1, max_size=3).map(tuple)


def operations() -> st.SearchStrategy[Operation[Any]]:
    """Operations of every kind on keys of the snapshot, and on a missing one."""
    keys = st.sampled_from([*KEYS, b"none"])
    samples = st.sampled_from(SAMPLES[::300] + [encode_sample(1e9, b"new")])
    bounds = st.tuples(st.floats(-10, 4000), st.floats(-10, 4000)).map(
        lambda times: range_bounds(times[0], times[1], False)
    )
    texts = st.sampled_from([b"a", b"1", b"599", b"new"])
    return st.one_of(
        *(st.builds(kind, views(keys)) for kind in (Exists, GetKeyType, Get, Find, Delete)),
        st.builds(Export, keys),
        st.builds(Peek, keys),
        st.builds(GetIndexed, views(keys), texts),
        st.builds(lambda k, b, p: GetRange(k, b[0], b[1], p), views(keys), bounds, st.booleans()),
        st.builds(SetImmutable, keys, texts),
        st.builds(AddSample, keys, samples),
        st.builds(AddSamples, keys, st.lists(samples, max_size=3).map(tuple)),
        st.builds(SetIndexed, keys, texts, texts),
        st.builds(
            Load, keys, st.sampled_from([Immutable(b"x"), Samples(SAMPLES[:2])]), st.booleans()
        ),
        st.builds(Load, keys, st.just(Fields({b"a": b"2"})), st.booleans()),
        st.builds(Keys, st.sampled_from([b"*", b"s*"])),
        st.builds(KeyTypes, st.just(b"*")),
    )


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Snapshots with the same contents in the encodings of several versions of Redis."""
    folder = tmp_path_factory.mktemp("snapshots")
    return {version: write(folder / f"{version}.rdb", CONTENTS, version) for version in (6, 9, 11)}


@pytest.mark.parametrize("version", [6, 9, 11])
@pytest.mark.parametrize("in_place", [False, True])
def test_every_operation(snapshots: dict[int, Path], version: int, in_place: bool) -> None:
    """Operations have the same results on a store whose contents are packed as on a decoded one."""

    @settings(deadline=None, max_examples=30)
    @given(st.lists(operations(), max_size=8))
    def run(steps: list[Operation[Any]]) -> None:
        lazy = MemoryBackend()
        load_rdb(lazy, snapshots[version], in_place=in_place)
        packed = lazy.store.data[b"sensor"]
        assert type(packed) is Packed and packed.value.is_stored is in_place
        expected, _ = eager(snapshots[version])
        for step in steps:
            assert outcome(lazy, step) == outcome(expected, step)
        for key in KEYS:
            assert outcome(lazy, Export(key)) == outcome(expected, Export(key))

    run()


@pytest.mark.skipif(not FILES, reason="the sample files are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_sample_files(path: Path) -> None:
    """Loading each sample file has the same result, report and error message as when decoding everything."""
    lazy = MemoryBackend()
    try:
        expected, report = eager(path, foreign="skip")
    except telstate_rdb.RdbParseError as error:  # read_rdb raises it itself if the header is wrong
        with pytest.raises(RdbParseError) as caught:
            load_rdb(lazy, path, foreign="skip")
        assert str(caught.value) == str(error)
        return
    assert load_rdb(lazy, path, foreign="skip") == report
    keys = expected.execute(Keys())
    kinds = expected.execute(KeyTypes())
    assert lazy.execute(KeyTypes()) == kinds
    for key in keys:
        assert lazy.execute(Export(key)) == expected.execute(Export(key))


def test_reads_that_decode_nothing(snapshots: dict[int, Path]) -> None:
    """Existence, kinds, names and previews need no decoding; a read decodes its own key, once."""
    backend = MemoryBackend()
    load_rdb(backend, snapshots[6])
    data = backend.store.data
    assert backend.execute(Exists((b"sensor",)))
    assert backend.execute(GetKeyType((b"sensor",))) is KeyType.MUTABLE
    assert backend.execute(GetKeyType((b"table",))) is KeyType.INDEXED
    assert backend.execute(Keys()) == KEYS
    preview = backend.execute(Peek(b"sensor"))
    assert preview is not None
    assert (preview.count, preview.first, preview.last) == (3000, SAMPLES[0][:8], SAMPLES[-1][:8])
    packed = data[b"sensor"]
    assert type(packed) is Packed
    assert preview.head == SAMPLES[-1][8:] and preview.total_size == packed.size
    assert {key for key in KEYS if type(data[key]) is Packed} == {b"sensor", b"other", b"table"}
    backend.execute(Get((b"sensor",)))
    decoded = data[b"sensor"]
    assert type(decoded) is Samples and type(data[b"table"]) is Packed
    backend.execute(Get((b"sensor",)))
    assert data[b"sensor"] is decoded


def test_only_watched_keys_are_decoded(snapshots: dict[int, Path]) -> None:
    """While some keys are watched, loading publishes and decodes only those."""
    with MemoryBackend() as backend, backend.watch([b"table"], [b"sens*"]) as watcher:
        watcher.next()
        load_rdb(backend, snapshots[9])
        data = backend.store.data
        packed = {key for key in KEYS if type(data[key]) is Packed}
        assert packed == {b"other"}
        heard = [watcher.next(timeout=5) for _ in range(3600)]
        assert {event.key for event in heard if isinstance(event, Update)} == {b"sensor", b"table"}


def test_threads_decode_once(tmp_path: Path) -> None:
    """Threads that decode the same keys at once all see them complete, and no write is lost."""
    contents: dict[bytes, Value] = {b"%d" % number: sorted_set(1000) for number in range(30)}
    backend = MemoryBackend()
    load_rdb(backend, write(tmp_path / "x.rdb", contents))
    start = threading.Barrier(4)
    wrong: list[object] = []

    def work(number: int) -> None:
        start.wait()
        for key in contents:
            backend.execute(AddSample(key, encode_sample(1e6 + number, b"new")))
            samples = backend.execute(GetRange((key,), *range_bounds(0.0, 1e5, False)))
            if samples != SAMPLES[:1000]:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert {len(backend.execute(Export(key)) or ()) for key in contents} == {1004}  # type: ignore[arg-type]  # samples


def test_corruption_with_a_checksum(snapshots: dict[int, Path]) -> None:
    """In a file with a checksum, a wrong byte is an error before anything is loaded."""
    data = bytearray(snapshots[9].read_bytes())
    data[len(data) // 2] ^= 1
    backend = MemoryBackend()
    with pytest.raises(RdbParseError):
        load_rdb(backend, bytes(data))
    assert backend.execute(Keys()) == []


def test_corruption_without_a_checksum(snapshots: dict[int, Path]) -> None:
    """Without a checksum, a wrong byte is an error while loading, or all loaded keys can be read."""
    data = snapshots[6].read_bytes()[:-8] + bytes(8)
    for place in range(9, len(data) - 8, max(len(data) // 150, 1)):
        wrong = data[:place] + bytes((data[place] ^ 0xC3,)) + data[place + 1 :]
        backend = MemoryBackend()
        try:
            load_rdb(backend, wrong, foreign="skip")
        except RdbParseError:
            continue
        for key in backend.execute(Keys()):
            backend.execute(Export(key))


#: Sorted sets and a hash that cannot be decoded, for a manipulated file with a correct checksum.
BROKEN_SET = (
    b"\x05\x01z\x03\x01a" + bytes(8) + b"\xc3\x03\x05\x00a\xff" + bytes(8) + b"\x01c" + bytes(8)
)
BROKEN_HASH = b"\x04\x01h\x02\x01a\x011\x01a\x012"
BROKEN_LISTPACK = b"\x11\x01p\x07\x07\x00\x00\x00\x01\x00\xff"  # its count is wrong


def test_a_manipulated_file(tmp_path: Path) -> None:
    """A key that cannot be decoded is an error that names it, and can be deleted or replaced."""
    path = tmp_path / "odd.rdb"
    path.write_bytes(sealed(BROKEN_SET + BROKEN_HASH + b"\x00\x05fixed\x011"))
    backend = MemoryBackend()
    assert load_rdb(backend, path).keys == 3
    for key in (b"z", b"h"):
        for _ in range(2):
            with pytest.raises(RdbParseError, match=rf"odd\.rdb, byte \d+, key b'{key.decode()}'"):
                backend.execute(Get((key,)))
    (error,) = backend.execute_many([AddSample(b"z", SAMPLES[0])])
    assert isinstance(error, RdbParseError)
    assert backend.execute(Get((b"fixed",))) == Immutable(b"1")
    assert backend.execute(Delete((b"z",))) == 1
    backend.execute(AddSample(b"z", SAMPLES[0]))
    assert backend.execute(Export(b"z")) == Samples(SAMPLES[:1])
    backend.execute(Load(b"h", Fields({b"a": b"b"})))
    assert backend.execute(Export(b"h")) == Fields({b"a": b"b"})


def test_a_manipulated_file_for_a_server(server_url: str, tmp_path: Path) -> None:
    """Corrupt values are not loaded into a server, also those that the server would accept."""
    path = tmp_path / "odd.rdb"
    with RedisBackend.from_url(server_url) as backend:
        for key, broken in ("z", BROKEN_SET), ("h", BROKEN_HASH), ("p", BROKEN_LISTPACK):
            path.write_bytes(sealed(broken))
            with pytest.raises(RdbParseError, match=rf"odd\.rdb, .*key b'{key}': "):
                load_rdb(backend, path)
        assert backend.execute(Keys()) == []


def test_foreign_keys(tmp_path: Path) -> None:
    """Scores, lists and fields that expire are noticed without decoding."""
    scored = SortedSet(tuple(SAMPLES[:500]), array("d", [0.0] * 499 + [1.0]))
    contents: dict[bytes, Value] = {
        b"a": sorted_set(500, 2.0),
        b"b": scored,
        b"c": List((b"x",)),
        b"d": sorted_set(500, -0.0),
    }
    for version in (6, 9, 11):
        backend = MemoryBackend()
        report = load_rdb(backend, write(tmp_path / "x.rdb", contents, version), foreign="skip")
        assert [each.key for each in report.skipped] == [b"a", b"b", b"c"]
        assert backend.execute(Export(b"d")) == Samples(SAMPLES[:500])


def test_memory_use(tmp_path: Path) -> None:
    """Loading lazily takes less memory at its peak than decoding everything, and afterwards about the file's size."""
    contents: dict[bytes, Value] = {b"%d" % number: sorted_set(3000) for number in range(100)}
    path = write(tmp_path / "x.rdb", contents, 9)
    load_rdb(MemoryBackend(), path)
    taken = []
    for load in (eager, lambda path: (backend := MemoryBackend(), load_rdb(backend, path))):
        tracemalloc.start()
        kept = load(path)
        taken.append(tracemalloc.get_traced_memory())
        tracemalloc.stop()
        del kept
    at_once, lazily = taken
    assert lazily[1] < at_once[1]
    assert lazily[0] < 1.1 * path.stat().st_size


async def load(subject: Subject, path: Path) -> LoadReport:
    """Load a snapshot into a subject."""
    if isinstance(subject, SyncSubject):
        return load_rdb(subject.backend, path)
    return await load_rdb_async(subject.backend, path)  # type: ignore[attr-defined]  # an AsyncSubject


@pytest.mark.parametrize("version", [6, 11])
async def test_loading_publishes_everything(subject: Subject, tmp_path: Path, version: int) -> None:
    """Loading publishes each sample and sub-key once to all kinds of watchers."""
    path = write(tmp_path / "x.rdb", CONTENTS, version)
    fields = dict(TABLE.fields)
    expected: Counter[tuple[bytes, bytes | float | None, bytes]] = Counter(
        [(b"sensor", float(time), b"v%d" % time) for time in range(3000)]
        + [(b"short", float(time), b"v%d" % time) for time in range(3)]
        + [(b"table", sub_key, value) for sub_key, value in fields.items()]
        + [(b"small", b"a", b"1"), (b"fixed", None, b"\xff\x01")]
    )
    await load(subject, path)  # without watchers
    async with subject.watch(b"table", b"small", b"fixed", patterns=[b"s[eh]*"]) as watcher:
        await watcher.next()
        await load(subject, path)
        heard: Counter[tuple[bytes, bytes | float | None, bytes]] = Counter()
        times: dict[bytes, list[float]] = {}
        while heard.keys() != expected.keys():
            event = await watcher.next()
            assert isinstance(event, Update)
            place = event.sub_key if event.timestamp is None else event.timestamp
            heard[event.key, place, event.value] += 1
            if event.timestamp is not None:
                times.setdefault(event.key, []).append(event.timestamp)
    if not getattr(getattr(subject, "backend"), "may_deliver_late", False):
        # In a cluster, updates of the first load may still arrive.
        assert heard == expected
        assert all(each == sorted(each) for each in times.values())
    assert await subject.execute(Export(b"sensor")) == Samples(SAMPLES)
    assert await subject.execute(Export(b"table")) == Fields(fields)


def test_a_key_of_two_databases(newest_url: str) -> None:
    """If a key occurs twice in a file, the later value is kept, though batches overlap."""
    records = [b"\xfe\x00"]
    for database in (0, 1):
        records.append(bytes((0xFE, database)))
        for number in range(8):
            value = bytes((65 + database,)) * 400_000
            head = b"\x00\x01%d\x80" % number + len(value).to_bytes(4, "big")
            records.append(head + value)
    with RedisBackend.from_url(newest_url) as backend:
        load_rdb(backend, sealed(b"".join(records)))
        for number in range(8):
            assert backend.execute(Export(b"%d" % number)) == Immutable(b"B" * 400_000)


def test_no_permission_for_info(newest_url: str, tmp_path: Path) -> None:
    """If the server does not permit INFO, everything is published."""
    path = write(tmp_path / "x.rdb", {b"table": TABLE})
    with redis.Redis.from_url(newest_url) as client:
        rules = ("on", ">secret", "~*", "&*", "+@all", "-pubsub", "-info")
        client.execute_command("ACL", "SETUSER", "loader", *rules)
        try:
            place = newest_url.removeprefix("redis://")
            with (
                RedisBackend.from_url(f"redis://loader:secret@{place}") as backend,
                RedisBackend.from_url(newest_url) as other,
                other.watch([b"table"]) as watcher,
            ):
                watcher.next(timeout=5)
                load_rdb(backend, path)
                for _ in range(600):
                    assert isinstance(watcher.next(timeout=5), Update)
        finally:
            client.execute_command("ACL", "DELUSER", "loader")


async def test_overlapping_parts_are_published_once(subject: Subject) -> None:
    """Samples that are loaded twice, in parts that overlap, are published once."""
    key = b"{x}sensor"
    samples = [encode_sample(float(number), b"v") for number in range(30)]
    async with subject.watch(key) as watcher:
        await watcher.next()
        await subject.execute(Load(key, Samples(samples[:20])))
        await subject.execute(Load(key, Samples(samples[10:]), replace=False))
        events = [await watcher.next() for _ in samples]
    assert events == [Update(key, KeyType.MUTABLE, b"v", float(time)) for time in range(30)]


def test_loading_without_listeners(newest_url: str, tmp_path: Path) -> None:
    """Without listeners, a server publishes only the beginning of each key."""
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as backend:
        client.config_resetstat()
        load_rdb(backend, write(tmp_path / "x.rdb", CONTENTS))
        long = Samples([encode_sample(float(number), bytes(100_000)) for number in range(5)])
        backend.execute(Load(b"long", long))
        load_rdb(backend, write(tmp_path / "y.rdb", {b"longer": value_of(long)}))
        backend.execute(Load(b"l", Samples(SAMPLES)))
        backend.execute(Load(b"m", Fields(TABLE.fields)))
        assert client.info("commandstats")["cmdstat_publish"]["calls"] == 12
        assert {client.ttl(key) for key in client.keys()} == {-1}
