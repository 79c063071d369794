"""The Redis backend for asyncio."""

from telstate_backends import AsyncRedisBackend as RedisBackend

__all__ = ["RedisBackend"]
