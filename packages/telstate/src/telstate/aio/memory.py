"""The in-memory backend for asyncio."""

from telstate_backends import AsyncMemoryBackend as MemoryBackend

__all__ = ["MemoryBackend"]
