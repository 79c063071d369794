"""The one place where redis-py's errors become ours.

Rules: a table says what each class means; the first that fits counts. The text names the address,
never a user or password (redis-py's own texts hold none of these either); the cause is chained.
"""

from __future__ import annotations

import redis.exceptions as theirs

from telstate_backends.errors import ConnectionError, RefusedError, TelstateError

#: Everything that redis-py, and the sockets below it, may raise.
FAILURES = (theirs.RedisError, theirs.RedisClusterException, OSError)

#: Those of them by which a connection is lost, or a cluster may have changed.
LOST = (theirs.ConnectionError, theirs.TimeoutError, theirs.RedisClusterException, OSError)

#: What reading a reply of another form than expected comes to.
NONSENSE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)

_MEANINGS: tuple[tuple[type[BaseException], type[TelstateError], str], ...] = (
    (
        theirs.AuthenticationError,
        ConnectionError,
        "Redis at {address} does not let us in ({words}); check user name and password",
    ),
    (
        theirs.AuthenticationWrongNumberOfArgsError,
        ConnectionError,
        "Redis at {address} does not let us in ({words}); check user name and password",
    ),
    (
        theirs.BusyLoadingError,
        ConnectionError,
        "Redis at {address} is still loading its data ({words}); try again later",
    ),
    (
        theirs.TimeoutError,
        ConnectionError,
        "Redis at {address} did not answer in time ({words}); check the network, or allow more time",
    ),
    (
        theirs.ClusterDownError,
        ConnectionError,
        "the Redis Cluster at {address} cannot serve this at present ({words}); try again later",
    ),
    (
        # It can only be asked again so often in one go.
        theirs.AskError,
        ConnectionError,
        "the Redis Cluster at {address} is moving the key ({words}); try again",
    ),
    (
        theirs.TryAgainError,
        ConnectionError,
        "the Redis Cluster at {address} is moving the key ({words}); try again",
    ),
    (
        theirs.NoPermissionError,
        RefusedError,
        "Redis at {address} does not permit this ({words}); use another user",
    ),
    (
        theirs.OutOfMemoryError,
        RefusedError,
        "Redis at {address} is out of memory ({words}); delete something, or allow it more",
    ),
    (
        theirs.ReadOnlyError,
        RefusedError,
        "Redis at {address} is a read-only replica ({words}); write to its master",
    ),
    (theirs.ResponseError, RefusedError, "Redis at {address} refused this: {words}"),
    (
        theirs.DataError,
        RefusedError,
        "this cannot be sent to Redis at {address}: {words}",
    ),
    (
        BaseException,
        ConnectionError,
        "Redis at {address} cannot be reached ({words}); check that it runs there",
    ),
)


def translate(error: BaseException, address: str) -> TelstateError:
    """Make our error of one of redis-py's.

    Parameters
    ----------
    error : Exception
        One of :data:`FAILURES`.
    address : str
        Where the server is, without any password.

    Returns
    -------
    ConnectionError or RefusedError
        To be raised from `error`.
    """
    if isinstance(error, TelstateError):
        return error
    # redis-py describes in full the client by which it found no master.
    words = str(error).partition(" : <")[0].strip() or type(error).__name__
    if not words.isprintable():  # What a server sends must not steer a terminal.
        words = ascii(words)[1:-1]
    for theirs_, ours, text in _MEANINGS:
        if isinstance(error, theirs_):
            return ours(text.format(address=address, words=words))
    raise AssertionError("the last row of the table fits everything")


def senseless(error: Exception, address: str) -> TelstateError:
    """Make our error of one of :data:`NONSENSE`, the cause chained; give ours among them as they are.

    A reply of another form than the command has shows that there is no server of ours.
    """
    if isinstance(error, TelstateError):
        return error
    ours = ConnectionError(
        f"Redis at {address} sent what makes no sense ({type(error).__name__}); check that it is a "
        "Redis server"
    )
    ours.__cause__ = error
    return ours


def closed(address: str) -> ConnectionError:
    """Make the error for who uses a backend that has been closed."""
    return ConnectionError(f"the backend for Redis at {address} is closed; make a new one")


def is_locked_out(error: BaseException) -> bool:
    """Tell whether the server does not let us in, so that trying again is of no use."""
    return isinstance(
        error, (theirs.AuthenticationError, theirs.AuthenticationWrongNumberOfArgsError)
    )


def outcome(reply: object, address: str) -> object:
    """Make our error of redis-py's where a reply of a batch is one; the cause is chained."""
    if not isinstance(reply, BaseException):
        return reply
    error = translate(reply, address)
    if error is not reply:
        error.__cause__ = reply
    return error
