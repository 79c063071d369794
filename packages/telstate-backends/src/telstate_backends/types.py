"""The three kinds of key, their contents, and their types in Redis.

Contents are frozen records of encoded bytes, which this package does not decode, except that a sample is
an 8-byte timestamp and a value.
"""

from __future__ import annotations

import enum
from typing import TypeAlias, final

import attrs

from telstate_codec.errors import DecodeError
from telstate_codec.keys import key_repr
from telstate_codec.timestamps import decode_sample


class KeyType(enum.Enum):
    """The kind of a key; the value is the type byte of its update messages."""

    IMMUTABLE = 1  #: an attribute: one value, set once
    MUTABLE = 2  #: a sensor: samples with timestamps
    INDEXED = 3  #: a mapping of sub-keys to values, each set once


@final
@attrs.frozen
class Immutable:
    """Contents of an immutable key.

    Attributes
    ----------
    value : bytes
        The encoded value.
    """

    value: bytes


@final
@attrs.frozen
class Mutable:
    """The latest sample of a mutable key.

    Attributes
    ----------
    value : bytes
        The encoded value.
    timestamp : float
        Seconds since 1970.
    """

    value: bytes
    timestamp: float

    @classmethod
    def of_member(cls, member: bytes, key: bytes) -> Mutable:
        """Return the timestamp and value in a member of the sorted set of a key.

        Raises
        ------
        DecodeError
            If it is shorter than a timestamp.
        """
        try:
            timestamp, value = decode_sample(member)
        except DecodeError as error:
            raise DecodeError(f"Key {key_repr(key)}: {error}") from error
        return cls(value, timestamp)


@final
@attrs.frozen(hash=False)
class Indexed:
    """All contents of an indexed key.

    Attributes
    ----------
    items : dict[bytes, bytes]
        Encoded values by encoded sub-key, in the order of the store.
    """

    items: dict[bytes, bytes]


Contents: TypeAlias = Immutable | Mutable | Indexed

#: The reply of ``TYPE`` for each kind.
REDIS_TYPES: dict[bytes, KeyType] = {
    b"string": KeyType.IMMUTABLE,
    b"zset": KeyType.MUTABLE,
    b"hash": KeyType.INDEXED,
}

#: The inverse.
TYPE_NAMES: dict[KeyType, bytes] = {kind: name for name, kind in REDIS_TYPES.items()}
