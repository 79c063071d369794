"""Values to MessagePack, with the extension types for tuples, complex numbers and NumPy.

msgpack's packer does the plain types, strictly (a subclass is never taken for its base), and asks
`_Worker.other` about everything else. A packer is costly to make and cheap to use again, but must
not be used by two threads at once, nor for a tuple while it is busy with the list around it. So there
are workers, each with a packer, for each depth of tuples; one is taken out of a list, used, and put
back.

A large array within a list, a dictionary or a tuple does not go through the packer, which would copy
it several times: a mark goes, and the array takes its place when all is joined.
"""

from __future__ import annotations

import itertools
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, cast

import msgpack

from ..errors import EncodeError
from .format import (
    ENCODING_MSGPACK,
    EXT_ARRAY,
    EXT_COMPLEX,
    EXT_TUPLE,
    MAX_PAYLOAD,
    MAX_TUPLE_DEPTH,
    ext_header,
)

Parts: TypeAlias = tuple[Any, ...]  # bytes and arrays, which b"".join() takes alike
Packed: TypeAlias = bytes | Parts  # a tuple is of large parts, not yet copied

_COMPLEX: Final = struct.Struct(">dd")
_COMPLEX_HEADER: Final = ENCODING_MSGPACK + ext_header(EXT_COMPLEX, _COMPLEX.size)

_ExtType: Final = msgpack.ExtType
_EMPTY_TUPLE: Final = msgpack.ExtType(EXT_TUPLE, b"\x90")
_extension: Final = tuple.__new__  # ExtType's own constructor checks longer than the packer packs

_KEPT: Final = 2**18  # a packer that has grown beyond this many bytes is not kept
_LARGE: Final = 2**15  # bytes of an array from which it is worth a detour
_LONG_TEXT: Final = 2**16  # characters from which a packer, which must grow for them, is a detour


class Payload(NamedTuple):
    """How a type that MessagePack does not have becomes the payload of an extension type.

    Attributes
    ----------
    code
        The code of the extension type.
    encode
        Returns the payload of a value; None for tuples, whose payload depends on their depth.
    split
        Returns the same in parts that are not yet copied; None where copying costs nothing.
    """

    code: int
    encode: Callable[[Any], bytes] | None
    split: Callable[[Any], Parts] | None = None


class Encoders(NamedTuple):
    """How values of a type are encoded: alone, with the header byte, and within other values."""

    whole: Callable[[Any], bytes]
    payload: Payload


# By type; NumPy's are added when they are first seen.
_payloads: Final[dict[type, Payload]] = {}
# How to encode a value of a type whole, where that is not simply header and MessagePack.
_whole: Final[dict[type, Callable[[Any], bytes]]] = {}


class _Worker:
    """A packer, and what it needs to know while it packs one value."""

    def __init__(self, depth: int) -> None:
        self.pack: Final = msgpack.Packer(default=self._other, strict_types=True).pack
        self.large: list[Parts] = []
        self._depth = depth
        # What no value can contain by chance or on purpose; it never gets out.
        self._mark = os.urandom(16)

    def with_large(self, data: bytes) -> Parts:
        """Put the large parts in place of their marks."""
        large, self.large = self.large, []
        parts = data.split(ext_header(EXT_ARRAY, len(self._mark)) + self._mark)
        return tuple(itertools.chain(parts[:1], *map(_followed, large, parts[1:])))

    def _other(self, value: Any) -> msgpack.ExtType:
        """Answer the packer that met a type which MessagePack does not have."""
        kind = type(value)
        if kind is tuple:
            if not value:
                return _EMPTY_TUPLE
            inside = pack_at(self._depth + 1, list(value))
            if type(inside) is bytes:
                return _extension(_ExtType, (EXT_TUPLE, inside))
            return self._replaced(EXT_TUPLE, cast(Parts, inside))
        code, encode, split = _payloads.get(kind) or _find_payload(value)
        if encode is None:  # a subclass of tuple
            return self._other(tuple(value))
        if split is None or value.nbytes < _LARGE:
            return _extension(_ExtType, (code, encode(value)))
        return self._replaced(code, split(value))

    def _replaced(self, code: int, parts: Parts) -> msgpack.ExtType:
        """Keep the parts of a payload for later; give what stands for them meanwhile."""
        self.large.append((ext_header(code, _size(parts)), *parts))
        return _extension(_ExtType, (EXT_ARRAY, self._mark))


# Idle workers for what is inside of so many tuples. A worker is there for each thread that was busy
# at that depth at the same time.
_idle: Final[list[list[_Worker]]] = [[] for _ in range(MAX_TUPLE_DEPTH + 1)]


def pack_at(depth: int, value: object) -> Packed:
    """Give the MessagePack of a value inside of so many tuples; large parts are not yet copied."""
    if depth > MAX_TUPLE_DEPTH:
        raise EncodeError(f"Tuples nested more than {MAX_TUPLE_DEPTH} deep cannot be encoded.")
    idle = _idle[depth]
    try:
        worker = idle.pop()
    except IndexError:
        worker = _Worker(depth)
    # After an error the worker is dropped, whatever state it is in.
    packed: Packed = worker.pack(value)
    if len(packed) <= _KEPT:
        if worker.large:
            packed = worker.with_large(cast(bytes, packed))
        idle.append(worker)
    elif worker.large:
        packed = worker.with_large(cast(bytes, packed))
    return packed


def pack(value: object) -> bytes:
    """Give a value as MessagePack."""
    packed = pack_at(0, value)
    return packed if isinstance(packed, bytes) else b"".join(packed)


def _size(parts: Parts) -> int:
    size = sum(part.nbytes if hasattr(part, "nbytes") else len(part) for part in parts)
    if size > MAX_PAYLOAD:
        raise EncodeError(f"A tuple of {size} bytes is larger than MessagePack allows.")
    return size


def _followed(large: Parts, part: bytes) -> Parts:
    return *large, part


def _pack_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


_payloads[tuple] = Payload(EXT_TUPLE, None)
_payloads[complex] = Payload(EXT_COMPLEX, _pack_complex)


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
    except (ValueError, TypeError, OverflowError, BufferError, RecursionError) as error:
        if "recursion" in str(error):  # the packer's own limit is a ValueError
            raise EncodeError("The value is nested too deeply, or contains itself.") from error
        raise EncodeError(f"The value cannot be encoded: {str(error).rstrip('.')}.") from error


def _encode_plain(value: object) -> bytes:
    packed = pack_at(0, value)
    if isinstance(packed, bytes):
        return ENCODING_MSGPACK + packed
    return b"".join((ENCODING_MSGPACK, *packed))


def _encode_bytes(value: bytes) -> bytes:
    size = len(value)
    if size < 2**16:  # copying it twice is cheaper than looking for a way not to
        return ENCODING_MSGPACK + pack(value)
    if size > MAX_PAYLOAD:
        raise EncodeError(f"A bytes of {size} bytes is larger than MessagePack allows.")
    return b"".join((ENCODING_MSGPACK, b"\xc6", size.to_bytes(4, "big"), value))


def _encode_text(value: str) -> bytes:
    if len(value) < _LONG_TEXT:
        return _encode_plain(value)
    raw = value.encode()
    if len(raw) > MAX_PAYLOAD:
        raise EncodeError(f"A str of {len(raw)} bytes is larger than MessagePack allows.")
    return b"".join((ENCODING_MSGPACK, b"\xdb", len(raw).to_bytes(4, "big"), raw))


def _encode_tuple(value: tuple[Any, ...]) -> bytes:
    payload = pack_at(1, list(value))
    if isinstance(payload, bytes):
        return b"".join((ENCODING_MSGPACK, ext_header(EXT_TUPLE, len(payload)), payload))
    return b"".join((ENCODING_MSGPACK, ext_header(EXT_TUPLE, _size(payload)), *payload))


def _encode_complex(value: complex) -> bytes:
    return _COMPLEX_HEADER + _COMPLEX.pack(value.real, value.imag)


_whole.update(dict.fromkeys((bool, type(None), int, float, list, dict), _encode_plain))
_whole.update(
    {bytes: _encode_bytes, str: _encode_text, tuple: _encode_tuple, complex: _encode_complex}
)
_whole[msgpack.ExtType] = _encode_plain  # a tuple to Python, but not to MessagePack


def _find_whole(value: object) -> Callable[[Any], bytes]:
    """Find how to encode a value of a type that is not in the table (yet)."""
    if _is_numpy(value):
        return _numpy_encoders(type(value)).whole
    if isinstance(value, tuple):
        return _encode_tuple
    if isinstance(value, complex):
        return _encode_complex
    return _encode_plain  # the packer knows it, or _find_payload() names it


def _find_payload(value: Any) -> Payload:
    """Find how to make the payload for a value of a type that is not in the table (yet)."""
    if _is_numpy(value):
        return _numpy_encoders(type(value)).payload
    if isinstance(value, tuple):
        return _payloads[tuple]
    if isinstance(value, complex):
        return _payloads[complex]
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


_numpy_registry: Final[list[Callable[[type], Encoders]]] = []


def register_numpy(find: Callable[[type], Encoders]) -> None:
    """Set the function that returns the encoders of an array or scalar type of NumPy."""
    _numpy_registry[:] = [find]


def _numpy_encoders(kind: type) -> Encoders:
    encoders = _numpy_registry[0](kind)
    # Subclasses are left out of the tables: their number is unlimited, and types would be kept alive.
    if kind.__module__ == "numpy":
        _whole[kind], _payloads[kind] = encoders
    return encoders
