"""The calls that write."""

from __future__ import annotations

import time
from collections.abc import Iterable

from telstate._calls.common import Call, encode, logger, with_key
from telstate._view import View
from telstate_backends import (
    AddSample,
    AddSamples,
    Clear,
    Delete,
    ImmutableKeyError,
    SetImmutable,
    SetIndexed,
)
from telstate_codec import (
    ENCODING_DEFAULT,
    DecodeError,
    EncodeError,
    InvalidTimestampError,
    Key,
    Time,
    decode_value,
    encode_sample,
    encode_samples,
    encode_value,
    equal_encoded_values,
    key_repr,
)
from telstate_codec.printable import bounded_repr

# Adding this many samples in one atomic step holds up other clients of a server for half a second.
MAX_SAMPLES = 100_000


def add(
    view: View,
    key: Key,
    value: object,
    ts: Time | None,
    immutable: bool,
    encoding: bytes,
) -> Call[None]:
    """``ts.add(key, value, ts)``."""
    if immutable:
        return set_immutable(view, key, value, encoding)
    target = view.target(key)
    timestamp = time.time() if ts is None else ts
    try:
        sample = encode_sample(timestamp, encode_value(value, encoding))
    except (EncodeError, InvalidTimestampError, TypeError) as error:
        raise with_key(error, key) from error
    return AddSample(target, sample), _return_none


def add_many(
    view: View,
    key: Key,
    values: Iterable[object],
    timestamps: Iterable[Time],
    encoding: bytes,
) -> Call[None]:
    """``ts.add_many(key, values, timestamps)``."""
    target = view.target(key)
    try:
        samples = encode_samples(values, timestamps, encoding)
    except (EncodeError, InvalidTimestampError, TypeError) as error:
        raise with_key(error, key) from error
    except ValueError as error:
        raise ValueError(f"Key {key_repr(key)}: {error}") from error
    if len(samples) > MAX_SAMPLES:
        raise ValueError(
            f"Key {key_repr(key)}: cannot add {len(samples)} samples at once. "
            f"Add at most {MAX_SAMPLES} in a call."
        )
    return AddSamples(target, tuple(samples)), _return_none


def set_immutable(
    view: View, key: Key, value: object, encoding: bytes = ENCODING_DEFAULT
) -> Call[None]:
    """``ts[key] = value``."""
    target = view.target(key)
    encoded = encode(value, key, encoding)

    def finish(present: bytes | None) -> None:
        if present is not None:
            check_unchanged(key_repr(target), present, encoded, value)

    return SetImmutable(target, encoded), finish


def set_indexed(
    view: View, key: Key, sub_key: object, value: object, encoding: bytes
) -> Call[None]:
    """``ts.set_indexed(key, sub_key, value)``."""
    target = view.target(key)
    try:
        hash(sub_key)  # otherwise the key could be written, but not read as a dict
    except TypeError as error:
        raise TypeError(
            f"Sub-key {bounded_repr(sub_key)} of key {key_repr(target)} is not hashable. "
            "Use a tuple instead of a list."
        ) from error
    encoded = encode(value, key, encoding)

    def finish(present: bytes | None) -> None:
        if present is not None:
            check_unchanged(f"{key_repr(target)}[{bounded_repr(sub_key)}]", present, encoded, value)

    return SetIndexed(target, encode(sub_key, key), encoded), finish


def delete(view: View, key: Key) -> Call[None]:
    """``ts.delete(key)``."""
    view.check_writable(f"delete key {key_repr(key)}")
    return Delete(view.candidates(key)), _return_none


def clear(view: View) -> Call[None]:
    """``ts.clear()``."""
    view.check_writable("clear the store")
    return Clear(), _return_none


def check_unchanged(name: str, present: bytes, encoded: bytes, value: object) -> None:
    """Raise `ImmutableKeyError` unless an immutable is set to an equal value again."""
    try:
        if equal_encoded_values(present, encoded):
            logger.info("Immutable key %s was set again to the same value", name)
            return
        old = bounded_repr(decode_value(present))
    except DecodeError as error:
        raise ImmutableKeyError(
            f"Attempt to change value of immutable key {name} to {bounded_repr(value)}, but "
            f"failed to decode the previous value: {error}"
        ) from error
    new = bounded_repr(value)
    note = " (they differ in type, order or a part that is not shown)" if old == new else ""
    raise ImmutableKeyError(
        f"Attempt to change value of immutable key {name} from {old} to {new}{note}"
    )


def _return_none(result: object) -> None:
    return None
