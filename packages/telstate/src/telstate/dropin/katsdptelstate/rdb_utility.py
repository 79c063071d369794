"""DUMP payloads of the three kinds of key, for `write_key` of an RDBWriter or for ``RESTORE``.

Unlike those of katsdptelstate they have a checksum, so that servers accept them; and as in a server's,
numbers and short collections are packed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from telstate_backends.errors import translate_rdb_errors
from telstate_rdb import Hash, SortedSet, dump

__all__ = [
    "DUMP_POSTFIX",
    "dump_hash",
    "dump_iterable",
    "dump_string",
    "dump_zset",
    "encode_len",
    "encode_prev_length",
    "encode_ziplist",
]

DUMP_POSTFIX: Final = b"\x06\x00" + bytes(8)
"""RDB version 6, and no checksum."""

_BIG_PREVIOUS = 254


def encode_len(length: int) -> bytes:
    """Encode a length as in an RDB file.

    Examples
    --------
    >>> encode_len(3), encode_len(300)
    (b'\\x03', b'A,')
    """
    if not 0 <= length < 1 << 32:
        raise ValueError(f"A length must be from 0 to 2**32 - 1, not {length}.")
    return dump.encode_length(length)


@translate_rdb_errors()
def dump_string(data: bytes) -> bytes:
    """Return the payload of an immutable key for its encoded value.

    Examples
    --------
    >>> dump_string(b"\\xff\\x10")[:-10]
    b'\\x00\\x02\\xff\\x10'
    """
    return dump.encode_dump(data)


@translate_rdb_errors()
def dump_zset(data: Sequence[bytes]) -> bytes:
    """Return the payload of a mutable key for its samples (timestamp and encoded value).

    Raises
    ------
    RdbWriteError
        If there are no samples: no server loads an empty sorted set.
    """
    return dump.encode_dump(SortedSet(tuple(data), array("d", bytes(8 * len(data)))))


@translate_rdb_errors()
def dump_hash(data: Mapping[bytes, bytes]) -> bytes:
    """Return the payload of an indexed key for its encoded sub-keys and values.

    Raises
    ------
    RdbWriteError
        If there are no sub-keys: no server loads an empty hash.
    """
    return dump.encode_dump(Hash(dict(data)))


def dump_iterable(prefix: bytes, suffix: bytes, entries: Iterable[bytes]) -> bytes:
    """Return strings, each after its length, between a prefix and a suffix."""
    return prefix + b"".join([encode_len(len(entry)) + entry for entry in entries]) + suffix


def encode_ziplist(entries: Iterable[bytes | int]) -> bytes:
    """Pack texts and integers into a ziplist."""
    return dump.encode_ziplist(
        [b"%d" % entry if isinstance(entry, int) else entry for entry in entries]
    )


def encode_prev_length(length: int) -> bytes:
    """Encode the size of an entry of a ziplist, as it precedes the next entry."""
    if length < _BIG_PREVIOUS:
        return length.to_bytes(1, "little")
    return bytes((_BIG_PREVIOUS,)) + length.to_bytes(4, "little")
