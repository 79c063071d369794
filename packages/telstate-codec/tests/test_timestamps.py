"""Timestamps, samples and ranges of time, whose bytes sort by time."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import (
    DecodeError,
    InvalidTimestampError,
    TelstateError,
    decode_sample,
    decode_timestamp,
    encode_sample,
    encode_timestamp,
    range_bounds,
)

times = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)


@given(times)
def test_timestamps_come_back(time: float) -> None:
    """A timestamp is encoded as eight bytes and decoded to the same number."""
    assert len(encode_timestamp(time)) == 8
    assert decode_timestamp(encode_timestamp(time)) == time


@given(times, times)
def test_timestamps_sort_as_bytes(a: float, b: float) -> None:
    """The bytes of timestamps sort as the timestamps do."""
    assert (encode_timestamp(a) < encode_timestamp(b)) == (a < b)
    assert (encode_timestamp(a) == encode_timestamp(b)) == (a == b)


def test_negative_zero_becomes_positive() -> None:
    """Negative zero is written as positive zero."""
    assert encode_timestamp(-0.0) == bytes(8)


@pytest.mark.parametrize("time", [-1.0, -5e-324, math.inf, -math.inf, math.nan, 10**400])
def test_invalid_timestamps_are_refused(time: float) -> None:
    """Negative, infinite and NaN timestamps raise InvalidTimestampError."""
    for encode in (encode_timestamp, lambda time: encode_sample(time, b"")):
        with pytest.raises(InvalidTimestampError) as caught:
            encode(time)
        assert isinstance(caught.value, TelstateError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("time", [None, "noon", b"x", [1.0], 1j, Decimal("sNaN"), "x" * 1000])
def test_times_that_are_not_numbers_are_refused(time: Any) -> None:
    """A time that float() refuses raises an error of the same kind, which says what a time is."""
    with pytest.raises((TypeError, ValueError)) as refused:
        float(time)
    expected = InvalidTimestampError if refused.type is ValueError else TypeError
    for function in (
        encode_timestamp,
        lambda time: range_bounds(time, 1.0, False),
        lambda time: range_bounds(1.0, time, True),
    ):
        with pytest.raises(expected, match="seconds since 1970, not ") as caught:
            function(time)
        assert len(str(caught.value)) < 150


@given(st.decimals(0, 10**12) | st.fractions(0, 10**12) | st.integers(0, 2**80))
def test_times_of_any_numeric_type(time: Any) -> None:
    """Timestamps and ranges accept every type of number, and use the nearest float."""
    assert encode_timestamp(time) == encode_timestamp(float(time))
    assert range_bounds(time, time, True) == range_bounds(float(time), float(time), True)


@given(times, st.binary())
def test_samples_come_back(time: float, value: bytes) -> None:
    """A sample is decoded to its timestamp and its value."""
    assert decode_sample(encode_sample(time, value)) == (time, value)


def test_short_timestamps_and_samples_raise_decode_error() -> None:
    """Fewer than eight bytes raise DecodeError."""
    with pytest.raises(DecodeError, match="8 bytes, not 7"):
        decode_timestamp(bytes(7))
    with pytest.raises(DecodeError, match="8 bytes, but it has 7"):
        decode_sample(bytes(7))


@given(
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    st.booleans(),
    times,
    st.binary(max_size=9),
)
def test_bounds_contain_the_samples_of_the_range(
    start: float, end: float, include_end: bool, time: float, value: bytes
) -> None:
    """A sample is within the bounds if and only if its time is in the range."""
    minimum, maximum = range_bounds(start, end, include_end)
    inside = start <= time < end or (include_end and start <= time == end)
    assert (minimum <= encode_sample(time, value) < maximum) == inside


@given(times)
def test_end_of_range(time: float) -> None:
    """The end itself is in the range only if include_end is set, and the next float never is."""
    sample = encode_sample(time, b"\xff" * 9)
    after = encode_sample(math.nextafter(time, math.inf), b"") if time < 1.7e308 else b"\xff"
    minimum, maximum = range_bounds(time, time, True)
    assert minimum <= sample < maximum <= after
    minimum, maximum = range_bounds(time, time, False)
    assert minimum == maximum


def test_infinite_bounds() -> None:
    """Minus infinity is the start of time, infinity is its end, and NaN is refused."""
    assert range_bounds(-math.inf, math.inf, False) == (bytes(8), b"\x7f\xf0" + bytes(6))
    assert range_bounds(-0.0, math.inf, True) == (bytes(8), b"\x7f\xf0" + bytes(6))
    assert range_bounds(math.inf, -1.0, False) == (b"\x7f\xf0" + bytes(6), bytes(8))
    for start, end in ((math.nan, 1.0), (1.0, math.nan)):
        with pytest.raises(InvalidTimestampError):
            range_bounds(start, end, False)


def test_bounds_too_large_for_a_float_are_infinite() -> None:
    """A bound that is too large for a float is the start or the end of time."""
    huge: Any
    for huge in (10**400, Fraction(10**400)):
        assert range_bounds(-huge, huge, False) == range_bounds(-math.inf, math.inf, False)
        assert range_bounds(huge, -huge, True) == range_bounds(math.inf, -math.inf, True)


@pytest.mark.parametrize(
    ("time", "advice"),
    [
        (datetime.datetime(2020, 1, 1), r"not datetime .*; pass its \.timestamp\(\)\.$"),
        (np.datetime64("2020-01-01T00:00:00", "s"), r"not datetime64 .*; pass \(time - numpy"),
        # `float` converts these to a number of nanoseconds.
        (np.datetime64("2020-01-01T00:00:00", "ns"), r"not datetime64 .*; pass \(time - numpy"),
        (np.datetime64("NaT", "ns"), "not datetime64 "),
        (np.timedelta64(10**18, "ns"), "not timedelta64 "),
        (None, r"not NoneType None\.$"),
    ],
)
def test_times_of_other_types(time: Any, advice: str) -> None:
    """A time of another type is refused, and the message says how to convert it to seconds."""
    with pytest.raises(TypeError, match=advice):
        encode_timestamp(time)
    with pytest.raises(TypeError, match=advice):
        range_bounds(time, math.inf, False)


def test_advice_for_numpy_times_is_right() -> None:
    """The expression in the message for NumPy times converts them to seconds."""
    for unit in ("s", "ns"):
        time = np.datetime64("1970-01-02T00:00:00.5", unit)
        seconds = (time - np.datetime64(0, "s")) / np.timedelta64(1, "s")
        assert encode_timestamp(seconds) == encode_timestamp(86400.0 if unit == "s" else 86400.5)
