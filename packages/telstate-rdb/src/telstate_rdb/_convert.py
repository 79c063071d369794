"""Converting a value to a version of the format while changing it as little as possible.

A raw value is copied as it is wherever the version has its type. Types from 22 on mean different things
to Redis and Valkey, so they are copied only within one family; zipmaps and the forms of release candidates
never are. Everything else is decoded and encoded again.

A value that is copied is decoded too, only to validate it: it may come from a file without a checksum and
gets a new checksum here, so that damage would stay unnoticed until a server crashes on it. The exception is
a plain string, of which nothing but the length can be wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from telstate_rdb import constants as c
from telstate_rdb._types.hashes import check_hash
from telstate_rdb._types.lists import check_list
from telstate_rdb._types.sets import check_set
from telstate_rdb._types.writers import default_version, encode_value
from telstate_rdb._types.zsets import check_sorted_set
from telstate_rdb.dump import decode_raw
from telstate_rdb.lzf import Compress
from telstate_rdb.values import Hash, List, RawValue, Set, SortedSet, Value

if TYPE_CHECKING:
    from telstate_rdb.stored import StoredValue

_RAW_NAME = "raw value"  # the name of the file in errors
_NEVER_COPIED = frozenset({c.TYPE_HASH_ZIPMAP, c.TYPE_MODULE})
_FIRST_OF_A_FAMILY = c.TYPE_HASH_METADATA_PRE_GA
_REDIS_TYPES = frozenset({c.TYPE_HASH_METADATA, c.TYPE_HASH_LISTPACK_EX})

# What decoding does not check, though servers refuse it. A function takes the class that it stands beside,
# which a table cannot express: hence Any.
_CHECKS: dict[type, Callable[[Any], None]] = {
    List: check_list,
    Set: check_set,
    SortedSet: check_sorted_set,
    Hash: check_hash,
}


def _is_plain_string(raw: RawValue) -> bool:
    """Return whether a raw value is one string, complete and neither compressed nor an integer."""
    body = raw.body
    if raw.type != c.TYPE_STRING or not body:
        return False
    first = body[0]
    if first < c.LENGTH_14BIT:
        return len(body) == 1 + first
    if first < c.LENGTH_32BIT:
        return len(body) == 2 + (int.from_bytes(body[:2], "big") & c.LENGTH_14BIT_MAX)
    return first == c.LENGTH_32BIT and len(body) == 5 + int.from_bytes(body[1:5], "big")


def can_copy(raw: RawValue | StoredValue, version: int) -> bool:
    """Return whether a raw value can be written to a file of `version` as it is."""
    if raw.type in _NEVER_COPIED or raw.type not in c.TYPE_VERSIONS:
        return False
    if raw.type < _FIRST_OF_A_FAMILY:
        return c.TYPE_VERSIONS[raw.type] <= version
    if version >= c.VALKEY_VERSION:
        return raw.version >= c.VALKEY_VERSION and raw.type == c.TYPE_VALKEY_HASH_2
    is_redis = raw.version < c.VALKEY_VERSION and raw.type in _REDIS_TYPES
    return is_redis and c.TYPE_VERSIONS[raw.type] <= version


def convert_value(
    value: Value | RawValue,
    version: int | None,
    compress: Compress | None,
    written: int = c.EVERY_READER_VERSION,
) -> tuple[int, bytes, int]:
    """Encode a value as `encode_value` does; a raw value that is malformed raises RdbParseError.

    Without a version it is the lowest that fits into a file whose values have needed version `written`.
    """
    if isinstance(value, RawValue):
        if not isinstance(value.body, bytes):
            raise TypeError(
                f"The body of a raw value must be bytes, not {type(value.body).__name__}."
            )
        if _is_plain_string(value):
            return value.type, value.body, c.EVERY_READER_VERSION if version is None else version
        decoded = decode_raw(value, _RAW_NAME)
        target = version or default_version(decoded, written)
        if can_copy(value, target):
            if check := _CHECKS.get(type(decoded)):
                check(decoded)
            return value.type, value.body, target
        value = decoded
    return encode_value(value, version, compress, written)
