"""Encoding values: the type that each gets in each version, and the values that are refused."""

from __future__ import annotations

import math
from array import array

import attrs
import pytest
import rdb_strategies as values
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb._types.streams import without_counters
from telstate_rdb._types.writers import (
    WRITABLE_VERSIONS,
    encode_value,
    lowest_version,
)
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.lzf import compress_in_python
from telstate_rdb.values import (
    Hash,
    List,
    Module,
    RawValue,
    Set,
    SortedSet,
    Stream,
    StreamConsumer,
    StreamGroup,
    StreamId,
    Value,
)


def sorted_set(count: int, size: int) -> SortedSet:
    """Make a sorted set of members of one size."""
    return SortedSet(values.numbered_texts(count, size), array("d", range(count)))


def hash_of(count: int, size: int, expiring: int = 0) -> Hash:
    """Make a hash with values of one size."""
    fields = dict.fromkeys(values.numbered_texts(count, 5), b"v" * size)
    return Hash(fields, {field: 10**12 + n for n, field in enumerate(list(fields)[:expiring])})


def integers(count: int) -> Set:
    """Make a set of integers."""
    return Set(tuple(b"%d" % number for number in range(count)))


NO_ID = StreamId(0, 0)
OLD_STREAM = Stream((), NO_ID, NO_ID, NO_ID, 0, ())
NEW_STREAM = Stream((), NO_ID, NO_ID, NO_ID, 1, ())
NEWEST_STREAM = attrs.evolve(
    NEW_STREAM, groups=(StreamGroup(b"g", NO_ID, None, (), (StreamConsumer(b"c", 1, 2, ()),)),)
)

# Value, then the type that it gets in versions 6, 7, 8, 9, 10, 11, 12 and 80; None: an error.
FORMS: list[tuple[str, Value, list[int | None]]] = [
    ("string", b"x" * 100, [0] * 8),
    ("512 elements of 64", List(values.numbered_texts(512, 64)), [10, 14, 14, 14, 18, 18, 18, 18]),
    ("513 elements", List(values.numbered_texts(513, 4)), [1, 14, 14, 14, 18, 18, 18, 18]),
    ("element of 65", List(values.numbered_texts(2, 65)), [1, 14, 14, 14, 18, 18, 18, 18]),
    ("512 integers", integers(512), [11] * 8),
    ("513 integers", integers(513), [2] * 8),
    ("128 members of 64", Set(values.numbered_texts(128, 64)), [2, 2, 2, 2, 2, 20, 20, 20]),
    ("129 members", Set(values.numbered_texts(129, 4)), [2] * 8),
    ("member of 65", Set(values.numbered_texts(2, 65)), [2] * 8),
    ("128 scores", sorted_set(128, 64), [12, 12, 12, 12, 17, 17, 17, 17]),
    ("129 scores", sorted_set(129, 4), [3, 3, 5, 5, 5, 5, 5, 5]),
    ("scored member of 65", sorted_set(2, 65), [3, 3, 5, 5, 5, 5, 5, 5]),
    ("512 fields of 64", hash_of(512, 64), [13, 13, 13, 13, 16, 16, 16, 16]),
    ("513 fields", hash_of(513, 4), [4] * 8),
    ("value of 65", hash_of(2, 65), [4] * 8),
    ("expiring", hash_of(512, 64, 1), [None] * 6 + [25, 22]),
    ("many, expiring", hash_of(513, 4, 2), [None] * 6 + [24, 22]),
    ("module", Module(1 << 60, b"\0"), [None, None, 7, 7, 7, 7, 7, 7]),
    ("stream", OLD_STREAM, [None, None, None, 15, 19, 21, 21, 21]),
    ("stream with counters", NEW_STREAM, [None] * 4 + [19, 21, 21, 21]),
    ("stream with active consumers", NEWEST_STREAM, [None] * 5 + [21, 21, 21]),
]


@pytest.mark.parametrize(
    ("value", "types"), [form[1:] for form in FORMS], ids=[f[0] for f in FORMS]
)
def test_forms(value: Value, types: list[int | None]) -> None:
    """In each version a value gets the type that a server of that version would use."""
    found: list[int | None] = []
    for version in WRITABLE_VERSIONS:
        try:
            found.append(encode_value(value, version)[0])
        except RdbWriteError as error:
            assert f"Write version {lowest_version(value)} " in str(error)
            found.append(None)
    assert found == types


@pytest.mark.parametrize("version", WRITABLE_VERSIONS)
@pytest.mark.parametrize("compress", [None, compress_in_python])
@given(data=st.data())
def test_round_trip(version: int, compress: None, data: st.DataObject) -> None:
    """A value that is encoded in any version is decoded to the same value."""
    kinds = [values.PLAIN_VALUES]
    if version >= 9:
        kinds.append(values.streams(counters=version >= 11))
    if version >= 12:
        kinds.append(values.hashes_with_expiries())
    value = data.draw(st.one_of(kinds))
    kind, body, _ = encode_value(value, version, compress)
    assert decode_raw(RawValue(kind, body, version)) == value


@given(values.streams())
def test_streams_without_counters(stream: Stream) -> None:
    """A stream without its counters fits into version 9 and loses nothing else."""
    old = without_counters(stream)
    assert lowest_version(old) == 9
    kind, body, _ = encode_value(old, 9)
    read = decode_raw(RawValue(kind, body, 9))
    assert read == old
    assert isinstance(read, Stream)
    assert read.entries == stream.entries


REFUSED: list[tuple[str, Value, str]] = [
    ("empty list", List(()), "An empty list cannot be written"),
    ("empty set", Set(()), "An empty set cannot be written"),
    ("empty sorted set", SortedSet((), array("d")), "An empty sorted set cannot be written"),
    ("empty hash", Hash({}), "An empty hash cannot be written"),
    ("set", Set((b"b", b"a", b"b")), "A set has the member b'b' twice"),
    ("sorted set", SortedSet((b"a", b"a"), array("d", [1, 2])), "the member b'a' twice"),
    ("scores", SortedSet((b"a", b"b"), array("d", [1])), "2 members but 1 scores"),
    ("NaN", SortedSet((b"a", b"b"), array("d", [1, math.nan])), "a score of NaN"),
    ("only NaN", SortedSet((b"a", b"b"), array("d", [math.nan] * 2)), "a score of NaN"),
    ("no field", Hash({b"a": b"b"}, {b"c": 1}), "an expiry for b'c', but no such field"),
    ("past", Hash({b"a": b"b"}, {b"a": 0}), "the expiry 0 ms"),
    (
        "beyond",
        Stream((), StreamId(2**64, 0), NO_ID, NO_ID, 0, ()),
        "outside the range of the format",
    ),
]


@pytest.mark.parametrize(("value", "reason"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_unloadable_values(value: Value, reason: str) -> None:
    """A value that would keep a server from starting is refused, with the reason."""
    with pytest.raises(RdbWriteError, match=reason):
        encode_value(value, lowest_version(value))


def test_value_of_another_type() -> None:
    """Anything else raises a TypeError that names the types of values."""
    with pytest.raises(TypeError, match="one of bytes, List.*not str"):
        encode_value("text", 6)  # type: ignore[arg-type]  # wrong on purpose


def test_stream_too_new_for_a_version() -> None:
    """The error for a stream with counters names the function that removes them."""
    with pytest.raises(RdbWriteError, match=r"telstate_rdb.without_counters\(\)"):
        encode_value(NEW_STREAM, 9)
