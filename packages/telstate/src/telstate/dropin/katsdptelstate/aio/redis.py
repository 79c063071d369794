"""The Redis backend for asyncio."""

from telstate.aio.redis import RedisBackend

__all__ = ["RedisBackend"]
