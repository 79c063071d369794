"""The one place where redis-py's errors become ours.

Rules: a table says what each class means; the first that fits counts. The text names the address,
never a user or password (redis-py's own texts hold none of these either); the cause is chained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import redis.asyncio.sentinel
import redis.exceptions as theirs
import redis.sentinel

from telstate_backends.errors import ConnectionError, RefusedError, TelstateError
from telstate_backends.operations.base import UNEXPECTED, Operation, UnexpectedReply
from telstate_codec.keys import key_repr

#: Everything that redis-py, and the sockets below it, may raise.
FAILURES = (theirs.RedisError, theirs.RedisClusterException, OSError)

#: Those of them by which a connection is lost, or a cluster may have changed.
LOST = (theirs.ConnectionError, theirs.TimeoutError, theirs.RedisClusterException, OSError)

#: What redis-py says if all connections are in use that a pool may make.
_NO_ROOM = ("Too many connections", "No connection available.")

#: What reading a reply of another form than expected comes to.
NONSENSE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)

#: A class of theirs, a pattern that its text must have, ours, and what we say.
_Row: TypeAlias = tuple[type[BaseException], str, type[TelstateError], str]

_LOCKED_OUT = "Redis at {address} does not let us in ({words}); check user name and password"
_MOVING = "the Redis Cluster at {address} is moving the key ({words}); try again"
_NOT_PERMITTED = (
    "Redis at {address} does not permit this{about} ({words}); use another user, or let this one read and "
    "write such keys, run scripts, and use the channels update/*, delete/* and clear"
)
_ONE_NODE = (
    "Redis at {address} is one node of a cluster, and the key belongs on another ({words}); use "
    "redis+cluster:// instead of redis://"
)
_NO_MASTER = "Redis at {address} cannot be found ({words}); check that "

_MEANINGS: tuple[_Row, ...] = (
    (theirs.AuthenticationError, "", ConnectionError, _LOCKED_OUT),
    (theirs.AuthenticationWrongNumberOfArgsError, "", ConnectionError, _LOCKED_OUT),
    (
        theirs.BusyLoadingError,
        "",
        ConnectionError,
        "Redis at {address} is still loading its data ({words}); try again later",
    ),
    (
        theirs.TimeoutError,
        "",
        ConnectionError,
        "Redis at {address} did not answer in time ({words}); check the network, or allow more time",
    ),
    (
        theirs.ClusterDownError,
        "",
        ConnectionError,
        "the Redis Cluster at {address} cannot serve this at present ({words}); try again later",
    ),
    # It can only be asked again so often in one go.
    (theirs.AskError, "", ConnectionError, _MOVING),
    (theirs.TryAgainError, "", ConnectionError, _MOVING),
    (theirs.NoPermissionError, "", RefusedError, _NOT_PERMITTED),
    # What a script may not do.
    (
        theirs.ResponseError,
        "(?i)can't publish|NOPERM|ACL failure|no permission",
        RefusedError,
        _NOT_PERMITTED,
    ),
    (
        theirs.OutOfMemoryError,
        "",
        RefusedError,
        "Redis at {address} is out of memory ({words}); delete something, or allow it more",
    ),
    (
        theirs.ReadOnlyError,
        "",
        RefusedError,
        "Redis at {address} is a read-only replica ({words}); write to its master",
    ),
    (
        theirs.ResponseError,
        "unknown command .SENTINEL",
        RefusedError,
        "Redis at {address} cannot be found, because no Sentinel answers there ({words}); give the address "
        "of one, or use redis:// if this is the server",
    ),
    (theirs.ResponseError, "", RefusedError, "Redis at {address} refused this: {words}"),
    (
        theirs.DataError,
        "",
        RefusedError,
        "this cannot be sent to Redis at {address}: {words}",
    ),
    (
        theirs.RedisClusterException,
        "(?i)cluster mode is not enabled|cluster support disabled",
        ConnectionError,
        "Redis at {address} is no cluster ({words}); use redis:// instead of redis+cluster://",
    ),
    (
        theirs.RedisClusterException,
        "slots are not covered",
        ConnectionError,
        "Redis at {address} does not serve all keys ({words}); check that its masters run and have all "
        "slots",
    ),
    # Those Sentinels that could not be asked come after the colon.
    (
        redis.sentinel.MasterNotFoundError,
        " : ",
        ConnectionError,
        _NO_MASTER + "the Sentinels run and know this master",
    ),
    (
        redis.asyncio.sentinel.MasterNotFoundError,
        " : ",
        ConnectionError,
        _NO_MASTER + "the Sentinels run and know this master",
    ),
    (
        redis.sentinel.MasterNotFoundError,
        "",
        ConnectionError,
        _NO_MASTER + "the Sentinels, which do answer, know this master, and that it runs",
    ),
    (
        redis.asyncio.sentinel.MasterNotFoundError,
        "",
        ConnectionError,
        _NO_MASTER + "the Sentinels, which do answer, know this master, and that it runs",
    ),
    (
        theirs.InvalidResponse,
        "",
        ConnectionError,
        "Redis at {address} sent what makes no sense ({words}); check that it is a Redis server",
    ),
    (
        theirs.ConnectionError,
        "(?i)certificate.verify.failed",
        ConnectionError,
        "the certificate of Redis at {address} is not to be trusted ({words}); check the name of the host, "
        "and give the authority by ?ssl_ca_certs=FILE",
    ),
    (
        theirs.ConnectionError,
        "(?i)wrong.version.number",
        ConnectionError,
        "Redis at {address} does not speak TLS ({words}); use redis:// instead of rediss://",
    ),
    (
        theirs.ConnectionError,
        "^(?:Too many connections|No connection available)",
        ConnectionError,
        "the client of Redis at {address} has all the connections in use that it may make ({words}); allow "
        "it more by max_connections",
    ),
    (
        BaseException,
        "",
        ConnectionError,
        "Redis at {address} cannot be reached ({words}); check that it runs there",
    ),
)

# What may be the matter if the server is not one of a cluster to us.
_ALONE: tuple[_Row, ...] = (
    (theirs.MovedError, "", RefusedError, _ONE_NODE),
    # redis-py 5 knows the class in clients of clusters only.
    (theirs.ResponseError, "^MOVED ", RefusedError, _ONE_NODE),
)

# What may be the matter when it goes wrong at the very first, with TLS and without.
_AT_FIRST: dict[bool, tuple[_Row, ...]] = {
    True: (
        (
            theirs.TimeoutError,
            "",
            ConnectionError,
            "Redis at {address} did not answer in time ({words}); check the network, and whether it speaks "
            "TLS (if not, use redis:// instead of rediss://)",
        ),
    ),
    False: (
        (
            theirs.ConnectionError,
            "(?i)reset by peer|closed by server",
            ConnectionError,
            "Redis at {address} closed the connection ({words}); check that it is a Redis server, and whether "
            "it wants TLS (if so, use rediss:// instead of redis://)",
        ),
    ),
}


def _meant(error: BaseException) -> BaseException:
    """Give what is really the matter: redis-py tells how reaching a cluster failed by the cause only."""
    cause = error.__cause__
    while isinstance(error, theirs.RedisClusterException) and isinstance(cause, FAILURES):
        error, cause = cause, cause.__cause__
    return error


def of_operations(operations: Iterable[Operation[Any]]) -> Callable[[], str]:
    """Give what names the keys of operations, for :func:`translate`."""

    def name() -> str:
        return _some("key", [key for each in operations for key in each.command().keys])

    return name


def of_channels(names: Iterable[bytes]) -> Callable[[], str]:
    """Give what names channels, for :func:`translate`."""
    return lambda: _some("channel", sorted(names))


def _some(what: str, names: Iterable[bytes]) -> str:
    first, *others = [*dict.fromkeys(names)] or [b""]
    more = f" or {len(others)} more" if others else ""
    return f" for {what} {key_repr(first)}{more}" if first else ""


def translate(
    error: BaseException,
    address: str,
    about: Callable[[], str] = str,
    *,
    tls_at_first: bool | None = None,
) -> TelstateError:
    """Make our error of one of redis-py's.

    Parameters
    ----------
    error : Exception
        One of :data:`FAILURES`.
    address : str
        Where the server is, without any password.
    about : callable, optional
        Names what was asked for, after a blank; by default nothing. Only called for what needs it.
    tls_at_first : bool, optional
        If this is the first that is heard of the server: whether TLS was tried.

    Returns
    -------
    ConnectionError or RefusedError
        To be raised from `error`.
    """
    if isinstance(error, TelstateError):
        return error
    error = _meant(error)
    said = str(error)
    # redis-py describes in full the client by which it found no master.
    words = said.partition(" : <")[0].strip() or type(error).__name__
    if not words.isprintable():  # What a server sends must not steer a terminal.
        words = ascii(words)[1:-1]
    rows = _MEANINGS if tls_at_first is None else _AT_FIRST[tls_at_first] + _MEANINGS
    if not address.startswith("cluster "):
        rows = _ALONE + rows
    for theirs_, pattern, ours, text in rows:
        if isinstance(error, theirs_) and re.search(pattern, said):
            named = about() if "{about}" in text else ""
            return ours(text.format(address=address, words=words, about=named))
    raise AssertionError("the last row of the table fits everything")


def senseless(error: Exception, address: str) -> TelstateError:
    """Make our error of one of :data:`NONSENSE`, the cause chained; give ours among them as they are.

    A reply of another form than the command has shows that there is no server of ours.
    """
    if isinstance(error, UnexpectedReply):
        said = str(error).removeprefix(UNEXPECTED)
        return RefusedError(
            f"Redis at {address} sent a reply that makes no sense here{said}; check that it is a Redis server"
        )
    if isinstance(error, TelstateError):
        return error
    ours = ConnectionError(
        f"Redis at {address} sent what makes no sense ({type(error).__name__}); check that it is a "
        "Redis server"
    )
    ours.__cause__ = error
    return ours


def is_unsent(error: BaseException) -> bool:
    """Tell whether a pool had no connection to give, so that nothing was sent: that is safe to repeat."""
    # redis-py 5 has no class for it.
    return isinstance(error, theirs.ConnectionError) and str(error) in _NO_ROOM


def partly_sent(error: BaseException) -> Exception:
    """Say of an error by which something was not sent that something else may have been."""
    return theirs.ConnectionError(f"{error}, when a part may have been sent")


def closed(address: str) -> ConnectionError:
    """Make the error for who uses a backend that has been closed."""
    return ConnectionError(f"the backend for Redis at {address} is closed; make a new one")


def is_locked_out(error: BaseException) -> bool:
    """Tell whether the server does not let us in, so that trying again is of no use."""
    return isinstance(
        _meant(error), (theirs.AuthenticationError, theirs.AuthenticationWrongNumberOfArgsError)
    )


def outcome(reply: object, address: str, operation: Operation[Any]) -> object:
    """Make our error of redis-py's where the reply to an operation of a batch is one; the cause is chained."""
    if not isinstance(reply, BaseException):
        return reply
    error = translate(reply, address, of_operations([operation]))
    if error is not reply:
        error.__cause__ = reply
    return error
