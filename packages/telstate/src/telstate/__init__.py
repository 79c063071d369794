"""Telescope state: the key-value store that a radio telescope runs on, live and in snapshots.

Start with `TelescopeState`; `RDBWriter` saves one to a file. All errors derive from `TelstateError`.
Importing this package loads nothing else: each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from telstate._lazy import lazy_exports

# The two halves list the same names, for type checkers and for Python; a test compares them.
if TYPE_CHECKING:
    from telstate import aio as aio
    from telstate import endpoint as endpoint
    from telstate import errors as errors
    from telstate import overview as overview
    from telstate import plot as plot
    from telstate._batch import Queued as Queued
    from telstate._compare import KeyDifference as KeyDifference
    from telstate._compare import ValueDifference as ValueDifference
    from telstate._compare import compare as compare
    from telstate._export import ExportReport as ExportReport
    from telstate._export import export as export
    from telstate._import import ImportReport as ImportReport
    from telstate._import import import_file as import_file
    from telstate._ipython import load_ipython_extension as load_ipython_extension
    from telstate._merge import MergeConflict as MergeConflict
    from telstate._merge import MergeConflictError as MergeConflictError
    from telstate._merge import Merged as Merged
    from telstate._merge import merge as merge
    from telstate._open import open_store as open_store
    from telstate._pickles import PickledKey as PickledKey
    from telstate._pickles import RewriteReport as RewriteReport
    from telstate._pickles import find_pickles as find_pickles
    from telstate._pickles import rewrite_pickles as rewrite_pickles
    from telstate._verify import SnapshotProblem as SnapshotProblem
    from telstate._verify import Verification as Verification
    from telstate._verify import verify_snapshot as verify_snapshot
    from telstate._xarray import to_xarray as to_xarray
    from telstate.dropin import install_as_katsdptelstate as install_as_katsdptelstate
    from telstate.endpoint import Endpoint as Endpoint
    from telstate.errors import BatchError as BatchError
    from telstate.errors import BatchStateError as BatchStateError
    from telstate.errors import KeysExistError as KeysExistError
    from telstate.errors import ReadOnlyError as ReadOnlyError
    from telstate.pipeline import Pipeline as Pipeline
    from telstate.snapshots import RDBWriter as RDBWriter
    from telstate.telescope_state import TelescopeState as TelescopeState
    from telstate.watch import KeyUpdate as KeyUpdate
    from telstate.watch import Reconnected as Reconnected
    from telstate.watch import Watch as Watch
    from telstate_backends import CancelledError as CancelledError
    from telstate_backends import ConnectionError as ConnectionError
    from telstate_backends import DatabaseCollisionError as DatabaseCollisionError
    from telstate_backends import ForeignKeyError as ForeignKeyError
    from telstate_backends import ImmutableKeyError as ImmutableKeyError
    from telstate_backends import KeyType as KeyType
    from telstate_backends import MemoryBackend as MemoryBackend
    from telstate_backends import RdbParseError as RdbParseError
    from telstate_backends import RdbWriteError as RdbWriteError
    from telstate_backends import RedisBackend as RedisBackend
    from telstate_backends import RefusedError as RefusedError
    from telstate_backends import RetryPolicy as RetryPolicy
    from telstate_backends import TimeoutError as TimeoutError
    from telstate_codec import ALLOWED_ENCODINGS as ALLOWED_ENCODINGS
    from telstate_codec import ENCODING_DEFAULT as ENCODING_DEFAULT
    from telstate_codec import ENCODING_MSGPACK as ENCODING_MSGPACK
    from telstate_codec import ENCODING_PICKLE as ENCODING_PICKLE
    from telstate_codec import PICKLE_PROTOCOL as PICKLE_PROTOCOL
    from telstate_codec import DecodeError as DecodeError
    from telstate_codec import EncodeError as EncodeError
    from telstate_codec import InvalidKeyError as InvalidKeyError
    from telstate_codec import InvalidTimestampError as InvalidTimestampError
    from telstate_codec import PicklePolicy as PicklePolicy
    from telstate_codec import SampleArrays as SampleArrays
    from telstate_codec import TelstateError as TelstateError
    from telstate_codec import Time as Time
    from telstate_codec import decode_value as decode_value
    from telstate_codec import encode_value as encode_value
    from telstate_codec import equal_encoded_values as equal_encoded_values
    from telstate_codec import set_allow_pickle as set_allow_pickle
    from telstate_codec import to_seconds as to_seconds

    __version__: str
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            __name__: ("aio", "endpoint", "errors", "overview", "plot"),
            "telstate._batch": ("Queued",),
            "telstate._compare": ("KeyDifference", "ValueDifference", "compare"),
            "telstate._export": ("ExportReport", "export"),
            "telstate._import": ("ImportReport", "import_file"),
            "telstate._ipython": ("load_ipython_extension",),
            "telstate._merge": ("MergeConflict", "MergeConflictError", "Merged", "merge"),
            "telstate._open": ("open_store",),
            "telstate._pickles": (
                "PickledKey",
                "RewriteReport",
                "find_pickles",
                "rewrite_pickles",
            ),
            "telstate._verify": ("SnapshotProblem", "Verification", "verify_snapshot"),
            "telstate._xarray": ("to_xarray",),
            "telstate.dropin": ("install_as_katsdptelstate",),
            "telstate.endpoint": ("Endpoint",),
            "telstate.errors": ("BatchError", "BatchStateError", "KeysExistError", "ReadOnlyError"),
            "telstate.pipeline": ("Pipeline",),
            "telstate.snapshots": ("RDBWriter",),
            "telstate.telescope_state": ("TelescopeState",),
            "telstate.watch": ("KeyUpdate", "Reconnected", "Watch"),
            "telstate_backends": (
                "CancelledError",
                "ConnectionError",
                "DatabaseCollisionError",
                "ForeignKeyError",
                "ImmutableKeyError",
                "KeyType",
                "MemoryBackend",
                "RdbParseError",
                "RdbWriteError",
                "RedisBackend",
                "RefusedError",
                "RetryPolicy",
                "TimeoutError",
            ),
            "telstate_codec": (
                "ALLOWED_ENCODINGS",
                "DecodeError",
                "ENCODING_DEFAULT",
                "ENCODING_MSGPACK",
                "ENCODING_PICKLE",
                "EncodeError",
                "InvalidKeyError",
                "InvalidTimestampError",
                "PICKLE_PROTOCOL",
                "PicklePolicy",
                "SampleArrays",
                "TelstateError",
                "Time",
                "decode_value",
                "encode_value",
                "equal_encoded_values",
                "set_allow_pickle",
                "to_seconds",
            ),
        },
        distribution="telstate",
    )
