"""A value into the form of a version, touching it no more than that takes.

Rules: what is packed already passes as it is wherever the version knows its type. Types of 22 and
above mean different things to Redis and Valkey, so they pass only within one family; zipmaps and
the forms of release candidates never do. Everything else is decoded and encoded anew.
"""

from __future__ import annotations

from telstate_rdb.constants import (
    EVERY_READER_VERSION,
    LENGTH_14BIT,
    LENGTH_32BIT,
    TYPE_HASH_LISTPACK,
    TYPE_HASH_LISTPACK_EX,
    TYPE_HASH_METADATA,
    TYPE_HASH_METADATA_PRE_GA,
    TYPE_HASH_ZIPLIST,
    TYPE_HASH_ZIPMAP,
    TYPE_LIST_ZIPLIST,
    TYPE_MODULE,
    TYPE_MODULE_2,
    TYPE_SET_INTSET,
    TYPE_SET_LISTPACK,
    TYPE_STRING,
    TYPE_VALKEY_HASH_2,
    TYPE_VERSIONS,
    TYPE_ZSET_LISTPACK,
    TYPE_ZSET_ZIPLIST,
    VALKEY_VERSION,
)
from telstate_rdb.decoders import codecs_of_version
from telstate_rdb.encoding.strings import Compress
from telstate_rdb.encoding.values import encode_lowest, lowest_version
from telstate_rdb.payloads import PAYLOAD_NAME, decode_raw
from telstate_rdb.source import Source
from telstate_rdb.values import RawValue, Value

_ONE_STRING = frozenset(
    {
        TYPE_STRING,
        TYPE_LIST_ZIPLIST,
        TYPE_SET_INTSET,
        TYPE_ZSET_ZIPLIST,
        TYPE_HASH_ZIPLIST,
        TYPE_HASH_LISTPACK,
        TYPE_ZSET_LISTPACK,
        TYPE_SET_LISTPACK,
    }
)
_NEVER_PASS = frozenset({TYPE_HASH_ZIPMAP, TYPE_MODULE})
_FIRST_OF_A_FAMILY = TYPE_HASH_METADATA_PRE_GA
_OF_REDIS = frozenset({TYPE_HASH_METADATA, TYPE_HASH_LISTPACK_EX})


def check_extent(raw: RawValue) -> None:
    """Check that a packed value ends where its bytes do, without decoding it.

    What is passed on as it is must not run into what is written after it.

    Raises
    ------
    RdbParseError
        If it does not; the offset counts from the type byte in front of the body.
    """
    if raw.type in _ONE_STRING and raw.body[0] < LENGTH_32BIT:  # the usual: a short string
        first, *second = raw.body[:2]
        size = 1 + first if first < LENGTH_14BIT else 2 + ((first & 0x3F) << 8 | sum(second))
        if size == len(raw.body):
            return
    source = Source(raw.body, name=PAYLOAD_NAME)
    source.base = 1
    source.size = 1 + len(raw.body)
    _, skip = codecs_of_version(raw.version)[raw.type]
    skip(source)
    if not source.at_end():
        raise source.error("there are more bytes behind the value")


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
        If a packed value must be decoded but is broken.
    """
    if isinstance(value, RawValue):
        target = EVERY_READER_VERSION if version is None else version
        if passes(value, target):
            return value.type, value.body, target
        if version is None and value.type == TYPE_MODULE_2:
            return value.type, value.body, TYPE_VERSIONS[TYPE_MODULE_2]
        decoded = decode_raw(value)
        target = lowest_version(decoded) if version is None else version
        if passes(value, target):
            return value.type, value.body, target
        value = decoded
    return encode_lowest(value, version, compress)
