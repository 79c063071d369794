"""Sorted sets: packed, or as a table with scores as text (versions 6 and 7) or float64.

The samples of a sensor all have the score 0 and mostly one length, so runs like that are read and written
without looking at each sample. A packed sorted set must be in order, because servers search it; in the
other forms members stay in the given order. Text of 17 significant digits keeps every bit of a score.
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

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import (
    encode_length,
    encode_string,
    encode_strings,
    encode_with_suffix,
)
from telstate_rdb._bulk.read import parse_score, read_scored_strings, read_text_scored_strings
from telstate_rdb._packed.listpack import (
    decode_listpack,
    decode_listpack_pairs,
    encode_listpack,
    encode_listpack_pairs,
)
from telstate_rdb._packed.ziplist import (
    decode_ziplist,
    decode_ziplist_pairs,
    encode_ziplist,
    encode_ziplist_pairs,
)
from telstate_rdb._source import Source
from telstate_rdb._types.limits import PackingLimit, check_not_empty, check_unique
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.lzf import Compress
from telstate_rdb.values import SortedSet

_LIMIT = PackingLimit(128, 64)  # zset-max-ziplist-entries, -value; later zset-max-listpack-...
_PIECE = 4096  # members
_LISTPACK_VERSION = c.TYPE_VERSIONS[c.TYPE_ZSET_LISTPACK]
_BINARY_VERSION = c.TYPE_VERSIONS[c.TYPE_ZSET_2]
_SPECIAL_SCORES = {
    b"inf": bytes((c.SCORE_POSITIVE_INFINITY,)),
    b"-inf": bytes((c.SCORE_NEGATIVE_INFINITY,)),
}


# ----------------------------------------------------------------------------------------- reading


def read_sorted_set(source: Source) -> SortedSet:
    """Read a table of members, each with its score as a float64 (type 5)."""
    members, doubles = read_scored_strings(source)
    scores = array("d")
    scores.frombytes(doubles)
    if sys.byteorder == "big":
        scores.byteswap()
    return SortedSet(tuple(members), scores)


def read_text_sorted_set(source: Source) -> SortedSet:
    """Read a table of members, each with its score as text (type 3)."""
    members, scores = read_text_scored_strings(source)
    return SortedSet(tuple(members), array("d", scores))


def decode_sorted_set_ziplist(data: bytes) -> SortedSet:
    """Decode a sorted set that is a ziplist (type 12)."""
    uniform = decode_ziplist_pairs(data)
    return _make_of_pairs(decode_ziplist(data)) if uniform is None else _make_uniform(*uniform)


def decode_sorted_set_listpack(data: bytes) -> SortedSet:
    """Decode a sorted set that is a listpack (type 17)."""
    uniform = decode_listpack_pairs(data)
    return _make_of_pairs(decode_listpack(data)) if uniform is None else _make_uniform(*uniform)


def _make_of_pairs(entries: list[bytes]) -> SortedSet:
    """Make a sorted set of members and scores as text, in turn."""
    if len(entries) % 2:
        raise RdbParseError("a sorted set has a member without a score")
    return SortedSet(tuple(entries[::2]), array("d", map(parse_score, entries[1::2])))


def _make_uniform(members: tuple[bytes, ...], score: bytes) -> SortedSet:
    """Make a sorted set whose members all have the same score."""
    return SortedSet(members, _uniform_scores(score, len(members))[:])


@lru_cache(256)
def _uniform_scores(score: bytes, count: int) -> array[float]:
    """Return a column of one score, of which only copies may leave this module."""
    return array("d", [parse_score(score)]) * count


# ----------------------------------------------------------------------------------------- writing


def find_fault(value: SortedSet) -> str | None:
    """Return the reason why no server loads a sorted set that was read, or None."""
    scores, members = value.scores, value.members
    if any(map(math.isnan, scores)):
        return "a sorted set has a score that is NaN, which servers refuse"
    if _are_ordered(members) or len(frozenset(members)) == len(members):
        return None
    repeated = Counter(members).most_common(1)[0][0]
    return f"a sorted set has the member {repeated!r} twice, which servers refuse"


def _are_ordered(members: Sequence[bytes]) -> bool:
    """Return whether each member is greater than the one before it, or each is less."""
    compare = gt if len(members) > 1 and members[0] > members[-1] else lt
    return all(map(compare, members, members[1:]))


def check_sorted_set(value: SortedSet) -> None:
    """Raise an error for a sorted set, read from a file, that no server loads."""
    members = value.members
    check_not_empty(len(members), "sorted set")
    _check_scores(value.scores)
    if not _are_ordered(
        members
    ):  # most are, which is quicker to see than to make a set of the members
        check_unique(members, "sorted set")


def _check_scores(scores: array[float]) -> bool:
    """Raise an error for a score of NaN; return whether all scores have the same bits."""
    bits = scores.tobytes()
    is_uniform = bits == bits[:8] * len(scores)
    if scores[0] != scores[0] or not is_uniform and any(map(math.isnan, scores)):
        raise RdbWriteError(
            "A sorted set with a score of NaN cannot be written: no Redis server loads it (6.2 even "
            "crashes). Leave the member out or give it another score."
        )
    return is_uniform


def encode_sorted_set(
    value: SortedSet, version: int, compress: Compress | None
) -> tuple[int, bytes]:
    """Encode a sorted set; return its type and bytes."""
    members, scores = value.members, value.scores
    count = len(members)
    if getattr(scores, "typecode", None) != "d":  # the bits of another type are not scores
        raise TypeError("the scores of a sorted set must be an array of typecode 'd'")
    if count != len(scores):
        raise RdbWriteError(
            f"A sorted set has {count} members but {len(scores)} scores: there must be one score "
            "for each member."
        )
    check_not_empty(count, "sorted set")
    is_uniform = _check_scores(scores)
    if count <= _LIMIT.items and max(sizes := set(map(len, members))) <= _LIMIT.longest:
        is_listpack = version >= _LISTPACK_VERSION
        if is_uniform:
            packed = _pack_uniform(members, scores[:1].tobytes(), is_listpack, sizes)
        else:
            packed = _pack(members, scores, is_listpack)
        type_ = c.TYPE_ZSET_LISTPACK if is_listpack else c.TYPE_ZSET_ZIPLIST
        return type_, encode_string(packed, compress)
    is_binary = version >= _BINARY_VERSION
    encode_scores = _encode_doubles if is_binary else _encode_texts
    columns = encode_scores(scores[:1] if is_uniform else scores)
    return c.TYPE_ZSET_2 if is_binary else c.TYPE_ZSET, _encode_table(members, columns, compress)


def _encode_table(
    members: Sequence[bytes], scores: Sequence[bytes], compress: Compress | None
) -> bytes:
    """Encode members, each with its score, or with the only score.

    Pieces that fit into a processor's cache are looked at three times as fast as a million members.
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
            parts.append(encode_strings(piece, compress, scores[start : start + _PIECE]))
    if not in_order:
        check_unique(members, "sorted set")
    return b"".join(parts)


def _pack_uniform(
    members: Sequence[bytes], bits: bytes, is_listpack: bool, sizes: Collection[int]
) -> bytes:
    """Pack members, of the lengths `sizes`, that all have the score of these bits, in order."""
    ordered = sorted(members)  # which costs next to nothing if they are
    if not all(map(lt, ordered, ordered[1:])):  # quicker than making a set of them
        check_unique(members, "sorted set")
    pack_pairs = encode_listpack_pairs if is_listpack else encode_ziplist_pairs
    return pack_pairs(ordered, _format_score(bits), sizes)


def _pack(members: Sequence[bytes], scores: array[float], is_listpack: bool) -> bytes:
    """Pack members and scores, in order."""
    check_unique(members, "sorted set")
    pairs = sorted(zip(scores, members))
    texts = chain.from_iterable((member, b"%.17g" % score) for score, member in pairs)
    return encode_listpack(texts) if is_listpack else encode_ziplist(texts)


@lru_cache(256)
def _format_score(bits: bytes) -> bytes:
    """Return the text of a score, given by its bits because 0.0 and -0.0 are equal."""
    return b"%.17g" % array("d", bits)[0]


def _encode_doubles(scores: array[float]) -> list[bytes]:
    """Encode scores as 8 bytes each, little-endian."""
    if sys.byteorder == "big":
        scores = scores[:]
        scores.byteswap()
    data = scores.tobytes()
    return [data[place : place + 8] for place in range(0, len(data), 8)]


def _encode_texts(scores: array[float]) -> list[bytes]:
    """Encode scores as text: a byte of length and that much ASCII, or one byte for infinities."""
    texts = [b"%.17g" % score for score in scores]
    special = _SPECIAL_SCORES
    return [special.get(text) or b"%c%b" % (len(text), text) for text in texts]
