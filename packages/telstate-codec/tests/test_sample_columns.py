"""Samples as arrays: the same types and bytes as one by one."""

import math
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import codec_values
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telstate_codec import (
    ENCODING_PICKLE,
    DecodeError,
    EncodeError,
    InvalidTimestampError,
    decode_sample_arrays,
    decode_samples,
    encode_sample,
    encode_samples,
    encode_value,
)
from telstate_codec._sample_columns import decode_columns, stack_values


def same_dtype(source: random.Random, count: int) -> list[Any]:
    """Make NumPy scalars of one dtype."""
    return list(codec_values.filled(source, codec_values.dtype(source), (count,)))


def same_shape(source: random.Random, count: int) -> list[Any]:
    """Make arrays of one shape and dtype, in various orders."""
    kind = codec_values.dtype(source)
    shape = tuple(source.choice([1, 2, 3]) for _ in range(source.randrange(3)))
    orders = source.choice([(np.ascontiguousarray,), (np.asfortranarray, np.ascontiguousarray)])
    made = [codec_values.filled(source, kind, shape) for _ in range(count)]
    # Copying may leave out bytes between fields, so those are not copied.
    return made if kind.names else [source.choice(orders)(one).reshape(shape) for one in made]


def numbers(*choices: Callable[[random.Random], Any]) -> Callable[[random.Random, int], list[Any]]:
    """Return a function that makes lists of numbers, each by one of some functions."""
    return lambda source, count: [source.choice(choices)(source) for _ in range(count)]


def arrays_of_numbers(source: random.Random, count: int) -> list[Any]:
    """Make arrays of one shape, of several dtypes."""
    shape = source.choice([(), (0,), (2,), (2, 3)])
    dtypes = source.choices(["i1", "u2", "i8", ">i8", "u8", "f2", ">f4", "f8", "c8", "c16"], k=3)
    kinds = [np.dtype(source.choice(dtypes)) for _ in range(count)]
    return [codec_values.filled(source, kind, shape) for kind in kinds]


def small(source: random.Random) -> int:
    """Make an integer of up to 40 bits."""
    return source.randrange(-(2**40), 2**40) >> source.randrange(40)


def large(source: random.Random) -> int:
    """Make an integer near a power of two."""
    integer: int = source.choice(codec_values.INTEGERS)
    return max(-(2**63), min(integer, 2**64 - 1))


def floating(source: random.Random) -> float:
    """Make a float."""
    return source.choice(codec_values.FLOATS)


FAMILIES: dict[str, Callable[[random.Random, int], list[Any]]] = {
    "bool": numbers(lambda source: source.random() < 0.5),
    "bool, int": numbers(lambda source: source.random() < 0.5, small),
    "int": numbers(small),
    "large int": numbers(large),
    "float": numbers(floating),
    "int, float": numbers(small, floating),
    "large int, float": numbers(large, floating),
    "complex": numbers(lambda source: complex(floating(source), 1)),
    "complex, float, int": numbers(small, floating, lambda source: complex(floating(source), 1)),
    "arrays of numbers": arrays_of_numbers,
    "numpy": numbers(
        small,
        floating,
        lambda source: np.int32(source.randrange(100)),
        lambda s: np.float32(s.random()),
    ),
    "numpy integers": numbers(
        lambda source: np.uint64(min(abs(large(source)), 2**64 - 1)), lambda source: np.int8(-3)
    ),
    "same dtype": same_dtype,
    "same shape": same_shape,
    "text": lambda source, count: [codec_values.text(source, 3) for _ in range(count)],
    "anything": lambda source, count: [codec_values.value(source) for _ in range(count)],
}


def make(family: str, seed: int, count: int) -> list[Any]:
    """Make values of a family that can all be encoded."""
    values = []
    for value in FAMILIES[family](random.Random(seed), count):
        try:
            encode_value(value)
        except EncodeError:
            continue
        values.append(value)
    return values


families = st.builds(
    make, st.sampled_from(sorted(FAMILIES)), st.integers(0, 2**32), st.integers(0, 9)
)


def equal(element: Any, value: Any) -> bool:
    """Return whether an element of an array is the same number as a value, or otherwise equal to it."""
    if isinstance(element, np.generic) and isinstance(
        value, (bool, int, float, complex, np.number)
    ):
        ours, theirs = element.item(), value.item() if isinstance(value, np.generic) else value
        if isinstance(ours, complex) and not isinstance(theirs, complex):
            return ours.imag == 0 and equal(np.float64(ours.real), theirs)
        if isinstance(ours, complex):
            return bool(codec_values.describe(ours) == codec_values.describe(complex(theirs)))
        return bool(ours == theirs) or bool(ours != ours and theirs != theirs)
    if isinstance(value, np.ndarray) and isinstance(element, np.ndarray):
        if element.dtype != value.dtype and element.dtype.kind in "iufc":
            numbers = zip(element.flat, value.flat, strict=True)
            return element.shape == value.shape and all(equal(*pair) for pair in numbers)
        # The order in memory may differ. Where bytes have to be reordered, NumPy leaves those between
        # fields undefined.
        in_place = element.flags.c_contiguous and value.flags.c_contiguous
        read = np.ndarray.tobytes if in_place else codec_values.contents
        same_kind = (element.dtype, element.shape) == (value.dtype, value.shape)
        return bool(same_kind and read(element) == read(value))
    return bool(codec_values.describe(element) == codec_values.describe(value))


@given(families)
@example([])
def test_every_value_survives(values: list[Any]) -> None:
    """The arrays hold the times and the values of any samples, unchanged."""
    times = [float(place) for place in range(len(values))]
    members = encode_samples(values, times)
    arrays = decode_sample_arrays(members)
    assert arrays.timestamps.dtype == np.float64
    assert arrays.timestamps.tolist() == times
    decoded = [value for value, _ in decode_samples(members)]
    assert len(arrays.values) == len(decoded)
    for place, value in enumerate(decoded):
        is_array = isinstance(value, np.ndarray) and arrays.values.dtype != object
        element = arrays.values[place, ...] if is_array else arrays.values[place]
        assert equal(element, value), place
    for array in arrays:
        assert array.flags.owndata and array.flags.writeable and array.flags.c_contiguous
        assert array.dtype.isnative or isinstance(decoded[0], (np.ndarray, np.void))


@given(families.filter(bool))
def test_the_quick_way_returns_the_same(values: list[Any]) -> None:
    """Where there is a quick way, it returns the same as decoding one by one and stacking."""
    members = encode_samples(values, range(len(values)))
    quick = decode_columns(members)
    if quick is not None:
        slow = stack_values([value for value, _ in decode_samples(members)])
        assert slow.dtype.kind != "O"
        assert codec_values.describe(quick[1]) == codec_values.describe(slow)


def test_large_arrays() -> None:
    """Large arrays, in both orders, are stacked like small ones."""
    orders: list[Literal["C", "F"]] = ["C", "F"]
    for order in orders:
        arrays = [np.arange(2000.0).reshape(40, 50).copy(order) + n for n in range(3)]
        members = encode_samples(arrays, [1, 2, 3])
        assert decode_columns(members) is not None
        times, values = decode_sample_arrays(members)
        assert times.tolist() == [1, 2, 3]
        assert np.array_equal(values, np.stack(arrays))
        other = encode_samples([np.zeros((50, 40))], [4])
        mixed = decode_sample_arrays([*members, *other]).values
        assert mixed.dtype == object
        assert [one.shape for one in mixed] == [(40, 50)] * 3 + [(50, 40)]


def test_bytes_between_fields_are_kept() -> None:
    """Stacking structured arrays, in any order, and structured scalars keeps the bytes between fields."""
    kind = np.dtype("i1,f8", align=True)
    raw = bytes(range(1, 97))
    array = np.frombuffer(raw, kind).reshape(3, 2)
    columns = np.asfortranarray(array.view("V16")).view(kind)
    for value in (array, columns):
        values = decode_sample_arrays(encode_samples([value, value], [1, 2])).values
        assert values.tobytes() == raw * 2
    assert decode_sample_arrays(encode_samples(array.ravel(), range(6))).values.tobytes() == raw


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        ([], "f8", (0,)),
        ([True, False], "?", (2,)),
        ([1, -1], "i8", (2,)),
        ([2**63 - 1, -(2**63)], "i8", (2,)),
        ([2**63], "u8", (1,)),
        ([1.5, -1.5], "f8", (2,)),
        ([1, 1.5], "f8", (2,)),
        ([2**53, 1.5], "f8", (2,)),
        ([2**53 + 1, 1.5], "O", (2,)),
        ([2**60, 1.5], "f8", (2,)),
        ([True, 1], "O", (2,)),
        ([True, 1.5], "O", (2,)),
        ([1j, 2j], "c16", (2,)),
        ([np.float32(1), np.float32(2)], "f4", (2,)),
        ([np.float32(1), 2.5], "f8", (2,)),
        ([np.float64(1), 2.5, 3], "f8", (3,)),
        ([np.int8(1), np.int16(2)], "i8", (2,)),
        ([np.uint64(2**64 - 1), np.uint64(1)], "u8", (2,)),
        ([np.uint64(2**64 - 1), 1], "u8", (2,)),
        ([np.datetime64("2026-11-22", "s")] * 2, "M8[s]", (2,)),
        ([np.datetime64("2026", "Y"), np.datetime64("2026", "s")], "O", (2,)),
        (["on", "off"], "O", (2,)),
        ([np.str_("on"), np.str_("no")], "O", (2,)),
        ([[1, 2], [3, 4]], "O", (2,)),
        ([(1, 2), (3, 4)], "O", (2,)),
        ([None, 1.5], "O", (2,)),
        ([np.zeros((2, 3), "f4")] * 2, "f4", (2, 2, 3)),
        ([np.zeros(3, ">f4")] * 2, ">f4", (2, 3)),
        ([np.zeros(3, ">f4"), np.zeros(3, "<f4")], "f4", (2, 3)),
        ([np.zeros(3, "f4"), np.zeros(3)], "f8", (2, 3)),
        ([np.zeros(3, "i4"), np.zeros(3, "u1")], "i4", (2, 3)),
        ([np.zeros(3, "i8"), np.zeros(3, "u8")], "i8", (2, 3)),
        ([np.zeros(3, "i8"), np.full(3, 2**63, "u8")], "u8", (2, 3)),
        ([np.full(3, -1), np.full(3, 2**63, "u8")], "O", (2,)),
        ([np.full(3, 2**53 - 1), np.zeros(3)], "f8", (2, 3)),
        ([np.full(3, 2**53 + 1), np.zeros(3)], "O", (2,)),
        ([np.full(3, 2**53 + 1), np.zeros(3, "c8")], "O", (2,)),
        ([np.zeros(3, "f8"), np.zeros(3, "c8")], "c16", (2, 3)),
        ([np.zeros(3, "?"), np.zeros(3)], "O", (2,)),
        ([np.zeros(3, "M8[s]"), np.zeros(3, "M8[ms]")], "O", (2,)),
        ([np.zeros((0, 3), "i8"), np.zeros((0, 3))], "f8", (2, 0, 3)),
        ([np.array(["on"]), np.array(["off"])], "<U3", (2, 1)),
        ([2**63, 1], "u8", (2,)),
        ([2**63, -1], "O", (2,)),
        ([1j, 2.5, 3], "c16", (3,)),
        ([np.complex64(1j), 2.5], "c16", (2,)),
        ([1j, 2**53 + 1], "O", (2,)),
        ([1j, True], "O", (2,)),
        ([np.zeros(3), np.zeros(4)], "O", (2,)),
        ([np.zeros(3), 1.5], "O", (2,)),
        ([np.array(1.5), np.array(2.5)], "f8", (2,)),
        ([np.array(1.5), 2.5], "O", (2,)),
        ([np.zeros((0, 3))] * 2, "f8", (2, 0, 3)),
        ([np.array(["on", "off"])] * 2, "<U3", (2, 2)),
    ],
)
def test_dtypes(values: list[Any], dtype: str, shape: tuple[int, ...]) -> None:
    """Numbers and arrays get a dtype that holds them exactly, and other values are objects."""
    array = decode_sample_arrays(encode_samples(values, range(len(values)))).values
    assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
    if dtype == "O":
        assert [type(one) for one in array] == [type(value) for value in values]


@given(st.lists(st.binary(max_size=24)))
@example([bytes(8) + b"\xff\xcb" + bytes(7)])
@example([bytes(8) + b"\xff"])
@example([bytes(8) + b"\xff\xca\x7f\x80\x00\x01"] * 2)
def test_invalid_bytes(members: list[bytes]) -> None:
    """Any bytes are decoded to arrays or raise DecodeError, as one by one, without a warning."""
    try:
        expected = decode_samples(members)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_sample_arrays(members)
    else:
        times, values = decode_sample_arrays(members)
        assert times.tobytes() == np.array([time for _, time in expected]).tobytes()
        assert len(values) == len(expected)


@given(families)
def test_samples_are_encoded_as_one_by_one(values: list[Any]) -> None:
    """Each of many samples has the same bytes as by itself."""
    times = [place / 7 for place in range(len(values))]
    expected = [encode_sample(time, encode_value(value)) for value, time in zip(values, times)]
    assert encode_samples(values, times) == expected
    assert encode_samples(iter(values), np.array(times)) == expected


@given(st.integers(0, 2**32), st.integers(0, 5), st.sampled_from(codec_values.LONG_DTYPES + ["f8"]))
def test_arrays_are_encoded_as_their_elements(seed: int, count: int, long: str) -> None:
    """An array of any dtype, shape and strides is encoded like the elements of an iteration."""
    source = random.Random(seed)
    for kind in (codec_values.dtype(source), np.dtype(long)):
        array = codec_values.filled(source, kind, (count, *source.choice([(), (2,), (2, 3)])))
        # NumPy may or may not copy bytes between fields.
        other = array if "''" in str(kind.descr) else np.asfortranarray(array)
        for view in (array, array[::-1], array[::2], other):
            times = np.arange(len(view), dtype=source.choice(["f8", "f4", "i2", ">f8", "u8"]))
            expected = [encode_sample(t, encode_value(v)) for v, t in zip(view, times)]
            assert encode_samples(view, times) == expected


def test_other_encodings() -> None:
    """The encoding is used for every value."""
    expected = [encode_sample(1.0, encode_value(1.5, ENCODING_PICKLE))]
    assert encode_samples([1.5], [1.0], ENCODING_PICKLE) == expected
    assert encode_samples(np.array([1.5]), [1.0], ENCODING_PICKLE) != expected
    with pytest.raises(EncodeError, match="Encoding"):
        encode_samples([1.5], [1.0], b"?")


@pytest.mark.parametrize("time", [-1.0, math.inf, math.nan, -math.inf, 10**400])
def test_invalid_times_are_refused(time: float) -> None:
    """The error for a time that cannot be stored says which one it is."""
    for times in (
        [1.0, time],
        (1, time),
        np.array([1.0, float(time) if time < 1e308 else math.inf]),
    ):
        with pytest.raises(InvalidTimestampError, match="^Sample 1 of 2: "):
            encode_samples([1.0, 2.0], times)


def test_times_of_all_types() -> None:
    """Times may have any type that `float` accepts, and minus zero becomes zero."""
    assert encode_samples([1.5], [-0.0]) == encode_samples([1.5], np.array([-0.0]))
    assert encode_samples([1.5], [-0.0]) == encode_samples([1.5], [0])
    assert encode_samples([1.5], [np.float32(2)]) == encode_samples([1.5], ["2"])


def test_invalid_arguments_are_refused() -> None:
    """Arguments that are not sequences are refused, and so are sequences of different lengths."""
    with pytest.raises(ValueError, match="There are 2 values and 1 timestamps"):
        encode_samples([1, 2], [1.0])
    with pytest.raises(ValueError, match="There are 0 values"):
        encode_samples(iter([]), np.arange(3))
    with pytest.raises(TypeError, match="The values must be a sequence"):
        encode_samples("on", [1.0, 2.0])
    with pytest.raises(TypeError, match="The values must be an iterable"):
        encode_samples(np.array(1.5), [1.0])
    with pytest.raises(TypeError, match="The timestamps must be an iterable"):
        encode_samples([1.5], 1.0)  # type: ignore[arg-type]  # the wrong type is the test
    with pytest.raises(TypeError, match="A time must be seconds"):
        encode_samples([1.5], [None])  # type: ignore[list-item]  # the wrong type is the test
    with pytest.raises(EncodeError, match="^Value 1 of 2: .*set"):
        encode_samples([1, {1}], [1.0, 2.0])


def test_numpy_is_not_loaded_for_lists() -> None:
    """Encoding lists of plain values does not load NumPy."""
    code = (
        "import sys, telstate_codec as c; c.encode_samples([1.5, 'a'], [1.0, 2.0]);"
        "c.encode_samples([1.5], [1.0]); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("large", [2**63, 2**64, -(2**64), 10**400, -(10**5000)], ids=range(5))
@pytest.mark.parametrize("other", [0, 1.5, 2j, np.int8(1), np.float32(1.5)])
def test_integers_that_no_array_holds(large: int, other: Any) -> None:
    """Larger integers, which a pickle may hold, are kept as they are."""
    for values in ([large], [large, large], [large, other], [other, large]):
        stacked = stack_values(values)
        assert list(stacked) == values
