"""Operations: everything that can be asked of a store, as data.

Each is loaded when it is first asked for; a new one goes into both lists of modules and into ``__all__``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telstate_backends.operations.base import Operation, Result
    from telstate_backends.operations.bulk import Dump, Export, Load, Restore
    from telstate_backends.operations.inspect import (
        Count,
        Glimpse,
        Keys,
        KeyTypes,
        Peek,
        SamplePage,
        SomeKeys,
        Survey,
    )
    from telstate_backends.operations.read import (
        Exists,
        Find,
        Get,
        GetIndexed,
        GetKeyType,
        GetRange,
        WhichExist,
    )
    from telstate_backends.operations.write import (
        AddSample,
        AddSamples,
        Clear,
        Delete,
        SetImmutable,
        SetIndexed,
    )

# Which module each name is loaded from.
_HOMES = {
    "telstate_backends.operations.base": ["Operation", "Result"],
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
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # From now on it is found without this function.
    found = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return found
