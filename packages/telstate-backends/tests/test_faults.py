"""What networks and servers do, really done: and what users of the backends see of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
from conftest import SERVERS
from proxy import Proxy
from subjects import real

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncMemoryBackend,
    AsyncRedisBackend,
    CancelledError,
    CheckDue,
    ConnectionError,
    Contents,
    Deadline,
    Delete,
    Exists,
    Export,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    Indexed,
    Keys,
    KeyType,
    KeyWait,
    MemoryBackend,
    Operation,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    SetImmutable,
    SetIndexed,
    TimeoutError,
    Update,
    wait,
    wait_async,
)
from telstate_backends.redis import _heartbeat
from telstate_codec.timestamps import encode_sample
from telstate_testing import RedisServer
from telstate_testing.servers import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVERS, reason="there is no Redis server"),
]

LONG = 30.0


def later(seconds: float, *actions: Callable[[], object]) -> threading.Thread:
    """Do something in a while."""

    def act() -> None:
        time.sleep(seconds)
        for action in actions:
            action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "outage", [0.0, 4.0, pytest.param(30.0, marks=pytest.mark.slow)], ids=lambda s: f"{s:g}s"
)
async def test_everything_goes_on_after_a_restart(server: RedisServer, outage: float) -> None:
    """Reads, writes, batches and waits begun before a crash end well after the restart."""
    url, retry = server.url, RetryPolicy(seconds=outage + 20)
    async with await AsyncRedisBackend.from_url(url, retry=retry) as asynchronous:
        with RedisBackend.from_url(url, retry=retry) as backend, ThreadPoolExecutor(5) as threads:
            waits = [threads.submit(wait, backend, KeyWait((b"k",)), outage + LONG)]
            task = asyncio.create_task(wait_async(asynchronous, KeyWait((b"a_k", b"k"))))
            await asyncio.sleep(0.3)
            server.kill()
            restarting = later(outage, server.start)
            read = threads.submit(backend.execute, Get((b"none",)))
            write = threads.submit(backend.execute, SetImmutable(b"w", b"1"))
            batch = asynchronous.execute_many([SetIndexed(b"i", b"1", b"2"), Exists((b"i",))])
            assert await batch == [None, True]
            assert await asyncio.wrap_future(read) is None
            assert await asyncio.wrap_future(write) in (None, b"1")
            assert not task.done()
            await asynchronous.execute(SetImmutable(b"k", b"1"))
            await asyncio.wait_for(task, LONG)
            await asyncio.wrap_future(waits[0])
            restarting.join()


def test_a_server_that_stays_away_is_an_error_within_the_bound(server: RedisServer) -> None:
    """When the bound is over the error is ours, names the address and has its cause."""
    with RedisBackend.from_url(server.url, retry=RetryPolicy(seconds=0.2)) as backend:
        server.kill()
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{server.port}") as caught:
            backend.execute(Get((b"k",)))
        assert isinstance(caught.value.__cause__, redis.RedisError | OSError)
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{server.port}"):
            backend.execute_many([Get((b"k",))])


@pytest.mark.parametrize("passed", [0, 1, 5])
def test_a_reply_cut_short_is_asked_for_again(proxy: Proxy, passed: int) -> None:
    """What is safe to repeat is repeated after a cut, and takes effect once."""
    with RedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}") as backend:
        backend.execute(SetImmutable(b"k", b"value"))
        proxy.cut_after = passed
        assert backend.execute(Get((b"k",))) == Immutable(b"value")
        proxy.cut_after = passed
        backend.execute(AddSample(b"s", encode_sample(1.0, b"v")))
        proxy.cut_after = passed
        assert backend.execute_many([SetIndexed(b"i", b"1", b"2")])[0] in (None, b"2")
        assert backend.execute(Export(b"s")) == [encode_sample(1.0, b"v")]


async def test_what_is_not_safe_to_repeat_is_not(proxy: Proxy) -> None:
    """A deletion whose reply is lost is an error, because it may have been done."""
    url = f"redis://127.0.0.1:{proxy.port}"
    with RedisBackend.from_url(url) as backend:
        proxy.cut_after = 1
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{proxy.port}"):
            backend.execute(Delete((b"k",)))
        proxy.cut_after = 1
        with pytest.raises(ConnectionError):
            backend.execute_many([Get((b"k",)), Delete((b"k",))])
    async with await AsyncRedisBackend.from_url(url) as asynchronous:
        proxy.cut_after = 1
        with pytest.raises(ConnectionError):
            await asynchronous.execute(Delete((b"k",)))


async def test_a_black_hole_is_noticed(proxy: Proxy) -> None:
    """If nothing comes back any more, the socket timeout makes it an error with the address."""
    url, retry = f"redis://127.0.0.1:{proxy.port}?socket_timeout=1", RetryPolicy(seconds=0)
    with RedisBackend.from_url(url, retry=retry) as backend:
        async with await AsyncRedisBackend.from_url(url, retry=retry) as asynchronous:
            proxy.swallow = True
            with pytest.raises(ConnectionError, match=f"127.0.0.1:{proxy.port} did not answer"):
                backend.execute(Get((b"k",)))
            with pytest.raises(ConnectionError, match=f"127.0.0.1:{proxy.port} did not answer"):
                await asynchronous.execute(Get((b"k",)))
            proxy.swallow = False
            assert backend.execute(Get((b"k",))) is None


async def test_a_watch_is_told_of_a_cut(proxy: Proxy) -> None:
    """After its connection was lost, a watcher learns that a check is due, and updates go on."""
    url = f"redis://127.0.0.1:{proxy.port}"
    async with await AsyncRedisBackend.from_url(url) as asynchronous:
        with RedisBackend.from_url(url) as backend, backend.watch([b"k"]) as watcher:
            async with asynchronous.watch([b"k"]) as async_watcher:
                assert watcher.next(LONG) is CheckDue.SUBSCRIBED
                assert await async_watcher.next() is CheckDue.SUBSCRIBED
                proxy.cut()
                assert await asyncio.to_thread(watcher.next, LONG) is CheckDue.RECONNECTED
                assert await async_watcher.next() is CheckDue.RECONNECTED
                backend.execute(SetImmutable(b"k", b"1"))
                expected = Update(b"k", KeyType.IMMUTABLE, b"1")
                assert watcher.next(LONG) == expected
                assert await async_watcher.next() == expected


async def test_a_silent_watch_notices_a_black_hole(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch whose line is dead without a word finds that out by itself, and reconnects."""
    monkeypatch.setattr(_heartbeat, "PING_INTERVAL", 0.2)
    monkeypatch.setattr(_heartbeat, "PING_TIMEOUT", 0.2)
    url = f"redis://127.0.0.1:{proxy.port}"
    async with await AsyncRedisBackend.from_url(url) as asynchronous:
        with RedisBackend.from_url(url) as backend, backend.watch([b"k"]) as watcher:
            async with asynchronous.watch([b"k"]) as async_watcher:
                assert watcher.next(LONG) is CheckDue.SUBSCRIBED
                assert await async_watcher.next() is CheckDue.SUBSCRIBED
                proxy.swallow = True
                reopening = later(0.6, lambda: setattr(proxy, "swallow", False))
                sync_event = asyncio.create_task(asyncio.to_thread(watcher.next, LONG))
                assert await asyncio.wait_for(async_watcher.next(), LONG) is CheckDue.RECONNECTED
                assert await sync_event is CheckDue.RECONNECTED
                reopening.join()


def test_a_server_that_comes_up_late() -> None:
    """A server that is not there is an error at once; once it is there, all is well."""
    server = RedisServer(list(SERVERS.values())[-1], port=free_port())
    url = f"redis://user:sesame@127.0.0.1:{server.port}"
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{server.port}") as caught:
        RedisBackend.from_url(url)
    assert "sesame" not in str(caught.value) + repr(caught.value.__cause__)
    with server, RedisBackend.from_url(server.url) as backend:
        assert backend.execute(Keys()) == []


def test_a_flushed_script_cache(newest_url: str) -> None:
    """Operations alone and in batches work, in order, though the server has lost its scripts."""
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as backend:
        for number in range(3):
            key = b"k%d" % number
            client.script_flush()
            assert backend.execute_many(
                [SetImmutable(key, b"1"), Get((key,)), SetImmutable(key, b"2")]
            ) == [None, Immutable(b"1"), b"1"]
            client.script_flush()
            assert backend.execute(Get((key,))) == Immutable(b"1")


def test_a_batch_half_refused_for_memory(server: RedisServer) -> None:
    """When memory is full, writes are refused one by one, by name, and reads go on."""
    with redis.Redis(port=server.port) as client, RedisBackend.from_url(server.url) as backend:
        backend.execute(SetImmutable(b"k", b"1"))
        client.config_set("maxmemory", "1")
        refused, read, also_refused = backend.execute_many(
            [SetImmutable(b"x", b"1"), Get((b"k",)), AddSample(b"s", encode_sample(1.0, b""))]
        )
        assert isinstance(refused, RefusedError) and "memory" in str(refused)
        assert isinstance(also_refused, RefusedError)
        assert str(server.port) in str(refused)
        assert read == Immutable(b"1")
        with pytest.raises(RefusedError, match="memory"):
            backend.execute(SetImmutable(b"x", b"1"))
        client.config_set("maxmemory", "0")
        assert backend.execute(Keys()) == [b"k"]


def test_a_read_only_replica(server: RedisServer) -> None:
    """A replica reads and refuses to write, saying what it is."""
    options = ("--replicaof", "127.0.0.1", str(server.port))
    with RedisServer(list(SERVERS.values())[-1], options) as replica:
        with RedisBackend.from_url(replica.url) as backend:
            read, write = backend.execute_many([Get((b"k",)), SetImmutable(b"k", b"1")])
            assert read is None
            assert isinstance(write, RefusedError) and str(replica.port) in str(write)


@pytest.mark.parametrize(
    "operation",
    [
        SetImmutable(b"new", b"1"),
        AddSample(b"new", encode_sample(2.0, b"v")),
        AddSample(b"s", encode_sample(2.0, b"v")),
        AddSamples(b"s", tuple(encode_sample(float(time), b"v") for time in range(5000))),
        SetIndexed(b"new", b"1", b"2"),
        SetIndexed(b"i", b"1", b"2"),
    ],
    ids=["immutable", "first", "sample", "samples", "table", "sub-key"],
)
def test_who_may_not_publish_writes_nothing(server_url: str, operation: Operation[Any]) -> None:
    """A write that cannot be told is refused, and then it has not been done; what was there stays."""
    shy = server_url.replace("//", "//shy:x@")
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as other:
        other.execute(AddSample(b"s", encode_sample(1.0, b"v")))
        other.execute(SetIndexed(b"i", b"0", b"1"))
        everything: list[Operation[Any]] = [Export(key) for key in (b"new", b"s", b"i")]
        present = other.execute_many(everything)
        client.execute_command(
            "ACL", "SETUSER", "shy", "on", "nopass", "~*", "+@all", "resetchannels"
        )
        try:
            with RedisBackend.from_url(shy) as backend:
                with pytest.raises(RefusedError, match="publish"):
                    backend.execute(operation)
        finally:
            client.acl_deluser("shy")
        assert other.execute_many(everything) == present


def test_users_and_passwords(newest_url: str) -> None:
    """An ACL user does what is permitted; what is not, and a wrong password, are our errors."""
    place = newest_url.removeprefix("redis://")
    with redis.Redis.from_url(newest_url) as client:
        client.acl_setuser(
            "anna",
            enabled=True,
            passwords=["+sesame"],
            keys=["open*"],
            channels=["update/open*"],
            reset_channels=True,  # Redis 6.2 permits all to begin with
            commands=["+@all"],
        )
        try:
            with RedisBackend.from_url(f"redis://anna:sesame@{place}") as backend:
                allowed, denied = backend.execute_many(
                    [SetImmutable(b"open", b"1"), SetImmutable(b"shut", b"1")]
                )
                assert allowed is None
                assert isinstance(denied, RefusedError) and "permi" in str(denied)
                assert "sesame" not in repr(backend)
                with backend.watch([b"shut"]) as watcher, pytest.raises(RefusedError):
                    watcher.next(LONG)
            with pytest.raises(ConnectionError, match="password") as caught:
                RedisBackend.from_url(f"redis://anna:wrong-word@{place}")
            assert "wrong-word" not in str(caught.value)
        finally:
            client.acl_deluser("anna")


def test_a_user_who_may_not_do_transactions(newest_url: str) -> None:
    """Ranges, which are read by a transaction where that is quicker, are read without."""
    place = newest_url.removeprefix("redis://")
    sample = encode_sample(1.0, b"v")
    with redis.Redis.from_url(newest_url) as client:
        client.acl_setuser(
            "bert",
            enabled=True,
            passwords=["+sesame"],
            keys=["*"],
            channels=["*"],
            commands=["+@all", "-@transaction"],
        )
        try:
            with RedisBackend.from_url(f"redis://bert:sesame@{place}") as backend:
                backend.execute(AddSample(b"s", sample))
                for _ in range(2):
                    assert backend.execute(GetRange((b"s",), bytes(8), b"\xff" * 8)) == [sample]
        finally:
            client.acl_deluser("bert")


def texts_of(error: BaseException | None) -> str:
    """Return the texts of an error and its causes."""
    return "" if error is None else f"{error!r} {error}\n{texts_of(error.__cause__)}"


async def test_no_error_shows_a_password() -> None:
    """No error, nor its cause, shows the password of a URL, good or bad."""
    port = free_port()
    for url in (
        "redis://:hush/hush@host",
        "redis+sentinel://:hush@host",
        "redis://:hush@host/1",
        "http://a:hush@b",
        f"redis://:hush@127.0.0.1:{port}/2",
        f"redis+sentinel://:hush@127.0.0.1:{port}/store/2",
    ):
        with pytest.raises((ValueError, ConnectionError)) as caught:
            RedisBackend.from_url(url, 2)
        assert "hush" not in texts_of(caught.value)
        with pytest.raises((ValueError, ConnectionError)) as caught:
            await AsyncRedisBackend.from_url(url, 2)
        assert "hush" not in texts_of(caught.value)
    with pytest.raises(ConnectionError) as failure:
        RedisBackend.from_url(f"redis+cluster://:hush@127.0.0.1:{port}")
    assert "hush" not in texts_of(failure.value)


async def test_no_error_of_a_lost_server_shows_a_password(server: RedisServer) -> None:
    """No error, nor its cause, shows it when a server is lost that had accepted it."""
    with redis.Redis(port=server.port) as client:
        client.config_set("requirepass", "hush")
    url, once = f"redis://:hush@127.0.0.1:{server.port}", RetryPolicy(seconds=0)
    get = Get((b"k",))
    with RedisBackend.from_url(url, retry=once) as backend:
        async with await AsyncRedisBackend.from_url(url, retry=once) as asynchronous:
            assert backend.execute(get) is await asynchronous.execute(get) is None
            server.kill()
            for attempt in (lambda: backend.execute(get), lambda: backend.execute_many([get])):
                with pytest.raises(ConnectionError) as caught:
                    attempt()
                assert "hush" not in texts_of(caught.value)
            for task in (asynchronous.execute(get), asynchronous.execute_many([get])):
                with pytest.raises(ConnectionError) as caught:
                    await task
                assert "hush" not in texts_of(caught.value)


class Shaky(MemoryBackend):
    """A store that cannot be reached for a while."""

    failures = 0

    def execute(self, operation: Operation[Any], /, *, deadline: Deadline | None = None) -> Any:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("not now")
        return super().execute(operation)


class AsyncShaky(AsyncMemoryBackend):
    """The same, awaited."""

    failures = 0

    async def execute(
        self, operation: Operation[Any], /, *, deadline: Deadline | None = None
    ) -> Any:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("not now")
        return await super().execute(operation)


async def test_a_wait_outlives_a_look_that_failed() -> None:
    """A wait that cannot look at the store when it should goes on until it can."""
    backend = Shaky()
    asynchronous = AsyncShaky(backend.store)

    def whole(contents: Contents) -> bool:
        return isinstance(contents, Indexed) and len(contents.items) == 2

    with ThreadPoolExecutor(1) as threads:
        sync_wait = threads.submit(wait, backend, KeyWait((b"i",), whole), LONG)
        async_wait = asyncio.create_task(wait_async(asynchronous, KeyWait((b"i",), whole)))
        await asyncio.sleep(0.2)
        backend.failures = asynchronous.failures = 2
        writer = MemoryBackend(backend.store)
        writer.execute_many([SetIndexed(b"i", b"a", b"1"), SetIndexed(b"i", b"b", b"2")])
        await asyncio.wait_for(async_wait, LONG)
        await asyncio.wrap_future(sync_wait)
    assert (backend.failures, asynchronous.failures) == (0, 0)


RACE = """
import sys
from telstate_backends import RedisBackend, SetImmutable
with RedisBackend.from_url(sys.argv[1]) as backend:
    print("ready", flush=True)
    sys.stdin.readline()
    print(repr(backend.execute(SetImmutable(b"race", sys.argv[2].encode()))), flush=True)
"""


@pytest.mark.slow
def test_many_processes_race_to_set_one_immutable(newest_url: str) -> None:
    """Of fifty processes exactly one wins, and all others are told the winner's value."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, newest_url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(50)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        replies = [racer.communicate(timeout=LONG)[0].strip() for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert replies.count("None") == 1
    assert set(replies) == {"None", repr(b"%d" % replies.index("None"))}


async def test_a_thousand_waiters_share_one_connection(newest_url: str) -> None:
    """A thousand tasks wait on one pub/sub connection, and each ends with its own key."""
    async with await AsyncRedisBackend.from_url(newest_url) as backend:
        tasks = [
            asyncio.create_task(wait_async(backend, KeyWait((b"k%d" % number,))))
            for number in range(1000)
        ]
        with redis.Redis.from_url(newest_url) as client:
            while len(client.pubsub_channels("update/*")) < 1000:
                await asyncio.sleep(0.02)
            subscribed = [each for each in client.client_list() if each["sub"] != "0"]
        assert [each["sub"] for each in subscribed] == ["1000"]
        await backend.execute_many([SetImmutable(b"k%d" % number, b"x") for number in range(1000)])
        await asyncio.wait_for(asyncio.gather(*tasks), LONG)


async def test_a_cancelled_wait_leaves_nothing(newest_url: str) -> None:
    """A task cancelled while it waits leaves no subscription, and others are not disturbed."""
    async with await AsyncRedisBackend.from_url(newest_url) as backend:
        staying = asyncio.create_task(wait_async(backend, KeyWait((b"stay",))))
        for number in range(20):
            task = asyncio.create_task(wait_async(backend, KeyWait((b"go",))))
            await asyncio.sleep(0.003 * (number % 5))
            task.cancel()
            await asyncio.wait([task])
        with redis.Redis.from_url(newest_url) as client:
            while client.pubsub_channels("*") != [b"update/stay"]:
                await asyncio.sleep(0.02)
        await backend.execute(SetImmutable(b"stay", b"x"))
        await asyncio.wait_for(staying, LONG)
        before = set(asyncio.all_tasks())
    left = asyncio.all_tasks() & before - {asyncio.current_task()}
    assert not [task for task in left if not task.done()]


def test_a_sync_wait_wakes_at_once(newest_url: str) -> None:
    """A wait ends when its time is over, it is cancelled, or the backend is closed."""
    for backend in (RedisBackend.from_url(newest_url), MemoryBackend()):
        with backend, ThreadPoolExecutor(1) as threads:
            with pytest.raises(TimeoutError, match="'k'"):
                wait(backend, KeyWait((b"k",)), timeout=0.05)
            cancel: Future[None] = Future()
            waiting = threads.submit(wait, backend, KeyWait((b"k",)), None, cancel)
            time.sleep(0.1)
            cancel.set_result(None)
            with pytest.raises(CancelledError, match="'k'"):
                waiting.result(LONG)
            waiting = threads.submit(wait, backend, KeyWait((b"k",)))
            time.sleep(0.1)
            backend.close()
            with pytest.raises(CancelledError, match="closed"):
                waiting.result(LONG)


async def test_old_writers_messages_are_understood(newest_url: str, asynchronous: bool) -> None:
    """A message without its type byte is read by the type of its key, if that exists and is ours."""
    sample = encode_sample(5.0, b"\xff\x01")
    subject = real(asynchronous, newest_url)
    with redis.Redis.from_url(newest_url) as client:
        client.zadd("s", {sample: 0})
        client.set("k", b"\xff\x02")
        client.rpush("list", "of another program")
        async with subject.watch(b"s", b"k", b"gone", b"list") as watcher:
            assert await watcher.next() is CheckDue.SUBSCRIBED
            client.publish("update/s", sample)
            client.publish("update/k", b"\xff\x02")
            client.publish("update/gone", b"\xff\x02")
            client.publish("update/list", b"\xff\x02")
            client.publish("update/k", b"\x03broken")
            assert [await watcher.next() for _ in range(5)] == [
                Update(b"s", KeyType.MUTABLE, b"\xff\x01", timestamp=5.0),
                Update(b"k", KeyType.IMMUTABLE, b"\xff\x02"),
                CheckDue.UNREADABLE,
                CheckDue.UNREADABLE,
                CheckDue.UNREADABLE,
            ]
    await subject.close()


EIGHT = tuple(prefix + b"k" for prefix in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b""))


@pytest.mark.parametrize(
    "operation",
    [
        Get(EIGHT),
        Exists(EIGHT),
        GetKeyType(EIGHT),
        GetIndexed(EIGHT, b"x"),
        GetRange(EIGHT, bytes(8), b"\xff" * 8, True),
        Delete(EIGHT),
    ],
)
def test_a_view_of_eight_prefixes_is_one_round_trip(
    server_url: str, operation: Operation[Any]
) -> None:
    """The server itself counts one read from its clients for each operation, however deep."""
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        backend.execute(operation)
        backend.execute_many([operation])  # which makes another connection
        reads = []
        for _ in range(5):
            before = client.info("stats")["total_reads_processed"]
            backend.execute(operation)
            backend.execute_many([operation] * 10)
            reads.append(client.info("stats")["total_reads_processed"] - before)
        # One each for the operation, the batch, and the second INFO; the server may also notice
        # meanwhile that a client of an earlier test has gone, which counts as a read too.
        assert min(reads) == 3


@pytest.mark.parametrize("there", [True, False], ids=["there", "not-yet"])
async def test_a_wait_on_eight_prefixes_takes_as_many_round_trips_as_on_one(
    newest_url: str, asynchronous: bool, there: bool
) -> None:
    """One for what is there; else one each to look, to subscribe, and to look again."""
    subject = real(asynchronous, newest_url)
    # The last key is the one that comes, and is watched from then on.
    counts = {1: list[int](), 8: list[int]()}
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as writer:
        for turn in range(10):
            depth = (8, 1)[turn % 2]
            keys = tuple(b"%b%d" % (key, turn) for key in EIGHT[-depth:])
            write, channel = SetImmutable(keys[-1], b"1"), b"update/" + keys[-1]
            # So that all connections are there, and that for updates has been used before.
            async with subject.watch(b"other") as watcher:
                assert await watcher.next() is CheckDue.SUBSCRIBED
                if there:
                    writer.execute(write)
                before = client.info("stats")["total_reads_processed"]
                waiting = asyncio.create_task(subject.wait(KeyWait(keys)))
                while not there and client.pubsub_numsub(channel)[0][1] == 0:
                    before += 1  # this look
                    await asyncio.sleep(0.01)
                if not there:
                    await asyncio.sleep(0.1)
                    writer.execute(write)
                    before += 2  # the last look, and the writer's
                await waiting
                after = client.info("stats")["total_reads_processed"]
            counts[depth].append(after - before - 1)  # its own
    await subject.close()
    least = {depth: min(each) for depth, each in counts.items()}
    assert least[8] == least[1]
    assert not there or least[1] == 1
