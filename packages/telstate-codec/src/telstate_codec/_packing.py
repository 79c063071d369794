"""Values to MessagePack, with the extension types for tuples, complex numbers and NumPy.

msgpack's packer does the plain types, strictly (a subclass is never taken for its base), and asks
`_Level.other` about everything else. A packer is costly to make and cheap to use again, but must not
be used by two threads at once, nor for a tuple while it is busy with the list around it. So each
level of tuples has packers of its own; one is taken out of a list, used, and put back.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any, Final

import msgpack

from ._layout import (
    ENCODING_MSGPACK,
    EXT_ARRAY,
    EXT_COMPLEX,
    EXT_SCALAR,
    EXT_TUPLE,
    MAX_PAYLOAD,
    MAX_TUPLE_DEPTH,
    ext_header,
)
from .errors import EncodeError

_COMPLEX: Final = struct.Struct(">dd")
_COMPLEX_HEADER: Final = ENCODING_MSGPACK + ext_header(EXT_COMPLEX, _COMPLEX.size)

_KEPT: Final = 2**18  # a packer that has grown beyond this many bytes is not kept
_SPARE: Final = 16  # packers that are kept for each level, for as many threads

# How to make the payload of a value of a type that is no MessagePack type, and its extension code.
# NumPy's types are added when they are first seen.
_payloads: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {}
# How to encode a value of a type whole, where that is not simply header and MessagePack.
_whole: Final[dict[type, Callable[[Any], bytes]]] = {}


class _Level:
    """Packs what is inside a given number of tuples."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._spare: list[msgpack.Packer] = []

    def pack(self, value: object) -> bytes:
        try:
            packer = self._spare.pop()
        except IndexError:
            packer = msgpack.Packer(default=self._other, strict_types=True)
        # After an error the packer is dropped, whatever state it is in.
        data = packer.pack(value)
        if len(data) <= _KEPT and len(self._spare) < _SPARE:
            self._spare.append(packer)
        return data

    def pack_tuple(self, value: tuple[Any, ...]) -> bytes:
        """Give the payload of a tuple at this level."""
        if self._depth >= MAX_TUPLE_DEPTH:
            raise EncodeError(f"Tuples nested more than {MAX_TUPLE_DEPTH} deep cannot be encoded.")
        return _LEVELS[self._depth + 1].pack(list(value))

    def _other(self, value: Any) -> msgpack.ExtType:
        """Answer the packer that met a type which MessagePack does not have."""
        kind = type(value)
        if kind is tuple:
            return _extension(EXT_TUPLE, self.pack_tuple(value))
        maker = _payloads.get(kind)
        if maker is None:
            if isinstance(value, tuple):
                return _extension(EXT_TUPLE, self.pack_tuple(value))
            maker = _find_payload(value)
        code, payload = maker
        return _extension(code, payload(value))


def _extension(code: int, payload: bytes) -> msgpack.ExtType:
    # ExtType's own constructor spends more time on checking than the packer on packing.
    return tuple.__new__(msgpack.ExtType, (code, payload))


_LEVELS: Final = [_Level(depth) for depth in range(MAX_TUPLE_DEPTH + 1)]
pack: Final = _LEVELS[0].pack


def _pack_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


_payloads[complex] = (EXT_COMPLEX, _pack_complex)


def encode_msgpack(value: object) -> bytes:
    """Give a value as header byte and MessagePack.

    Raises
    ------
    EncodeError
        If the value, or one within it, has no encoding.
    """
    try:
        encoder = _whole.get(type(value))
        if encoder is None:
            encoder = _find_whole(value)
        return encoder(value)
    except EncodeError:
        raise
    except (ValueError, TypeError, OverflowError, BufferError) as error:
        raise EncodeError(f"The value cannot be encoded: {error}") from error
    except RecursionError as error:
        raise EncodeError("The value is nested too deeply, or contains itself.") from error


def _encode_plain(value: object) -> bytes:
    return ENCODING_MSGPACK + pack(value)


def _encode_bytes(value: bytes) -> bytes:
    size = len(value)
    if size < 2**16:  # copying it twice is cheaper than looking for a way not to
        return ENCODING_MSGPACK + pack(value)
    if size > MAX_PAYLOAD:
        raise EncodeError(f"A bytes of {size} bytes is larger than MessagePack allows.")
    return b"".join((ENCODING_MSGPACK, b"\xc6", size.to_bytes(4, "big"), value))


def _encode_tuple(value: tuple[Any, ...]) -> bytes:
    payload = _LEVELS[0].pack_tuple(value)
    return b"".join((ENCODING_MSGPACK, ext_header(EXT_TUPLE, len(payload)), payload))


def _encode_complex(value: complex) -> bytes:
    return _COMPLEX_HEADER + _COMPLEX.pack(value.real, value.imag)


_whole.update(dict.fromkeys((bool, type(None), int, float, str, list, dict), _encode_plain))
_whole.update({bytes: _encode_bytes, tuple: _encode_tuple, complex: _encode_complex})
_whole[msgpack.ExtType] = _encode_plain  # a tuple to Python, but not to MessagePack


def _find_whole(value: object) -> Callable[[Any], bytes]:
    """Find how to encode a value of a type that is not in the table (yet)."""
    if _is_numpy(value):
        return _numpy_encoders(value)[0]
    if isinstance(value, tuple):
        return _encode_tuple
    if isinstance(value, complex):
        return _encode_complex
    return _encode_plain  # the packer knows it, or _find_payload() names it


def _find_payload(value: object) -> tuple[int, Callable[[Any], bytes]]:
    """Find how to make the payload for a value of a type that is not in the table (yet)."""
    if _is_numpy(value):
        _, code, payload = _numpy_encoders(value)
        return code, payload
    if isinstance(value, complex):
        return EXT_COMPLEX, _pack_complex
    if type(value) is int:
        raise EncodeError(
            f"An integer of {value.bit_length()} bits cannot be encoded; "
            "the range is -2**63 to 2**64-1."
        )
    kind = type(value)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    raise EncodeError(
        f"A value of type {name} cannot be encoded; use plain Python and NumPy types."
    )


def _is_numpy(value: object) -> bool:
    # Where NumPy has not been loaded, nobody can have made a value of it.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def _numpy_encoders(value: object) -> tuple[Callable[[Any], bytes], int, Callable[[Any], bytes]]:
    """Give how to encode the value whole, its extension code, and how to make its payload."""
    import numpy as np

    from . import arrays

    kind = type(value)
    if isinstance(value, np.generic):
        code = EXT_SCALAR
        whole, payload = arrays.scalar_encoders(kind)
    else:
        code = EXT_ARRAY
        whole, payload = arrays.encode_array, arrays.array_payload
    # Subclasses are left out of the tables: there is no end to them, and types would be kept alive.
    if kind.__module__ == "numpy":
        _whole[kind] = whole
        _payloads[kind] = (code, payload)
    return whole, code, payload
