"""Many samples as columns: members of a sensor's sorted set to NumPy arrays, and arrays to members.

Most sensors hold one type of value, and the bytes of their samples are then alike but for the numbers:
those are taken out of all samples, or put into them, in one go. There are two such ways in, both exact or
not taken at all: plain numbers, whatever mixture of MessagePack's forms they have; and extension
types (NumPy's numbers and arrays, complex numbers) where all samples have the same bytes in
front of the number. Everything else is decoded one by one and then put together by `stack`,
which alone says what the result is: the quick ways give the same.

Loading this module loads NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._msgpack.decoder import first_object
from ._msgpack.format import EXT_ARRAY, EXT_COMPLEX, EXT_SCALAR
from ._numpy.arrays import array_headers, scalar_layouts
from ._numpy.dtypes import DType
from ._numpy.npy_header import Order, header_end
from .timestamps import SIZE
from .values import decode_value, encode_value

Array: TypeAlias = NDArray[Any]
# Dtype as stored, shape (None of a scalar), order, and where in the encoded value the elements start.
Layout: TypeAlias = tuple[DType, tuple[int, ...] | None, Order, int]

_TIME: Final = np.dtype(">f8")
_BODY: Final = SIZE + 2  # where a number starts: after the time, the header byte and its form
_NUMBERS: Final = "biufcmM"  # kinds of dtype whose scalars all have one size
_LARGE: Final = 2**12  # bytes of a sample from which one copy is worth more than few calls
_EXACT: Final = 2**53  # up to here, floats hold every integer

# MessagePack's forms of numbers: how many bytes follow, and what they are.
_FORMS: Final[dict[int, DType]] = {
    0xCA: np.dtype(">f4"),
    0xCB: np.dtype(">f8"),
    0xCC: np.dtype("u1"),
    0xCD: np.dtype(">u2"),
    0xCE: np.dtype(">u4"),
    0xCF: np.dtype(">u8"),
    0xD0: np.dtype("i1"),
    0xD1: np.dtype(">i2"),
    0xD2: np.dtype(">i4"),
    0xD3: np.dtype(">i8"),
}
_FALSE, _TRUE = 0xC2, 0xC3
_SMALL: Final = (*range(0x80), *range(0xE0, 0x100))  # integers that are their own form, as int8
# The size of a sample by the form of its number; 0 is that of none.
_SIZES: Final = np.zeros(256, np.intp)
_SIZES[[*_SMALL, _FALSE, _TRUE]] = _BODY
_SIZES[[*_FORMS]] = [_BODY + dtype.itemsize for dtype in _FORMS.values()]

# Where in an encoded value the code of an extension type is, by the form of the extension type.
_CODE_AT: Final = {0xC7: 3, 0xC8: 4, 0xC9: 6, **dict.fromkeys(range(0xD4, 0xD9), 2)}


# ---------------------------------------------------------------------------------------- decoding


def quick_columns(members: Sequence[bytes]) -> tuple[Array, Array] | None:
    """Give timestamps and values of samples, at least one, if there is a quick way; else None.

    A way is not taken either where something is wrong, which is for the slow one to say.
    """
    first = members[0]
    form = first[_BODY - 1] if len(first) >= _BODY else 0xC1
    if form in _CODE_AT:
        return _extensions(members)
    return _numbers(members) if _SIZES[form] else None


def _numbers(members: Sequence[bytes]) -> tuple[Array, Array] | None:
    """Take plain numbers out of samples, if they hold nothing else."""
    lengths = set(map(len, members))
    if min(lengths) < _BODY:
        return None
    raw = np.frombuffer(b"".join(members), np.uint8)
    step = len(members[0]) if len(lengths) == 1 else 0
    if step:
        starts = np.arange(0, len(raw), step)
        sizes = np.full(len(members), step)
    else:
        sizes = np.fromiter(map(len, members), np.intp, len(members))
        starts = np.cumsum(sizes) - sizes
    forms = raw[starts + (_BODY - 1)]
    if (raw[starts + SIZE] != 0xFF).any() or (sizes != _SIZES[forms]).any():
        return None
    found = np.flatnonzero(np.bincount(forms, minlength=256)).tolist()
    values = _values(raw, starts, step, forms, found)
    return None if values is None else (_gather(raw, starts, _TIME, step).astype("f8"), values)


def _values(raw: Array, starts: Array, step: int, forms: Array, found: list[int]) -> Array | None:
    """Give the numbers in samples of these forms, if an array can hold them exactly."""
    if _FALSE in found or _TRUE in found:
        return forms == _TRUE if set(found) <= {_FALSE, _TRUE} else None
    floating = any(form in _FORMS and _FORMS[form].kind == "f" for form in found)
    limit = _EXACT - 1 if floating else 2**63 - 1
    values = np.empty(len(starts), "f8" if floating else "i8")
    small = (forms < 0x80) | (forms >= 0xE0)
    values[small] = forms[small].view("i1")
    for form in found:
        if form in _FORMS:
            here = forms == form if len(found) > 1 else slice(None)
            column = _gather(raw, starts[here] + _BODY, _FORMS[form], step * (len(found) == 1))
            if column.dtype.kind != "f" and _too_large(column, limit):
                return None
            with np.errstate(invalid="ignore"):  # a signalling NaN is no news
                values[here] = column
    return values


def _too_large(integers: Array, limit: int) -> bool:
    if integers.dtype.itemsize < 8:
        return False
    # As Python's integers: older NumPy compares unsigned ones as floats.
    return int(integers.max()) > limit or int(integers.min()) < -limit - 1


def _gather(raw: Array, starts: Array, dtype: DType, step: int) -> Array:
    """Give the numbers that start at these places, which are `step` apart unless that is 0."""
    if step:
        return np.ndarray(starts.shape, dtype, raw, starts[0], (step,))
    picked: Array = raw[starts[:, np.newaxis] + np.arange(dtype.itemsize)]
    return picked.view(dtype)[:, 0]


def _extensions(members: Sequence[bytes]) -> tuple[Array, Array] | None:
    """Take the numbers out of samples that differ in nothing else."""
    first = members[0]
    size = len(first)
    if any(len(member) != size for member in members):
        return None
    layout = _layout(first[SIZE:])
    if layout is None:
        return None
    dtype, maybe_shape, order, body = layout
    shape, body = maybe_shape or (), SIZE + body
    if size >= _LARGE:
        return _large_rows(members, dtype, shape, order, body)
    count = len(members)
    joined = b"".join(members)
    prefixes: Array = np.ndarray((count, body - SIZE), np.uint8, joined, SIZE, (size, 1))
    if (prefixes != prefixes[0]).any():
        return None
    steps = np.ndarray(shape, dtype, first, body, None, order).strides
    values: Array = np.ndarray((count, *shape), dtype, joined, body, (size, *steps))
    return _times(joined, count, size), _own(values, maybe_shape is None)


def _large_rows(
    members: Sequence[bytes], dtype: DType, shape: tuple[int, ...], order: Order, body: int
) -> tuple[Array, Array] | None:
    prefix = members[0][SIZE:body]
    if not all(member.startswith(prefix, SIZE) for member in members):
        return None
    values: Array = np.ndarray((len(members), *shape), dtype)
    for row, member in zip(values, members):
        row[...] = np.ndarray(shape, dtype, member, body, None, order)
    times = b"".join([member[:SIZE] for member in members])
    return _times(times, len(members), SIZE), values


def _times(raw: bytes, count: int, step: int) -> Array:
    times: Array = np.ndarray((count,), _TIME, raw, 0, (step,))
    return times.astype(np.float64)


def _own(values: Array, scalars: bool) -> Array:
    """Copy values; scalars have the machine's byte order, and a bool is no other byte than 0 or 1."""
    if scalars and values.dtype.kind == "b":
        return values.view(np.uint8).astype(np.bool_)
    return values.astype(values.dtype.newbyteorder("=")) if scalars else values.copy()


def _layout(value: bytes) -> Layout | None:
    """Say where in an encoded value, an extension type, its numbers are; None if there are none.

    Raises
    ------
    DecodeError
        If it is not a valid value.
    """
    if value[0] != 0xFF:
        return None
    decode_value(value)  # which checks all that is relied on here
    code_at = _CODE_AT[value[1]]
    code, start = value[code_at], code_at + 1
    if code == EXT_COMPLEX:
        return np.dtype(">c16"), None, "C", start
    if code == EXT_SCALAR:
        end = start + first_object(value[start:])
        dtype = scalar_layouts[value[start:end]][0]
        return (dtype, None, "C", end) if dtype.kind in _NUMBERS else None
    if code == EXT_ARRAY:
        end = header_end(value, start)
        dtype, shape, order, nbytes, _ = array_headers[value[start:end]]
        # Text must be checked, and padding within structures copied with care: others see to that.
        if nbytes and dtype.names is None and dtype.kind != "U":
            return dtype, shape, order, end
    return None


# -------------------------------------------------------------------------------- putting together

_PYTHON_NUMBERS: Final[dict[type, DType]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}


def stack(values: Sequence[Any]) -> Array:
    """Make one array of values: numbers and equal-shaped arrays stacked, otherwise of objects.

    Parameters
    ----------
    values
        Any values, at least one.

    Returns
    -------
    numpy.ndarray
        Of shape (n, ...), in C order, with memory of its own.
    """
    kinds = set(map(type, values))
    if kinds == {np.ndarray}:
        stacked = _stack_arrays(values)
    elif all(kind in _PYTHON_NUMBERS or issubclass(kind, np.generic) for kind in kinds):
        stacked = _stack_numbers(values)
    else:
        stacked = None
    return _objects(values) if stacked is None else stacked


def _stack_numbers(values: Sequence[Any]) -> Array | None:
    dtypes = {_PYTHON_NUMBERS.get(type(value)) or _scalar_dtype(value) for value in values}
    if None in dtypes:
        return None
    kinds = {dtype.kind for dtype in dtypes if dtype is not None}
    dtype, *others = dtypes
    if not others:
        if dtype == np.int64:
            return _integers(values)
        if kinds == {"V"}:  # which NumPy would take for a row of its fields
            return _stack_arrays([np.asarray(value) for value in values])
        return np.array(values, dtype)
    if kinds <= {"i", "u"}:
        return _integers(values)
    if kinds <= {"i", "u", "f"}:
        return _floats(values)
    return _complexes(values) if kinds <= {"i", "u", "f", "c"} else None


def _scalar_dtype(value: np.generic) -> DType | None:
    """Give the dtype of a NumPy scalar, None if an array of that would not keep all of it."""
    dtype = value.dtype
    if dtype.kind in _NUMBERS:
        return dtype.newbyteorder("=")
    return dtype if dtype.names is not None else None


def _integers(values: Sequence[Any]) -> Array | None:
    integers = list(map(int, values))
    least, greatest = min(integers), max(integers)
    if -(2**63) <= least and greatest < 2**63:
        return np.array(integers, np.int64)
    return np.array(integers, np.uint64) if least >= 0 else None


def _floats(values: Sequence[Any]) -> Array | None:
    """Make floats of integers and floats of several sizes, unless one would change."""
    floats = np.array(list(map(float, values)))
    for value, converted in zip(values, floats.tolist()):
        # As Python's integers, which compare exactly with floats; NumPy makes floats of them first.
        exact = value.item() if isinstance(value, np.integer) else value
        if exact != converted and not (exact != exact and math.isnan(converted)):
            return None
    return floats


def _complexes(values: Sequence[Any]) -> Array | None:
    """Make complex numbers of all, unless an integer or an extended float would change."""
    real = [value for value in values if not isinstance(value, (complex, np.complexfloating))]
    imaginary = [value for value in values if isinstance(value, (complex, np.complexfloating))]
    if any(one.dtype.itemsize > 16 for one in imaginary if isinstance(one, np.generic)):
        return None
    return None if _floats(real) is None else np.array(list(map(complex, values)))


def _stack_arrays(arrays: Sequence[Array]) -> Array | None:
    shape = arrays[0].shape
    if any(one.shape != shape for one in arrays):
        return None
    dtype = _common_dtype(arrays)
    if dtype is None or not dtype.itemsize:
        return None
    try:
        # Unlike empty(), this leaves every dtype as it is (times without a unit, strings of no length).
        stacked: Array = np.ndarray((len(arrays), *shape), dtype)
    except ValueError:  # of no bytes, but more axes' lengths than NumPy can multiply
        return None
    if dtype.names is None:
        with np.errstate(invalid="ignore"):  # as above, of a signalling NaN that becomes longer
            for row, array in enumerate(arrays):
                stacked[row] = array
    elif stacked.size:
        # Assigning structures may leave out the padding between fields.
        raw = stacked.reshape(-1).view(np.uint8)
        raw[...] = np.frombuffer(b"".join([array.tobytes() for array in arrays]), np.uint8)
    return stacked


def _common_dtype(arrays: Sequence[Array]) -> DType | None:
    """Give the dtype that holds the elements of all arrays exactly, None if there is none."""
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) == 1:
        return arrays[0].dtype
    kinds = {dtype.kind for dtype in dtypes}
    if kinds == {"U"} or kinds == {"S"}:
        return np.result_type(*dtypes)
    if not kinds <= {"i", "u", "f", "c"}:
        return None
    common = np.result_type(*dtypes)
    integers = [array for array in arrays if array.dtype.kind in "iu" and array.size]
    if kinds <= {"i", "u"} and common.kind == "f":  # which NumPy has for int64 and uint64
        if not any(_too_large(array, 2**63 - 1) for array in integers):
            return np.dtype(np.int64)
        return np.dtype(np.uint64) if all(int(array.min()) >= 0 for array in integers) else None
    inexact = common.kind in "fc" and any(_too_large(array, _EXACT - 1) for array in integers)
    return None if inexact else common


def _objects(values: Sequence[Any]) -> Array:
    objects = np.empty(len(values), object)
    for place, value in enumerate(values):  # one by one: a list of lists would be taken apart
        objects[place] = value
    return objects


# ---------------------------------------------------------------------------------------- encoding


def encode_times(timestamps: Array) -> bytes | None:
    """Give eight bytes for each timestamp, if all can be stored; else None."""
    if timestamps.ndim != 1 or timestamps.dtype.kind not in "iuf" or timestamps.dtype.itemsize > 8:
        return None
    seconds = timestamps.astype(np.float64)
    if not ((seconds >= 0.0) & (seconds < math.inf)).all():
        return None
    return (seconds + 0.0).astype(_TIME).tobytes()  # -0.0 + 0.0 is +0.0


def encode_numbers(values: Array, times: bytes) -> list[bytes] | None:
    """Give samples with the numbers of an array, as its scalars would be encoded; None if not quick."""
    dtype = values.dtype
    if values.ndim != 1 or dtype.kind not in _NUMBERS or dtype.char in "gG" or not values.size:
        return None
    native = np.ascontiguousarray(values, dtype.newbyteorder("="))
    first = encode_value(values[0])
    end = len(first) - dtype.itemsize
    if first[end:] != native[:1].tobytes():
        return None
    samples = np.empty((len(values), SIZE + len(first)), np.uint8)
    samples[:, :SIZE] = np.frombuffer(times, np.uint8).reshape(-1, SIZE)
    samples[:, SIZE : SIZE + end] = np.frombuffer(first, np.uint8, end)
    samples[:, SIZE + end :] = native.view(np.uint8).reshape(-1, dtype.itemsize)
    raw, step = samples.tobytes(), samples.shape[1]
    return [raw[start : start + step] for start in range(0, len(raw), step)]
