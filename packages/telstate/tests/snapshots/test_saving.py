"""`save` and `from_snapshot`, which on asyncio do not block the event loop."""

import asyncio
import inspect
import io
import logging
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
from state_subjects import LONG, Subject
from state_subjects import memory as memory_subject

from telstate import (
    ForeignKeyError,
    KeyType,
    RdbParseError,
    RdbWriteError,
    RDBWriter,
    RefusedError,
    TelescopeState,
    aio,
)
from telstate.aio.memory import MemoryBackend as AsyncMemoryBackend
from telstate.aio.rdb_writer import RDBWriter as AsyncRDBWriter
from telstate.snapshots import split_by_size
from telstate_backends import KeyPreview
from telstate_backends.operations.bulk import ExportPacked
from telstate_rdb import RdbWriter, read_rdb
from telstate_rdb.stored import OpenFile
from telstate_testing.files import OneWayFile


def fill(ts: TelescopeState) -> None:
    """Write a key of each kind, with a long sensor."""
    ts["n_chans"] = 4096
    ts["weights"] = numpy.arange(12, dtype=">f4").reshape(3, 4)
    ts["a_text"] = "µ" * 1000
    ts.set_indexed("peak", ("J1939-6342", 17), 14.9)
    for number in range(200):
        ts.add("elevation", number / 7, ts=1.6e9 + number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a snapshot that does not exist yet."""
    return tmp_path / "observation.rdb"


def test_save_and_open(ts: TelescopeState, path: Path) -> None:
    """A store that was saved from any view opens in memory with the same data."""
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
    """The asyncio class does the same."""
    assert await ats.load_from_file(real_snapshot) == 199
    assert await ats.save(path) == 199
    again = await aio.TelescopeState.from_snapshot(path, prefixes=("sdp_l0_", ""))
    assert again.prefixes == ("sdp_l0_", "")
    assert await again["n_chans"] == 4096
    assert await again.keys() == await ats.keys()
    with pytest.raises(KeyError, match="'nope'"):
        await ats.save(path, keys=["sub_band", "nope"])
    assert await ats.save(path, keys=["sub_band"]) == 1


async def test_consistent(subject: Subject, real_snapshot: Path, path: Path) -> None:
    """A consistent snapshot has the same contents as a plain one; fakeredis refuses."""
    if (
        "fakeredis"
        in type(getattr(getattr(subject.backend, "_server", None), "client", 0)).__module__
    ):
        with pytest.raises(RefusedError, match="not a real server.*without consistent=True"):
            await subject.state_save(path, consistent=True)
        assert not path.exists()
        return
    await subject.load_from_file(real_snapshot)
    plain = path.with_name("plain.rdb")
    assert await subject.state_save(plain) == 199
    assert await subject.state_save(path, consistent=True) == 199
    assert path.read_bytes()[:9] == plain.read_bytes()[:9] == b"REDIS0006"
    contents = [{each.key: each.value for each in read_rdb(file)} for file in (path, plain)]
    assert contents[0] == contents[1]
    with pytest.raises(KeyError, match="1 of 2 keys.*'nope': there is no such key"):
        await subject.state_save(path, ["sub_band", "nope"], consistent=True)
    some = 1 + sum(key.endswith(b"_activity") for key in contents[0])
    assert await subject.state_save(path, ["sub_band", "*_activity"], consistent=True) == some
    await subject.clear()
    with pytest.raises(RdbWriteError, match="no keys to save"):
        await subject.state_save(path, consistent=True)
    assert len(TelescopeState.from_snapshot(path).keys()) == some


def test_sources_and_prefixes(path: Path) -> None:
    """`from_snapshot` opens paths and open files with the given prefixes."""
    ts = TelescopeState()
    fill(ts)
    assert ts.save(str(path)) == 5
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        assert TelescopeState.from_snapshot(source, prefixes=("x_", ""))["n_chans"] == 4096


class Special(TelescopeState):
    """A subclass."""


def test_class_is_kept(path: Path) -> None:
    """`from_snapshot` of a subclass returns that subclass."""
    Special().save(path, keep_empty=True)
    assert type(Special.from_snapshot(path)) is Special


def test_broken_and_missing_files(path: Path, real_snapshot: Path) -> None:
    """A missing or broken file raises the errors of `load_from_file`."""
    with pytest.raises(FileNotFoundError):
        TelescopeState.from_snapshot(path)
    path.write_bytes(real_snapshot.read_bytes()[:-100])
    with pytest.raises(RdbParseError, match=path.name):
        TelescopeState.from_snapshot(path)


def test_some_keys(ts: TelescopeState, path: Path) -> None:
    """Keys are full names in any view, and each is saved once."""
    fill(ts)
    names: list[str | bytes] = ["n_chans", b"peak", "n_chans"]
    assert ts.view("a").save(path, keys=iter(names)) == 2
    assert TelescopeState.from_snapshot(path).keys() == ["n_chans", "peak"]
    with pytest.raises(TypeError, match="single name"):
        ts.save(path, keys="n_chans")


@pytest.mark.parametrize("consistent", [False, True])
def test_patterns(path: Path, consistent: bool) -> None:
    """Patterns select all keys that match; one that matches nothing is an error."""
    ts = TelescopeState()
    for name in ("n_chans", "m000_x", "m001_x", "m001_y", "odd[1]"):
        ts[name] = 1
    assert ts.save(path, keys=["m*_x", "n_chans", "m000_x"], consistent=consistent) == 3
    assert TelescopeState.from_snapshot(path).keys() == ["m000_x", "m001_x", "n_chans"]
    assert ts.save(path, keys=["odd[1]"], consistent=consistent) == 1  # a name like a pattern
    assert TelescopeState.from_snapshot(path, keys=["odd[1]"]).keys() == ["odd[1]"]
    with pytest.raises(KeyError, match=r"1 of 2 keys.*'m00\?_z': no key matches"):
        ts.save(path, keys=["m*", "m00?_z"], consistent=consistent)
    with pytest.raises(KeyError, match=r"1 of 2 keys.*'nope': there is no such key"):
        ts.save(path, keys=["m*", "nope"], consistent=consistent)
    with pytest.raises(
        KeyError, match=r"was\. 'nope': there is no such key; 'z\*': no key matches$"
    ):
        ts.save(path, keys=["nope", "z*"], consistent=consistent)
    assert TelescopeState.from_snapshot(path).keys() == ["odd[1]"]


@pytest.mark.parametrize("consistent", [False, True])
async def test_excluded_keys(asynchronous: bool, consistent: bool, path: Path) -> None:
    """Keys can be left out by name and by pattern, however they are selected; leaving out all is an error."""
    subject = memory_subject(asynchronous)
    for name in ("n_chans", "m000_x", "m001_x", "odd[1]"):
        await subject.set(name, 1)
    save = partial(subject.state_save, path, consistent=consistent)
    assert await save(exclude=["m00?_x", "odd[1]"]) == 1
    assert TelescopeState.from_snapshot(path).keys() == ["n_chans"]
    assert await save(keys=["m*", "n_chans"], exclude=["m000_x", "n_chans"]) == 1
    assert TelescopeState.from_snapshot(path).keys() == ["m001_x"]
    with pytest.raises(KeyError, match=r"'m\*': no key matches"):
        await save(keys=["m*"], exclude=["m*"])
    with pytest.raises(KeyError, match="no keys to save"):
        await save(keys=["n_chans"], exclude=["n*"])
    with pytest.raises(TypeError, match="single name"):
        await save(exclude="m000_x")
    assert TelescopeState.from_snapshot(path).keys() == ["m001_x"]


def test_missing_keys_are_an_error(ts: TelescopeState, path: Path) -> None:
    """A missing key raises an error with its name, and the old file is unchanged."""
    fill(ts)
    path.write_bytes(b"old")
    with pytest.raises(KeyError, match="left as it was.*'n_chanz': there is no such key"):
        ts.save(path, keys=["n_chans", "n_chanz"])
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


async def test_empty_store(subject: Subject, path: Path) -> None:
    """An empty snapshot is an error and replaces nothing, unless it is asked for."""
    path.write_bytes(b"old")
    with pytest.raises(RdbWriteError, match="no keys to save.*left as it was.*keep_empty=True"):
        await subject.state_save(path)
    with pytest.raises(KeyError, match="no keys to save.*left as it was"):
        await subject.state_save(path, keys=[])
    with pytest.raises(KeyError, match=r"'m\*': no key matches"):
        await subject.state_save(path, keys=["m*"])
    assert path.read_bytes() == b"old"
    assert await subject.state_save(path, keep_empty=True) == 0
    assert TelescopeState.from_snapshot(path).keys() == []


def test_foreign_keys_are_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Keys of other Redis types are logged, and the rest is saved."""
    from fakeredis import FakeRedis

    from telstate_backends import RedisBackend

    client = FakeRedis()
    ts = TelescopeState(RedisBackend(client))
    ts["n_chans"] = 4096
    client.rpush("a_list", "x")
    client.rpush("b_list", "x")
    with caplog.at_level(logging.WARNING, "telstate"):
        assert ts.save(path) == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("2 keys ('a_list', 'b_list') were not saved: ")
    assert TelescopeState.from_snapshot(path).keys() == ["n_chans"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
async def test_foreign_keys_by_name(asynchronous: bool, path: Path) -> None:
    """Saving a key of another Redis type by name raises an error with its type; missing keys come first."""
    from fakeredis import FakeAsyncRedis, FakeRedis, FakeServer

    from telstate_backends import AsyncRedisBackend, RedisBackend

    server = FakeServer()
    ts = TelescopeState(RedisBackend(FakeRedis(server=server)))
    ts["n_chans"] = 4096
    FakeRedis(server=server).rpush("a_list", "x")
    ats = aio.TelescopeState(AsyncRedisBackend(FakeAsyncRedis(server=server)))

    async def save(*keys: str) -> None:
        await (ats.save(path, keys) if asynchronous else asyncio.to_thread(ts.save, path, keys))

    with pytest.raises(ForeignKeyError, match=r"1 of 2 keys.*leave.*'a_list'.*list") as caught:
        await save("n_chans", "a_list")
    assert "did you mean" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ForeignKeyError)
    with pytest.raises(
        KeyError, match=r"2 of 2 keys.*'n_chan': there is no such key; 'a_list': .* list"
    ):
        await save("a_list", "n_chan")
    assert not path.exists()


def test_reasons_of_failures(path: Path) -> None:
    """A writer keeps the reason for each key that it could not write."""
    ts = TelescopeState()
    fill(ts)
    with RDBWriter(path) as writer:
        writer.save(ts, ["nope", "n_chans"])
        writer.save(ts, ["n_chans"])
    assert list(writer.failures) == [b"nope", b"n_chans"]
    assert writer.keys_failed == 2 and "no such key" in writer.failures[b"nope"]


def test_split_by_size() -> None:
    """Keys are split into batches of limited size, in order; a larger key has its own batch."""

    def seen(count: int, size: int) -> KeyPreview:
        return KeyPreview(KeyType.MUTABLE, count, size, b"")

    names = [b"%d" % number for number in range(8)]
    previews = [seen(1, 9), seen(1000, 10**6), seen(1, 9), None, seen(2, 15 * 10**5)]
    previews += [seen(1, 15 * 10**5), seen(1, 25 * 10**5), seen(1, 9)]
    assert list(split_by_size(names, previews)) == [
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


@pytest.mark.parametrize(
    "count, size, batches", [(40, 1_000_000, [0] + [4] * 10), (4000, 10, [0, 2000] * 2)]
)
def test_long_values_are_not_in_memory_together(
    any_port: int,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    size: int,
    batches: list[int],
) -> None:
    """Long values of a server are read a few at a time, and short ones thousands at a time."""
    from telstate_backends import RedisBackend

    ts = TelescopeState(f"127.0.0.1:{any_port}")
    with ts.pipeline() as pipeline:
        for number in range(count):
            pipeline.set(f"k{number}", bytes(size))
    asked = []
    original = RedisBackend.execute_many

    def execute_many(self: RedisBackend, operations: Any, /) -> list[Any]:
        asked.append(sum(isinstance(operation, ExportPacked) for operation in operations))
        return original(self, operations)

    monkeypatch.setattr(RedisBackend, "execute_many", execute_many)
    assert ts.save(path) == count
    ts.backend.close()
    assert asked == batches


def test_unwritable(path: Path) -> None:
    """If the file cannot be made, the error is an OSError or RdbWriteError."""
    with pytest.raises(OSError):
        TelescopeState().save(path / "below" / "a_file")
    with pytest.raises(RdbWriteError):
        TelescopeState().save(path.parent)


class TestNotBlocking:
    """On asyncio, other tasks run while a file is read or written."""

    async def test_reading_a_file_lets_tasks_run(self, real_snapshot: Path) -> None:
        """Each read waits for another task, so reading cannot block the event loop."""
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
        ts = await aio.TelescopeState.from_snapshot(
            OneWayFile(real_snapshot.read_bytes(), before_read=wait)
        )
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

    async def test_files_are_walked_in_threads(
        self, real_snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that stays in place is read in threads while it is opened."""
        threads = set()
        read = OpenFile.read

        def noted(self: OpenFile, *arguments: Any) -> bytes:
            threads.add(threading.get_ident())
            return read(self, *arguments)

        monkeypatch.setattr(OpenFile, "read", noted)
        await aio.TelescopeState.from_snapshot(real_snapshot)
        assert threads and threading.get_ident() not in threads

    async def test_writing_is_in_threads(
        self, path: Path, real_snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The writer is used in threads only, and by one at a time."""
        ts = await aio.TelescopeState.from_snapshot(real_snapshot)
        threads: set[int] = set()
        busy = threading.Lock()
        for name in ("__enter__", "write", "__exit__"):
            monkeypatch.setattr(RdbWriter, name, watched(getattr(RdbWriter, name), threads, busy))
        assert await ts.save(path) == 199
        assert threads and threading.get_ident() not in threads

    async def test_many_ticks(self, tmp_path: Path) -> None:
        """While megabytes are saved, another task keeps running."""
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
        ticking.cancel()
        # About 13 batches: in the thread of the event loop there would be a tick or two for each.
        assert ticks > 100

    async def test_cancelled_while_writing(
        self, path: Path, real_snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cancelled save keeps the old file, removes the new one and waits for its thread."""
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

    def test_end_of_the_program(
        self, path: Path, real_snapshot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the event loop ends during a save, its thread ends before the file is closed."""
        started = threading.Event()
        calls: list[str] = []
        write, close = RdbWriter.write, RdbWriter.__exit__

        def slow_write(self: RdbWriter, *arguments: Any, **named: Any) -> None:
            if not started.is_set():
                started.set()
                time.sleep(0.2)  # the file is closed meanwhile if nothing waits for this thread
            write(self, *arguments, **named)
            calls.append("write")

        def noted_close(self: RdbWriter, *arguments: Any) -> None:
            close(self, *arguments)
            calls.append("close")

        async def main() -> None:
            ts = await aio.TelescopeState.from_snapshot(real_snapshot)
            saving = asyncio.create_task(ts.save(path))
            await asyncio.to_thread(started.wait, LONG)
            assert not saving.done()

        monkeypatch.setattr(RdbWriter, "write", slow_write)
        monkeypatch.setattr(RdbWriter, "__exit__", noted_close)
        asyncio.run(main())
        assert calls and set(calls[:-1]) == {"write"} and calls[-1] == "close"
        assert not list(path.parent.iterdir())

    async def test_cancelled_while_reading(self, real_snapshot: Path) -> None:
        """A load can be cancelled while a read blocks."""
        started, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            started.set()
            assert go_on.wait(LONG)

        stuck = OneWayFile(real_snapshot.read_bytes(), before_read=wait)
        loading = asyncio.create_task(aio.TelescopeState().load_from_file(stuck))
        await asyncio.to_thread(started.wait, LONG)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        go_on.set()


def memory(ts: TelescopeState) -> Any:
    """Return the memory backend of a telescope state, untyped."""
    return ts.backend


def watched(method: Any, threads: set[int], busy: threading.Lock) -> Any:
    """Wrap a method to record its threads and to check that it runs in one at a time."""

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
    """The files that are opened, each with its thread."""
    found: list[tuple[str, int]] = []
    # A hook stays for the life of the process, so the list is exchanged instead.
    if not _open_hooks:
        sys.addaudithook(_note_open)
    _open_hooks.append(found)
    yield found
    _open_hooks[-1] = []


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        _open_hooks[-1].append((arguments[0], threading.get_ident()))


def test_same_parameters() -> None:
    """Both classes have the same parameters."""
    for name in ("from_snapshot", "save"):
        ours, theirs = getattr(TelescopeState, name), getattr(aio.TelescopeState, name)
        assert list(inspect.signature(ours).parameters) == list(
            inspect.signature(theirs).parameters
        )
    assert issubclass(AsyncRDBWriter, RDBWriter.__mro__[1])
