"""The public types, pinned: mypy checks this file, nothing runs it."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import telstate_codec as codec

assert_type(codec.encode_value({"a": (1, 2.5)}), bytes)
assert_type(codec.encode_value(1, codec.ENCODING_PICKLE), bytes)
assert_type(codec.decode_value(b"\xff\x01"), Any)
assert_type(codec.decode_value(bytearray(b"\xff\x01"), "safe"), Any)
assert_type(codec.decode_value(memoryview(b"\xff\x01"), allow_pickle=codec.PicklePolicy.SAFE), Any)
assert_type(codec.equal_encoded_values(b"", b""), bool)
assert_type(codec.set_allow_pickle(True, warn=True), None)

assert_type(codec.encode_key("key"), bytes)
assert_type(codec.encode_key(b"key"), bytes)
assert_type(codec.decode_key(b"key"), str)
assert_type(codec.key_repr("key"), str)

assert_type(codec.encode_timestamp(1.0), bytes)
assert_type(codec.decode_timestamp(bytes(8)), float)
assert_type(codec.encode_sample(1.0, b""), bytes)
assert_type(codec.decode_sample(bytes(8)), tuple[float, bytes])
assert_type(codec.decode_samples([b""]), list[tuple[Any, float]])
assert_type(codec.decode_sample_arrays([b""]), codec.SampleArrays)
assert_type(codec.decode_sample_arrays([b""]).timestamps, NDArray[np.float64])
assert_type(codec.decode_sample_arrays([b""]).values, NDArray[Any])
assert_type(codec.encode_samples([1, "a"], np.arange(2.0)), list[bytes])
assert_type(codec.range_bounds(0.0, 1.0, True), tuple[bytes, bytes])

assert_type(codec.ALLOWED_ENCODINGS, frozenset[bytes])


def errors(one: codec.TelstateError) -> None:
    """Every error is a TelstateError, and some are a ValueError."""
    runtime_error: RuntimeError = one
    errors(codec.InvalidKeyError())
    errors(codec.DecodeError())
    value_errors: list[ValueError] = [
        codec.DecodeError(),
        codec.EncodeError(),
        codec.InvalidTimestampError(),
    ]
    print(runtime_error, value_errors)


def keys(key: codec.Key) -> None:
    """A key is text or bytes."""
    assert_type(key, str | bytes)


codec.encode_key(1)  # type: ignore[arg-type]  # a key is no number
codec.decode_value("text")  # type: ignore[arg-type]  # an encoded value is bytes
codec.encode_timestamp("now")  # type: ignore[arg-type]  # a timestamp is a number
codec.set_allow_pickle(b"safe")  # type: ignore[arg-type]  # a policy is text, a bool or an enum
