"""Records of sorted sets that servers refuse, in each encoding."""

from __future__ import annotations

import struct

from attrs import frozen
from rdb_data import encode_length, encode_string

from telstate_rdb._packed.listpack import encode_listpack
from telstate_rdb._packed.ziplist import encode_ziplist

NAN = float("nan")
TWICE = "a sorted set has the member b'a' twice, which servers refuse"
NOT_A_NUMBER = "a sorted set has a score that is NaN, which servers refuse"


@frozen
class Refused:
    """A record that servers refuse."""

    name: str
    version: int
    data: bytes
    reason: str


def _texts(*scores: float) -> bytes:
    return b"".join(
        encode_string(member) + (b"\xfd" if score != score else encode_string(b"%g" % score))
        for member, score in zip((b"a", b"b", b"a"), scores)
    )


def _doubles(*scores: float) -> bytes:
    return b"".join(
        encode_string(member) + struct.pack("<d", score)
        for member, score in zip((b"a", b"b", b"a"), scores)
    )


def _make() -> list[Refused]:
    packed = [b"a", b"1", b"a", b"2"]
    bodies = [
        ("text", 3, 6, encode_length(3) + _texts(1, 2, 3), encode_length(2) + _texts(1, NAN)),
        ("binary", 5, 8, encode_length(3) + _doubles(1, 2, 3), encode_length(2) + _doubles(1, NAN)),
        ("ziplist", 12, 6, encode_string(encode_ziplist(packed)), None),
        ("listpack", 17, 10, encode_string(encode_listpack(packed)), None),
    ]
    made = []
    for name, type_, version, twice, nan in bodies:
        head = bytes((type_,)) + encode_string(b"zset")
        made.append(Refused(f"{name}-twice", version, head + twice, TWICE))
        if nan is not None:
            made.append(Refused(f"{name}-nan", version, head + nan, NOT_A_NUMBER))
    return made


SORTED_SETS = _make()
IDS = [refused.name for refused in SORTED_SETS]
