"""Large arrays, which are copied once and read by a decoder of their own."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from codec_bytes import saved
from codec_values import describe

from telstate_codec import DecodeError, decode_value, encode_value
from telstate_codec._msgpack.format import (  # the codes have no public names
    CODE_ARRAY,
    CODE_TUPLE,
    extension_header,
)

LARGE = 2**20


@pytest.mark.parametrize(
    ("layout", "copies"),
    [("C", 1), ("F", 1), ("scattered", 1), ("in a list", 1), ("in tuples", 1)],
)
def test_large_arrays_are_copied_once(layout: str, copies: int) -> None:
    """Encoding and decoding an array, wherever it is, takes little more memory than the result."""
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


def test_large_arrays_in_others_have_the_same_bytes_as_small_ones() -> None:
    """The placeholders of large arrays do not appear in the result, and keep the order."""
    arrays = [np.arange(size) for size in (1, 5000, 2, 9000, 7000)]
    files = [saved(array) for array in arrays]
    parts = [extension_header(CODE_ARRAY, len(file)) + file for file in files]
    assert encode_value(arrays) == b"\xff\x95" + b"".join(parts)
    inner = b"\x92" + parts[1] + b"\x01"
    middle = b"\x92" + extension_header(CODE_TUPLE, len(inner)) + inner + parts[3]
    outer = b"\x92\xa1a" + extension_header(CODE_TUPLE, len(middle)) + middle
    value = ["a", ((arrays[1], 1), arrays[3])]
    assert encode_value(value) == b"\xff" + outer
    assert describe(decode_value(encode_value(value))) == describe(value)


@pytest.mark.parametrize("extra", [0, 10, 10_000])
def test_large_values_are_read_the_same_whatever_else_is_in_them(extra: int) -> None:
    """Large arrays among few or many objects of every other type come back equal and in order."""
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
def test_invalid_large_values_are_refused(whole: Any) -> None:
    """A large array within others is refused when bytes are missing, added or changed."""
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
