"""Saving asyncio stores to an RDB file, in the old manner: ``with``, not only ``async with``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from telstate.aio import TelescopeState, rdb_writer
from telstate.snapshots import Progress
from telstate_backends import AsyncBackend as Backend
from telstate_codec import Key

from ..rdb_writer_base import RDBWriterBase

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Backend", "RDBWriter", "RDBWriterBase", "TelescopeState"]


class RDBWriter(RDBWriterBase, rdb_writer.RDBWriter):
    """Write keys of one or more asyncio stores to an RDB file; without ``with``, `close` it."""

    async def __aenter__(self) -> Self:
        return self

    async def save(
        self,
        client: TelescopeState | Backend | Redis,
        keys: Iterable[Key] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store, or of what a redis-py client is connected to."""
        store: Any = client
        if hasattr(store, "connection_pool"):
            from telstate.aio.redis import RedisBackend

            store = RedisBackend(store)
        await super().save(store, keys, progress)
