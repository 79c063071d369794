"""After an exception at any point of a call, replies still belong to their commands.

`KeyboardInterrupt` is raised at one line after the other of our code and redis-py's. Replies come through a
proxy that delays them, so that those of an interrupted call are still on their way when the next one begins.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import ModuleType
from typing import Any

import hiredis
import pytest
import redis
import redis.asyncio
from conftest import SERVERS
from proxy import Proxy
from subjects import LONG

import telstate_backends
from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CheckDue,
    Delete,
    Export,
    Get,
    GetIndexed,
    GetRange,
    Immutable,
    Keys,
    KeyTypes,
    KeyWait,
    Operation,
    RedisBackend,
    SetImmutable,
    SetIndexed,
    Update,
    wait,
)
from telstate_backends.redis import _client
from telstate_codec import encode_sample
from telstate_testing import RedisBinary, interruptions
from telstate_testing.clusters import running_sentinels

pytestmark = [
    pytest.mark.skipif(not SERVERS, reason="there is no Redis server"),
    # A socket that is interrupted while it is made is closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

#: Seconds by which replies are delayed.
DELAY = 0.002

SAMPLE = encode_sample(1.0, b"v")
BATCHES: dict[str, list[Operation[Any]]] = {
    "get": [Get((b"a",))],
    "write": [AddSample(b"s", SAMPLE)],
    "range": [GetRange((b"s",), b"", b"\xff")],
    "keys": [Keys()],
    "key types": [KeyTypes()],
    "batch": [
        Get((b"a",)),
        SetIndexed(b"i", b"1", b"2"),
        Export(b"s"),
        GetRange((b"s",), b"", b"\xff"),
        GetIndexed((b"i",), b"1"),
    ],
}


def interrupt(call: Callable[[], object], at: int) -> bool:
    """Interrupt a call at a line of our code or redis-py's; return whether it came to that."""
    return interruptions.interrupt(call, at, telstate_backends, redis)


def points(step: int) -> Iterator[int]:
    """Return the lines at which to interrupt."""
    return itertools.count(1, step)


#: How many lines lie between two interruptions. 1 takes some minutes; set it after changes of connections.
STEPS = [29, pytest.param(11, marks=pytest.mark.slow)]


@pytest.fixture
def slow_proxy(newest_url: str) -> Iterator[Proxy]:
    """A proxy that delays replies."""
    with Proxy(int(newest_url.rpartition(":")[2])) as proxy:
        proxy.delay = DELAY
        yield proxy


def url_of(proxy: Proxy) -> str:
    """Return the URL of a database that is not the first, to which a connection must be switched."""
    return f"redis://127.0.0.1:{proxy.port}/1"


def client_of(proxy: Proxy, most: int) -> redis.Redis:
    """Return a synchronous client that may make so many connections."""
    return redis.Redis.from_url(url_of(proxy), max_connections=most)


def fill(newest_url: str) -> None:
    """Write what the tests read."""
    with RedisBackend.from_url(newest_url, db=1) as backend:
        fill_backend(backend)


def fill_backend(backend: RedisBackend) -> None:
    """Write it by a backend."""
    backend.execute_many([SetImmutable(b"a", b"A"), SetImmutable(b"b", b"B")])
    backend.execute(AddSample(b"s", SAMPLE))


#: What is read after each interruption; the last is refused.
READS: list[Operation[Any]] = [Get((b"b",)), Get((b"c",)), Get((b"a",)), SetImmutable(b"a", b"x")]
REPLIES = [Immutable(b"B"), None, Immutable(b"A"), b"A"]


def check(backend: RedisBackend) -> None:
    """Check that a backend goes on as if nothing had happened."""
    assert [backend.execute(operation) for operation in READS] == REPLIES
    assert backend.execute_many(READS) == REPLIES


def execute(backend: RedisBackend, operations: Sequence[Operation[Any]]) -> None:
    """Execute an operation, or a batch."""
    if len(operations) == 1:
        backend.execute(operations[0])
    else:
        backend.execute_many(operations)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("most", [100, 2])
@pytest.mark.parametrize("name", BATCHES)
def test_an_operation(newest_url: str, slow_proxy: Proxy, name: str, most: int, step: int) -> None:
    """Of an operation, or of a batch."""
    fill(newest_url)
    operations = BATCHES[name]
    with RedisBackend(client_of(slow_proxy, most)) as backend:
        for at in points(step):
            if not interrupt(lambda: execute(backend, operations), at):
                break
            check(backend)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("most", [100, 2])
def test_a_call_that_connects(newest_url: str, slow_proxy: Proxy, most: int, step: int) -> None:
    """No connection is used that has not been switched to its database."""
    fill(newest_url)
    slow_proxy.delay = 0.0
    with RedisBackend(client_of(slow_proxy, most)) as backend:
        for at in points(3 * step):
            slow_proxy.cut()
            if not interrupt(lambda: backend.execute(Get((b"a",))), at):
                break
            check(backend)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("patterns", [(), (b"other*",)], ids=["shared", "own"])
def test_a_watcher(
    newest_url: str, slow_proxy: Proxy, patterns: tuple[bytes, ...], step: int
) -> None:
    """A watcher that is interrupted reports an update all the same, or that a check is due."""
    fill(newest_url)
    slow_proxy.delay = 0.0
    with (
        RedisBackend.from_url(newest_url, db=1) as writer,
        RedisBackend.from_url(url_of(slow_proxy)) as backend,
        backend.watch([b"k"], patterns) as watcher,
    ):
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        for at in points(step):
            writer.execute_many([Delete((b"k",)), SetImmutable(b"k", b"%d" % at)])
            events: list[Any] = []
            came = interrupt(lambda: events.append(watcher.next(LONG)), at)
            # Raised after the event was taken, as it may be in the caller's own code too.
            if not events:
                writer.execute_many([Delete((b"k",)), SetImmutable(b"k", b"x%d" % at)])
                events.append(watcher.next(LONG))
                while isinstance(events[-1], Update) and events[-1].value != b"x%d" % at:
                    events.append(watcher.next(LONG))
                assert isinstance(events[-1], (Update, CheckDue))
            if not came:
                break
        check(backend)


@pytest.mark.parametrize("step", STEPS)
def test_a_wait(newest_url: str, slow_proxy: Proxy, step: int) -> None:
    """An interrupted wait leaves nothing subscribed on a connection for commands."""
    fill(newest_url)
    slow_proxy.delay = 0.0
    with RedisBackend.from_url(url_of(slow_proxy)) as backend:

        def call() -> None:
            with pytest.raises(telstate_backends.TimeoutError):
                wait(backend, KeyWait((b"missing",)), timeout=0.01)

        for at in points(3 * step):
            if not interrupt(call, at):
                break
            check(backend)


@pytest.mark.parametrize("step", STEPS)
def test_a_wait_beside_others(newest_url: str, step: int) -> None:
    """An interrupted wait takes nothing from a wait of another thread, which shares its connection."""
    with RedisBackend.from_url(newest_url) as backend, ThreadPoolExecutor(1) as threads:

        def call() -> None:
            with pytest.raises(telstate_backends.TimeoutError):
                wait(backend, KeyWait((b"missing",)), timeout=0.005)

        for at in points(2 * step):
            key = b"k%d" % at
            waiting = threads.submit(wait, backend, KeyWait((key,)), LONG)
            came = interrupt(call, at)
            backend.execute(SetImmutable(key, b"1"))
            waiting.result()
            if not came:
                break


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["get", "range", "batch"])
def test_an_asyncio_operation(newest_url: str, slow_proxy: Proxy, name: str, step: int) -> None:
    """Of an event loop that goes on after a signal handler has raised."""
    fill(newest_url)
    interrupt_asyncio(url_of(slow_proxy), BATCHES[name], step, telstate_backends, redis)


@pytest.mark.slow
def test_every_line_of_an_asyncio_connection(newest_url: str) -> None:
    """Two commands at once, the second of which waits until the event loop goes round."""
    fill(newest_url)
    interrupt_asyncio(newest_url + "/1", BATCHES["get"], 1, telstate_backends.redis)


def interrupt_asyncio(
    url: str, operations: list[Operation[Any]], step: int, *packages: ModuleType
) -> None:
    """Interrupt an event loop that executes operations, and check that it goes on."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # for tasks that were interrupted

    async def make() -> AsyncRedisBackend:
        # A timeout, which some releases of redis-py have by default, would end what hangs.
        client = redis.asyncio.Redis.from_url(url, socket_timeout=None)
        return AsyncRedisBackend(client)

    backend = loop.run_until_complete(make())

    async def run(operations: list[Operation[Any]]) -> object:
        calls: list[Any] = [asyncio.create_task(backend.execute(each)) for each in operations]
        calls.append(asyncio.create_task(backend.execute_many(operations)))
        # What is interrupted must not be raised once more when the loop goes on.
        async with asyncio.timeout(LONG):
            return await asyncio.gather(*calls, return_exceptions=True)

    for at in points(step):
        call = partial(loop.run_until_complete, run(operations))
        if not interruptions.interrupt(call, at, *packages):
            break
        assert loop.run_until_complete(run(READS)) == [*REPLIES, REPLIES]

    async def end() -> None:
        backend.close()
        await asyncio.wait_for(backend.wait_closed(), LONG)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    loop.run_until_complete(end())
    loop.close()


@pytest.fixture
def proxied_cluster(cluster_ports: list[int]) -> Iterator[dict[str, Any]]:
    """The arguments of clients that reach each node of a cluster through a proxy that delays replies."""
    with ExitStack() as stack:
        proxies = {port: stack.enter_context(Proxy(port)) for port in cluster_ports}
        arguments: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": cluster_ports[0],
            "address_remap": lambda place: (place[0], proxies[place[1]].port),
        }
        with RedisBackend(redis.RedisCluster(**arguments)) as backend:
            fill_backend(backend)
        for proxy in proxies.values():
            proxy.delay = DELAY
        yield arguments


CLUSTER_STEPS = [151, pytest.param(37, marks=pytest.mark.slow)]


@pytest.mark.parametrize("step", CLUSTER_STEPS)
@pytest.mark.parametrize("name", ["get", "keys", "batch"])
def test_a_cluster(proxied_cluster: dict[str, Any], name: str, step: int) -> None:
    """Of an operation on a cluster, or of a batch for several nodes."""
    with RedisBackend(redis.RedisCluster(**proxied_cluster)) as backend:
        for at in points(step):
            if not interrupt(lambda: execute(backend, BATCHES[name]), at):
                break
            check(backend)


@pytest.mark.slow
def test_a_query_of_slots(proxied_cluster: dict[str, Any]) -> None:
    """redis-py's own connections to the nodes of a cluster have no outstanding replies."""
    # redis-py itself loses a connection by many of the interruptions, and may make 100 to each node.
    client: Any = redis.RedisCluster(**proxied_cluster, max_connections=1000)
    with RedisBackend(client) as backend:
        for at in range(1, 400, 3):  # later lines only query the other nodes and fill the table
            # Private, because a real loss of a connection would end those of redis-py too.
            assert interrupt(lambda: _client.refresh_slots(client), at)
            node = client.get_default_node()
            assert node.redis_connection.execute_command("ECHO", "x") == b"x"
        check(backend)


@pytest.mark.slow
def test_sentinels(newest: RedisBinary) -> None:
    """Of a call that connects to the master that Sentinels name, or asks them for it."""
    with running_sentinels(newest, count=1, down_after=60_000) as group:
        with (
            Proxy(group.sentinels[0].port) as proxy,
            redis.Redis(port=group.master.port) as admin,
            RedisBackend.from_url(f"redis+sentinel://127.0.0.1:{proxy.port}/store/1") as backend,
        ):
            fill_backend(backend)
            proxy.delay = DELAY

            def call() -> None:
                backend.execute(Get((b"a",)))
                # Private, because only some refusals cause this.
                backend._server.find_master(None)

            for at in points(97):
                admin.client_kill_filter(_type="normal", skipme=True)
                if not interrupt(call, at):
                    break
                check(backend)


def test_only_bytes_are_encoded(newest_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """hiredis crashes if a signal handler raises while it converts an integer."""
    encoded: list[Any] = []
    pack = hiredis.pack_command

    def spy(args: tuple[Any, ...]) -> Any:
        encoded.extend(args)
        return pack(args)

    monkeypatch.setattr(hiredis, "pack_command", spy)
    monkeypatch.setattr(telstate_backends.redis._client, "_pack_bytes", spy)
    url = newest_url + "?protocol=3&client_name=test&health_check_interval=1"
    with RedisBackend.from_url(url, db=1) as backend, backend.watch([b"k"]) as watcher:
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        for operations in BATCHES.values():
            backend.execute_many([*operations, *operations])
            for operation in operations:
                backend.execute(operation)

    async def use_asyncio() -> None:
        async with await AsyncRedisBackend.from_url(url, db=1) as backend:
            for operations in BATCHES.values():
                await backend.execute_many([*operations, *operations])
                for operation in operations:
                    await backend.execute(operation)

    asyncio.run(use_asyncio())
    assert b"SELECT" in encoded and b"EVALSHA" in encoded
    assert {type(each) for each in encoded} == {bytes}


STRESS = """
import os, signal, sys, threading, time
from telstate_backends import AddSample, Get, Immutable, RedisBackend, SetImmutable
from telstate_codec import encode_sample

class Interrupted(Exception):
    pass

def interrupt(*_):
    if is_open:
        raise Interrupted

is_open = False
signal.signal(signal.SIGUSR1, interrupt)
backend = RedisBackend.from_url(sys.argv[1], db=1)
backend.execute_many([SetImmutable(b"a", b"A"), SetImmutable(b"b", b"B")])
done = threading.Event()

def send():
    while not done.is_set():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.0005)

threading.Thread(target=send, daemon=True).start()
interrupted = number = 0
while interrupted < int(sys.argv[2]):
    try:
        is_open = True
        while True:
            number += 1
            backend.execute(AddSample(b"s", encode_sample(float(number), b"v")))
            backend.execute_many([Get((b"a",)), Get((b"b",))])
    except Interrupted:
        is_open = False
        interrupted += 1
    found = backend.execute(Get((b"b",))), *backend.execute_many([Get((b"a",)), Get((b"c",))])
    assert found == (Immutable(b"B"), Immutable(b"A"), None), found
done.set()
print(number > 0, flush=True)
backend.close()
"""


@pytest.mark.parametrize("signals", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_real_signals(newest_url: str, signals: int) -> None:
    """A signal handler that raises, again and again, neither crashes nor mixes up anything."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STRESS, newest_url, str(signals)],
        capture_output=True,
        text=True,
        timeout=4 * LONG,
    )
    # Python reports a handler that raises in a finalizer on stderr.
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
