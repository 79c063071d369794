"""What the reading methods mean: each builds a call from a view and the method's arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from telstate.calls.common import Call, encode, missing, named, read, same
from telstate.views import View
from telstate_backends import (
    Contents,
    Exists,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Keys,
    KeyType,
    KeyTypes,
)
from telstate_codec import (
    DecodeError,
    InvalidTimestampError,
    Key,
    SampleArrays,
    decode_key,
    decode_sample_arrays,
    decode_samples,
    decode_value,
    encode_key,
    range_bounds,
)

Found = TypeVar("Found")
Result = TypeVar("Result")


def exists(view: View, key: Key) -> Call[bool]:
    """``key in ts``."""
    return Exists(view.candidates(key)), bool


def key_type(view: View, key: Key) -> Call[KeyType | None]:
    """``ts.key_type(key)``."""
    return GetKeyType(view.candidates(key)), same


def is_immutable(view: View, key: Key) -> Call[bool]:
    """``ts.is_immutable(key)``: an indexed key is not one."""
    return GetKeyType(view.candidates(key)), lambda kind: kind is KeyType.IMMUTABLE


def keys(pattern: Key) -> Call[list[str]]:
    """``ts.keys(filter)``."""
    return Keys(encode_key(pattern)), lambda found: sorted(map(decode_key, found))


def key_types(pattern: Key) -> Call[dict[str, KeyType]]:
    """``ts.key_types(filter)``."""

    def finish(found: dict[bytes, KeyType]) -> dict[str, KeyType]:
        return dict(sorted((decode_key(key), kind) for key, kind in found.items()))

    return KeyTypes(encode_key(pattern)), finish


def get(view: View, key: Key, default: object, return_encoded: bool) -> Call[Any]:
    """``ts.get(key, default)``."""

    def finish(contents: Contents | None) -> object:
        if contents is None:
            return default
        try:
            return read(contents, return_encoded)
        except DecodeError as error:
            raise named(error, key) from error

    return Get(view.candidates(key)), finish


def get_item(view: View, key: Key) -> Call[Any]:
    """``ts[key]``."""
    return Get(view.candidates(key)), _decoding(view, key, read)


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
            raise named(error, key, sub_key) from error

    return GetIndexed(view.candidates(key), encode(sub_key, key)), finish


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

    def decode(members: list[bytes]) -> list[tuple[Any, float]]:
        return decode_samples(members, return_encoded)

    samples = _range(view, key, st, et, include_previous, include_end)
    return samples, _decoding(view, key, decode)


def get_range_arrays(
    view: View,
    key: Key,
    st: float | None,
    et: float | None,
    include_previous: bool | None,
    include_end: bool,
) -> Call[SampleArrays]:
    """``ts.get_range_arrays(key, ...)``."""
    samples = _range(view, key, st, et, include_previous, include_end)
    return samples, _decoding(view, key, decode_sample_arrays)


def _decoding(
    view: View, key: Key, decode: Callable[[Found], Result]
) -> Callable[[Found | None], Result]:
    """Finish a call for a key that must be there: decode what was found; errors name the key."""

    def finish(found: Found | None) -> Result:
        if found is None:
            raise missing(view, key)
        try:
            return decode(found)
        except DecodeError as error:
            raise named(error, key) from error

    return finish


def _range(
    view: View,
    key: Key,
    st: float | None,
    et: float | None,
    include_previous: bool | None,
    include_end: bool,
) -> GetRange:
    """Fill in what is left out of a range of time."""
    end = math.inf if et is None else et
    previous = st is None if include_previous is None else include_previous
    try:
        first, last = range_bounds(end if st is None else st, end, include_end)
    except (InvalidTimestampError, TypeError) as error:
        raise named(error, key) from error
    return GetRange(view.candidates(key), first, last, previous)
