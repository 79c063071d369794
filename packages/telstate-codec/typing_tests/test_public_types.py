"""The public types. mypy checks this file; nothing runs it."""

from __future__ import annotations

from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import telstate_codec as codec
from telstate_codec.previews import preview_value
from telstate_codec.printable import BoundedRepr, bounded_repr, escape

assert_type(codec.encode_value({"a": (1, 2.5)}), bytes)
assert_type(codec.encode_value(1, codec.ENCODING_PICKLE), bytes)
assert_type(codec.decode_value(b"\xff\x01"), Any)
assert_type(codec.decode_value(bytearray(b"\xff\x01"), "safe"), Any)
assert_type(codec.decode_value(memoryview(b"\xff\x01"), allow_pickle=codec.PicklePolicy.SAFE), Any)
assert_type(codec.equal_encoded_values(b"", b""), bool)
assert_type(codec.set_allow_pickle(True, warn=True), None)
assert_type(codec.set_allow_pickle("safe"), None)
assert_type(codec.set_allow_pickle("0"), None)
assert_type(codec.set_allow_pickle("1"), None)

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
assert_type(codec.JoinedSamples(b"", 18)[0], bytes)
assert_type(codec.JoinedSamples.join([b"a"]), codec.JoinedSamples | None)
assert_type(codec.JoinedSamples(b"", 18)[:1], list[bytes])
assert_type(codec.decode_samples(codec.JoinedSamples(b"", 18)), list[tuple[Any, float]])
assert_type(codec.encode_samples([1, "a"], np.arange(2.0)), list[bytes])
assert_type(codec.range_bounds(0.0, 1.0, True), tuple[bytes, bytes])

assert_type(codec.ALLOWED_ENCODINGS, frozenset[bytes])
assert_type(preview_value(b""), str)


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


def policies(allow: codec.AllowPickle, flag: bool, text: str) -> None:
    """A policy for pickles is a bool, one of three texts, or a member of the enum."""
    assert_type(allow, bool | Literal["0", "1", "safe"] | codec.PicklePolicy)
    codec.decode_value(b"", allow)
    codec.decode_value(b"", None)
    codec.decode_value(b"", allow_pickle=flag)
    codec.set_allow_pickle(codec.PicklePolicy(text))
    codec.set_allow_pickle(text)  # type: ignore[arg-type]  # not any text is a policy
    codec.set_allow_pickle("yes")  # type: ignore[arg-type]  # not one of the texts
    codec.set_allow_pickle(b"safe")  # type: ignore[arg-type]  # bytes are not a policy
    codec.decode_value(b"", "SAFE")  # type: ignore[arg-type]  # not one of the texts


codec.encode_key(1)  # type: ignore[arg-type]  # a number is not a key
codec.decode_value("text")  # type: ignore[arg-type]  # an encoded value is bytes
codec.encode_timestamp("now")
assert_type(codec.to_seconds("2026-11-30T12:00:00"), float)
time: codec.Time = np.datetime64("2026-11-30")
assert_type(codec.encode_timestamp(time), bytes)
assert_type(escape("name"), str)
assert_type(bounded_repr(object()), str)
assert_type(BoundedRepr(max_items=3).repr([]), str)
