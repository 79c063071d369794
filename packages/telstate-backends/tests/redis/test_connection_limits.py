"""Many connections at once, and clients that may make only a few."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio
from conftest import needs_server
from subjects import LONG

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CheckDue,
    ConnectionError,
    Delete,
    Exists,
    Keys,
    KeyWait,
    Operation,
    RedisBackend,
    RetryPolicy,
    SetImmutable,
    wait,
)
from telstate_backends.redis._client import is_pool_exhausted
from telstate_backends.redis._errors import partly_sent
from telstate_codec import encode_sample
from telstate_testing import RedisBinary

pytestmark = needs_server

MANY = 120
NO_RETRY = RetryPolicy(seconds=0)


def port_of(url: str) -> int:
    """Return the port of a server."""
    return int(url.rpartition(":")[2])


@pytest.mark.slow
def test_more_threads_wait_than_redis_py_allows_connections(newest_url: str) -> None:
    """All of them are subscribed and woken, and the backend serves others meanwhile."""
    with (
        ThreadPoolExecutor(MANY) as threads,
        redis.Redis.from_url(newest_url) as client,
        RedisBackend.from_url(newest_url) as backend,
    ):
        names = [b"k%d" % number for number in range(MANY)]
        waiting = [threads.submit(wait, backend, KeyWait((name,)), LONG) for name in names]
        deadline = time.monotonic() + LONG
        while (count := subscribers(client)) < MANY and time.monotonic() < deadline:
            time.sleep(0.05)
        assert count == MANY
        assert backend.execute_many([Exists((b"k",)), Delete((b"k",))]) == [False, 0]
        backend.execute_many([SetImmutable(name, b"1") for name in names])
        for each in waiting:
            each.result(LONG)


def subscribers(client: Any) -> int:
    """Return the number of subscriptions; PUBSUB NUMSUB of Valkey 9.1 is wrong for many."""
    return sum(int(each["sub"]) for each in client.client_list(_type="pubsub"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server", "cluster"])
async def test_more_large_batches_at_once_than_redis_py_allows_connections(
    request: pytest.FixtureRequest, newest: RedisBinary, kind: str
) -> None:
    """On asyncio, batches that are too large for the shared connection are all executed."""
    if kind == "cluster":
        url = f"redis+cluster://127.0.0.1:{request.getfixturevalue('cluster_ports')[0]}"
    else:
        url = request.getfixturevalue("newest_url")
    sample = encode_sample(1.0, bytes(70_000))
    async with await AsyncRedisBackend.from_url(
        f"{url}?socket_timeout=60", retry=NO_RETRY
    ) as backend:
        batches: list[list[Operation[Any]]] = [
            [AddSample(b"{s}%d" % number, sample), Delete((b"{s}%d" % number,))]
            for number in range(MANY)
        ]
        done = await asyncio.gather(*map(backend.execute_many, batches))
    assert done == [[None, 1]] * MANY


def test_an_exhausted_pool(newest_url: str) -> None:
    """The error says what is wrong and what to do, with the address."""
    client = redis.Redis(port=port_of(newest_url), max_connections=1)
    with RedisBackend(client, retry=NO_RETRY) as backend, backend.watch([b"k"]) as watcher:
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        batches: list[list[Operation[Any]]] = [
            [Exists((b"k",))],
            [Exists((b"k",)), Delete((b"k",))],
        ]
        for operations in batches:
            with pytest.raises(ConnectionError, match="in use .*max_connections") as caught:
                backend.execute_many(operations)
            assert str(port_of(newest_url)) in str(caught.value)


def test_a_command_waits_for_a_free_connection(
    newest_url: str,
) -> None:
    """It is sent later, even if it is not safe to repeat, because it has not been sent before."""
    with (
        ThreadPoolExecutor(1) as threads,
        RedisBackend(redis.Redis(port=port_of(newest_url), max_connections=1)) as backend,
    ):
        backend.execute_many([SetImmutable(b"k", b"1"), SetImmutable(b"l", b"1")])
        with backend.watch([b"k"]) as watcher:
            assert watcher.next(LONG) is CheckDue.SUBSCRIBED
            deleting = threads.submit(backend.execute, Delete((b"k",)))
            time.sleep(0.05)
            assert not deleting.done()
        assert deleting.result(LONG) == 1
        assert backend.execute_many([Exists((b"k",)), Delete((b"l",))]) == [False, 1]


async def test_an_asyncio_client_that_may_make_only_two_connections(newest_url: str) -> None:
    """Twenty tasks share them, and a command that is not safe to repeat is executed once."""
    client = redis.asyncio.Redis(port=port_of(newest_url), max_connections=2)
    async with AsyncRedisBackend(client) as backend:
        keys = [b"k%d" % number for number in range(20)]
        await asyncio.gather(*(backend.execute(SetImmutable(key, b"1")) for key in keys))
        counts = await asyncio.gather(*(backend.execute(Delete((key,))) for key in keys))
        assert counts == [1] * 20


def test_a_watch_without_a_connection_is_logged(
    newest_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why no events arrive; the watcher subscribes as soon as a connection is free."""
    client = redis.Redis(port=port_of(newest_url), max_connections=1)
    with RedisBackend(client) as backend, backend.watch([b"l"], deletions=True) as second:
        with backend.watch([b"k"], deletions=True) as first:
            assert first.next(LONG) is CheckDue.SUBSCRIBED
            with caplog.at_level(logging.WARNING, "telstate_backends"):
                assert second.next(0.01) is None
            assert "max_connections" in caplog.text
        assert second.next(LONG) is CheckDue.SUBSCRIBED


def test_a_call_that_was_sent_in_part() -> None:
    """Only if nothing was sent can a call be repeated that is not safe to repeat."""
    full = redis.ConnectionError("Too many connections")
    assert (is_pool_exhausted(full), is_pool_exhausted(partly_sent(full))) == (True, False)
    assert not is_pool_exhausted(redis.ConnectionError("Connection closed by server."))


def test_a_batch_of_several_exchanges_is_not_repeated_from_the_middle(newest_url: str) -> None:
    """A deletion before a listing is executed once, though the listing got no connection."""
    client = redis.Redis(port=port_of(newest_url), max_connections=1)
    with RedisBackend(client, retry=NO_RETRY) as backend:
        backend.execute(SetImmutable(b"k", b"1"))
        taken: list[Any] = []
        # Private, but only a hook sees this moment.
        connections: Any = backend._server._connection  # type: ignore[union-attr]  # not a cluster
        release = connections.release

        def take(connection: Any) -> None:
            # When the deletion is done, another user takes the only connection.
            release(connection)
            if not taken:
                taken.append(connections.get_connection())

        connections.release = take
        with pytest.raises(ConnectionError, match="a part may have been sent"):
            backend.execute_many([Delete((b"k",)), Keys()])
        release(taken[0])
        assert backend.execute(Exists((b"k",))) is False
