"""DUMP payloads, decoded and encoded.

A payload is a type byte, a value as in a file, two bytes of RDB version and eight of CRC-64. The version
and the checksum are always verified. `encode_length`, `encode_ziplist` and `crc64` are here for programs
that put payloads together themselves.
"""

from __future__ import annotations

from telstate_rdb._auxiliary import skip_key_metadata
from telstate_rdb._bulk.encode_strings import encode_length
from telstate_rdb._crc64 import crc64
from telstate_rdb._packed.ziplist import encode_ziplist
from telstate_rdb._source import Source
from telstate_rdb._types.readers import codecs_of_version
from telstate_rdb._types.writers import check_version, encode_value
from telstate_rdb.constants import DUMP_FOOTER_SIZE, OPCODE_KEY_METADATA, VALKEY_VERSION
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import compress_lzf
from telstate_rdb.values import RawValue, Value

__all__ = [
    "PAYLOAD_NAME",
    "crc64",
    "decode_dump",
    "decode_raw",
    "encode_dump",
    "encode_length",
    "encode_ziplist",
    "parse_dump",
]

PAYLOAD_NAME = "DUMP payload"
"""The name of the file in errors."""


def parse_dump(payload: bytes | bytearray | memoryview) -> RawValue:
    """Verify a DUMP payload and take it apart, without decoding the value.

    Parameters
    ----------
    payload
        The reply of a server to the command ``DUMP``.

    Returns
    -------
    RawValue
        The type byte, the bytes of the value and the RDB version.

    Raises
    ------
    RdbParseError
        If the checksum is wrong, or the type is unknown.

    Examples
    --------
    >>> parse_dump(bytes.fromhex("000176060007e5a632ec6db65d")).body
    b'\\x01v'
    """
    payload = bytes(payload)
    start = len(payload) - DUMP_FOOTER_SIZE
    if start < 2:
        raise _error(f"a payload of {len(payload)} bytes is too short", len(payload))
    version = int.from_bytes(payload[start : start + 2], "little")
    stored = int.from_bytes(payload[start + 2 :], "little")
    computed = crc64(memoryview(payload)[: start + 2])
    if stored != computed:
        raise _error(f"the checksum is {stored:016x}, but should be {computed:016x}", start + 2)
    body = payload[:start]
    if body[0] == OPCODE_KEY_METADATA and version < VALKEY_VERSION:
        source = Source(body, name=PAYLOAD_NAME)
        source.skip(1)
        skip_key_metadata(source)
        body = body[source.position :]
    if not body or body[0] not in codecs_of_version(version):
        raise _error(f"type {body[0] if body else 'none'} is not known in version {version}", 0)
    return RawValue(body[0], body[1:], version)


def decode_dump(payload: bytes | bytearray | memoryview) -> Value:
    """Decode a DUMP payload.

    Parameters
    ----------
    payload
        The reply of a server to the command ``DUMP``.

    Returns
    -------
    Value
        ``bytes`` for a string, otherwise one of the classes of :mod:`telstate_rdb.values`.

    Raises
    ------
    RdbParseError
        If the checksum is wrong, the type is unknown, or the value is malformed.

    Examples
    --------
    >>> decode_dump(bytes.fromhex("000176060007e5a632ec6db65d"))
    b'v'
    """
    return decode_raw(parse_dump(payload))


def decode_raw(raw: RawValue, name: str = PAYLOAD_NAME) -> Value:
    """Decode a value that was left as it is in the file.

    Parameters
    ----------
    raw
        The value, for example from ``read_rdb(..., raw=True)``.
    name
        The name of the file in errors.

    Returns
    -------
    Value
        ``bytes`` for a string, otherwise one of the classes of :mod:`telstate_rdb.values`.

    Raises
    ------
    RdbParseError
        If the value is malformed; its offset counts from the type byte in front of the body.

    Examples
    --------
    >>> decode_raw(RawValue(1, b"\\x01\\x05gains", 6))
    List(elements=(b'gains',))
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
            raise source.error("there are more bytes after the value")
    except RdbParseError as error:
        error.file = name
        if error.offset is None:
            error.offset = 1
        raise
    return value


def _error(reason: str, offset: int, name: str = PAYLOAD_NAME) -> RdbParseError:
    return RdbParseError(reason, file=name, offset=offset)


def encode_dump(value: Value, version: int | None = None, *, compress: bool = False) -> bytes:
    """Encode a value as a payload for the command ``RESTORE``.

    Parameters
    ----------
    value
        The value.
    version
        The RDB version to write, 6 to 12 or 80 (Valkey 9); a server refuses versions above its own.
        By default the lowest that can hold the value: 6 (every server since Redis 2.6), unless it is a
        stream, a value of a module or a hash with expiring fields.
    compress
        Whether to compress strings.

    Returns
    -------
    bytes
        The payload: the reply of a server of that version to ``DUMP``.

    Raises
    ------
    RdbWriteError
        If the version cannot hold the value, or no server would load it.
    ValueError
        If the version is not one that can be written.

    Examples
    --------
    >>> encode_dump(b"4096").hex(" ")
    '00 c1 00 10 06 00 e0 f0 35 21 9c 47 44 6c'
    """
    if version is not None:
        check_version(version)
    return RawValue(*encode_value(value, version, compress_lzf if compress else None)).dump()
