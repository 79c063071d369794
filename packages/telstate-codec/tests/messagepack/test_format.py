"""The table of MessagePack's forms, compared with msgpack."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from telstate_codec import decode_value
from telstate_codec._msgpack.format import FORMS, extension_header  # the table is not public
from telstate_codec._msgpack.list_limits import is_list_of_floats  # nor is what depends on it


def content_of(kind: str, length: int) -> bytes:
    """Return the content of an object that has `length` bytes, items or pairs."""
    if kind == "list":
        return b"\xc0" * length
    if kind == "dict":
        return b"".join(b"\xa1" + bytes([65 + pair]) + b"\xc0" for pair in range(length))
    return bytes(range(1, length + 1))


@pytest.mark.parametrize("byte", range(256))
def test_forms_are_those_of_msgpack(byte: int) -> None:
    """msgpack reads an object made from the table as the type, length and number in the table."""
    form = FORMS[byte]
    length = form.length or (3 if form.length_size else 0)
    code = b"\x05" if form.kind == "extension" else b""
    size = length.to_bytes(form.length_size, "big") if form.length_size else b""
    start = bytes([byte]) + size + code
    content = content_of(form.kind, length)
    if form.kind == "unused":
        with pytest.raises(msgpack.FormatError):
            msgpack.unpackb(start)
        return
    assert len(start) == form.start
    value: Any = msgpack.unpackb(start + content)
    if form.kind == "extension":
        assert value == msgpack.ExtType(5, content)
    else:
        assert type(value).__name__ == form.kind.replace("None", "NoneType")
    if form.kind in ("str", "bytes", "list", "dict"):
        assert len(value) == length
    if form.number:
        assert value == np.frombuffer(content, f">{form.number}")[0]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 8, 16, 17, 255, 256, 65535, 65536])
def test_extension_headers_are_those_of_msgpack(size: int) -> None:
    """The header of an extension type has the bytes that msgpack writes."""
    extension = msgpack.ExtType(5, bytes(size))
    assert extension_header(5, size) + bytes(size) == msgpack.Packer().pack(extension)


def test_every_number_is_read() -> None:
    """Integers and floats of each form are decoded."""
    for byte, form in enumerate(FORMS):
        if form.number:
            content = bytes(range(1, form.length + 1))
            expected = np.frombuffer(content, f">{form.number}")[0]
            assert decode_value(b"\xff" + bytes([byte]) + content) == expected


@pytest.mark.parametrize("count", [0, 15, 16, 1000, 2**16])
@pytest.mark.parametrize("start", [0, 2])
def test_lists_of_floats_are_recognised(count: int, start: int) -> None:
    """Long lists of floats are, and no list that has, or seems to have, anything else in it."""
    floats = [index * 0.7 for index in range(count)]
    others: list[list[Any]] = [
        [*floats, 1],
        [*floats[1:], bytes(7)],
        [*floats, [1.5]],
        [*floats[1:], (1,)],
    ]
    prefix, pack = bytes(start), msgpack.Packer().pack

    assert is_list_of_floats(prefix + pack(floats), start) == (count > 15)
    assert not any(is_list_of_floats(prefix + pack(other), start) for other in others)
