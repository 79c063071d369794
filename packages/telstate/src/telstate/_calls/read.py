"""The calls that read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from telstate._calls.common import Call, encode, with_key
from telstate._suggest import missing_key
from telstate._view import View
from telstate_backends import (
    Contents,
    Exists,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Glob,
    Indexed,
    Keys,
    KeyType,
    KeyTypes,
)
from telstate_codec import (
    DecodeError,
    InvalidTimestampError,
    Key,
    SampleArrays,
    Time,
    decode_key,
    decode_sample_arrays,
    decode_samples,
    decode_value,
    encode_key,
    range_bounds,
)
from telstate_codec.printable import bounded_repr

Result = TypeVar("Result")


def exists(view: View, key: Key) -> Call[bool]:
    """``key in ts``."""
    return Exists(view.candidates(key)), bool


def key_type(view: View, key: Key) -> Call[KeyType | None]:
    """``ts.key_type(key)``."""
    return GetKeyType(view.candidates(key)), _return_kind


def keys(pattern: Key, view: View | None = None) -> Call[list[str]]:
    """``ts.keys(filter)``; with a view, the names in it."""
    if view is None:
        return Keys(encode_key(pattern)), _sort_keys
    return Keys(), partial(_names_in_view, view, Glob(encode_key(pattern)))


def key_types(pattern: Key, view: View | None = None) -> Call[dict[str, KeyType]]:
    """``ts.key_types(filter)``; with a view, the names in it."""
    if view is None:
        return KeyTypes(encode_key(pattern)), _sort_key_types
    return KeyTypes(b"*"), partial(_kinds_in_view, view, Glob(encode_key(pattern)))


def get(view: View, key: Key, default: object, return_encoded: bool) -> Call[Any]:
    """``ts.get(key, default)``."""
    return Get(view.candidates(key)), partial(decode_contents, key, default, return_encoded)


def get_item(view: View, key: Key) -> Call[Any]:
    """``ts[key]``."""
    return Get(view.candidates(key)), partial(_decode_existing, view, key)


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
            raise with_key(error, key, sub_key) from error

    return GetIndexed(view.candidates(key), encode(sub_key, key)), finish


def get_range(
    view: View,
    key: Key,
    st: Time | None,
    et: Time | None,
    include_previous: bool | None,
    include_end: bool,
    return_encoded: bool,
) -> Call[list[tuple[Any, float]]]:
    """``ts.get_range(key, ...)``."""
    decode = partial(decode_samples, return_encoded=True) if return_encoded else decode_samples
    samples = _range(view, key, st, et, include_previous, include_end)
    return samples, partial(_decode_samples, decode, view, key)


def get_range_arrays(
    view: View,
    key: Key,
    st: Time | None,
    et: Time | None,
    include_previous: bool | None,
    include_end: bool,
) -> Call[SampleArrays]:
    """``ts.get_range_arrays(key, ...)``."""
    samples = _range(view, key, st, et, include_previous, include_end)
    return samples, partial(_decode_samples, decode_sample_arrays, view, key)


def decode_contents(
    key: Key, default: object, return_encoded: bool, contents: Contents | None
) -> Any:
    """Return what reading a key returns; an error names the key."""
    if contents is None:
        return default
    try:
        if isinstance(contents, Indexed):
            return contents.items if return_encoded else _decode_items(contents.items)
        return contents.value if return_encoded else decode_value(contents.value)
    except DecodeError as error:
        raise with_key(error, key) from error


def _decode_existing(view: View, key: Key, contents: Contents | None) -> Any:
    if contents is None:
        raise missing_key(view, key)
    return decode_contents(key, None, False, contents)


def _decode_samples(
    decode: Callable[[Sequence[bytes]], Result],
    view: View,
    key: Key,
    samples: Sequence[bytes] | None,
) -> Result:
    if samples is None:
        raise missing_key(view, key)
    try:
        return decode(samples)
    except DecodeError as error:
        raise with_key(error, key) from error


def _range(
    view: View,
    key: Key,
    st: Time | None,
    et: Time | None,
    include_previous: bool | None,
    include_end: bool,
) -> GetRange:
    """Apply the defaults of a time range."""
    end = math.inf if et is None else et
    previous = st is None if include_previous is None else include_previous
    try:
        first, last = range_bounds(end if st is None else st, end, include_end)
    except (InvalidTimestampError, TypeError) as error:
        raise with_key(error, key) from error
    return GetRange(view.candidates(key), first, last, previous)


def _return_kind(kind: KeyType | None) -> KeyType | None:
    return kind


def _sort_keys(found: list[bytes]) -> list[str]:
    return sorted(map(decode_key, found))


def _sort_key_types(found: dict[bytes, KeyType]) -> dict[str, KeyType]:
    return dict(sorted((decode_key(key), kind) for key, kind in found.items()))


def _names_in_view(view: View, glob: Glob, found: Iterable[bytes]) -> list[str]:
    return [name for name in view.names(map(decode_key, found)) if glob.matches(encode_key(name))]


def _kinds_in_view(view: View, glob: Glob, found: dict[bytes, KeyType]) -> dict[str, KeyType]:
    names = view.names(map(decode_key, found))
    return {
        name: found[encode_key(key)]
        for name, key in names.items()
        if glob.matches(encode_key(name))
    }


def _decode_items(items: dict[bytes, bytes]) -> dict[Any, Any]:
    decoded: dict[Any, Any] = {}
    for encoded, value in items.items():
        sub_key = decode_value(encoded)
        try:
            decoded[sub_key] = decode_value(value)
        except TypeError as error:
            raise DecodeError(f"the sub-key {bounded_repr(sub_key)} is not hashable") from error
    return decoded
