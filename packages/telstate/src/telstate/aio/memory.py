"""The in-memory backend for asyncio, by the name that it has for users."""

from telstate_backends import AsyncMemoryBackend as MemoryBackend

__all__ = ["MemoryBackend"]
