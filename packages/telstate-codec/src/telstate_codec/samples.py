"""Many samples at once: the members of a sensor's sorted set to values and timestamps, and back.

Most samples are floats, and their members are then all of one length and shape: timestamp, 0xFF, 0xCB,
float64. Such a run is taken apart, or put together, in one go; everything else is decoded and encoded
one by one. What has to do with arrays is in `telstate_codec._sample_columns`, which loads NumPy.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsFloat

from ._msgpack.format import ENCODING_DEFAULT, ENCODING_MSGPACK
from .errors import DecodeError, EncodeError, InvalidTimestampError
from .timestamps import SIZE, decode_sample, encode_timestamp
from .values import decode_value, encode_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TIMESTAMP: Final = struct.Struct(">d")
# A timestamp, the header byte, MessagePack's byte for a float64, and the float64.
_FLOAT_SAMPLE: Final = struct.Struct(">dxxd")
_FLOAT_BYTES: Final = (b"\xff", b"\xcb")


def decode_samples(
    members: Sequence[bytes], return_encoded: bool = False
) -> list[tuple[Any, float]]:
    r"""Decode members of a sensor's sorted set.

    Parameters
    ----------
    members
        Each eight bytes of timestamp, then an encoded value.
    return_encoded
        Whether to leave the values encoded.

    Returns
    -------
    list of tuple
        Value and timestamp (seconds) of each, in the same order.

    Raises
    ------
    DecodeError
        As `decode_sample` and `decode_value` do.

    Examples
    --------
    >>> from telstate_codec import encode_sample
    >>> decode_samples([encode_sample(2.0, b"\xff\x2a"), encode_sample(3.0, b"\xff\x2b")])
    [(42, 2.0), (43, 3.0)]
    """
    if not return_encoded:
        floats = _decode_floats(members)
        if floats is not None:
            return floats
    try:
        timed = zip(map(_TIMESTAMP.unpack_from, members), members)
        if return_encoded:
            return [(member[SIZE:], timestamp) for (timestamp,), member in timed]
        return [(decode_value(member[SIZE:]), timestamp) for (timestamp,), member in timed]
    except struct.error as error:
        for member in members:
            decode_sample(member)  # the one that is too short says so
        raise DecodeError(f"A sample is not valid: {error}") from error


def _decode_floats(members: Sequence[bytes]) -> list[tuple[Any, float]] | None:
    """Decode members if they all hold a float, otherwise give None."""
    size = _FLOAT_SAMPLE.size
    if set(map(len, members)) != {size}:
        return None
    joined = b"".join(members)
    for offset, byte in enumerate(_FLOAT_BYTES, SIZE):
        if joined[offset::size] != byte * len(members):
            return None
    return [(value, timestamp) for timestamp, value in _FLOAT_SAMPLE.iter_unpack(joined)]


class SampleArrays(NamedTuple):
    """Samples as two arrays, writable and with memory of their own.

    Attributes
    ----------
    timestamps : numpy.ndarray of float64, shape (n,)
        Seconds since 1970, ascending as they come from a store.
    values : numpy.ndarray, shape (n, ...)
        The value of each, see `decode_sample_arrays`.
    """

    timestamps: NDArray[np.float64]
    values: NDArray[Any]


def decode_sample_arrays(members: Sequence[bytes]) -> SampleArrays:
    r"""Decode members of a sensor's sorted set to arrays.

    The values, if they are all

    - `bool`, `int`, `float` or `complex`: become an array of bool, int64, float64 or complex128;
    - NumPy scalars (numbers, times, structures) of one dtype: keep that;
    - numbers of several sorts, of Python or NumPy: become int64 or uint64 (no floats), float64, or
      complex128 (if some are complex);
    - arrays of equal shape: are stacked, their axes after the first; if they are numbers (or texts) of
      several dtypes, in the one that holds all;
    - anything else: are the elements of an object array, each as `decode_value` gives it.

    No number is ever changed: where one would be (a large integer among floats, say), the array is of
    objects, and so are truth values among numbers. No members give values of float64 and shape (0,).

    Parameters
    ----------
    members
        Each eight bytes of timestamp, then an encoded value.

    Raises
    ------
    DecodeError
        As `decode_sample` and `decode_value` do.

    Examples
    --------
    >>> from telstate_codec import encode_samples
    >>> times, values = decode_sample_arrays(encode_samples([1.5, 2], [10.0, 11.0]))
    >>> times.tolist(), values.tolist(), values.dtype.name
    ([10.0, 11.0], [1.5, 2.0], 'float64')
    """
    import numpy as np

    from ._sample_columns import quick_columns, stack

    if not members:
        return SampleArrays(np.empty(0), np.empty(0))
    quick = quick_columns(members)
    if quick is not None:
        return SampleArrays(*quick)
    values, timestamps = zip(*decode_samples(members))
    return SampleArrays(np.array(timestamps), stack(values))


def encode_samples(
    values: Iterable[object],
    timestamps: Iterable[SupportsFloat],
    encoding: bytes = ENCODING_DEFAULT,
) -> list[bytes]:
    r"""Encode samples, to members of a sensor's sorted set.

    Parameters
    ----------
    values
        What there was at each time. The elements of an array are NumPy scalars, those along the
        first axis of one with several axes are arrays, and that is how they are encoded.
    timestamps
        As many times in seconds, in any order.
    encoding
        As for `encode_value`.

    Returns
    -------
    list of bytes
        For each, what `encode_sample` gives for its time and its value as `encode_value` gives it.

    Raises
    ------
    ValueError
        If there are not as many values as timestamps.
    TypeError
        If either is a string or not iterable.
    EncodeError
        If a value cannot be encoded; it says which.
    InvalidTimestampError
        If a timestamp is not finite or is negative; it says which.

    Examples
    --------
    >>> encode_samples([42, "on"], [2.0, 3.0])
    [b'@\x00\x00\x00\x00\x00\x00\x00\xff*', b'@\x08\x00\x00\x00\x00\x00\x00\xff\xa2on']
    """
    items, seconds = _sized(values, "values"), _sized(timestamps, "timestamps")
    if len(items) != len(seconds):
        raise ValueError(
            f"There are {len(items)} values and {len(seconds)} timestamps; give one for each."
        )
    times = _encode_times(seconds)
    if encoding == ENCODING_MSGPACK:
        if _is_array(items):
            from ._sample_columns import encode_numbers

            members = encode_numbers(items, times)
            if members is not None:
                return members
        elif set(map(type, items)) == {float}:
            numbers = struct.pack(f">{len(items)}d", *items)
            start = b"".join(_FLOAT_BYTES)
            return [
                times[at : at + SIZE] + start + numbers[at : at + SIZE]
                for at in range(0, len(times), SIZE)
            ]
    members = []
    for place, value in enumerate(items):
        try:
            encoded = encode_value(value, encoding)
        except EncodeError as error:
            raise EncodeError(f"Value {place} of {len(items)}: {error}") from error
        members.append(times[place * SIZE : (place + 1) * SIZE] + encoded)
    return members


def _is_array(values: object) -> bool:
    # Where NumPy has not been loaded, nobody can have made an array. A subclass (a matrix, a masked
    # array) has ideas of its own of what its elements are.
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(values) is numpy.ndarray


def _sized(values: Any, name: str) -> Any:
    """Give an array as it is, anything else as a list."""
    if _is_array(values) and values.ndim:
        return values
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be several, not the one string {values!r:.60}.")
    try:
        return list(values)
    except TypeError as error:
        raise TypeError(f"{name} must be an iterable: {error}.") from error


def _encode_times(timestamps: Any) -> bytes:
    """Give eight bytes for each timestamp, all joined."""
    if _is_array(timestamps):
        from ._sample_columns import encode_times

        quick = encode_times(timestamps)
        if quick is not None:
            return quick
    elif set(map(type, timestamps)) <= {float}:
        valid = [time + 0.0 for time in timestamps if 0.0 <= time < math.inf]  # not -0.0
        if len(valid) == len(timestamps):
            return struct.pack(f">{len(valid)}d", *valid)
    encoded = []
    for place, timestamp in enumerate(timestamps):
        try:
            encoded.append(encode_timestamp(timestamp))
        except InvalidTimestampError as error:
            raise InvalidTimestampError(f"Sample {place} of {len(timestamps)}: {error}") from error
    return b"".join(encoded)
