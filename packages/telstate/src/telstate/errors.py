"""The errors that are raised by this package itself; those of the packages below are theirs.

Rules: as everywhere, a text is one sentence that names the key, says what was wrong and what to do.
"""

from __future__ import annotations

from telstate_codec import TelstateError

__all__ = ["ReadOnlyError"]


class ReadOnlyError(TelstateError):
    """Something was to be written through a read-only view; nothing was."""
