"""Timestamps, the members of a sensor's sorted set, and ranges of time.

A sensor (mutable key) is a sorted set whose members all have score 0, and so are sorted by their
bytes. A member is a timestamp, as a big-endian float64 of eight bytes, followed by the encoded value.
Finite floats that are not negative sort the same as these bytes, which is why no others are stored,
why -0.0 becomes +0.0, and why the next larger float has the next larger bit pattern.

By convention a timestamp is in seconds since the Unix epoch; nothing here depends on it.
"""

from __future__ import annotations

import math
import struct
from typing import Final, SupportsFloat

from .errors import DecodeError, InvalidTimestampError

_FLOAT: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")

SIZE: Final = _FLOAT.size
_FAR: Final = 1e12  # from here on, the number may be nanoseconds by mistake
_INFINITY_BITS: Final = 0x7FF0_0000_0000_0000


def encode_timestamp(timestamp: SupportsFloat) -> bytes:
    r"""Return the eight bytes of a timestamp.

    Parameters
    ----------
    timestamp
        Seconds, finite and not negative, of any type that `float` accepts.

    Raises
    ------
    InvalidTimestampError
        If it is negative, infinite, NaN, or too large for a float.
    TypeError
        If `float` does not accept its type.

    Examples
    --------
    >>> encode_timestamp(1234567890.5)
    b'A\xd2e\x80\xb4\xa0\x00\x00'
    >>> encode_timestamp(-0.0)
    b'\x00\x00\x00\x00\x00\x00\x00\x00'
    """
    try:
        seconds = float(timestamp)
    except (OverflowError, TypeError, ValueError) as error:
        raise _not_seconds(timestamp, error) from error
    # One comparison accepts the usual case; NaN fails every comparison.
    if not 0.0 <= seconds < _FAR:
        _refuse_nanoseconds(timestamp)
        if not math.isfinite(seconds):
            raise InvalidTimestampError(f"Timestamp {seconds!r} is not finite.")
        if seconds < 0.0:
            raise InvalidTimestampError(f"Timestamp {seconds!r} is negative; it must be >= 0.")
    return _FLOAT.pack(seconds + 0.0)  # -0.0 + 0.0 is +0.0


def decode_timestamp(encoded: bytes) -> float:
    r"""Return the timestamp, in seconds, of eight bytes.

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


def encode_sample(timestamp: SupportsFloat, value: bytes) -> bytes:
    r"""Return the member of a sensor's sorted set for an encoded value at a time.

    Parameters
    ----------
    timestamp
        Seconds, as for `encode_timestamp`.
    value
        An encoded value, as `encode_value` returns it.

    Raises
    ------
    InvalidTimestampError
        If the timestamp is negative, infinite, NaN, or too large for a float.
    TypeError
        If `float` does not accept the type of the timestamp.

    Examples
    --------
    >>> encode_sample(2.0, b"\xff\x2a")
    b'@\x00\x00\x00\x00\x00\x00\x00\xff*'
    """
    return encode_timestamp(timestamp) + value


def decode_sample(member: bytes) -> tuple[float, bytes]:
    r"""Split a member of a sensor's sorted set into timestamp (seconds) and encoded value.

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


def range_bounds(
    start: SupportsFloat, end: SupportsFloat, include_end: bool
) -> tuple[bytes, bytes]:
    r"""Return the lexicographic bounds, ``[minimum, maximum)``, of a range of time.

    A member is in the range if and only if ``minimum <= member < maximum``, compared as bytes.

    Parameters
    ----------
    start
        The first time in the range, in seconds. If it is negative (or -inf), the range starts at the
        beginning of time. Of any type that `float` accepts; numbers too large for a float count as
        infinite.
    end
        The end of the range, in seconds; +inf is the end of time. Of the same types.
    include_end
        Whether samples at exactly `end` are in the range.

    Returns
    -------
    tuple of bytes
        Two strings of eight bytes. If the second is not larger than the first, the range is empty.

    Raises
    ------
    InvalidTimestampError
        If either time is NaN.
    TypeError
        If `float` does not accept the type of either.

    Examples
    --------
    >>> range_bounds(0.0, 1.0, include_end=False)
    (b'\x00\x00\x00\x00\x00\x00\x00\x00', b'?\xf0\x00\x00\x00\x00\x00\x00')
    >>> range_bounds(-1.0, 1.0, include_end=True)
    (b'\x00\x00\x00\x00\x00\x00\x00\x00', b'?\xf0\x00\x00\x00\x00\x00\x01')
    """
    return _bound(start, after=False), _bound(end, after=include_end)


def _bound(time: SupportsFloat, after: bool) -> bytes:
    """Return the smallest possible member at a time, or the smallest after it."""
    try:
        seconds = float(time)
    except OverflowError:
        seconds = math.inf if time > 0 else -math.inf  # type: ignore[operator]  # only numbers overflow
    except (TypeError, ValueError) as error:
        raise _not_seconds(time, error) from error
    if not -_FAR < seconds < _FAR:
        _refuse_nanoseconds(time)
    if math.isnan(seconds):
        raise InvalidTimestampError("A range of time cannot start or end at NaN.")
    if seconds < 0.0:
        return bytes(SIZE)
    bits: int = _BITS.unpack(_FLOAT.pack(seconds + 0.0))[0]
    # No sample is at or after +inf, so its bound needs nothing after it.
    return _BITS.pack(min(bits + after, _INFINITY_BITS))


def _not_seconds(time: object, error: Exception) -> Exception:
    """Return the error for a time that `float` refuses with another error."""
    kind = type(time).__name__
    if isinstance(error, OverflowError):
        return InvalidTimestampError(f"Timestamp of type {kind} is too large for a float.")
    advice = ""
    if callable(getattr(time, "timestamp", None)):
        advice = "; pass its .timestamp()"
    elif kind == "datetime64":
        advice = "; pass (time - numpy.datetime64(0, 's')) / numpy.timedelta64(1, 's')"
    error_type = TypeError if isinstance(error, TypeError) else InvalidTimestampError
    shown = repr(time)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return error_type(f"A time must be a number of seconds since 1970, not {kind} {shown}{advice}.")


def _refuse_nanoseconds(time: object) -> None:
    """Refuse NumPy times in nanoseconds, which `float` converts to a number of nanoseconds."""
    if type(time).__name__ in ("datetime64", "timedelta64"):
        raise _not_seconds(time, TypeError())
