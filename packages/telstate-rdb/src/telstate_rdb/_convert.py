"""What keeps a server from loading a value that is well-formed: found without encoding the value.

Rules: for values as they are decoded, so what decoding finds (a member of a set twice, a stream that
contradicts itself) need not be looked for here. Those that are encoded need none of this: encoding
them finds the same.
"""

# A value into the form of a version, touching it no more than that takes.
#
# Rules: what is packed already passes as it is wherever the version knows its type. Types of 22 and
# above mean different things to Redis and Valkey, so they pass only within one family; zipmaps and
# the forms of release candidates never do. Everything else is decoded and encoded anew.
#
# What passes is decoded too, only to see that it is sound: it comes from somewhere else, perhaps from
# a file without a checksum, and gets a fresh one here, so that nobody could tell any more, until a
# server ends over it. Short of that are only strings as they are, whose length says it all.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telstate_rdb._types.hashes import check_hash
from telstate_rdb._types.lists import check_list
from telstate_rdb._types.sets import check_set
from telstate_rdb._types.writers import encode_value, lowest_version
from telstate_rdb._types.zsets import check_sorted_set
from telstate_rdb.constants import (
    EVERY_READER_VERSION,
    LENGTH_14BIT,
    LENGTH_14BIT_MAX,
    LENGTH_32BIT,
    TYPE_HASH_LISTPACK_EX,
    TYPE_HASH_METADATA,
    TYPE_HASH_METADATA_PRE_GA,
    TYPE_HASH_ZIPMAP,
    TYPE_MODULE,
    TYPE_STRING,
    TYPE_VALKEY_HASH_2,
    TYPE_VERSIONS,
    VALKEY_VERSION,
)
from telstate_rdb.dump import decode_raw
from telstate_rdb.lzf import Compress
from telstate_rdb.values import Hash, List, RawValue, Set, SortedSet, Value


def check_loadable(value: Value) -> None:
    """Refuse a decoded value that no server loads.

    Raises
    ------
    RdbWriteError
        If it is empty, has a member twice, a score of NaN or an impossible expiry.
    """
    check = _CHECKS.get(type(value))
    if check is not None:
        check(value)


# The functions take the class that they stand beside; a table cannot say so, hence Any.
_CHECKS: dict[type, Callable[[Any], None]] = {
    List: check_list,
    Set: check_set,
    SortedSet: check_sorted_set,
    Hash: check_hash,
}


RAW_NAME = "raw value"
"""What errors call a packed value."""

_NEVER_PASS = frozenset({TYPE_HASH_ZIPMAP, TYPE_MODULE})
_FIRST_OF_A_FAMILY = TYPE_HASH_METADATA_PRE_GA
_OF_REDIS = frozenset({TYPE_HASH_METADATA, TYPE_HASH_LISTPACK_EX})


def _is_plain_string(raw: RawValue) -> bool:
    """Say whether a packed value is a string that is neither compressed nor an integer, all of it.

    Examples
    --------
    >>> from telstate_rdb.values import RawValue
    >>> _is_plain_string(RawValue(0, b"\\x02ab", 6)), _is_plain_string(RawValue(0, b"\\x05ab", 6))
    (True, False)
    """
    body = raw.body
    if raw.type != TYPE_STRING or not body:
        return False
    first = body[0]
    if first < LENGTH_14BIT:
        return len(body) == 1 + first
    if first < LENGTH_32BIT:
        return len(body) == 2 + (int.from_bytes(body[:2], "big") & LENGTH_14BIT_MAX)
    return first == LENGTH_32BIT and len(body) == 5 + int.from_bytes(body[1:5], "big")


def passes(raw: RawValue, version: int) -> bool:
    """Say whether a packed value is written to a file of `version` as it is.

    Examples
    --------
    >>> from telstate_rdb.values import RawValue
    >>> listpack = RawValue(17, b"...", 10)
    >>> passes(listpack, 10), passes(listpack, 6), passes(RawValue(0, b"...", 10), 6)
    (True, False, True)
    """
    if raw.type in _NEVER_PASS or raw.type not in TYPE_VERSIONS:
        return False
    if raw.type < _FIRST_OF_A_FAMILY:
        return TYPE_VERSIONS[raw.type] <= version
    if version >= VALKEY_VERSION:
        return raw.version >= VALKEY_VERSION and raw.type == TYPE_VALKEY_HASH_2
    of_redis = raw.version < VALKEY_VERSION and raw.type in _OF_REDIS
    return of_redis and TYPE_VERSIONS[raw.type] <= version


def transcode(
    value: Value | RawValue, version: int | None, compress: Compress | None
) -> tuple[int, bytes, int]:
    """Write a value in a version of the format, or in the lowest that holds it.

    Parameters
    ----------
    value
        The value, packed or not.
    version
        The version that was asked for; None for 6, or the lowest above it that will do.
    compress
        Compresses strings that are encoded (packed ones stay as they are); None: does not.

    Returns
    -------
    type, body, version
        The type byte, the value's bytes, and the version that they need: never above the one
        that was asked for.

    Raises
    ------
    RdbWriteError
        If the version cannot hold the value, or no server would load it.
    RdbParseError
        If a packed value is broken.
    TypeError
        If it is not a value at all.
    """
    if isinstance(value, RawValue):
        if not isinstance(value.body, bytes):
            raise TypeError(
                f"the body of a raw value must be bytes, but is of type {type(value.body).__name__}"
            )
        if _is_plain_string(value):
            return value.type, value.body, EVERY_READER_VERSION if version is None else version
        decoded = decode_raw(value, RAW_NAME)
        target = lowest_version(decoded) if version is None else version
        if passes(value, target):
            check_loadable(decoded)
            return value.type, value.body, target
        value = decoded
    return encode_value(value, version, compress)
