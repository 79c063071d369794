"""Operations: everything that can be asked of a store, as data."""

from telstate_backends.operations.base import Operation, Result
from telstate_backends.operations.glimpses import Count, Glimpse, Peek, SomeKeys
from telstate_backends.operations.listing import Keys, KeyTypes
from telstate_backends.operations.ranges import GetRange
from telstate_backends.operations.reading import (
    Exists,
    Find,
    Get,
    GetIndexed,
    GetKeyType,
    WhichExist,
)
from telstate_backends.operations.snapshots import Dump, Export, Load, Restore
from telstate_backends.operations.surveys import SamplePage, Survey
from telstate_backends.operations.writing import (
    AddSample,
    AddSamples,
    Clear,
    Delete,
    SetImmutable,
    SetIndexed,
)

__all__ = [
    "AddSample",
    "AddSamples",
    "Clear",
    "Count",
    "Delete",
    "Dump",
    "Exists",
    "Export",
    "Find",
    "Get",
    "GetIndexed",
    "GetKeyType",
    "GetRange",
    "Glimpse",
    "KeyTypes",
    "Keys",
    "Load",
    "Operation",
    "Peek",
    "Restore",
    "Result",
    "SamplePage",
    "SetImmutable",
    "SetIndexed",
    "SomeKeys",
    "Survey",
    "WhichExist",
]
