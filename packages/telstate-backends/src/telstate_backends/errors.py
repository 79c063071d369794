"""The errors of telstate_backends, each named by whose fault it is.

Rules: every error is a :class:`telstate_codec.errors.TelstateError`; its text is one sentence that
names the key or the address, says what was wrong and what to do; never a password.
"""

from __future__ import annotations

import builtins

from telstate_codec.errors import TelstateError

__all__ = [
    "CancelledError",
    "ConnectionError",
    "ForeignKeyError",
    "ImmutableKeyError",
    "RefusedError",
    "TelstateError",
    "TimeoutError",
]


class ConnectionError(TelstateError):
    """The store could not be reached, or went away before it answered."""


class RefusedError(TelstateError):
    """The store was reached and refused the operation (out of memory, read-only, no permission)."""


class ImmutableKeyError(TelstateError):
    """A key is of another kind than the operation needs, or is set already to another value."""


class ForeignKeyError(ImmutableKeyError):
    """A key holds something that telstate does not write (a list, a set, a stream...)."""


class TimeoutError(TelstateError, builtins.TimeoutError):
    """What was waited for did not happen in time."""


class CancelledError(TelstateError):
    """The wait was cancelled by its ``cancel_future``, or its backend was closed."""
