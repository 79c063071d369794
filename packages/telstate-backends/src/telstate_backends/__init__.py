"""Where telescope state lives: memory or Redis, synchronous or asyncio, with one behaviour.

Importing this package loads nothing else: each name is loaded when it is first asked for. A new one goes into
the imports for type checkers, into the table of homes and into ``__all__``; a test compares them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telstate_backends._callables import check_function
    from telstate_backends._changes import ChangeTracker, TrackedEvent
    from telstate_backends._follow import AsyncFollower, Follower
    from telstate_backends._load import (
        LoadReport,
        Skipped,
        load_rdb,
        load_rdb_async,
        load_records,
        load_records_async,
    )
    from telstate_backends._wait import (
        CancelFuture,
        IndexedWait,
        KeysWait,
        KeyWait,
        Verdict,
        Wait,
        wait,
        wait_async,
    )
    from telstate_backends.abc import AsyncBackend, AsyncWatcher, Backend, Watcher
    from telstate_backends.cache import AsyncCachedBackend, CachedBackend
    from telstate_backends.errors import (
        CancelledError,
        ConnectionError,
        ForeignKeyError,
        ImmutableKeyError,
        RdbParseError,
        RdbWriteError,
        RefusedError,
        TelstateError,
        TimeoutError,
        translate_rdb_errors,
    )
    from telstate_backends.events import Change, CheckDue, Cleared, Deleted, Event, Update
    from telstate_backends.memory import AsyncMemoryBackend, MemoryBackend
    from telstate_backends.operations import (
        AddSample,
        AddSamples,
        Clear,
        Count,
        Delete,
        Dump,
        Exists,
        Export,
        Find,
        Get,
        GetIndexed,
        GetKeyType,
        GetRange,
        Glimpse,
        Keys,
        KeyTypes,
        Load,
        Operation,
        Peek,
        Restore,
        SamplePage,
        SetImmutable,
        SetIndexed,
        SomeKeys,
        Survey,
        WhichExist,
    )
    from telstate_backends.redis import AsyncRedisBackend, RedisBackend
    from telstate_backends.retry import RetryPolicy
    from telstate_backends.store import Fields, Samples, Store
    from telstate_backends.types import Contents, Immutable, Indexed, KeyType, Mutable
    from telstate_rdb.globs import Glob

    __version__: str

# Which module each name is loaded from.
_HOMES = {
    "telstate_backends.abc": ["AsyncBackend", "AsyncWatcher", "Backend", "Watcher"],
    "telstate_backends._callables": ["check_function"],
    "telstate_backends._wait": [
        "CancelFuture",
        "IndexedWait",
        "KeyWait",
        "KeysWait",
        "Verdict",
        "Wait",
        "wait",
        "wait_async",
    ],
    "telstate_backends.cache": ["AsyncCachedBackend", "CachedBackend"],
    "telstate_backends.errors": [
        "CancelledError",
        "ConnectionError",
        "ForeignKeyError",
        "ImmutableKeyError",
        "RdbParseError",
        "RdbWriteError",
        "RefusedError",
        "TelstateError",
        "TimeoutError",
        "translate_rdb_errors",
    ],
    "telstate_backends._follow": ["AsyncFollower", "Follower"],
    "telstate_backends.types": ["Contents", "Immutable", "Indexed", "KeyType", "Mutable"],
    "telstate_backends._changes": ["ChangeTracker", "TrackedEvent"],
    "telstate_backends._load": [
        "LoadReport",
        "Skipped",
        "load_rdb",
        "load_rdb_async",
        "load_records",
        "load_records_async",
    ],
    "telstate_backends.memory": ["AsyncMemoryBackend", "MemoryBackend"],
    "telstate_backends.operations.base": ["Operation"],
    "telstate_backends.operations.inspect": [
        "Count",
        "Glimpse",
        "KeyTypes",
        "Keys",
        "Peek",
        "SamplePage",
        "SomeKeys",
        "Survey",
    ],
    "telstate_backends.operations.read": [
        "Exists",
        "Find",
        "Get",
        "GetIndexed",
        "GetKeyType",
        "GetRange",
        "WhichExist",
    ],
    "telstate_backends.operations.bulk": ["Dump", "Export", "Load", "Restore"],
    "telstate_backends.operations.write": [
        "AddSample",
        "AddSamples",
        "Clear",
        "Delete",
        "SetImmutable",
        "SetIndexed",
    ],
    "telstate_backends.redis": ["AsyncRedisBackend", "RedisBackend"],
    "telstate_backends.retry": ["RetryPolicy"],
    "telstate_backends.store": ["Fields", "Samples", "Store"],
    "telstate_backends.events": ["Change", "CheckDue", "Cleared", "Deleted", "Event", "Update"],
    "telstate_rdb.globs": ["Glob"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AddSample",
    "AddSamples",
    "AsyncBackend",
    "AsyncCachedBackend",
    "AsyncFollower",
    "AsyncMemoryBackend",
    "AsyncRedisBackend",
    "AsyncWatcher",
    "Backend",
    "CachedBackend",
    "CancelFuture",
    "CancelledError",
    "Change",
    "ChangeTracker",
    "CheckDue",
    "Clear",
    "Cleared",
    "ConnectionError",
    "Contents",
    "Count",
    "Delete",
    "Deleted",
    "Dump",
    "Event",
    "Exists",
    "Export",
    "Fields",
    "Find",
    "Follower",
    "ForeignKeyError",
    "Get",
    "GetIndexed",
    "GetKeyType",
    "GetRange",
    "Glimpse",
    "Glob",
    "Immutable",
    "ImmutableKeyError",
    "Indexed",
    "IndexedWait",
    "KeyType",
    "KeyTypes",
    "KeyWait",
    "Keys",
    "KeysWait",
    "Load",
    "LoadReport",
    "MemoryBackend",
    "Mutable",
    "Operation",
    "Peek",
    "RdbParseError",
    "RdbWriteError",
    "RedisBackend",
    "RefusedError",
    "Restore",
    "RetryPolicy",
    "SamplePage",
    "Samples",
    "SetImmutable",
    "SetIndexed",
    "Skipped",
    "SomeKeys",
    "Store",
    "Survey",
    "TelstateError",
    "TimeoutError",
    "TrackedEvent",
    "Update",
    "Verdict",
    "Wait",
    "Watcher",
    "WhichExist",
    "check_function",
    "load_rdb",
    "load_rdb_async",
    "load_records",
    "load_records_async",
    "translate_rdb_errors",
    "wait",
    "wait_async",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("telstate-backends")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # From now on it is found without this function.
    found = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return found
