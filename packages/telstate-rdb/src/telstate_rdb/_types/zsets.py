"""Sorted sets: packed, with scores as text (versions 6 and 7), or with binary scores.

Rules: samples of a sensor all have score 0 and mostly one length, so runs like that are written
without looking at each of them. A packed one must be in order, as servers search it; in the other
forms members stay as they come. Text of 17 significant digits keeps a score bit for bit.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import chain
from operator import gt, lt
from typing import NoReturn

from telstate_rdb._bulk.encode_strings import (
    Compress,
    encode_length,
    encode_string,
    encode_with_suffix,
    encode_with_suffixes,
)
from telstate_rdb._packed.common import (
    encode_listpack,
    encode_listpack_pairs,
    encode_ziplist,
    encode_ziplist_pairs,
)
from telstate_rdb._types import limits
from telstate_rdb.constants import (
    SCORE_NEGATIVE_INFINITY,
    SCORE_POSITIVE_INFINITY,
    TYPE_VERSIONS,
    TYPE_ZSET,
    TYPE_ZSET_2,
    TYPE_ZSET_LISTPACK,
    TYPE_ZSET_ZIPLIST,
)
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.values import SortedSet

_PIECE = 4096  # members
_LISTPACK_VERSION = TYPE_VERSIONS[TYPE_ZSET_LISTPACK]
_BINARY_VERSION = TYPE_VERSIONS[TYPE_ZSET_2]
_SPECIAL_SCORES = {
    b"inf": bytes((SCORE_POSITIVE_INFINITY,)),
    b"-inf": bytes((SCORE_NEGATIVE_INFINITY,)),
}


def encode_sorted_set(
    value: SortedSet, version: int, compress: Compress | None
) -> tuple[int, bytes]:
    """Write a sorted set: the type and the bytes."""
    members, scores = value.members, value.scores
    count = len(members)
    if getattr(scores, "typecode", None) != "d":  # of another one the bits are no scores
        raise TypeError("the scores of a sorted set must be an array of typecode 'd'")
    if count != len(scores):
        raise RdbWriteError(
            f"A sorted set has {count} members but {len(scores)} scores: there must be one score "
            "for each member."
        )
    limits.refuse_empty(count, "sorted set")
    bits = scores.tobytes()
    same = bits == bits[:8] * count
    if scores[0] != scores[0] or not same and any(map(math.isnan, scores)):
        refuse_nan()
    limit = limits.SORTED_SET
    if count <= limit.items and max(sizes := set(map(len, members))) <= limit.longest:
        listpack = version >= _LISTPACK_VERSION
        if same:
            packed = _packed_with_one_score(members, bits[:8], listpack, sizes)
        else:
            packed = _packed(members, scores, listpack)
        kind = TYPE_ZSET_LISTPACK if listpack else TYPE_ZSET_ZIPLIST
        return kind, encode_string(packed, compress)
    binary = version >= _BINARY_VERSION
    write_scores = _binary if binary else _text
    table = _table(members, write_scores(scores[:1]) if same else write_scores(scores), compress)
    return TYPE_ZSET_2 if binary else TYPE_ZSET, table


def _table(members: Sequence[bytes], scores: Sequence[bytes], compress: Compress | None) -> bytes:
    """Write members, each with its score, or with the only score that there is.

    This goes by pieces that a processor's cache holds, as a million members need long to be
    looked at three times, but not to be looked at once.
    """
    parts = [encode_length(len(members))]
    in_order = True
    # Servers write the greatest member first.
    compare = gt if len(members) > 1 and members[0] > members[1] else lt
    for start in range(0, len(members), _PIECE):
        piece = members[start : start + _PIECE]
        in_order = in_order and all(map(compare, piece, members[start + 1 : start + 1 + _PIECE]))
        if len(scores) == 1:
            parts.append(encode_with_suffix(piece, scores[0], compress))
        else:
            parts.append(encode_with_suffixes(piece, scores[start : start + _PIECE], compress))
    if not in_order:
        refuse_repeats(members, "sorted set")
    return b"".join(parts)


def refuse_nan() -> NoReturn:
    """Refuse a score that is not a number."""
    raise RdbWriteError(
        "A sorted set with a score of NaN cannot be written: no Redis server loads it "
        "(6.2 even ends). Leave the member out or give it another score."
    )


def refuse_repeats(members: Sequence[bytes], what: str) -> None:
    """Refuse a collection with the same member twice."""
    if len(frozenset(members)) < len(members):
        repeated = Counter(members).most_common(1)[0][0]
        raise RdbWriteError(
            f"A {what} has the member {repeated!r} twice: no Redis server loads that. "
            "Leave one of them out."
        )


def _packed_with_one_score(
    members: Sequence[bytes], bits: bytes, listpack: bool, sizes: Collection[int]
) -> bytes:
    """Pack members, of the lengths `sizes`, that all have the score of these bits, in order."""
    ordered = sorted(members)  # which costs next to nothing if they are
    if not all(map(lt, ordered, ordered[1:])):  # quicker than to make a set of them
        refuse_repeats(members, "sorted set")
    pack_pairs = encode_listpack_pairs if listpack else encode_ziplist_pairs
    return pack_pairs(ordered, _text_of(bits), sizes)


def _packed(members: Sequence[bytes], scores: array[float], listpack: bool) -> bytes:
    """Pack members and scores, in order."""
    refuse_repeats(members, "sorted set")
    pairs = sorted(zip(scores, members))
    texts = chain.from_iterable((member, b"%.17g" % score) for score, member in pairs)
    return encode_listpack(texts) if listpack else encode_ziplist(texts)


@lru_cache(256)
def _text_of(bits: bytes) -> bytes:
    """Give the text of a score; of its bits, because 0.0 and -0.0 are equal."""
    return b"%.17g" % array("d", bits)[0]


def _binary(scores: array[float]) -> list[bytes]:
    """Write scores as 8 bytes each, little-endian."""
    if sys.byteorder == "big":
        scores = scores[:]
        scores.byteswap()
    data = scores.tobytes()
    return [data[place : place + 8] for place in range(0, len(data), 8)]


def _text(scores: array[float]) -> list[bytes]:
    """Write scores as text: a byte of length and that much ASCII, or one byte for infinities."""
    texts = [b"%.17g" % score for score in scores]
    special = _SPECIAL_SCORES
    return [special.get(text) or b"%c%b" % (len(text), text) for text in texts]
