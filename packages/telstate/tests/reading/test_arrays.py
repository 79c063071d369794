"""`get_range_arrays` on every backend, synchronous and asyncio."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_subjects import Subject

from telstate import (
    DecodeError,
    ImmutableKeyError,
    InvalidTimestampError,
    SampleArrays,
    TelescopeState,
)
from telstate_backends import AddSample
from telstate_codec import encode_sample

times = st.floats(min_value=0, max_value=1e12)
SORTS: dict[str, st.SearchStrategy[Any]] = {
    "float": st.floats(),
    "int": st.integers(-(2**63), 2**64 - 1),
    "small int": st.integers(-500, 500),
    "number": st.one_of(st.floats(), st.integers(-(2**54), 2**54)),
    "bool": st.booleans(),
    "complex": st.complex_numbers(),
    "numpy": st.one_of(st.floats(width=32).map(np.float32), st.integers(-9, 9).map(np.int16)),
    "array": st.lists(st.floats(), min_size=3, max_size=3).map(np.array),
    "arrays": st.lists(st.integers(0, 9), min_size=1, max_size=2).map(np.array),
    "text": st.text(max_size=4),
    "list": st.lists(st.integers(0, 9), max_size=2),
    "anything": st.one_of(st.none(), st.floats(), st.text(), st.just((1, 2))),
}


async def test_as_get_range(subject: Subject) -> None:
    """The arrays have the samples that `get_range` returns for the same arguments and view."""
    await subject.add_many("gain", [1.5, 1.75, 2.0], [100.0, 105.0, 110.0])
    beam = subject.view("beam")
    for arguments in (
        (),
        (0,),
        (100, 110),
        (100, 110, None, True),
        (None, 107),
        (105, None, True),
        (107, 101),
        (101, 103),
        (-5.0, math.inf),
    ):
        expected = await beam.get_range("gain", *arguments)
        arrays = await beam.get_range_arrays("gain", *arguments)
        assert isinstance(arrays, SampleArrays)
        assert list(zip(arrays.values.tolist(), arrays.timestamps.tolist())) == expected
        assert arrays.timestamps.dtype == arrays.values.dtype == np.float64


async def test_round_trip(subject: Subject) -> None:
    """Arrays that were added are returned with their dtype and shape, and are writable."""
    stored = {
        "f8": np.arange(5) / 7,
        "f4": np.arange(5, dtype="f4"),
        "u1": np.arange(5, dtype="u1"),
        "bool": np.arange(5) > 2,
        "c8": np.arange(5).astype("c8") * 1j,
        "time": np.arange(5).astype("M8[ms]"),
        "rows": np.arange(30, dtype=">i2").reshape(5, 3, 2),
        "large": np.arange(5000.0).reshape(5, 1000),
        "structures": np.zeros(5, [("a", "f8"), ("b", "i4")]),
    }
    moments = np.arange(5) + 1e9
    for name, values in stored.items():
        await subject.add_many(name, values, moments)
        arrays = await subject.get_range_arrays(name, st=0)
        assert np.array_equal(arrays.timestamps, moments)
        assert arrays.values.dtype == values.dtype
        assert np.array_equal(arrays.values, values)
        for array in arrays:
            assert array.flags.owndata and array.flags.writeable


async def test_objects(subject: Subject) -> None:
    """Values without a common dtype are returned unchanged in an array of objects."""
    samples: dict[str, list[Any]] = {
        "text": ["on", "off"],
        "lists": [[1, 2], [3, 4]],
        "shapes": [np.zeros(2), np.zeros(3)],
        "large": [2**63, -1],
        "mixture": [2**53 + 1, 0.5],
        "kinds": [True, 1],
    }
    for name, values in samples.items():
        await subject.add_many(name, values, [1, 2])
        array = (await subject.get_range_arrays(name, st=0)).values
        assert (array.dtype, array.shape) == (object, (2,))
        assert [type(one) for one in array] == [type(value) for value in values]
        assert all(np.array_equal(one, value) for one, value in zip(array, values))


async def test_several_dtypes(subject: Subject) -> None:
    """Numbers, or arrays of one shape, of several dtypes have the dtype that holds all exactly."""
    samples: dict[str, tuple[list[Any], str]] = {
        "complex": ([1j, 2.5, 3], "complex128"),
        "large": ([2**63, 1, 0], "uint64"),
        "rows": ([np.zeros((2, 3), "f4"), np.ones((2, 3)), np.ones((2, 3), "i2")], "float64"),
    }
    for name, (values, dtype) in samples.items():
        await subject.add_many(name, values, [1, 2, 3])
        array = (await subject.get_range_arrays(name, st=0)).values
        assert (str(array.dtype), array.tolist()) == (dtype, np.array(values).tolist())


async def test_no_samples(subject: Subject) -> None:
    """A range without samples gives float64 arrays of shape (0,)."""
    await subject.add("mode", "on", ts=5.0)
    arrays = await subject.get_range_arrays("mode", st=6)
    assert [(array.dtype, array.shape) for array in arrays] == [(np.float64, (0,))] * 2


async def test_refused(subject: Subject) -> None:
    """A key that is missing, of another kind, or cannot be decoded raises the error of `get_range`."""
    await subject.set("i", 1)
    await subject.execute(AddSample(b"bad", encode_sample(1.0, b"\x90")))
    with pytest.raises(KeyError, match="'nope'"):
        await subject.get_range_arrays("nope")
    with pytest.raises(ImmutableKeyError, match="'i'"):
        await subject.get_range_arrays("i")
    with pytest.raises(DecodeError, match="'bad'"):
        await subject.get_range_arrays("bad")
    with pytest.raises(InvalidTimestampError):
        await subject.get_range_arrays("bad", st=math.nan)


@settings(deadline=None)  # the load of the machine must not decide the test
@given(st.sampled_from(sorted(SORTS)).flatmap(lambda sort: st.lists(st.tuples(times, SORTS[sort]))))
def test_every_value_comes_back(samples: list[tuple[float, Any]]) -> None:
    """For any values, the arrays hold the values that `get_range` returns."""
    ts = TelescopeState()
    ts.add_many("key", [value for _, value in samples], [time for time, _ in samples])
    if not samples:
        return
    arrays = ts.get_range_arrays("key", st=0)
    expected = ts.get_range("key", st=0)
    assert arrays.timestamps.tolist() == [time for _, time in expected]
    for element, (value, _) in zip(arrays.values, expected, strict=True):
        may_be_nan = isinstance(value, (float, complex, np.floating, np.ndarray))
        assert np.array_equal(element, value, equal_nan=may_be_nan)
