"""What an asyncio backend is."""

from telstate_backends import AsyncBackend as Backend
from telstate_backends import KeyType

__all__ = ["Backend", "KeyType"]
