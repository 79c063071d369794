"""Sets: an intset if all members are integers, a listpack from version 11 on, or a table."""

from __future__ import annotations

from telstate_rdb._bulk.encode_strings import (
    encode_length,
    encode_string,
    encode_strings,
    integer_of,
)
from telstate_rdb._bulk.read import read_strings
from telstate_rdb._packed.intset import decode_intset, encode_intset
from telstate_rdb._packed.listpack import decode_listpack, encode_listpack
from telstate_rdb._source import Source
from telstate_rdb._types.limits import PackingLimit, check_not_empty, check_unique
from telstate_rdb.constants import TYPE_SET, TYPE_SET_INTSET, TYPE_SET_LISTPACK, TYPE_VERSIONS
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import Compress
from telstate_rdb.values import Set

_LIMIT = PackingLimit(128, 64)  # set-max-listpack-entries, -value
_INTSET_ITEMS = 512  # set-max-intset-entries


def read_set(source: Source) -> Set:
    """Read a table of members (type 2)."""
    return _make_set(read_strings(source, source.read_length()))


def decode_set_intset(data: bytes) -> Set:
    """Decode a set of integers (type 11)."""
    return _make_set(decode_intset(data))


def decode_set_listpack(data: bytes) -> Set:
    """Decode a set that is a listpack (type 20)."""
    return _make_set(decode_listpack(data))


def _make_set(members: list[bytes]) -> Set:
    if len(frozenset(members)) != len(members):
        raise RdbParseError("a set has a member twice")
    return Set(tuple(members))


def check_set(value: Set) -> None:
    """Raise an error for a set, read from a file, that no server loads."""
    check_not_empty(len(value.members), "set")


def encode_set(value: Set, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Encode a set; return its type and bytes."""
    members = value.members
    check_set(value)
    check_unique(members, "set")
    if len(members) <= _INTSET_ITEMS:
        numbers = [number for member in members if (number := integer_of(member)) is not None]
        if len(numbers) == len(members):
            return TYPE_SET_INTSET, encode_string(encode_intset(numbers), compress)
    if version >= TYPE_VERSIONS[TYPE_SET_LISTPACK] and _LIMIT.allows(len(members), members):
        return TYPE_SET_LISTPACK, encode_string(encode_listpack(members), compress)
    return TYPE_SET, encode_length(len(members)) + encode_strings(members, compress)
