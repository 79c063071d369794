"""Whole stores to files and back: `save`, `from_snapshot`, and both under asyncio without blocking."""

import asyncio
import inspect
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from telstate import (
    ForeignKeyError,
    KeyType,
    MemoryBackend,
    RdbParseError,
    RdbWriteError,
    RDBWriter,
    TelescopeState,
    aio,
)
from telstate.aio.memory import MemoryBackend as AsyncMemoryBackend
from telstate.aio.rdb_writer import RDBWriter as AsyncRDBWriter
from telstate.snapshots import split_by_size
from telstate_backends import Export, KeyPreview
from telstate_rdb import RdbWriter

LONG = 30.0


def fill(ts: TelescopeState) -> None:
    """Write a key of each kind, the sensor long enough for several encodings."""
    ts["n_chans"] = 4096
    ts["weights"] = numpy.arange(12, dtype=">f4").reshape(3, 4)
    ts["a_text"] = "µ" * 1000
    ts.set_indexed("peak", ("J1939-6342", 17), 14.9)
    for number in range(200):
        ts.add("elevation", number / 7, ts=1.6e9 + number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where to save."""
    return tmp_path / "observation.rdb"


def test_save_and_open(ts: TelescopeState, path: Path) -> None:
    """A store that was saved, from any view, opens as it was, in memory."""
    fill(ts)
    assert ts.view("elsewhere", exclusive=True).save(path) == 5
    again = TelescopeState.from_snapshot(path)
    assert again.keys() == ts.keys()
    assert again.get_range("elevation", st=0) == ts.get_range("elevation", st=0)
    assert again["peak"] == {("J1939-6342", 17): 14.9}
    numpy.testing.assert_array_equal(again["weights"], ts["weights"])
    assert again.prefixes == ("",) and not again.read_only


async def test_save_and_open_under_asyncio(
    ats: aio.TelescopeState, real_snapshot: Path, path: Path
) -> None:
    """The asyncio twins do the same."""
    assert await ats.load_from_file(real_snapshot) == 199
    assert await ats.save(path) == 199
    again = await aio.TelescopeState.from_snapshot(path, prefixes=("sdp_l0_", ""))
    assert again.prefixes == ("sdp_l0_", "")
    assert await again["n_chans"] == 4096
    assert await again.keys() == await ats.keys()
    with pytest.raises(KeyError, match="'nope'"):
        await ats.save(path, keys=["sub_band", "nope"])
    assert await ats.save(path, keys=["sub_band"]) == 1


def test_sources_and_prefixes(path: Path) -> None:
    """Paths of both kinds and open files are opened, with the prefixes that are asked for."""
    ts = TelescopeState()
    fill(ts)
    assert ts.save(str(path)) == 5
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        assert TelescopeState.from_snapshot(source, prefixes=("x_", ""))["n_chans"] == 4096


class Special(TelescopeState):
    """A class of a user's own."""


def test_class_is_kept(path: Path) -> None:
    """A subclass opens as itself."""
    Special().save(path)
    assert type(Special.from_snapshot(path)) is Special


def test_broken_and_missing_files(path: Path, real_snapshot: Path) -> None:
    """What is no whole snapshot is an error as it is in `load_from_file`."""
    with pytest.raises(FileNotFoundError):
        TelescopeState.from_snapshot(path)
    path.write_bytes(real_snapshot.read_bytes()[:-100])
    with pytest.raises(RdbParseError, match=path.name):
        TelescopeState.from_snapshot(path)


def test_some_keys(ts: TelescopeState, path: Path) -> None:
    """Keys are given by full name, each is saved once, and a view has no say in it."""
    fill(ts)
    names: list[str | bytes] = ["n_chans", b"peak", "n_chans"]
    assert ts.view("a").save(path, keys=iter(names)) == 2
    assert TelescopeState.from_snapshot(path).keys() == ["n_chans", "peak"]
    with pytest.raises(TypeError, match="single name"):
        ts.save(path, keys="n_chans")


def test_missing_keys_are_an_error(ts: TelescopeState, path: Path) -> None:
    """Whoever names a key that is not there gets an error with the name, and keeps the old file."""
    fill(ts)
    path.write_bytes(b"old")
    with pytest.raises(KeyError, match="'n_chanz'.*no such key.*left as it was.*'n_chans'"):
        ts.save(path, keys=["n_chans", "n_chanz"])
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_empty_store(ts: TelescopeState, path: Path) -> None:
    """The snapshot of an empty store takes the place of an older one, and is empty."""
    path.write_bytes(b"old")
    assert ts.save(path) == 0
    assert TelescopeState.from_snapshot(path).keys() == []


def test_foreign_keys_are_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What other programs keep in the store does not stand in the way of saving the rest."""
    from fakeredis import FakeRedis

    from telstate_backends import RedisBackend

    client = FakeRedis()
    ts = TelescopeState(RedisBackend(client))
    ts["n_chans"] = 4096
    client.rpush("a_list", "x")
    with caplog.at_level(logging.ERROR, "telstate"):
        assert ts.save(path) == 1
    assert "'a_list'" in caplog.text
    assert TelescopeState.from_snapshot(path).keys() == ["n_chans"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
async def test_foreign_keys_by_name(asynchronous: bool, path: Path) -> None:
    """Whoever names a key that is not telstate's is told what it holds; one that is missing comes first."""
    from fakeredis import FakeAsyncRedis, FakeRedis, FakeServer

    from telstate_backends import AsyncRedisBackend, RedisBackend

    server = FakeServer()
    ts = TelescopeState(RedisBackend(FakeRedis(server=server)))
    ts["n_chans"] = 4096
    FakeRedis(server=server).rpush("a_list", "x")
    ats = aio.TelescopeState(AsyncRedisBackend(FakeAsyncRedis(server=server)))

    async def save(*keys: str) -> None:
        await (ats.save(path, keys) if asynchronous else asyncio.to_thread(ts.save, path, keys))

    with pytest.raises(ForeignKeyError, match=r"1 of 2 keys .*'a_list'.*Redis list") as caught:
        await save("n_chans", "a_list")
    assert "did you mean" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ForeignKeyError)
    with pytest.raises(KeyError, match=r"2 of 2 keys .*\('n_chan', 'a_list': there is no such key"):
        await save("a_list", "n_chan")
    assert not path.exists()


def test_failed_keys_are_told_apart(path: Path) -> None:
    """A writer says of each key that it could not write why."""
    ts = TelescopeState()
    fill(ts)
    with RDBWriter(path) as writer:
        writer.save(ts, ["nope", "n_chans"])
        writer.save(ts, ["n_chans"])
    assert list(writer.failures) == [b"nope", b"n_chans"]
    assert writer.keys_failed == 2 and "no such key" in writer.failures[b"nope"]


def test_split_by_size() -> None:
    """Keys are cut into batches that fit into memory, in order; a key that is larger comes alone."""

    def seen(count: int, size: int) -> KeyPreview:
        return KeyPreview(KeyType.MUTABLE, count, size, b"")

    names = [b"%d" % number for number in range(8)]
    glimpses = [seen(1, 9), seen(1000, 10**6), seen(1, 9), None, seen(2, 6 * 10**6)]
    glimpses += [seen(1, 5 * 10**6), seen(1, 10**7), seen(1, 9)]
    assert list(split_by_size(names, glimpses)) == [
        [b"0"],
        [b"1"],
        [b"2", b"3", b"4"],
        [b"5", b"6", b"7"],
    ]
    assert list(split_by_size(names[:5], [None] * 5, max_keys=2)) == [
        [b"0", b"1"],
        [b"2", b"3"],
        [b"4"],
    ]
    assert list(split_by_size([], [])) == []


def test_long_values_are_not_in_memory_together(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many long values, few are asked for at once."""
    ts = TelescopeState()
    for number in range(40):
        ts[f"k{number}"] = bytes(1_000_000)
    asked = []
    original = MemoryBackend.execute_many

    def execute_many(self: MemoryBackend, operations: Any, /) -> list[Any]:
        asked.append(sum(isinstance(operation, Export) for operation in operations))
        return original(self, operations)

    monkeypatch.setattr(MemoryBackend, "execute_many", execute_many)
    assert ts.save(path) == 40
    assert asked == [0, 16, 16, 8]


def test_unwritable(path: Path) -> None:
    """Where no file can be made, the error is of the file, not of the store."""
    with pytest.raises(OSError):
        TelescopeState().save(path / "below" / "a_file")
    with pytest.raises(RdbWriteError):
        TelescopeState().save(path.parent)


class Slow(io.RawIOBase):
    """An open file that waits before each read."""

    def __init__(self, path: Path, wait: Callable[[], None]) -> None:
        self.file, self.wait = io.BytesIO(path.read_bytes()), wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.wait()
        return self.file.readinto(buffer)


class TestNotBlocking:
    """Under asyncio, other tasks run while a file is read or written."""

    async def test_reading_a_file_lets_tasks_run(self, real_snapshot: Path) -> None:
        """Each read of an open file waits here for another task, so reading cannot be in the loop."""
        loop_thread = threading.get_ident()
        ticked = threading.Event()
        threads = set()

        def wait() -> None:
            threads.add(threading.get_ident())
            ticked.clear()
            assert ticked.wait(LONG), "no other task ran while the file was read"

        async def tick() -> None:
            while True:
                ticked.set()
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        ts = await aio.TelescopeState.from_snapshot(Slow(real_snapshot, wait))
        ticking.cancel()
        assert len(await ts.keys()) == 199
        assert threads and loop_thread not in threads

    async def test_paths_are_opened_in_threads(
        self, real_snapshot: Path, path: Path, opened: list[tuple[str, int]]
    ) -> None:
        """A path is opened for reading, and the file for writing, in threads."""
        ts = await aio.TelescopeState.from_snapshot(real_snapshot)
        await ts.save(path)
        ours = {str(real_snapshot), str(path.parent), str(path)}
        threads = [thread for name, thread in opened if name in ours]
        assert len(threads) >= 2
        assert threading.get_ident() not in threads

    async def test_writing_is_in_threads(
        self, path: Path, real_snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The writer of the file is only ever used in threads, and by one at a time."""
        ts = await aio.TelescopeState.from_snapshot(real_snapshot)
        threads: set[int] = set()
        busy = threading.Lock()
        for name in ("__enter__", "write", "__exit__"):
            monkeypatch.setattr(RdbWriter, name, watched(getattr(RdbWriter, name), threads, busy))
        assert await ts.save(path) == 199
        assert threads and threading.get_ident() not in threads

    async def test_many_ticks(self, tmp_path: Path) -> None:
        """While megabytes are loaded and saved, another task goes on all the time."""
        sync = TelescopeState()
        rows = numpy.random.default_rng(1).standard_normal(20_000)
        for number in range(40):
            sync[f"array_{number}"] = rows
            sync.add(f"sensor_{number}", rows, ts=1.0)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        ts = aio.TelescopeState(AsyncMemoryBackend.from_sync(memory(sync)))
        assert await ts.save(tmp_path / "big.rdb") == 80
        saved, ticks = ticks, 0
        await aio.TelescopeState.from_snapshot(tmp_path / "big.rdb")
        loaded = ticks
        ticking.cancel()
        # Some 13 batches: in the loop's thread there would be a tick or two for each.
        assert saved > 100 and loaded > 100

    async def test_cancelled_while_writing(
        self, path: Path, real_snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cancelled save leaves the old file, and nothing of the new one, and no thread at work."""
        ts = await aio.TelescopeState.from_snapshot(real_snapshot)
        path.write_bytes(b"old")
        started, go_on = threading.Event(), threading.Event()
        write = RdbWriter.write

        def slow(self: RdbWriter, *arguments: Any, **named: Any) -> None:
            started.set()
            assert go_on.wait(LONG)
            write(self, *arguments, **named)

        monkeypatch.setattr(RdbWriter, "write", slow)
        saving = asyncio.create_task(ts.save(path))
        await asyncio.to_thread(started.wait, LONG)
        saving.cancel()
        await asyncio.sleep(0.01)
        assert not saving.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert path.read_bytes() == b"old"
        assert list(path.parent.iterdir()) == [path]

    async def test_cancelled_while_reading(self, real_snapshot: Path) -> None:
        """A load can be cancelled though the file does not come to an end."""
        started, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            started.set()
            assert go_on.wait(LONG)

        stuck = Slow(real_snapshot, wait)
        loading = asyncio.create_task(aio.TelescopeState().load_from_file(stuck))
        await asyncio.to_thread(started.wait, LONG)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        go_on.set()


def memory(ts: TelescopeState) -> Any:
    """Give the memory backend of a telescope state."""
    return ts.backend


def watched(method: Any, threads: set[int], busy: threading.Lock) -> Any:
    """Wrap a method to note in which threads it runs, and that it does in one at a time."""

    def call(*arguments: Any, **named: Any) -> Any:
        threads.add(threading.get_ident())
        assert busy.acquire(blocking=False)
        try:
            return method(*arguments, **named)
        finally:
            busy.release()

    return call


_open_hooks: list[list[tuple[str, int]]] = []


@pytest.fixture
def opened() -> Iterator[list[tuple[str, int]]]:
    """What files are opened, and in which thread."""
    found: list[tuple[str, int]] = []
    # A hook stays for the life of the process, hence the list of who listens.
    if not _open_hooks:
        sys.addaudithook(_note_open)
    _open_hooks.append(found)
    yield found
    _open_hooks[-1] = []


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        _open_hooks[-1].append((arguments[0], threading.get_ident()))


def test_twins() -> None:
    """Both classes have the same parameters."""
    for name in ("from_snapshot", "save"):
        ours, theirs = getattr(TelescopeState, name), getattr(aio.TelescopeState, name)
        assert list(inspect.signature(ours).parameters) == list(
            inspect.signature(theirs).parameters
        )
    assert issubclass(AsyncRDBWriter, RDBWriter.__mro__[1])
