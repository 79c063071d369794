"""NumPy arrays and scalars to the payloads of their extension types, and back.

The payload of an array is a ``.npy`` file (see `npy_header`). Its bytes are those of ``numpy.save``,
which spends most of its time on the header; here a bounded number of headers is cached, and the
elements are copied once. The payload of a scalar is the descriptor of its dtype, in MessagePack,
followed by the bytes of the value.

Importing this module loads NumPy and registers its encoders and readers. Sizes that are read are
compared with the data before memory is allocated. Errors are `ValueError`; callers turn them into
`EncodeError` or `DecodeError`.
"""

from __future__ import annotations

import functools
import io
import math
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .._msgpack.decoder import first_object, readers, remember_scalar, unpack
from .._msgpack.encoder import Encoder, Encoders, pack, register_numpy
from .._msgpack.format import (
    CODE_ARRAY,
    CODE_SCALAR,
    ENCODING_MSGPACK,
    FORMS,
    MAX_PAYLOAD,
    extension_header,
)
from ..errors import EncodeError
from .dtypes import UTF_32, DType, check_text, describe, dtype_of, has_text
from .npy_header import MAGIC, Header, Order, Shape, header_end, read_header, write_header

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Array: TypeAlias = NDArray[Any]
Elements: TypeAlias = Any  # an array or bytes, for b"".join
ScalarLayout: TypeAlias = tuple[DType, int, Callable[[bytes], Any]]
"""Dtype of a scalar, size of its value in bytes, and a function that makes the scalar of them."""

_SCATTERED: Final = 2**16  # bytes from which scattered elements are worth a buffer of their own
_VERSION_1: Final = MAGIC + b"\1\0"
_SHORT_TEXT: Final = 2**10  # bytes up to which Python's decoder checks text faster than NumPy
_WHOLE, _PAYLOAD = 0, 1  # indices of a pair of prefixes: of an encoded value, of a payload

# The size in MessagePack of short strings, as most descriptors are, by their first byte.
_SHORT_STRINGS: Final = {
    byte: 1 + form.length
    for byte, form in enumerate(FORMS)
    if form.kind == "str" and not form.length_size
}
# The size of NumPy's bytes for an empty string, whose dtype has size 0.
_EMPTY_STRINGS: Final = {"U": 4, "S": 1}

# NumPy's own function from dtype and bytes to scalar, which pickled scalars refer to. It refuses too
# few bytes, but not too many.
make_scalar = cast(Callable[[DType, bytes], Any], np.float64(0).__reduce__()[0])


class BoundedCache(dict[_Key, _Value]):
    """The results of a function; all of them are dropped when there are too many.

    Looking up a cached result costs no more than in a dictionary. Threads may share a cache: at worst
    each of them calls the function. Entries whose `size`, in bytes, is large are not cached.
    """

    MAX_ENTRIES: Final = 1024
    LARGE: Final = 1024

    def __init__(
        self, compute: Callable[[_Key], _Value], size: Callable[[_Key, _Value], int]
    ) -> None:
        super().__init__()
        self._compute = compute
        self._size = size

    def __missing__(self, key: _Key) -> _Value:
        value = self._compute(key)
        if self._size(key, value) <= self.LARGE:
            if len(self) >= self.MAX_ENTRIES:
                self.clear()
            self[key] = value
        return value


def _make_prefixes(code: int, start: bytes, size: int) -> tuple[bytes, bytes]:
    """Return the bytes before the elements: in an encoded value, and in a payload.

    `start` is the start of the payload, and `size` the size in bytes of the elements after it.
    """
    total = len(start) + size
    if total > MAX_PAYLOAD:
        raise ValueError(f"NumPy data of {total} bytes are larger than MessagePack allows")
    return ENCODING_MSGPACK + extension_header(code, total) + start, start


# ------------------------------------------------------------------------------------------ arrays


def _array_prefixes(key: tuple[DType, Shape, bool]) -> tuple[bytes, bytes]:
    dtype, shape, _ = key
    return _make_prefixes(CODE_ARRAY, write_header(*key), dtype.itemsize * math.prod(shape))


_prefixes: Final[BoundedCache[tuple[DType, Shape, bool], tuple[bytes, bytes]]] = BoundedCache(
    _array_prefixes, lambda key, prefixes: len(prefixes[_WHOLE])
)
array_headers: Final[BoundedCache[bytes, Header]] = BoundedCache(
    read_header, lambda header, content: len(header)
)


def encode_array(array: Array) -> bytes:
    """Return an array as a whole encoded value."""
    plain: Elements = array if type(array) is np.ndarray else _plain(array)
    if plain.flags.c_contiguous:
        return b"".join((_prefixes[plain.dtype, plain.shape, False][_WHOLE], plain))
    prefix, elements = _split_other(plain, _WHOLE)
    return b"".join((prefix, elements)) if prefix else bytes(elements)


def split_array(array: Array) -> tuple[bytes, Elements]:
    """Return the payload of an array, a ``.npy`` file, as header and elements, not yet copied."""
    plain: Elements = array if type(array) is np.ndarray else _plain(array)
    if plain.flags.c_contiguous:
        return _prefixes[plain.dtype, plain.shape, False][_PAYLOAD], plain
    return _split_other(plain, _PAYLOAD)


def array_payload(array: Array) -> bytes:
    """Return the payload of an array in one piece."""
    return b"".join(split_array(array))


def _plain(array: Array) -> Array:
    """Return an instance of a subclass (matrix, memory map) as a plain array; refuse masked arrays."""
    masked = sys.modules.get("numpy.ma")  # unless it has been loaded, there is no masked array
    if masked is not None and isinstance(array, masked.MaskedArray):
        raise EncodeError(
            "A masked array cannot be encoded because its mask would be lost. "
            "Store the result of .filled(), or .data and .mask separately."
        )
    return np.asarray(array)


def _split_other(array: Array, which: int) -> tuple[bytes, Elements]:
    """Return prefix and elements of an array that is not in C order."""
    if array.flags.f_contiguous:
        return _prefixes[array.dtype, array.shape, True][which], array.T
    prefix = _prefixes[array.dtype, array.shape, False][which]
    array = as_raw(array)
    if array.nbytes < _SCATTERED:
        return prefix, array.tobytes()
    # A BytesIO returns the very bytes object that it was made from, so it is filled in place. Memory
    # for zeros is allocated lazily by the system, so it is not written twice.
    stream = io.BytesIO(bytes(len(prefix) + array.nbytes))
    with stream.getbuffer() as view:
        view[: len(prefix)] = prefix
        target: Array = np.ndarray(array.shape, array.dtype, view, len(prefix))
        target[...] = array
        del target  # it refers to the view
    return b"", stream.getvalue()


def decode_array(data: bytes, start: int = 0, end: int | None = None) -> Array:
    """Return the array whose ``.npy`` file lies between two offsets of the data.

    It owns its memory and is writable.
    """
    if end is None:
        end = len(data)
    # The usual case, version 1, is short; header_end() does the same for all versions, with checks.
    if data[start : start + 8] == _VERSION_1 and start + 10 < end:
        body = start + 10 + data[start + 8] + 256 * data[start + 9]
    else:
        body = header_end(data, start)
    if body > end:
        raise ValueError("the header of an array extends beyond its end")
    dtype, shape, order, nbytes, text = array_headers[data[start:body]]
    if end - body != nbytes:
        raise ValueError(
            f"an array of shape {shape} and dtype {dtype} takes {nbytes} bytes, "
            f"but {end - body} follow its header"
        )
    if not nbytes:
        # Unlike zeros() and empty(), this keeps the dtype of strings without characters; those turn
        # it into strings of one character.
        return np.ndarray(shape, dtype, order=order)
    if dtype.names is not None:
        array = _copy_structured(dtype, shape, order, data, body)
    else:
        array = np.ndarray(shape, dtype, data, body, None, order).copy(order)
    if text:
        if nbytes <= _SHORT_TEXT and dtype.names is None:
            data[body:end].decode(UTF_32[dtype.byteorder], "surrogatepass")
        else:
            check_text(array)
    return array


def as_raw(array: Array) -> Array:
    """Return a structured array as raw bytes, because copying fields may leave out the padding."""
    dtype = array.dtype
    return array if dtype.names is None or not dtype.itemsize else array.view(f"V{dtype.itemsize}")


def _copy_structured(dtype: DType, shape: Shape, order: Order, data: bytes, body: int) -> Array:
    """Copy byte by byte, because copying element by element may leave out padding."""
    array: Array = np.empty(shape, dtype, order)
    raw = np.frombuffer(data, np.uint8, array.nbytes, body)
    np.ndarray(raw.shape, np.uint8, array if order == "C" else array.T)[...] = raw
    return array


# ----------------------------------------------------------------------------------------- scalars


def _scalar_prefixes(dtype: DType) -> tuple[bytes, bytes]:
    size = dtype.itemsize or _EMPTY_STRINGS.get(dtype.kind, 0)
    return _make_prefixes(CODE_SCALAR, pack(describe(dtype)), size)


def _read_descriptor(packed: bytes) -> ScalarLayout:
    dtype = dtype_of(unpack(packed))
    # NumPy's own function would drop the zeros at the end of text and bytes.
    if dtype.kind == "S":
        return dtype, dtype.itemsize, np.bytes_
    if dtype.kind == "U":
        codec = UTF_32[dtype.byteorder]
        return dtype, dtype.itemsize, lambda raw: np.str_(raw.decode(codec, "surrogatepass"))
    return dtype, dtype.itemsize, functools.partial(_make_other, dtype, has_text(dtype))


def _make_other(dtype: DType, checks_text: bool, raw: bytes) -> Any:
    if checks_text and raw:
        check_text(np.ndarray((1,), dtype, raw))
    return make_scalar(dtype, raw)


_written_dtypes: Final[BoundedCache[DType, tuple[bytes, bytes]]] = BoundedCache(
    _scalar_prefixes, lambda dtype, prefixes: len(prefixes[_WHOLE])
)
scalar_layouts: Final[BoundedCache[bytes, ScalarLayout]] = BoundedCache(
    _read_descriptor, lambda packed, layout: len(packed)
)


def _encode_scalar(scalar: np.generic) -> bytes:
    return _written_dtypes[scalar.dtype][_WHOLE] + scalar.tobytes()


def _scalar_payload(scalar: np.generic) -> bytes:
    return _written_dtypes[scalar.dtype][_PAYLOAD] + scalar.tobytes()


def _scalar_encoders(kind: type[np.generic]) -> tuple[Encoder, Encoder]:
    """Return the encoders of whole values and of payloads, faster ones for the usual types."""
    join = b"".join  # reads the memory of a scalar, from which tobytes() would make an array
    letter = np.dtype(kind).kind
    if kind.__module__ == "numpy" and letter in "biufc":
        whole, payload = _written_dtypes[np.dtype(kind)]
        return lambda scalar: join((whole, scalar)), lambda scalar: join((payload, scalar))
    if kind.__module__ == "numpy" and letter in "mM":
        # Hashing the dtype of a time takes longer than everything else, unlike hashing its unit.
        def prefixes_of(unit: tuple[str, int]) -> tuple[bytes, bytes]:
            return _scalar_prefixes(np.dtype(f"{letter}8[{unit[1]}{unit[0]}]"))

        written = BoundedCache(prefixes_of, lambda unit, prefixes: len(prefixes[_WHOLE]))
        unit_of = np.datetime_data
        return (
            lambda scalar: join((written[unit_of(scalar.dtype)][_WHOLE], scalar)),
            lambda scalar: join((written[unit_of(scalar.dtype)][_PAYLOAD], scalar)),
        )
    return _encode_scalar, _scalar_payload


def decode_scalar(data: bytes, start: int = 0) -> Any:
    """Return the scalar whose payload goes from an offset to the end of the data."""
    end = start + (_SHORT_STRINGS.get(data[start]) or first_object(data[start:]))
    dtype, size, make = scalar_layouts[data[start:end]]
    raw = data[end:]
    if len(raw) != size:
        if size or len(raw) != _EMPTY_STRINGS.get(dtype.kind) or any(raw):
            raise ValueError(f"a scalar of dtype {dtype} takes {size} bytes, not {len(raw)}")
        raw = b""
    elif start:
        remember_scalar(data[:end], dtype)
    return make(raw)


# ------------------------------------------------------------------------------------ registration


def find_encoders(kind: type) -> Encoders:
    """Return the encoders of a type of array or scalar."""
    if issubclass(kind, np.generic):
        whole, payload = _scalar_encoders(kind)
        return Encoders(whole, (CODE_SCALAR, payload, None))
    return Encoders(encode_array, (CODE_ARRAY, array_payload, split_array))


readers[CODE_ARRAY] = decode_array
readers[CODE_SCALAR] = decode_scalar
register_numpy(find_encoders)
