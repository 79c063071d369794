"""Values as JSON: every value comes back with the same encoding, and anything else is refused."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import codec_values
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import DecodeError, EncodeError, encode_value
from telstate_codec.json_form import value_from_json, value_to_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "$bytes",
                "$array",
                "$scalar",
                "$map",
                "$tuple",
                "$float",
                "$complex",
                "$timestamp",
                "$x",
            ]
        )
        | st.sampled_from(["dtype", "shape", "data", "value"])
        | st.text(max_size=3),
        inner,
        max_size=3,
    ),
    max_leaves=12,
)


@given(st.integers(0, 2**32))
def test_every_value_comes_back(seed: int) -> None:
    """A value that can be encoded has the same encoding after a journey through JSON text."""
    value = codec_values.from_seed(seed)
    try:
        encoded = encode_value(value)
    except EncodeError:
        with pytest.raises(EncodeError):
            encode_value(value_from_json(json.loads(json.dumps(value_to_json(value)))))
        return
    text = json.dumps(value_to_json(value), allow_nan=False)
    assert encode_value(value_from_json(json.loads(text))) == encoded


@given(st.integers(0, 2**64 - 1))
def test_every_float_comes_back(bits: int) -> None:
    """Floats of any bits come back bit by bit, also in complex numbers and scalars."""
    value: float = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    for whole in (value, complex(0.5, value), np.float64(value), np.complex128(complex(value, 1))):
        text = json.dumps(value_to_json(whole), allow_nan=False)
        assert encode_value(value_from_json(json.loads(text))) == encode_value(whole)


@given(JSON)
def test_any_json_is_read_or_refused(content: Any) -> None:
    """Whatever JSON is read is a value, or a DecodeError."""
    try:
        value = value_from_json(content)
    except DecodeError:
        return
    try:
        encode_value(value)
    except EncodeError:  # an integer that is too large, for example
        pass


@pytest.mark.parametrize(
    "content",
    [
        {"$bytes": "?"},
        {"$bytes": 1},
        {"$nothing": 1},
        {"$tuple": 3},
        {"$complex": [1]},
        {"$timestamp": ["x", 1]},
        {"$timestamp": [1, -1]},
        {"$timestamp": 1},
        {"$map": [[[], 1]]},
        {"$float": "1.5"},
        {"$array": None},
        {"$scalar": []},
        {"$scalar": {"dtype": []}},
        {"$array": {"dtype": "O", "shape": [1], "data": ""}},
        {"$array": {"dtype": "<f8", "shape": [1 << 40], "data": ""}},
        {"$array": {"dtype": "<f8", "shape": [1] * 100, "data": "AAAAAAAAAAA="}},
        {"$array": {"dtype": "V0", "shape": [1 << 40], "data": ""}},
        {"$scalar": {"dtype": "<f8", "data": "AAAA"}},
        {"$scalar": {"dtype": "<i2", "value": 1 << 20}},
    ],
    ids=repr,
)
def test_malformed(content: Any) -> None:
    """A mark with the wrong content is a DecodeError that names the mark."""
    with pytest.raises(DecodeError, match=r"\$"):
        value_from_json(content)


def test_timestamps_of_messagepack() -> None:
    """MessagePack's own timestamps, which can be encoded, come back."""
    for time in (msgpack.Timestamp(5), msgpack.Timestamp(-1, 999_999_999)):
        value = {"when": (time,)}
        assert value_from_json(json.loads(json.dumps(value_to_json(value)))) == value


def test_values_without_an_encoding() -> None:
    """A value that cannot be encoded is an error that names its type, once."""
    with pytest.raises(EncodeError, match="^A value of type set has no encoding.$"):
        value_to_json([{1}])
    with pytest.raises(EncodeError, match="^An integer of 16,610 bits is too long for JSON.$"):
        value_to_json(10**5000)


def test_deep_nesting() -> None:
    """Nesting that Python cannot follow is an error, in both directions."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested too deeply"):
        value_to_json(deep)
    with pytest.raises(DecodeError, match="nested too deeply"):
        value_from_json(deep)


def test_dictionaries_that_look_like_marks() -> None:
    """A dictionary whose only key begins like a mark is not taken for one."""
    for value in ({"$bytes": "x"}, {"$": 1}, {"$a": {"$b": math.inf}}, {"$a": 1, "b": 2}, {1: 2}):
        assert value_from_json(json.loads(json.dumps(value_to_json(value)))) == value
