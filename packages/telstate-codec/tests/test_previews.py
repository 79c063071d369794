"""Previews of encoded values."""

from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import encode_value
from telstate_codec.previews import preview_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "bool"),
        (7, "int"),
        (-7, "int"),
        (2**40, "int"),
        (-(2**40), "int"),
        (1.5, "float"),
        (b"abc", "bytes"),
        (b"x" * 70_000, "bytes"),
        ("abc", "str 'abc'..."),
        ("x" * 100, f"str {'x' * 60!r}..."),
        ("µ" * 300, f"str {'µ' * 60!r}..."),
        ("x" * 70_000, f"str {'x' * 60!r}..."),
        ([1], "list"),
        ([1] * 20, "list"),
        ({}, "dict"),
        ({n: n for n in range(20)}, "dict"),
        ((1,), "tuple"),
        ((1,) * 300, "tuple"),
        (1j, "complex"),
        (numpy.float32(1), "scalar"),
        (numpy.zeros((2, 3), ">i2"), ">i2 array, shape (2, 3)"),
        (numpy.zeros(()), "float64 array, shape ()"),
        (numpy.zeros(100_000), "float64 array, shape (100000,)"),
    ],
)
def test_previews_of_values(value: Any, text: str) -> None:
    """A value of any type is described from the beginning of its encoding."""
    assert preview_value(encode_value(value)[:500]) == text


def test_previews_of_other_bytes() -> None:
    """Pickles and arrays without a complete header are named only, and other bytes are unknown."""
    assert preview_value(b"\x80\x02K\x01.") == "pickle"
    assert preview_value(b"") == preview_value(b"\xff") == preview_value(b"\x90") == "unknown value"
    assert preview_value(encode_value(numpy.zeros(3))[:40]) == "array"


@given(st.binary(max_size=40).map(lambda data: b"\xff" + data) | st.binary(max_size=40))
def test_any_bytes_have_a_preview(head: bytes) -> None:
    """Any bytes have a preview."""
    assert preview_value(head)
