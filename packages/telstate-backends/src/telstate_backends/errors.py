"""The errors of telstate_backends, each named by whose fault it is.

Every error is a :class:`telstate_codec.TelstateError`. Its message names the key, file or address, and
never contains a password.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import telstate_rdb.errors
from telstate_codec.errors import TelstateError

__all__ = [
    "CancelledError",
    "ConnectionError",
    "DatabaseCollisionError",
    "ForeignKeyError",
    "ImmutableKeyError",
    "RdbParseError",
    "RdbWriteError",
    "RefusedError",
    "TelstateError",
    "TimeoutError",
    "translate_rdb_errors",
]


class ConnectionError(TelstateError):
    """The store could not be reached, or the connection was lost before it replied."""


class RefusedError(TelstateError):
    """The store refused the operation (out of memory, read-only, no permission)."""


class ImmutableKeyError(TelstateError):
    """The key is of a different kind than the operation needs, or already has a different value."""


class ForeignKeyError(ImmutableKeyError):
    """The key holds something that telstate does not write (a list, a set, a stream...)."""


class DatabaseCollisionError(TelstateError):
    """Several databases of a snapshot have keys of the same name, and the caller chose none of them.

    Attributes
    ----------
    databases : tuple of int
        The numbers of the databases to choose from, in order.

    Examples
    --------
    >>> from telstate_backends import MemoryBackend, load_rdb
    >>> content = b"REDIS0006\\xfe\\x00\\x00\\x01a\\x011\\xfe\\x01\\x00\\x01a\\x012\\xff" + bytes(8)
    >>> try:
    ...     load_rdb(MemoryBackend(), content, collisions="refuse")
    ... except DatabaseCollisionError as error:
    ...     print(error, error.databases)
    The file has key 'a' in several of its databases 0 and 1. Choose one of them. (0, 1)
    """

    def __init__(self, message: str, databases: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.databases = tuple(databases)


class TimeoutError(TelstateError, builtins.TimeoutError):
    """The condition of a wait did not become true in time."""


class CancelledError(TelstateError):
    """The wait was cancelled by its ``cancel_future``, or its backend was closed."""


class RdbParseError(telstate_rdb.errors.RdbParseError, TelstateError):
    """A snapshot or DUMP payload is corrupt, truncated, or of an unknown version.

    Parameters
    ----------
    filename
        The name of the file, if it has one. It comes first, as in katsdptelstate.
    reason
        What is wrong, as a clause without a full stop.
    offset
        The offset in the file (or payload) at which it was noticed, in bytes.
    key
        The key whose value is malformed, if it is known.

    Examples
    --------
    >>> print(RdbParseError("dump.rdb", "the file ends here", offset=17, key=b"gain"))
    dump.rdb, byte 17, key b'gain': the file ends here
    """

    def __init__(
        self,
        filename: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        reason: str = "this is not an RDB file that can be read",
        *,
        offset: int | None = None,
        key: bytes | None = None,
    ) -> None:
        file = None if filename is None else os.fsdecode(filename)
        super().__init__(reason, file=file, offset=offset, key=key)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_parse_error, (self.reason, self.file, self.offset, self.key)


class RdbWriteError(telstate_rdb.errors.RdbWriteError, TelstateError):
    """A value cannot be written to a snapshot or DUMP payload."""


@contextmanager
def translate_rdb_errors() -> Iterator[None]:
    """Return a context manager that raises errors of telstate_rdb as those of this module.

    They have the same message and cause. It can also be used as a decorator.

    Examples
    --------
    >>> import telstate_rdb
    >>> with translate_rdb_errors():
    ...     telstate_rdb.decode_dump(b"")
    Traceback (most recent call last):
    ...
    telstate_backends.errors.RdbParseError: DUMP payload, byte 0: a payload of 0 bytes is too short
    """
    try:
        yield
    except telstate_rdb.errors.RdbParseError as error:
        if isinstance(error, RdbParseError):
            raise
        parse_error = RdbParseError(error.file, error.reason, offset=error.offset, key=error.key)
        raise _replacing(error, parse_error) from error.__cause__
    except telstate_rdb.errors.RdbWriteError as error:
        if isinstance(error, RdbWriteError):
            raise
        raise _replacing(error, RdbWriteError(*error.args)) from error.__cause__


def _replacing(error: Exception, translated: TelstateError) -> TelstateError:
    """Return a translated error with the attributes, notes and traceback of the original.

    The original is not its cause, since that would only repeat the message.
    """
    vars(translated).update(vars(error))
    return translated.with_traceback(error.__traceback__)


def _restore_parse_error(
    reason: str, file: str | None, offset: int | None, key: bytes | None
) -> RdbParseError:
    """Recreate the error in another process."""
    return RdbParseError(file, reason, offset=offset, key=key)
