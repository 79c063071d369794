"""Where telescope state lives: memory or Redis, synchronous or asyncio, with one behaviour.

Importing this package imports neither redis nor asyncio nor numpy: what needs them is loaded when
it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from telstate_backends.backend import AsyncBackend, AsyncWatcher, Backend, Watcher
from telstate_backends.errors import (
    CancelledError,
    ConnectionError,
    ForeignKeyError,
    ImmutableKeyError,
    RefusedError,
    TelstateError,
    TimeoutError,
)
from telstate_backends.globs import Glob
from telstate_backends.kinds import Contents, Immutable, Indexed, KeyType, Mutable
from telstate_backends.memory import MemoryBackend
from telstate_backends.operations import (
    AddSample,
    Clear,
    Delete,
    Dump,
    Exists,
    Export,
    Find,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Keys,
    KeyTypes,
    Load,
    Operation,
    SetImmutable,
    SetIndexed,
)
from telstate_backends.store import Fields, Samples, Store
from telstate_backends.updates import CheckDue, Event, Update

if TYPE_CHECKING:
    pass

_LAZY: dict[str, str] = {}

__all__ = [
    "AddSample",
    "AsyncBackend",
    "AsyncWatcher",
    "Backend",
    "CancelledError",
    "CheckDue",
    "Clear",
    "ConnectionError",
    "Contents",
    "Delete",
    "Dump",
    "Event",
    "Exists",
    "Export",
    "Fields",
    "Find",
    "ForeignKeyError",
    "Get",
    "GetIndexed",
    "GetKeyType",
    "GetRange",
    "Glob",
    "Immutable",
    "ImmutableKeyError",
    "Indexed",
    "KeyType",
    "KeyTypes",
    "Keys",
    "Load",
    "MemoryBackend",
    "Mutable",
    "Operation",
    "RefusedError",
    "Samples",
    "SetImmutable",
    "SetIndexed",
    "Store",
    "TelstateError",
    "TimeoutError",
    "Update",
    "Watcher",
]


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
