"""What the waiting methods wait for: each builds a wait from a view and the method's arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, Literal

from telstate.calls.common import encode, named, read
from telstate.views import View
from telstate_backends import Contents, KeysWait, Mutable
from telstate_backends.waiting.single import IndexedWait, KeyWait, check_condition
from telstate_codec import DecodeError, Key, decode_key, decode_value

Require = Literal["all", "any"]
KeyCondition = Callable[[Any, float | None], object]
IndexedCondition = Callable[[Any], object]


def key_wait(view: View, key: Key, condition: KeyCondition | None) -> KeyWait:
    """``ts.wait_key(key, condition)``."""
    if condition is None:
        return KeyWait(view.candidates(key))
    check = condition
    keys = view.candidates(key)
    # Here, because what is below is ordinary whatever the condition is.
    check_condition(check, keys)

    def holds(contents: Contents) -> object:
        timestamp = contents.timestamp if isinstance(contents, Mutable) else None
        try:
            value = read(contents, False)
        except DecodeError as error:
            raise named(error, key) from error
        return check(value, timestamp)

    return KeyWait(keys, holds)


def indexed_wait(
    view: View, key: Key, sub_key: object, condition: IndexedCondition | None
) -> IndexedWait:
    """``ts.wait_indexed(key, sub_key, condition)``."""
    keys, encoded = view.candidates(key), encode(sub_key, key)
    if condition is None:
        return IndexedWait(keys, encoded)
    check = condition
    check_condition(check, keys)

    def holds(stored: bytes) -> object:
        try:
            value = decode_value(stored)
        except DecodeError as error:
            raise named(error, key, sub_key) from error
        return check(value)

    return IndexedWait(keys, encoded, holds)


def keys_wait(
    view: View, keys: Iterable[Key], require: Require
) -> tuple[KeysWait, Callable[[], tuple[str, ...]]]:
    """``ts.wait_keys(keys, require)``: what to wait for, and how to tell afterwards what is there."""
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"keys must be a list of keys, not the string {keys!r}; use wait_key.")
    if require not in ("all", "any"):
        raise ValueError(f"require must be 'all' or 'any', not {require!r}.")
    names = [key if isinstance(key, str) else decode_key(key) for key in keys]
    if not names and require == "any":
        raise ValueError("There is no key to wait for: give at least one.")
    wanted = KeysWait(map(view.candidates, names), require_all=require == "all")
    return wanted, lambda: tuple(compress(names, wanted.found))
