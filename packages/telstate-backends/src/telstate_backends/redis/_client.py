"""What the sync and the asyncio links want of a redis-py client, and what they call the server.

Rules: an address never holds a password.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.cluster
from redis.backoff import NoBackoff

#: A pool that allows fewer connections than this has none to spare.
_SPARE = 8


def address_of(pool: Any) -> str:
    """Name the server that a pool's connections go to, without any password."""
    service = getattr(pool, "service_name", None)
    if service is not None:
        places = [address_of(each.connection_pool) for each in sentinels_of(pool)]
        return master_address(service, places)
    arguments = pool.connection_kwargs
    path = arguments.get("path")
    if path:
        return f"unix:{path}"
    return join(arguments.get("host", "localhost"), arguments.get("port", 6379))


def master_address(service: str, places: Sequence[str]) -> str:
    """Name the master that Sentinels at these places look after."""
    return f"master {service!r} of Sentinel{'s' * (len(places) > 1)} at {', '.join(places)}"


def speaks_tls(pool: Any) -> bool:
    """Tell whether the connections of a pool for ordinary code use TLS."""
    kind = getattr(pool, "connection_class", None)
    return isinstance(kind, type) and issubclass(kind, redis.SSLConnection)


def sentinels_of(pool: Any) -> list[Any]:
    """Give the clients of the Sentinels that a pool asks for its master."""
    manager = getattr(pool, "sentinel_manager", None)
    return [] if manager is None else list(manager.sentinels)


def can_spare(pool: Any) -> bool:
    """Tell whether a connection can be kept out of a pool: one that allows few has none to spare."""
    return bool(getattr(pool, "max_connections", 0) >= _SPARE)


def get_connection_arguments(pool: Any) -> tuple[str, ...]:
    """Give what a pool is to be given when it is asked for a connection.

    redis-py 5 wants the name of a command, which it does not look at; later ones warn of it.
    """
    needed = any(
        each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        for each in inspect.signature(pool.get_connection).parameters.values()
    )
    return ("_",) if needed else ()


class Retries:
    """A client's own retries, which are off until they are restored.

    Nothing is to be sent again that is not safe to repeat, and the rest not for longer than our own
    bound. A pool that asks Sentinels for its master tries those again, too.

    Parameters
    ----------
    client : redis.Redis or redis.asyncio.Redis
        Whose.
    none : redis.retry.Retry or redis.asyncio.retry.Retry
        What takes their place.
    """

    def __init__(self, client: Any, none: Any) -> None:
        self._before = []
        for each in (client, *sentinels_of(client.connection_pool)):
            self._before.append((each, each.get_retry()))
            each.set_retry(none)

    def restore(self) -> None:
        """Give the clients back what they had."""
        while self._before:
            client, retry = self._before.pop()
            if retry is not None:
                client.set_retry(retry)


def cluster_address(node: Any) -> str:
    """Name a cluster by one of its nodes."""
    return f"cluster {join(node.host, node.port)}"


def join(host: str, port: int) -> str:
    """Write host and port together, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_SYNC: tuple[type, ...] = (redis.Redis, redis.cluster.RedisCluster)
_ASYNC: tuple[type, ...] = (redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster)


def unfit(client: object, asynchronous: bool) -> str | None:
    """Tell why something is no client for a backend, `None` if it is one.

    Parameters
    ----------
    client : object
        What a user gave; it is not shown, since a URL may hold a password.
    asynchronous : bool
        Whether the backend is for asyncio.
    """
    ours, right, wrong = "RedisBackend", _SYNC, _ASYNC
    theirs, module = "AsyncRedisBackend", "redis"
    if asynchronous:
        ours, theirs, right, wrong, module = theirs, ours, wrong, right, "redis.asyncio"
    if isinstance(client, wrong):
        kind = "ordinary code" if asynchronous else "asyncio"
        return (
            f"a {type(client).__module__}.{type(client).__qualname__} is a client for {kind}: give it to "
            f"{theirs}, or give {ours} a {module}.Redis or {module}.RedisCluster"
        )
    # Not by their class: something that wraps a client will do.
    if isinstance(client, right) or hasattr(client, "connection_pool"):
        return None
    return (
        f"a {type(client).__name__} is no Redis client: give {ours} a {module}.Redis or "
        f"{module}.RedisCluster, or make it of a URL with {ours}.from_url('redis://host:port')"
    )


def check(connection_arguments: Mapping[str, Any]) -> None:
    """Refuse a client that does not give bytes."""
    if connection_arguments.get("decode_responses"):
        raise ValueError("the Redis client decodes responses; make it with decode_responses=False")


def socket_of(connection: Any) -> socket.socket | None:
    """Return the socket of a synchronous connection, None if it has none (fakeredis)."""
    sock = getattr(connection, "_sock", None)
    return sock if isinstance(sock, socket.socket) else None


class _NoRetry(redis.asyncio.retry.Retry):
    async def call_with_retry(self, do: Callable[[], Awaitable[Any]], *_: Any, **__: Any) -> Any:
        return await do()


@contextmanager
def without_reconnect(connection: Any) -> Iterator[None]:
    """Keep redis-py from reconnecting by itself while two tasks share an asyncio connection.

    Each could read what is for the other then: a greeting, or the refusal of another command.
    """
    if connection is None:
        yield
        return
    retry, connection.retry = connection.retry, _NoRetry(NoBackoff(), 0)
    try:
        yield
    finally:
        connection.retry = retry  # the connection goes back to a pool
