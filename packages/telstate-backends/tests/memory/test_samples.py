"""The samples of a key in memory are the same as a sorted list without duplicates."""

from __future__ import annotations

import struct
import tracemalloc
from bisect import bisect_left, insort
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

import telstate_backends
from telstate_backends import AddSample, GetRange, MemoryBackend, Samples
from telstate_codec import JoinedSamples
from telstate_testing.interruptions import interrupt


def member(number: int, size: int = 9) -> bytes:
    """Return a member of the sorted set: most are of one size, a few longer or shorter."""
    return struct.pack(">d", number / 4) + b"v" * (size - 8)


sizes = st.sampled_from([9] * 20 + [8, 10, 200])
single = st.builds(member, st.integers(0, 2000), sizes)
# Whole runs, so that there are several blocks, the members of which are of one size or of several.
runs = st.builds(
    lambda start, step, count, size: [member(start + step * n, size) for n in range(count)],
    st.integers(0, 1500),
    st.integers(1, 4),
    st.integers(1, 300),
    sizes,
)
bounds = st.one_of(single, st.builds(lambda number: member(number)[:8], st.integers(0, 2000)))
changes = st.lists(st.one_of(single, runs, runs.map(lambda run: run[::-1])), max_size=12)


@settings(deadline=None, max_examples=60)
@given(runs, changes, st.lists(st.tuples(bounds, bounds, st.booleans()), min_size=5), st.data())
def test_samples_are_a_sorted_list(
    first: list[bytes],
    changes: list[bytes | list[bytes]],
    ranges: list[tuple[bytes, bytes, bool]],
    data: st.DataObject,
) -> None:
    """Whatever is inserted, in any order, everything reads as it does from a sorted list without duplicates."""
    samples, expected = Samples(first), list(first)
    for change in changes:
        if isinstance(change, bytes):
            assert samples.insert_sample(change) == (change not in expected)
            if change not in expected:
                insort(expected, change)
        else:
            samples.insert_samples(change)
            expected = sorted({*expected, *change})
        assert samples.latest == expected[-1]
        if data.draw(st.booleans()):
            assert len(samples) == len(expected)
    for start, end, include_previous in ranges:
        begin, stop = bisect_left(expected, start), bisect_left(expected, end)
        begin -= include_previous and begin > 0
        assert samples.find_range(start, end, include_previous) == expected[begin:stop]
    copy = samples.copy()
    assert list(samples) == expected == copy and samples == copy
    assert samples.size == sum(map(len, expected)) and len(samples) == len(expected)
    places = st.integers(-len(expected) - 1, len(expected) + 1)
    for _ in range(5):
        part = slice(
            data.draw(places), data.draw(places), data.draw(st.sampled_from([None, 1, 7, -1]))
        )
        assert samples[part] == expected[part]
    some = data.draw(st.integers(-len(expected), len(expected) - 1))
    assert samples[some] == expected[some]
    samples.insert_sample(b"")
    samples.insert_sample(b"\xff")
    assert list(copy) == expected


def test_short_samples_of_one_size_are_joined() -> None:
    """Many floats take little more memory than their bytes, and are returned joined."""
    backend, key = MemoryBackend(), b"gain"
    backend.execute(AddSample(key, member(0, 18)))
    count = 20_000
    tracemalloc.start()
    for number in range(1, count):
        backend.execute(AddSample(key, member(number, 18)))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 25 * count
    found = backend.execute(GetRange((key,), b"", b"\xff"))
    assert isinstance(found, JoinedSamples) and found.joined.startswith(member(0, 18))
    assert found == [member(number, 18) for number in range(count)]


def test_long_samples_are_not_copied() -> None:
    """Long samples are returned as they were added."""
    backend, key = MemoryBackend(), b"spectrum"
    added = [member(number, 1000) for number in range(300)]
    for one in added:
        backend.execute(AddSample(key, one))
    found = backend.execute(GetRange((key,), b"", b"\xff"))
    assert found is not None and all(one is other for one, other in zip(found, added, strict=True))


def test_an_interrupt_leaves_the_samples_before_or_after() -> None:
    """An interrupt at any line of an insertion leaves the samples as they were before it, or after it."""
    # The next sample at the end fills a block, and so does the next one near the beginning.
    samples = Samples([member(2 * number) for number in range(1, 128)])
    for number in range(31):
        samples.insert_sample(member(2 * number + 1))
    before = list(samples)
    singles = [[member(0)], [member(63)], [member(99)], [member(99, 10)], [member(255)]]
    for added in [*singles, [member(number) for number in range(50, 300)]]:
        after = sorted({*before, *added})
        at, is_interrupted = 0, True
        while is_interrupted:
            at += 1
            copy = samples.copy()
            assert len(copy) == len(before)
            insert = copy.insert_samples if len(added) > 1 else lambda one: copy.insert_sample(*one)
            is_interrupted = interrupt(partial(insert, added), at, telstate_backends)
            assert list(copy) in (before, after)
            assert copy[:] == list(copy) and len(copy) == len(copy[:])
            copy.insert_samples(added)
            assert list(copy) == after
        assert at > 5
