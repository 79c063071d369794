"""From a constructor's arguments to the backend that they ask for.

Rules: what a server is reached by may hold a password, so it is neither in an error nor, when one is raised,
in a local variable: crash reporters show those.
"""

from __future__ import annotations

from telstate.base import is_awaited
from telstate.endpoint import Endpoint, endpoint_parser
from telstate_backends import Backend, MemoryBackend

REDIS_PORT = 6379
LAST_PORT = 65535


def open_backend(endpoint: str | Endpoint | Backend, db: int) -> Backend:
    """Make the backend that the arguments `endpoint` and `db` of a telescope state ask for.

    Raises
    ------
    TypeError, ValueError
        If it is no endpoint, or contradicts `db`.
    ConnectionError
        If the server cannot be reached.
    """
    try:
        if not isinstance(endpoint, (str, Endpoint)):
            if not hasattr(endpoint, "execute_many"):
                raise TypeError(
                    f"A {type(endpoint).__name__} is no endpoint: give 'host:port', a URL, an Endpoint "
                    "or a backend, such as RedisBackend(client); a file opens with "
                    "TelescopeState.from_snapshot."
                )
            if is_awaited(endpoint):
                raise TypeError(
                    f"A {type(endpoint).__module__}.{type(endpoint).__name__} is for asyncio: give one "
                    "of telstate_backends.RedisBackend or telstate.MemoryBackend, or use "
                    "telstate.aio.TelescopeState."
                )
            if db != 0:
                raise ValueError("A backend brings its own database; leave db out.")
            return endpoint
        if endpoint == "":
            if db != 0:
                raise ValueError(f"An in-memory store has no database {db}; leave db out.")
            return MemoryBackend()
        # Here, because who uses no server need not pay for this import.
        from telstate_backends.redis import RedisBackend

        if isinstance(endpoint, str) and "://" in endpoint:
            return RedisBackend.from_url(endpoint, db or None)
        address = _address(endpoint) if isinstance(endpoint, str) else endpoint
        port = REDIS_PORT if address.port is None else address.port
        if not 0 < port <= LAST_PORT:
            raise ValueError(
                f"There is no port {port}: write host:port with one from 1 to {LAST_PORT}, or host "
                f"alone for {REDIS_PORT}."
            )
        return RedisBackend.from_url(f"redis://{Endpoint(address.host, port)}", db)
    finally:
        del endpoint


def _address(endpoint: str) -> Endpoint:
    """Read ``host`` or ``host:port``."""
    try:
        if "@" in endpoint:
            raise ValueError(
                "An endpoint without a scheme has no '@': for a user and a password write "
                "redis://user:password@host:port; a file opens with TelescopeState.from_snapshot."
            )
        if "/" in endpoint or endpoint.endswith(".rdb"):
            raise ValueError(
                f"{endpoint!r} is no endpoint but looks like a file; open it with "
                "TelescopeState.from_snapshot, or have a store load_from_file it."
            )
        return endpoint_parser(REDIS_PORT)(endpoint)
    finally:
        del endpoint
