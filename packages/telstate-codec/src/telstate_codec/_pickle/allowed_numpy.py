"""The NumPy globals that a pickle of plain data may name: dtypes, arrays and scalars.

NumPy's own ``__setstate__`` methods trust their arguments, and can be made to read and write memory
of other objects. They are not used here: a dtype is made from a description, and an array or scalar from a dtype
and exactly as many bytes as it needs.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Final

import numpy as np

from .._numpy.dtypes import UTF_32, is_valid_text, text_parts
from .limits import Limits, refuse
from .machine import Arguments, Call, Function, Unfinished, as_bytes

MAX_DTYPE_DEPTH: Final = 32
"""Deepest nesting of structured dtypes."""

_NUMBER: Final = frozenset(
    "? b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 f12 f16 c8 c16 c24 c32".split(),
)
_SIZED: Final = re.compile("([SUVa])([0-9]{0,10})")
_TIMES: Final = frozenset(("M8", "m8"))
_OBJECTS: Final = frozenset(("O", "O4", "O8"))
_UNITS: Final = frozenset("Y M W D h m s ms us ns ps fs as".split())
_ALIGNED: Final = 0x80  # a flag of the dtype


class UnfinishedDtype(Unfinished):
    """A dtype whose state is not known yet."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def build(self, limits: Limits, state: object) -> object:
        """Return the dtype.

        The state is ``(version, byte order, sub-array, names, fields, size, alignment, flags)``,
        followed in version 4 by metadata, which hold the unit of times.
        """
        if type(state) is not tuple or len(state) not in (8, 9) or type(state[1]) is not str:
            refuse("the state of a dtype is not understood")
        _, order, subarray, names, fields, size, _, flags = state[:8]
        if type(size) is not int or type(flags) is not int or not -1 <= size < 2**31:
            refuse("the state of a dtype is not understood")
        if names is not None:
            return _structured(limits, names, fields, size, bool(flags & _ALIGNED))
        if subarray is not None:
            return _subarray(limits, subarray)
        if len(order) != 1:
            refuse("the byte order of a dtype is not understood")
        unit = _unit(state[8]) if len(state) == 9 and self.code in _TIMES else ""
        return _simple_dtype(self.code, order, size, unit)


class UnfinishedArray(Unfinished):
    """An array whose state is not known yet."""

    __slots__ = ()

    def build(self, limits: Limits, state: object) -> object:
        """Return the array of a state ``(version, shape, dtype, is Fortran order, bytes or list)``."""
        if type(state) is not tuple or len(state) != 5:
            refuse("the state of an array is not understood")
        _, shape, dtype, fortran, data = state
        # The type comes first, because comparing an array compares all its elements.
        order = "F" if type(fortran) in (bool, int) and fortran == 1 else "C"
        return _array(limits, shape, dtype, order, data)


@functools.lru_cache(maxsize=1024)
def _simple_dtype(code: str, order: str, size: int, unit: str) -> np.dtype[Any]:
    if order not in ("<", ">", "=", "|"):
        refuse("the byte order of a dtype is not understood")
    if code in _NUMBER:
        return np.dtype(order + code)
    if code in _OBJECTS:
        return np.dtype(object)
    if code in _TIMES:
        return np.dtype(order + code + unit)
    sized = _SIZED.fullmatch(code)
    if sized is None:
        refuse("a dtype is not understood")
    kind, digits = sized.groups()
    width = 4 if kind == "U" else 1
    if size < 0:
        size = int(digits or 0) * width  # NumPy refuses it if it is too large
    if size % width:
        refuse("the size of a dtype is impossible")
    return np.dtype(f"{order}{'S' if kind == 'a' else kind}{size // width}")


def _unit(metadata: object) -> str:
    """Return the unit of times from ``(metadata, (unit, number, denominator, events))``."""
    match metadata:
        case (_, (str() | bytes() as unit, int(number), *_)):
            text = unit if isinstance(unit, str) else unit.decode("latin-1")
            if text == "generic":
                return ""
            if text in _UNITS and 0 < number < 2**31:
                return f"[{number}{text}]"
    refuse("the unit of a time is not valid")


def _check_part(limits: Limits, dtype: object, depth: int = 1) -> None:
    """Check a dtype that becomes part of another one, and account for all of its own parts."""
    limits.charge(8)
    if not isinstance(dtype, np.dtype):
        refuse("a part of a dtype is not a dtype")
    if dtype.hasobject:
        refuse("there are objects inside a structured dtype")
    if depth > MAX_DTYPE_DEPTH:
        refuse(f"a dtype is nested more than {MAX_DTYPE_DEPTH} deep")
    if dtype.subdtype is not None:
        _check_part(limits, dtype.subdtype[0], depth + 1)
    for name in dtype.names or ():
        _check_part(limits, dtype[name], depth + 1)


def _subarray(limits: Limits, parts: object) -> np.dtype[Any]:
    match parts:
        case (base, tuple() as shape):
            _check_part(limits, base)
            _count(shape)
            return np.dtype((base, shape))
    refuse("a sub-array dtype is not understood")


def _structured(
    limits: Limits, names: object, fields: object, size: int, aligned: bool
) -> np.dtype[Any]:
    if type(names) is not tuple or type(fields) is not dict and fields is not None:
        refuse("a structured dtype is not understood")
    parts: dict[str, list[Any]] = {"names": [], "formats": [], "offsets": [], "titles": []}
    for name in names:
        match (fields or {}).get(name) if type(name) is str else None:
            case (np.dtype() as dtype, int(offset), *rest) if len(rest) < 2:
                title = rest[0] if rest else None
            case _:
                refuse("a field of a structured dtype is not understood")
        if title is not None and type(title) is not str:
            refuse("the title of a field is not text")
        _check_part(limits, dtype)
        for key, part in zip(parts, (name, dtype, offset, title), strict=True):
            parts[key].append(part)
    if not any(parts["titles"]):
        del parts["titles"]
    # With align, NumPy checks that the offsets are aligned.
    description: Any = {**parts, "itemsize": size}
    result: np.dtype[Any] = np.dtype(description, align=aligned)
    return result


def _count(shape: object) -> int:
    """Return the number of elements in a shape."""
    if type(shape) is not tuple or len(shape) > 64:
        refuse("a shape is not understood")
    if any(type(length) is not int or not 0 <= length < 2**63 for length in shape):
        refuse("a shape is impossible")
    return math.prod(shape)


def _array(limits: Limits, shape: Any, dtype: Any, order: Any, data: object) -> object:
    """Return an array that owns its memory."""
    if not isinstance(dtype, np.dtype) or dtype.subdtype is not None:
        refuse("the dtype of an array is not understood")
    count = _count(shape)
    if dtype.hasobject:
        return _object_array(limits, shape, dtype, order, data, count)
    raw = as_bytes(data, limits)
    if len(raw) != count * dtype.itemsize:
        refuse("an array has more or fewer bytes than its shape needs")
    if not raw:
        limits.charge(dtype.itemsize + count)  # NumPy may allocate one element, or visit all
        return np.ndarray(shape, dtype, order=order)  # empty() would turn S0 into S1
    _check_text(limits, np.ndarray((count,), dtype, raw))
    return _copy(np.ndarray(shape, dtype, raw, order=order))


def _check_text(limits: Limits, array: np.ndarray[Any, Any]) -> None:
    """Refuse invalid code points, which NumPy itself notices only when the text is used."""
    if array.dtype.names is not None:
        _check_part(limits, array.dtype, 0)  # accounts for visiting each field
    if array.dtype.kind in "UV":
        for part in text_parts(array):
            limits.charge(part.nbytes)  # fields may overlap
            if not is_valid_text(part):
                refuse("an array of text has characters that do not exist")


def _copy(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Copy an array in its own order and, as NumPy does, in native byte order."""
    dtype = array.dtype
    if dtype.names is not None:
        # NumPy would copy field by field, and leave old memory in the gaps between them.
        result = np.empty_like(array)
        whole = f"V{dtype.itemsize}"
        result.view(whole)[...] = array.view(whole)
        return result
    return array.astype(dtype.newbyteorder("="), "K")


def _object_array(
    limits: Limits, shape: Any, dtype: np.dtype[Any], order: Any, data: object, count: int
) -> object:
    """Return an array of objects from a list, which is always in C order."""
    if dtype != object or type(data) is not list or len(data) != count:
        refuse("an array of objects is made of a list of them")
    limits.charge(8 * count)
    limits.charge_fragile()
    array = np.empty(count, object)
    for index, item in enumerate(data):
        array[index] = item
    return np.array(array.reshape(shape), order=order)


def _scalar(limits: Limits, args: Arguments) -> object:
    """Stand in for `numpy.core.multiarray.scalar`, of a dtype and the bytes of the value."""
    dtype, data = args
    if not isinstance(dtype, np.dtype) or dtype.subdtype is not None or dtype.hasobject:
        refuse("the dtype of a NumPy scalar is not understood")
    raw = as_bytes(data, limits)
    if len(raw) != dtype.itemsize:
        refuse("a NumPy scalar has more or fewer bytes than it needs")
    if not raw:
        return _EMPTY[dtype.kind]
    array: np.ndarray[Any, Any] = np.ndarray((), dtype, raw)
    _check_text(limits, array)
    # NumPy would drop the zeros at the end of text and bytes.
    if dtype.kind == "S":
        return np.bytes_(raw)
    if dtype.kind == "U":
        return np.str_(raw.decode(UTF_32[dtype.byteorder], "surrogatepass"))
    return _copy(array)[()] if dtype.kind == "V" else array[()]


_EMPTY: Final[dict[str, object]] = {"S": np.bytes_(b""), "U": np.str_(""), "V": np.void(b"")}
"""The only value of a dtype without a size, by its kind."""


def _dtype(limits: Limits, args: Arguments) -> object:
    match args:
        case (str(code), *_) if len(args) <= 3 and len(code) <= 16:  # short, because it is cached
            return UnfinishedDtype(code)
    refuse("a dtype is not understood")


def _reconstruct(limits: Limits, args: Arguments) -> object:
    if len(args) == 3 and args[0] is np.ndarray:
        return UnfinishedArray()
    refuse("an array is of a subclass of numpy.ndarray")


def _from_buffer(limits: Limits, args: Arguments) -> object:
    """Stand in for `numpy.core.numeric._frombuffer`, of protocol 5."""
    data, dtype, shape, order = args
    if type(order) is not str or order not in ("C", "F") or getattr(dtype, "hasobject", True):
        refuse("an array in a buffer is not understood")
    return _array(limits, shape, dtype, order, data)


_SCALARS: Final = {
    **{"bool_": "?", "bool": "?", "bool8": "?", "object_": "O", "void": "V", "longdouble": "g"},
    **{"str_": "U", "unicode_": "U", "bytes_": "S", "string_": "S", "clongdouble": "G"},
    **{"datetime64": "M", "timedelta64": "m", "byte": "b", "ubyte": "B", "half": "e"},
    **{"int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "float16": "f2"},
    **{"uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "float32": "f4"},
    **{"float64": "f8", "complex64": "c8", "complex128": "c16", "longlong": "q", "intc": "i"},
    **{"ulonglong": "Q", "uintc": "I", "int_": "l", "uint": "L", "short": "h", "ushort": "H"},
    **{"float128": "g", "complex256": "G", "single": "f", "double": "d"},
    **{"csingle": "F", "cdouble": "D", "float_": "d", "complex_": "D"},
}
"""Dtypes, by the name of their scalar type."""

_CORES: Final = ("numpy.core", "numpy._core")

GLOBALS: Final[dict[tuple[str, str], object]] = {
    **{
        (f"{core}.{module}", name): Function(f"{core}.{module}.{name}", call)
        for core in _CORES
        for module in ("multiarray", "_multiarray_umath")
        for name, call in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
    **{
        (f"{core}.numeric", "_frombuffer"): Function(f"{core}.numeric._frombuffer", _from_buffer)
        for core in _CORES
    },
    **{
        (module, kind.__name__): kind
        for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        for kind in (np.ndarray, np.dtype)
    },
    **{("numpy", name): np.dtype(code).type for name, code in _SCALARS.items()},
}
"""The NumPy part of `allowed.GLOBALS`."""

CALLS: Final[dict[type, Call]] = {np.dtype: _dtype}
"""The NumPy part of `allowed.CALLS`."""
