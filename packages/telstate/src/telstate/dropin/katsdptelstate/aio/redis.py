"""The Redis backend for asyncio."""

from telstate import ImmutableKeyError, KeyType
from telstate.aio.redis import RedisBackend
from telstate_backends import AsyncBackend as Backend

__all__ = ["Backend", "ImmutableKeyError", "KeyType", "RedisBackend"]

# Tests of the asyncio backend import it. Nothing subscribes to it.
_DUMMY_CHANNEL = b"\x00katsdptelstate-internal0\x01"
