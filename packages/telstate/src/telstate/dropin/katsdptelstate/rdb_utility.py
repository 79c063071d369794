"""DUMP payloads of the three kinds of key, as `write_key` of an RDBWriter (or ``RESTORE``) takes them.

Unlike katsdptelstate's they have a checksum, so that servers take them, too; and like a server's,
numbers and short collections are packed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from telstate_backends.errors import translate_rdb_errors
from telstate_rdb import Hash, SortedSet, encode_dump
from telstate_rdb.dump import encode_length
from telstate_rdb.dump import encode_ziplist as _encode_ziplist

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
    """Write a length as it stands in an RDB file.

    Examples
    --------
    >>> encode_len(3), encode_len(300)
    (b'\\x03', b'A,')
    """
    if not 0 <= length < 1 << 32:
        raise ValueError(f"A length is from 0 to 2**32 - 1, not {length}.")
    return encode_length(length)


@translate_rdb_errors()
def dump_string(data: bytes) -> bytes:
    """Make the payload of an immutable key, from its encoded value.

    Examples
    --------
    >>> dump_string(b"\\xff\\x10")[:-10]
    b'\\x00\\x02\\xff\\x10'
    """
    return encode_dump(data)


@translate_rdb_errors()
def dump_zset(data: Sequence[bytes]) -> bytes:
    """Make the payload of a mutable key, from its samples (time and encoded value).

    Raises
    ------
    RdbWriteError
        If there is no sample: no server loads that.
    """
    return encode_dump(SortedSet(tuple(data), array("d", bytes(8 * len(data)))))


@translate_rdb_errors()
def dump_hash(data: Mapping[bytes, bytes]) -> bytes:
    """Make the payload of an indexed key, from its encoded sub-keys and values.

    Raises
    ------
    RdbWriteError
        If there is no sub-key: no server loads that.
    """
    return encode_dump(Hash(dict(data)))


def dump_iterable(prefix: bytes, suffix: bytes, entries: Iterable[bytes]) -> bytes:
    """Write strings, each after its length, between a prefix and a suffix."""
    return prefix + b"".join([encode_len(len(entry)) + entry for entry in entries]) + suffix


def encode_ziplist(entries: Iterable[bytes | int]) -> bytes:
    """Pack texts and integers into a ziplist."""
    return _encode_ziplist(
        [b"%d" % entry if isinstance(entry, int) else entry for entry in entries]
    )


def encode_prev_length(length: int) -> bytes:
    """Write the size of a ziplist's entry, in front of the next one."""
    if length < _BIG_PREVIOUS:
        return length.to_bytes(1, "little")
    return bytes((_BIG_PREVIOUS,)) + length.to_bytes(4, "little")
