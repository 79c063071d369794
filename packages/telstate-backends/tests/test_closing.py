"""Closing twice, in the midst of things, or not at all: waiters are told, and nothing goes on."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SERVERS
from subjects import LONG

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CancelledError,
    CheckDue,
    KeyType,
    KeyWait,
    RedisBackend,
    wait,
)
from telstate_backends.redis.hub import AsyncRedisWatcher, Hub
from telstate_codec import encode_sample

pytestmark = pytest.mark.skipif(not SERVERS, reason="there is no Redis server")


@pytest.mark.parametrize("turns", range(6))
async def test_closing_twice_ends_all_tasks(newest_url: str, turns: int) -> None:
    """However long after the first time the second comes, no task is left when all is closed."""
    backend = await AsyncRedisBackend.from_url(newest_url)
    async with backend.watch([b"k"]) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
    backend.close()
    for _ in range(turns):
        await asyncio.sleep(0)
    backend.close()
    await backend.wait_closed()
    assert asyncio.all_tasks() == {asyncio.current_task()}


class _Deaf:
    """A pub/sub object under which the first cancellation is lost, as may happen before Python 3.12."""

    def __init__(self) -> None:
        self.closed = False

    async def subscribe(self, *_: bytes) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            pass

    async def get_message(self, timeout: float) -> None:
        await asyncio.sleep(timeout)

    async def aclose(self) -> None:
        self.closed = True


async def test_a_cancellation_that_is_lost_while_subscribing() -> None:
    """It ends the hub all the same: so a program can end that has forgotten to close its backend."""
    pubsub = _Deaf()

    async def make_pubsub() -> _Deaf:
        return pubsub

    async def find_kind(key: bytes) -> KeyType | None:
        return None

    hub = Hub(make_pubsub, find_kind, "nowhere")
    hub.add(AsyncRedisWatcher(hub, [b"k"], [], False))
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task], timeout=LONG)
    assert (task.done(), pubsub.closed) == (True, True)


def test_closing_while_updates_pour_in(newest_url: str) -> None:
    """Whatever a waiting thread is just doing when its backend is closed, it is told that it was."""
    told: list[type[BaseException] | None] = []

    def wait_for_ever(backend: RedisBackend, begun: threading.Event) -> None:
        def refuse(_: object) -> bool:
            begun.set()
            return False

        try:
            wait(backend, KeyWait((b"s",), refuse), LONG)
        except BaseException as error:
            told.append(type(error))

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
                begun = [threading.Event() for _ in range(3)]
                waiting = [threads.submit(wait_for_ever, backend, each) for each in begun]
                for each in begun:
                    assert each.wait(LONG)
                stop.wait(0.0002 * number)
                backend.close()
                for each_wait in waiting:
                    each_wait.result(LONG)
        finally:
            stop.set()
        writing.result(LONG)
    assert told == [CancelledError] * 180
