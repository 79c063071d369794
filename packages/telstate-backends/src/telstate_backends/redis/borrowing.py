"""Using somebody's redis-py client for a while, and giving it back as it was.

A client that is given to a backend belongs to it; one that is only saved from, say, does not: afterwards it
has its own retries again, and none of its connections is kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import redis
import redis.asyncio

from telstate_backends.redis.backend import RedisBackend
from telstate_backends.redis.backend_async import AsyncRedisBackend


@contextmanager
def borrow(client: redis.Redis) -> Iterator[RedisBackend]:
    """Give a backend on a client that goes on to be somebody else's."""
    backend = RedisBackend(client)
    try:
        yield backend
    finally:
        backend._link.release()


@asynccontextmanager
async def borrow_async(client: redis.asyncio.Redis) -> AsyncIterator[AsyncRedisBackend]:
    """Give an asyncio backend on a client that goes on to be somebody else's."""
    backend = AsyncRedisBackend(client)
    try:
        yield backend
    finally:
        await backend._link.release()
