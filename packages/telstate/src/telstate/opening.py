"""From a constructor's arguments to the backend that they ask for.

Rules: what a server is reached by may hold a password, so it is neither in an error nor, when one is raised,
in a local variable: crash reporters show those.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from telstate.endpoint import Endpoint, endpoint_parser
from telstate_backends import AsyncBackend, Backend, ConnectionError, MemoryBackend, RefusedError

REDIS_PORT = 6379
LAST_PORT = 65535
# The last that a server has unless it is told otherwise.
LAST_DEFAULT_DATABASE = 15


def open_backend(endpoint: str | Endpoint | Backend | AsyncBackend, db: int) -> Backend:
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
            if isinstance(endpoint, AsyncBackend):
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

        if isinstance(endpoint, str) and "://" in endpoint and not _is_file_url(endpoint):
            with _hint_at_ports(db):
                return RedisBackend.from_url(endpoint, db or None)
        address = _address(endpoint) if isinstance(endpoint, str) else endpoint
        port = REDIS_PORT if address.port is None else address.port
        if not 0 < port <= LAST_PORT:
            raise ValueError(
                f"There is no port {port}: write host:port with one from 1 to {LAST_PORT}, or host "
                f"alone for {REDIS_PORT}."
            )
        with _hint_at_ports(db):
            return RedisBackend.from_url(f"redis://{Endpoint(address.host, port)}", db)
    finally:
        del endpoint


@contextmanager
def _hint_at_ports(db: int) -> Iterator[None]:
    """Say, where a server cannot be used, that what may be meant for a port was taken for a database."""
    try:
        yield
    except (ConnectionError, RefusedError) as error:
        if db > LAST_DEFAULT_DATABASE:
            error.args = (
                f"{error}; {db} was given as db, the number of a database: a port belongs in the "
                f"endpoint, 'host:{db}'",
            )
        raise


def _address(endpoint: str) -> Endpoint:
    """Read ``host`` or ``host:port``."""
    try:
        slip = _find_slip(endpoint)
        if slip is not None:
            raise ValueError(slip)
        return endpoint_parser(REDIS_PORT)(endpoint)
    finally:
        del endpoint


def _find_slip(text: str) -> str | None:
    """Say what an endpoint that is none was meant to be, and how that is written.

    What may hold a password is not repeated: whatever has an ``@`` or a ``?``.
    """
    is_secret = "@" in text or "?" in text
    scheme = text.partition("/")[0].rstrip(":")
    base = scheme.lower().partition("+")[0]
    if "/" in text and base in _FORMS and not text.endswith(".rdb"):
        form, full = _FORMS[base]
        meant = full if is_secret else form + text[len(scheme) :].lstrip(":/")
        return (
            f"An endpoint that begins with {text[: len(scheme) + 2]!r} is a mistyped URL: write "
            f"{scheme}:{meant}."
        )
    if _is_file_url(text):
        path = "" if is_secret else repr(text[len("file:") :].removeprefix("//"))
        return (
            "An endpoint is where a server is, not a file: open a snapshot with "
            f"TelescopeState.from_snapshot({path})."
        )
    if "/" in text and (_is_socket(text) or text.endswith(".sock") and not is_secret):
        return f"{text!r} is a Unix socket: write {_socket_url(text)!r}."
    if "@" in text:
        return (
            "An endpoint without a scheme has no '@': for a user and a password write "
            "redis://user:password@host:port; a file opens with TelescopeState.from_snapshot."
        )
    if "/" in text or text.endswith(".rdb"):
        return (
            f"{text!r} is no endpoint but looks like a file; open it with "
            "TelescopeState.from_snapshot, or have a store load_from_file it."
        )
    host, _, end = text.rpartition(":")
    # If the end can be a port, it is one, as katsdptelstate has it.
    if ":" in host and _is_ipv6(text) and not (end.isdecimal() and _is_ipv6(host)):
        return f"{text!r} is an IPv6 address without brackets: write '[{text}]' or '[{text}]:port'."
    return None


# What follows the scheme of a URL of ours and its colon, and all that can follow.
_SERVER = ("//", "//user:password@host:port")
_FORMS = {"redis": _SERVER, "rediss": _SERVER, "unix": ("///", "//user:password@/path")}


def _is_file_url(text: str) -> bool:
    return text[: len("file:/")].lower() == "file:/"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _socket_url(path: str) -> str:
    from urllib.parse import quote  # here, because few need it

    return f"unix://{quote(os.path.abspath(path))}"


def _is_ipv6(text: str) -> bool:
    import ipaddress  # here, for the same reason

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
