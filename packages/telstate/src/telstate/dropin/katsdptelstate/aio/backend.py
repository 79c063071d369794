"""The abstract asyncio backend."""

from telstate_backends import AsyncBackend as Backend
from telstate_backends import KeyType

__all__ = ["Backend", "KeyType"]
