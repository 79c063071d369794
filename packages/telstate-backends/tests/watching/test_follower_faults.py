"""Followers while connections are lost and servers crash: each sample is returned exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
from conftest import needs_server
from proxy import Proxy
from subjects import AsyncSubject, Subject, SyncSubject, real, spread

from telstate_backends import (
    AddSample,
    AsyncFollower,
    CheckDue,
    Follower,
    KeyType,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    SetImmutable,
    TrackedEvent,
    Update,
)
from telstate_codec.timestamps import encode_sample
from telstate_testing import RedisBinary, RedisServer

pytestmark = [
    pytest.mark.slow,
    needs_server,
]

LONG = 60.0
#: The update that is written last, and is the last by time.
END = Update(b"s", KeyType.MUTABLE, b"end", timestamp=1e9)
WRITE_END = AddSample(b"s", encode_sample(1e9, b"end"))


@pytest.fixture
def server(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server of the newest versions in turn that loses no acknowledged write."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(newest, options) as server:
        yield server


async def follow(subject: Subject, started: threading.Event, keys: int = 0) -> list[TrackedEvent]:
    """Follow samples, and so many keys that match a pattern, until the last update."""
    if isinstance(subject, SyncSubject):
        return await asyncio.to_thread(_follow, subject.backend, started, keys)
    assert isinstance(subject, AsyncSubject)
    changes: list[TrackedEvent] = []
    async with AsyncFollower(subject.backend, [(b"v_s", b"s")], [b"new_*"]) as follower:
        started.set()
        while not _ends(changes, keys):
            changes.append(await asyncio.wait_for(follower.next(), LONG))
    return changes


def _follow(backend: Any, started: threading.Event, keys: int) -> list[TrackedEvent]:
    changes: list[TrackedEvent] = []
    with Follower(backend, [(b"v_s", b"s")], [b"new_*"]) as follower:
        started.set()
        while not _ends(changes, keys):
            change = follower.next(LONG)
            assert change is not None, "no change in time"
            changes.append(change)
    return changes


def _ends(changes: list[TrackedEvent], keys: int) -> bool:
    # In a cluster, new keys of other nodes may arrive after the last update.
    last = changes[-1] if changes else None
    if not isinstance(last, Update) or (last.timestamp is not None and last != END):
        return False
    new = {each.key for each in changes if isinstance(each, Update) and each.timestamp is None}
    return END in changes and len(new) >= keys


def write(backend: RedisBackend, count: int, fault: Callable[[int], None]) -> None:
    """Write samples (every third out of order, every tenth long) and new keys, and cause faults."""
    for number in range(count):
        time = float(number if number % 3 else 10 * count - number)
        value = b"%d " % number + (b"." * 200 if number % 10 == 0 else b"")
        backend.execute(AddSample(b"s", encode_sample(time, value)))
        if number % 50 == 0:
            backend.execute(SetImmutable(b"new_%d" % number, b"new %d" % number))
        fault(number)


def check(changes: list[TrackedEvent], count: int) -> None:
    """Check that each change was returned once, and that connections were lost."""
    changes.remove(END)
    updates = [each for each in changes if isinstance(each, Update)]
    samples = Counter(int(each.value.split()[0]) for each in updates if each.timestamp is not None)
    assert samples == Counter(range(count))
    others = Counter(each.key for each in updates if each.timestamp is None)
    assert others == Counter(b"new_%d" % number for number in range(0, count, 50))
    assert CheckDue.RECONNECTED in changes


async def follow_with_faults(
    subject: Subject, backend: RedisBackend, count: int, fault: Callable[[int], None]
) -> list[TrackedEvent]:
    """Follow keys while they are written and there are faults."""
    started = threading.Event()
    following = asyncio.create_task(follow(subject, started, count // 50))
    await asyncio.to_thread(started.wait, LONG)
    with backend:
        await asyncio.to_thread(write, backend, count, fault)
        # After all faults.
        backend.execute(WRITE_END)
        changes = await following
    await subject.close()
    return changes


async def test_lost_connections(server: RedisServer, asynchronous: bool) -> None:
    """The connection is lost again and again, between messages and within them."""
    with Proxy(server.port) as proxy:
        subject = real(asynchronous, f"redis://127.0.0.1:{proxy.port}")

        def cut(number: int) -> None:
            if number % 200 == 60:
                proxy.cut()
            elif number % 200 == 160:
                proxy.cut_after = 333

        changes = await follow_with_faults(subject, RedisBackend.from_url(server.url), 1000, cut)
    check(changes, 1000)


async def test_crashes(server: RedisServer, asynchronous: bool) -> None:
    """The server crashes and restarts, while a writer continues as soon as it can."""
    retry = RetryPolicy(seconds=LONG)
    subject = real(asynchronous, server.url)

    def crash(number: int) -> None:
        if number % 250 == 125:
            server.kill()
            server.start()

    changes = await follow_with_faults(
        subject, RedisBackend.from_url(server.url, retry=retry), 750, crash
    )
    check(changes, 750)


@pytest.mark.slow
async def test_a_cluster(cluster_ports: list[int], asynchronous: bool) -> None:
    """The nodes of a cluster disconnect all subscribers, one after the other."""
    url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
    subject = await spread(asynchronous, url)
    admins = [redis.Redis(port=port) for port in cluster_ports]

    def kill(number: int) -> None:
        if number % 60 == 30:
            admins[number // 60 % len(admins)].client_kill_filter(_type="pubsub", skipme=True)

    changes = await follow_with_faults(subject, RedisBackend.from_url(url), 600, kill)
    for admin in admins:
        admin.close()
    check(changes, 600)


async def test_a_user_without_the_channels_of_deletions(
    server: RedisServer, asynchronous: bool
) -> None:
    """The channels of updates are enough for a follower; without them, it raises."""
    channels = {"anna": ["update/s", "update/v_s", "update/new_*"], "berta": ["delete/*", "clear"]}
    with redis.Redis(port=server.port) as admin:
        for user, names in channels.items():
            admin.acl_setuser(
                user,
                enabled=True,
                passwords=["+sesame"],
                keys=["*"],
                channels=names,
                reset_channels=True,
                commands=["+@all"],
            )
    subject = real(asynchronous, server.url.replace("//", "//anna:sesame@"))
    started = threading.Event()
    following = asyncio.create_task(follow(subject, started))
    await asyncio.to_thread(started.wait, LONG)
    with RedisBackend.from_url(server.url) as backend:
        backend.execute(WRITE_END)
    assert await following == [END]
    await subject.close()
    subject = real(asynchronous, server.url.replace("//", "//berta:sesame@"))
    with pytest.raises(RefusedError):
        await follow(subject, started)
    await subject.close()


class CountingBackend(RedisBackend):
    """A backend that counts batches."""

    batches = 0

    def execute_many(self, operations: Sequence[Any], /, **options: Any) -> list[Any]:
        self.batches += 1
        return super().execute_many(operations, **options)


def test_a_long_sensor(server_url: str) -> None:
    """The samples of a long sensor are read in pages, many at once, also where they become longer; none is missed."""
    sizes = [1] * 50_000 + [5000] * 500 + [1] * 5000 + [10] * 5000
    samples = [encode_sample(float(time), bytes(size)) for time, size in enumerate(sizes)]
    client = redis.Redis.from_url(server_url)
    with client, CountingBackend.from_url(server_url) as backend:
        client.zadd("s", dict.fromkeys(samples, 0))
        with Follower(backend, [(b"s",)]) as follower:
            assert backend.batches < 10
            client.client_kill_filter(_type="pubsub")
            new = [encode_sample(time, b"new") for time in (0.5, 20_000.5, 51_000.5, 1e9)]
            client.zadd("s", dict.fromkeys(new, 0))
            assert follower.next(LONG) is CheckDue.RECONNECTED
            updates = [follower.next(LONG) for _ in new]
            assert [each.timestamp for each in updates if isinstance(each, Update)] == [
                0.5,
                20_000.5,
                51_000.5,
                1e9,
            ]
            assert follower.next(0) is None
