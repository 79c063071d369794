"""Closing backends twice, during calls and waits, or not at all."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from conftest import needs_server
from subjects import LONG

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CancelledError,
    CheckDue,
    Exists,
    Get,
    KeyType,
    KeyWait,
    RedisBackend,
    wait,
)
from telstate_backends.redis._watcher_async import AsyncRedisWatcher, PubSubConnection
from telstate_codec import encode_sample

pytestmark = needs_server


@pytest.mark.parametrize("turns", range(6))
async def test_closing_twice_ends_all_tasks(newest_url: str, turns: int) -> None:
    """No task is left, however soon the second call follows the first."""
    backend = await AsyncRedisBackend.from_url(newest_url)
    async with backend.watch([b"k"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
    backend.close()
    for _ in range(turns):
        await asyncio.sleep(0)
    backend.close()
    await backend.wait_closed()
    assert asyncio.all_tasks() == {asyncio.current_task()}


class _StubbornPubSub:
    """A pub/sub object that loses the first cancellation, as may happen before Python 3.12."""

    def __init__(self) -> None:
        self.closed = False
        self.connection = None

    async def subscribe(self, *_: bytes) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            pass

    async def get_message(self, timeout: float) -> None:
        await asyncio.sleep(timeout)

    async def aclose(self) -> None:
        self.closed = True


async def test_a_cancellation_lost_while_subscribing() -> None:
    """It ends the task all the same, so that a program that forgets to close its backend can end."""
    pubsub = _StubbornPubSub()

    async def make_pubsub() -> tuple[_StubbornPubSub, None]:
        return pubsub, None

    async def find_kind(key: bytes) -> KeyType | None:
        return None

    connection = PubSubConnection(make_pubsub, find_kind, "nowhere")
    connection.add(AsyncRedisWatcher(connection, [b"k"], [], False))
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task], timeout=LONG)
    assert (task.done(), pubsub.closed) == (True, True)


def test_closing_during_many_updates(newest_url: str) -> None:
    """A waiting thread gets `CancelledError`, whatever it is doing when its backend is closed."""
    errors: list[type[BaseException] | None] = []

    def wait_forever(backend: RedisBackend, started: threading.Event) -> None:
        def refuse(_: object) -> bool:
            started.set()
            return False

        try:
            wait(backend, KeyWait((b"s",), refuse), LONG)
        except BaseException as error:
            errors.append(type(error))

    def write(writer: RedisBackend, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.execute(AddSample(b"s", encode_sample(float(number), bytes(10_000))))

    stop = threading.Event()
    with RedisBackend.from_url(newest_url) as writer, ThreadPoolExecutor(4) as threads:
        writing = threads.submit(write, writer, stop)
        try:
            for number in range(60):
                backend = RedisBackend.from_url(newest_url)
                started = [threading.Event() for _ in range(3)]
                waiting = [threads.submit(wait_forever, backend, each) for each in started]
                for each in started:
                    assert each.wait(LONG)
                stop.wait(0.0002 * number)
                backend.close()
                for future in waiting:
                    future.result(LONG)
        finally:
            stop.set()
        writing.result(LONG)
    assert errors == [CancelledError] * 180


def test_closing_under_working_threads(newest_url: str) -> None:
    """Each call raises, and no connection is left or made anew."""
    errors: list[str] = []

    def work(backend: RedisBackend, key: bytes) -> None:
        try:
            while True:
                backend.execute(Get((key,)))
                backend.execute_many([Exists((key,)), Get((key,))])
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    backends = []  # so that the garbage collector closes no connection
    with redis.Redis.from_url(newest_url) as client, ThreadPoolExecutor(4) as threads:
        client.mset({"small": b"1", "large": bytes(300_000)})
        before = _clients(client)
        for number in range(40):
            backends.append(backend := RedisBackend.from_url(newest_url))
            working = [threads.submit(work, backend, key) for key in (b"small", b"large") * 2]
            time.sleep(0.003 + 0.0002 * number)
            backend.close()
            for each in working:
                each.result(LONG)
        assert _clients_left(client, before) == set()
    assert {each.partition(" at ")[0] for each in errors} == {
        "ConnectionError: The backend for Redis"
    }
    assert all(each.endswith(" is closed. Make a new one.") for each in errors)


async def test_closing_under_working_tasks(newest_url: str) -> None:
    """Each call raises, and no connection is left after `wait_closed`."""
    errors: list[str] = []

    async def work(backend: AsyncRedisBackend, key: bytes, pause: float) -> None:
        try:
            while True:
                await backend.execute(Get((key,)))
                await backend.execute(AddSample(b"s" + key, encode_sample(1.0, bytes(100_000))))
                # An idle connection is checked before it is used again.
                await asyncio.sleep(pause)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    backends = []
    with redis.Redis.from_url(newest_url) as client:
        client.mset({"small": b"1", "large": bytes(300_000)})
        before = _clients(client)
        for number in range(40):
            backends.append(backend := await AsyncRedisBackend.from_url(newest_url))
            tasks = [
                asyncio.create_task(work(backend, key, pause))
                for key in (b"small", b"large")
                for pause in (0.0, 0.011, 0.012)
            ]
            await asyncio.sleep(0.0007 * number)
            backend.close()
            await backend.wait_closed()
            await asyncio.wait_for(asyncio.gather(*tasks), LONG)
        assert _clients_left(client, before) == set()
    assert {each.partition(" at ")[0] for each in errors} == {
        "ConnectionError: The backend for Redis"
    }
    assert all(each.endswith(" is closed. Make a new one.") for each in errors)


@pytest.mark.slow
def test_closing_a_cluster_under_working_threads(cluster_ports: list[int]) -> None:
    """The same where the backend's own threads send commands to several nodes at once."""
    errors: list[str] = []
    view = (b"a_k", b"b_k", b"k", b"c_k")

    def work(backend: RedisBackend) -> None:
        try:
            while True:
                backend.execute(Get(view))
                backend.execute_many([Exists(view), Get(view)])
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(5) as threads:
        for number in range(15):
            backend = RedisBackend.from_url(f"redis+cluster://127.0.0.1:{cluster_ports[0]}")
            working = [threads.submit(work, backend) for _ in range(5)]
            time.sleep(0.002 * number)
            backend.close()
            for each in working:
                each.result(LONG)
    assert len(errors) == 75
    assert all(each.endswith(" is closed. Make a new one.") for each in errors)


def _clients(client: Any) -> set[str]:
    """Return the ids of the connections to a server."""
    return {each["id"] for each in client.client_list()}


def _clients_left(client: Any, before: set[str]) -> set[str]:
    """Return the ids of new connections, once the server has noticed those that are closed."""
    deadline = time.monotonic() + 5.0
    while (left := _clients(client) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
