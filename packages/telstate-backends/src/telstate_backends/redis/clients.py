"""What the sync and the asyncio backend want of a redis-py client, and what they call the server.

Rules: connections have timeouts and health checks by default. redis-py's own retries are switched
off, because they repeat everything: the backend repeats what is safe. An address never holds a
password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from redis.connection import parse_url

#: Given to every connection that is made from a URL, unless the URL says otherwise.
DEFAULTS: Mapping[str, Any] = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 30,
}


def options(url: str, db: int | None) -> dict[str, Any]:
    """Give the arguments for redis-py's `from_url`.

    Raises
    ------
    ValueError
        If the URL is none that redis-py understands, or names another database than `db`.
    """
    try:
        # redis-py leaves this function without annotations.
        parse: Callable[[str], dict[str, Any]] = parse_url
        parsed = parse(url)
    except (ValueError, AttributeError):
        # Without the cause, whose text may hold a piece of the password.
        scheme = url.partition("://")[0] if "://" in url else ""
        raise ValueError(
            f"this {scheme!r} URL is not a valid address of a Redis server (redis://host:port/db, "
            "rediss://..., unix:///path); quote special characters in user and password"
        ) from None
    chosen = parsed.get("db")
    if db is not None and chosen is not None and chosen != db:
        raise ValueError(f"the URL asks for database {chosen}, but db is {db}; give only one")
    arguments = {name: value for name, value in DEFAULTS.items() if name not in parsed}
    if "path" in parsed:
        del arguments["socket_keepalive"]
    if db is not None:
        arguments["db"] = db
    return arguments


def address_of(connection_arguments: Mapping[str, Any]) -> str:
    """Name the server that connections with these arguments go to, without any password."""
    path = connection_arguments.get("path")
    if path:
        return f"unix:{path}"
    host = connection_arguments.get("host", "localhost")
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{connection_arguments.get('port', 6379)}"


def check(connection_arguments: Mapping[str, Any]) -> None:
    """Refuse a client that does not give bytes."""
    if connection_arguments.get("decode_responses"):
        raise ValueError("the Redis client decodes responses; make it with decode_responses=False")


async def close(thing: Any) -> None:
    """Close an asyncio client or pub/sub object, by the name which its redis-py has for that."""
    # redis-py 5.0.0 knows only close, later ones warn about it.
    await (thing.aclose if hasattr(thing, "aclose") else thing.close)()
