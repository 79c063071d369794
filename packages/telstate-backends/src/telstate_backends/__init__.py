"""Where telescope state is stored: in memory or in Redis, synchronous or asyncio, with one behaviour.

Importing this package loads nothing else: each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from telstate_backends._exports import lazy_exports

# The two halves list the same names, for type checkers and for Python; a test compares them.
if TYPE_CHECKING:
    from telstate_backends._callables import check_function as check_function
    from telstate_backends._changes import ChangeTracker as ChangeTracker
    from telstate_backends._changes import TrackedEvent as TrackedEvent
    from telstate_backends._follow import AsyncFollower as AsyncFollower
    from telstate_backends._follow import Follower as Follower
    from telstate_backends._load import LoadReport as LoadReport
    from telstate_backends._load import Skipped as Skipped
    from telstate_backends._load import load_rdb as load_rdb
    from telstate_backends._load import load_rdb_async as load_rdb_async
    from telstate_backends._load import load_records as load_records
    from telstate_backends._load import load_records_async as load_records_async
    from telstate_backends._wait import CancelFuture as CancelFuture
    from telstate_backends._wait import IndexedWait as IndexedWait
    from telstate_backends._wait import KeysWait as KeysWait
    from telstate_backends._wait import KeyWait as KeyWait
    from telstate_backends._wait import Verdict as Verdict
    from telstate_backends._wait import Wait as Wait
    from telstate_backends._wait import wait as wait
    from telstate_backends._wait import wait_async as wait_async
    from telstate_backends.abc import AsyncBackend as AsyncBackend
    from telstate_backends.abc import AsyncWatcher as AsyncWatcher
    from telstate_backends.abc import Backend as Backend
    from telstate_backends.abc import Watcher as Watcher
    from telstate_backends.cache import AsyncCachedBackend as AsyncCachedBackend
    from telstate_backends.cache import CachedBackend as CachedBackend
    from telstate_backends.deadline import Deadline as Deadline
    from telstate_backends.errors import CancelledError as CancelledError
    from telstate_backends.errors import ConnectionError as ConnectionError
    from telstate_backends.errors import DatabaseCollisionError as DatabaseCollisionError
    from telstate_backends.errors import ForeignKeyError as ForeignKeyError
    from telstate_backends.errors import ImmutableKeyError as ImmutableKeyError
    from telstate_backends.errors import RdbParseError as RdbParseError
    from telstate_backends.errors import RdbWriteError as RdbWriteError
    from telstate_backends.errors import RefusedError as RefusedError
    from telstate_backends.errors import TelstateError as TelstateError
    from telstate_backends.errors import TimeoutError as TimeoutError
    from telstate_backends.errors import translate_rdb_errors as translate_rdb_errors
    from telstate_backends.events import Change as Change
    from telstate_backends.events import CheckDue as CheckDue
    from telstate_backends.events import Cleared as Cleared
    from telstate_backends.events import Deleted as Deleted
    from telstate_backends.events import Event as Event
    from telstate_backends.events import Update as Update
    from telstate_backends.memory import AsyncMemoryBackend as AsyncMemoryBackend
    from telstate_backends.memory import MemoryBackend as MemoryBackend
    from telstate_backends.operations.base import Operation as Operation
    from telstate_backends.operations.bulk import Export as Export
    from telstate_backends.operations.bulk import Load as Load
    from telstate_backends.operations.bulk import Restore as Restore
    from telstate_backends.operations.inspect import Count as Count
    from telstate_backends.operations.inspect import GetPage as GetPage
    from telstate_backends.operations.inspect import KeyPreview as KeyPreview
    from telstate_backends.operations.inspect import Keys as Keys
    from telstate_backends.operations.inspect import KeyTypes as KeyTypes
    from telstate_backends.operations.inspect import Peek as Peek
    from telstate_backends.operations.inspect import SamplePage as SamplePage
    from telstate_backends.operations.inspect import ServerVersion as ServerVersion
    from telstate_backends.operations.inspect import SomeKeys as SomeKeys
    from telstate_backends.operations.read import Exists as Exists
    from telstate_backends.operations.read import Find as Find
    from telstate_backends.operations.read import Found as Found
    from telstate_backends.operations.read import Get as Get
    from telstate_backends.operations.read import GetIndexed as GetIndexed
    from telstate_backends.operations.read import GetKeyType as GetKeyType
    from telstate_backends.operations.read import GetRange as GetRange
    from telstate_backends.operations.read import WhichExist as WhichExist
    from telstate_backends.operations.write import AddSample as AddSample
    from telstate_backends.operations.write import AddSamples as AddSamples
    from telstate_backends.operations.write import Clear as Clear
    from telstate_backends.operations.write import Delete as Delete
    from telstate_backends.operations.write import SetImmutable as SetImmutable
    from telstate_backends.operations.write import SetIndexed as SetIndexed
    from telstate_backends.redis import AsyncRedisBackend as AsyncRedisBackend
    from telstate_backends.redis import RedisBackend as RedisBackend
    from telstate_backends.retry import RetryPolicy as RetryPolicy
    from telstate_backends.samples import Samples as Samples
    from telstate_backends.store import Fields as Fields
    from telstate_backends.store import Store as Store
    from telstate_backends.types import Contents as Contents
    from telstate_backends.types import Immutable as Immutable
    from telstate_backends.types import Indexed as Indexed
    from telstate_backends.types import KeyType as KeyType
    from telstate_backends.types import Mutable as Mutable
    from telstate_rdb.globs import Glob as Glob

    __version__: str
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "telstate_backends._callables": ("check_function",),
            "telstate_backends._changes": ("ChangeTracker", "TrackedEvent"),
            "telstate_backends._follow": ("AsyncFollower", "Follower"),
            "telstate_backends._load": (
                "LoadReport",
                "Skipped",
                "load_rdb",
                "load_rdb_async",
                "load_records",
                "load_records_async",
            ),
            "telstate_backends._wait": (
                "CancelFuture",
                "IndexedWait",
                "KeyWait",
                "KeysWait",
                "Verdict",
                "Wait",
                "wait",
                "wait_async",
            ),
            "telstate_backends.abc": ("AsyncBackend", "AsyncWatcher", "Backend", "Watcher"),
            "telstate_backends.cache": ("AsyncCachedBackend", "CachedBackend"),
            "telstate_backends.deadline": ("Deadline",),
            "telstate_backends.errors": (
                "CancelledError",
                "ConnectionError",
                "DatabaseCollisionError",
                "ForeignKeyError",
                "ImmutableKeyError",
                "RdbParseError",
                "RdbWriteError",
                "RefusedError",
                "TelstateError",
                "TimeoutError",
                "translate_rdb_errors",
            ),
            "telstate_backends.events": (
                "Change",
                "CheckDue",
                "Cleared",
                "Deleted",
                "Event",
                "Update",
            ),
            "telstate_backends.memory": ("AsyncMemoryBackend", "MemoryBackend"),
            "telstate_backends.operations.base": ("Operation",),
            "telstate_backends.operations.bulk": ("Export", "Load", "Restore"),
            "telstate_backends.operations.inspect": (
                "Count",
                "GetPage",
                "KeyPreview",
                "KeyTypes",
                "Keys",
                "Peek",
                "SamplePage",
                "ServerVersion",
                "SomeKeys",
            ),
            "telstate_backends.operations.read": (
                "Exists",
                "Find",
                "Found",
                "Get",
                "GetIndexed",
                "GetKeyType",
                "GetRange",
                "WhichExist",
            ),
            "telstate_backends.operations.write": (
                "AddSample",
                "AddSamples",
                "Clear",
                "Delete",
                "SetImmutable",
                "SetIndexed",
            ),
            "telstate_backends.redis": ("AsyncRedisBackend", "RedisBackend"),
            "telstate_backends.retry": ("RetryPolicy",),
            "telstate_backends.samples": ("Samples",),
            "telstate_backends.store": ("Fields", "Store"),
            "telstate_backends.types": ("Contents", "Immutable", "Indexed", "KeyType", "Mutable"),
            "telstate_rdb.globs": ("Glob",),
        },
    )
