"""Saving asyncio stores to an RDB file with the old API: ``with`` as well as ``async with``."""

from __future__ import annotations

from typing import Self

from telstate.aio import TelescopeState, rdb_writer
from telstate_backends import AsyncBackend as Backend

from ..rdb_writer_base import RDBWriterBase

__all__ = ["Backend", "RDBWriter", "RDBWriterBase", "TelescopeState"]


class RDBWriter(RDBWriterBase, rdb_writer.RDBWriter):
    """Write keys of one or more asyncio stores to an RDB file; without ``with``, `close` it."""

    async def __aenter__(self) -> Self:
        return self
