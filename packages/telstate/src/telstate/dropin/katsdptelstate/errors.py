"""All errors; `TelstateError` is their base class."""

from telstate import (
    CancelledError,
    ConnectionError,
    DecodeError,
    EncodeError,
    ImmutableKeyError,
    InvalidKeyError,
    InvalidTimestampError,
    RdbParseError,
    TelstateError,
    TimeoutError,
)

__all__ = [
    "CancelledError",
    "ConnectionError",
    "DecodeError",
    "EncodeError",
    "ImmutableKeyError",
    "InvalidKeyError",
    "InvalidTimestampError",
    "RdbParseError",
    "TelstateError",
    "TimeoutError",
]
