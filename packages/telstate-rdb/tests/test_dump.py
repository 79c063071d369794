"""DUMP payloads: the version and the checksum are verified before the value is decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb import RawValue, RdbParseError, decode_dump, decode_raw, parse_dump
from telstate_rdb._crc64 import combine_crc64, crc64

PAYLOAD = bytes.fromhex("000176060007e5a632ec6db65d")  # of the string "v"


def sealed(body: bytes, version: int = 9) -> bytes:
    """Append the version and the checksum."""
    payload = body + version.to_bytes(2, "little")
    return payload + crc64(payload).to_bytes(8, "little")


def test_decode() -> None:
    """A payload is decoded from bytes of any kind."""
    assert decode_dump(PAYLOAD) == b"v"
    assert decode_dump(bytearray(PAYLOAD)) == b"v"
    assert decode_dump(memoryview(PAYLOAD)) == b"v"
    assert parse_dump(PAYLOAD) == RawValue(0, b"\x01v", 6)
    assert parse_dump(PAYLOAD).dump() == PAYLOAD
    assert decode_raw(RawValue(0, b"\x01v", 6)) == b"v"


@pytest.mark.parametrize(
    ("payload", "reason", "offset"),
    [
        (b"", "is too short", 0),
        (b"\x01" + PAYLOAD[1:], "the checksum is", 5),
        (PAYLOAD[:-1] + b"\0", "the checksum is", 5),
        (sealed(b"\x08\x01v"), "type 8 is not known in version 9", 0),
        (sealed(b"\x18\x01v", 80), "type 24 is not known in version 80", 0),
        (sealed(b"\x00\x01vw"), "more bytes after the value", 3),
        (sealed(b"\x00\x02v"), "2 bytes should follow", 2),
        (sealed(b"\x0b\x01v"), "an intset is truncated", 1),
    ],
)
def test_malformed(payload: bytes, reason: str, offset: int) -> None:
    """A malformed payload raises an error with the reason and the offset."""
    with pytest.raises(RdbParseError, match=reason) as caught:
        decode_dump(payload)
    assert caught.value.file == "DUMP payload"
    assert caught.value.offset == offset


def test_unknown_type_of_raw_value() -> None:
    """A raw value of an unknown type raises an error when it is decoded."""
    with pytest.raises(RdbParseError, match="type 26 is not known"):
        decode_raw(RawValue(26, b"", 12))


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_changed_byte(position: int, change: int) -> None:
    """Every changed byte is detected."""
    changed = bytearray(PAYLOAD)
    changed[position] ^= change
    with pytest.raises(RdbParseError):
        decode_dump(changed)


@given(st.binary(), st.binary())
def test_checksum_in_pieces(first: bytes, second: bytes) -> None:
    """The checksum of bytes can be computed from their pieces."""
    whole = crc64(first + second)
    assert crc64(second, crc64(first)) == whole
    assert combine_crc64(crc64(first), crc64(second), len(second)) == whole
