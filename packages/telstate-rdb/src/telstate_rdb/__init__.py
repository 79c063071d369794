"""Read and write snapshots (RDB files) and DUMP payloads of every version of Redis and Valkey.

Start with `read_rdb` and `RdbWriter`; `decode_dump` and `encode_dump` are for payloads of ``DUMP``.

Importing this package imports nothing else: each name is imported from its module when it is first used,
so that a part of the package (such as :mod:`telstate_rdb.globs`) costs no more than itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telstate_rdb._parser import Checksum as Checksum
    from telstate_rdb._parser import Container as Container
    from telstate_rdb._recovery import Loss as Loss
    from telstate_rdb._source import BinaryReader as BinaryReader
    from telstate_rdb._source import Progress as Progress
    from telstate_rdb._source import RdbSource as RdbSource
    from telstate_rdb._types.streams import without_counters as without_counters
    from telstate_rdb.constants import TypeName as TypeName
    from telstate_rdb.convert import Changes as Changes
    from telstate_rdb.convert import Conflict as Conflict
    from telstate_rdb.convert import ConflictError as ConflictError
    from telstate_rdb.convert import Merged as Merged
    from telstate_rdb.convert import convert_rdb as convert_rdb
    from telstate_rdb.convert import key_slot as key_slot
    from telstate_rdb.convert import merge_rdb as merge_rdb
    from telstate_rdb.convert import split_rdb as split_rdb
    from telstate_rdb.diff import Change as Change
    from telstate_rdb.diff import Difference as Difference
    from telstate_rdb.diff import Side as Side
    from telstate_rdb.diff import compare_rdb as compare_rdb
    from telstate_rdb.dump import decode_dump as decode_dump
    from telstate_rdb.dump import decode_raw as decode_raw
    from telstate_rdb.dump import encode_dump as encode_dump
    from telstate_rdb.dump import parse_dump as parse_dump
    from telstate_rdb.errors import RdbError as RdbError
    from telstate_rdb.errors import RdbParseError as RdbParseError
    from telstate_rdb.errors import RdbWriteError as RdbWriteError
    from telstate_rdb.json_form import JsonFormError as JsonFormError
    from telstate_rdb.json_form import decode_json as decode_json
    from telstate_rdb.json_form import encode_json as encode_json
    from telstate_rdb.lazy import LazyTable as LazyTable
    from telstate_rdb.memory import KeyMemory as KeyMemory
    from telstate_rdb.memory import ServerName as ServerName
    from telstate_rdb.memory import measure_key as measure_key
    from telstate_rdb.prefixes import PrefixSum as PrefixSum
    from telstate_rdb.prefixes import PrefixTree as PrefixTree
    from telstate_rdb.reader import RdbReader as RdbReader
    from telstate_rdb.reader import read_in_place as read_in_place
    from telstate_rdb.reader import read_lazily as read_lazily
    from telstate_rdb.reader import read_rdb as read_rdb
    from telstate_rdb.records import AuxiliaryField as AuxiliaryField
    from telstate_rdb.records import AuxiliaryRecord as AuxiliaryRecord
    from telstate_rdb.records import DatabaseSize as DatabaseSize
    from telstate_rdb.records import FunctionLibrary as FunctionLibrary
    from telstate_rdb.records import KeyRecord as KeyRecord
    from telstate_rdb.records import ModuleAuxiliary as ModuleAuxiliary
    from telstate_rdb.records import PreReleaseFunction as PreReleaseFunction
    from telstate_rdb.records import SlotImport as SlotImport
    from telstate_rdb.records import SlotInformation as SlotInformation
    from telstate_rdb.resp import Command as Command
    from telstate_rdb.resp import CommandMaker as CommandMaker
    from telstate_rdb.resp import encode_command as encode_command
    from telstate_rdb.selection import Selection as Selection
    from telstate_rdb.selection import list_keys as list_keys
    from telstate_rdb.selection import read_selected as read_selected
    from telstate_rdb.stored import AnyRecord as AnyRecord
    from telstate_rdb.stored import StoredValue as StoredValue
    from telstate_rdb.values import Array as Array
    from telstate_rdb.values import Hash as Hash
    from telstate_rdb.values import List as List
    from telstate_rdb.values import Module as Module
    from telstate_rdb.values import RawValue as RawValue
    from telstate_rdb.values import Set as Set
    from telstate_rdb.values import SortedSet as SortedSet
    from telstate_rdb.values import Stream as Stream
    from telstate_rdb.values import StreamConsumer as StreamConsumer
    from telstate_rdb.values import StreamEntry as StreamEntry
    from telstate_rdb.values import StreamGroup as StreamGroup
    from telstate_rdb.values import StreamId as StreamId
    from telstate_rdb.values import StreamPending as StreamPending
    from telstate_rdb.values import StreamProducers as StreamProducers
    from telstate_rdb.values import Value as Value
    from telstate_rdb.writer import RdbWriter as RdbWriter

    __version__: str

# The public names of each module; the type checker reads them above.
_EXPORTS = {
    "_parser": "Checksum Container",
    "_recovery": "Loss",
    "_source": "BinaryReader Progress RdbSource",
    "_types.streams": "without_counters",
    "constants": "TypeName",
    "convert": "Changes Conflict ConflictError Merged convert_rdb key_slot merge_rdb split_rdb",
    "diff": "Change Difference Side compare_rdb",
    "dump": "decode_dump decode_raw encode_dump parse_dump",
    "errors": "RdbError RdbParseError RdbWriteError",
    "json_form": "JsonFormError decode_json encode_json",
    "lazy": "LazyTable",
    "memory": "KeyMemory ServerName measure_key",
    "prefixes": "PrefixSum PrefixTree",
    "reader": "RdbReader read_in_place read_lazily read_rdb",
    "records": "AuxiliaryField AuxiliaryRecord DatabaseSize FunctionLibrary KeyRecord ModuleAuxiliary "
    "PreReleaseFunction SlotImport SlotInformation",
    "resp": "Command CommandMaker encode_command",
    "selection": "Selection list_keys read_selected",
    "stored": "AnyRecord StoredValue",
    "values": "Array Hash List Module RawValue Set SortedSet Stream StreamConsumer StreamEntry StreamGroup "
    "StreamId StreamPending StreamProducers Value",
    "writer": "RdbWriter",
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("telstate-rdb")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
