"""Watching keys: each update once, typed and in order, on every backend, synchronous and asyncio."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import state_subjects
from state_subjects import LONG

from telstate import (
    CancelledError,
    ConnectionError,
    DecodeError,
    KeyType,
    KeyUpdate,
    Reconnected,
    TelescopeState,
    TimeoutError,
    Watch,
    aio,
)
from telstate.aio.watch import Watch as AsyncWatch
from telstate_backends import AddSample, MemoryBackend, RedisBackend, RetryPolicy, SetImmutable
from telstate_codec import encode_sample
from telstate_testing import RedisBinary, RedisServer


class AwaitedWatch:
    """A watch of either class behind one asyncio interface."""

    def __init__(self, watch: Watch | AsyncWatch) -> None:
        self.watch = watch

    async def next(self) -> KeyUpdate | Reconnected:
        """Return the next event, which must come within `LONG` seconds."""
        if isinstance(self.watch, Watch):
            return await asyncio.to_thread(self.watch.next, LONG)
        return await asyncio.wait_for(anext(self.watch), LONG)

    async def take(self, count: int) -> list[KeyUpdate | Reconnected]:
        """Return the next events."""
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def watching(
    subject: state_subjects.Subject, *keys: str, patterns: Iterable[str] = ()
) -> AsyncIterator[AwaitedWatch]:
    """Watch keys of a subject."""
    watch = subject.state.watch(*keys, patterns=patterns)
    if isinstance(watch, Watch):
        with watch:
            yield AwaitedWatch(watch)
    else:
        async with watch:
            yield AwaitedWatch(watch)


def sample(key: str, value: object, timestamp: float) -> KeyUpdate:
    """Return the update for a sample."""
    return KeyUpdate(key, KeyType.MUTABLE, value, timestamp)


def key_of(event: KeyUpdate | Reconnected) -> str:
    """Return the key of an update, by which a stable sort keeps the order of each key's updates."""
    assert isinstance(event, KeyUpdate)
    return event.key


async def test_every_kind_in_order(
    subject: state_subjects.Subject, request: pytest.FixtureRequest
) -> None:
    """Each write that changes something is one typed update, and each key's come in the order of the writes."""
    await subject.add("s", 0, ts=1.0)
    async with watching(subject, "s", "i", "x") as awaited:
        await subject.add("s", 1.5, ts=2.0)
        await subject.add("s", 1.5, ts=2.0)
        await subject.add("s", "late", ts=0.5)
        await subject.set_indexed("x", ("a", 1), [2])
        await subject.add("unwatched", 1)
        await subject.set("i", {"a": (1, 2)})
        await subject.set("i", {"a": (1, 2)})
        await subject.add("s", None, ts=3.0)
        events = await awaited.take(5)
    expected = [
        sample("s", 1.5, 2.0),
        sample("s", "late", 0.5),
        KeyUpdate("x", KeyType.INDEXED, [2], None, ("a", 1)),
        KeyUpdate("i", KeyType.IMMUTABLE, {"a": (1, 2)}),
        sample("s", None, 3.0),
    ]
    if "cluster" in request.node.callspec.id:  # Updates from different nodes may change places.
        events.sort(key=key_of)
        expected.sort(key=key_of)
    assert events == expected


async def test_globs_among_keys(subject: state_subjects.Subject) -> None:
    """A key that looks like a glob is a pattern too; one that exists under such a name is watched like any."""
    async with watching(subject.view("v"), "m*_gain", "a[1]", patterns=["m000_*"]) as awaited:
        await subject.add("m000_gain", 1, ts=1.0)
        await subject.add("m000_name", 2, ts=1.0)
        await subject.add("unwatched", 2, ts=1.0)
        await subject.add("v_a[1]", 3, ts=1.0)
        await subject.add("a1", 5, ts=1.0)
        events = await awaited.take(4)
    expected = [sample(*one, 1.0) for one in (("m000_gain", 1), ("m000_name", 2), ("v_a[1]", 3))]
    assert sorted(events, key=key_of) == sorted([*expected, sample("a1", 5, 1.0)], key=key_of)


async def test_reprs(subject: state_subjects.Subject) -> None:
    """The representation of a watch names backend, keys, patterns and state; no server is asked."""
    place = repr(subject.state).removeprefix("<TelescopeState on ").partition(", ")[0]
    made = subject.view("v").state.watch("a", b"b*", patterns=["c*"])
    facts = f"Watch on {place}, keys 'a', 'b*', patterns 'c*', 'b*', prefixes ('v_', '')"
    assert repr(made) == f"<{facts}, not open>"
    if isinstance(made, Watch):
        with made:
            assert repr(made) == f"<{facts}, open>"
    else:
        async with made:
            assert repr(made) == f"<{facts}, open>"
    assert repr(made) == f"<{facts}, closed>"
    many = repr(subject.state.watch(*map("key\n{}".format, range(10))))
    assert many == (
        f"<Watch on {place}, keys {', '.join(repr(f'key{chr(10)}{n}') for n in range(5))}, ..., "
        "prefixes ('',), not open>"
    )


async def test_patterns(subject: state_subjects.Subject) -> None:
    """Globs match full names, also of new keys; a key that matches twice has one update."""
    view = subject.view("beam")
    async with watching(view, "gain", patterns=["beam_g*", "*_delay"]) as awaited:
        await view.add("gain", 1, ts=1.0)
        assert await awaited.next() == sample("beam_gain", 1, 1.0)
        await subject.add("m000_delay", 2, ts=2.0)
        assert await awaited.next() == sample("m000_delay", 2, 2.0)
        await subject.add("delay", 3, ts=3.0)
        await subject.add("cal_delay", 4, ts=4.0)
        assert await awaited.next() == sample("cal_delay", 4, 4.0)


async def test_views(subject: state_subjects.Subject) -> None:
    """All prefixes of a view are watched; a key hidden by an earlier prefix has no updates."""
    view = subject.view("a")
    async with watching(view, "k") as awaited:
        await subject.add("k", "root", ts=1.0)
        assert await awaited.next() == sample("k", "root", 1.0)
        await view.add("k", "own", ts=1.0)
        assert await awaited.next() == sample("a_k", "own", 1.0)
        await subject.add("k", "shadowed", ts=2.0)
        await view.add("k", "own", ts=2.0)
        assert await awaited.next() == sample("a_k", "own", 2.0)
        await subject.delete("a_k")
        await subject.add("k", "root", ts=3.0)
        update = await awaited.next()
        if getattr(subject.state.backend, "may_deliver_late", False) and update != sample(
            "k", "root", 3.0
        ):
            # In a cluster the update may arrive after the key that hid it was deleted.
            assert update == sample("k", "shadowed", 2.0)
            update = await awaited.next()
        assert update == sample("k", "root", 3.0)


async def test_deleted_and_set_again(subject: state_subjects.Subject) -> None:
    """Setting the same value again after a deletion is an update."""
    async with watching(subject, "i") as awaited:
        for _ in range(3):
            await subject.set("i", 5)
            assert await awaited.next() == KeyUpdate("i", KeyType.IMMUTABLE, 5)
            await subject.delete("i")
        await subject.clear()
        await subject.set("i", 5)
        assert await awaited.next() == KeyUpdate("i", KeyType.IMMUTABLE, 5)


async def test_what_cannot_be_decoded(subject: state_subjects.Subject) -> None:
    """A value that cannot be decoded, or a pickle, is an update with an error, and the watch goes on."""
    async with watching(subject, "s", "i") as awaited:
        await subject.execute(AddSample(b"s", encode_sample(1.0, b"\x90nonsense")))
        update = await awaited.next()
        assert isinstance(update, KeyUpdate) and isinstance(update.error, DecodeError)
        assert (update.key, update.kind, update.timestamp) == ("s", KeyType.MUTABLE, 1.0)
        with pytest.raises(DecodeError, match="'s'"):
            update.value
        assert "'s'" in repr(update) and "DecodeError" in repr(update)
        await subject.execute(SetImmutable(b"i", b"cposix\nsystem\n."))
        update = await awaited.next()
        assert isinstance(update, KeyUpdate) and "pickle" in str(update.error)
        await subject.add("s", 1, ts=2.0)
        assert await awaited.next() == sample("s", 1, 2.0)


def test_a_plain_loop(ts: TelescopeState) -> None:
    """A watch can be iterated without a with block; leaving the loop closes it."""
    ready = threading.Event()

    def write() -> None:
        ready.wait(LONG)
        number = 0
        while not done.is_set():
            ts.add("s", number, ts=float(number))
            number += 1
            time.sleep(0.005)

    done = threading.Event()
    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    ready.set()
    try:
        for update in ts.watch("s", timeout=LONG):
            assert isinstance(update, KeyUpdate)
            seen.append(update.timestamp)
            if len(seen) == 20:
                break
    finally:
        done.set()
        thread.join()
    first = seen[0]
    assert first is not None
    assert seen == [first + number for number in range(20)]
    assert leftovers(ts.backend) == 0


def leftovers(backend: Any) -> int:
    """Return how many watchers a synchronous backend still has; only private attributes tell."""
    gc.collect()
    if isinstance(backend, MemoryBackend):
        return len(backend.store.listeners) + len(backend.store.pattern_listeners)
    assert isinstance(backend, RedisBackend)
    return len(backend._watchers)


def test_time_limits(ts: TelescopeState) -> None:
    """Without an update in time, a TimeoutError is raised and the watch goes on."""
    with ts.watch("s", timeout=0.01) as watch:
        with pytest.raises(TimeoutError, match="0.01 s"):
            next(watch)
        with pytest.raises(TimeoutError, match="0 s"):
            watch.next(timeout=0)
        ts.add("s", 1, ts=1.0)
        assert watch.next(timeout=LONG) == sample("s", 1, 1.0)


def test_closing_from_another_thread(ts: TelescopeState) -> None:
    """`close` ends an iteration in another thread at once; afterwards the watch is empty."""
    with ts.watch("s") as watch, ThreadPoolExecutor(1) as threads:
        iterating = threads.submit(list, watch)
        time.sleep(0.05)
        watch.close()
        assert iterating.result(LONG) == []
        assert list(watch) == []
        with pytest.raises(CancelledError, match="closed"):
            watch.next()
    assert leftovers(ts.backend) == 0


def test_closing_the_backend(ts: TelescopeState) -> None:
    """Closing the backend raises an error in its watches."""
    with ts.watch("s") as watch, ThreadPoolExecutor(1) as threads:
        iterating = threads.submit(list, watch)
        time.sleep(0.05)
        ts.backend.close()
        with pytest.raises(CancelledError, match="closed"):
            iterating.result(LONG)


async def test_cancelling_loses_nothing(ats: aio.TelescopeState) -> None:
    """Cancelling `anext` again and again loses no update."""
    count = 200

    async def write() -> None:
        for number in range(count):
            await ats.add("s", number, ts=float(number))
            await asyncio.sleep(0.001 * (number % 3))

    async with ats.watch("s") as watch:
        writing = asyncio.create_task(write())
        seen: list[int] = []
        async with asyncio.timeout(LONG):
            while len(seen) < count:
                try:
                    async with asyncio.timeout(0.001):
                        update = await anext(watch)
                except asyncio.TimeoutError:
                    continue
                assert isinstance(update, KeyUpdate)
                seen.append(update.value)
        await writing
    assert seen == list(range(count))
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_a_plain_loop_on_asyncio(ats: aio.TelescopeState) -> None:
    """An asyncio watch can be iterated without a with block."""
    writing = asyncio.create_task(keep_writing(ats))
    seen = []
    async for update in ats.watch("s"):
        assert isinstance(update, KeyUpdate)
        seen.append(update.value)
        if len(seen) == 10:
            break
    writing.cancel()
    await asyncio.wait([writing])
    assert seen == list(range(seen[0], seen[0] + 10))


async def keep_writing(ts: aio.TelescopeState) -> None:
    """Add samples until cancelled."""
    number = 0
    while True:
        await ts.add("s", number, ts=float(number))
        number += 1
        await asyncio.sleep(0.005)


def test_what_is_refused() -> None:
    """A watch of nothing and a single string as patterns are refused."""
    ts = TelescopeState()
    with pytest.raises(ValueError, match="nothing to watch"):
        ts.watch()
    with pytest.raises(TypeError, match="patterns"):
        ts.watch(patterns="s*")
    with pytest.raises(ValueError, match="nothing to watch"):
        aio.TelescopeState().watch()


def test_invalid_timeouts(ts: TelescopeState) -> None:
    """A timeout that is not a number raises a TypeError."""
    wrong: Any = "5"
    with pytest.raises(TypeError):
        next(ts.watch("gain", timeout=wrong))
    with ts.watch("gain") as watch, pytest.raises(TypeError):
        watch.next(timeout=wrong)


def test_updates_as_values() -> None:
    """An update has equality, matches patterns, has a repr and is frozen."""
    update = KeyUpdate("x", KeyType.INDEXED, 5, sub_key=("a", 1))
    assert update == KeyUpdate("x", KeyType.INDEXED, 5, sub_key=("a", 1))
    assert update != KeyUpdate("x", KeyType.INDEXED, 6, sub_key=("a", 1))
    match update:
        case KeyUpdate(key, KeyType.INDEXED, value, sub_key=(name, _)):
            assert (key, value, name) == ("x", 5, "a")
        case _:
            raise AssertionError("it does not match")
    assert repr(update) == "KeyUpdate('x', KeyType.INDEXED, 5, sub_key=('a', 1))"
    with pytest.raises(AttributeError):
        update.key = "y"  # type: ignore[misc]  # that this is an error is what is tested
    assert repr(Reconnected()) == "Reconnected()"


@pytest.fixture
def server(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server of the newest versions in turn, for this test alone."""
    with RedisServer(newest, ("--appendonly", "yes")) as server:
        yield server


async def test_a_restarted_server(server: RedisServer, asynchronous: bool) -> None:
    """After a crash and a restart, everything written meanwhile comes once, late samples too."""
    address = f"127.0.0.1:{server.port}"
    subject = await state_subjects.real(asynchronous, f"redis://{address}")
    for number in range(10):
        await subject.add("s", "before", ts=float(number))
    async with watching(subject, "s", patterns=["new_*"]) as awaited:
        await subject.add("s", "live", ts=3.5)
        assert await awaited.next() == sample("s", "live", 3.5)
        server.kill()
        server.start()
        # A client of its own writes before the watch has reconnected.
        with TelescopeState(address) as other:
            other.add("s", "late", ts=0.5)
            other["new_key"] = 1
            other.add("s", "latest", ts=100.0)
        events = await awaited.take(4)
        assert events[0] == Reconnected() or Reconnected() in events
        assert sorted(map(repr, events)) == sorted(
            map(
                repr,
                [
                    Reconnected(),
                    KeyUpdate("new_key", KeyType.IMMUTABLE, 1),
                    sample("s", "late", 0.5),
                    sample("s", "latest", 100.0),
                ],
            )
        )
        await subject.add("s", "after", ts=101.0)
        assert await awaited.next() == sample("s", "after", 101.0)
    await subject.close()


def test_no_server_is_an_error_at_the_beginning(server: RedisServer) -> None:
    """A server that is down raises an error with its address when the watch begins."""
    from telstate_backends import RetryPolicy

    backend = RedisBackend.from_url(server.url, retry=RetryPolicy(seconds=0.1))
    with backend, TelescopeState(backend) as ts:
        server.kill()
        with pytest.raises(ConnectionError, match=str(server.port)):
            next(ts.watch("s"))
        with pytest.raises(ConnectionError, match=str(server.port)), ts.watch("s"):
            pass


async def test_cut_while_samples_are_written(server: RedisServer, asynchronous: bool) -> None:
    """If the server keeps closing the connection, each sample still comes exactly once."""
    subject = await state_subjects.real(asynchronous, server.url)
    count = 600
    with TelescopeState(server.url) as writer, redis.Redis(port=server.port) as admin:
        assert isinstance(writer.backend, RedisBackend)

        def write() -> None:
            for number in range(count):
                # Every third one late.
                writer.add("s", number, ts=float(number if number % 3 else 10_000 - number))
                if number % 150 == 75:
                    admin.client_kill_filter(_type="pubsub", skipme=True)

        async with watching(subject, "s") as awaited:
            writing = asyncio.create_task(asyncio.to_thread(write))
            events: list[KeyUpdate | Reconnected] = []
            while sum(isinstance(each, KeyUpdate) for each in events) < count:
                events.append(await awaited.next())
            await writing
            writer.add("s", "end", ts=0.0)
            while not isinstance(last := await awaited.next(), KeyUpdate):
                events.append(last)
    assert last.value == "end"
    values = [each.value for each in events if isinstance(each, KeyUpdate)]
    assert sorted(values) == list(range(count))
    assert len(events) > count, "the connection was never cut"
    await subject.close()


@pytest.mark.parametrize("way", ["dead", "stopped"])
def test_a_time_limit_holds_from_the_beginning(server: RedisServer, way: str) -> None:
    """A watch that cannot begin within its own timeout raises an error, and can begin later."""
    url = f"{server.url}?socket_timeout=3600"
    backend = RedisBackend.from_url(url, retry=RetryPolicy(seconds=3600))
    with TelescopeState(backend) as ts, ThreadPoolExecutor(1) as threads:
        ts["n_chans"] = 4096
        watch = ts.watch("level", timeout=0.2)
        begins: list[Callable[[], object]] = [lambda: next(watch)]
        if way == "dead":
            server.kill()
            begins += [lambda: watch.next(timeout=0.1), watch.__enter__]
        else:
            os.kill(server.process_id, signal.SIGSTOP)
        for begin in begins:
            with pytest.raises(TimeoutError, match="could not be started within 0") as caught:
                threads.submit(begin).result(LONG)
            assert isinstance(caught.value.__cause__, ConnectionError)
        if way == "dead":
            server.start()
        else:
            os.kill(server.process_id, signal.SIGCONT)
        threads.submit(watch.__enter__).result(LONG)
        with watch:
            with pytest.raises(TimeoutError, match="No update"):
                watch.next(timeout=0.01)
            ts.add("level", 2.5, ts=120.0)
            assert watch.next(timeout=LONG) == sample("level", 2.5, 120.0)


@pytest.mark.parametrize("what", ["watch", "wait"])
async def test_outages_are_logged_once(
    server: RedisServer, asynchronous: bool, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is logged once when it begins and once when it ends."""
    subject = await state_subjects.real(asynchronous, f"redis://127.0.0.1:{server.port}")

    async def outage() -> None:
        server.kill()
        await asyncio.sleep(0.3)  # for several attempts to connect
        server.start()
        with TelescopeState(f"127.0.0.1:{server.port}") as other:
            other.add("s", 1, ts=1.0)

    if what == "watch":
        async with watching(subject, "s") as awaited:
            taking = asyncio.create_task(awaited.take(2))
            await asyncio.sleep(0.1)
            await outage()
            await taking
    else:
        waiting = asyncio.create_task(subject.waiting("wait_key", "s"))
        await asyncio.sleep(0.2)
        await outage()
        await waiting
    await subject.close()
    await asyncio.sleep(0.05)
    lost, back = [record for record in caplog.records if "Redis at" in record.getMessage()]
    assert (lost.levelname, back.levelname) == ("WARNING", "WARNING")
    assert f"Waiting for Redis at 127.0.0.1:{server.port}" in lost.getMessage()
    assert f"Redis at 127.0.0.1:{server.port} answers again" in back.getMessage()
