"""The telescope state, and the names that programs import from this module."""

from telstate import (
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    CancelledError,
    Endpoint,
    ImmutableKeyError,
    InvalidTimestampError,
    KeyType,
    TelescopeState,
    TimeoutError,
    decode_value,
    encode_value,
)
from telstate.endpoint import endpoint_parser
from telstate_backends import Backend

from .telescope_state_base import TelescopeStateBase, check_immutable_change
from .utils import display_str

__all__ = [
    "Backend",
    "CancelledError",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "Endpoint",
    "ImmutableKeyError",
    "InvalidTimestampError",
    "KeyType",
    "TelescopeState",
    "TelescopeStateBase",
    "TimeoutError",
    "check_immutable_change",
    "decode_value",
    "display_str",
    "encode_value",
    "endpoint_parser",
]
