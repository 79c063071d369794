"""Backends follow Sentinels that switch to another master, on real servers.

The old master is cut off from its replica and from the Sentinels, or stopped; clients still reach it. So it
neither learns that it is a replica now, nor closes any connection.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import redis
from proxy import Proxy
from subjects import LONG

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CheckDue,
    ConnectionError,
    GetRange,
    KeyWait,
    RedisBackend,
    RetryPolicy,
    SetImmutable,
    Update,
    wait,
    wait_async,
)
from telstate_codec import encode_sample
from telstate_testing import RedisBinary
from telstate_testing.clusters import PEER_HOST, SentinelGroup, running_sentinels

pytestmark = pytest.mark.slow

PATIENT = RetryPolicy(seconds=60)


class Scene:
    """Sentinels, and the gate between them and the master."""

    def __init__(self, group: SentinelGroup, gate: Proxy) -> None:
        self.group = group
        self._gate = gate
        self.url = group.url

    def isolate(self) -> None:
        """Cut the master off from its replica and the Sentinels, but not from clients."""
        self._gate.isolated = PEER_HOST

    def heal(self) -> None:
        """End the isolation."""
        self._gate.isolated = ""

    def values(self, key: bytes) -> list[bytes]:
        """Return what the new master has of a sensor."""
        with redis.Redis(port=self.group.replica.port) as client:
            return [bytes(each) for each in client.zrange(key, 0, -1)]


@contextmanager
def scene(binary: RedisBinary, count: int = 1, **arguments: object) -> Iterator[Scene]:
    """Run Sentinels that switch only when they are told to."""
    if binary.family == "redis" and binary.version < (7,):
        pytest.skip("before Redis 7 a replica cannot choose the address from which it connects")
    gates: list[Proxy] = []

    def gate(port: int) -> Proxy:
        gates.append(Proxy(port))
        return gates[0]

    with running_sentinels(
        binary, count=count, gate=gate, down_after=60_000, **arguments  # type: ignore[arg-type]  # passed on
    ) as group:
        yield Scene(group, gates[0])


class Writer:
    """Adds numbered samples to a sensor, and records those that were acknowledged."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.acknowledged: list[bytes] = []
        self.is_stopped = False
        self._count = 0

    def next(self) -> AddSample:
        """Return the next operation."""
        self._count += 1
        return AddSample(self.key, encode_sample(float(self._count), b"v"))

    def is_kept(self, scenery: Scene) -> bool:
        """Return whether the new master has the last acknowledged sample."""
        return self.acknowledged[-1] in scenery.values(self.key)

    def run(self, backend: RedisBackend) -> None:
        """Write until stopped."""
        while not self.is_stopped:
            operation = self.next()
            backend.execute(operation)
            self.acknowledged.append(operation.member)
            time.sleep(0.01)

    async def run_async(self, backend: AsyncRedisBackend) -> None:
        """Write until stopped, on asyncio."""
        while not self.is_stopped:
            operation = self.next()
            await backend.execute(operation)
            self.acknowledged.append(operation.member)
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true, which must be soon."""
    async with asyncio.timeout(2 * LONG):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


async def grow(writers: Sequence[Writer]) -> None:
    """Wait until each of the writers has had twenty more samples acknowledged."""
    counts = [len(each.acknowledged) + 20 for each in writers]
    await until(lambda: all(len(each.acknowledged) > count for each, count in zip(writers, counts)))


@pytest.mark.parametrize("fault", ["isolated", "stopped"])
async def test_all_go_on_with_the_new_master(newest: RedisBinary, fault: str) -> None:
    """Writers, watchers and waits leave the old master when Sentinels switch, even if the old master does not know."""
    writers = [Writer(b"sync"), Writer(b"async")]
    with (
        scene(newest, 3) as scenery,
        RedisBackend.from_url(scenery.url, retry=PATIENT) as backend,
    ):
        async with (
            await AsyncRedisBackend.from_url(scenery.url, retry=PATIENT) as asynchronous,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(asyncio.to_thread(writers[0].run, backend))
            group.create_task(writers[1].run_async(asynchronous))
            group.create_task(asyncio.to_thread(wait, backend, KeyWait((b"k",)), 3 * LONG))
            group.create_task(wait_async(asynchronous, KeyWait((b"k",))))
            try:
                with backend.watch([b"k"]) as watcher:
                    assert await asyncio.to_thread(watcher.next, LONG) is CheckDue.SUBSCRIBED
                    await grow(writers)
                    before = [len(each.acknowledged) for each in writers]
                    await asyncio.to_thread(replicate, scenery.group.master.port)
                    if fault == "isolated":
                        scenery.isolate()
                        await grow(writers)  # which is lost in any case
                    else:
                        os.kill(scenery.group.master.process_id, signal.SIGSTOP)
                    await asyncio.to_thread(scenery.group.switch)
                    await until(lambda: all(each.is_kept(scenery) for each in writers))
                    assert await asyncio.to_thread(watcher.next, LONG) is CheckDue.RECONNECTED
                    with redis.Redis(port=scenery.group.replica.port) as client:
                        RedisBackend(client).execute(
                            SetImmutable(b"k", b"1")
                        )  # which ends the waits
                    assert isinstance(await asyncio.to_thread(watcher.next, LONG), Update)
                # The old master is back, and nobody returns to it.
                if fault == "isolated":
                    scenery.heal()
                else:
                    os.kill(scenery.group.master.process_id, signal.SIGCONT)
                await grow(writers)
            finally:
                for each in writers:
                    each.is_stopped = True
        for writer, count in zip(writers, before):
            kept = scenery.values(writer.key)
            assert backend.execute(GetRange((writer.key,), bytes(8), b"\xff" * 8)) == kept
            lost = [n for n, each in enumerate(writer.acknowledged) if each not in kept]
            # Nothing that was replicated, and nothing after the first that the new master has.
            assert not lost or (lost[0] >= count and len(lost) == lost[-1] + 1 - lost[0])


def replicate(port: int) -> None:
    """Wait until a replica has all that the master has."""
    with redis.Redis(port=port) as client:
        client.set("mark", b"1")
        assert client.wait(1, int(LONG * 1000)) >= 1


async def check_follows(scenery: Scene, url: str) -> None:
    """Check that writes of both kinds of backend reach the new master after a switch."""
    with RedisBackend.from_url(url, retry=PATIENT) as backend:
        async with await AsyncRedisBackend.from_url(url, retry=PATIENT) as asynchronous:
            scenery.isolate()
            await asyncio.to_thread(scenery.group.switch)
            await check_writes(scenery, backend, asynchronous)


async def check_writes(
    scenery: Scene, backend: RedisBackend, asynchronous: AsyncRedisBackend
) -> None:
    """Check that writes reach the new master in the end."""
    writers = [Writer(b"sync"), Writer(b"async")]
    async with asyncio.timeout(2 * LONG):
        while not all(map(scenery.values, [each.key for each in writers])):
            await asyncio.to_thread(backend.execute, writers[0].next())
            await asynchronous.execute(writers[1].next())
            await asyncio.sleep(0.02)


async def test_users_who_may_not_subscribe(newest: RedisBinary) -> None:
    """A backend whose user may not subscribe to Sentinel's messages asks it from time to time."""
    rules = "resetchannels -@all +auth +ping +client +hello +sentinel|master"
    user = f"user reader on >sesame {rules} +sentinel|get-master-addr-by-name"
    with scene(newest, settings=[user]) as scenery:
        name = "sentinel_username=reader&sentinel_password=sesame"
        await check_follows(scenery, f"{scenery.url}?{name}")


async def test_sentinels_with_a_password(newest: RedisBinary) -> None:
    """Sentinels may require a password."""
    with scene(newest, password="sesame") as scenery:
        await check_follows(scenery, scenery.url)


async def test_sentinels_that_come_back(
    newest: RedisBinary, caplog: pytest.LogCaptureFixture
) -> None:
    """While no Sentinel answers, everything goes on; one that comes back is heard again."""
    with (
        scene(newest, 3) as scenery,
        RedisBackend.from_url(scenery.url, retry=PATIENT) as backend,
    ):
        async with await AsyncRedisBackend.from_url(scenery.url, retry=PATIENT) as asynchronous:
            first, *others = scenery.group.sentinels
            for each in scenery.group.sentinels:
                each.kill()
            await until(lambda: caplog.text.count("No Sentinel answers for") >= 2)
            backend.execute(SetImmutable(b"k", b"1"))
            await asynchronous.execute(SetImmutable(b"l", b"1"))
            first.start()
            await until(lambda: caplog.text.count("A Sentinel answers again for") >= 2)
            scenery.isolate()
            for each in others:
                scenery.group.sentinels.remove(each)
            await asyncio.to_thread(scenery.group.switch)
            await check_writes(scenery, backend, asynchronous)


FORK = """
import os, signal, sys
from telstate_backends import AddSample, RedisBackend, RetryPolicy
from telstate_codec import encode_sample

backend = RedisBackend.from_url(sys.argv[1], retry=RetryPolicy(seconds=60))
backend.execute(AddSample(b"parent", encode_sample(0.0, b"v")))
child = os.fork()
key = b"parent" if child else b"child"
number = 1
while os.getppid() != 1:
    backend.execute(AddSample(key, encode_sample(float(number), b"v")))
    if number == 1:
        print("ready", flush=True)
    if os.path.exists(sys.argv[2]):
        break
    number += 1
backend.close()
if not child:
    os._exit(0)
print(os.waitpid(child, 0)[1], flush=True)
"""


async def test_forks_follow_too(newest: RedisBinary, tmp_path: object) -> None:
    """The child of a fork listens to the Sentinels itself, and its parent goes on doing so."""
    end = f"{tmp_path}/end"
    with scene(newest) as scenery:
        process = subprocess.Popen(
            [sys.executable, "-c", FORK, scenery.url, end], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            for _ in range(2):
                assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
            scenery.isolate()
            await asyncio.to_thread(scenery.group.switch)
            await until(lambda: len(scenery.values(b"parent")) > 50)
            await until(lambda: len(scenery.values(b"child")) > 50)
            open(end, "w").close()
            assert await asyncio.to_thread(process.stdout.readline) == "0\n"
        finally:
            open(end, "w").close()
            process.communicate(timeout=LONG)


CLOSE = """
import os, sys
from telstate_backends import RedisBackend

backend = RedisBackend.from_url(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
child = os.fork()
if not child:
    backend.close()
    sys.exit()  # which ends what is left, as at the end of every program
print(os.waitpid(child, 0)[1], flush=True)
sys.stdin.readline()
"""


def test_a_child_that_closes_leaves_its_parent_alone(newest: RedisBinary) -> None:
    """A child that closes its parent's backend does not end what listens to the Sentinels there."""
    with running_sentinels(newest, count=1, down_after=60_000) as group:
        process = subprocess.Popen(
            [sys.executable, "-c", CLOSE, group.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdin is not None

        def listeners() -> set[str]:
            with redis.Redis(port=group.sentinels[0].port) as client:
                return {each["id"] for each in client.client_list() if each["sub"] == "2"}

        try:
            assert process.stdout.readline() == "ready\n"
            while not (before := listeners()):
                time.sleep(0.01)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "0\n"
            assert listeners() == before
        finally:
            process.communicate("\n", timeout=LONG)


async def test_a_master_without_replicas(newest: RedisBinary) -> None:
    """With min-replicas-to-write, the old master soon refuses writes, and they go to the new one."""
    with scene(newest) as scenery:
        with redis.Redis(port=scenery.group.master.port) as client:
            client.config_set("min-replicas-to-write", 1)
            client.config_set("min-replicas-max-lag", 1)
        with RedisBackend.from_url(scenery.url, retry=PATIENT) as backend:
            impatient = RetryPolicy(seconds=0)
            scenery.isolate()
            with RedisBackend.from_url(scenery.url, retry=impatient) as other:

                writer = Writer(b"other")

                def is_refused() -> bool:
                    try:
                        other.execute(writer.next())
                    except ConnectionError as error:
                        return "too few replicas" in str(error)
                    return False

                await until(is_refused)
            async with await AsyncRedisBackend.from_url(scenery.url, retry=PATIENT) as asynchronous:
                sample = encode_sample(1.0, b"v")
                writing = [
                    asyncio.create_task(
                        asyncio.to_thread(backend.execute, AddSample(b"sync", sample))
                    ),
                    asyncio.create_task(asynchronous.execute(AddSample(b"async", sample))),
                ]
                await asyncio.to_thread(scenery.group.switch)
                await asyncio.wait_for(asyncio.gather(*writing), 2 * LONG)
                assert scenery.values(b"sync") == scenery.values(b"async") == [sample]
