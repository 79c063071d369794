"""The Redis backend for asyncio."""

from telstate import ImmutableKeyError, KeyType
from telstate.aio.redis import RedisBackend
from telstate_backends import AsyncBackend as Backend

__all__ = ["Backend", "ImmutableKeyError", "KeyType", "RedisBackend"]
