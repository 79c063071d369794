"""Telescope state: the key-value store that a radio telescope runs on, live and in snapshots.

Start with `TelescopeState`; `RDBWriter` saves one to a file. Errors all derive from `TelstateError`.
"""

from telstate.dropin import install_as_katsdptelstate
from telstate.endpoint import Endpoint
from telstate.errors import ReadOnlyError
from telstate.snapshots import RDBWriter
from telstate.telescope_state import TelescopeState
from telstate_backends import (
    CancelledError,
    ConnectionError,
    ImmutableKeyError,
    KeyType,
    MemoryBackend,
    TimeoutError,
)
from telstate_codec import (
    ALLOWED_ENCODINGS,
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    ENCODING_PICKLE,
    PICKLE_PROTOCOL,
    DecodeError,
    EncodeError,
    InvalidKeyError,
    InvalidTimestampError,
    PicklePolicy,
    TelstateError,
    decode_value,
    encode_value,
    equal_encoded_values,
    set_allow_pickle,
)
from telstate_rdb.errors import RdbParseError

__all__ = [
    "ALLOWED_ENCODINGS",
    "CancelledError",
    "ConnectionError",
    "DecodeError",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "ENCODING_PICKLE",
    "EncodeError",
    "Endpoint",
    "ImmutableKeyError",
    "InvalidKeyError",
    "InvalidTimestampError",
    "KeyType",
    "MemoryBackend",
    "PICKLE_PROTOCOL",
    "PicklePolicy",
    "RDBWriter",
    "RdbParseError",
    "ReadOnlyError",
    "TelescopeState",
    "TelstateError",
    "TimeoutError",
    "decode_value",
    "encode_value",
    "equal_encoded_values",
    "install_as_katsdptelstate",
    "set_allow_pickle",
]
