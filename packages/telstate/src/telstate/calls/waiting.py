"""What the waiting methods wait for: each builds a wait from a view and the method's arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, Literal

from telstate.calls.common import encode, named, read, short
from telstate.views import View
from telstate_backends import Contents, KeysWait, Mutable
from telstate_backends._wait import IndexedWait, KeyWait, check_condition
from telstate_codec import DecodeError, Key, decode_key, decode_value, key_repr

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
    _refuse_seconds(check, f"key {key_repr(key)}")
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
    _refuse_seconds(check, f"sub-key {short.repr(sub_key)} of key {key_repr(key)}")
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
) -> tuple[KeysWait, Callable[[], tuple[str, ...]], Callable[[], tuple[str, ...]]]:
    """``ts.wait_keys(keys, require)``: what to wait for, and how to tell what is there, and what not."""
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"keys must be a list of keys, not the string {keys!r}; use wait_key.")
    if require not in ("all", "any"):
        raise ValueError(f"require must be 'all' or 'any', not {require!r}.")
    names = [key if isinstance(key, str) else decode_key(key) for key in keys]
    if not names and require == "any":
        raise ValueError("There is no key to wait for: give at least one.")
    wanted = KeysWait(map(view.candidates, names), require_all=require == "all")

    def existing() -> tuple[str, ...]:
        return tuple(compress(names, wanted.found))

    def missing() -> tuple[str, ...]:
        return tuple(name for name, found in zip(names, wanted.found) if not found)

    return wanted, existing, missing


def _refuse_seconds(condition: object, what: str) -> None:
    """Refuse a time limit where a condition belongs, with a word about where it belongs."""
    if isinstance(condition, (int, float)):
        raise TypeError(
            f"The condition of the wait for {what} must be a function, not the "
            f"{type(condition).__name__} {condition!r}; a time limit is given by its name, "
            f"timeout={condition!r} (on asyncio: async with asyncio.timeout({condition!r}))."
        )
