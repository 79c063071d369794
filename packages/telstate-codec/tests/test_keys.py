"""Keys as bytes and as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import InvalidKeyError, decode_key, encode_key, key_repr


@given(st.binary())
def test_any_bytes_are_a_key(key: bytes) -> None:
    """A key survives the conversion to text and back, even if it is not UTF-8."""
    assert encode_key(decode_key(key)) == key
    assert encode_key(key) == key


@given(st.text())
def test_any_text_is_a_key(key: str) -> None:
    """Text is stored as UTF-8."""
    assert encode_key(key) == key.encode()
    assert decode_key(encode_key(key)) == key


def test_invalid_keys_are_refused() -> None:
    """Text with a lone surrogate raises InvalidKeyError; a key of another type raises TypeError."""
    with pytest.raises(InvalidKeyError, match="surrogate"):
        encode_key("a\ud800")
    for wrong in (None, 3, bytearray(b"a"), ["a"]):
        with pytest.raises(TypeError, match="must be str or bytes"):
            encode_key(wrong)  # type: ignore[arg-type]  # the wrong type is the test
        with pytest.raises(TypeError, match="must be str or bytes"):
            key_repr(wrong)  # type: ignore[arg-type]  # the wrong type is the test


def test_error_for_many_keys() -> None:
    """The error for a list of keys that is taken for one shows only a few of them."""
    keys: Any = [f"key_{number}" for number in range(1000)]
    with pytest.raises(TypeError, match="not list: \\['key_0'") as caught:
        encode_key(keys)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("wrong", ["a", None, 3, ["a"]])
def test_keys_from_the_store_are_bytes(wrong: Any) -> None:
    """Anything but bytes raises TypeError, which names the type."""
    with pytest.raises(TypeError, match=f"must be bytes, not {type(wrong).__name__}: "):
        decode_key(wrong)


def test_keys_in_messages() -> None:
    """Keys are shown as text, or as bytes where they are not UTF-8."""
    assert key_repr("gain") == key_repr(b"gain") == "'gain'"
    assert key_repr(b"caf\xe9") == key_repr("caf\udce9") == r"b'caf\xe9'"
    assert key_repr("a\ud800") == r"'a\ud800'"
