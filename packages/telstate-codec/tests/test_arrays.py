"""NumPy arrays and scalars: every dtype, order and shape survives, in NumPy's own bytes."""

from __future__ import annotations

import io
import random
import tracemalloc
import warnings
from typing import Any

import msgpack
import numpy as np
import pytest
from codec_values import LONG_DTYPES, PLAIN_DTYPES, Grid, array, describe, dtype, scalar
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import DecodeError, EncodeError, decode_value, encode_value
from telstate_codec._msgpack.format import CODE_ARRAY, CODE_TUPLE, extension_header

LARGE = 2**20

seeds = st.integers(0, 2**32).map(random.Random)


def saved(value: np.ndarray[Any, Any]) -> bytes:
    """Give what numpy.save writes for an array."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions 2 and 3 of the format
        np.save(stream, np.asarray(value), allow_pickle=False)
    return stream.getvalue()


def loaded(npy: bytes) -> np.ndarray[Any, Any]:
    """Decode the file of an array."""
    encoded = b"\xff\xc9" + len(npy).to_bytes(4, "big") + b"\x03" + npy
    result: np.ndarray[Any, Any] = decode_value(encoded)
    return result


def is_what_numpy_saves(npy: bytes, value: np.ndarray[Any, Any]) -> bool:
    """Tell whether a file is, byte for byte, what NumPy writes."""
    expected = saved(value)
    if hasattr(np.lib.format, "GROWTH_AXIS_MAX_DIGITS"):
        return npy == expected
    # Older releases pad the header less, which no reader minds.
    return b" ".join(npy[10:].split()) == b" ".join(expected[10:].split())


def payload(encoded: bytes) -> bytes:
    """Give the payload of an encoded array."""
    return encoded[encoded.index(b"\x93NUMPY") :]


def check(value: np.ndarray[Any, Any]) -> None:
    """Check that an array survives, alone and within others, in NumPy's bytes."""
    encoded = encode_value(value)
    # Bytes between fields of scattered elements are copied by neither, or by either.
    if value.dtype.names is None or value.flags.forc:
        assert is_what_numpy_saves(payload(encoded), value)
    for result in (
        decode_value(encoded),
        decode_value(encode_value([value]))[0],
        decode_value(encode_value((0, {"a": value})))[1]["a"],
    ):
        assert type(result) is np.ndarray
        assert result.dtype == value.dtype
        assert describe(result) == describe(np.load(io.BytesIO(saved(value)), allow_pickle=False))
        assert result.flags.owndata
        assert result.flags.writeable
        assert result.flags.aligned
        assert encode_value(result) == encoded


@pytest.mark.parametrize("text", PLAIN_DTYPES + LONG_DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (2, 0, 3), (1, 1), (2, 3, 2)])
def test_every_dtype_survives(text: str, shape: tuple[int, ...]) -> None:
    """Arrays of every dtype and shape, in both orders, come back the same and are ours to write."""
    value = np.zeros(shape, text)
    for ordered in (value, np.asfortranarray(value), value.T):
        check(ordered)


@given(seeds)
def test_any_array_survives(source: random.Random) -> None:
    """Arrays of any dtype, structured ones included, and of any layout in memory come back."""
    check(array(source))


@given(seeds)
def test_any_scalar_survives(source: random.Random) -> None:
    """Scalars of any dtype come back, type, dtype and bytes, alone and within others."""
    value = scalar(source)
    for result in (
        decode_value(encode_value(value)),
        decode_value(encode_value([value]))[0],
        decode_value(encode_value((0, {"a": value})))[1]["a"],
    ):
        assert type(result) is type(value)
        if value.dtype.kind == "S":
            assert result == value.rstrip(b"\0")  # NumPy's own idea of fixed-width text
        else:
            assert describe(result) == describe(value)
        if value.dtype.kind == "V":
            assert result.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5),
        np.float32("nan"),
        np.float16(-0.0),
        np.longdouble(1) / 3,
        np.complex64(1j),
        np.clongdouble(1j),
        np.int8(-1),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.str_("caf\xe9"),
        np.str_(""),
        np.bytes_(b"\xff"),
        np.bytes_(b""),
        np.void(b"\0\1"),
        np.void(b""),
        np.datetime64("NaT", "ms"),
        np.datetime64("2026-11-22", "D"),
        np.frombuffer(b"\7" + bytes(7), "M8[25us]")[0],
        np.frombuffer(bytes(8), "m8")[0],
        np.timedelta64(5, "ns"),
    ],
    ids=lambda value: f"{type(value).__name__} {value!r}",
)
def test_scalars_keep_their_type(value: Any) -> None:
    """Scalars are not taken for Python's numbers and text, though some are subclasses of them."""
    for _ in range(3):  # the second and third time, ways that are remembered are taken
        result = decode_value(encode_value(value))
        assert type(result) is type(value)
        assert result.dtype == value.dtype
        assert result == value or value != value
        assert type(decode_value(encode_value([value]))[0]) is type(value)


def test_byte_order_of_a_scalar_is_not_confused() -> None:
    """Two descriptors of the same type in other byte orders are remembered apart."""
    for _ in range(3):
        for order, raw in (("<", b"\1\0\0\0\0\0\0\0"), (">", b"\0\0\0\0\0\0\0\1")):
            encoded = b"\xff\xc7\x0c\x04\xa3" + order.encode() + b"u8" + raw
            assert decode_value(encoded) == 1
            assert type(decode_value(encoded)) is np.uint64


def test_structured_dtypes_survive() -> None:
    """Alignment, titles, sub-arrays, nesting, odd names and empty dtypes come back."""
    for kind in (
        np.dtype("i1,f8", align=True),
        np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 16}),
        np.dtype({"names": ["a"], "formats": ["i4"], "titles": ["Title"]}),
        np.dtype([("a", ">i4", (2, 3)), ("b", [("c", "U3"), ("d", "M8[s]", (1,))], (2,))]),
        np.dtype([("a'b", "i4"), ('"', "i4"), ("\\n", "i4"), ("\n", "i4"), ("\u0416", "i4")]),
        np.dtype([(f"field{number}", "i4") for number in range(5000)]),
        np.dtype([]),
        np.dtype([("a", "V0"), ("b", "S0"), ("c", "i4", (0,))]),
        np.dtype((np.record, [("a", "i4")])),
    ):
        for shape in ((), (2,), (0, 3)):
            value = np.zeros(shape, kind)
            result = decode_value(encode_value(value))
            assert result.dtype == kind
            assert result.shape == shape
            assert result.tobytes() == value.tobytes()
        whole = np.zeros(1, kind)[0]
        assert decode_value(encode_value(whole)).dtype == kind
        assert decode_value(encode_value(whole)).tobytes() == whole.tobytes()


def test_bytes_between_fields_are_kept() -> None:
    """What is between aligned fields is part of the bytes, and so of equality; it is not lost."""
    raw = bytes(range(32))
    value = np.frombuffer(raw, np.dtype("i1,f8", align=True))
    assert encode_value(value)[-32:] == raw
    assert encode_value(decode_value(encode_value(value))) == encode_value(value)
    assert encode_value([decode_value(encode_value([value]))[0]]) == encode_value([value])


@pytest.mark.filterwarnings("ignore:.*matrix.*:PendingDeprecationWarning")
def test_subclasses_become_plain_arrays() -> None:
    """A matrix and any other subclass but a masked array are stored as the array in them."""
    plain = np.arange(6.0).reshape(2, 3)
    for value in (
        np.matrix(plain),
        plain.view(Grid),
        plain.view(np.memmap),
    ):
        assert encode_value(value) == encode_value(plain)
        assert encode_value([value]) == encode_value([plain])
    record = np.rec.array([(1, 2.0)], dtype="i4,f8")
    assert type(decode_value(encode_value(record))) is np.ndarray
    assert type(decode_value(encode_value(record[0]))) is np.void


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1, 2, 3], [False, True, False]),
        np.ma.masked_array([1, 2, 3]),
        np.ma.masked_array(np.zeros(10_000), True),
        np.ma.masked,
        np.ma.masked_array([(1, 2.0)], [(True, False)], "i4,f8")[0],
    ],
    ids=["masked", "not masked", "large", "constant", "element"],
)
def test_masked_arrays_are_refused(value: Any) -> None:
    """A masked array, alone or in others, is an EncodeError that says how to keep the mask."""
    for whole in (value, [value], (value,), {"a": (1, value)}):
        with pytest.raises(EncodeError, match=r"mask would be lost.*\.filled\(\).*\.mask"):
            encode_value(whole)


def test_every_version_of_the_file_format_is_read() -> None:
    """Headers of versions 1 to 3, of NumPy on Python 2, in any order and spacing, are read."""
    for version in [(1, 0), (2, 0), (3, 0)]:
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.arange(3.0), version)
        assert loaded(stream.getvalue()).tolist() == [0.0, 1.0, 2.0]
    for text in (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3L,)}",
        '{"shape":(3,),"fortran_order":False,"descr":"float64"}\n',
        "{ 'shape' : ( 3 , ) , 'descr' : ( 'd' ) , 'fortran_order' : True , } ",
        r"{'descr': u'\x3cf8', 'fortran_order': False, 'shape': (3,)}",
    ):
        npy = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
        assert loaded(npy + np.arange(3.0).tobytes()).tolist() == [0.0, 1.0, 2.0]


def test_headers_that_are_remembered_are_right() -> None:
    """More dtypes and shapes than are remembered are each written as NumPy writes them."""
    source = random.Random(1)
    kinds = [dtype(source) for _ in range(50)]
    values = [np.zeros(shape, kind) for shape in range(40) for kind in kinds]
    for value in values + values[::-1]:
        encoded = encode_value(value)
        assert is_what_numpy_saves(payload(encoded), value)
        assert decode_value(encoded).dtype == value.dtype


@pytest.mark.parametrize(
    ("layout", "copies"),
    [("C", 1), ("F", 1), ("scattered", 1), ("in a list", 1), ("in tuples", 1)],
)
def test_large_arrays_are_copied_once(layout: str, copies: int) -> None:
    """Encoding takes no more memory than the encoded value, whatever the array is in."""
    plain = np.ones((2 * LARGE // 8, 2))
    value: Any = {
        "C": plain,
        "F": plain.T,
        "scattered": np.ones((2 * LARGE // 8, 4))[:, ::2],
        "in a list": [1, {"a": plain}],
        "in tuples": (1, ("a", plain), [plain[:1]]),
    }[layout]
    encode_value(value)
    tracemalloc.start()
    try:
        encoded = encode_value(value)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = decode_value(encoded)
        read_peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert describe(result) == describe(decode_value(encoded))
    assert peak < copies * plain.nbytes + LARGE // 4
    assert read_peak < copies * plain.nbytes + LARGE // 4


def test_large_arrays_in_anything_have_the_same_bytes_as_small_ones() -> None:
    """What stands in for large arrays on the way never shows, nor does it disturb their order."""
    arrays = [np.arange(size) for size in (1, 5000, 2, 9000, 7000)]
    parts = [extension_header(CODE_ARRAY, len(saved(one))) + saved(one) for one in arrays]
    assert encode_value(arrays) == b"\xff\x95" + b"".join(parts)
    inner = b"\x92" + parts[1] + b"\x01"
    middle = b"\x92" + extension_header(CODE_TUPLE, len(inner)) + inner + parts[3]
    outer = b"\x92\xa1a" + extension_header(CODE_TUPLE, len(middle)) + middle
    value = ["a", ((arrays[1], 1), arrays[3])]
    assert encode_value(value) == b"\xff" + outer
    assert describe(decode_value(encode_value(value))) == describe(value)


@pytest.mark.parametrize("extra", [0, 10, 10_000])
def test_large_values_are_read_the_same_whatever_else_is_in_them(extra: int) -> None:
    """Large arrays among much or little of every other kind come back, in order and whole."""
    large = np.arange(50_000.0)
    value: dict[Any, Any] = {
        "plain": [None, True, -1, 2**7, 2**15, 2**31, 2**63, -(2**7), -(2**15), -(2**31), -(2**63)],
        "text": ["", "x" * 31, "x" * 40, "x" * 300, "x" * 70_000, b"", bytes(300), bytes(70_000)],
        b"numbers": (1.5, 2j, np.float32(2), np.str_("a"), np.arange(3)),
        "large": [
            large,
            (large, {"inner": (large[::2].copy(), ())}),
            np.asfortranarray([large, large]),
        ],
        "extra": list(range(extra)),
    }
    for whole in (value, [value], (value,), {1: value}, [msgpack.Timestamp(5), value]):
        result = decode_value(encode_value(whole))
        assert describe(result) == describe(whole)
        assert encode_value(result) == encode_value(whole)


@pytest.mark.parametrize(
    "whole", [[np.zeros(40_000)], (1, np.zeros(40_000)), {"a": np.zeros(40_000)}]
)
def test_large_values_that_are_wrong_are_refused(whole: Any) -> None:
    """A large array within others is refused when bytes are missing, left over or changed."""
    encoded = encode_value(whole)
    for wrong in (encoded[:-1], encoded + b"\0", encoded[:100], encoded.replace(b"<f8", b"|O8")):
        with pytest.raises(DecodeError):
            decode_value(wrong)
    for index in range(1, 200):
        for change in (1, 0x80):
            wrong = encoded[:index] + bytes([encoded[index] ^ change]) + encoded[index + 1 :]
            try:
                decode_value(wrong)
            except DecodeError:
                pass


def test_shapes_that_only_cost_time_are_refused() -> None:
    """An array of a million million elements of no bytes is refused, as nobody could visit them."""
    for value in (np.zeros(2**40, "V0"), np.zeros((2**40, 0))):
        with pytest.raises(EncodeError, match="without bytes"):
            encode_value(value)


@pytest.mark.skipif(not hasattr(np, "dtypes"), reason="NumPy 2 has it")
def test_strings_of_variable_width_are_refused() -> None:
    """NumPy 2's StringDType, which holds pointers, has no encoding."""
    kind = getattr(np.dtypes, "StringDType", None)
    if kind is not None:
        with pytest.raises(EncodeError, match="StringDType"):
            encode_value(np.array(["a"], kind()))
