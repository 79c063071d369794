"""Keys as bytes and text; timestamps, samples and ranges of time in byte order."""

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
    InvalidKeyError,
    InvalidTimestampError,
    TelstateError,
    decode_key,
    decode_sample,
    decode_timestamp,
    encode_key,
    encode_sample,
    encode_timestamp,
    key_repr,
    range_bounds,
)

times = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)


@given(st.binary())
def test_any_bytes_are_a_key(key: bytes) -> None:
    """A key survives the way to text and back, even if it is not UTF-8."""
    assert encode_key(decode_key(key)) == key
    assert encode_key(key) == key


@given(st.text())
def test_any_text_is_a_key(key: str) -> None:
    """Text is UTF-8 in the store."""
    assert encode_key(key) == key.encode()
    assert decode_key(encode_key(key)) == key


def test_keys_that_cannot_be() -> None:
    """Text that stands for no bytes is an InvalidKeyError; what is no text or bytes a TypeError."""
    with pytest.raises(InvalidKeyError, match="surrogate"):
        encode_key("a\ud800")
    for wrong in (None, 3, bytearray(b"a"), ["a"]):
        with pytest.raises(TypeError, match="must be str or bytes"):
            encode_key(wrong)  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(TypeError, match="must be str or bytes"):
            key_repr(wrong)  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize("wrong", ["a", None, 3, ["a"]])
def test_keys_from_the_store_are_bytes(wrong: Any) -> None:
    """What is not bytes is a TypeError that says which type it is of instead."""
    with pytest.raises(TypeError, match=f"must be bytes, not {type(wrong).__name__}: "):
        decode_key(wrong)


def test_keys_in_messages() -> None:
    """Keys are shown as text, or as bytes where they are not UTF-8."""
    assert key_repr("gain") == key_repr(b"gain") == "'gain'"
    assert key_repr(b"caf\xe9") == key_repr("caf\udce9") == r"b'caf\xe9'"
    assert key_repr("a\ud800") == r"'a\ud800'"


@given(times)
def test_timestamps_come_back(time: float) -> None:
    """A timestamp is eight bytes, which give it back."""
    assert len(encode_timestamp(time)) == 8
    assert decode_timestamp(encode_timestamp(time)) == time


@given(times, times)
def test_timestamps_sort_as_bytes(a: float, b: float) -> None:
    """The bytes of timestamps sort as the timestamps do."""
    assert (encode_timestamp(a) < encode_timestamp(b)) == (a < b)
    assert (encode_timestamp(a) == encode_timestamp(b)) == (a == b)


def test_there_is_one_zero() -> None:
    """Negative zero is written as positive zero."""
    assert encode_timestamp(-0.0) == bytes(8)


@pytest.mark.parametrize("time", [-1.0, -5e-324, math.inf, -math.inf, math.nan, 10**400])
def test_timestamps_that_cannot_be(time: float) -> None:
    """Negative, infinite and other odd timestamps are refused."""
    for encode in (encode_timestamp, lambda time: encode_sample(time, b"")):
        with pytest.raises(InvalidTimestampError) as caught:
            encode(time)
        assert isinstance(caught.value, TelstateError)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("time", [None, "noon", b"x", [1.0], 1j, Decimal("sNaN"), "x" * 1000])
def test_times_that_are_no_numbers(time: Any) -> None:
    """What float() does not take is an error of the same kind, which says what a time is."""
    with pytest.raises((TypeError, ValueError)) as refused:
        float(time)
    expected = InvalidTimestampError if refused.type is ValueError else TypeError
    for wants_time in (
        encode_timestamp,
        lambda time: range_bounds(time, 1.0, False),
        lambda time: range_bounds(1.0, time, True),
    ):
        with pytest.raises(expected, match="seconds since 1970, not ") as caught:
            wants_time(time)
        assert len(str(caught.value)) < 150


@given(st.decimals(0, 10**12) | st.fractions(0, 10**12) | st.integers(0, 2**80))
def test_times_of_any_numeric_type(time: Any) -> None:
    """Timestamps and ranges take every number, as the nearest float."""
    assert encode_timestamp(time) == encode_timestamp(float(time))
    assert range_bounds(time, time, True) == range_bounds(float(time), float(time), True)


@given(times, st.binary())
def test_samples_come_back(time: float, value: bytes) -> None:
    """A sample is its timestamp and its value."""
    assert decode_sample(encode_sample(time, value)) == (time, value)


def test_timestamps_and_samples_that_are_too_short() -> None:
    """Fewer than eight bytes are a DecodeError."""
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
def test_ranges_hold_what_they_say(
    start: float, end: float, include_end: bool, time: float, value: bytes
) -> None:
    """A sample is within the bounds as bytes exactly if its time is in the range."""
    minimum, maximum = range_bounds(start, end, include_end)
    inside = start <= time < end or (include_end and start <= time == end)
    assert (minimum <= encode_sample(time, value) < maximum) == inside


@given(times)
def test_ends_of_ranges(time: float) -> None:
    """The end itself is in the range if it is to be, and the next float is not."""
    sample = encode_sample(time, b"\xff" * 9)
    after = encode_sample(math.nextafter(time, math.inf), b"") if time < 1.7e308 else b"\xff"
    minimum, maximum = range_bounds(time, time, True)
    assert minimum <= sample < maximum <= after
    minimum, maximum = range_bounds(time, time, False)
    assert minimum == maximum


def test_ranges_without_bounds() -> None:
    """Minus infinity is the start of time, plus infinity its end, and NaN is refused."""
    assert range_bounds(-math.inf, math.inf, False) == (bytes(8), b"\x7f\xf0" + bytes(6))
    assert range_bounds(-0.0, math.inf, True) == (bytes(8), b"\x7f\xf0" + bytes(6))
    assert range_bounds(math.inf, -1.0, False) == (b"\x7f\xf0" + bytes(6), bytes(8))
    for start, end in ((math.nan, 1.0), (1.0, math.nan)):
        with pytest.raises(InvalidTimestampError):
            range_bounds(start, end, False)


def test_bounds_too_large_for_a_float_are_infinite() -> None:
    """A bound beyond all floats is as good as the start or the end of time."""
    huge: Any
    for huge in (10**400, Fraction(10**400)):
        assert range_bounds(-huge, huge, False) == range_bounds(-math.inf, math.inf, False)
        assert range_bounds(huge, -huge, True) == range_bounds(math.inf, -math.inf, True)


@pytest.mark.parametrize(
    ("time", "advice"),
    [
        (datetime.datetime(2020, 1, 1), r"not datetime .*; pass its \.timestamp\(\)\.$"),
        (np.datetime64("2020-01-01T00:00:00", "s"), r"not datetime64 .*; pass \(time - numpy"),
        # Of which `float` makes a number of nanoseconds.
        (np.datetime64("2020-01-01T00:00:00", "ns"), r"not datetime64 .*; pass \(time - numpy"),
        (np.datetime64("NaT", "ns"), "not datetime64 "),
        (np.timedelta64(10**18, "ns"), "not timedelta64 "),
        (None, r"not NoneType None\.$"),
    ],
)
def test_times_of_other_types(time: Any, advice: str) -> None:
    """What has a time but is no number of seconds is refused, with a word about how to get one."""
    with pytest.raises(TypeError, match=advice):
        encode_timestamp(time)
    with pytest.raises(TypeError, match=advice):
        range_bounds(time, math.inf, False)


def test_advice_gives_seconds() -> None:
    """What the error for a NumPy time says to give is what is meant."""
    for unit in ("s", "ns"):
        time = np.datetime64("1970-01-02T00:00:00.5", unit)
        seconds = (time - np.datetime64(0, "s")) / np.timedelta64(1, "s")
        assert encode_timestamp(seconds) == encode_timestamp(86400.0 if unit == "s" else 86400.5)
