"""The telescope state for asyncio: `TelescopeState`, its backends and `RDBWriter`.

Each method has the meaning of the synchronous method of the same name, and is awaited. Operators that
cannot be awaited have names here: ``await ts.set(key, value)`` and ``await ts.exists(key)``. Reading has
both, ``await ts[key]`` too.
"""

from typing import TYPE_CHECKING

from telstate._lazy import lazy_exports

if TYPE_CHECKING:
    from telstate.aio import memory as memory
    from telstate.aio import rdb_writer as rdb_writer
    from telstate.aio import redis as redis
    from telstate.aio.memory import MemoryBackend as MemoryBackend
    from telstate.aio.rdb_writer import RDBWriter as RDBWriter
    from telstate.aio.redis import RedisBackend as RedisBackend
    from telstate.aio.telescope_state import TelescopeState as TelescopeState

else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            __name__: ("memory", "rdb_writer", "redis"),
            "telstate.aio.memory": ("MemoryBackend",),
            "telstate.aio.rdb_writer": ("RDBWriter",),
            "telstate.aio.redis": ("RedisBackend",),
            "telstate.aio.telescope_state": ("TelescopeState",),
        },
    )
