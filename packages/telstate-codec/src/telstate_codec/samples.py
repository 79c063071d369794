"""Encoding and decoding of many samples, the members of a sensor's sorted set, at once.

Most samples are floats, whose members all have the same layout: timestamp, 0xFF, 0xCB, float64. Lists
of those are encoded and decoded in a single step, and all others one by one. Everything that needs
NumPy is in `telstate_codec._sample_columns`.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._joined_samples import JoinedSamples
from ._msgpack.format import ENCODING_DEFAULT, ENCODING_MSGPACK, FLOAT_64
from .errors import DecodeError, EncodeError, InvalidTimestampError
from .timestamps import SIZE, Time, decode_sample, encode_timestamp
from .values import decode_value, encode_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TIMESTAMP: Final = struct.Struct(">d")
# A timestamp, the header byte, MessagePack's byte for a float64, and the float64.
_FLOAT_SAMPLE: Final = struct.Struct(">dxxd")
_FLOAT_BYTES: Final = (ENCODING_MSGPACK, bytes([FLOAT_64]))


def decode_samples(
    members: Sequence[bytes], return_encoded: bool = False
) -> list[tuple[Any, float]]:
    r"""Decode members of a sensor's sorted set.

    Parameters
    ----------
    members
        The samples, each with eight bytes of timestamp followed by an encoded value.
    return_encoded
        Whether to leave the values encoded. By default they are decoded.

    Returns
    -------
    list of tuple
        Value and timestamp (seconds) of each sample, in the same order.

    Raises
    ------
    DecodeError
        If a sample is too short, or its value cannot be decoded.

    Examples
    --------
    >>> from telstate_codec import encode_sample
    >>> decode_samples([encode_sample(2.0, b"\xff\x2a"), encode_sample(3.0, b"\xff\x2b")])
    [(42, 2.0), (43, 3.0)]
    """
    size = _FLOAT_SAMPLE.size
    if isinstance(members, JoinedSamples):
        samples: JoinedSamples | None = members
    elif return_encoded or len(members) < _FEW or len(members[0]) != size:
        samples = None
    else:
        samples = JoinedSamples.join(members)
    if samples is not None and samples.size >= SIZE:
        if samples.size == size and not return_encoded:
            floats = _decode_floats(samples.joined)
            if floats is not None:
                return floats
        pairs = struct.iter_unpack(f">d{samples.size - SIZE}s", samples.joined)
        return [(value if return_encoded else decode_value(value), time) for time, value in pairs]
    try:
        timed = zip(map(_TIMESTAMP.unpack_from, members), members)
        if return_encoded:
            return [(member[SIZE:], timestamp) for (timestamp,), member in timed]
        return [(decode_value(member[SIZE:]), timestamp) for (timestamp,), member in timed]
    except struct.error as error:
        for member in members:
            decode_sample(member)  # raises the error for the one that is too short
        raise DecodeError(f"A sample is not valid: {error}") from error


def _decode_floats(joined: bytes) -> list[tuple[Any, float]] | None:
    """Decode members if all of them hold a float, and return None otherwise."""
    size = _FLOAT_SAMPLE.size
    count = len(joined) // size
    for offset, byte in enumerate(_FLOAT_BYTES, SIZE):
        if joined[offset::size] != byte * count:
            return None
    return [(value, timestamp) for timestamp, value in _FLOAT_SAMPLE.iter_unpack(joined)]


# With fewer members than this, decoding them one by one is faster.
_FEW = 4


class SampleArrays(NamedTuple):
    """Samples as two arrays, which are writable and own their memory.

    Attributes
    ----------
    timestamps : numpy.ndarray of float64, shape (n,)
        Seconds since 1970, in the order of the samples (ascending in a store).
    values : numpy.ndarray, shape (n, ...)
        The values of the samples; see `decode_sample_arrays` for the dtype.
    """

    timestamps: NDArray[np.float64]
    values: NDArray[Any]


def decode_sample_arrays(members: Sequence[bytes]) -> SampleArrays:
    r"""Decode members of a sensor's sorted set to arrays.

    The dtype of the array of values depends on the values:

    - If all are `bool`, `int`, `float` or `complex`, its dtype is bool, int64, float64 or complex128.
    - If all are NumPy scalars (numbers, times or structures) of the same dtype, it has that dtype.
    - If all are numbers of various types, of Python or NumPy, its dtype is int64 or uint64 if there
      are only integers, complex128 if some are complex, and float64 otherwise.
    - If all are arrays of the same shape, they are stacked along a new first axis. Where their dtypes
      differ, numbers (or texts) get the dtype that holds all of them.
    - Otherwise it is an object array, with each element as `decode_value` returns it.

    The numbers never change: where one would (a large integer among floats, say), the array is an
    object array. The same goes for booleans among numbers. If there are no members, the values
    have dtype float64 and shape (0,).

    Parameters
    ----------
    members
        The samples, each with eight bytes of timestamp followed by an encoded value.

    Returns
    -------
    SampleArrays
        Timestamps (seconds, float64, shape (n,)) and values (shape (n, ...)).

    Raises
    ------
    DecodeError
        If a sample is too short, or its value cannot be decoded.

    Examples
    --------
    >>> from telstate_codec import encode_samples
    >>> times, values = decode_sample_arrays(encode_samples([1.5, 2], [10.0, 11.0]))
    >>> times.tolist(), values.tolist(), values.dtype.name
    ([10.0, 11.0], [1.5, 2.0], 'float64')
    """
    import numpy as np

    from ._sample_columns import decode_columns, stack_values

    if not members:
        return SampleArrays(np.empty(0), np.empty(0))
    columns = decode_columns(members)
    if columns is not None:
        return SampleArrays(*columns)
    values, timestamps = zip(*decode_samples(members))
    return SampleArrays(np.array(timestamps), stack_values(values))


def encode_samples(
    values: Iterable[object],
    timestamps: Iterable[Time],
    encoding: bytes = ENCODING_DEFAULT,
) -> list[bytes]:
    r"""Encode samples as members of a sensor's sorted set.

    Parameters
    ----------
    values
        The values. The elements of an array are encoded as iterating over it returns them: as NumPy
        scalars if it has one axis, and as arrays if it has several.
    timestamps
        The times, each a `Time`, one for each value, in any order.
    encoding
        The encoding of the values, as for `encode_value`; `ENCODING_MSGPACK` by default.

    Returns
    -------
    list of bytes
        The samples, each with the bytes that `encode_value` and `encode_sample` return for it.

    Raises
    ------
    ValueError
        If there are not as many values as timestamps.
    TypeError
        If either is a string or not iterable, or if `float` does not accept a timestamp.
    EncodeError
        If a value cannot be encoded; the message says which.
    InvalidTimestampError
        If a timestamp is negative or not finite; the message says which.

    Examples
    --------
    >>> encode_samples([42, "on"], [2.0, 3.0])
    [b'@\x00\x00\x00\x00\x00\x00\x00\xff*', b'@\x08\x00\x00\x00\x00\x00\x00\xff\xa2on']
    """
    items, seconds = _sized(values, "values"), _sized(timestamps, "timestamps")
    if len(items) != len(seconds):
        raise ValueError(
            f"There are {len(items)} values and {len(seconds)} timestamps; "
            "pass one timestamp for each value."
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
    # Unless NumPy has been loaded, there is no array. A subclass (matrix, masked array) may define its
    # elements differently.
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(values) is numpy.ndarray


def _sized(values: Any, name: str) -> Any:
    """Return an array unchanged, and any other iterable as a list."""
    if _is_array(values) and values.ndim:
        return values
    if isinstance(values, (str, bytes)):
        raise TypeError(f"The {name} must be a sequence, not the string {values!r:.60}.")
    try:
        return list(values)
    except TypeError as error:
        raise TypeError(f"The {name} must be an iterable: {error}.") from error


def _encode_times(timestamps: Any) -> bytes:
    """Return the eight bytes of each timestamp, joined."""
    if _is_array(timestamps):
        from ._sample_columns import encode_times

        times = encode_times(timestamps)
        if times is not None:
            return times
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
