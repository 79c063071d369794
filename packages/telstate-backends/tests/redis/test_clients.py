"""Which clients a backend accepts, and what a closed backend says."""

from __future__ import annotations

from typing import Any
from unittest import mock

import fakeredis
import pytest
import redis
import redis.asyncio

from telstate_backends import (
    AsyncRedisBackend,
    ConnectionError,
    Exists,
    MemoryBackend,
    RedisBackend,
)

URL = "redis://:hush@127.0.0.1:7711"


class Own(redis.Redis):
    """A client of a user's own class."""


class AsyncOwn(redis.asyncio.Redis):
    """The same, for asyncio."""


SYNC: list[Any] = [
    redis.Redis(port=1),
    Own(port=1),
    fakeredis.FakeRedis(),
    mock.create_autospec(redis.RedisCluster, instance=True),
]
ASYNC: list[Any] = [
    redis.asyncio.Redis(port=1),
    AsyncOwn(port=1),
    fakeredis.FakeAsyncRedis(),
    redis.asyncio.RedisCluster("127.0.0.1", 1),
    mock.create_autospec(redis.asyncio.Redis, instance=True),
]
OTHERS: list[Any] = [None, URL, URL.encode(), MemoryBackend(), redis.Redis]


@pytest.mark.parametrize("client", ASYNC, ids=lambda client: type(client).__name__)
async def test_an_asyncio_client_for_a_synchronous_backend(client: Any) -> None:
    """It is a TypeError that says which client is needed, and names the client's class."""
    with pytest.raises(TypeError, match="RedisBackend needs a redis.Redis or ") as caught:
        RedisBackend(client)
    assert type(client).__qualname__ in str(caught.value)


@pytest.mark.parametrize("client", SYNC, ids=lambda client: type(client).__name__)
async def test_a_synchronous_client_for_an_asyncio_backend(client: Any) -> None:
    """It is a TypeError that says which client is needed."""
    with pytest.raises(TypeError, match="AsyncRedisBackend needs a redis.asyncio.Redis or "):
        AsyncRedisBackend(client)


@pytest.mark.parametrize("thing", OTHERS, ids=lambda thing: type(thing).__name__)
@pytest.mark.parametrize("backend", [RedisBackend, AsyncRedisBackend])
async def test_an_object_that_is_not_a_client(backend: Any, thing: Any) -> None:
    """It is a TypeError that points to `from_url`, and does not show what was passed."""
    with pytest.raises(TypeError, match=rf"use {backend.__name__}\.from_url") as caught:
        backend(thing)
    assert "hush" not in str(caught.value)


async def test_a_wrapper_of_a_client() -> None:
    """An object that behaves as a client does is accepted, whatever its class."""

    class Wrapper:
        def __init__(self, client: object) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

    sync: Any = Wrapper(fakeredis.FakeRedis())
    with RedisBackend(sync) as backend:
        assert backend.execute(Exists((b"k",))) is False
    asynchronous: Any = Wrapper(fakeredis.FakeAsyncRedis())
    async with AsyncRedisBackend(asynchronous) as other:
        assert await other.execute(Exists((b"k",))) is False


async def test_a_client_that_decodes_responses() -> None:
    """It is refused, since keys and values are bytes."""
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisBackend(fakeredis.FakeRedis(decode_responses=True))
    with pytest.raises(ValueError, match="decode_responses=False"):
        AsyncRedisBackend(fakeredis.FakeAsyncRedis(decode_responses=True))


async def test_a_closed_backend() -> None:
    """The error of a call says what to do."""
    backend = RedisBackend(fakeredis.FakeRedis())
    backend.close()
    with pytest.raises(ConnectionError, match=r"is closed\. Make a new one\.$"):
        backend.execute(Exists((b"k",)))
