"""Values made from a seed, and descriptions of values, the same in every environment.

The tests import this module, and so does `codec_peer` in the peer's environment. It can use nothing
but the standard library and NumPy, and must return the same value for the same seed everywhere.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import random
import struct
from typing import Any, cast

import numpy as np


class Number(enum.IntEnum):
    """A subclass of int, which has no encoding."""

    ONE = 1


class Text(str):
    """A subclass of str, which has no encoding."""


class Blob(bytes):
    """A subclass of bytes, which has no encoding."""


class Listing(list):  # type: ignore[type-arg]  # its items do not matter
    """A subclass of list, which has no encoding."""


class Mapping(dict):  # type: ignore[type-arg]  # its items do not matter
    """A subclass of dict, which has no encoding."""


class Triple(tuple):  # type: ignore[type-arg]  # its items do not matter
    """A subclass of tuple, which is stored as a tuple."""


class Phasor(complex):
    """A subclass of complex, which is stored as a complex."""


class Grid(np.ndarray):
    """A subclass of ndarray, which is stored as an array."""


Pair = collections.namedtuple("Pair", ["left", "right"])

NUMBER_DTYPES = [
    order + code for order in "<>" for code in "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split()
]
TIME_DTYPES = [
    f"{order}{kind}8{unit}"
    for order in "<>"
    for kind in "mM"
    for unit in ["", "[Y]", "[D]", "[s]", "[ns]", "[25us]", "[as]"]
]
TEXT_DTYPES = ["<U1", "<U5", ">U3", "S1", "S7", "V1", "V9"]
LONG_DTYPES = ["<f16", "<c32"] if np.dtype(np.longdouble).itemsize == 16 else []
PLAIN_DTYPES = NUMBER_DTYPES + TIME_DTYPES + TEXT_DTYPES

INTEGERS = [
    value + step
    for power in (0, 5, 7, 8, 15, 16, 31, 32, 63, 64)
    for value in (2**power, -(2**power))
    for step in (-1, 0, 1)
]
FLOATS = [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7e308]
REFUSED: list[Any] = [
    {1},
    frozenset([1]),
    Number.ONE,
    Text("text"),
    Blob(b"blob"),
    Listing([1]),
    Mapping(a=1),
    collections.OrderedDict(a=1),
    datetime.datetime(2026, 11, 22),
    decimal.Decimal("1.5"),
    range(3),
    object,
    ...,
    "a lone surrogate \ud800",
    "an escaped byte \udc80",
    2**64,
    -(2**63) - 1,
    np.array([None]),
    np.zeros(0, object),
    np.zeros(1, "i4,O"),
    np.zeros(1, "i4,O")[0],
    np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]})),
    np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]})),
]


def text(source: random.Random, length: int) -> str:
    """Make text with characters of one to four bytes."""
    return "".join(
        chr(source.choice([source.randrange(32, 127), 0xE9, 0x416, 0x20AC, 0x1F52D]))
        for _ in range(length)
    )


def dtype(source: random.Random, depth: int = 2) -> np.dtype[Any]:
    """Make a dtype that can be stored."""
    if depth == 0 or source.random() < 0.7:
        return np.dtype(source.choice(PLAIN_DTYPES))
    count = source.randrange(1, 4)
    names = [f"{text(source, source.randrange(3))}{index}" for index in range(count)]
    formats: list[Any] = [dtype(source, depth - 1) for _ in range(count)]
    if source.random() < 0.4:
        formats[0] = (formats[0], (source.randrange(1, 3),) * source.randrange(1, 3))
    layout: dict[str, Any] = {"names": names, "formats": formats}
    if source.random() < 0.3:
        layout["titles"] = [f"title {name}" for name in names]
    structured: np.dtype[Any] = np.dtype(cast(Any, layout), align=source.random() < 0.4)
    return structured


def array(source: random.Random) -> np.ndarray[Any, Any]:
    """Make an array with a random dtype, shape and layout in memory."""
    return array_of(source, dtype(source))


def array_of(source: random.Random, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Make an array of a dtype, with a random shape and layout in memory."""
    shape = tuple(source.choice([0, 1, 2, 3, 5]) for _ in range(source.randrange(4)))
    result = filled(source, kind, shape)
    # NumPy may or may not copy bytes between fields, so arrays that have some are not copied.
    layout = source.choice([0, 2]) if "''" in str(kind.descr) else source.randrange(6)
    if layout == 1:
        return np.asfortranarray(result)
    if layout == 2:
        return result.T
    if layout == 3 and result.ndim:
        return result[::-1]
    if layout == 4 and result.ndim:
        return result[..., ::2]
    if layout == 5 and result.ndim > 1:
        return np.swapaxes(result, 0, 1)
    return result


def filled(source: random.Random, kind: np.dtype[Any], shape: Any) -> np.ndarray[Any, Any]:
    """Make an array of random, valid elements; unused bytes between them are zero."""
    result: np.ndarray[Any, Any] = np.zeros(shape, kind)
    if kind.names is not None:
        for name in kind.names:
            field = kind[name]
            base, inner = field.subdtype or (field, ())
            result[name] = filled(source, base, (*result.shape, *inner))
    elif kind.kind == "U":
        size = kind.itemsize // 4
        result.flat[:] = [text(source, source.randrange(size + 1)) for _ in range(result.size)]
    elif kind.kind == "b":
        result.flat[:] = [source.random() < 0.5 for _ in range(result.size)]
    elif result.size:
        raw = bytes(source.randrange(256) for _ in range(result.nbytes))
        result = np.frombuffer(raw, kind).reshape(shape).copy()
    return result


def scalar(source: random.Random) -> Any:
    """Make a NumPy scalar, which may be structured."""
    if source.random() < 0.1:
        return source.choice([np.str_(""), np.bytes_(b""), np.void(b""), np.bytes_(b"a\0")])
    return filled(source, dtype(source), (1,))[0]


def value(source: random.Random, depth: int = 3) -> Any:
    """Make a value; one in a hundred has no encoding."""
    kinds = 14 if depth else 10
    kind = source.randrange(kinds)
    if source.random() < 0.01:
        return source.choice(REFUSED)
    if kind == 0:
        return source.choice([None, True, False])
    if kind == 1:
        small = source.randrange(-300, 300)
        return small if source.random() < 0.5 else min(source.choice(INTEGERS), 2**64 - 1)
    if kind == 2:
        return source.choice(FLOATS) if source.random() < 0.5 else source.gauss(0, 1e6)
    if kind == 3:
        return text(source, source.choice([0, 1, 5, 31, 32, 70, 300]))
    if kind == 4:
        blob = bytes(source.randrange(256) for _ in range(source.choice([0, 1, 8, 255, 256, 300])))
        return source.choice([blob, bytearray(blob), memoryview(blob)])
    if kind == 5:
        number = complex(source.gauss(0, 1), source.choice(FLOATS))
        return Phasor(number) if source.random() < 0.1 else number
    if kind in (6, 7):
        result = array(source)
        return result.view(Grid) if source.random() < 0.1 else result
    if kind in (8, 9):
        return scalar(source)
    items = [value(source, depth - 1) for _ in range(source.choice([0, 1, 2, 3, 17]))]
    if kind == 10:
        return items
    if kind == 11:
        return {text(source, 4): item for item in items}
    if len(items) == 2:
        return Pair(*items)
    return Triple(items) if source.random() < 0.1 else tuple(items)


def from_seed(seed: int) -> Any:
    """Make the value of a seed."""
    return value(random.Random(seed))


def contents(array: np.ndarray[Any, Any]) -> Any:
    """Return the bytes of the elements, without those between fields.

    The peer does not set those of arrays, and takes those of scalars for fields named f0, f1, ...
    """
    if array.dtype.names is None:
        return [array.dtype.str, array.tobytes().hex()]
    return {name: contents(array[name]) for name in array.dtype.names if name[0] != "f"}


def describe(anything: object) -> Any:
    """Describe a value and its types in JSON; equal if and only if the values are."""
    name = type(anything).__name__
    if isinstance(anything, (np.ndarray, np.generic)):
        kind = anything.dtype
        dtype_text = kind.str if kind.names is None else repr(kind.descr)
        if isinstance(anything, np.void):
            dtype_text = "structured or raw, see contents()"
        array = np.asarray(anything)
        flags = [array.flags.c_contiguous, array.flags.f_contiguous]
        # Older and newer releases of NumPy have different names for their scalar types.
        side = "array" if isinstance(anything, np.ndarray) else "scalar"
        return [side, dtype_text, list(array.shape), flags, contents(array)]
    if isinstance(anything, float):
        return [name, struct.pack(">d", anything).hex()]
    if isinstance(anything, complex):
        return [name, struct.pack(">dd", anything.real, anything.imag).hex()]
    if isinstance(anything, bytes):
        return [name, anything.hex()]
    if isinstance(anything, (list, tuple)):
        return [name, [describe(item) for item in anything]]
    if isinstance(anything, dict):
        return [name, [[describe(key), describe(item)] for key, item in anything.items()]]
    return [name, repr(anything)]
