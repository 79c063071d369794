"""Caches in front of each backend save round trips and never return outdated values."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from conftest import NEWEST
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from proxy import Proxy
from subjects import LONG, AsyncSubject, Subject, SyncSubject, cached, real

from telstate_backends import (
    AddSample,
    AsyncCachedBackend,
    AsyncMemoryBackend,
    AsyncRedisBackend,
    Backend,
    CachedBackend,
    Clear,
    Delete,
    Exists,
    Export,
    Find,
    Found,
    Get,
    GetIndexed,
    GetKeyType,
    Immutable,
    IndexedWait,
    KeyType,
    KeyWait,
    Load,
    MemoryBackend,
    Mutable,
    Operation,
    Peek,
    RedisBackend,
    Samples,
    SetImmutable,
    SetIndexed,
    wait,
)
from telstate_backends.abc import Capabilities
from telstate_backends.cache import _CacheBase
from telstate_backends.operations.read import Read
from telstate_codec import encode_sample

Pair = tuple[Subject, Subject]
A, B, K = b"{x}a_k", b"{x}b_k", b"{x}k"
VIEW = (A, B, K)
READS: list[Read[Any]] = [Get(VIEW), Find(VIEW), Exists(VIEW), GetKeyType(VIEW)]


def cache_of(subject: Subject) -> _CacheBase:
    """Return the cache of a subject that has one."""
    assert isinstance(subject, (SyncSubject, AsyncSubject))
    assert isinstance(subject.backend, _CacheBase)
    return subject.backend


def remembers(cache: _CacheBase, read: Read[Any]) -> bool:
    """Return whether the cache can answer a read."""
    return cache._update() and cache._index.recall(read) is not None


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, which must be soon."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.002)


async def learned(subject: Subject, read: Read[Any]) -> Any:
    """Read until the result is cached, and return it."""
    async with asyncio.timeout(LONG):
        while True:
            answer = await subject.execute(read)
            if remembers(cache_of(subject), read):
                return answer
            await asyncio.sleep(0.002)


async def test_cached_reads(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few reads, all reads of an immutable key are answered from the cache."""
    plain, reader = pair
    await plain.execute(SetImmutable(K, b"1"))
    assert await learned(reader, Get(VIEW)) == Immutable(b"1")
    cache = cache_of(reader)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_backend", None)  # any use of it fails
        assert [await reader.execute(read) for read in READS] == [
            Immutable(b"1"),
            Found(K, b"string", Immutable(b"1")),
            True,
            KeyType.IMMUTABLE,
        ]
        assert await reader.execute(Get((B, K, b"{x}later"))) == Immutable(b"1")
        assert await reader.execute_many([Get((K,)), Exists(VIEW)]) == [Immutable(b"1"), True]


async def test_a_batch_of_cached_and_other_reads(pair: Pair) -> None:
    """Only the reads of a batch that are not cached are sent, and then cached; errors are returned."""
    plain, reader = pair
    await plain.execute(SetImmutable(K, b"1"))
    await plain.execute(SetImmutable(B, b"2"))
    await plain.execute(SetIndexed(b"{x}table", b"s", b"3"))
    await learned(reader, Get((K,)))
    batch: list[Operation[Any]] = [
        Get((K,)),
        Get((A, B)),
        GetIndexed((K,), b"s"),
        GetIndexed((b"{x}table",), b"s"),
        Exists((b"{x}no",)),
    ]
    async with asyncio.timeout(LONG):
        while not remembers(cache_of(reader), Get((A, B))):
            results = await reader.execute_many(batch)
            assert "'{x}k' is immutable, not indexed" in str(results.pop(2))
            assert results == [Immutable(b"1"), Immutable(b"2"), b"3", False]
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    "write, expected",
    [
        (Delete((K,)), None),
        (Clear(), None),
        (SetImmutable(B, b"2"), Immutable(b"2")),
        (AddSample(A, encode_sample(1.0, b"v")), Mutable(b"v", 1.0)),
        (Load(K, Immutable(b"2")), Immutable(b"2")),
        (Load(K, Samples([encode_sample(1.0, b"v")])), Mutable(b"v", 1.0)),
    ],
    ids=["delete", "clear", "shadow", "sensor-shadow", "load", "load-sensor"],
)
@pytest.mark.parametrize("own", [False, True], ids=["other", "own"])
async def test_changes_are_seen(
    pair: Pair, write: Operation[Any], expected: object, own: bool
) -> None:
    """Own changes are seen at once, those by others when their notification arrives."""
    plain, reader = pair
    await plain.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    await (reader if own else plain).execute(write)
    if not own:
        await until(lambda: not remembers(cache_of(reader), Get(VIEW)))
    assert await reader.execute(Get(VIEW)) == expected
    assert await reader.execute(Exists(VIEW)) is (expected is not None)


async def test_own_writes_in_a_batch(pair: Pair) -> None:
    """A batch with writes is executed in order, and its reads are not answered from the cache."""
    _, reader = pair
    await reader.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    assert await reader.execute_many([Delete((K,)), Get(VIEW), SetImmutable(B, b"2")]) == [
        1,
        None,
        None,
    ]
    assert await reader.execute(Get(VIEW)) == Immutable(b"2")


@pytest.mark.parametrize(
    "newer",
    [
        [Get(VIEW), AddSample(b"{x}s", encode_sample(1.0, b"v"))],
        [SetImmutable(b"{x}t", b"1"), Find(VIEW)],
        [Export(K)],
        [Exists((b"{x}t",)), Peek(K)],
        [Export(K), AddSample(b"{x}s", encode_sample(1.0, b"v"))],
    ],
    ids=["batch", "batch-find", "export", "peek-batch", "export-batch"],
)
async def test_no_older_value_after_a_newer_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, newer: list[Operation[Any]]
) -> None:
    """A read that bypasses the cache invalidates what it contradicts, without a notification."""
    plain, reader = pair
    await plain.execute(SetImmutable(K, b"1"))
    assert await learned(reader, Get(VIEW)) == Immutable(b"1")
    with monkeypatch.context() as patch:
        patch.setattr(cache_of(reader), "_update", lambda: True)  # notifications take long
        await plain.execute_many([Delete((K,)), SetImmutable(K, b"2")])
        assert await reader.execute(Get(VIEW)) == Immutable(b"1")
        if len(newer) == 1:
            await reader.execute(newer[0])
        else:
            await reader.execute_many(newer)
        assert await reader.execute(Get(VIEW)) == Immutable(b"2")


async def test_a_batch_with_writes_keeps_other_keys(pair: Pair) -> None:
    """A key that is read in a batch with writes of other keys stays cached."""
    plain, reader = pair
    await plain.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    batch: list[Operation[Any]] = [Get(VIEW), AddSample(b"{x}s", encode_sample(1.0, b"v"))]
    assert await reader.execute_many(batch) == [Immutable(b"1"), None]
    assert remembers(cache_of(reader), Get(VIEW))


@pytest.mark.parametrize("batch", [False, True])
async def test_own_writes_need_no_notification(
    asynchronous: bool, batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client reads what it has written before the notification arrives."""
    inner = AsyncSubject(AsyncMemoryBackend()) if asynchronous else SyncSubject(MemoryBackend())
    reader = cached(inner)
    await reader.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    monkeypatch.setattr(cache_of(reader), "_update", lambda: True)
    write: Operation[Any] = SetImmutable(A, b"2")
    assert await reader.execute(Get(VIEW)) == Immutable(b"1")
    await (reader.execute_many([write]) if batch else reader.execute(write))
    assert await reader.execute(Get(VIEW)) == Immutable(b"2")


async def test_waits_use_the_store(pair: Pair) -> None:
    """Cached values neither end a wait nor prevent its end."""
    plain, reader = pair
    await plain.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    waiting = asyncio.create_task(
        reader.wait(KeyWait(VIEW, lambda contents: contents == Immutable(b"2")))
    )
    await asyncio.sleep(0.05)
    await plain.execute_many([Delete((K,)), SetImmutable(K, b"2")])
    await waiting
    await plain.execute(SetIndexed(b"{x}table", b"s", b"3"))
    await reader.wait(IndexedWait((b"{x}table",), b"s"))


def test_waits_bypass_the_cache() -> None:
    """A wait reads the store, even if a value is cached that has just changed."""
    store = MemoryBackend()
    backend = CachedBackend(store)
    backend.execute(SetImmutable(K, b"1"))
    for _ in range(3):
        backend.execute(Get((K,)))
    store.store.data[K] = Immutable(b"2")  # as if the notification had not arrived yet
    assert backend.execute(Get((K,))) == Immutable(b"1")
    wait(backend, KeyWait((K,), lambda contents: contents == Immutable(b"2")), timeout=LONG)


@contextmanager
def counting(url: str) -> Iterator[Callable[[], int]]:
    """Return how many commands a server has executed, without those that count them."""
    with redis.Redis.from_url(url) as client:

        def commands() -> int:
            statistics = client.info("commandstats")
            return sum(
                entry["calls"] for name, entry in statistics.items() if name != "cmdstat_info"
            )

        yield commands


async def test_cached_reads_send_no_command(server_url: str, asynchronous: bool) -> None:
    """According to the statistics of the server, a thousand cached reads send no command."""
    plain, reader = real(asynchronous, server_url), cached(real(asynchronous, server_url))
    await plain.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    with counting(server_url) as commands:
        before = commands()
        for _ in range(250):
            for read in READS:
                await reader.execute(read)
        assert commands() == before
    await reader.close()
    await plain.close()


async def test_a_first_read_takes_one_round_trip(newest_url: str, asynchronous: bool) -> None:
    """A read that is not cached takes one round trip; the subscription is sent once, in addition."""
    plain, reader = real(asynchronous, newest_url), cached(real(asynchronous, newest_url))
    await plain.execute(AddSample(b"s", encode_sample(1.0, b"v")))
    await reader.execute(Exists((b"no",)))
    await reader.execute(Get((b"s",)))  # from now on the server knows the script
    with counting(newest_url) as commands:
        before = commands()
        for _ in range(10):
            await reader.execute(Get((b"s",)))
        # EVALSHA, and within it TYPE and ZRANGE: a sensor is not subscribed to.
        assert commands() - before == 30
    await reader.close()
    await plain.close()


KEYS = [b"", b"a_k", b"k", b"\xff"]
VALUES = st.sampled_from([b"1", b"2"])
VIEWS = st.lists(st.sampled_from(KEYS), min_size=1, max_size=4).map(tuple)
WRITES: st.SearchStrategy[Operation[Any]] = st.one_of(
    st.builds(SetImmutable, st.sampled_from(KEYS), VALUES),
    st.builds(SetImmutable, st.sampled_from(KEYS), VALUES),
    st.builds(AddSample, st.sampled_from(KEYS), st.just(encode_sample(1.0, b"v"))),
    st.builds(Load, st.sampled_from(KEYS), VALUES.map(Immutable), st.just(True)),
    st.builds(Delete, VIEWS),
    st.builds(Clear),
)
QUESTIONS: st.SearchStrategy[Read[Any]] = st.one_of(
    st.builds(Get, VIEWS),
    st.builds(Find, VIEWS),
    st.builds(Exists, VIEWS),
    st.builds(GetKeyType, VIEWS),
)
FENCE = b"fence"


class TwoClients(RuleBasedStateMachine):
    """A plain client and a cached one on one store, whose results must be the same."""

    plain: Subject
    reader: Subject
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.run(self.plain.execute(Clear()))
        self.wrote = True

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the common event loop."""
        return self.runner.run(work)

    @rule(writes=st.lists(WRITES, min_size=1, max_size=3))
    def other_writes(self, writes: list[Operation[Any]]) -> None:
        """The plain client writes."""
        self.run(self.plain.execute_many(writes))
        self.wrote = True

    @rule(write=WRITES)
    def reader_writes(self, write: Operation[Any]) -> None:
        """The cached client writes."""
        self.run(self.reader.execute_many([write]))  # errors of wrong kinds do not matter

    @rule(read=QUESTIONS, times=st.integers(1, 4))
    def both_read(self, read: Read[Any], times: int) -> None:
        """Both clients read, the cached one several times, so that it can cache the result."""
        self.fence()
        for _ in range(times):
            assert self.run(self.reader.execute(read)) == self.run(self.plain.execute(read))

    @rule(reads=st.lists(QUESTIONS, min_size=1, max_size=4))
    def both_read_many(self, reads: list[Read[Any]]) -> None:
        """Both clients read a batch."""
        self.fence()
        expected = self.run(self.plain.execute_many(reads))
        assert self.run(self.reader.execute_many(reads)) == expected

    def fence(self) -> None:
        """Wait until all notifications have arrived: they arrive in order, so one more must arrive."""
        if self.wrote:
            self.run(self.plain.execute(SetImmutable(FENCE, b"1")))
            self.run(learned(self.reader, Get((FENCE,))))
            self.run(self.plain.execute(Delete((FENCE,))))
            cache = cache_of(self.reader)
            self.run(until(lambda: not remembers(cache, Get((FENCE,)))))
            self.wrote = False


@pytest.mark.parametrize("kind", ["memory", *NEWEST])
def test_two_clients_agree(server_urls: dict[str, str], kind: str, asynchronous: bool) -> None:
    """Whatever two clients write, the cached one never returns outdated values."""
    with asyncio.Runner() as runner:

        async def make() -> Pair:
            if kind != "memory":
                url = server_urls[kind]
                return real(asynchronous, url), cached(real(asynchronous, url))
            if asynchronous:
                one = AsyncMemoryBackend()
                return AsyncSubject(one), cached(AsyncSubject(AsyncMemoryBackend(one.store)))
            other = MemoryBackend()
            return SyncSubject(other), cached(SyncSubject(MemoryBackend(other.store)))

        plain, reader = runner.run(make())

        class Machine(TwoClients):
            pass

        Machine.plain, Machine.reader, Machine.runner = plain, reader, runner
        run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis leaves it without
            Machine,
            settings=settings(
                max_examples=10,
                stateful_step_count=30,
                deadline=None,
                # Without shrinking, because all examples use one store.
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(reader.close())
        runner.run(plain.close())


def number(contents: object) -> int:
    """Return a number as a race writes it."""
    return int(contents.value) if isinstance(contents, Immutable) else -1


class RisingNumbers:
    """Checks that numbers only rise."""

    def __init__(self) -> None:
        self.last = -1
        self.seen = 0

    def take(self, contents: object) -> None:
        """Check the result of a read; the key may be deleted at the moment."""
        if contents is not None:
            assert number(contents) >= self.last
            self.last = number(contents)
            self.seen += 1


def rewrite(backend: Backend, rounds: int, disturb: Callable[[], None] | None = None) -> None:
    """Delete a key and set it to the next number, many times."""
    for turn in range(rounds):
        backend.execute_many([Delete((K,)), SetImmutable(K, b"%d" % turn)])
        if turn % 7 == 0:
            # Time to cache the value.
            time.sleep(0.002)
        if disturb is not None and turn % 100 == 50:
            disturb()


@pytest.fixture
def quick_turns() -> Iterator[None]:
    """Switch between threads often, because threads that read from the cache would block the writer."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 50)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("quick_turns")
@pytest.mark.parametrize("killing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_threads_race_a_writer(newest_url: str, killing: bool) -> None:
    """Threads that share a cache never read an older value after a newer one, and finally the newest.

    With `killing`, the connection of the watcher is closed again and again.
    """
    rounds = 2000
    with (
        RedisBackend.from_url(newest_url) as writer,
        CachedBackend(RedisBackend.from_url(newest_url)) as backend,
        redis.Redis.from_url(newest_url) as client,
    ):
        over = threading.Event()
        failures: list[BaseException] = []
        hits = 0
        views = [Get((K,)), Get((A, K)), Get((B, A, K))]

        def watch() -> None:
            watchful = RisingNumbers()
            try:
                while not over.is_set() or watchful.last < rounds - 1:
                    for view in views:
                        watchful.take(backend.execute(view))
            except BaseException as failure:
                failures.append(failure)

        def kill() -> None:
            client.client_kill_filter(_type="pubsub")

        threads = [threading.Thread(target=watch) for _ in range(3)]
        for thread in threads:
            thread.start()
        rewrite(writer, rounds, kill if killing else None)
        over.set()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        assert failures == []
        for _ in range(2000):
            backend.execute(Get((K,)))
            if hits := hits + remembers(backend, Get((K,))):
                break
            time.sleep(0.002)
        assert hits and number(backend.execute(Get((K,)))) == rounds - 1


@pytest.mark.usefixtures("quick_turns")
@pytest.mark.parametrize("killing", [pytest.param(False, marks=pytest.mark.slow), True])
async def test_tasks_race_a_writer(newest_url: str, killing: bool) -> None:
    """The same holds for tasks that share an asyncio cache."""
    rounds = 1000
    async with AsyncCachedBackend(await AsyncRedisBackend.from_url(newest_url)) as backend:
        over = asyncio.Event()

        async def watch() -> None:
            watchful = RisingNumbers()
            while not over.is_set() or watchful.last < rounds - 1:
                for keys in ((K,), (A, K), (B, A, K)):
                    contents = await backend.execute(Get(keys))
                    watchful.take(contents)

        def write() -> None:
            with RedisBackend.from_url(newest_url) as writer:
                with redis.Redis.from_url(newest_url) as client:
                    kill = lambda: client.client_kill_filter(_type="pubsub")  # noqa: E731  # brief
                    rewrite(writer, rounds, kill if killing else None)

        async with asyncio.timeout(3 * LONG):
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(watch())
                await asyncio.to_thread(write)
                over.set()
        assert number(await learned(AsyncSubject(backend), Get((K,)))) == rounds - 1


async def test_a_lost_connection(newest_url: str, asynchronous: bool) -> None:
    """After the loss of a connection, reads use the store until keys are watched again."""
    plain, reader = real(asynchronous, newest_url), cached(real(asynchronous, newest_url))
    await plain.execute(SetImmutable(K, b"1"))
    await learned(reader, Get(VIEW))
    cache = cache_of(reader)
    with redis.Redis.from_url(newest_url) as client:
        for turn in (2, 3):
            client.client_kill_filter(_type="pubsub")
            await plain.execute_many([Delete((K,)), SetImmutable(K, b"%d" % turn)])
            await until(lambda: not remembers(cache, Get(VIEW)))
            assert await reader.execute(Get(VIEW)) == Immutable(b"%d" % turn)
            assert await learned(reader, Get(VIEW)) == Immutable(b"%d" % turn)
    await reader.close()
    await plain.close()


async def test_unpublished_deletions(newest_url: str, asynchronous: bool) -> None:
    """A deletion that is not published, as by katsdptelstate, is seen after `max_age`."""
    inner = real(asynchronous, newest_url)
    assert isinstance(inner, (SyncSubject, AsyncSubject))
    reader: Subject
    if isinstance(inner, AsyncSubject):
        reader = AsyncSubject(AsyncCachedBackend(inner.backend, max_age=0.2))
    else:
        reader = SyncSubject(CachedBackend(inner.backend, max_age=0.2))
    with redis.Redis.from_url(newest_url) as client:
        client.set(K, b"1")
        await learned(reader, Get(VIEW))
        client.delete(K)
        async with asyncio.timeout(LONG):
            while await reader.execute(Get(VIEW)) is not None:
                await asyncio.sleep(0.002)
    await reader.close()


def test_an_unresponsive_connection(newest_url: str) -> None:
    """If the server has not been heard of for too long, reads use the store."""
    with Proxy(int(newest_url.rsplit(":", 1)[1])) as proxy:
        with CachedBackend(RedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}")) as backend:
            backend.execute(SetImmutable(K, b"1"))
            while not remembers(backend, Get((K,))):
                backend.execute(Get((K,)))
                time.sleep(0.002)
            watcher: Any = backend._watcher
            deadline = time.monotonic() + LONG
            while True:
                watcher._heartbeat._received -= 20.0  # as if nothing had arrived since
                if not remembers(backend, Get((K,))):  # and the server is pinged
                    break
                assert time.monotonic() < deadline  # A reply may have arrived in between.
            while not remembers(backend, Get((K,))):
                assert time.monotonic() < deadline
                time.sleep(0.002)
            assert backend.execute(Get((K,))) == Immutable(b"1")


def test_a_server_that_disappears(newest_url: str) -> None:
    """If the network loses everything, cached results end soon, and return afterwards."""
    with Proxy(int(newest_url.rsplit(":", 1)[1])) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}?socket_timeout=2"
        with CachedBackend(RedisBackend.from_url(url)) as backend:
            backend.execute(SetImmutable(K, b"1"))
            while not remembers(backend, Get((K,))):
                backend.execute(Get((K,)))
                time.sleep(0.002)
            watcher: Any = backend._watcher
            watcher._heartbeat.interval, watcher._heartbeat.timeout = 0.3, 0.2
            proxy.swallow = True
            deadline = time.monotonic() + LONG
            while remembers(backend, Get((K,))):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            while watcher._pubsub is not None:  # the connection is closed
                assert time.monotonic() < deadline
                backend._update()
                time.sleep(0.01)
            proxy.swallow = False
            while not remembers(backend, Get((K,))):
                assert time.monotonic() < deadline
                assert backend.execute(Get((K,))) == Immutable(b"1")
                time.sleep(0.01)


async def test_no_permission_to_subscribe(
    newest_url: str, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without permission to subscribe, reads work as without a cache, with one warning."""
    with redis.Redis.from_url(newest_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "deaf", "on", "nopass", "~*", "+@all", "resetchannels"
        )
        client.set(K, b"1")
        reader = cached(real(asynchronous, newest_url.replace("redis://", "redis://deaf:any@")))
        try:
            with caplog.at_level(logging.WARNING):
                for _ in range(10):
                    assert await reader.execute(Get((K,))) == Immutable(b"1")
                    await asyncio.sleep(0.01)
            assert not remembers(cache_of(reader), Get((K,)))
            assert (
                len([each for each in caplog.records if "Caching has stopped" in each.message]) == 1
            )
        finally:
            await reader.close()
            client.acl_deluser("deaf")


def _read_in_child(backend: Backend, results: Any) -> None:
    results.put([backend.execute(Get((K,))) for _ in range(20)][-1])


def test_forks(newest_url: str) -> None:
    """The child of a fork has a cache of its own and does not use the parent's connection."""
    context = multiprocessing.get_context("fork")
    with CachedBackend(RedisBackend.from_url(newest_url)) as backend:
        backend.execute(SetImmutable(K, b"1"))
        while not remembers(backend, Get((K,))):
            backend.execute(Get((K,)))
            time.sleep(0.002)
        results = context.SimpleQueue()
        child = context.Process(target=_read_in_child, args=(backend, results))
        with backend._lock:  # as if another thread were reading
            child.start()
        child.join(LONG)
        assert child.exitcode == 0
        assert results.get() == Immutable(b"1")
        assert remembers(backend, Get((K,)))
        with RedisBackend.from_url(newest_url) as writer:
            writer.execute_many([Delete((K,)), SetImmutable(K, b"2")])
        while number(backend.execute(Get((K,)))) != 2:
            time.sleep(0.002)


async def test_closing(newest_url: str, asynchronous: bool) -> None:
    """A closed cache has no connection, raises errors, and can be closed again."""
    with redis.Redis.from_url(newest_url) as client:
        before = {each["id"] for each in client.client_list()}
        reader = cached(real(asynchronous, newest_url))
        await reader.execute(SetImmutable(K, b"1"))
        await learned(reader, Get((K,)))
        assert len({each["id"] for each in client.client_list()} - before) == 2
        await reader.close()
        await until(lambda: {each["id"] for each in client.client_list()} <= before)
        with pytest.raises(Exception, match="closed"):
            await reader.execute(Get((K,)))
        await reader.close()


def test_capabilities() -> None:
    """A cache has the capabilities of the backend behind it."""
    store = MemoryBackend()
    backend = CachedBackend(store)
    assert backend.store is store.store and backend.dump(b"no") is None
    assert repr(backend) == f"<CachedBackend of {store!r}>"
    for name in Capabilities.__annotations__:
        assert getattr(backend, name) == getattr(store, name)


def channels(client: redis.Redis) -> set[object]:
    """Return the channels that have subscribers."""
    return set(client.pubsub_channels())


async def test_the_number_of_subscriptions_is_limited(newest_url: str, asynchronous: bool) -> None:
    """Only the keys in the cache are subscribed to."""
    inner = real(asynchronous, newest_url)
    assert isinstance(inner, (SyncSubject, AsyncSubject))
    reader: Subject
    if isinstance(inner, AsyncSubject):
        reader = AsyncSubject(AsyncCachedBackend(inner.backend, size=2))
    else:
        reader = SyncSubject(CachedBackend(inner.backend, size=2))
    names = [b"key%d" % each for each in range(20)]
    await reader.execute_many([SetImmutable(name, b"1") for name in names])
    for name in names:
        await learned(reader, Get((name,)))
    with redis.Redis.from_url(newest_url) as client:
        expected = {b"clear", b"delete/key18", b"delete/key19", b"update/key18", b"update/key19"}
        await until(lambda: channels(client) == expected)
    await reader.close()
