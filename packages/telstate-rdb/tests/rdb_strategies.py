"""Hypothesis strategies for values: small ones at random, large ones around the limits of packing."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

from hypothesis import strategies as st

from telstate_rdb import without_counters
from telstate_rdb.values import (
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    Value,
)

# Integers around which an encoding changes.
EDGES = [
    edge + step
    for bits in (7, 8, 12, 15, 23, 31, 63)
    for edge in (1 << bits,)
    for step in (-1, 0, 1)
]
INTEGERS = st.sampled_from([0, 1, 12, 13, *EDGES, *(-edge for edge in EDGES)]) | st.integers(
    -(2**65), 2**65
)
LENGTHS = st.sampled_from(
    [0, 1, 11, 20, 21, 63, 64, 65, 127, 128, 253, 254, 255, 4095, 4096, 16384]
)


@st.composite
def long_texts(draw: st.DrawFn) -> bytes:
    """Draw a text of a length around which an encoding changes; some compress well."""
    size = draw(LENGTHS)
    if draw(st.booleans()):
        return draw(st.binary(min_size=1, max_size=3)) * (size // 2)
    return random.Random(draw(st.integers(0, 1000))).randbytes(size)


TEXTS = st.binary(max_size=70) | INTEGERS.map(b"%d".__mod__) | long_texts()
NEAR_INTEGERS = st.sampled_from(
    [b"", b"-", b"-0", b"00", b"01", b"+1", b" 1", b"1 ", b"1.0", b"--1"]
)
SCORES = st.floats(allow_nan=False) | INTEGERS.map(float)


def _distinct(draw: st.DrawFn, size: int) -> list[bytes]:
    """Make different texts of one kind (samples, words, integers), which are not drawn one by one."""
    generator = random.Random(draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from(["samples", "words", "integers", "long"]))
    if kind == "samples":
        return [b"%08d" % (number * 17) + generator.randbytes(9) for number in range(size)]
    if kind == "integers":
        spread = draw(st.sampled_from([1 << 15, 1 << 31, 1 << 63]))
        return [b"%d" % number for number in range(-spread, -spread + 7 * size, 7)]
    most = 64 if kind == "words" else 200
    return [b"%d:" % number + b"x" * generator.randrange(most - 8) for number in range(size)]


@st.composite
def many(draw: st.DrawFn) -> list[bytes]:
    """Draw different texts, as many as the limits above which collections are not packed."""
    return _distinct(draw, draw(st.sampled_from([127, 128, 129, 511, 512, 513, 600])))


def numbered_texts(count: int, size: int, prefix: bytes = b"") -> tuple[bytes, ...]:
    """Make different texts of one size."""
    return tuple(b"%b%0*d" % (prefix, size - len(prefix), number) for number in range(count))


FEW = st.lists(TEXTS | NEAR_INTEGERS, min_size=1, max_size=20, unique=True)
MEMBERS = FEW | many()


def _sorted_set(members: Sequence[bytes], scores: Sequence[float]) -> SortedSet:
    return SortedSet(
        tuple(members), array("d", (scores[i % len(scores)] for i in range(len(members))))
    )


LISTS = st.builds(lambda elements: List(tuple(elements)), MEMBERS | st.lists(TEXTS, min_size=1))
SETS = st.builds(lambda members: Set(tuple(members)), MEMBERS)
SORTED_SETS = st.builds(_sorted_set, MEMBERS, st.just([0.0]) | st.lists(SCORES, min_size=1))
HASHES = st.builds(
    lambda fields, values: Hash({f: values[i % len(values)] for i, f in enumerate(fields)}),
    MEMBERS,
    st.lists(TEXTS, min_size=1, max_size=5),
)
PLAIN_VALUES: st.SearchStrategy[Value] = TEXTS | LISTS | SETS | SORTED_SETS | HASHES
"""Values that version 6 can hold."""


@st.composite
def hashes_with_expiries(draw: st.DrawFn) -> Hash:
    """Draw a hash in which at least one field expires."""
    plain = draw(HASHES)
    chosen = draw(st.lists(st.sampled_from(sorted(plain.fields)), min_size=1, max_size=9))
    expiry = st.integers(1, 2**48 - 1)
    return Hash(plain.fields, {field: draw(expiry) for field in chosen})


NUMBERS = st.integers(0, 2**63 - 1)
IDS = st.builds(StreamId, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
FIELDS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3).map(tuple)


@st.composite
def streams(draw: st.DrawFn, counters: bool = True) -> Stream:
    """Draw a stream, with the counters that versions 10 and 11 introduced if `counters` is true."""
    ids = sorted(draw(st.sets(IDS, max_size=8)))
    entries = [StreamEntry(one, draw(FIELDS)) for one in ids]
    repeated: bool = draw(st.booleans())
    if entries and repeated:
        last = entries[-1]
        room = min(draw(st.sampled_from([99, 100, 250])), 2**64 - 1 - last.id.sequence)
        entries += [
            StreamEntry(StreamId(last.id.milliseconds, last.id.sequence + step), last.fields)
            for step in range(1, room + 1)
        ]
    no_id = StreamId(0, 0)
    # Groups and consumers are in the order of their names, as servers keep them.
    groups = draw(st.lists(_groups(counters), max_size=2, unique_by=lambda group: group.name))
    stream = Stream(
        tuple(entries),
        last_id=entries[-1].id if entries else draw(IDS),
        first_id=entries[0].id if entries else no_id,
        max_deleted_id=draw(IDS) if counters else no_id,
        entries_added=draw(NUMBERS) if counters else len(entries),
        groups=tuple(sorted(groups, key=lambda group: group.name)),
    )
    return stream if counters else without_counters(stream)


@st.composite
def _groups(draw: st.DrawFn, counters: bool) -> StreamGroup:
    pending = [
        StreamPending(one, draw(NUMBERS), draw(st.integers(0, 2**40)))
        for one in sorted(draw(st.sets(IDS, max_size=4)))
    ]
    cut = draw(st.integers(0, len(pending)))
    names = draw(st.lists(st.binary(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
    shares = [pending[:cut], pending[cut:]]
    consumers = tuple(
        StreamConsumer(
            name,
            draw(NUMBERS),
            draw(st.just(-1) | NUMBERS) if counters else None,
            tuple(one.id for one in share),
        )
        for name, share in zip(sorted(names), shares, strict=True)
    )
    read = draw(st.none() | NUMBERS) if counters else None
    return StreamGroup(draw(st.binary(max_size=30)), draw(IDS), read, tuple(pending), consumers)
