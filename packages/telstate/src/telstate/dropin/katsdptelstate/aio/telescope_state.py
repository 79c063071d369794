"""The telescope state for asyncio, and the names that programs import from this module."""

from telstate import (
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    ImmutableKeyError,
    InvalidTimestampError,
    KeyType,
    decode_value,
    encode_value,
)
from telstate.aio import TelescopeState
from telstate.aio.memory import MemoryBackend
from telstate_backends import AsyncBackend as Backend

from ..telescope_state_base import TelescopeStateBase, check_immutable_change
from ..utils import display_str

__all__ = [
    "Backend",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "ImmutableKeyError",
    "InvalidTimestampError",
    "KeyType",
    "MemoryBackend",
    "TelescopeState",
    "TelescopeStateBase",
    "check_immutable_change",
    "decode_value",
    "display_str",
    "encode_value",
]
