"""telstate, by the names of katsdptelstate; see `telstate.dropin`.

Submodules are attributes without being imported. They and all names are loaded when they are first asked
for, so that who wants `endpoint` only does not wait for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import telstate
from telstate.dropin import VERSION

if TYPE_CHECKING:
    from telstate import (
        ALLOWED_ENCODINGS,
        ENCODING_DEFAULT,
        ENCODING_MSGPACK,
        ENCODING_PICKLE,
        PICKLE_PROTOCOL,
        CancelledError,
        ConnectionError,
        DecodeError,
        EncodeError,
        ImmutableKeyError,
        InvalidKeyError,
        InvalidTimestampError,
        KeyType,
        RdbParseError,
        TelescopeState,
        TelstateError,
        TimeoutError,
        decode_value,
        encode_value,
        equal_encoded_values,
        set_allow_pickle,
    )

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

_SUBMODULES = frozenset(
    (
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
)


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        return globals().setdefault(name, getattr(telstate, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
