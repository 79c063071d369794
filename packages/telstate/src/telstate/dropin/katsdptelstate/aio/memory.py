"""The memory backend for asyncio."""

from telstate.aio.memory import MemoryBackend
from telstate_backends import AsyncBackend as Backend
from telstate_backends import MemoryBackend as SyncMemoryBackend

__all__ = ["Backend", "MemoryBackend", "SyncMemoryBackend"]
