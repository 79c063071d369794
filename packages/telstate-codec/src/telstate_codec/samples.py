"""Many samples at once: the members of a sensor's sorted set to values and timestamps.

Most samples are floats, and their members are then all of one length and shape: timestamp, 0xFF, 0xCB,
float64. Such a run is taken apart in one go; everything else is decoded one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from .errors import DecodeError
from .timestamps import SIZE, decode_sample
from .values import decode_value

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
