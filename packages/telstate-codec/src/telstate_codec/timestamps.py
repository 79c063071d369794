"""Timestamps, the members of a sensor's sorted set, and ranges of time.

A sensor (mutable key) is a sorted set whose members all have score 0, and so are sorted by their
bytes. A member is a timestamp, as a big-endian float64 of eight bytes, followed by the encoded value.
Finite floats that are not negative sort the same as these bytes, which is why no others are stored,
why -0.0 becomes +0.0, and why the next larger float has the next larger bit pattern.

Timestamps are in seconds since the Unix epoch. Wherever a time is taken, it may also be a datetime with
a time zone, a `numpy.datetime64`, ISO 8601 text, or an object with a ``unix`` attribute: see `Time`.
"""

from __future__ import annotations

import math
import struct
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Protocol, SupportsFloat, TypeAlias

from .errors import DecodeError, InvalidTimestampError
from .printable import BoundedRepr

_FLOAT: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")

SIZE: Final = _FLOAT.size
_INFINITY_BITS: Final = 0x7FF0_0000_0000_0000

if TYPE_CHECKING:
    import numpy as np


class HasUnixTime(Protocol):
    """A time with its seconds since 1970 as the attribute ``unix``, such as `astropy.time.Time`."""

    @property
    def unix(self) -> Any:
        """Seconds since 1970, a number."""


Time: TypeAlias = "SupportsFloat | str | datetime | np.datetime64 | HasUnixTime"
"""What is taken for a time.

* A number of seconds since 1970, of any type that `float` accepts.
* A `datetime.datetime` with a time zone, which includes `pandas.Timestamp`.
* A `numpy.datetime64`, in UTC, also as an array without dimensions.
* A `str`: ISO 8601, in UTC unless it has an offset (``2026-11-30T04:05:06.5``), or a number of seconds. Digits
  alone are a number, so a date has hyphens.
* An object with an attribute ``unix`` (`astropy.time.Time`).
"""


def to_seconds(time: Time) -> float:
    """Return a time as seconds since 1970.

    Parameters
    ----------
    time
        A `Time`.

    Raises
    ------
    InvalidTimestampError
        If a text cannot be read, or the time is NaT.
    OverflowError
        If a number is too large for a float.
    TypeError
        If it is a datetime without a time zone, or anything else that is not a time.

    Examples
    --------
    >>> to_seconds("2026-11-30T12:00:00.5"), to_seconds("2026-11-30T14:00+02:00"), to_seconds("12.5")
    (1796040000.5, 1796040000.0, 12.5)
    >>> import datetime
    >>> to_seconds(datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.timezone.utc))
    1796040000.0
    >>> to_seconds(datetime.datetime(2026, 11, 30, 12))
    Traceback (most recent call last):
    ...
    TypeError: datetime 2026-11-30 12:00:00 has no time zone. Give it one, such as tzinfo=datetime.timezone.utc.
    """
    if isinstance(time, (float, int)):
        return float(time)
    if isinstance(time, str):
        return _parse(time)
    if isinstance(time, datetime):
        if time != time:
            raise InvalidTimestampError("NaT is not a time.")
        if time.utcoffset() is None:
            raise TypeError(
                f"{type(time).__name__} {time} has no time zone. Give it one, such as "
                "tzinfo=datetime.timezone.utc."
            )
        return time.timestamp()
    # NumPy and others convert such times to numbers of their units.
    if getattr(getattr(time, "dtype", None), "kind", "") in ("M", "m"):
        return _convert_numpy(time)
    unix = getattr(time, "unix", None)
    try:
        return float(time if unix is None else unix)  # type: ignore[arg-type]  # whatever else it may be
    except (TypeError, ValueError) as error:
        raise _not_a_time(time, error) from error


def _parse(text: str) -> float:
    """Return the seconds of ISO 8601 text, or of a number as text."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise _not_a_time(text, error) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _convert_numpy(time: Any) -> float:
    """Return the seconds of a `numpy.datetime64`, or of an array of one without dimensions."""
    if time.dtype.kind == "m" or time.shape:
        raise _not_a_time(time, TypeError())
    seconds = float(convert_numpy(time))
    if math.isnan(seconds):
        raise InvalidTimestampError("NaT is not a time.")
    return seconds


def convert_numpy(times: Any) -> Any:
    """Return the seconds of a `numpy.datetime64`, or of an array of them; NaN for NaT."""
    import numpy as np

    # In two parts: nanoseconds since 1970 have more digits than a float.
    whole = times.astype("datetime64[s]")
    return whole.astype(np.int64) + (times - whole) / np.timedelta64(1, "s")


def encode_timestamp(timestamp: Time) -> bytes:
    r"""Return the eight bytes of a timestamp.

    Parameters
    ----------
    timestamp
        A `Time`: seconds, finite and not negative, or another form of a time since 1970.

    Raises
    ------
    InvalidTimestampError
        If it is negative, infinite, NaN, too large for a float, or a text that cannot be read.
    TypeError
        If it is a datetime without a time zone, or not a time.

    Examples
    --------
    >>> encode_timestamp(1234567890.5)
    b'A\xd2e\x80\xb4\xa0\x00\x00'
    >>> encode_timestamp(-0.0)
    b'\x00\x00\x00\x00\x00\x00\x00\x00'
    """
    try:
        seconds = timestamp if type(timestamp) is float else to_seconds(timestamp)
    except OverflowError as error:
        raise InvalidTimestampError("The timestamp is too large for a float.") from error
    # One comparison accepts the usual case; NaN fails every comparison.
    if not 0.0 <= seconds < math.inf:
        if not math.isfinite(seconds):
            raise InvalidTimestampError(f"Timestamp {seconds!r} is not finite.")
        if seconds < 0.0:
            raise InvalidTimestampError(f"Timestamp {seconds!r} is negative; it must be >= 0.")
    return _FLOAT.pack(seconds + 0.0)  # -0.0 + 0.0 is +0.0


def decode_timestamp(encoded: bytes) -> float:
    r"""Return the timestamp, in seconds, that eight encoded bytes represent.

    Raises
    ------
    DecodeError
        If there are not eight bytes.

    Examples
    --------
    >>> decode_timestamp(b'A\xd2e\x80\xb4\xa0\x00\x00')
    1234567890.5
    """
    if len(encoded) != SIZE:
        raise DecodeError(f"A timestamp has {SIZE} bytes, not {len(encoded)}.")
    seconds: float = _FLOAT.unpack(encoded)[0]
    return seconds


def encode_sample(timestamp: Time, value: bytes) -> bytes:
    r"""Return the member of a sensor's sorted set for an encoded value at a time.

    Parameters
    ----------
    timestamp
        A `Time`, as for `encode_timestamp`.
    value
        An encoded value, as `encode_value` returns it.

    Raises
    ------
    InvalidTimestampError
        If the timestamp is negative, infinite, NaN, too large for a float, or a text that cannot be read.
    TypeError
        If it is a datetime without a time zone, or not a time.

    Examples
    --------
    >>> encode_sample(2.0, b"\xff\x2a")
    b'@\x00\x00\x00\x00\x00\x00\x00\xff*'
    """
    return encode_timestamp(timestamp) + value


def decode_sample(member: bytes) -> tuple[float, bytes]:
    r"""Return the timestamp, in seconds, and the encoded value in a member of a sensor's sorted set.

    Raises
    ------
    DecodeError
        If it is shorter than a timestamp.

    Examples
    --------
    >>> decode_sample(b'@\x00\x00\x00\x00\x00\x00\x00\xff*')
    (2.0, b'\xff*')
    """
    if len(member) < SIZE:
        raise DecodeError(
            f"A sample starts with a timestamp of {SIZE} bytes, but it has {len(member)} in all."
        )
    seconds: float = _FLOAT.unpack_from(member)[0]
    return seconds, member[SIZE:]


def range_bounds(start: Time, end: Time, include_end: bool) -> tuple[bytes, bytes]:
    r"""Return the lexicographic bounds, ``[minimum, maximum)``, of a range of time.

    A member is in the range if and only if ``minimum <= member < maximum``, compared as bytes.

    Parameters
    ----------
    start
        The first time in the range, a `Time`. If it is negative (or -inf), the range starts at the
        beginning of time. Numbers too large for a float count as infinite.
    end
        The end of the range, a `Time`; +inf is the end of time.
    include_end
        Whether samples at exactly `end` are in the range.

    Returns
    -------
    tuple of bytes
        Two strings of eight bytes. If the second is not larger than the first, the range is empty.

    Raises
    ------
    InvalidTimestampError
        If either time is NaN or NaT, or a text that cannot be read.
    TypeError
        If either is a datetime without a time zone, or not a time.

    Examples
    --------
    >>> range_bounds(0.0, 1.0, include_end=False)
    (b'\x00\x00\x00\x00\x00\x00\x00\x00', b'?\xf0\x00\x00\x00\x00\x00\x00')
    >>> range_bounds(-1.0, 1.0, include_end=True)
    (b'\x00\x00\x00\x00\x00\x00\x00\x00', b'?\xf0\x00\x00\x00\x00\x00\x01')
    """
    return _bound(start, after=False), _bound(end, after=include_end)


def _bound(time: Time, after: bool) -> bytes:
    """Return the smallest possible member at a time, or the smallest after it."""
    if type(time) is float and time >= 0.0 and not after:  # what most calls ask for
        return _FLOAT.pack(time + 0.0)
    try:
        seconds = to_seconds(time)
    except OverflowError:
        seconds = math.inf if time > 0 else -math.inf  # type: ignore[operator]  # only numbers overflow
    if math.isnan(seconds):
        raise InvalidTimestampError("A range of time cannot start or end at NaN.")
    if seconds < 0.0:
        return bytes(SIZE)
    bits: int = _BITS.unpack(_FLOAT.pack(seconds + 0.0))[0]
    # No sample is at or after +inf, so its bound needs nothing after it.
    return _BITS.pack(min(bits + after, _INFINITY_BITS))


def _not_a_time(time: object, error: Exception) -> Exception:
    """Return the error for something that is not a time, of the type that `float` raised for it."""
    error_type = TypeError if isinstance(error, TypeError) else InvalidTimestampError
    shown = BoundedRepr(max_length=60, max_items=3).repr(time)
    return error_type(
        f"A time must be seconds since 1970, a datetime or ISO 8601 text, not {type(time).__name__} {shown}."
    )
