"""The bytes around the values of a file: its header, the attributes of a key, whole records of strings.

Strings, by far the most frequent values, are written many records at a time.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import (
    INT32_TEXT,
    LengthPrefixes,
    encode_length,
    encode_string,
    interleave,
    may_hold_integers,
)
from telstate_rdb.errors import RdbWriteError

_STRING = bytes((c.TYPE_STRING,))
_head_of_key = LengthPrefixes(_STRING).__getitem__  # by the size of a key


def encode_string_records(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Encode keys that hold strings, without expiry, not compressed."""
    columns: list[Iterable[bytes]] = []
    for texts, head, lead in ((keys, _head_of_key, _STRING), (values, encode_length, b"")):
        if may_hold_integers(texts, INT32_TEXT):
            columns.append([lead + encode_string(text) for text in texts])
        else:
            columns += (map(head, map(len, texts)), texts)
    return interleave(*columns)


def encode_database(key: bytes, database: int) -> bytes:
    """Encode the start of a database, of which `key` is the first key."""
    number = _check_number(key, "database", database, 1 << 32)
    return b"%c%b" % (c.OPCODE_DATABASE, encode_length(number))


def encode_expiry(key: bytes, expiry: int) -> bytes:
    """Encode the expiry of the key that follows."""
    number = _check_number(key, "expiry (ms since 1970)", expiry, 1 << 63)
    return b"%c%b" % (c.OPCODE_EXPIRY_MS, number.to_bytes(8, "little"))


def encode_use(key: bytes, idle: int | None, frequency: int | None) -> bytes:
    """Encode how much the key that follows was used."""
    data = b""
    if idle is not None:
        number = _check_number(key, "idle time (s)", idle, 1 << 63)
        data += b"%c%b" % (c.OPCODE_IDLE, encode_length(number))
    if frequency is not None:
        number = _check_number(key, "frequency", frequency, 1 << 8)
        data += bytes((c.OPCODE_FREQUENCY, number))
    return data


def encode_header(version: int) -> bytes:
    """Encode the magic bytes and the version."""
    if version >= c.VALKEY_VERSION:
        return b"%b%03d" % (c.MAGIC_VALKEY, version)
    return b"%b%04d" % (c.MAGIC_REDIS, version)


def _check_number(key: bytes, name: str, number: int, limit: int) -> int:
    """Convert a number of any integer type to an int, and check its range."""
    try:
        number = operator.index(number)
    except TypeError as error:
        raise TypeError(
            f"Key {key!r} has the {name} {number!r}: it must be an int, not {type(number).__name__}."
        ) from error
    if not 0 <= number < limit:
        raise RdbWriteError(
            f"Key {key!r} has the {name} {number}: it must be at least 0 and below {limit}."
        )
    return number
