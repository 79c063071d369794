"""The header of ``.npy`` files, as ``numpy.save`` writes it and ``numpy.load`` reads it, only faster.

::

    93 4E 55 4D 50 59  major minor  size  header
                                     |     a Python dictionary as text, spaces, a newline
                                     2 bytes, little-endian, in version 1; 4 in versions 2 and 3

The text is Latin-1 in versions 1 and 2, UTF-8 in version 3, and the total size is a multiple of 64
bytes. Headers that are read may come from anywhere, so their content is checked. Errors are
`ValueError`.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, TypeAlias

from .dtypes import MAX_DIMENSIONS, MAX_EMPTY, DType, describe, dtype_of, has_text
from .npy_literal import read_literal

Shape: TypeAlias = tuple[int, ...]
Order: TypeAlias = Literal["C", "F"]

MAGIC: Final = b"\x93NUMPY"
_ALIGNMENT: Final = 64
_GROWTH_DIGITS: Final = 21  # NumPy leaves room for the first axis to grow to this many digits
_SIZE_BYTES: Final = {1: 2, 2: 4, 3: 4}
_TEXT: Final = {1: "latin-1", 2: "latin-1", 3: "utf-8"}
_KEYS: Final = {"descr", "fortran_order", "shape"}


class Header(NamedTuple):
    """Content of a header, with the size in bytes of the elements, and whether they hold text."""

    dtype: DType
    shape: Shape
    order: Order
    nbytes: int
    has_text: bool


def write_header(dtype: DType, shape: Shape, fortran: bool) -> bytes:
    """Return the header of the file of an array."""
    _check_empty(dtype, shape)
    text = f"{{'descr': {describe(dtype)!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}, }}"
    if shape:
        text += " " * (_GROWTH_DIGITS - len(repr(shape[-1 if fortran else 0])))
    # Like NumPy, use the lowest version that can hold the header.
    versions = (1, 2) if max(text) <= "\xff" else (3,)
    for version in versions:
        raw = text.encode(_TEXT[version])
        prefix = len(MAGIC) + 2 + _SIZE_BYTES[version]
        padding = _ALIGNMENT - (prefix + len(raw) + 1) % _ALIGNMENT
        size = len(raw) + padding + 1
        if size < 2 ** (8 * _SIZE_BYTES[version]):
            length = size.to_bytes(_SIZE_BYTES[version], "little")
            return MAGIC + bytes([version, 0]) + length + raw + b" " * padding + b"\n"
    raise ValueError("the description of the dtype is too long for a .npy file")


def header_end(data: bytes, start: int) -> int:
    """Return the offset of the end of the header that starts at an offset."""
    sizes_at = start + len(MAGIC) + 2
    if data[start : start + len(MAGIC)] != MAGIC or len(data) < sizes_at:
        raise ValueError("an array does not start like a .npy file")
    size_bytes = _SIZE_BYTES.get(data[start + len(MAGIC)])
    if size_bytes is None or data[sizes_at - 1] != 0:
        version = f"{data[start + len(MAGIC)]}.{data[sizes_at - 1]}"
        raise ValueError(f"an array has version {version} of the .npy format, which is not known")
    text_at = sizes_at + size_bytes
    end = text_at + int.from_bytes(data[sizes_at:text_at], "little")
    if end > len(data):
        raise ValueError("the header of an array extends beyond the end of the value")
    return end


def read_header(header: bytes) -> Header:
    """Parse and check a complete header."""
    version = header[len(MAGIC)]
    text = header[len(MAGIC) + 2 + _SIZE_BYTES[version] :].decode(_TEXT[version])
    try:
        content = read_literal(text)
    except ValueError as error:
        raise ValueError(f"the header of an array is not a plain literal: {error}") from error
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise ValueError(
            "the header of an array is not a dictionary of descr, fortran_order, shape"
        )
    shape, fortran = content["shape"], content["fortran_order"]
    if type(fortran) is not bool:
        raise ValueError(f"fortran_order of an array is {fortran!r}, not True or False")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {str(shape)[:60]} of an array is not a tuple of lengths")
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"an array of {len(shape)} dimensions is refused")
    dtype = dtype_of(content["descr"])
    _check_empty(dtype, shape)
    nbytes = dtype.itemsize * math.prod(shape)
    return Header(dtype, shape, "F" if fortran else "C", nbytes, has_text(dtype))


def _check_empty(dtype: DType, shape: Shape) -> None:
    """Refuse arrays without bytes whose elements or rows would take hours to visit."""
    rows = 1
    for length in shape:
        if length == 0:
            break
        rows *= length
    else:
        if dtype.itemsize:
            return
    if rows > MAX_EMPTY:
        raise ValueError(f"an array of shape {shape} without bytes is refused")
