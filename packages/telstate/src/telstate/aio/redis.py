"""The Redis backend for asyncio, by the name that it has for users."""

from telstate_backends.redis import AsyncRedisBackend as RedisBackend

__all__ = ["RedisBackend"]
