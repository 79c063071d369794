"""The base of the synchronous and the asyncio telescope state."""

from typing import Any

from telstate import DecodeError, ImmutableKeyError, decode_value, equal_encoded_values
from telstate._base import TelescopeStateBase
from telstate._calls.write import check_unchanged

__all__ = [
    "DecodeError",
    "ImmutableKeyError",
    "TelescopeStateBase",
    "check_immutable_change",
    "decode_value",
    "equal_encoded_values",
]


def check_immutable_change(key: str, old_enc: bytes, new_enc: bytes, new: Any) -> None:
    """Check that an immutable key is only set to an equal value again.

    Raises
    ------
    ImmutableKeyError
        If the values differ, or the old one cannot be decoded.
    """
    check_unchanged(key, old_enc, new_enc, new)
