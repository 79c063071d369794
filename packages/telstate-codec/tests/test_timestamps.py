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
    encode_samples,
    encode_timestamp,
    range_bounds,
    to_seconds,
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
        with pytest.raises(expected, match="A time must be seconds since 1970, .*, not ") as caught:
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


NOON = 1796040000.0
UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=2))


class Astronomical:
    """A time like those of astropy."""

    def __repr__(self) -> str:
        return "Astronomical"

    unix = np.float64(NOON)


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-30T12:00:00",
        "2026-11-30 12:00Z",
        " 2026-11-30T14:00:00+02:00 ",
        "20261130T120000",
        "1796040000",
        "1.79604e9",
        datetime.datetime(2026, 11, 30, 12, tzinfo=UTC),
        datetime.datetime(2026, 11, 30, 14, tzinfo=EAST),
        np.datetime64("2026-11-30T12:00:00", "ns"),
        np.datetime64("2026-11-30T12:00", "m"),
        np.array("2026-11-30T12:00", "datetime64[ns]"),
        np.int64(1796040000),
        Astronomical(),
    ],
    ids=repr,
)
def test_every_form_of_a_time(time: Any) -> None:
    """Text, datetimes, NumPy's and astropy's times are the seconds that they stand for."""
    assert to_seconds(time) == NOON
    assert encode_timestamp(time) == encode_timestamp(NOON)
    assert range_bounds(time, time, True) == range_bounds(NOON, NOON, True)
    assert encode_samples([1.5], [time]) == encode_samples([1.5], [NOON])


@pytest.mark.parametrize("unit", ["h", "s", "ms", "ns"])
def test_arrays_of_times(unit: str) -> None:
    """An array of NumPy's times is the same as its elements; NaT among them is refused."""
    moments = np.array(["2026-11-30T12:00", "2026-11-30T13:00"], f"datetime64[{unit}]")
    assert encode_samples([1.5, 2.5], moments) == encode_samples([1.5, 2.5], [NOON, NOON + 3600])
    moments[1] = "NaT"
    with pytest.raises(InvalidTimestampError, match="Sample 1 of 2.*NaT"):
        encode_samples([1.5, 2.5], moments)


@given(st.datetimes(datetime.datetime(1970, 1, 1), timezones=st.timezones()))
def test_datetimes_in_every_zone(moment: datetime.datetime) -> None:
    """A datetime, its ISO text and NumPy's time in UTC are the same."""
    seconds = moment.timestamp()
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    assert to_seconds(moment) == seconds
    assert to_seconds(moment.isoformat()) == seconds
    assert to_seconds(utc.isoformat()) == seconds
    assert to_seconds(np.datetime64(utc)) == pytest.approx(seconds, rel=3e-16)


def test_small_numpy_times_are_not_taken_for_seconds() -> None:
    """Half a second after 1970 in nanoseconds, which `float` takes for a number, is half a second."""
    assert to_seconds(np.datetime64(500_000_000, "ns")) == 0.5


def test_naive_datetimes_are_refused() -> None:
    """A datetime without a time zone is a TypeError that says what is missing."""
    time = datetime.datetime(2020, 1, 1)
    for function in (to_seconds, encode_timestamp, lambda time: range_bounds(time, 1.0, False)):
        with pytest.raises(TypeError, match="has no time zone.*tzinfo"):
            function(time)


@pytest.mark.parametrize(
    "time", [np.datetime64("NaT", "ns"), np.array("NaT", "M8[s]"), "2026-13-01", "", "noon"]
)
def test_unreadable_times_are_refused(time: Any) -> None:
    """NaT and text that is neither ISO 8601 nor a number raise InvalidTimestampError."""
    for function in (to_seconds, encode_timestamp, lambda time: range_bounds(0.0, time, True)):
        with pytest.raises(InvalidTimestampError):
            function(time)


class Moment:
    """An object with an attribute `unix`, as astropy's times have."""

    def __init__(self, unix: Any) -> None:
        self.unix = unix


@pytest.mark.parametrize(
    "time",
    [
        None,
        np.timedelta64(10**18, "ns"),
        np.array(5, "timedelta64[ns]"),
        np.array(["2026-11-30"], "datetime64[ns]"),
        datetime.date(2020, 1, 1),
        Moment(np.array([1.0, 2.0])),
    ],
)
def test_times_of_other_types(time: Any) -> None:
    """Objects that are not a time raise a TypeError with their type."""
    for function in (to_seconds, encode_timestamp, lambda time: range_bounds(time, 1.0, False)):
        with pytest.raises(TypeError, match=f"not {type(time).__name__} "):
            function(time)
