"""Redis as a store: a server, a master found by Sentinel, a cluster, or fakeredis."""

from telstate_backends.redis.backend import RedisBackend
from telstate_backends.redis.backend_async import AsyncRedisBackend
from telstate_backends.retry import RetryPolicy

__all__ = ["AsyncRedisBackend", "RedisBackend", "RetryPolicy"]
