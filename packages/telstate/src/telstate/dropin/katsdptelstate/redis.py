"""The Redis backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telstate_backends import Backend, ConnectionError, ImmutableKeyError, KeyType
from telstate_backends.redis import RedisBackend

from .rdb_reader import BackendCallback, as_bytes

if TYPE_CHECKING:
    from redis import Redis

__all__ = [
    "Backend",
    "ConnectionError",
    "ImmutableKeyError",
    "KeyType",
    "RedisBackend",
    "RedisCallback",
]


class RedisCallback(BackendCallback):
    """Store what `rdb_reader.load_from_file` reads on a Redis server.

    `TelescopeState.load_from_file` is a hundred times as fast.

    Parameters
    ----------
    client
        A redis-py client.
    """

    def __init__(self, client: Redis) -> None:
        super().__init__()
        self.client = client
        self._members: dict[bytes, Any] = {}
        self._fields: dict[Any, Any] = {}

    def set(self, key: Any, value: Any, expiry: Any, info: dict[str, Any]) -> None:
        """Write an immutable key."""
        self.client.set(as_bytes(key), as_bytes(value))
        self.n_keys += 1

    def start_sorted_set(self, key: Any, length: int, expiry: Any, info: dict[str, Any]) -> None:
        """Begin a mutable key."""
        self._members = {}

    def zadd(self, key: Any, score: Any, member: Any) -> None:
        """Collect a sample."""
        self._members[as_bytes(member)] = float(score)

    def end_sorted_set(self, key: Any) -> None:
        """Replace a mutable key."""
        self._replace(as_bytes(key)).zadd(as_bytes(key), self._members)
        self.n_keys += 1

    def start_hash(self, key: Any, length: int, expiry: Any, info: dict[str, Any]) -> None:
        """Begin an indexed key."""
        self._fields = {}

    def hset(self, key: Any, field: Any, value: Any) -> None:
        """Collect a sub-key."""
        self._fields[as_bytes(field)] = as_bytes(value)

    def end_hash(self, key: Any) -> None:
        """Replace an indexed key."""
        self._replace(as_bytes(key)).hset(as_bytes(key), mapping=self._fields)
        self.n_keys += 1

    def _replace(self, key: bytes) -> Redis:
        self.client.delete(key)
        return self.client
