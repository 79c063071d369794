"""How redis-py's errors become ours.

Rules: tables say what each class means. A message names the address, never a user or a password (redis-py's
own texts hold none of these either), and the cause is chained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeGuard

import redis.asyncio.sentinel
import redis.exceptions as theirs
import redis.sentinel

from telstate_backends.errors import ConnectionError, RefusedError, TelstateError
from telstate_backends.operations.base import UNEXPECTED, Operation, UnexpectedReply
from telstate_backends.redis._client import is_pool_exhausted
from telstate_codec.keys import key_repr
from telstate_codec.printable import escape

#: Everything that redis-py, and the sockets below it, may raise.
FAILURES = (theirs.RedisError, theirs.RedisClusterException, OSError)

#: Those of them by which a connection is lost, or a cluster may have changed.
LOST = (theirs.ConnectionError, theirs.TimeoutError, theirs.RedisClusterException, OSError)

#: What is raised where a reply has an unexpected form.
MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)

#: Errors of redis-py by which a server says that it has not executed a command, but may do so soon.
_TEMPORARY = (theirs.BusyLoadingError, theirs.ClusterDownError, theirs.TryAgainError)

#: The text of the others; one that a script ran into may come after a description of the script.
_TEMPORARY_TEXT = re.compile(r"(?:^|: -)(?:BUSY|NOREPLICAS) ")

_LOCKED_OUT = "Redis at {address} refused the login ({words}). Check user name and password."
_MOVING = "Redis at {address} is moving the key to another node ({words}). Try again."
_NO_MASTER = "Redis at {address} cannot be found ({words}). Check that the Sentinels run and know this master."
_NOT_PERMITTED = (
    "Redis at {address} does not permit this{about} ({words}). The user must be allowed to read and write "
    "these keys, run scripts, and use the channels update/*, delete/* and clear."
)
_OUT_OF_MEMORY = (
    "Redis at {address} is out of memory ({words}). Delete some keys, or raise its maxmemory."
)

#: Messages for errors that become a ConnectionError, by class; the most specific class counts.
_CONNECTION: dict[type[BaseException], str] = {
    theirs.AuthenticationError: _LOCKED_OUT,
    theirs.AuthenticationWrongNumberOfArgsError: _LOCKED_OUT,
    theirs.BusyLoadingError: (
        "Redis at {address} is still loading its data ({words}). Try again later."
    ),
    theirs.TimeoutError: (
        "Redis at {address} did not answer in time ({words}). Check the network, or allow more time."
    ),
    theirs.ClusterDownError: (
        "Redis at {address} cannot serve this key at present ({words}). Try again later."
    ),
    theirs.MasterDownError: (
        "Redis at {address} is a replica that has lost its master ({words}). Try again later."
    ),
    # Redirections are followed a limited number of times.
    theirs.AskError: _MOVING,
    theirs.TryAgainError: _MOVING,
    theirs.RedisClusterException: (
        "Redis at {address} cannot be used as a cluster ({words}). Check that its nodes run in cluster "
        "mode and serve all slots."
    ),
    redis.sentinel.MasterNotFoundError: _NO_MASTER,
    redis.asyncio.sentinel.MasterNotFoundError: _NO_MASTER,
    theirs.InvalidResponse: (
        "Redis at {address} sent an invalid reply ({words}). Check that it is a Redis server."
    ),
    BaseException: "Redis at {address} cannot be reached ({words}). Check that it runs there.",
}

#: The same for those that become a RefusedError.
_REFUSED: dict[type[BaseException], str] = {
    theirs.NoPermissionError: _NOT_PERMITTED,
    theirs.OutOfMemoryError: _OUT_OF_MEMORY,
    theirs.ReadOnlyError: (
        "Redis at {address} is a read-only replica ({words}). Write to its master."
    ),
    theirs.ResponseError: "Redis at {address} refused the command ({words}).",
    theirs.DataError: "The command cannot be sent to Redis at {address} ({words}).",
}

#: A class of redis-py's, a pattern that its text must have, our class, and our message.
_Row: TypeAlias = tuple[type[BaseException], str, type[TelstateError], str]

#: Errors that only their text tells apart, which is the server's or OpenSSL's.
_BY_TEXT: tuple[_Row, ...] = (
    (
        theirs.RedisError,
        "(?:^|: -)BUSY ",
        ConnectionError,
        "Redis at {address} is busy with a long script ({words}). Try again later.",
    ),
    (
        theirs.RedisError,
        "(?:^|: -)NOREPLICAS ",
        ConnectionError,
        "Redis at {address} has too few replicas to accept writes ({words}). Check its replicas.",
    ),
    # What a script may not do.
    (
        theirs.ResponseError,
        "(?i)can't publish|can't run this command|can't access at least one|NOPERM|ACL failure|no permission",
        RefusedError,
        _NOT_PERMITTED,
    ),
    (theirs.ResponseError, "-OOM command not allowed", RefusedError, _OUT_OF_MEMORY),
    (
        theirs.ResponseError,
        "unknown command .SENTINEL",
        RefusedError,
        "No Sentinel answers for Redis at {address} ({words}). Use the address of a Sentinel, or redis:// "
        "for a server.",
    ),
    (
        theirs.ConnectionError,
        "(?i)certificate.verify.failed",
        ConnectionError,
        "The certificate of Redis at {address} cannot be verified ({words}). Check the host name, and name "
        "the certificate authority with ?ssl_ca_certs=FILE.",
    ),
    (
        theirs.ConnectionError,
        "(?i)wrong.version.number",
        ConnectionError,
        "Redis at {address} does not speak TLS ({words}). Use redis:// instead of rediss://.",
    ),
)

#: What may be wrong with the very first connection, with TLS and without.
_AT_FIRST: dict[bool, _Row] = {
    True: (
        theirs.TimeoutError,
        "",
        ConnectionError,
        "Redis at {address} did not answer in time ({words}). Check the network and whether it speaks "
        "TLS (if not, use redis:// instead of rediss://).",
    ),
    False: (
        theirs.ConnectionError,
        "(?i)reset by peer|closed by server",
        ConnectionError,
        "Redis at {address} closed the connection ({words}). Check that it is a Redis server and "
        "whether it requires TLS (if so, use rediss:// instead of redis://).",
    ),
}

_ONE_NODE: _Row = (
    theirs.MovedError,
    "",
    RefusedError,
    "Redis at {address} is one node of a cluster, and the key belongs to another ({words}). Use "
    "redis+cluster:// instead of redis://.",
)

_EXHAUSTED = (
    "All connections that the client of Redis at {address} may make are in use ({words}). Raise its "
    "max_connections."
)


def _root_cause(error: BaseException) -> BaseException:
    """Return the error behind redis-py's report that a cluster cannot be connected."""
    cause = error.__cause__
    while isinstance(error, theirs.RedisClusterException) and isinstance(cause, FAILURES):
        error, cause = cause, cause.__cause__
    return error


def of_operations(operations: Iterable[Operation[Any]]) -> Callable[[], str]:
    """Return a function that names the keys of operations, for :func:`translate`."""
    return lambda: _name("key", [key for each in operations for key in each.command().keys])


def of_channels(names: Iterable[bytes]) -> Callable[[], str]:
    """Return a function that names channels, for :func:`translate`."""
    return lambda: _name("channel", sorted(names))


def _name(what: str, names: Iterable[bytes]) -> str:
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
    """Return our error for one of :data:`FAILURES`; `tls_at_first`: whether the very first connection used TLS."""
    if isinstance(error, TelstateError):
        return error
    error = _root_cause(error)
    text = str(error)
    # redis-py describes in full the client by which it found no master.
    words = text.partition(" : <")[0].strip().removesuffix(".") or type(error).__name__
    words = escape(words)  # what a server sends must not steer a terminal
    ours, message = _meaning_of(error, text, address, tls_at_first)
    named = about() if "{about}" in message else ""
    return ours(message.format(address=address, words=words, about=named))


def _meaning_of(
    error: BaseException, text: str, address: str, tls_at_first: bool | None
) -> tuple[type[TelstateError], str]:
    """Return our class and our message for one of redis-py's errors."""
    if is_pool_exhausted(error):
        return ConnectionError, _EXHAUSTED
    rows = _BY_TEXT if tls_at_first is None else (_AT_FIRST[tls_at_first], *_BY_TEXT)
    if not address.startswith("cluster "):
        rows = (_ONE_NODE, *rows)
    for kind, pattern, ours, message in rows:
        if isinstance(error, kind) and re.search(pattern, text):
            return ours, message
    for kind in type(error).__mro__:
        if kind in _CONNECTION:
            return ConnectionError, _CONNECTION[kind]
        if kind in _REFUSED:
            return RefusedError, _REFUSED[kind]
    raise AssertionError("BaseException is in the table.")


def invalid_reply(error: Exception, address: str) -> TelstateError:
    """Return our error for one of :data:`MALFORMED`, the cause chained; an error of ours as it is."""
    if isinstance(error, UnexpectedReply):
        said = str(error).removeprefix(UNEXPECTED)
        return RefusedError(
            f"Redis at {address} sent an unexpected reply{said}. Check that it is a Redis server."
        )
    if isinstance(error, TelstateError):
        return error
    ours = ConnectionError(
        f"Redis at {address} sent an invalid reply ({type(error).__name__}). Check that it is a Redis "
        "server."
    )
    ours.__cause__ = error
    return ours


def is_invalid_reply(error: BaseException) -> bool:
    """Return whether the first error of a connection is due to a reply of an unexpected form."""
    # A TypeError may also be about an option that redis-py does not know.
    return isinstance(error, MALFORMED) and "unexpected keyword argument" not in str(error)


def judge(
    error: Exception, address: str, operations: Sequence[Operation[Any]], is_closed: bool
) -> tuple[Exception, bool]:
    """Return the error to raise for a failed call, and whether the call may be sent again instead."""
    if isinstance(error, FAILURES):
        if is_closed:
            return closed(address), False
        failure = translate(error, address, of_operations(operations))
        is_safe = (
            is_pool_exhausted(error)
            or all(each.is_idempotent for each in operations)
            # In a batch, a server that is loading may have executed the commands after this one.
            or (is_temporary(error) and (len(operations) == 1 or _is_reply(error)))
        )
        return failure, is_safe and isinstance(failure, ConnectionError)
    if isinstance(error, (*MALFORMED, UnexpectedReply)):
        # Using a connection while it is closed comes to this too.
        if is_closed and not isinstance(error, TelstateError):
            return closed(address), False
        return invalid_reply(error, address), False
    if is_closed and isinstance(error, RuntimeError) and not isinstance(error, TelstateError):
        return closed(address), False
    return error, False


def is_temporary(error: object) -> TypeGuard[Exception]:
    """Return whether a server refused a command for now, so that nothing was done and a retry may help."""
    return isinstance(error, _TEMPORARY) or (
        _is_reply(error) and _TEMPORARY_TEXT.search(str(error)) is not None
    )


def _is_reply(error: object) -> bool:
    return isinstance(error, theirs.ResponseError)


def check_batch(operations: Sequence[Operation[Any]], replies: list[object]) -> list[object]:
    """Return the replies to a batch; raise if some were refused for now and the batch may be sent again."""
    refused = [reply for reply in replies if is_temporary(reply)]
    if refused and (len(refused) == len(replies) or all(each.is_idempotent for each in operations)):
        raise refused[0]
    return replies


def result_of(operation: Operation[Any], reply: object, address: str) -> Any:
    """Return the result of an operation of a batch, or the error that it came to."""
    if isinstance(reply, BaseException):
        error = translate(reply, address, of_operations([operation]))
        if error is not reply:
            error.__cause__ = reply
        return error
    try:
        return operation.parse(reply)
    except (*MALFORMED, TelstateError) as error:
        return invalid_reply(error, address)


def partly_sent(error: BaseException) -> Exception:
    """Return the error for a call of which a part may have been sent before another could not be."""
    return theirs.ConnectionError(f"{error}, after a part may have been sent")


def closed(address: str) -> ConnectionError:
    """Return the error for the use of a closed backend."""
    return ConnectionError(f"The backend for Redis at {address} is closed. Make a new one.")


def is_locked_out(error: BaseException) -> bool:
    """Return whether the server refuses the login, so that retries are of no use."""
    return isinstance(
        _root_cause(error),
        (theirs.AuthenticationError, theirs.AuthenticationWrongNumberOfArgsError),
    )
