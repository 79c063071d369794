"""From the arguments of a constructor to the backend.

An address may contain a password, so it is not repeated in an error unless it is known to be harmless.
"""

from __future__ import annotations

from typing import Any

from telstate.endpoint import Endpoint, endpoint_parser
from telstate_backends import AsyncBackend, Backend, MemoryBackend

REDIS_PORT = 6379
MAX_PORT = 65535


def open_backend(endpoint: str | Endpoint | Backend | None, db: int, cache_size: int) -> Backend:
    """Return the backend for the arguments of a synchronous telescope state."""
    check_cache_size(cache_size)
    if endpoint is None or endpoint == "":
        if db != 0:
            raise ValueError(f"An in-memory store has no database {db}. Leave db out.")
        backend: Backend = MemoryBackend()
    elif not isinstance(endpoint, (str, Endpoint)):
        backend = check_backend(endpoint)
        if db != 0:
            raise ValueError("A backend has its own database. Leave db out.")
    else:
        backend = _connect(endpoint, db)
    if cache_size:
        from telstate_backends import CachedBackend

        return CachedBackend(backend, cache_size)
    return backend


def _connect(endpoint: str | Endpoint, db: int) -> Backend:
    """Return a Redis backend for an address."""
    # These import redis-py.
    from telstate_backends import RedisBackend
    from telstate_backends.redis.url import mocked_client

    if isinstance(endpoint, str) and _is_url(endpoint):
        client = mocked_client(endpoint, db=db)
        if client is None:
            return RedisBackend.from_url(endpoint, db or None)
    else:
        address = _parse_address(endpoint)
        port: dict[str, Any] = {} if address.port is None else {"port": address.port}
        client = mocked_client(host=address.host, db=db, **port)
        if client is None:
            return RedisBackend.from_url(url_of(endpoint), db)
    return RedisBackend(client)


def url_of(endpoint: str | Endpoint) -> str:
    """Return the URL of a server."""
    if isinstance(endpoint, str) and _is_url(endpoint):
        return endpoint
    address = _parse_address(endpoint)
    return f"redis://{Endpoint(address.host, REDIS_PORT if address.port is None else address.port)}"


def open_async_backend(backend: AsyncBackend | None, cache_size: int) -> AsyncBackend:
    """Return the backend for the arguments of an asyncio telescope state."""
    check_cache_size(cache_size)
    if backend is None:
        from telstate_backends import AsyncMemoryBackend

        backend = AsyncMemoryBackend()
    else:
        check_async_backend(backend)
    if cache_size:
        from telstate_backends import AsyncCachedBackend

        return AsyncCachedBackend(backend, cache_size)
    return backend


def check_backend(backend: Any) -> Backend:
    """Return a synchronous backend; raise `TypeError` for anything else."""
    if isinstance(backend, AsyncBackend):
        raise TypeError(
            f"{class_name(backend)} is an asyncio backend. Use a synchronous one, or "
            "telstate.aio.TelescopeState."
        )
    if not hasattr(backend, "execute_many"):  # not by class, so that a mock is accepted
        raise TypeError(
            "An endpoint must be 'host:port', a URL, an Endpoint or a backend, not "
            f"{class_name(backend)}. Open a file with TelescopeState.from_snapshot."
        )
    checked: Backend = backend
    return checked


def check_async_backend(backend: Any) -> AsyncBackend:
    """Return an asyncio backend; raise `TypeError` for anything else."""
    if isinstance(backend, Backend) or not hasattr(backend, "execute_many"):
        raise TypeError(
            f"{class_name(backend)} is not an asyncio backend. Use telstate.aio.MemoryBackend() or "
            "await telstate.aio.RedisBackend.from_url(url)."
        )
    checked: AsyncBackend = backend
    return checked


def check_cache_size(cache_size: int) -> None:
    """Raise `ValueError` for a negative size."""
    if cache_size < 0:
        raise ValueError(f"cache_size must be a number of keys or 0, not {cache_size}.")


def class_name(value: object) -> str:
    """Return the name of the class of an object, with its module unless it is a built-in one."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _is_url(endpoint: str) -> bool:
    return "://" in endpoint and not endpoint.lower().startswith("file:")


def _parse_address(endpoint: str | Endpoint) -> Endpoint:
    """Return host and port, None if it is not given, of an endpoint that is not a URL."""
    if isinstance(endpoint, str):
        # Such a text could be taken for the name of a host, and may contain a password.
        if any(sign in endpoint for sign in "/@?") or endpoint.endswith(".rdb"):
            raise ValueError(
                "An endpoint is 'host:port', or a URL such as redis://user:password@host:port. "
                "Open a file with TelescopeState.from_snapshot, or load_from_file."
            )
        endpoint = endpoint_parser(None)(endpoint)
    if endpoint.port is not None and not 0 < endpoint.port <= MAX_PORT:
        raise ValueError(f"Port {endpoint.port} is not between 1 and {MAX_PORT}.")
    return endpoint
