"""Decoding many samples at once gives the same result as decoding each."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import DecodeError, decode_sample, decode_value, encode_sample, encode_value
from telstate_codec.samples import decode_samples

times = st.floats(min_value=0.0, allow_infinity=False)
floats = st.lists(st.tuples(times, st.floats()))
anything = st.one_of(st.floats(), st.integers(-5, 300), st.text(max_size=12), st.booleans())


@given(st.one_of(floats, st.lists(st.tuples(times, anything))))
def test_samples_are_the_same_as_one_by_one(samples: list[tuple[float, Any]]) -> None:
    """Samples of any types, in any mixture, are decoded as each would be by itself."""
    members = [encode_sample(time, encode_value(value)) for time, value in samples]
    single = [decode_sample(member) for member in members]
    assert repr(decode_samples(members)) == repr([(decode_value(v), t) for t, v in single])
    assert decode_samples(members, return_encoded=True) == [(v, t) for t, v in single]


def test_floats_are_floats() -> None:
    """Floats, special ones included, are decoded to plain floats."""
    values = [0.0, -0.0, math.inf, 1e-320]
    members = [encode_sample(float(n), encode_value(v)) for n, v in enumerate(values)]
    assert repr(decode_samples(members)) == repr([(v, float(n)) for n, v in enumerate(values)])


@given(st.lists(st.binary(max_size=20)))
def test_invalid_bytes(members: list[bytes]) -> None:
    """Any bytes are decoded to samples, or raise DecodeError."""
    try:
        decode_samples(members)
    except DecodeError:
        pass


def test_short_members_raise_decode_error() -> None:
    """The error for a member that is shorter than a timestamp says how long it is."""
    with pytest.raises(DecodeError, match="3 in all"):
        decode_samples([encode_sample(1.0, b"\xff\x01"), b"abc"])
    with pytest.raises(DecodeError, match="3 in all"):
        decode_samples([b"abc"], return_encoded=True)
