"""What the waiting methods wait for: each builds a wait from a view and the method's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telstate.calls.common import encode, named, read
from telstate.views import View
from telstate_backends import Contents, Mutable
from telstate_backends.waiting import IndexedWait, KeyWait
from telstate_codec import DecodeError, Key, decode_value

KeyCondition = Callable[[Any, float | None], object]
IndexedCondition = Callable[[Any], object]


def key_wait(view: View, key: Key, condition: KeyCondition | None) -> KeyWait:
    """``ts.wait_key(key, condition)``."""
    if condition is None:
        return KeyWait(view.candidates(key))
    check = condition

    def holds(contents: Contents) -> object:
        timestamp = contents.timestamp if isinstance(contents, Mutable) else None
        try:
            value = read(contents, False)
        except DecodeError as error:
            raise named(error, key) from error
        return check(value, timestamp)

    return KeyWait(view.candidates(key), holds)


def indexed_wait(
    view: View, key: Key, sub_key: object, condition: IndexedCondition | None
) -> IndexedWait:
    """``ts.wait_indexed(key, sub_key, condition)``."""
    keys, encoded = view.candidates(key), encode(sub_key, key)
    if condition is None:
        return IndexedWait(keys, encoded)
    check = condition

    def holds(stored: bytes) -> object:
        try:
            value = decode_value(stored)
        except DecodeError as error:
            raise named(error, key, sub_key) from error
        return check(value)

    return IndexedWait(keys, encoded, holds)
