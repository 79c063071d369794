"""Strings: every other packed type is a string too, see :mod:`telstate_rdb._types.readers`."""

from __future__ import annotations

from telstate_rdb._bulk.encode_strings import encode_string
from telstate_rdb.constants import TYPE_STRING
from telstate_rdb.lzf import Compress


def decode_string(data: bytes) -> bytes:
    """Return the string itself."""
    return data


def encode_string_value(value: bytes, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Encode a string; return its type and bytes."""
    return TYPE_STRING, encode_string(value, compress)
