"""The waits: what each waiting method waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, Literal

from telstate._calls.common import check_names, encode, with_key
from telstate._calls.read import decode_contents
from telstate._view import View
from telstate_backends import (
    Contents,
    IndexedWait,
    KeysWait,
    KeyWait,
    Mutable,
    check_function,
    wait,
)
from telstate_codec import DecodeError, Key, decode_key, decode_value, encode_key, key_repr

__all__ = [
    "IndexedCondition",
    "KeyCondition",
    "Require",
    "indexed_wait",
    "key_wait",
    "keys_wait",
    "wait",
]

Require = Literal["all", "any"]
KeyCondition = Callable[[Any, float | None], object]
IndexedCondition = Callable[[Any], object]


def key_wait(view: View, key: Key, condition: KeyCondition | None) -> KeyWait:
    """``ts.wait_key(key, condition)``."""
    keys = view.candidates(key)
    if condition is None:
        return KeyWait(keys)
    # The backend would only check the function below.
    check_function(condition, lambda: f"condition of the wait for key {key_repr(key)}")
    check = condition

    def holds(contents: Contents) -> object:
        timestamp = contents.timestamp if isinstance(contents, Mutable) else None
        return check(decode_contents(key, None, False, contents), timestamp)

    return KeyWait(keys, holds)


def indexed_wait(
    view: View, key: Key, sub_key: object, condition: IndexedCondition | None
) -> IndexedWait:
    """``ts.wait_indexed(key, sub_key, condition)``."""
    keys, encoded = view.candidates(key), encode(sub_key, key)
    if condition is None:
        return IndexedWait(keys, encoded)
    check_function(condition, lambda: f"condition of the wait for key {key_repr(key)}")
    check = condition

    def holds(stored: bytes) -> object:
        try:
            value = decode_value(stored)
        except DecodeError as error:
            raise with_key(error, key, sub_key) from error
        return check(value)

    return IndexedWait(keys, encoded, holds)


def keys_wait(
    view: View, keys: Iterable[Key], require: Require
) -> tuple[KeysWait, Callable[[], tuple[str, ...]]]:
    """``ts.wait_keys(keys, require)``: the wait, and a function that returns the keys that exist."""
    check_names(keys)
    if require not in ("all", "any"):
        raise ValueError(f"require must be 'all' or 'any', not {require!r}.")
    names = [decode_key(encode_key(key)) for key in keys]
    if not names and require == "any":
        raise ValueError("There is no key to wait for.")
    wanted = KeysWait(map(view.candidates, names), require_all=require == "all")

    def existing() -> tuple[str, ...]:
        return tuple(compress(names, wanted.found))

    return wanted, existing
