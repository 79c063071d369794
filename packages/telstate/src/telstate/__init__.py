"""Telescope state: the key-value store that a radio telescope runs on, live and in snapshots.

Start with `TelescopeState`; `RDBWriter` saves one to a file. Errors all derive from `TelstateError`.
Importing this package loads nothing else: each name is loaded when it is first asked for. A new one goes
into the imports for type checkers, into the table of homes and into ``__all__``; a test compares them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telstate import aio, endpoint, errors, overview
    from telstate.batches import Queued
    from telstate.dropin import install_as_katsdptelstate
    from telstate.endpoint import Endpoint
    from telstate.errors import BatchError, BatchStateError, ReadOnlyError
    from telstate.pipelines import Pipeline
    from telstate.snapshots import RDBWriter
    from telstate.telescope_state import TelescopeState
    from telstate.watching import KeyUpdate, Reconnected, Watch
    from telstate_backends.errors import (
        CancelledError,
        ConnectionError,
        ForeignKeyError,
        ImmutableKeyError,
        RdbParseError,
        RdbWriteError,
        RefusedError,
        TimeoutError,
    )
    from telstate_backends.memory import MemoryBackend
    from telstate_backends.redis import RedisBackend
    from telstate_backends.retry import RetryPolicy
    from telstate_backends.types import KeyType
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
        SampleArrays,
        TelstateError,
        decode_value,
        encode_value,
        equal_encoded_values,
        set_allow_pickle,
    )

    __version__: str

# Which module each name is loaded from.
_HOMES = {
    "telstate.batches": ["Queued"],
    "telstate.dropin": ["install_as_katsdptelstate"],
    "telstate.endpoint": ["Endpoint"],
    "telstate.errors": ["BatchError", "BatchStateError", "ReadOnlyError"],
    "telstate.pipelines": ["Pipeline"],
    "telstate.snapshots": ["RDBWriter"],
    "telstate.telescope_state": ["TelescopeState"],
    "telstate.watching": ["KeyUpdate", "Reconnected", "Watch"],
    "telstate_backends.errors": [
        "CancelledError",
        "ConnectionError",
        "ForeignKeyError",
        "ImmutableKeyError",
        "RdbParseError",
        "RdbWriteError",
        "RefusedError",
        "TimeoutError",
    ],
    "telstate_backends.types": ["KeyType"],
    "telstate_backends.memory": ["MemoryBackend"],
    "telstate_backends.redis": ["RedisBackend"],
    "telstate_backends.retry": ["RetryPolicy"],
    "telstate_codec": [
        "ALLOWED_ENCODINGS",
        "ENCODING_DEFAULT",
        "ENCODING_MSGPACK",
        "ENCODING_PICKLE",
        "PICKLE_PROTOCOL",
        "DecodeError",
        "EncodeError",
        "InvalidKeyError",
        "InvalidTimestampError",
        "PicklePolicy",
        "SampleArrays",
        "TelstateError",
        "decode_value",
        "encode_value",
        "equal_encoded_values",
        "set_allow_pickle",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
# Modules that can be reached as attributes without being imported.
_MODULES = ("aio", "endpoint", "errors", "overview")

__all__ = [
    "ALLOWED_ENCODINGS",
    "BatchError",
    "BatchStateError",
    "CancelledError",
    "ConnectionError",
    "DecodeError",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "ENCODING_PICKLE",
    "EncodeError",
    "Endpoint",
    "ForeignKeyError",
    "ImmutableKeyError",
    "InvalidKeyError",
    "InvalidTimestampError",
    "KeyType",
    "KeyUpdate",
    "MemoryBackend",
    "PICKLE_PROTOCOL",
    "PicklePolicy",
    "Pipeline",
    "Queued",
    "RDBWriter",
    "RdbParseError",
    "RdbWriteError",
    "ReadOnlyError",
    "Reconnected",
    "RedisBackend",
    "RefusedError",
    "RetryPolicy",
    "SampleArrays",
    "TelescopeState",
    "TelstateError",
    "TimeoutError",
    "Watch",
    "aio",
    "decode_value",
    "encode_value",
    "endpoint",
    "equal_encoded_values",
    "errors",
    "install_as_katsdptelstate",
    "overview",
    "set_allow_pickle",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"telstate.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("telstate")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # From now on it is found without this function.
    found = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
