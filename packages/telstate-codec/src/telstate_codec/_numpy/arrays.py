"""NumPy arrays and scalars to the payloads of their extension types, and back.

An array's payload is a ``.npy`` file (see `telstate_codec._npy`). The bytes are those of
``numpy.save``, which spends most of its time on the header; here the headers are remembered (a
bounded number of them) and the elements are copied once. A scalar's payload is the descriptor of
its dtype, in MessagePack, and the bytes of the value.

Loading this module loads NumPy: packing and unpacking import it when they first meet one. Sizes
that are read are compared with what is there before memory is asked for. Errors are `ValueError`;
the caller makes `EncodeError` or `DecodeError` of them.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .._msgpack.decoder import first_object, readers, remember_scalar, unpack
from .._msgpack.encoder import Encoders, Payload, pack, register_numpy
from .._msgpack.format import ENCODING_MSGPACK, EXT_ARRAY, EXT_SCALAR, MAX_PAYLOAD, ext_header
from ..errors import EncodeError
from .dtypes import DType, check_text, describe, dtype_of, has_text
from .npy_header import MAGIC, Header, Order, Shape, header_end, read_header, write_header

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Array: TypeAlias = NDArray[Any]
Elements: TypeAlias = Any  # an array or bytes: what b"".join() takes

_SCATTERED: Final = 2**16  # bytes from which scattered elements are worth a buffer of their own
_VERSION_1: Final = MAGIC + b"\1\0"
_SHORT_TEXT: Final = 2**10  # bytes up to which Python's decoder checks text quicker than NumPy
_UTF_32: Final = {"<": "utf-32-le", ">": "utf-32-be", "=": f"utf-32-{sys.byteorder[0]}e"}
_WHOLE, _PAYLOAD = 0, 1  # which of two prefixes: of an encoded value, of a payload in one

# The bytes that NumPy gives for an empty string, whose dtype has no size.
_EMPTY_STRINGS: Final = {"U": 4, "S": 1}

# NumPy's own way from a dtype and bytes to a scalar, the one that pickled scalars name. It checks
# that the bytes are enough, but not that they are not too many.
make_scalar = cast(Callable[[DType, bytes], Any], np.float64(0).__reduce__()[0])


class Remembered(dict[_Key, _Value]):
    """What a function gave for each key; all of it is forgotten when there is too much.

    Looking up what is there costs no more than in a dictionary. Threads may share one: at worst
    they both ask the function.

    Parameters
    ----------
    make
        The function. What it raises is raised, and not remembered.
    size
        Gives the bytes that a key and its value take, about; large ones are not remembered.

    Examples
    --------
    >>> squares = Remembered(lambda number: number**2, lambda key, value: 1)
    >>> squares[3], dict(squares)
    (9, {3: 9})
    """

    ENTRIES: Final = 1024
    LARGE: Final = 1024

    def __init__(self, make: Callable[[_Key], _Value], size: Callable[[_Key, _Value], int]) -> None:
        super().__init__()
        self._make = make
        self._size = size

    def __missing__(self, key: _Key) -> _Value:
        value = self._make(key)
        if self._size(key, value) <= self.LARGE:
            if len(self) >= self.ENTRIES:
                self.clear()
            self[key] = value
        return value


# ------------------------------------------------------------------------------------------ arrays


def _array_prefixes(key: tuple[DType, Shape, bool]) -> tuple[bytes, bytes]:
    """Give what comes before an array's elements: in an encoded value, and in a payload."""
    dtype, shape, _ = key
    header = write_header(*key)
    size = len(header) + dtype.itemsize * math.prod(shape)
    if size > MAX_PAYLOAD:
        raise ValueError(f"an array of {size} bytes is larger than MessagePack allows")
    return ENCODING_MSGPACK + ext_header(EXT_ARRAY, size) + header, header


_prefixes: Final[Remembered[tuple[DType, Shape, bool], tuple[bytes, bytes]]] = Remembered(
    _array_prefixes, lambda key, prefixes: len(prefixes[_WHOLE])
)
array_headers: Final[Remembered[bytes, Header]] = Remembered(
    read_header, lambda header, content: len(header)
)


def encode_array(array: Array) -> bytes:
    """Give an array as a whole encoded value."""
    plain: Elements = array if type(array) is np.ndarray else _plain(array)
    if plain.flags.c_contiguous:
        return b"".join((_prefixes[plain.dtype, plain.shape, False][_WHOLE], plain))
    prefix, elements = _other_parts(plain, _WHOLE)
    return b"".join((prefix, elements)) if prefix else bytes(elements)


def array_parts(array: Array) -> tuple[bytes, Elements]:
    """Give the payload of an array, a ``.npy`` file, as header and elements, not yet copied."""
    plain: Elements = array if type(array) is np.ndarray else _plain(array)
    if plain.flags.c_contiguous:
        return _prefixes[plain.dtype, plain.shape, False][_PAYLOAD], plain
    return _other_parts(plain, _PAYLOAD)


def array_payload(array: Array) -> bytes:
    """Give the payload of an array in one piece."""
    return b"".join(array_parts(array))


def _plain(array: Array) -> Array:
    """Give the plain array in a subclass (matrix, memory map), but not without its mask."""
    masked = sys.modules.get("numpy.ma")  # where it has not been loaded, there is no masked array
    if masked is not None and isinstance(array, masked.MaskedArray):
        raise EncodeError(
            "A masked array cannot be encoded, as its mask would be lost; store what .filled() gives, "
            "or .data and .mask separately."
        )
    return np.asarray(array)


def _other_parts(array: Array, which: int) -> tuple[bytes, Elements]:
    """Give prefix and elements of an array that is not in C order."""
    if array.flags.f_contiguous:
        return _prefixes[array.dtype, array.shape, True][which], array.T
    prefix = _prefixes[array.dtype, array.shape, False][which]
    # Assigning structured elements may leave out the padding between fields; tobytes() does not.
    if array.nbytes < _SCATTERED or array.dtype.names is not None:
        return prefix, array.tobytes()
    # A BytesIO gives away the very bytes it was made of, so they are filled in place. Zeros come from
    # the system as they are needed, and are not written first.
    stream = io.BytesIO(bytes(len(prefix) + array.nbytes))
    with stream.getbuffer() as view:
        view[: len(prefix)] = prefix
        target: Array = np.ndarray(array.shape, array.dtype, view, len(prefix))
        target[...] = array
        del target  # it holds on to the view
    return b"", stream.getvalue()


def decode_array(data: bytes, start: int = 0, end: int | None = None) -> Array:
    """Give the array whose ``.npy`` file goes from an offset to another, or to the end of the data.

    It owns its memory and is writable.
    """
    if end is None:
        end = len(data)
    # The usual case, version 1, is short; header_end() does the same for all, with checks.
    if data[start : start + 8] == _VERSION_1 and start + 10 < end:
        body = start + 10 + data[start + 8] + 256 * data[start + 9]
    else:
        body = header_end(data, start)
    if body > end:
        raise ValueError("the header of an array goes on beyond its end")
    dtype, shape, order, nbytes, text = array_headers[data[start:body]]
    if end - body != nbytes:
        raise ValueError(
            f"an array of shape {shape} and dtype {dtype} takes {nbytes} bytes, "
            f"but {end - body} follow its header"
        )
    if not nbytes:
        # Unlike zeros() and empty(), this leaves strings of no characters as they are; those make
        # room for one in each.
        return np.ndarray(shape, dtype, order=order)
    if dtype.names is not None:
        array = _copy_structured(dtype, shape, order, data, body)
    else:
        array = np.ndarray(shape, dtype, data, body, None, order).copy(order)
    if text:
        if nbytes <= _SHORT_TEXT and dtype.names is None:
            data[body:end].decode(_UTF_32[dtype.byteorder], "surrogatepass")
        else:
            check_text(array)
    return array


def _copy_structured(dtype: DType, shape: Shape, order: Order, data: bytes, body: int) -> Array:
    """Copy byte by byte, since copying element by element may leave out padding."""
    array: Array = np.empty(shape, dtype, order)
    raw = np.frombuffer(data, np.uint8, array.nbytes, body)
    np.ndarray(raw.shape, np.uint8, array if order == "C" else array.T)[...] = raw
    return array


# ----------------------------------------------------------------------------------------- scalars


def _scalar_prefixes(dtype: DType) -> tuple[bytes, bytes]:
    """Give what comes before a scalar's bytes: in an encoded value, and in a payload."""
    descriptor = pack(describe(dtype))
    size = len(descriptor) + (dtype.itemsize or _EMPTY_STRINGS.get(dtype.kind, 0))
    if size > MAX_PAYLOAD:
        raise ValueError(f"a scalar of {size} bytes is larger than MessagePack allows")
    return ENCODING_MSGPACK + ext_header(EXT_SCALAR, size) + descriptor, descriptor


def _read_descriptor(packed: bytes) -> tuple[DType, int, Callable[[bytes], object] | None]:
    """Give the dtype of a packed descriptor, the bytes of a value, and what refuses wrong ones."""
    dtype = dtype_of(unpack(packed))
    if dtype.kind == "U":
        codec = _UTF_32[dtype.byteorder]
        return dtype, dtype.itemsize, lambda raw: raw.decode(codec, "surrogatepass")
    if has_text(dtype):
        return dtype, dtype.itemsize, lambda raw: check_text(np.ndarray((1,), dtype, raw))
    return dtype, dtype.itemsize, None


_written_dtypes: Final[Remembered[DType, tuple[bytes, bytes]]] = Remembered(
    _scalar_prefixes, lambda dtype, prefixes: len(prefixes[_WHOLE])
)
scalar_layouts: Final[Remembered[bytes, tuple[DType, int, Callable[[bytes], object] | None]]] = (
    Remembered(_read_descriptor, lambda packed, dtype: len(packed))
)


def encode_scalar(scalar: np.generic) -> bytes:
    """Give a NumPy scalar as a whole encoded value."""
    return _written_dtypes[scalar.dtype][_WHOLE] + scalar.tobytes()


def scalar_payload(scalar: np.generic) -> bytes:
    """Give a NumPy scalar as the payload of an extension type."""
    return _written_dtypes[scalar.dtype][_PAYLOAD] + scalar.tobytes()


def find_encoders(kind: type) -> Encoders:
    """Return the encoders of a type of array or scalar."""
    if issubclass(kind, np.generic):
        whole, payload = _scalar_encoders(kind)
        return Encoders(whole, Payload(EXT_SCALAR, payload))
    return Encoders(encode_array, Payload(EXT_ARRAY, array_payload, array_parts))


def _scalar_encoders(
    kind: type[np.generic],
) -> tuple[Callable[[Any], bytes], Callable[[Any], bytes]]:
    """Return `encode_scalar` and `scalar_payload`, or quicker ones for this type only."""
    join = b"".join  # asks a scalar for its memory, where tobytes() would make an array of it
    letter = np.dtype(kind).kind
    if kind.__module__ == "numpy" and letter in "biufc":
        whole, payload = _written_dtypes[np.dtype(kind)]
        return lambda scalar: join((whole, scalar)), lambda scalar: join((payload, scalar))
    if kind.__module__ == "numpy" and letter in "mM":
        # Hashing the dtype of a time takes longer than all the rest; its unit is quick to look up.
        def prefixes_of(unit: tuple[str, int]) -> tuple[bytes, bytes]:
            return _scalar_prefixes(np.dtype(f"{letter}8[{unit[1]}{unit[0]}]"))

        written = Remembered(prefixes_of, lambda unit, prefixes: len(prefixes[_WHOLE]))
        unit_of = np.datetime_data
        return (
            lambda scalar: join((written[unit_of(scalar.dtype)][_WHOLE], scalar)),
            lambda scalar: join((written[unit_of(scalar.dtype)][_PAYLOAD], scalar)),
        )
    return encode_scalar, scalar_payload


def decode_scalar(data: bytes, start: int = 0) -> Any:
    """Give the scalar whose payload goes from an offset to the end of the data."""
    first = data[start]
    if 0xA0 <= first <= 0xBF:  # a short string, as all but structured dtypes are
        end = start + first - 0x9F
    else:
        end = start + first_object(data[start:])
    dtype, size, check = scalar_layouts[data[start:end]]
    raw = data[end:]
    if len(raw) != size:
        if size or len(raw) != _EMPTY_STRINGS.get(dtype.kind) or any(raw):
            raise ValueError(f"a scalar of dtype {dtype} takes {size} bytes, not {len(raw)}")
        raw = b""
    elif start:
        remember_scalar(data[:end], dtype)
    if check is not None and raw:
        check(raw)
    return make_scalar(dtype, raw)


readers[EXT_ARRAY] = decode_array
readers[EXT_SCALAR] = decode_scalar
register_numpy(find_encoders)
