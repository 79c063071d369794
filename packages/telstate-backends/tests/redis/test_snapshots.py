"""`take_snapshot`: the server's own snapshot, on every server, in both of its forms, and under faults."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from conftest import NEWEST, SERVERS, needs_server
from proxy import Proxy
from redis.crc import key_slot
from redis.exceptions import ConnectionError as LostError
from subjects import LONG, AsyncSubject, Subject, SyncSubject, later, spread

from telstate_backends import (
    AsyncRedisBackend,
    Clear,
    ConnectionError,
    Export,
    Fields,
    ForeignKeyError,
    Immutable,
    Keys,
    Load,
    MemoryBackend,
    RdbParseError,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    Samples,
    SetImmutable,
)
from telstate_backends.abc import want_all
from telstate_backends.redis._replication import Payload  # the form of the stream, byte by byte
from telstate_backends.redis._replication import Snapshot, open_snapshot  # its parts, in one test
from telstate_codec import encode_sample
from telstate_testing import RedisServer, clusters
from telstate_testing.servers import free_port

NEVER = RetryPolicy(seconds=0)
LASTING = RetryPolicy(seconds=LONG)
SAMPLES = Samples(encode_sample(float(number), b"v%d" % number) for number in range(3000))
CONTENTS: dict[bytes, Any] = {
    b"fixed": Immutable(b"\xff\x01"),
    b"number": Immutable(b"12345"),
    b"long": SAMPLES,
    b"short": Samples(SAMPLES[:3]),
    b"table": Fields({b"%d" % number: bytes(number) for number in range(200)}),
    b"small": Fields({b"a": b"1"}),
    b"compressible": Immutable(bytes(100_000)),
}


async def take_from(asynchronous: bool, url: str, *options: Any) -> Any:
    """Take a snapshot of a running server as a dictionary."""
    subject = await spread(asynchronous, url)
    try:
        return await take(subject, dict, *options)
    finally:
        await subject.close()


async def take(subject: Subject, consume: Callable[[Any], Any], *options: Any) -> Any:
    """Take a snapshot of a subject."""
    assert isinstance(subject, SyncSubject | AsyncSubject)
    if isinstance(subject, SyncSubject):
        return await asyncio.to_thread(subject.backend.take_snapshot, consume, *options)
    return await subject.backend.take_snapshot(consume, *options)


@pytest.fixture(params=[True, False], ids=["diskless", "disk"])
def form_url(request: pytest.FixtureRequest, server_url: str) -> Iterator[str]:
    """The URL of an empty server of each version, which sends its snapshot in each form."""
    with redis.Redis.from_url(server_url) as client:
        before = client.config_get("repl-diskless-sync")
        client.config_set("repl-diskless-sync", "yes" if request.param else "no")
        yield server_url
        client.config_set("repl-diskless-sync", before["repl-diskless-sync"])


def fill(url: str) -> None:
    """Write `CONTENTS`."""
    with RedisBackend.from_url(url) as backend:
        backend.execute_many([Load(key, contents) for key, contents in CONTENTS.items()])


def replicas(url: str) -> int:
    """Return how many clients of a server are replicas."""
    with redis.Redis.from_url(url) as client:
        return sum("S" in each["flags"] for each in client.client_list())


async def until_no_replicas(url: str) -> None:
    """Wait until a server has noticed that the connections of its replicas are closed."""
    async with asyncio.timeout(LONG):
        while replicas(url):
            await asyncio.sleep(0.01)


# The form of the stream

MARK = b"0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41, 1000])
@pytest.mark.parametrize(
    "content", [b"REDIS0009 and so on", MARK[:39] + b"\n" * 100 + MARK[:39], b""]
)
def test_payload(size: int, content: bytes) -> None:
    """A snapshot comes after newlines, and with its length or a mark at its end, in pieces of any size."""
    streams = [
        b"\n\n\n$EOF:" + MARK + b"\r\n" + content + MARK + b"*1\r\n$4\r\nPING\r\n",
        b"\n$%d\r\n" % len(content) + content + b"*1\r\n$4\r\nPING\r\n",
    ]
    for stream in streams:
        pieces = iter(stream[start : start + size] for start in range(0, len(stream), size))
        payload = Payload(_Socket(pieces).receive)
        assert b"".join(iter(lambda: payload.read(64), b"")) == content


@pytest.mark.parametrize(
    "stream", [b"\n\n", b"$EOF:" + MARK + b"\r\nREDIS" + MARK[:-1], b"$9\r\nREDIS"]
)
def test_truncated_payload(stream: bytes) -> None:
    """A connection that is closed before the end is an error."""
    with pytest.raises(LostError, match="in the middle of a snapshot"):
        payload = Payload(_Socket(iter([stream])).receive)
        while payload.read(64):
            pass


class _Socket:
    """Receives what comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def receive(self, size: int) -> bytes:
        self._rest = self._rest or next(self._pieces, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


# Contents


async def test_contents(form_url: str, asynchronous: bool) -> None:
    """A snapshot has every key of the database as other reads return it; foreign keys are errors."""
    fill(form_url)
    with redis.Redis.from_url(form_url) as client:
        client.rpush("list", "x")
        client.set("later", b"\xff\x02", ex=10_000)
        client.move("number", 3)
    found = await take_from(asynchronous, form_url)
    foreign = found.pop(b"list")
    assert isinstance(foreign, ForeignKeyError) and "'list' holds a Redis list" in str(foreign)
    assert found.pop(b"later") == Immutable(b"\xff\x02")
    assert found == {key: value for key, value in CONTENTS.items() if key != b"number"}
    in_three = await take_from(asynchronous, f"{form_url}/3")
    assert in_three == {b"number": CONTENTS[b"number"]}
    chosen = await take_from(asynchronous, form_url, b"table".__eq__)
    assert list(chosen) == [b"table"]
    await until_no_replicas(form_url)


async def test_fields_that_expire(form_url: str) -> None:
    """A hash whose fields expire is an error for that key, and the other keys are in the snapshot."""
    fill(form_url)
    with redis.Redis.from_url(form_url) as client:
        try:
            client.execute_command("HEXPIRE", "small", 1000, "FIELDS", 1, "a")
        except redis.ResponseError:
            pytest.skip("fields do not expire on this server")
    with RedisBackend.from_url(form_url) as backend:
        found: dict[bytes, Any] = backend.take_snapshot(dict)
    assert "fields that expire" in str(found.pop(b"small"))
    assert found == {key: value for key, value in CONTENTS.items() if key != b"small"}


def test_one_moment(newest_url: str) -> None:
    """A snapshot of two keys that are written alternately has the values of one moment."""
    filling = [Load(b"x%d" % number, Immutable(bytes(200))) for number in range(20_000)]
    stop = threading.Event()
    with RedisBackend.from_url(newest_url) as backend:
        backend.execute_many(filling)
        for name in (b"a", b"z"):
            backend.execute(Load(name, Immutable(b"0")))
        writer = threading.Thread(target=write_alternately, args=(newest_url, stop))
        writer.start()
        try:
            found: dict[bytes, Any] = backend.take_snapshot(dict)
        finally:
            stop.set()
            writer.join()
    assert len(found) == 20_002
    assert int(found[b"a"].value) - int(found[b"z"].value) in (0, 1)


def write_alternately(url: str, stop: threading.Event) -> None:
    """Count two keys up, the first one first."""
    with redis.Redis.from_url(url) as client:
        number = 0
        while not stop.is_set():
            number += 1
            client.set("a", number)
            client.set("z", number)


async def test_every_backend_but_fakeredis(subject: Subject) -> None:
    """Every backend has snapshots, also behind a cache; fakeredis refuses."""
    for key, contents in (*CONTENTS.items(), (b"{x}1", Immutable(b"1")), (b"", Immutable(b"2"))):
        await subject.execute(Load(key, contents))
    assert isinstance(subject, SyncSubject | AsyncSubject)
    if (
        "fakeredis"
        in type(getattr(getattr(subject.backend, "_server", None), "client", 0)).__module__
    ):
        with pytest.raises(RefusedError, match="not a real server.*without consistent=True"):
            await take(subject, dict)
        return
    found = await take(subject, dict)
    assert found == {key: await subject.execute(Export(key)) for key in found}
    assert sorted(found) == await subject.execute(Keys())


def test_memory_is_copied() -> None:
    """A snapshot of a store in memory does not change when the store does."""
    backend = MemoryBackend()
    backend.execute(Load(b"a", Samples(SAMPLES[:2])))
    backend.execute(Load(b"b", Immutable(b"1")))

    def consume(entries: Iterator[tuple[bytes, Any]]) -> dict[bytes, Any]:
        first = dict([next(entries)])
        backend.execute(Load(b"a", Samples(SAMPLES[2:5]), False))
        backend.execute(Clear())
        return first | dict(entries)

    assert backend.take_snapshot(consume) == {b"a": SAMPLES[:2], b"b": Immutable(b"1")}


# Refusals and faults


async def test_permissions(server_url: str, asynchronous: bool) -> None:
    """A user needs SYNC and REPLCONF and nothing else; without SYNC the error names both."""
    fill(server_url)
    place = server_url.removeprefix("redis://")
    with redis.Redis.from_url(server_url) as client:
        for name, rules in (("reader", ["+@read", "~*"]), ("copier", ["+sync", "+replconf"])):
            client.execute_command("ACL SETUSER", name, "reset", "on", "nopass", "+ping", *rules)
    with pytest.raises(
        RefusedError, match=r"127.0.0.1:\d+ does not send.*NOPERM.*SYNC and REPLCONF"
    ):
        await take_from(asynchronous, f"redis://reader:any@{place}")
    assert await take_from(asynchronous, f"redis://copier:any@{place}") == CONTENTS
    with redis.Redis.from_url(server_url) as client:
        client.execute_command("ACL DELUSER", "reader", "copier")


async def test_replica_without_its_master(newest_url: str, asynchronous: bool) -> None:
    """A replica without its master is asked again until it is connected, or raises an error without retries."""
    fill(newest_url)
    with redis.Redis.from_url(newest_url) as client:
        admin: Any = client  # redis-py leaves some of its methods without annotations
        admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
        hasty, patient = [await spread(asynchronous, newest_url, each) for each in (NEVER, LASTING)]
        try:
            with pytest.raises(ConnectionError, match="a replica that has lost its master"):
                await take(hasty, dict)
            thread = later(0.1, lambda: admin.execute_command("REPLICAOF", "NO", "ONE"))
            assert await take(patient, dict) == CONTENTS
            thread.join()
        finally:
            admin.execute_command("REPLICAOF", "NO", "ONE")
        await hasty.close()
        await patient.close()


@needs_server
async def test_lost_connections(server: RedisServer, asynchronous: bool) -> None:
    """If the connection is lost in the middle, the snapshot starts anew, or fails without retries."""
    fill(server.url)
    starts = 0

    def consume(entries: Iterator[Any]) -> dict[bytes, Any]:
        nonlocal starts
        starts += 1
        return dict(entries)

    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        patient = await spread(asynchronous, url)
        for cut_after in (3, 60, 400, 3000):
            proxy.cut_after = cut_after
            assert await take(patient, consume) == CONTENTS
        await patient.close()
        assert starts >= 6
        hasty = await spread(asynchronous, url, NEVER)
        proxy.cut_after = 3000
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{proxy.port}"):
            await take(hasty, dict)
        assert await take(hasty, dict) == CONTENTS
        await hasty.close()
    await until_no_replicas(server.url)


@needs_server
async def test_killed_server(server: RedisServer, asynchronous: bool) -> None:
    """If a server is killed in the middle of a snapshot, the snapshot fails, or starts anew within the retries."""
    fill_with_noise(server.url)
    hasty = await spread(asynchronous, server.url, NEVER)
    with pytest.raises(ConnectionError, match=str(server.port)):
        await take(hasty, partial(act_at_first, server.kill))
    await hasty.close()
    server.start()
    fill_with_noise(server.url)
    patient = await spread(asynchronous, server.url, LASTING)

    def restart() -> None:
        server.kill()
        # Redis 6.2 writes the snapshot to a file first, and would load it.
        (server.folder / "dump.rdb").unlink(missing_ok=True)
        server.start()

    actions = iter([restart])
    assert await take(patient, lambda found: act_at_first(next(actions, bool), found)) == {}
    await patient.close()


def fill_with_noise(url: str) -> None:
    """Write more than the buffers of sockets hold, which a server cannot compress."""
    noise = random.Random(1).randbytes(1 << 20)
    with RedisBackend.from_url(url) as backend:
        for number in range(24):
            backend.execute(Load(b"%d" % number, Immutable(b"%d" % number + noise)))


def act_at_first(action: Callable[[], object], entries: Iterator[Any]) -> dict[bytes, Any]:
    """Call a function when the first entry has arrived, and read the others."""
    found: dict[bytes, Any] = {}
    for key, contents in entries:
        if not found:
            action()
        found[key] = contents
    return found


async def test_errors_of_the_caller(newest_url: str, asynchronous: bool) -> None:
    """An error of `consume` is raised as it is, also one of the operating system; nothing is repeated."""
    fill(newest_url)
    subject = await spread(asynchronous, newest_url)
    for error in (OSError(28, "full"), ZeroDivisionError(), LostError("another server")):
        calls = []

        def consume(entries: Iterator[Any], error: Exception = error) -> None:
            calls.append(next(entries))
            raise error

        with pytest.raises(type(error)) as caught:
            await take(subject, consume)
        assert caught.value is error and len(calls) == 1
    await subject.close()
    await until_no_replicas(newest_url)


@needs_server
def test_interrupted(server: RedisServer) -> None:
    """An interrupt closes the connection, and the backend can be used again."""
    fill_with_noise(server.url)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with RedisBackend.from_url(server.url) as backend:
        with pytest.raises(KeyboardInterrupt):
            backend.take_snapshot(partial(act_at_first, interrupt))
        asyncio.run(until_no_replicas(server.url))
        assert len(backend.take_snapshot(dict)) == 24


@needs_server
async def test_cancelled(server: RedisServer) -> None:
    """A cancelled task ends its thread although the server sends nothing, and closes the connection."""
    fill_with_noise(server.url)
    entered = threading.Event()
    async with await AsyncRedisBackend.from_url(server.url, retry=NEVER) as backend:
        task = asyncio.create_task(backend.take_snapshot(partial(stall, server, entered)))
        await asyncio.to_thread(entered.wait, LONG)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LONG)
        os.kill(server.process_id, signal.SIGCONT)
    await until_no_replicas(server.url)


def stall(server: RedisServer, entered: threading.Event, entries: Iterator[Any]) -> None:
    """Stop the server after the first entry, and wait for the others."""
    next(entries)
    os.kill(server.process_id, signal.SIGSTOP)
    entered.set()
    for _ in entries:
        pass


@needs_server
async def test_closed(server: RedisServer, asynchronous: bool) -> None:
    """Closing the backend ends a snapshot that waits for the server."""
    fill_with_noise(server.url)
    entered = threading.Event()
    subject = await spread(asynchronous, server.url)
    task = asyncio.create_task(take(subject, partial(stall, server, entered)))
    await asyncio.to_thread(entered.wait, LONG)
    await subject.close()
    with pytest.raises(ConnectionError, match="closed"):
        await asyncio.wait_for(task, LONG)
    os.kill(server.process_id, signal.SIGCONT)
    await until_no_replicas(server.url)


@needs_server
def test_silence(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends nothing for too long counts as lost."""
    # The limit is private, and a minute long.
    monkeypatch.setattr("telstate_backends.redis._replication.SILENCE", 0.2)
    fill_with_noise(server.url)
    url = f"{server.url}?socket_timeout=2"
    with RedisBackend.from_url(url, retry=NEVER) as backend:
        with pytest.raises(ConnectionError, match="did not answer in time"):
            backend.take_snapshot(partial(stall, server, threading.Event()))


@needs_server
def test_corrupt_stream(server: RedisServer) -> None:
    """A stream that was damaged on its way is an error that names the server."""
    fill(server.url)
    with Proxy(server.port) as proxy:
        proxy.replace = (b"redis-bits", b"redis-bitz")
        with RedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}") as backend:
            with pytest.raises(
                RdbParseError, match=f"snapshot of Redis at 127.0.0.1:{proxy.port}.*checksum"
            ):
                backend.take_snapshot(dict)


@needs_server
@pytest.mark.parametrize("binary", NEWEST)
def test_expired_keys(binary: str) -> None:
    """A key that has expired, but that the server has not removed yet, is not in a snapshot."""
    allowed = SERVERS[binary].version < (7,)
    with RedisServer(
        SERVERS[binary], () if allowed else ("--enable-debug-command", "yes")
    ) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            client.set("old", b"1", px=1)
            client.set("kept", b"1", px=10**9)
            client.set("fixed", b"1")
            time.sleep(0.01)  # longer than the life of the key
            with RedisBackend.from_url(server.url) as backend:
                assert sorted(backend.take_snapshot(dict)) == [b"fixed", b"kept"]
            assert client.dbsize() == 3


# Clusters and Sentinel


@pytest.mark.slow
@needs_server
@pytest.mark.parametrize("binary", NEWEST)
async def test_moving_slots(binary: str, asynchronous: bool) -> None:
    """Keys of slots that are on the move are in a snapshot once, wherever they are at each moment."""
    with clusters.running_cluster(SERVERS[binary]) as nodes:
        ports = [node.port for node in nodes]
        url = f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20"
        keys = [b"{%d}%d" % (slot, number) for slot in range(300) for number in range(3)]
        with RedisBackend.from_url(url) as backend:
            backend.execute_many([SetImmutable(key, b"1") for key in keys])
        subject = await spread(asynchronous, url)
        mine = [key for key in keys if key_slot(key) >= 2 * clusters.SLOTS // 3 + 1]
        # From the last node, whose turn comes last, to the first, and half of the keys before that.
        slot = key_slot(mine[0])
        last_to_first = [ports[2], ports[0], ports[1]]

        def move(entries: Iterator[Any]) -> list[bytes]:
            found = [next(entries)[0]]
            moving = clusters.SlotMove(slot, last_to_first)
            moving.finish()
            return found + [key for key, _ in entries]

        assert sorted(await take(subject, move)) == sorted(keys)
        halfway = clusters.SlotMove(key_slot(mine[3]), last_to_first)
        halfway.move(mine[3])
        assert sorted(await take(subject, lambda found: [key for key, _ in found])) == sorted(keys)
        halfway.finish()
        # A node that is about to get a slot may have a part of a key already.
        imported = mine[6]
        clusters.SlotMove(key_slot(imported), last_to_first)
        with redis.Redis(port=ports[0]) as target:
            target.execute_command("ASKING")
            target.execute_command("SET", imported, b"a part")
        found: dict[bytes, Any] = await take(subject, dict)
        assert sorted(found) == sorted(keys) and found[imported] == Immutable(b"1")
        await subject.close()


def test_node_that_was_not_listed(cluster_ports: list[int]) -> None:
    """Keys of a node that has become a master after the nodes were listed are read in the usual way.

    The parts of a snapshot are private: such a node is left out here, since the moment cannot be chosen.
    """
    with RedisBackend.from_url(f"redis+cluster://127.0.0.1:{cluster_ports[0]}") as backend:
        keys = [b"k%d" % number for number in range(50)]
        backend.execute_many([SetImmutable(key, b"1") for key in keys])
        whole = open_snapshot(backend._server, want_all, backend.execute_many)
        parts = whole._sources, 0, want_all, whole._ownership, whole._execute_many
        found = Snapshot(parts[0][1:], *parts[1:]).feed(dict).result()
        assert sorted(found) == sorted(keys)


@pytest.mark.slow
@needs_server
@pytest.mark.parametrize("binary", NEWEST)
async def test_sentinel(binary: str, asynchronous: bool) -> None:
    """Through Sentinel the snapshot is that of the master, and no Sentinel takes the client for a replica."""
    with clusters.running_sentinel(SERVERS[binary], down_after=30_000) as (port, master):
        fill_with_noise(master.url)
        sentinel: Any = redis.Redis(port=port)
        if SERVERS[binary].version >= (7,):  # before, it is ten seconds
            sentinel.execute_command("SENTINEL DEBUG", "info-period", 100)
        subject = await spread(asynchronous, f"redis+sentinel://127.0.0.1:{port}/store")

        def consume(entries: Iterator[Any]) -> int:
            return len(act_at_first(partial(wait_for_refreshes, sentinel), entries))

        assert await take(subject, consume) == 24
        assert [each["port"] != 0 for each in sentinel.sentinel_slaves("store")] == [True]
        await subject.close()
        sentinel.close()


def wait_for_refreshes(sentinel: Any) -> None:
    """Wait until a Sentinel has asked the master twice for its replicas."""
    seen = 0
    last = 0
    end = time.monotonic() + LONG
    while seen < 2:
        assert time.monotonic() < end, "the Sentinel does not ask the master"
        age = int(sentinel.sentinel_master("store")["info-refresh"])
        seen += age < last
        last = age
        time.sleep(0.01)
