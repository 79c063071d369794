"""Where telescope state lives: memory or Redis, synchronous or asyncio, with one behaviour.

Importing this package loads nothing else: each name is loaded when it is first asked for. A new one goes into
the imports for type checkers, into the table of homes and into ``__all__``; a test compares them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telstate_backends.backend import AsyncBackend, AsyncWatcher, Backend, Watcher
    from telstate_backends.caching.cached import AsyncCachedBackend, CachedBackend
    from telstate_backends.errors import (
        CancelledError,
        ConnectionError,
        ForeignKeyError,
        ImmutableKeyError,
        RefusedError,
        TelstateError,
        TimeoutError,
    )
    from telstate_backends.following.followers import AsyncFollower, Follower
    from telstate_backends.following.ledger import Ledger, News
    from telstate_backends.kinds import Contents, Immutable, Indexed, KeyType, Mutable
    from telstate_backends.loading.records import (
        LoadReport,
        Skipped,
        load_rdb,
        load_rdb_async,
        load_records,
        load_records_async,
    )
    from telstate_backends.memory import MemoryBackend
    from telstate_backends.memory_async import AsyncMemoryBackend
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
    from telstate_backends.retrying import RetryPolicy
    from telstate_backends.store import Fields, Samples, Store
    from telstate_backends.updates import Change, CheckDue, Cleared, Deleted, Event, Update
    from telstate_backends.waiting.several import KeysWait
    from telstate_backends.waiting.single import (
        IndexedWait,
        KeyWait,
        Verdict,
        Wait,
        wait,
        wait_async,
    )
    from telstate_rdb.globs import Glob

    __version__: str

# Which module each name is loaded from.
_HOMES = {
    "telstate_backends.backend": ["AsyncBackend", "AsyncWatcher", "Backend", "Watcher"],
    "telstate_backends.waiting.several": ["KeysWait"],
    "telstate_backends.caching.cached": ["AsyncCachedBackend", "CachedBackend"],
    "telstate_backends.errors": [
        "CancelledError",
        "ConnectionError",
        "ForeignKeyError",
        "ImmutableKeyError",
        "RefusedError",
        "TelstateError",
        "TimeoutError",
    ],
    "telstate_backends.following.followers": ["AsyncFollower", "Follower"],
    "telstate_backends.kinds": ["Contents", "Immutable", "Indexed", "KeyType", "Mutable"],
    "telstate_backends.following.ledger": ["Ledger", "News"],
    "telstate_backends.loading.records": [
        "LoadReport",
        "Skipped",
        "load_rdb",
        "load_rdb_async",
        "load_records",
        "load_records_async",
    ],
    "telstate_backends.memory": ["MemoryBackend"],
    "telstate_backends.memory_async": ["AsyncMemoryBackend"],
    "telstate_backends.operations.base": ["Operation"],
    "telstate_backends.operations.glimpses": ["Count", "Glimpse", "Peek", "SomeKeys"],
    "telstate_backends.operations.listing": ["KeyTypes", "Keys"],
    "telstate_backends.operations.ranges": ["GetRange"],
    "telstate_backends.operations.reading": [
        "Exists",
        "Find",
        "Get",
        "GetIndexed",
        "GetKeyType",
        "WhichExist",
    ],
    "telstate_backends.operations.snapshots": ["Dump", "Export", "Load", "Restore"],
    "telstate_backends.operations.surveys": ["SamplePage", "Survey"],
    "telstate_backends.operations.writing": [
        "AddSample",
        "AddSamples",
        "Clear",
        "Delete",
        "SetImmutable",
        "SetIndexed",
    ],
    "telstate_backends.redis": ["AsyncRedisBackend", "RedisBackend"],
    "telstate_backends.retrying": ["RetryPolicy"],
    "telstate_backends.store": ["Fields", "Samples", "Store"],
    "telstate_backends.updates": ["Change", "CheckDue", "Cleared", "Deleted", "Event", "Update"],
    "telstate_backends.waiting.single": [
        "IndexedWait",
        "KeyWait",
        "Verdict",
        "Wait",
        "wait",
        "wait_async",
    ],
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
    "CancelledError",
    "Change",
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
    "Ledger",
    "Load",
    "LoadReport",
    "MemoryBackend",
    "Mutable",
    "News",
    "Operation",
    "Peek",
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
    "Update",
    "Verdict",
    "Wait",
    "Watcher",
    "WhichExist",
    "load_rdb",
    "load_rdb_async",
    "load_records",
    "load_records_async",
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
