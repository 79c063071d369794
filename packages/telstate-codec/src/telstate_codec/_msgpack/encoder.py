"""The MessagePack encoder, with the extension types for tuples, complex numbers and NumPy.

msgpack's packer encodes the plain types strictly (it never takes a subclass for its base) and asks
`_Worker.pack_other` about everything else. A packer is expensive to make and cheap to use again, but
cannot be used by two threads at once, nor for a tuple while it is packing the list around the tuple.
So idle workers are kept in a list, from which one is taken, used and put back; each has its own packer,
and another worker for the tuples inside.

A large array in a list, dictionary or tuple does not pass through the packer, which would copy it
several times: a placeholder does, and the array replaces it when the parts are joined.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import msgpack

from ..errors import EncodeError
from .format import (
    BYTES_32,
    CODE_ARRAY,
    CODE_COMPLEX,
    CODE_TUPLE,
    ENCODING_MSGPACK,
    MAX_PAYLOAD,
    MAX_TUPLE_DEPTH,
    TEXT_32,
    extension_header,
)
from .list_limits import is_list_of_floats

Parts: TypeAlias = tuple[Any, ...]
"""Bytes and arrays, for ``b"".join``; each large array is then copied only once."""

Packed: TypeAlias = bytes | Parts

Encoder: TypeAlias = Callable[[Any], bytes]

Payload: TypeAlias = tuple[int, Encoder | None, Callable[[Any], Parts] | None]
"""The code of an extension type and two functions that return the payload of a value.

The first returns it as bytes; it is None for tuples, whose payload depends on their depth. The
second returns it as parts; it is None for types whose values are never large.
"""


class Encoders(NamedTuple):
    """How values of a type are encoded: by themselves, and within other values."""

    whole: Encoder
    payload: Payload


_COMPLEX: Final = struct.Struct(">dd")
_COMPLEX_HEADER: Final = ENCODING_MSGPACK + extension_header(CODE_COMPLEX, _COMPLEX.size)

_ExtType: Final = msgpack.ExtType
_CONTAINERS: Final = frozenset((list, dict, tuple))
_PLAIN: Final = _CONTAINERS | {int, float, str, bytes, bool, type(None)}
_EMPTY_TUPLE: Final = msgpack.ExtType(CODE_TUPLE, b"\x90")
_new_extension: Final = tuple.__new__  # ExtType's own constructor takes longer than packing

_MAX_KEPT: Final = 2**18  # a packer that has grown beyond this many bytes is not kept
_LARGE_ARRAY: Final = 2**15  # bytes of an array from which a placeholder pays
_LARGE_BYTES: Final = 2**16  # bytes from which copying them twice costs more than avoiding it
_LONG_TEXT: Final = 2**16  # characters from which a packer, which has to grow for them, costs more

# The encoders of each type that has been seen; those of NumPy's types come from `register_numpy`.
_whole: Final[dict[type, Encoder]] = {}
_payloads: Final[dict[type, Payload]] = {}


# ------------------------------------------------------------------------------------------ packers


class _Worker:
    """A packer, and its state while it packs one value."""

    def __init__(self, depth: int) -> None:
        self.pack: Final = msgpack.Packer(default=self.pack_other, strict_types=True).pack
        self.large: list[Parts] = []
        self._depth = depth
        self._inner: _Worker | None = None
        # Random, so that no value contains it; it never leaves this module.
        self._placeholder = os.urandom(16)

    def insert_large(self, data: bytes) -> Parts:
        """Replace the placeholders by the large parts."""
        large, self.large = self.large, []
        placeholder = extension_header(CODE_ARRAY, len(self._placeholder)) + self._placeholder
        first, *rest = data.split(placeholder)
        pairs = ((*parts, following) for parts, following in zip(large, rest))
        return (first, *chain.from_iterable(pairs))

    def pack_other(self, value: Any) -> msgpack.ExtType:
        """Return the extension type for a value of a type that MessagePack does not have."""
        kind = type(value)
        if kind is tuple:
            if not value:
                return _EMPTY_TUPLE
            inner = self._inner or self._make_inner()
            inside = inner.pack(list(value))
            if len(inside) > _MAX_KEPT:
                self._inner = None
            if inner.large:
                return self._defer(CODE_TUPLE, inner.insert_large(inside))
            return _new_extension(_ExtType, (CODE_TUPLE, inside))
        code, encode, split = _payloads.get(kind) or _find_encoders(value).payload
        if encode is None:  # a subclass of tuple
            plain = tuple(value)
            packed = self.pack_other(plain)
            # After packing, which ends with an error if the value contains itself.
            _refuse_extensions(plain)
            return packed
        if split is None or value.nbytes < _LARGE_ARRAY:
            return _new_extension(_ExtType, (code, encode(value)))
        return self._defer(code, split(value))

    def _make_inner(self) -> _Worker:
        if self._depth == MAX_TUPLE_DEPTH:
            raise EncodeError(f"Tuples nested more than {MAX_TUPLE_DEPTH} deep cannot be encoded.")
        self._inner = _Worker(self._depth + 1)
        return self._inner

    def _defer(self, code: int, parts: Parts) -> msgpack.ExtType:
        """Keep the parts of a payload for `insert_large`, and return a placeholder."""
        self.large.append((extension_header(code, _total_size(parts)), *parts))
        return _new_extension(_ExtType, (CODE_ARRAY, self._placeholder))


# Idle workers, by the number of tuples around the value, 0 or 1. There is one for each thread that has
# been packing at the same time.
_idle: Final[tuple[list[_Worker], list[_Worker]]] = ([], [])


def _pack_at(depth: int, value: object) -> Packed:
    """Return the MessagePack of a value inside 0 or 1 tuples; large parts are not yet copied."""
    idle = _idle[depth]
    try:
        worker = idle.pop()
    except IndexError:
        worker = _Worker(depth)
    # After an error the worker is dropped, because its state is unknown.
    data = worker.pack(value)
    packed: Packed = worker.insert_large(data) if worker.large else data
    if len(data) <= _MAX_KEPT:
        idle.append(worker)
    return packed


def _may_have_extension(data: bytes) -> bool:
    """Return whether MessagePack has a byte with which extension types begin."""
    # The fastest way by far: most values have none of them, and long ones have one soon.
    return (
        0xC7 in data
        or 0xC8 in data
        or 0xC9 in data
        or 0xD4 in data
        or 0xD5 in data
        or 0xD6 in data
        or 0xD7 in data
        or 0xD8 in data
    )


def _refuse_extensions(value: Any) -> None:
    """Refuse msgpack's own extension types within a value, which the packer encodes unasked."""
    items, kinds = [value], {type(value)}
    while True:
        # The garbage collector finds all items of lists and tuples, at once, but not of all dictionaries.
        if dict in kinds:
            items = [[*item, *item.values()] if type(item) is dict else item for item in items]
        items = gc.get_referents(*items)
        kinds = set(map(type, items))
        if _ExtType in kinds:
            _refuse(_EMPTY_TUPLE)
        if kinds.isdisjoint(_CONTAINERS):
            return
        if not kinds <= _PLAIN:  # an instance of a subclass of tuple refers to its class
            items = [item for item in items if type(item) in _CONTAINERS]


def pack(value: object) -> bytes:
    """Return a value as MessagePack."""
    packed = _pack_at(0, value)
    return packed if isinstance(packed, bytes) else b"".join(packed)


def _total_size(parts: Parts) -> int:
    size = sum(part.nbytes if hasattr(part, "nbytes") else len(part) for part in parts)
    if size > MAX_PAYLOAD:
        raise EncodeError(f"A tuple of {size} bytes is larger than MessagePack allows.")
    return size


# ------------------------------------------------------------------------------------- whole values


def encode_msgpack(value: object) -> bytes:
    """Return a value as header byte and MessagePack, or raise `EncodeError`."""
    try:
        encoder = _whole.get(type(value))
        if encoder is None:
            encoder = _find_encoders(value).whole
        return encoder(value)
    except EncodeError:
        raise
    except (ValueError, TypeError, OverflowError, BufferError, RecursionError) as error:
        if "recursion" in str(error):  # the packer's own limit is a ValueError
            raise EncodeError("The value is nested too deeply, or contains itself.") from error
        raise EncodeError(f"The value cannot be encoded: {str(error).rstrip('.')}.") from error


def _encode_plain(value: object) -> bytes:
    packed = _pack_at(0, value)
    if isinstance(packed, bytes):
        return ENCODING_MSGPACK + packed
    return b"".join((ENCODING_MSGPACK, *packed))


def _encode_container(value: list[Any] | dict[Any, Any]) -> bytes:
    encoded = _encode_plain(value)
    if _may_have_extension(encoded) and not is_list_of_floats(encoded, 1):
        _refuse_extensions(value)
    return encoded


def _encode_bytes(value: bytes) -> bytes:
    return _encode_plain(value) if len(value) < _LARGE_BYTES else _encode_large(BYTES_32, value)


def _encode_text(value: str) -> bytes:
    if len(value) < _LONG_TEXT:
        return _encode_plain(value)
    return _encode_large(TEXT_32, value.encode())


def _encode_large(form: int, content: bytes) -> bytes:
    size = len(content)
    if size > MAX_PAYLOAD:
        raise EncodeError(f"A str or bytes of {size} bytes is larger than MessagePack allows.")
    return b"".join((ENCODING_MSGPACK, bytes([form]), size.to_bytes(4, "big"), content))


def _encode_tuple(value: tuple[Any, ...]) -> bytes:
    items = list(value)
    payload = _pack_at(1, items)
    if not isinstance(payload, bytes) or _may_have_extension(payload):
        _refuse_extensions(items)
    if isinstance(payload, bytes):
        return b"".join((ENCODING_MSGPACK, extension_header(CODE_TUPLE, len(payload)), payload))
    return b"".join(
        (ENCODING_MSGPACK, extension_header(CODE_TUPLE, _total_size(payload)), *payload)
    )


def _encode_complex(value: complex) -> bytes:
    return _COMPLEX_HEADER + _COMPLEX.pack(value.real, value.imag)


def _pack_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


_whole.update(dict.fromkeys((bool, type(None), int, float), _encode_plain))
_whole.update(dict.fromkeys((list, dict), _encode_container))
_whole.update({bytes: _encode_bytes, str: _encode_text})
_TUPLE: Final = Encoders(_encode_tuple, (CODE_TUPLE, None, None))
_COMPLEX_NUMBER: Final = Encoders(_encode_complex, (CODE_COMPLEX, _pack_complex, None))
_whole[tuple], _payloads[tuple] = _TUPLE
_whole[complex], _payloads[complex] = _COMPLEX_NUMBER


# ------------------------------------------------------------------------------ encoders of a type


def _find_encoders(value: object) -> Encoders:
    """Return the encoders for a value whose type is not in the tables."""
    if _is_numpy(value):
        kind = type(value)
        encoders = _find_numpy_encoders(kind)
        # Subclasses are not added: there may be any number of them, and they would be kept alive.
        if kind.__module__ == "numpy":
            _whole[kind], _payloads[kind] = encoders
        return encoders
    if isinstance(value, tuple):
        return _TUPLE
    return _COMPLEX_NUMBER if isinstance(value, complex) else _OTHER


def _refuse(value: object) -> NoReturn:
    if type(value) is int:
        raise EncodeError(
            f"An integer of {value.bit_length()} bits cannot be encoded; "
            "the range is -2**63 to 2**64-1."
        )
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    raise EncodeError(
        f"A value of type {module}{kind.__qualname__} cannot be encoded; "
        "use plain Python and NumPy types."
    )


# The packer encodes a few more types, such as bytearray, and passes on all others.
_OTHER: Final = Encoders(_encode_plain, (0, _refuse, None))
_whole[_ExtType] = _refuse


def _is_numpy(value: object) -> bool:
    # As long as NumPy has not been loaded, no value can be of one of its types.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def register_numpy(find_encoders: Callable[[type], Encoders]) -> None:
    """Set the function that returns the encoders of a type of NumPy array or scalar."""
    global _find_numpy_encoders
    _find_numpy_encoders = find_encoders


_find_numpy_encoders: Callable[[type], Encoders]
