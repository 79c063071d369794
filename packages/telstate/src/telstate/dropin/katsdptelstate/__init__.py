"""telstate under the names of katsdptelstate; see `telstate.dropin`.

Submodules are attributes without being imported. They and all names are loaded when they are first used.
"""

from __future__ import annotations

from telstate._lazy import lazy_exports
from telstate.dropin import VERSION

__version__ = VERSION

__all__ = [
    "ALLOWED_ENCODINGS",
    "CancelledError",
    "ConnectionError",
    "DecodeError",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "ENCODING_PICKLE",
    "EncodeError",
    "ImmutableKeyError",
    "InvalidKeyError",
    "InvalidTimestampError",
    "KeyType",
    "PICKLE_PROTOCOL",
    "RdbParseError",
    "TelescopeState",
    "TelstateError",
    "TimeoutError",
    "decode_value",
    "encode_value",
    "equal_encoded_values",
    "set_allow_pickle",
]

_SUBMODULES = (
    "aio",
    "backend",
    "encoding",
    "endpoint",
    "errors",
    "memory",
    "rdb_reader",
    "rdb_utility",
    "rdb_writer",
    "rdb_writer_base",
    "redis",
    "telescope_state",
    "telescope_state_base",
    "utils",
)

__getattr__, __dir__, _ = lazy_exports(__name__, {"telstate": __all__, __name__: _SUBMODULES})
