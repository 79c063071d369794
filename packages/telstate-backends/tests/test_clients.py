"""What is given to a backend as a client: the right manner is taken, all else refused at once."""

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
    """A client of a user's own making."""


class AsyncOwn(redis.asyncio.Redis):
    """The same, for asyncio."""


SYNC: list[Any] = [
    redis.Redis(port=1),
    Own(port=1),
    fakeredis.FakeRedis(),
    fakeredis.FakeStrictRedis(),
    mock.create_autospec(redis.RedisCluster, instance=True),
]
ASYNC: list[Any] = [
    redis.asyncio.Redis(port=1),
    AsyncOwn(port=1),
    fakeredis.FakeAsyncRedis(),
    redis.asyncio.RedisCluster("127.0.0.1", 1),
    mock.create_autospec(redis.asyncio.Redis, instance=True),
]
NONE: list[Any] = [None, URL, URL.encode(), ("127.0.0.1", 7711), MemoryBackend(), redis.Redis]


@pytest.mark.parametrize("client", ASYNC, ids=lambda client: type(client).__name__)
async def test_an_asyncio_client_for_ordinary_code(client: Any) -> None:
    """It is a TypeError that says which backend takes it, and names the client's class."""
    with pytest.raises(TypeError, match=r"for asyncio: give it to AsyncRedisBackend") as caught:
        RedisBackend(client)
    assert type(client).__qualname__ in str(caught.value)


@pytest.mark.parametrize("client", SYNC, ids=lambda client: type(client).__name__)
async def test_an_ordinary_client_for_asyncio(client: Any) -> None:
    """It is a TypeError that says which backend takes it, and what the asyncio one wants."""
    with pytest.raises(TypeError, match=r"give it to RedisBackend, .* redis\.asyncio\.Redis"):
        AsyncRedisBackend(client)


@pytest.mark.parametrize("thing", NONE, ids=lambda thing: type(thing).__name__)
@pytest.mark.parametrize("backend", [RedisBackend, AsyncRedisBackend])
async def test_what_is_no_client(backend: Any, thing: Any) -> None:
    """It is a TypeError that points to `from_url`, and does not show what was given."""
    with pytest.raises(TypeError, match=rf"{backend.__name__}\.from_url\('redis://") as caught:
        backend(thing)
    assert "hush" not in str(caught.value)
    frame: Any = caught.value.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name != "test_what_is_no_client":
            assert "hush" not in repr(frame.tb_frame.f_locals)
        frame = frame.tb_next


async def test_what_wraps_a_client() -> None:
    """What behaves as a client does is one, whatever its class."""

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


async def test_a_closed_backend_says_what_to_do() -> None:
    """Whoever uses a backend that was closed is told to make a new one."""
    backend = RedisBackend(fakeredis.FakeRedis())
    backend.close()
    with pytest.raises(ConnectionError, match="is closed; make a new one$"):
        backend.execute(Exists((b"k",)))
