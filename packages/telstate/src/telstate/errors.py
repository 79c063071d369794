"""The errors that are raised by this package itself; those of the packages below are theirs.

Rules: as everywhere, a text is one sentence that names the key, says what was wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from telstate_codec import TelstateError

__all__ = ["BatchError", "BatchStateError", "ReadOnlyError"]


class ReadOnlyError(TelstateError):
    """Something was to be written through a read-only view; nothing was."""


class BatchError(TelstateError, ExceptionGroup[Exception]):
    """Items of a batch failed; the others were done.

    It is an `ExceptionGroup`: ``exceptions`` has the error of each item that failed, in order, and
    ``except*`` picks some of them. The text names them all (the first hundred, if there are more).
    """

    def derive(self, errors: Sequence[Exception], /) -> "BatchError":  # type: ignore[override]  # no other exceptions are ever in it
        """Make a group of some of the errors, as ``split`` and ``except*`` do."""
        return BatchError(self.message, errors)


class BatchStateError(TelstateError):
    """A batch was used too early, too late or twice."""
