"""Timestamps, the members of a sensor's sorted set, and ranges of them.

A sensor (mutable key) is a sorted set whose members all have score 0 and so sort by their bytes.
A member is eight bytes of timestamp, a big-endian float64, and then the encoded value. Finite
floats that are not negative sort the same by value and by those bytes, which is why no others are
stored, why -0.0 becomes +0.0, and why the next greater float has the next greater bit pattern.

Seconds since the Unix epoch by convention; nothing here depends on it.
"""

from __future__ import annotations

import math
import struct
from typing import Final, SupportsFloat

from .errors import DecodeError, InvalidTimestampError

_FLOAT: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")

SIZE: Final = _FLOAT.size
# From here on, seconds may be nanoseconds by mistake.
_FAR: Final = 1e12
_INFINITY_BITS: Final = 0x7FF0_0000_0000_0000


def encode_timestamp(timestamp: SupportsFloat) -> bytes:
    r"""Give the eight bytes of a timestamp.

    Parameters
    ----------
    timestamp
        Finite and not negative. Anything that `float` takes.

    Raises
    ------
    InvalidTimestampError
        If it is negative, infinite, not a number, or too large for a float.
    TypeError
        If it is of a type that `float` does not take.

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
        raise _no_seconds(timestamp, error) from error
    # One comparison lets the usual case through; NaN fails every comparison.
    if not 0.0 <= seconds < _FAR:
        _refuse_nanoseconds(timestamp)
        if not math.isfinite(seconds):
            raise InvalidTimestampError(f"Timestamp {seconds!r} is not finite.")
        if seconds < 0.0:
            raise InvalidTimestampError(f"Timestamp {seconds!r} is negative; it must be >= 0.")
    return _FLOAT.pack(seconds + 0.0)  # -0.0 + 0.0 is +0.0


def decode_timestamp(encoded: bytes) -> float:
    r"""Give the timestamp of eight bytes.

    Raises
    ------
    DecodeError
        If they are not eight.

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
    r"""Give the member of a sensor's sorted set for an encoded value at a time.

    Raises
    ------
    InvalidTimestampError
        As `encode_timestamp` does.

    Examples
    --------
    >>> encode_sample(2.0, b"\xff\x2a")
    b'@\x00\x00\x00\x00\x00\x00\x00\xff*'
    """
    return encode_timestamp(timestamp) + value


def decode_sample(member: bytes) -> tuple[float, bytes]:
    r"""Split a member of a sensor's sorted set into its timestamp and its encoded value.

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
    r"""Give the lexicographic bounds, ``[minimum, maximum)``, of a range of time.

    A member is in the range exactly if ``minimum <= member < maximum`` as bytes.

    Parameters
    ----------
    start
        The first time that is in the range. Negative (or -inf): from the start of time. Anything
        that `float` takes, and numbers too large for it, which are as good as infinite.
    end
        The end of the range. +inf: the end of time. Of the same types.
    include_end
        Whether samples at exactly `end` are in it.

    Returns
    -------
    tuple of bytes
        Two strings of eight bytes. The second may be the smaller one: the range is then empty.

    Raises
    ------
    InvalidTimestampError
        If either time is not a number.
    TypeError
        If either is of a type that `float` does not take.

    Examples
    --------
    >>> range_bounds(0.0, 1.0, include_end=False)
    (b'\x00\x00\x00\x00\x00\x00\x00\x00', b'?\xf0\x00\x00\x00\x00\x00\x00')
    >>> range_bounds(-1.0, 1.0, include_end=True)
    (b'\x00\x00\x00\x00\x00\x00\x00\x00', b'?\xf0\x00\x00\x00\x00\x00\x01')
    """
    return _bound(start, after=False), _bound(end, after=include_end)


def _bound(time: SupportsFloat, after: bool) -> bytes:
    """Give the smallest member at the time, or the smallest after it."""
    try:
        seconds = float(time)
    except OverflowError:
        seconds = math.inf if time > 0 else -math.inf  # type: ignore[operator]  # what is too large for a float is a number
    except (TypeError, ValueError) as error:
        raise _no_seconds(time, error) from error
    if not -_FAR < seconds < _FAR:
        _refuse_nanoseconds(time)
    if math.isnan(seconds):
        raise InvalidTimestampError("A range of time cannot start or end at NaN.")
    if seconds < 0.0:
        return bytes(SIZE)
    bits: int = _BITS.unpack(_FLOAT.pack(seconds + 0.0))[0]
    # No sample is at or after +inf, so its bound needs nothing after it.
    return _BITS.pack(min(bits + after, _INFINITY_BITS))


def _no_seconds(time: object, error: Exception) -> Exception:
    """Give the error for what `float` does not take, from the error that it raised."""
    if isinstance(error, OverflowError):
        return InvalidTimestampError(f"Timestamp {type(time).__name__} is too large for a float.")
    message = f"A time is a number of seconds since 1970, not {type(time).__name__} {_short(time)}"
    if callable(getattr(time, "timestamp", None)):
        message += "; give its .timestamp()"
    elif type(time).__name__ == "datetime64":
        message += "; give (time - numpy.datetime64(0, 's')) / numpy.timedelta64(1, 's')"
    kind = TypeError if isinstance(error, TypeError) else InvalidTimestampError
    return kind(f"{message}.")


def _refuse_nanoseconds(time: object) -> None:
    """Refuse a NumPy time in nanoseconds, the only one of which `float` gives a number: not of seconds."""
    if type(time).__name__ in ("datetime64", "timedelta64"):
        raise _no_seconds(time, TypeError())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
