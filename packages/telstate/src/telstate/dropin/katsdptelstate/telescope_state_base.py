"""What the synchronous and the asyncio telescope state have in common."""

from typing import Any

from telstate.base import TelescopeStateBase
from telstate.calls.writing import refuse_change

__all__ = ["TelescopeStateBase", "check_immutable_change"]


def check_immutable_change(key: str, old_enc: bytes, new_enc: bytes, new: Any) -> None:
    """Let an immutable key be set again to an equal value, and refuse any other.

    Raises
    ------
    ImmutableKeyError
        If the values differ, or the old one cannot be decoded.
    """
    refuse_change(key, old_enc, new_enc, new)
