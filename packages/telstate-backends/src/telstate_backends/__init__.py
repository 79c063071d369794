"""Where telescope state lives: memory or Redis, synchronous or asyncio, with one behaviour.

Importing this package imports neither redis nor asyncio nor numpy: what needs them is loaded when
it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from telstate_backends.backend import AsyncBackend, AsyncWatcher, Backend, Watcher
from telstate_backends.barriers import KeysWait
from telstate_backends.errors import (
    CancelledError,
    ConnectionError,
    ForeignKeyError,
    ImmutableKeyError,
    RefusedError,
    TelstateError,
    TimeoutError,
)
from telstate_backends.kinds import Contents, Immutable, Indexed, KeyType, Mutable
from telstate_backends.memory import MemoryBackend
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
from telstate_backends.retrying import RetryPolicy
from telstate_backends.store import Fields, Samples, Store
from telstate_backends.updates import Change, CheckDue, Cleared, Deleted, Event, Update
from telstate_backends.waiting import (
    IndexedWait,
    KeyWait,
    Verdict,
    Wait,
    wait,
    wait_async,
)
from telstate_rdb.globs import Glob

if TYPE_CHECKING:
    from telstate_backends.caching import AsyncCachedBackend, CachedBackend
    from telstate_backends.following import AsyncFollower, Follower
    from telstate_backends.ledger import Ledger, News
    from telstate_backends.loading import (
        LoadReport,
        Skipped,
        load_rdb,
        load_rdb_async,
        load_records,
        load_records_async,
    )
    from telstate_backends.memory_async import AsyncMemoryBackend
    from telstate_backends.redis import AsyncRedisBackend, RedisBackend

    __version__: str

_LAZY = {
    "AsyncFollower": "telstate_backends.following",
    "AsyncMemoryBackend": "telstate_backends.memory_async",
    "AsyncCachedBackend": "telstate_backends.caching",
    "AsyncRedisBackend": "telstate_backends.redis",
    "CachedBackend": "telstate_backends.caching",
    "Follower": "telstate_backends.following",
    "Ledger": "telstate_backends.ledger",
    "LoadReport": "telstate_backends.loading",
    "News": "telstate_backends.ledger",
    "Skipped": "telstate_backends.loading",
    "RedisBackend": "telstate_backends.redis",
    "load_rdb": "telstate_backends.loading",
    "load_rdb_async": "telstate_backends.loading",
    "load_records": "telstate_backends.loading",
    "load_records_async": "telstate_backends.loading",
}

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
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
