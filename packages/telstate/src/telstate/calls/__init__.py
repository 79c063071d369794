"""What each method of a telescope state means, without doing it.

A `Call` is a pair: the operation to execute, and what to make of its result. The functions here build calls
from a view and the method's arguments; they do no I/O, so that the synchronous class, the asyncio class
and batches share all of it: each method is "build the call, execute its operation, finish".
"""

from importlib import import_module
from typing import TYPE_CHECKING

from telstate.calls.common import Call, missing
from telstate.calls.reading import (
    exists,
    get,
    get_indexed,
    get_item,
    get_range,
    get_range_arrays,
    is_immutable,
    key_type,
    key_types,
    keys,
)
from telstate.calls.writing import add, add_many, clear, delete, set_immutable, set_indexed

if TYPE_CHECKING:
    from telstate.calls.waiting import (
        IndexedCondition,
        KeyCondition,
        Require,
        indexed_wait,
        key_wait,
        keys_wait,
    )

__all__ = [
    "Call",
    "IndexedCondition",
    "KeyCondition",
    "Require",
    "add",
    "add_many",
    "clear",
    "delete",
    "exists",
    "get",
    "get_indexed",
    "get_item",
    "get_range",
    "get_range_arrays",
    "indexed_wait",
    "is_immutable",
    "key_type",
    "key_types",
    "key_wait",
    "keys",
    "keys_wait",
    "missing",
    "set_immutable",
    "set_indexed",
]


def __getattr__(name: str) -> object:
    # What waiting needs is loaded when somebody first waits.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module("telstate.calls.waiting"), name)
    return found
