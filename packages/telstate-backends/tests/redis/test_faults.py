"""Operations while servers restart, connections fail and permissions are missing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
from conftest import needs_server
from proxy import Proxy
from subjects import later

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncRedisBackend,
    ConnectionError,
    Deadline,
    Delete,
    Exists,
    Export,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    Keys,
    KeyWait,
    Operation,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    SetImmutable,
    SetIndexed,
    wait,
    wait_async,
)
from telstate_backends.operations import inspect
from telstate_codec.timestamps import encode_sample
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.servers import free_port

pytestmark = [
    pytest.mark.slow,
    needs_server,
]

LONG = 30.0


@pytest.mark.parametrize("outage", [0.0, 4.0, 12.0], ids=lambda s: f"{s:g}s")
async def test_operations_and_waits_survive_a_restart(server: RedisServer, outage: float) -> None:
    """Reads, writes, batches and waits that begin before a crash succeed after the restart."""
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


def test_a_server_that_does_not_come_back(server: RedisServer) -> None:
    """After the retries, the error names the address and has redis-py's error as its cause."""
    with RedisBackend.from_url(server.url, retry=RetryPolicy(seconds=0.2)) as backend:
        server.kill()
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{server.port}") as caught:
            backend.execute(Get((b"k",)))
        assert isinstance(caught.value.__cause__, redis.RedisError | OSError)
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{server.port}"):
            backend.execute_many([Get((b"k",))])


@pytest.mark.parametrize("passed", [0, 1, 5])
def test_a_truncated_reply_is_requested_again(proxy: Proxy, passed: int) -> None:
    """An operation that is safe to repeat is repeated after a lost connection, and takes effect once."""
    with RedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}") as backend:
        backend.execute(SetImmutable(b"k", b"value"))
        proxy.cut_after = passed
        assert backend.execute(Get((b"k",))) == Immutable(b"value")
        proxy.cut_after = passed
        backend.execute(AddSample(b"s", encode_sample(1.0, b"v")))
        proxy.cut_after = passed
        assert backend.execute_many([SetIndexed(b"i", b"1", b"2")])[0] in (None, b"2")
        assert backend.execute(Export(b"s")) == [encode_sample(1.0, b"v")]


async def test_a_deletion_is_not_repeated(proxy: Proxy) -> None:
    """A deletion whose reply is lost raises, because it may have taken effect."""
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


async def test_a_silent_server(proxy: Proxy) -> None:
    """Without a reply, the socket timeout leads to an error with the address."""
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


def test_a_server_that_starts_late(newest: RedisBinary) -> None:
    """Connecting fails at once while there is no server, and works once there is."""
    server = RedisServer(newest, port=free_port())
    url = f"redis://user:sesame@127.0.0.1:{server.port}"
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{server.port}") as caught:
        RedisBackend.from_url(url)
    assert "sesame" not in str(caught.value) + repr(caught.value.__cause__)
    with server, RedisBackend.from_url(server.url) as backend:
        assert backend.execute(Keys()) == []


def test_a_flushed_script_cache(newest_url: str) -> None:
    """Single operations and batches work, in order, after the server has lost its scripts."""
    with redis.Redis.from_url(newest_url) as client, RedisBackend.from_url(newest_url) as backend:
        for number in range(3):
            key = b"k%d" % number
            client.script_flush()
            assert backend.execute_many(
                [SetImmutable(key, b"1"), Get((key,)), SetImmutable(key, b"2")]
            ) == [None, Immutable(b"1"), b"1"]
            client.script_flush()
            assert backend.execute(Get((key,))) == Immutable(b"1")


def test_a_batch_on_a_full_server(server: RedisServer) -> None:
    """When memory is full, the writes of a batch are refused, and its reads succeed."""
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
    """A replica serves reads and refuses writes; the error names it."""
    options = ("--replicaof", "127.0.0.1", str(server.port))
    with RedisServer(server.binary, options) as replica:
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
def test_a_user_without_permission_to_publish(server_url: str, operation: Operation[Any]) -> None:
    """A write that cannot be published is refused, and changes nothing."""
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
                with pytest.raises(RefusedError, match="use the channels update"):
                    backend.execute(operation)
        finally:
            client.acl_deluser("shy")
        assert other.execute_many(everything) == present


def test_users_and_passwords(newest_url: str) -> None:
    """An ACL user can do what is permitted; anything else and a wrong password raise our errors."""
    place = newest_url.removeprefix("redis://")
    with redis.Redis.from_url(newest_url) as client:
        client.acl_setuser(
            "anna",
            enabled=True,
            passwords=["+sesame"],
            keys=["open*"],
            channels=["update/open*"],
            reset_channels=True,  # by default, Redis 6.2 permits all channels
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


def test_a_user_without_transactions(newest_url: str) -> None:
    """Ranges, which are otherwise read by a transaction, are read by a script."""
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


def test_long_keys_are_exported_without_a_script(server_url: str) -> None:
    """A batch with long keys is one round trip of transactions for these and scripts for the others."""
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        samples = [encode_sample(float(number), b"v") for number in range(1000)]
        client.zadd("long", dict.fromkeys(samples, 0))
        client.set("short", b"x")
        operations = [Export(b"long", is_long=True), Export(b"short"), Export(b"nothing", True)]
        expected = [samples, Immutable(b"x"), None]
        assert backend.execute_many(operations) == expected
        client.config_resetstat()
        assert backend.execute_many(operations) == expected
        calls = client.info("commandstats")
        scripts = sum(entry["calls"] for name, entry in calls.items() if "evalsha" in name)
        assert (scripts, calls["cmdstat_exec"]["calls"]) == (1, 2)


def test_a_new_connection_does_not_keep_its_caller(server_url: str) -> None:
    """A deadline with which a connection was made is freed with the call, and so is a watch that is dropped."""

    class Caller:
        def gave_up(self) -> bool:
            return False

    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        client.client_kill_filter(_type="normal", skipme=True)
        caller = Caller()
        freed = weakref.ref(caller)
        deadline = Deadline.after(LONG, caller.gave_up)
        assert not backend.execute(Exists((b"k",)), deadline=deadline)
        del caller, deadline
        assert freed() is None


@pytest.mark.parametrize("count, calls", [(10, 1), (1000, 0)])
def test_a_glob_on_a_small_store_is_one_script(
    server_url: str, monkeypatch: pytest.MonkeyPatch, count: int, calls: int
) -> None:
    """The server looks through few keys at once, and through many by pages; a user who may not do the first gets pages."""
    monkeypatch.setattr(inspect, "KEYS_PER_PAGE", 100)
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        client.mset({b"k%d" % number: b"x" for number in range(count)})
        expected = sorted(b"k%d" % number for number in range(count) if b"1" in b"%d" % number)
        client.config_resetstat()
        assert backend.execute(Keys(b"k*1*")) == expected
        assert client.info("commandstats").get("cmdstat_keys", {"calls": 0})["calls"] == calls
        client.acl_setuser(
            "carl", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-keys"]
        )
        try:
            place = server_url.removeprefix("redis://")
            with RedisBackend.from_url(f"redis://carl:any@{place}") as restricted:
                assert restricted.execute(Keys(b"k*1*")) == expected
        finally:
            client.acl_deluser("carl")


def texts_of(error: BaseException | None) -> str:
    """Return the texts of an error and its causes."""
    return "" if error is None else f"{error!r} {error}\n{texts_of(error.__cause__)}"


async def test_no_error_shows_a_password() -> None:
    """No error or cause shows the password of a URL, valid or not."""
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
    """No error or cause shows the password after the connection is lost."""
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


RACE = """
import os, sys
from telstate_backends import RedisBackend, SetImmutable

ready, start = os.pipe(), os.pipe()
for number in range(50):
    if os.fork() == 0:
        with RedisBackend.from_url(sys.argv[1]) as backend:
            os.write(ready[1], b".")
            os.read(start[0], 1)
            reply = backend.execute(SetImmutable(b"race", b"%d" % number))
            os.write(1, b"%a\\n" % reply)
        os._exit(0)
for _ in range(50):
    os.read(ready[0], 1)
os.write(start[1], bytes(50))
for _ in range(50):
    os.wait()
"""


@pytest.mark.slow
def test_many_processes_race_to_set_one_immutable(newest_url: str) -> None:
    """Of fifty processes exactly one sets the key, and all others get its value."""
    command = [sys.executable, "-c", RACE, newest_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    replies = done.stdout.split()
    with RedisBackend.from_url(newest_url) as backend:
        stored = backend.execute(Get((b"race",)))
    assert isinstance(stored, Immutable)
    assert sorted(replies) == sorted(["None", *[repr(stored.value)] * 49]), done.stderr


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
def test_a_view_of_eight_prefixes_takes_one_round_trip(
    server_url: str, operation: Operation[Any]
) -> None:
    """The server counts one read from its clients for each operation, however deep the view."""
    with redis.Redis.from_url(server_url) as client, RedisBackend.from_url(server_url) as backend:
        backend.execute(operation)
        backend.execute_many([operation])  # which may use another connection
        reads = []
        for _ in range(5):
            before = client.info("stats")["total_reads_processed"]
            backend.execute(operation)
            backend.execute_many([operation] * 10)
            reads.append(client.info("stats")["total_reads_processed"] - before)
        # One for the operation, the batch and the second INFO each. The server may also notice that a
        # client of an earlier test has gone, which counts as a read too.
        assert min(reads) == 3
