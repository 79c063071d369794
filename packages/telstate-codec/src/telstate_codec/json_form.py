"""Values as JSON, and back, without losing anything.

What JSON has is written as it is: None, booleans, integers, finite floats, text, lists, and dictionaries whose
keys are text. Everything else is an object with one key that says what it is:

==========  ============================================================================================
``$bytes``  base64
``$tuple``  a list of the elements
``$complex``  real and imaginary part
``$float``  ``"nan"``, ``"inf"``, ``"-inf"``, or the bits of another NaN in hexadecimal
``$timestamp``  whole seconds and nanoseconds of a `msgpack.Timestamp`
``$map``    a list of pairs: a dictionary with other keys, or one that would look like one of these objects
``$array``  an object with the dtype, the shape, ``"order": "F"`` unless it is C order, and the data as base64
``$scalar``  an object with the dtype of a NumPy scalar, and its value, or its data as base64
==========  ============================================================================================

A dtype is a string as in ``numpy.dtype.str``, or a list of fields as in ``numpy.dtype.descr``. The form is the
same wherever telstate writes values as text.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from ._msgpack.encoder import pack
from ._numpy.arrays import Array, array_payload, decode_array, decode_scalar
from ._numpy.dtypes import DType, describe, dtype_of
from ._numpy.npy_header import header_end, read_header, write_header
from .errors import DecodeError, EncodeError

# Python does not print longer integers.
_MAX_BITS = 14_000
_NAN = struct.pack(">d", math.nan)
#: What the content of a mark raises that is of another type, or out of range.
_MALFORMED = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)


def value_to_json(value: Any) -> Any:
    """Return a value in the types of JSON, for `json.dumps`.

    Parameters
    ----------
    value
        A value that `encode_value` accepts. Subclasses of tuple, complex and ndarray become those.

    Raises
    ------
    EncodeError
        If the value, or one inside it, has no encoding, or the nesting is too deep.

    Examples
    --------
    >>> value_to_json({"gain": [1.5, (True, b"\\xff")], "phase": 1j})
    {'gain': [1.5, {'$tuple': [True, {'$bytes': '/w=='}]}], 'phase': {'$complex': [0.0, 1.0]}}
    >>> import numpy as np
    >>> value_to_json(np.float32(1.5)), value_to_json(float("nan"))
    ({'$scalar': {'dtype': '<f4', 'value': 1.5}}, {'$float': 'nan'})
    >>> value_to_json(np.arange(2, dtype=np.int16))
    {'$array': {'dtype': '<i2', 'shape': [2], 'data': 'AAABAA=='}}
    """
    try:
        return _to_json(value)
    except EncodeError:
        raise
    except ValueError as error:  # of NumPy's dtypes
        raise EncodeError(f"The value has no encoding: {error}.") from error
    except RecursionError as error:
        raise EncodeError("The value is nested too deeply for JSON.") from error


def value_from_json(content: Any) -> Any:
    """Return the value that `value_to_json` made this content from.

    Parameters
    ----------
    content
        What `json.loads` returns.

    Raises
    ------
    DecodeError
        If an object is not in one of the forms, or the nesting is too deep.

    Examples
    --------
    >>> value_from_json([1.5, {"$tuple": [True, {"$bytes": "/w=="}]}])
    [1.5, (True, b'\\xff')]
    """
    try:
        return _from_json(content)
    except RecursionError as error:
        raise DecodeError("The JSON is nested too deeply.") from error


def _to_json(value: Any) -> Any:
    kind = type(value)
    if kind in (str, bool, type(None)):
        return value
    if kind is int:
        if value.bit_length() > _MAX_BITS:
            raise EncodeError(f"An integer of {value.bit_length():,} bits is too long for JSON.")
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": _name_float(value)}
    if kind is list:
        return [_to_json(item) for item in value]
    if kind is dict:
        if all(type(key) is str for key in value) and not _looks_marked(value):
            return {key: _to_json(item) for key, item in value.items()}
        return {"$map": [[_to_json(key), _to_json(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"$array": _describe_array(value)}
    if isinstance(value, np.generic):
        return {"$scalar": _describe_scalar(value)}
    if kind in (bytes, bytearray, memoryview):
        return {"$bytes": _to_base64(value)}
    if isinstance(value, tuple):
        return {"$tuple": [_to_json(item) for item in value]}
    if isinstance(value, complex):
        return {"$complex": [_to_json(value.real), _to_json(value.imag)]}
    if kind is msgpack.Timestamp:
        return {"$timestamp": [value.seconds, value.nanoseconds]}
    raise EncodeError(f"A value of type {kind.__name__} has no encoding.")


def _looks_marked(content: dict[str, Any]) -> bool:
    """Return whether an object has one key, which begins like a mark."""
    return len(content) == 1 and next(iter(content)).startswith("$")


def _name_float(value: float) -> str:
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    bits = struct.pack(">d", value)
    return "nan" if bits == _NAN else bits.hex()


def _describe_array(array: Array) -> dict[str, Any]:
    file = array_payload(array)
    body = header_end(file, 0)
    header = read_header(file[:body])
    described: dict[str, Any] = {"dtype": describe(header.dtype), "shape": list(header.shape)}
    if header.order == "F":
        described["order"] = "F"
    return described | {"data": _to_base64(file[body:])}


def _describe_scalar(scalar: np.generic) -> dict[str, Any]:
    described = {"dtype": describe(scalar.dtype)}
    if scalar.dtype.kind in "biuf" and scalar.dtype.itemsize <= 8:
        number: Any = scalar.item()
        if math.isfinite(number):
            return described | {"value": number}
    return described | {"data": _to_base64(scalar.tobytes())}


def _to_base64(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode()


def _from_json(content: Any) -> Any:
    if isinstance(content, list):
        return [_from_json(item) for item in content]
    if not isinstance(content, dict):
        return content
    if not _looks_marked(content):
        return {key: _from_json(item) for key, item in content.items()}
    ((mark, inner),) = content.items()
    read = _READERS.get(mark)
    if read is None:
        raise DecodeError(f"{mark[:40]!r} is not a mark of a value in JSON.")
    try:
        return read(inner)
    except DecodeError:
        raise
    except _MALFORMED as error:
        raise DecodeError(f"The content of {mark} is malformed: {error}.") from error


def _read_float(text: str) -> float:
    if text in ("nan", "inf", "-inf"):
        return float(text)
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return value


def _read_complex(parts: list[Any]) -> complex:
    real, imaginary = map(_from_json, parts)
    return complex(float(real), float(imaginary))


def _read_map(pairs: list[list[Any]]) -> dict[Any, Any]:
    return {_from_json(key): _from_json(item) for key, item in pairs}


def _read_array(described: dict[str, Any]) -> Array:
    order, shape = described.get("order", "C"), tuple(described["shape"])
    header = write_header(_dtype(described["dtype"]), shape, order == "F")
    return decode_array(header + _from_base64(described["data"]))


def _read_scalar(described: dict[str, Any]) -> Any:
    dtype = _dtype(described["dtype"])
    if "value" in described:
        scalar = np.array(described["value"], dtype)[()]
        if dtype.kind in "iu" and scalar != described["value"]:  # NumPy 1 wraps around
            raise ValueError(f"{described['value']} is not a value of {dtype}")
        return scalar
    return decode_scalar(pack(describe(dtype)) + _from_base64(described["data"]))


def _dtype(described: Any) -> DType:
    return dtype_of(_to_descriptor(described))


def _to_descriptor(described: Any) -> Any:
    """Return a descriptor with the tuples that became lists in JSON."""
    if not isinstance(described, list):
        return described
    fields: list[Any] = []
    for name, inner, *shape in described:
        full_name = tuple(name) if isinstance(name, list) else name
        fields.append((full_name, _to_descriptor(inner), *map(_to_shape, shape)))
    return fields


def _to_shape(shape: Any) -> Any:
    return tuple(shape) if isinstance(shape, list) else shape


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_READERS: dict[str, Callable[[Any], Any]] = {
    "$bytes": _from_base64,
    "$tuple": lambda items: tuple(map(_from_json, items)),
    "$complex": _read_complex,
    "$timestamp": lambda parts: msgpack.Timestamp(*parts),
    "$float": _read_float,
    "$map": _read_map,
    "$array": _read_array,
    "$scalar": _read_scalar,
}
