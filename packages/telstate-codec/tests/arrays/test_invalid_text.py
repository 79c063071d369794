"""Arrays of text with invalid code points, and of elements without bytes, in both encodings."""

from __future__ import annotations

import math
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from codec_bytes import array
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import DecodeError, decode_value, encode_value

Array = np.ndarray[Any, Any]

MEGABYTE = 2**20

INNER = np.dtype([("number", "i1"), ("text", "<U2", (2, 3))])
DTYPES: list[Any] = [
    "<U3",
    ">U3",
    [("number", "i1"), ("text", "<U3"), ("more", "f8")],
    [("number", "i1"), ("text", ">U3")],
    np.dtype([("number", "i1"), ("text", "U3"), ("byte", "i1")], align=True),
    [("number", "<i4"), ("text", "<U1", (2,))],
    [("number", "<i4"), ("inner", INNER)],
    [("number", "<i4"), ("inner", INNER, (2, 2))],
    [("number", "<i4"), ("inner", [("deeper", INNER, (3,)), ("raw", "V3")], (2,))],
]


LAST = "\U0010fffe"
CHARACTERS = {"<": (b"\xfe\xff\x10\0", b"\0\0\x11\0"), ">": (b"\0\x10\xff\xfe", b"\0\x11\0\0")}


def fill(values: Array) -> Array:
    """Fill all text in an array with the last valid code point."""
    for name in values.dtype.names or ():
        fill(values[name])
    if values.dtype.kind == "U":
        values[...] = LAST * (values.dtype.itemsize // 4)
    return values


def make_invalid(encoded: bytes) -> list[bytes]:
    """Return an encoded value with its first, and with its last, code point made invalid."""
    [(right, wrong)] = [pair for pair in CHARACTERS.values() if pair[0] in encoded]
    before, after = encoded.rsplit(right, 1)
    return [encoded.replace(right, wrong, 1), before + wrong + after]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1,) * 30])
def test_invalid_code_points_are_refused(dtype: Any, shape: tuple[int, ...]) -> None:
    """An invalid code point raises DecodeError, wherever in an array or scalar it is."""
    # Filled while it has one axis: together with its fields it may have too many for NumPy 1.
    array = fill(np.zeros(math.prod(shape), dtype)).reshape(shape)
    for value in (array, np.asfortranarray(array), array.reshape(-1)[0]):
        for encoded in (
            encode_value(value),
            encode_value([value]),
            encode_value((1, {"a": value})),
            pickle.dumps(value, 3),
            pickle.dumps([value], 4),
        ):
            decode_value(encoded, "safe")
            for wrong in make_invalid(encoded):
                with pytest.raises(DecodeError):
                    decode_value(wrong, "safe")


def test_large_text_is_checked() -> None:
    """Text is also checked in arrays that are read without copying the value."""
    array = fill(np.zeros(20_000, DTYPES[3]))
    for value in (array, array["text"], [array], (1, {"a": array})):
        for wrong in make_invalid(encode_value(value)):
            with pytest.raises(DecodeError, match="characters that do not exist"):
                decode_value(wrong)


@given(
    st.lists(st.text(st.characters(codec="utf-32"), max_size=4), min_size=1), st.sampled_from("<>")
)
def test_valid_text_is_read(texts: list[str], order: str) -> None:
    """Valid text comes back equal, in both byte orders and in fields."""
    array = np.array(texts, f"{order}U4")
    fields = np.zeros(len(texts), [("number", "i1"), ("text", f"{order}U4", (2,))])
    fields["text"] = array[:, None]
    assert decode_value(encode_value(array)).tolist() == array.tolist()
    assert encode_value(decode_value(encode_value(fields))) == encode_value(fields)


@pytest.mark.parametrize("dtype", ["<U0", ">U0", "|S0", "|V0"])
def test_elements_without_bytes_take_no_memory(dtype: str) -> None:
    """Many large arrays of elements without bytes are read in as little memory as their bytes take."""
    encoded = b"\xff\xdc\x00\x64" + array(repr(dtype), repr((2**24,)))[1:] * 100
    decode_value(encoded)  # so that imports and caches do not count
    tracemalloc.start()
    try:
        arrays = decode_value(encoded)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {(array.dtype.str, array.shape, array.nbytes) for array in arrays} == {
        (dtype, (2**24,), 0)
    }
    assert peak < MEGABYTE


@pytest.mark.parametrize("dtype", ["<U0", ">U0", "|S0", "|V0"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_elements_without_bytes_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    """Arrays of elements without bytes keep dtype and shape in both encodings."""
    value: Array = np.ndarray(shape, dtype)
    for encoded in (encode_value(value), pickle.dumps(value, 2), pickle.dumps(value, 4)):
        result = decode_value(encoded, "safe")
        assert (result.dtype.itemsize, result.shape) == (0, shape)
        assert result.tolist() == value.tolist()
        assert result.flags.owndata
        assert result.flags.writeable
