"""DUMP payloads and values as they are in a file: taking them apart.

A payload is a type byte, the value as in a file, two bytes of RDB version and eight of CRC-64; its
version and checksum are always looked at.
"""

# DUMP payloads: made. (Taken apart they are in :mod:`telstate_rdb.dump`.)
#
# Rules: a payload is a value as it stands in a file, between its type byte and a footer of RDB version
# and checksum, see :mod:`telstate_rdb.constants`.

from __future__ import annotations

from telstate_rdb._crc64 import crc64
from telstate_rdb._source import Source
from telstate_rdb._types.readers import codecs_of_version
from telstate_rdb._types.writers import check_version, encode_value
from telstate_rdb.constants import (
    DUMP_FOOTER_SIZE,
    MAX_VERSION,
    MIN_VERSION,
    VALKEY_VERSION,
)
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import compress_lzf
from telstate_rdb.values import RawValue, Value

PAYLOAD_NAME = "DUMP payload"
"""What errors call the file."""


def parse_dump(payload: bytes | bytearray | memoryview) -> RawValue:
    """Take a DUMP payload apart, without decoding the value.

    Raises
    ------
    RdbParseError
        If its checksum is wrong, or its version or type is not known.

    Examples
    --------
    >>> parse_dump(bytes.fromhex("000176060007e5a632ec6db65d")).body
    b'\\x01v'
    """
    payload = bytes(payload)
    start = len(payload) - DUMP_FOOTER_SIZE
    if start < 2:
        raise _error(f"a payload of {len(payload)} bytes cannot hold anything", len(payload))
    version = int.from_bytes(payload[start : start + 2], "little")
    stored = int.from_bytes(payload[start + 2 :], "little")
    computed = crc64(memoryview(payload)[: start + 2])
    if stored != computed:
        raise _error(f"the checksum is {stored:016x}, but should be {computed:016x}", start + 2)
    if not MIN_VERSION <= version <= MAX_VERSION and version != VALKEY_VERSION:
        raise _error(f"RDB version {version} is not known", start)
    if payload[0] not in codecs_of_version(version):
        raise _error(f"type {payload[0]} is not known in version {version}", 0)
    return RawValue(payload[0], payload[1:start], version)


def decode_dump(payload: bytes | bytearray | memoryview) -> Value:
    """Decode a DUMP payload.

    Parameters
    ----------
    payload
        What the command ``DUMP`` gave.

    Raises
    ------
    RdbParseError
        If its checksum is wrong, its version or type is not known, or its value is malformed.

    Examples
    --------
    >>> decode_dump(bytes.fromhex("000176060007e5a632ec6db65d"))
    b'v'
    """
    return decode_raw(parse_dump(payload))


def decode_raw(raw: RawValue, name: str = PAYLOAD_NAME) -> Value:
    """Decode a value that was left as it is in the file.

    Raises
    ------
    RdbParseError
        If it is malformed; its offset counts from the type byte in front of the body.
    """
    codec = codecs_of_version(raw.version).get(raw.type)
    if codec is None:
        raise _error(f"type {raw.type} is not known in version {raw.version}", 0, name)
    source = Source(raw.body, name=name)
    source.base = 1
    source.size = len(raw.body) + 1
    try:
        value = codec[0](source)
        if not source.at_end():
            raise source.error("there are more bytes behind the value")
    except RdbParseError as error:
        error.file = name
        if error.offset is None:
            error.offset = 1
        raise
    return value


def _error(reason: str, offset: int, name: str = PAYLOAD_NAME) -> RdbParseError:
    return RdbParseError(reason, file=name, offset=offset)


def encode_dump(value: Value, version: int | None = None, *, compress: bool = False) -> bytes:
    """Make the payload with which ``RESTORE`` makes a value.

    Parameters
    ----------
    value
        The value.
    version
        The RDB version to write it in, 6 to 12 or 80 (Valkey 9); a server refuses versions above
        its own. By default the lowest that holds the value, which is 6 (any server since Redis
        2.6) unless it is a stream, a module's or has fields with an expiry.
    compress
        Whether to compress strings.

    Returns
    -------
    bytes
        What ``DUMP`` would give.

    Raises
    ------
    RdbWriteError
        If the version cannot hold the value, or no server would load it.
    ValueError
        If the version is not one that is written.

    Examples
    --------
    >>> encode_dump(b"4096").hex(" ")
    '00 c1 00 10 06 00 e0 f0 35 21 9c 47 44 6c'
    """
    if version is not None:
        check_version(version)
    return RawValue(*encode_value(value, version, compress_lzf if compress else None)).dump()
