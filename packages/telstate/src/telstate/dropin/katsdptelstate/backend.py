"""The abstract backend."""

from telstate_backends import Backend, KeyType

__all__ = ["Backend", "KeyType"]
