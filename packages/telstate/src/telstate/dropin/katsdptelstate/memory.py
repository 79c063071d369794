"""The memory backend."""

from __future__ import annotations

from typing import Any

from telstate_backends import Backend, ImmutableKeyError, MemoryBackend

from .rdb_reader import BackendCallback, as_bytes

__all__ = ["Backend", "ImmutableKeyError", "MemoryBackend", "MemoryCallback"]


class MemoryCallback(BackendCallback):
    """Store what `rdb_reader.load_from_file` reads in a dictionary, with keys and values as bytes.

    Parameters
    ----------
    data
        The dictionary. An immutable key is stored as bytes, a mutable one as a sorted list of
        samples, an indexed one as a dictionary.
    """

    def __init__(self, data: dict[bytes, Any]) -> None:
        super().__init__()
        self.data = data

    def set(self, key: Any, value: Any, expiry: Any, info: dict[str, Any]) -> None:
        """Store an immutable key."""
        self.data[as_bytes(key)] = as_bytes(value)
        self.n_keys += 1

    def start_sorted_set(self, key: Any, length: int, expiry: Any, info: dict[str, Any]) -> None:
        """Begin a mutable key."""
        self.data[as_bytes(key)] = []
        self.n_keys += 1

    def zadd(self, key: Any, score: Any, member: Any) -> None:
        """Store a sample."""
        self.data[as_bytes(key)].append(as_bytes(member))

    def end_sorted_set(self, key: Any) -> None:
        """Finish a mutable key."""
        self.data[as_bytes(key)].sort()

    def start_hash(self, key: Any, length: int, expiry: Any, info: dict[str, Any]) -> None:
        """Begin an indexed key."""
        self.data[as_bytes(key)] = {}
        self.n_keys += 1

    def hset(self, key: Any, field: Any, value: Any) -> None:
        """Store a sub-key."""
        self.data[as_bytes(key)][as_bytes(field)] = as_bytes(value)
