"""What each method of a telescope state means, without doing it.

A `Call` is a pair: the operation to execute, and what to make of its result. The functions here build calls
from a view and the method's arguments; they do no I/O, so that the synchronous class, the asyncio class
and batches share all of it: each method is "build the call, execute its operation, finish".
"""

from __future__ import annotations

import logging
import math
import reprlib
import time
from collections.abc import Callable
from typing import Any, SupportsFloat, TypeAlias, TypeVar

from telstate.views import View
from telstate_backends import (
    AddSample,
    Clear,
    Contents,
    Delete,
    Exists,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    ImmutableKeyError,
    Indexed,
    Keys,
    KeyType,
    Mutable,
    Operation,
    SetImmutable,
    SetIndexed,
)
from telstate_backends.waiting import IndexedWait, KeyWait
from telstate_codec import (
    ENCODING_DEFAULT,
    DecodeError,
    EncodeError,
    InvalidTimestampError,
    Key,
    decode_key,
    decode_samples,
    decode_value,
    encode_key,
    encode_sample,
    encode_value,
    equal_encoded_values,
    key_repr,
    range_bounds,
)

logger = logging.getLogger("telstate")

Result = TypeVar("Result")
KeyCondition = Callable[[Any, float | None], object]
IndexedCondition = Callable[[Any], object]

# Values in messages: enough to recognise them, never a megabyte of configuration.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
_short.maxdict = _short.maxlist = _short.maxtuple = 10


# One method call: what the backend is to execute, and what turns its result into the method's (or
# raises). A plain tuple, because one is made for every call, and nothing is made faster.
Call: TypeAlias = tuple[Operation[Any], Callable[[Any], Result]]


def exists(view: View, key: Key) -> Call[bool]:
    """``key in ts``."""
    return Exists(view.candidates(key)), bool


def key_type(view: View, key: Key) -> Call[KeyType | None]:
    """``ts.key_type(key)``."""
    return GetKeyType(view.candidates(key)), _same


def is_immutable(view: View, key: Key) -> Call[bool]:
    """``ts.is_immutable(key)``: an indexed key is not one."""
    return GetKeyType(view.candidates(key)), lambda kind: kind is KeyType.IMMUTABLE


def keys(pattern: Key) -> Call[list[str]]:
    """``ts.keys(filter)``."""
    return Keys(encode_key(pattern)), lambda found: sorted(map(decode_key, found))


def get(view: View, key: Key, default: object, return_encoded: bool) -> Call[Any]:
    """``ts.get(key, default)``."""

    def finish(contents: Contents | None) -> object:
        if contents is None:
            return default
        try:
            return _read(contents, return_encoded)
        except DecodeError as error:
            raise _named(error, key) from error

    return Get(view.candidates(key)), finish


def get_item(view: View, key: Key) -> Call[Any]:
    """``ts[key]``."""

    def finish(contents: Contents | None) -> object:
        if contents is None:
            raise missing(view, key)
        try:
            return _read(contents, False)
        except DecodeError as error:
            raise _named(error, key) from error

    return Get(view.candidates(key)), finish


def get_indexed(
    view: View, key: Key, sub_key: object, default: object, return_encoded: bool
) -> Call[Any]:
    """``ts.get_indexed(key, sub_key, default)``."""

    def finish(value: bytes | None) -> object:
        if value is None:
            return default
        try:
            return value if return_encoded else decode_value(value)
        except DecodeError as error:
            raise _named(error, key, sub_key) from error

    return GetIndexed(view.candidates(key), _encode(sub_key, key)), finish


def get_range(
    view: View,
    key: Key,
    st: float | None,
    et: float | None,
    include_previous: bool | None,
    include_end: bool,
    return_encoded: bool,
) -> Call[list[tuple[Any, float]]]:
    """``ts.get_range(key, ...)``."""
    end = math.inf if et is None else et
    previous = st is None if include_previous is None else include_previous
    first, last = range_bounds(end if st is None else st, end, include_end)

    def finish(members: list[bytes] | None) -> list[tuple[Any, float]]:
        if members is None:
            raise missing(view, key)
        try:
            return decode_samples(members, return_encoded)
        except DecodeError as error:
            raise _named(error, key) from error

    return GetRange(view.candidates(key), first, last, previous), finish


def add(
    view: View,
    key: Key,
    value: object,
    ts: SupportsFloat | None,
    immutable: bool,
    encoding: bytes,
) -> Call[None]:
    """``ts.add(key, value, ts)``."""
    if immutable:
        return set_immutable(view, key, value, encoding)
    timestamp = time.time() if ts is None else ts
    encoded = _encode(value, key, encoding)
    try:
        member = encode_sample(timestamp, encoded)
    except InvalidTimestampError as error:
        raise _named(error, key) from error
    return AddSample(view.target(key), member), _nothing


def set_immutable(
    view: View, key: Key, value: object, encoding: bytes = ENCODING_DEFAULT
) -> Call[None]:
    """``ts[key] = value``."""
    target = view.target(key)
    encoded = _encode(value, key, encoding)

    def finish(present: bytes | None) -> None:
        if present is not None:
            _compare(key_repr(target), present, encoded, value)

    return SetImmutable(target, encoded), finish


def set_indexed(
    view: View, key: Key, sub_key: object, value: object, encoding: bytes
) -> Call[None]:
    """``ts.set_indexed(key, sub_key, value)``."""
    target = view.target(key)
    try:
        hash(sub_key)  # A TypeError now is better than a dict that cannot be built when it is read.
    except TypeError as error:
        raise TypeError(
            f"Sub-key {_short.repr(sub_key)} of key {key_repr(target)} is not hashable, so no dict "
            "can have it; use a tuple instead of a list."
        ) from error
    encoded = _encode(value, key, encoding)

    def finish(present: bytes | None) -> None:
        if present is not None:
            _compare(f"{key_repr(target)}[{sub_key!r}]", present, encoded, value)

    return SetIndexed(target, _encode(sub_key, key), encoded), finish


def delete(view: View, key: Key) -> Call[None]:
    """``ts.delete(key)``."""
    return Delete(view.candidates(key)), _nothing


def clear() -> Call[None]:
    """``ts.clear()``."""
    return Clear(), _nothing


def missing(view: View, key: Key) -> KeyError:
    """Make the error for a key that none of the view's prefixes has."""
    prefixes = ", ".join(map(repr, view.prefixes))
    where = "" if view.prefixes == ("",) else f" under any of the prefixes {prefixes}"
    return KeyError(f"{key_repr(key)} not found{where}")


def key_wait(view: View, key: Key, condition: KeyCondition | None) -> KeyWait:
    """``ts.wait_key(key, condition)``."""
    if condition is None:
        return KeyWait(view.candidates(key))
    check = condition

    def holds(contents: Contents) -> object:
        timestamp = contents.timestamp if isinstance(contents, Mutable) else None
        return check(_read(contents, False), timestamp)

    return KeyWait(view.candidates(key), holds)


def indexed_wait(
    view: View, key: Key, sub_key: object, condition: IndexedCondition | None
) -> IndexedWait:
    """``ts.wait_indexed(key, sub_key, condition)``."""
    keys, encoded = view.candidates(key), encode_value(sub_key)
    if condition is None:
        return IndexedWait(keys, encoded)
    check = condition
    return IndexedWait(keys, encoded, lambda value: check(decode_value(value)))


def _read(contents: Contents, return_encoded: bool) -> Any:
    """Give what a reader of a key gets."""
    if isinstance(contents, Indexed):
        if return_encoded:
            return contents.items
        return _decode_items(contents.items)
    return contents.value if return_encoded else decode_value(contents.value)


CodecError = TypeVar("CodecError", DecodeError, EncodeError, InvalidTimestampError)


def _named(error: CodecError, key: Key, *sub_key: object) -> CodecError:
    """Make an error of the codec again, with the key in its text."""
    place = "".join(f"[{_short.repr(one)}]" for one in sub_key)
    return type(error)(f"Key {key_repr(key)}{place}: {error}")


def _encode(value: object, key: Key, encoding: bytes = ENCODING_DEFAULT) -> bytes:
    """Encode a value; an error names the key that it is for."""
    try:
        return encode_value(value, encoding)
    except EncodeError as error:
        raise _named(error, key) from error


def _decode_items(items: dict[bytes, bytes]) -> dict[Any, Any]:
    """Decode sub-keys and values; a sub-key that no dict can have is an error of the data."""
    decoded: dict[Any, Any] = {}
    for sub_key, value in items.items():
        name = decode_value(sub_key)
        try:
            decoded[name] = decode_value(value)
        except TypeError as error:
            raise DecodeError(f"the sub-key {_short.repr(name)} is not hashable") from error
    return decoded


def _compare(name: str, present: bytes, encoded: bytes, value: object) -> None:
    """Let an equal value pass that is set again; refuse another one, showing both."""
    try:
        equal = equal_encoded_values(present, encoded)
        old = "" if equal else _short.repr(decode_value(present))
    except DecodeError as error:
        raise ImmutableKeyError(
            f"Attempt to change value of immutable key {name} to {_short.repr(value)}; "
            f"the value that it has cannot be decoded: {error}"
        ) from error
    if not equal:
        new = _short.repr(value)
        alike = " (they look alike: they differ in type, order or what is not shown)"
        raise ImmutableKeyError(
            f"Attempt to change value of immutable key {name} from {old} to {new}"
            f"{alike if old == new else ''}"
        )
    logger.info("Immutable key %s was set again to the same value", name)


def _same(result: Result) -> Result:
    return result


def _nothing(result: object) -> None:
    """Finish a call whose result does not matter."""
