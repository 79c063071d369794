"""What the writing methods mean: each builds a call from a view and the method's arguments."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, SupportsFloat

from telstate.calls.common import Call, encode, logger, named, nothing, short
from telstate.views import View
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
    decode_value,
    encode_sample,
    encode_samples,
    equal_encoded_values,
    key_repr,
)

#: What a server takes in one atomic step; other clients wait half a second for it.
MOST_SAMPLES = 100_000


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
    target = view.target(key)
    timestamp = time.time() if ts is None else ts
    encoded = encode(value, key, encoding)
    try:
        member = encode_sample(timestamp, encoded)
    except (InvalidTimestampError, TypeError) as error:
        raise named(error, key) from error
    return AddSample(target, member), nothing


def add_many(
    view: View,
    key: Key,
    values: Iterable[object],
    timestamps: Iterable[SupportsFloat],
    encoding: bytes,
) -> Call[None]:
    """``ts.add_many(key, values, timestamps)``."""
    target = view.target(key)
    try:
        members = encode_samples(values, timestamps, encoding)
    except (EncodeError, InvalidTimestampError, TypeError) as error:
        raise named(error, key) from error
    except ValueError as error:
        raise ValueError(f"Key {key_repr(key)}: {error}") from error
    if len(members) > MOST_SAMPLES:
        raise ValueError(
            f"Key {key_repr(key)}: {len(members)} samples are more than the {MOST_SAMPLES} that can be "
            "added at once; add them in several parts."
        )
    return AddSamples(target, tuple(members)), nothing


def set_immutable(
    view: View, key: Key, value: object, encoding: bytes = ENCODING_DEFAULT
) -> Call[None]:
    """``ts[key] = value``."""
    target = view.target(key)
    encoded = encode(value, key, encoding)

    def finish(present: bytes | None) -> None:
        if present is not None:
            refuse_change(key_repr(target), present, encoded, value)

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
            f"Sub-key {short.repr(sub_key)} of key {key_repr(target)} is not hashable, so no dict "
            "can have it; use a tuple instead of a list."
        ) from error
    encoded = encode(value, key, encoding)

    def finish(present: bytes | None) -> None:
        if present is not None:
            refuse_change(f"{key_repr(target)}[{sub_key!r}]", present, encoded, value)

    return SetIndexed(target, encode(sub_key, key), encoded), finish


def delete(view: View, key: Key) -> Call[None]:
    """``ts.delete(key)``."""
    return Delete(view.doomed(key)), nothing


def clear(view: View) -> Call[None]:
    """``ts.clear()``."""
    view.check_writable("the store cannot be cleared")
    return Clear(), nothing


def refuse_change(name: str, present: bytes, encoded: bytes, value: object) -> None:
    """Let an equal value pass that is set again; refuse another one, showing both."""
    try:
        equal = equal_encoded_values(present, encoded)
        old = None if equal else decode_value(present)
    except DecodeError as error:
        raise ImmutableKeyError(
            f"Attempt to change value of immutable key {name} to {short.repr(value)}; "
            f"the value that it has cannot be decoded: {error}"
        ) from error
    if not equal:
        change = f"from {short.repr(old)} to {short.repr(value)}"
        raise ImmutableKeyError(
            f"Attempt to change value of immutable key {name} {change}{_compared(old, value)}"
        )
    logger.info("Immutable key %s was set again to the same value", name)


def _compared(old: object, new: object) -> str:
    """Say what cannot be seen of two values, and for arrays what to do."""
    arrays = [value for value in (old, new) if type(value).__name__ == "ndarray"]
    difference = _differing(*arrays) if len(arrays) == 2 else ""
    if not difference and short.repr(old) == short.repr(new):
        difference = " (they look alike: they differ in type, order or what is not shown)"
    advice = "; delete the key first if it has to change, or add samples to another one"
    return difference + (advice if arrays else "")


def _differing(old: Any, new: Any) -> str:
    """Count in how many elements two arrays differ, if they are of one sort."""
    if (old.dtype, old.shape) != (new.dtype, new.shape) or old.dtype.hasobject:
        return ""
    if not old.nbytes:
        return ""
    # Bytes are what counts: NaN is equal to itself, and -0.0 is not 0.0.
    pair = [array.reshape(-1).copy().view("u1").reshape(array.size, -1) for array in (old, new)]
    count = int((pair[0] != pair[1]).any(axis=1).sum())
    return f": {count} of {old.size} elements differ"
