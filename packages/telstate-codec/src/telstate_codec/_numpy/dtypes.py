"""Conversion of NumPy dtypes to descriptors and back.

A descriptor is the description of a dtype in the header of a ``.npy`` file, as plain Python: a string
such as ``'<f8'``, or for a structured dtype a list of fields, each ``(name, descriptor)`` or ``(name,
descriptor, shape)``. A name may be ``(title, name)``; a field with the name ``''`` and a descriptor
such as ``'|V4'`` is padding.

Reading is strict, because descriptors may come from anywhere and ``numpy.dtype`` accepts nearly
anything: some strings warn, some run Python's parser, and in older releases some overflow. Only the
forms that NumPy writes, and a few plain names, are passed on to it. Object dtypes are refused in both
directions.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
DType: TypeAlias = np.dtype[Any]
Descriptor: TypeAlias = str | list[Any]

MAX_EMPTY: Final = 2**24
"""Most elements of size 0 in an array: NumPy visits each, so a few bytes could cost hours."""

UTF_32: Final = {"<": "utf-32-le", ">": "utf-32-be", "=": f"utf-32-{sys.byteorder[0]}e"}
"""The codecs of text in arrays, by byte order."""
MAX_DIMENSIONS: Final = 64
"""Most dimensions of an array in any release of NumPy."""

_MAX_ITEM_SIZE: Final = 2**31 - 1
_MAX_DEPTH: Final = 32
_WRITABLE_KINDS: Final = frozenset("biufcmMSUV")

_DESCRIPTOR: Final = re.compile(
    r"""[<>|=]?(?:
        (?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32))
      | (?P<flexible>[SUV])(?P<length>0|[1-9][0-9]{0,9})
      | [mM]8(?:\[(?:[1-9][0-9]{0,8})?(?:Y|M|W|D|h|m|s|ms|us|μs|ns|ps|fs|as|generic)\])?
      | (?:[?bBhHiIlLqQefdgFDG])
    )|bool|u?int(?:8|16|32|64)|float(?:16|32|64)|complex(?:64|128)""",
    re.VERBOSE,
)


def describe(dtype: DType) -> Descriptor:
    """Return the descriptor of a dtype, or raise `ValueError` if it has none.

    Examples
    --------
    >>> describe(np.dtype([("time", ">f8"), ("gain", "<c8", (2,))]))
    [('time', '>f8'), ('gain', '<c8', (2,))]
    """
    names = dtype.names
    if dtype.hasobject or (names is None and dtype.kind not in _WRITABLE_KINDS):
        raise ValueError(f"dtype {dtype} holds Python objects")
    if names is None:
        return dtype.str
    fields: Mapping[str, Any] = dtype.fields or {}
    descriptor: list[Any] = []
    end = 0
    for name in names:
        field, offset, *title = fields[name]
        if offset < end:
            raise ValueError(f"dtype {dtype} has fields that overlap or are not in order")
        if offset > end:
            descriptor.append(("", f"|V{offset - end}"))
        full_name = (title[0], name) if title else name
        if field.subdtype is None:
            descriptor.append((full_name, describe(field)))
        else:
            base, shape = field.subdtype
            descriptor.append((full_name, describe(base), shape))
        end = offset + field.itemsize
    if dtype.itemsize > end:
        descriptor.append(("", f"|V{dtype.itemsize - end}"))
    return descriptor


def has_text(dtype: DType) -> bool:
    """Return whether a dtype, or a field of it, is text (kind U)."""
    if dtype.subdtype is not None:
        return has_text(dtype.subdtype[0])
    return dtype.kind == "U" or any(has_text(dtype[name]) for name in dtype.names or ())


def check_text(array: Array) -> None:
    """Refuse invalid code points in the text of a contiguous array, which NumPy does not check."""
    if not all(is_valid_text(part) for part in text_parts(array.ravel("K"))):
        raise ValueError("an array of text has characters that do not exist")


def is_valid_text(code_points: Array) -> bool:
    """Return whether all elements of a part from `text_parts` are valid code points."""
    return bool(code_points.max() <= sys.maxunicode)


def text_parts(array: Array) -> Iterator[Array]:
    """Yield views of all text in an array, as code points (uint32)."""
    dtype = array.dtype
    if not array.size or not dtype.itemsize:
        return
    if dtype.kind == "U":
        yield array.getfield(np.dtype((f"{dtype.byteorder}u4", (dtype.itemsize // 4,))))
    for name in dtype.names or ():
        field, offset = (dtype.fields or {})[name][:2]
        if field.subdtype is not None:
            base, shape = field.subdtype
            field = np.dtype((base, (math.prod(shape),)))
        if field.base.kind in "UV":
            yield from text_parts(array.getfield(field, offset))


def dtype_of(descriptor: object, depth: int = 0) -> DType:
    """Return the dtype of a descriptor of unknown origin, or raise `ValueError`.

    Examples
    --------
    >>> dtype_of([("time", ">f8"), ("", "|V4"), ("flag", "|b1")]).itemsize
    13
    """
    if isinstance(descriptor, str):
        return _simple_dtype(descriptor)
    if not isinstance(descriptor, list):
        raise ValueError(f"dtype descriptor {_short(descriptor)} is neither a string nor a list")
    if depth >= _MAX_DEPTH:
        raise ValueError(f"structured dtypes are nested more than {_MAX_DEPTH} deep")
    names: list[str] = []
    titles: list[str | None] = []
    formats: list[DType] = []
    offsets: list[int] = []
    end = 0
    for field in descriptor:
        if not isinstance(field, tuple) or len(field) not in (2, 3):
            raise ValueError(f"field {_short(field)} of a dtype is not a tuple of 2 or 3")
        dtype = dtype_of(field[1], depth + 1)
        name, title = _split_name(field[0])
        if name or len(field) == 3 or dtype.kind != "V" or dtype.names is not None:
            if len(field) == 3:
                dtype = _subarray(dtype, field[2])
            names.append(name)
            titles.append(title)
            formats.append(dtype)
            offsets.append(end)
        end += dtype.itemsize
        if end > _MAX_ITEM_SIZE:
            raise ValueError(f"a dtype of {end} bytes is larger than NumPy allows")
    layout: Any = {
        "names": names,
        "titles": titles,
        "formats": formats,
        "offsets": offsets,
        "itemsize": end,
    }
    dtype_with_fields: DType = np.dtype(layout)
    return dtype_with_fields


def _simple_dtype(text: str) -> DType:
    match = _DESCRIPTOR.fullmatch(text)
    if match is None:
        if "O" in text:
            raise ValueError(f"dtype {text[:40]!r} describes Python objects, which are refused")
        raise ValueError(f"{text[:40]!r} is not a supported dtype")
    if match["flexible"] is not None:
        size = int(match["length"]) * (4 if match["flexible"] == "U" else 1)
        if size > _MAX_ITEM_SIZE:
            raise ValueError(f"dtype {text!r} is larger than NumPy allows")
    return np.dtype(text)


def _split_name(name: object) -> tuple[str, str | None]:
    if isinstance(name, str):
        return name, None
    if isinstance(name, tuple) and len(name) == 2:
        title, inner = name
        if isinstance(title, str) and isinstance(inner, str):
            return inner, title
    raise ValueError(f"field name {_short(name)} is neither a string nor (title, name)")


def _subarray(base: DType, shape: object) -> DType:
    lengths = shape if isinstance(shape, tuple) else (shape,)
    if len(lengths) > MAX_DIMENSIONS:
        raise ValueError(f"a field of {len(lengths)} dimensions is refused")
    count = 1
    for length in lengths:
        # type() rather than isinstance(), because a bool is not a length.
        if type(length) is not int or length < 0:
            raise ValueError(f"{_short(shape)} is not the shape of a field")
        count *= max(length, 1)
    if count > MAX_EMPTY and 0 in (base.itemsize, *lengths):
        raise ValueError(f"a field of shape {_short(shape)} without bytes is refused")
    if count * base.itemsize > _MAX_ITEM_SIZE:
        raise ValueError(f"a field of shape {_short(shape)} is larger than NumPy allows")
    return np.dtype((base, lengths))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
