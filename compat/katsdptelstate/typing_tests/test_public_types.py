"""Type checkers find telstate's types under the names of katsdptelstate."""

from typing import assert_type

import katsdptelstate
import katsdptelstate.aio
from katsdptelstate import KeyType, TelescopeState
from katsdptelstate.aio.redis import RedisBackend as AsyncRedisBackend
from katsdptelstate.encoding import encode_value
from katsdptelstate.endpoint import Endpoint, endpoint_parser
from katsdptelstate.memory import MemoryBackend
from katsdptelstate.rdb_writer import RDBWriter

import telstate

ts = TelescopeState(MemoryBackend())
assert_type(ts, telstate.TelescopeState)
assert_type(ts.key_type("n_chans"), KeyType | None)
assert_type(katsdptelstate.__version__, str)
assert_type(katsdptelstate.aio.TelescopeState(), telstate.aio.TelescopeState)
assert_type(encode_value(4096), bytes)
assert_type(endpoint_parser(7148)("localhost"), Endpoint)
writer: telstate.RDBWriter = RDBWriter("observation.rdb")


async def connect() -> None:
    """The asyncio backend has telstate's type."""
    backend = await AsyncRedisBackend.from_url("redis://localhost")
    assert_type(backend, telstate.aio.redis.RedisBackend)
