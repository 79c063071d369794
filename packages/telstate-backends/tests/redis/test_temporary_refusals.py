"""Replies by which a server refuses a command for now: nothing was done, so the command is sent again."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
import redis.exceptions as theirs
from conftest import needs_server
from subjects import LONG, AsyncSubject, Subject, SyncSubject, later

from telstate_backends import (
    AsyncRedisBackend,
    Clear,
    ConnectionError,
    Delete,
    Get,
    Immutable,
    KeyTypes,
    Operation,
    RedisBackend,
    RetryPolicy,
    SetImmutable,
)
from telstate_backends.redis._errors import is_temporary
from telstate_testing import RedisServer
from telstate_testing.servers import free_port

pytestmark = needs_server

#: Batches that may be repeated, that may not but are refused as a whole, and one operation.
WRITES: list[list[Operation[Any]]] = [
    [SetImmutable(b"a", b"1"), SetImmutable(b"b", b"1")],
    [Delete((b"a",)), Delete((b"none",)), Delete((b"b",))],
    [Delete((b"kept",))],
]
RESULTS = [[None, None], [1, 0, 1], [1]]


async def connected(url: str, asynchronous: bool, seconds: float) -> Subject:
    """Return a subject on a server that retries for so long."""
    retry = RetryPolicy(seconds=seconds, longest_delay=0.05)
    if asynchronous:
        return AsyncSubject(await AsyncRedisBackend.from_url(url, retry=retry))
    return SyncSubject(RedisBackend.from_url(url, retry=retry))


class Refusals:
    """Two subjects on one server: one that does not retry, and one that does."""

    def __init__(self, impatient: Subject, patient: Subject) -> None:
        self._impatient = impatient
        self._patient = patient

    async def check(
        self, message: str, end: Callable[[], object], batches: list[list[Operation[Any]]] = WRITES
    ) -> list[Any]:
        """Check that operations are refused with a message, and done when that has ended."""
        for batch in batches:
            with pytest.raises(ConnectionError, match=message):
                await self._impatient.execute_many(batch)
            with pytest.raises(ConnectionError, match=message):
                await self._impatient.execute(batch[0])
        thread = later(0.1, end)
        results = [await self._patient.execute_many(batch) for batch in batches[:-1]]
        results.append([await self._patient.execute(batches[-1][0])])
        thread.join()
        return results


@pytest.fixture
async def refusals(server_url: str, asynchronous: bool) -> AsyncIterator[Refusals]:
    """The subjects on a server of each version, which has one key."""
    impatient = await connected(server_url, asynchronous, 0)
    patient = await connected(server_url, asynchronous, LONG)
    await patient.execute(SetImmutable(b"kept", b"1"))
    yield Refusals(impatient, patient)
    await impatient.close()
    await patient.close()


async def test_a_script_of_another_client(server_url: str, refusals: Refusals) -> None:
    """BUSY: while another client's script runs for long."""
    with redis.Redis.from_url(server_url) as client, redis.Redis.from_url(server_url) as other:
        # redis-py leaves some of its methods without annotations.
        admin: Any = client
        limit = admin.config_get("lua-time-limit")
        admin.config_set("lua-time-limit", 1)

        def run() -> None:
            with pytest.raises(redis.ResponseError, match="killed"):
                other.eval("while true do end", 0)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            with pytest.raises(redis.ResponseError, match="BUSY"):
                while True:
                    admin.ping()
            results = await refusals.check("busy with a long script", admin.script_kill)
        finally:
            thread.join(LONG)
            admin.config_set("lua-time-limit", limit["lua-time-limit"])
    assert results == RESULTS


async def test_too_few_replicas(server_url: str, refusals: Refusals) -> None:
    """NOREPLICAS: while fewer replicas are connected than writes need."""
    with redis.Redis.from_url(server_url) as admin:
        admin.config_set("min-replicas-to-write", 1)
        try:
            results = await refusals.check(
                "too few replicas", lambda: admin.config_set("min-replicas-to-write", 0)
            )
        finally:
            admin.config_set("min-replicas-to-write", 0)
    assert results == RESULTS


async def test_a_replica_without_its_master(server_url: str, refusals: Refusals) -> None:
    """MASTERDOWN: while a replica is not connected and must not serve old data."""
    with redis.Redis.from_url(server_url) as client:
        admin: Any = client  # redis-py leaves some of its methods without annotations
        admin.config_set("replica-serve-stale-data", "no")
        admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
        try:
            results = await refusals.check(
                "lost its master", lambda: admin.execute_command("REPLICAOF", "NO", "ONE")
            )
        finally:
            admin.execute_command("REPLICAOF", "NO", "ONE")
            admin.config_set("replica-serve-stale-data", "yes")
    assert results == RESULTS


async def test_a_server_that_loads_its_data(server: RedisServer, asynchronous: bool) -> None:
    """LOADING: while a server reads its snapshot."""
    if server.binary.version < (7,):
        pytest.skip("Redis 6.2 looks at clients only once in 2 MB")
    with redis.Redis(port=server.port) as client:
        value = os.urandom(1024)
        client.mset({f"{number}": value for number in range(1000)})
        client.save()
    impatient = await connected(server.url, asynchronous, 0)
    patient = await connected(server.url, asynchronous, LONG)
    server.kill()
    # Microseconds for each key, and bytes between two looks at clients.
    server.options = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    starting = threading.Thread(target=server.start)
    starting.start()
    operations: list[Operation[Any]] = [Delete((b"7",)), Get((b"7",)), KeyTypes()]
    for operation in operations:
        with pytest.raises(ConnectionError, match="still loading"):
            while starting.is_alive():
                try:
                    await impatient.execute(operation)
                except ConnectionError as error:
                    if "cannot be reached" not in str(error):
                        raise
    with redis.Redis(port=server.port) as admin:
        thread = later(0.1, lambda: admin.config_set("key-load-delay", 0))
        assert await patient.execute(Delete((b"7",))) == 1
        assert await patient.execute(Get((b"8",))) == Immutable(value)
        thread.join()
    starting.join()
    await impatient.close()
    await patient.close()


async def test_a_batch_that_is_refused_in_part(server_url: str, asynchronous: bool) -> None:
    """A batch that must not be repeated is not, if some of it was done; the others have errors."""
    subject = await connected(server_url, asynchronous, LONG)
    with redis.Redis.from_url(server_url) as admin:
        admin.config_set("min-replicas-to-write", 1)
        try:
            read, refused, cleared = await subject.execute_many(
                [Get((b"k",)), Delete((b"k",)), Clear()]
            )
        finally:
            admin.config_set("min-replicas-to-write", 0)
    assert read is None
    assert isinstance(refused, ConnectionError) and isinstance(cleared, ConnectionError)
    await subject.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (theirs.ResponseError("BUSY Redis is busy running a script."), True),
        (theirs.ResponseError("BUSYKEY Target key name already exists."), False),
        (theirs.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (theirs.ResponseError("@user_script:5: @user_script: 5: -NOREPLICAS Not enough"), True),
        (theirs.ResponseError("unknown command 'X', with args: 'BUSY NOREPLICAS '"), False),
        (theirs.MasterDownError("Link with MASTER is down"), True),
        (theirs.ClusterDownError("The cluster is down"), True),
        (theirs.TryAgainError("Multiple keys request during rehashing of slot"), True),
        (theirs.BusyLoadingError("Redis is loading the dataset in memory"), True),
        (theirs.ReadOnlyError("You can't write against a read only replica."), False),
        (theirs.ConnectionError("BUSY "), False),
        (None, False),
    ],
)
def test_temporary_refusals(error: object, expected: bool) -> None:
    """A reply is recognised by its code, also where a script ran into it."""
    assert is_temporary(error) is expected
