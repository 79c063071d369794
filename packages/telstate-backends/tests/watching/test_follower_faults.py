"""Following keys while connections are cut and servers crash: each sample is told exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from conftest import SERVERS
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
from telstate_testing import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVERS, reason="there is no Redis server"),
]

LONG = 60.0
#: The last thing to be written, and by time the last to be told.
END = Update(b"s", KeyType.MUTABLE, b"end", timestamp=1e9)
WRITE_END = AddSample(b"s", encode_sample(1e9, b"end"))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the newest version that loses nothing of what it has acknowledged."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(list(SERVERS.values())[-1], options) as server:
        yield server


async def follow(subject: Subject, begun: threading.Event) -> list[TrackedEvent]:
    """Follow samples, and keys that fit a pattern, until the last thing has been written."""
    if isinstance(subject, SyncSubject):
        return await asyncio.to_thread(_follow, subject.backend, begun)
    assert isinstance(subject, AsyncSubject)
    told: list[TrackedEvent] = []
    async with AsyncFollower(subject.backend, [(b"v_s", b"s")], [b"new_*"]) as follower:
        begun.set()
        while not _ends(told):
            told.append(await asyncio.wait_for(follower.next(), LONG))
    return told


def _follow(backend: Any, begun: threading.Event) -> list[TrackedEvent]:
    told: list[TrackedEvent] = []
    with Follower(backend, [(b"v_s", b"s")], [b"new_*"]) as follower:
        begun.set()
        while not _ends(told):
            news = follower.next(LONG)
            assert news is not None, "nothing came"
            told.append(news)
    return told


def _ends(told: list[TrackedEvent]) -> bool:
    return told[-1:] == [END]


def write(backend: RedisBackend, count: int, trouble: Callable[[int], None]) -> None:
    """Write samples (every third late, every tenth long) and new keys, and make trouble meanwhile."""
    for number in range(count):
        time = float(number if number % 3 else 10 * count - number)
        value = b"%d " % number + (b"." * 200 if number % 10 == 0 else b"")
        backend.execute(AddSample(b"s", encode_sample(time, value)))
        if number % 50 == 0:
            backend.execute(SetImmutable(b"new_%d" % number, b"new %d" % number))
        trouble(number)


def check(told: list[TrackedEvent], count: int) -> None:
    """See that each thing was told once, and that there were losses."""
    assert told.pop() == END
    updates = [each for each in told if isinstance(each, Update)]
    samples = Counter(int(each.value.split()[0]) for each in updates if each.timestamp is not None)
    assert samples == Counter(range(count))
    others = Counter(each.key for each in updates if each.timestamp is None)
    assert others == Counter(b"new_%d" % number for number in range(0, count, 50))
    assert CheckDue.RECONNECTED in told


async def followed(
    subject: Subject, backend: RedisBackend, count: int, trouble: Callable[[int], None]
) -> list[TrackedEvent]:
    """Follow keys while they are written and there is trouble, to the end."""
    begun = threading.Event()
    following = asyncio.create_task(follow(subject, begun))
    await asyncio.to_thread(begun.wait, LONG)
    with backend:
        await asyncio.to_thread(write, backend, count, trouble)
        # When all the trouble is over.
        backend.execute(WRITE_END)
        told = await following
    await subject.close()
    return told


async def test_cut_lines(server: RedisServer, asynchronous: bool) -> None:
    """Over a line that is cut again and again, between messages and within them."""
    with Proxy(server.port) as proxy:
        subject = real(asynchronous, f"redis://127.0.0.1:{proxy.port}")

        def cut(number: int) -> None:
            if number % 200 == 60:
                proxy.cut()
            elif number % 200 == 160:
                proxy.cut_after = 333

        told = await followed(subject, RedisBackend.from_url(server.url), 1000, cut)
    check(told, 1000)


async def test_crashes(server: RedisServer, asynchronous: bool) -> None:
    """Over crashes and restarts of the server, while a writer goes on as soon as it can."""
    retry = RetryPolicy(seconds=LONG)
    subject = real(asynchronous, server.url)

    def crash(number: int) -> None:
        if number % 250 == 125:
            server.kill()
            server.start()

    told = await followed(subject, RedisBackend.from_url(server.url, retry=retry), 750, crash)
    check(told, 750)


@pytest.mark.slow
async def test_a_cluster(cluster_ports: list[int], asynchronous: bool) -> None:
    """In a cluster whose nodes cut off all that listen, one after the other."""
    url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
    subject = await spread(asynchronous, url)
    admins = [redis.Redis(port=port) for port in cluster_ports]

    def kill(number: int) -> None:
        if number % 60 == 30:
            admins[number // 60 % len(admins)].client_kill_filter(_type="pubsub", skipme=True)

    told = await followed(subject, RedisBackend.from_url(url), 600, kill)
    for admin in admins:
        admin.close()
    check(told, 600)


async def test_a_user_who_may_not_hear_of_deletions(
    server: RedisServer, asynchronous: bool
) -> None:
    """Leave to hear of updates is enough; without that, it is an error."""
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
    begun = threading.Event()
    following = asyncio.create_task(follow(subject, begun))
    await asyncio.to_thread(begun.wait, LONG)
    with RedisBackend.from_url(server.url) as backend:
        backend.execute(WRITE_END)
    assert await following == [END]
    await subject.close()
    subject = real(asynchronous, server.url.replace("//", "//berta:sesame@"))
    with pytest.raises(RefusedError):
        await follow(subject, begun)
    await subject.close()
