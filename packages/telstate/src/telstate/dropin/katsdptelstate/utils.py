"""Conversions of keys and timestamps."""

from __future__ import annotations

import struct

from telstate_backends import KeyType
from telstate_codec import (
    decode_sample,
    encode_key,
    encode_timestamp,
    key_repr,
    range_bounds,
)

__all__ = [
    "KeyType",
    "display_str",
    "ensure_binary",
    "ensure_str",
    "pack_query_timestamp",
    "pack_timestamp",
    "split_timestamp",
]

_START, _END = bytes(8), struct.pack(">d", float("inf"))


def ensure_binary(
    s: str | bytes, encoding: str = "utf-8", *, errors: str = "surrogateescape"
) -> bytes:
    """Return a text as bytes, by default encoded as a key."""
    return encode_key(s.encode(encoding, errors) if isinstance(s, str) else s)


def ensure_str(s: str | bytes, encoding: str = "utf-8", *, errors: str = "surrogateescape") -> str:
    """Return bytes as text, by default decoded as a key."""
    return s if isinstance(s, str) else encode_key(s).decode(encoding, errors)


def display_str(s: str | bytes) -> str:
    """Return a key as it appears in messages."""
    return key_repr(s)


def pack_timestamp(timestamp: float) -> bytes:
    """Return the eight bytes that store the timestamp of a sample."""
    return encode_timestamp(timestamp)


def pack_query_timestamp(time: float, is_end: bool, include_end: bool = False) -> bytes:
    """Return a bound of a range in the form that the Redis command ``ZRANGEBYLEX`` expects.

    Examples
    --------
    >>> pack_query_timestamp(-1.0, False), pack_query_timestamp(1.0, True)
    (b'-', b'(?\\xf0\\x00\\x00\\x00\\x00\\x00\\x00')
    """
    bound = range_bounds(time, time, include_end)[1]
    if bound == _START:
        return b"-"
    if bound == _END:
        return b"+"
    return (b"(" if is_end else b"[") + bound


def split_timestamp(packed: bytes) -> tuple[bytes, float]:
    """Split a sample into encoded value and timestamp."""
    timestamp, value = decode_sample(packed)
    return value, timestamp
