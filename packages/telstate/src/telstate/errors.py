"""The errors that this package raises itself, and those of the packages below."""

from __future__ import annotations

from collections.abc import Sequence

from telstate_backends.errors import ImmutableKeyError
from telstate_codec import TelstateError

__all__ = ["BatchError", "BatchStateError", "KeysExistError", "MissingKeyError", "ReadOnlyError"]


class ReadOnlyError(TelstateError):
    """A write through a read-only view was refused; nothing was written."""


class BatchError(TelstateError, ExceptionGroup[Exception]):
    """Some items of a batch failed; the others were carried out.

    This is an `ExceptionGroup`: ``exceptions`` has the error of each item that failed, in order, and
    ``except*`` selects some of them. The message names the items (at most one hundred).
    """

    def derive(self, errors: Sequence[Exception], /) -> BatchError:  # type: ignore[override]  # the group never holds anything but exceptions
        """Return a group of some of the errors; ``split`` and ``except*`` use this."""
        return BatchError(self.message, errors)


class BatchStateError(TelstateError):
    """A batch was used before its ``with`` block, after it, or twice."""


class KeysExistError(ImmutableKeyError):
    """Keys of a file exist already; none of them was loaded.

    Attributes
    ----------
    keys : tuple of str
        The full names of the keys.
    """

    def __init__(self, message: str, keys: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class MissingKeyError(KeyError):
    """No prefix of the view has the key.

    ``args[0]`` is the plain message; ``str(error)`` adds keys with a similar name if the store is in memory or
    in a file. They are looked up when the text is first used, not when the error is raised.
    """

    #: Its text is appended to the message. Pickling keeps the text only.
    suggestion: object = ""

    def __str__(self) -> str:
        return f"{self.args[0] if self.args else ''}{self.suggestion}"


class MissingAttributeError(AttributeError):
    """There is neither an attribute nor a key of this name; ``str(error)`` adds similar ones, as `MissingKeyError`."""

    suggestion: object = ""

    def __str__(self) -> str:
        return f"{self.args[0] if self.args else ''}{self.suggestion}"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, {"suggestion": self.suggestion}
