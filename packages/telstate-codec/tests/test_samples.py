"""Decoding many samples at once gives the same result as decoding each."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import (
    DecodeError,
    JoinedSamples,
    decode_sample,
    decode_sample_arrays,
    decode_value,
    encode_sample,
    encode_value,
)
from telstate_codec.samples import decode_samples

times = st.floats(min_value=0.0, allow_infinity=False)
floats = st.lists(st.tuples(times, st.floats()))
anything = st.one_of(st.floats(), st.integers(-5, 300), st.text(max_size=12), st.booleans())


@given(st.one_of(floats, st.lists(st.tuples(times, anything))))
def test_samples_are_the_same_as_one_by_one(samples: list[tuple[float, Any]]) -> None:
    """Samples of any types, in any mixture, are decoded as each would be by itself."""
    members = [encode_sample(time, encode_value(value)) for time, value in samples]
    single = [decode_sample(member) for member in members]
    assert repr(decode_samples(members)) == repr([(decode_value(v), t) for t, v in single])
    assert decode_samples(members, return_encoded=True) == [(v, t) for t, v in single]


def test_floats_are_floats() -> None:
    """Floats, special ones included, are decoded to plain floats."""
    values = [0.0, -0.0, math.inf, 1e-320]
    members = [encode_sample(float(n), encode_value(v)) for n, v in enumerate(values)]
    assert repr(decode_samples(members)) == repr([(v, float(n)) for n, v in enumerate(values)])


@given(st.lists(st.binary(max_size=20)))
def test_invalid_bytes(members: list[bytes]) -> None:
    """Any bytes are decoded to samples, or raise DecodeError."""
    try:
        decode_samples(members)
    except DecodeError:
        pass


def test_short_members_raise_decode_error() -> None:
    """The error for a member that is shorter than a timestamp says how long it is."""
    with pytest.raises(DecodeError, match="3 in all"):
        decode_samples([encode_sample(1.0, b"\xff\x01"), b"abc"])
    with pytest.raises(DecodeError, match="3 in all"):
        decode_samples([b"abc"], return_encoded=True)


@given(st.integers(1, 30), st.data())
def test_joined_samples_are_the_same_as_a_list(size: int, data: st.DataObject) -> None:
    """Joined samples are a sequence that is equal to a list of them."""
    members = data.draw(st.lists(st.binary(min_size=size, max_size=size)))
    joined = JoinedSamples(b"".join(members), size)
    assert list(joined) == members == joined and joined == JoinedSamples(b"".join(members), size)
    assert len(joined) == len(members) and bool(joined) == bool(members)
    assert joined != [*members, b""] and joined != 1
    places = st.integers(-len(members) - 2, len(members) + 2)
    part = slice(data.draw(places), data.draw(places), data.draw(st.sampled_from([None, 2, -1])))
    assert joined[part] == members[part]
    if members:
        assert joined[-1] == members[-1]


@given(
    st.lists(st.tuples(times, st.one_of(st.floats(), st.integers(2**40, 2**41))), max_size=9),
    st.booleans(),
)
def test_joined_samples_are_decoded_as_a_list_is(
    samples: list[tuple[float, Any]], return_encoded: bool
) -> None:
    """Joined samples, of floats or of other numbers, are decoded to the same."""
    members = [encode_sample(time, encode_value(value)) for time, value in samples]
    joined = JoinedSamples(b"".join(members), 18)
    expected = decode_samples(members, return_encoded)
    assert repr(expected) == repr(decode_samples(joined, return_encoded))
    assert repr(decode_sample_arrays(members)) == repr(decode_sample_arrays(joined))


def test_joined_samples_that_are_too_short() -> None:
    """Joined samples that are shorter than a timestamp raise DecodeError, too."""
    for decode in (decode_samples, decode_sample_arrays):
        with pytest.raises(DecodeError, match="3 in all"):
            decode(JoinedSamples(b"abcdef", 3))


def test_many_samples_of_one_size_are_joined_in_parts() -> None:
    """More samples than are joined at once are decoded to the same."""
    members = [encode_sample(float(n), encode_value(n / 7)) for n in range(10_000)]
    assert decode_samples(members) == [(n / 7, float(n)) for n in range(10_000)]
    assert decode_sample_arrays(members).values.tolist() == [n / 7 for n in range(10_000)]
