"""From lists of strings, however they were stored, to values.

Rules: pure; what Redis would refuse is :exc:`RdbParseError`: a member or field that comes twice, a
field without a value, a score that is no number.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache

from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import Hash, Set, SortedSet


def make_set(members: list[bytes]) -> Set:
    """Make a set."""
    if len(frozenset(members)) != len(members):
        raise RdbParseError("a set has a member twice")
    return Set(tuple(members))


def make_hash(fields: Sequence[bytes], values: Sequence[bytes]) -> Hash:
    """Make a hash from its fields and their values."""
    if len(fields) != len(values):
        raise RdbParseError("a hash has a field without a value")
    mapping = dict(zip(fields, values))
    if len(mapping) != len(fields):
        raise RdbParseError("a hash has a field twice")
    return Hash(mapping)


def make_hash_with_expiries(
    fields: Sequence[bytes], values: Sequence[bytes], expiries: Sequence[int]
) -> Hash:
    """Make a hash some of whose fields expire; an expiry of 0 means never."""
    plain = make_hash(fields, values)
    return Hash(
        plain.fields,
        {field: expiry for field, expiry in zip(fields, expiries, strict=True) if expiry},
    )


def make_sorted_set(members: Sequence[bytes], scores: bytes | bytearray | list[float]) -> SortedSet:
    """Make a sorted set from members and scores, as numbers or as little-endian float64."""
    column = array("d")
    if isinstance(scores, list):
        column.extend(scores)
    else:
        column.frombytes(scores)
        if sys.byteorder == "big":
            column.byteswap()
    return SortedSet(tuple(members), column)


def make_sorted_set_of_one_score(members: tuple[bytes, ...], score: bytes) -> SortedSet:
    """Make a sorted set whose members have the same score, given as text."""
    return SortedSet(members, _constant(score, len(members))[:])


@lru_cache(256)
def _constant(score: bytes, count: int) -> array[float]:
    """Make a column of a score, which must not leave this module except as a copy."""
    return array("d", [parse_score(score)]) * count


def make_sorted_set_of_pairs(entries: list[bytes]) -> SortedSet:
    """Make a sorted set from members and scores as text, in turn."""
    if len(entries) % 2:
        raise RdbParseError("a sorted set has a member without a score")
    return make_sorted_set(entries[::2], [parse_score(text) for text in entries[1::2]])


def parse_score(text: bytes) -> float:
    """Give the number that a score's text stands for.

    Examples
    --------
    >>> parse_score(b"-1.5e3"), parse_score(b"inf")
    (-1500.0, inf)
    """
    try:
        if b"_" not in text:
            return float(text)
    except ValueError:
        pass
    raise RdbParseError(f"a sorted set has a score that is no number: {text[:40]!r}")
