"""Encoding and decoding of many samples as columns: NumPy arrays of timestamps and of values.

Most sensors hold values of one type, so that the bytes of their samples differ only in the numbers;
those are copied out of all samples, or into them, in a single step. There are two such quick ways,
which are exact or not used at all: one for plain numbers, in any mixture of MessagePack's forms, and one
for extension types (NumPy's numbers and arrays, complex numbers) where the bytes before the number
are the same in all samples. All other samples are decoded one by one, and their values are stacked by
`stack_values`, which defines the result: the quick ways return the same.

Importing this module loads NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._joined_samples import JoinedSamples
from ._msgpack.decoder import first_object
from ._msgpack.format import (
    CODE_ARRAY,
    CODE_COMPLEX,
    CODE_SCALAR,
    FALSE,
    FLOAT_64,
    FORMS,
    MSGPACK_BYTE,
    TRUE,
)
from ._numpy.arrays import array_headers, as_raw, scalar_layouts
from ._numpy.dtypes import DType
from ._numpy.npy_header import Order, Shape, header_end
from .timestamps import SIZE, convert_numpy
from .values import decode_value, encode_value

Array: TypeAlias = NDArray[Any]
Layout: TypeAlias = tuple[DType, Shape | None, Order, int]
"""Dtype in the store, shape (None for a scalar), order, and offset of the elements in the value."""

_TIME: Final = np.dtype(">f8")
_FORM_AT: Final = SIZE + 1  # offset of MessagePack's first byte, after the header byte
_NUMBER_AT: Final = _FORM_AT + 1
_NUMBER_KINDS: Final = "biufcmM"  # kinds of dtype whose scalars all have the same size
_LARGE_SAMPLE: Final = 2**12  # bytes of a sample from which saving a copy is worth more calls
_FEW_COLUMNS: Final = 16  # bytes up to which many samples are compared byte by byte
_EXACT: Final = 2**53  # up to here, floats represent every integer

_NUMBERS: Final = {
    byte: np.dtype(f">{form.number}") for byte, form in enumerate(FORMS) if form.number
}
_SMALL_INTEGERS: Final = [
    byte for byte, form in enumerate(FORMS) if form.kind == "int" and not form.number
]
# The size of a sample, by the form of its number; 0 for forms that are not numbers.
_SIZES: Final = np.zeros(256, np.intp)
_SIZES[[*_SMALL_INTEGERS, FALSE, TRUE]] = _NUMBER_AT
_SIZES[[*_NUMBERS]] = [_NUMBER_AT + dtype.itemsize for dtype in _NUMBERS.values()]


# ---------------------------------------------------------------------------------------- decoding


def decode_columns(members: Sequence[bytes]) -> tuple[Array, Array] | None:
    """Return timestamps and values of one or more samples, or None if there is no quick way.

    For invalid samples the result is None too, unless `DecodeError` is raised at once.
    """
    first = members[0]
    if len(first) <= _FORM_AT:
        return None
    form = first[_FORM_AT]
    is_extension = FORMS[form].kind == "extension"
    if is_extension and len(first) >= _LARGE_SAMPLE:
        return _decode_large(members)
    if not is_extension and not _SIZES[form]:
        return None
    joined = JoinedSamples.join(members)
    columns = None
    if joined is not None and (is_extension or form == FLOAT_64):
        columns = _decode_uniform(joined)
    return _decode_numbers(members, joined) if columns is None and not is_extension else columns


def _decode_numbers(
    members: Sequence[bytes], joined: JoinedSamples | None
) -> tuple[Array, Array] | None:
    """Decode samples that all hold plain numbers; if they are of one size, `joined` are the same."""
    if joined is not None:
        step = joined.size
        raw = np.frombuffer(joined.joined, np.uint8)
        starts = np.arange(0, len(raw), step)
        sizes = np.full(len(starts), step)
    else:
        step = 0
        sizes = np.fromiter(map(len, members), np.intp, len(members))
        if sizes.min() < _NUMBER_AT:
            return None
        raw = np.frombuffer(b"".join(members), np.uint8)
        starts = np.cumsum(sizes) - sizes
    forms = raw[starts + _FORM_AT]
    if (raw[starts + SIZE] != MSGPACK_BYTE).any() or (sizes != _SIZES[forms]).any():
        return None
    found = np.flatnonzero(np.bincount(forms, minlength=256)).tolist()
    values = _number_values(raw, starts, step, forms, found)
    return None if values is None else (_gather(raw, starts, _TIME, step).astype("f8"), values)


def _number_values(
    raw: Array, starts: Array, step: int, forms: Array, found: list[int]
) -> Array | None:
    """Return the numbers in samples of the forms found, or None if no array holds them exactly."""
    if FALSE in found or TRUE in found:
        return forms == TRUE if set(found) <= {FALSE, TRUE} else None
    floating = any(FORMS[form].kind == "float" for form in found)
    limit = _EXACT - 1 if floating else 2**63 - 1
    values = np.empty(len(starts), "f8" if floating else "i8")
    small = (forms < 0x80) | (forms >= 0xE0)
    values[small] = forms[small].view("i1")
    for form in found:
        if form in _NUMBERS:
            here = forms == form if len(found) > 1 else slice(None)
            column = _gather(
                raw, starts[here] + _NUMBER_AT, _NUMBERS[form], step * (len(found) == 1)
            )
            if column.dtype.kind != "f" and _too_large(column, limit):
                return None
            with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
                values[here] = column
    return values


def _too_large(integers: Array, limit: int) -> bool:
    if integers.dtype.itemsize < 8:
        return False
    # Compared as Python integers, because older NumPy compares unsigned ones as floats.
    return int(integers.max()) > limit or int(integers.min()) < -limit - 1


def _gather(raw: Array, starts: Array, dtype: DType, step: int) -> Array:
    """Return the numbers that start at these offsets, which are `step` apart unless `step` is 0."""
    if step:
        return np.ndarray(starts.shape, dtype, raw, starts[0], (step,))
    picked: Array = raw[starts[:, np.newaxis] + np.arange(dtype.itemsize)]
    return picked.view(dtype)[:, 0]


def _decode_uniform(samples: JoinedSamples) -> tuple[Array, Array] | None:
    """Decode samples of one size that differ only in their numbers."""
    layout = _find_layout(samples[0][SIZE:])
    if layout is None:
        return None
    dtype, maybe_shape, order, start = layout
    shape, body = maybe_shape or (), SIZE + start
    count, size, joined = len(samples), samples.size, samples.joined
    prefixes: Array = np.ndarray((count, start), np.uint8, joined, SIZE, (size, 1))
    # NumPy is slow where the last axis is short.
    parts = prefixes.T if start < _FEW_COLUMNS else [prefixes]
    if any((part != part[0]).any() for part in parts):
        return None
    steps = np.ndarray(shape, dtype, joined, body, None, order).strides
    values: Array = np.ndarray((count, *shape), dtype, joined, body, (size, *steps))
    return _decode_times(joined, count, size), _copy(values, maybe_shape is None)


def _decode_large(members: Sequence[bytes]) -> tuple[Array, Array] | None:
    """Decode large samples that differ only in their numbers, each by itself."""
    layout = _find_layout(members[0][SIZE:])
    if layout is None or set(map(len, members)) != {len(members[0])}:
        return None
    dtype, maybe_shape, order, start = layout
    shape, body = maybe_shape or (), SIZE + start
    prefix = members[0][SIZE:body]
    if not all(member.startswith(prefix, SIZE) for member in members):
        return None
    values: Array = np.ndarray((len(members), *shape), dtype)
    for row, member in zip(values, members):
        row[...] = np.ndarray(shape, dtype, member, body, None, order)
    times = b"".join([member[:SIZE] for member in members])
    return _decode_times(times, len(members), SIZE), values


def _decode_times(raw: bytes, count: int, step: int) -> Array:
    times: Array = np.ndarray((count,), _TIME, raw, 0, (step,))
    return times.astype(np.float64)


def _copy(values: Array, scalars: bool) -> Array:
    """Copy values; scalars get the machine's byte order, and booleans the bytes 0 and 1."""
    if scalars and values.dtype.kind == "b":
        return values.view(np.uint8).astype(np.bool_)
    return values.astype(values.dtype.newbyteorder("=")) if scalars else values.copy()


def _find_layout(value: bytes) -> Layout | None:
    """Return the layout of an encoded float64 or extension type, or None if it is not of numbers of one size."""
    if value[0] != MSGPACK_BYTE:
        return None
    decode_value(value)  # checks everything that the rest relies on
    start = 1 + FORMS[value[1]].start
    if value[1] == FLOAT_64:
        return _NUMBERS[FLOAT_64], None, "C", start
    code = value[start - 1]
    if code == CODE_COMPLEX:
        return np.dtype(">c16"), None, "C", start
    if code == CODE_SCALAR:
        end = start + first_object(value[start:])
        dtype = scalar_layouts[value[start:end]][0]
        return (dtype, None, "C", end) if dtype.kind in _NUMBER_KINDS else None
    if code == CODE_ARRAY:
        end = header_end(value, start)
        dtype, shape, order, nbytes, _ = array_headers[value[start:end]]
        # Text has to be checked, and padding within structures copied; the slow way does both.
        if nbytes and dtype.names is None and dtype.kind != "U":
            return dtype, shape, order, end
    return None


# ---------------------------------------------------------------------------------------- stacking

_PYTHON_NUMBERS: Final[dict[type, DType]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}


def stack_values(values: Sequence[Any]) -> Array:
    """Make one array, of shape (n, ...) and in C order, of one or more values of any type."""
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
        if kinds == {"V"}:  # NumPy would take a structure for a row of its fields
            return _stack_arrays([np.ndarray((), value.dtype, value.tobytes()) for value in values])
        return np.array(values, dtype)
    if kinds <= {"i", "u"}:
        return _integers(values)
    if kinds <= {"i", "u", "f"}:
        return _floats(values)
    return _complexes(values) if kinds <= {"i", "u", "f", "c"} else None


def _scalar_dtype(value: np.generic) -> DType | None:
    """Return the dtype of a NumPy scalar, or None if an array of that dtype would change it."""
    dtype = value.dtype
    if dtype.kind in _NUMBER_KINDS:
        return dtype.newbyteorder("=")
    return dtype if dtype.names is not None else None


def _integers(values: Sequence[Any]) -> Array | None:
    integers = list(map(int, values))
    least, greatest = min(integers), max(integers)
    if -(2**63) <= least and greatest < 2**63:
        return np.array(integers, np.int64)
    # A pickle may hold larger ones.
    return np.array(integers, np.uint64) if 0 <= least and greatest < 2**64 else None


def _floats(values: Sequence[Any]) -> Array | None:
    """Convert integers and floats of several sizes to floats, unless one would change."""
    try:
        floats = np.array(list(map(float, values)))
    except OverflowError:  # an integer from a pickle
        return None
    for value, converted in zip(values, floats.tolist()):
        # Python's integers compare exactly with floats; NumPy's are converted to floats first.
        exact = value.item() if isinstance(value, np.integer) else value
        if exact != converted and not (exact != exact and math.isnan(converted)):
            return None
    return floats


def _complexes(values: Sequence[Any]) -> Array | None:
    """Convert numbers to complex numbers, unless an integer or an extended float would change."""
    real = [value for value in values if not isinstance(value, (complex, np.complexfloating))]
    imaginary = [value for value in values if isinstance(value, (complex, np.complexfloating))]
    if any(value.dtype.itemsize > 16 for value in imaginary if isinstance(value, np.generic)):
        return None
    return None if _floats(real) is None else np.array(list(map(complex, values)))


def _stack_arrays(arrays: Sequence[Array]) -> Array | None:
    shape = arrays[0].shape
    if any(array.shape != shape for array in arrays):
        return None
    dtype = _common_dtype(arrays)
    if dtype is None or not dtype.itemsize:
        return None
    try:
        # Unlike empty(), this keeps every dtype (times without a unit, strings of length 0).
        stacked: Array = np.ndarray((len(arrays), *shape), dtype)
    except ValueError:  # without elements, but with a shape too large for NumPy
        return None
    rows = as_raw(stacked)
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        for row, array in enumerate(arrays):
            rows[row] = as_raw(array)
    return stacked


def _common_dtype(arrays: Sequence[Array]) -> DType | None:
    """Return the dtype that holds the elements of all arrays exactly, if it exists."""
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
    if kinds <= {"i", "u"} and common.kind == "f":  # NumPy's choice for int64 and uint64
        if not any(_too_large(array, 2**63 - 1) for array in integers):
            return np.dtype(np.int64)
        return np.dtype(np.uint64) if all(int(array.min()) >= 0 for array in integers) else None
    inexact = common.kind in "fc" and any(_too_large(array, _EXACT - 1) for array in integers)
    return None if inexact else common


def _objects(values: Sequence[Any]) -> Array:
    objects = np.empty(len(values), object)
    for place, value in enumerate(values):  # one by one, because a list would become a row
        objects[place] = value
    return objects


# ---------------------------------------------------------------------------------------- encoding


def encode_times(timestamps: Array) -> bytes | None:
    """Return the eight bytes of each timestamp, joined, or None if not all can be stored."""
    if timestamps.dtype.kind == "M":  # NaT becomes NaN
        timestamps = convert_numpy(timestamps)
    if timestamps.ndim != 1 or timestamps.dtype.kind not in "iuf" or timestamps.dtype.itemsize > 8:
        return None
    seconds = timestamps.astype(np.float64)
    if not ((seconds >= 0.0) & (seconds < math.inf)).all():
        return None
    return (seconds + 0.0).astype(_TIME).tobytes()  # -0.0 + 0.0 is +0.0


def encode_numbers(values: Array, times: bytes) -> list[bytes] | None:
    """Return the samples of an array of numbers, or None if there is no quick way."""
    dtype = values.dtype
    if values.ndim != 1 or dtype.kind not in _NUMBER_KINDS or dtype.char in "gG" or not values.size:
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
