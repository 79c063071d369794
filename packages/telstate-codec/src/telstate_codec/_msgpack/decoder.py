"""The MessagePack decoder, with the extension types, for bytes of unknown origin.

msgpack's C code does the work, and guards against most of what malicious bytes can do. For the rest
there are three passes, each tried only where the one before it failed:

1. quick: with a limit on the length of lists (see `list_limits`), and only text and bytes as
   dictionary keys.
2. checked: all lengths are checked first, without creating any object.
3. any keys: as 2, with dictionary keys of any type. Unlike text and bytes, such keys can be made to
   have the same hash, and a dictionary of many of them would take hours; those are refused.

Most values need only the first. Tuples are extension types whose payload is MessagePack again, so
reading them recurses through Python: their depth is limited, and below a few levels msgpack's state
lives on the heap, because it would otherwise take tens of kilobytes of the C stack per level. Each
level also holds a copy of its payload, which is why tuples at deep levels must be small.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgpack
from msgpack import unpackb

from ..errors import DecodeError
from .format import (
    CODE_ARRAY,
    CODE_COMPLEX,
    CODE_TUPLE,
    EXTENSION_OF_8,
    EXTENSION_OF_16,
    FORMS,
    MAX_TUPLE_DEPTH,
    Form,
)
from .large_arrays import LARGE, LargeValueParser
from .list_limits import SMALL_TUPLE, limit_inside, limit_of

Hook: TypeAlias = Callable[[int, bytes], Any]
Reader: TypeAlias = Callable[[bytes, Hook], Any]
ViewReader: TypeAlias = Callable[[bytes | memoryview, Hook], Any]

_COMPLEX: Final = struct.Struct(">dd")
_unpack_complex: Final = _COMPLEX.unpack_from

_STACK_DEPTH: Final = 4  # depth of tuples up to which msgpack's state may be on the C stack
_COPY_DEPTH: Final = 16  # depth up to which tuples may be of any size
_COPY_SIZE: Final = 2**16  # largest size in bytes of deeper tuples
SMALL: Final = 2**12  # bytes from which a view costs less than a copy
_MAX_EQUAL_HASHES: Final = 64  # most keys of one dictionary that may have the same hash


# --------------------------------------------------------------------------------- the three passes


def _make_passes(unpack: Callable[..., Any]) -> tuple[Reader, ViewReader, ViewReader]:
    """Return the three passes, as functions that read with `unpack`."""

    def read_quickly(data: bytes, hook: Hook) -> Any:
        return unpack(data, ext_hook=hook, max_array_len=limit_inside(data))

    def read_checked(data: bytes | memoryview, hook: Hook) -> Any:
        first_object(data)
        return unpack(data, ext_hook=hook)

    def read_any_keys(data: bytes | memoryview, hook: Hook) -> Any:
        first_object(data)
        return unpack(data, ext_hook=hook, strict_map_key=False, object_pairs_hook=_make_dictionary)

    return read_quickly, read_checked, read_any_keys


def _unpack_on_heap(data: bytes | memoryview, **options: Any) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)), **options)
    unpacker.feed(data)
    value = unpacker.unpack()
    if unpacker.tell() != len(data):
        raise DecodeError("There are bytes after the end of a tuple.")
    return value


def first_object(data: bytes | memoryview) -> int:
    """Return the size in bytes of the first object, without creating it."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    unpacker.skip()
    return unpacker.tell()


def _make_dictionary(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if len(pairs) > _MAX_EQUAL_HASHES:
        hashes = Counter(hash(key) for key, _ in pairs)
        if max(hashes.values()) > _MAX_EQUAL_HASHES:
            raise DecodeError("A dictionary has too many keys that have the same hash.")
    return dict(pairs)


_quick, _checked, _any_keys = _make_passes(unpackb)
_quick_on_heap, _checked_on_heap, _any_keys_on_heap = _make_passes(_unpack_on_heap)


# --------------------------------------------------------------------------------- extension types


def _read_complex(data: bytes, start: int = 0) -> complex:
    if len(data) - start != _COMPLEX.size:
        raise DecodeError(f"A complex number takes 16 bytes, not {len(data) - start}.")
    return complex(*_unpack_complex(data, start))


# The readers of payloads that go from an offset to the end of the data, by the code of the extension
# type. `telstate_codec._numpy.arrays` adds those of NumPy's types.
readers: Final[dict[int, Callable[..., Any]]] = {CODE_COMPLEX: _read_complex}


def _make_hook(depth: int, reader: Reader, inner: Hook) -> Hook:
    """Return the function that reads extension types inside `depth` tuples."""

    def hook(code: int, data: bytes) -> Any:
        if code == CODE_TUPLE:
            if depth >= _COPY_DEPTH and len(data) > _COPY_SIZE:
                raise DecodeError(f"A large tuple is nested more than {_COPY_DEPTH} deep.")
            return _to_tuple(reader(data, inner))
        return _read_extension(code, data)

    def quick_hook(code: int, data: bytes) -> Any:
        # The same in fewer calls, for the first pass and tuples that are not deep.
        if code == CODE_TUPLE:
            if len(data) <= SMALL_TUPLE:
                items = unpackb(data, ext_hook=inner)
            else:
                items = unpackb(data, ext_hook=inner, max_array_len=limit_inside(data))
            return tuple(items) if type(items) is list else _to_tuple(items)
        read = readers.get(code)
        return _read_extension(code, data) if read is None else read(data)

    return quick_hook if reader is _quick else hook


def _to_tuple(items: object) -> tuple[Any, ...]:
    if type(items) is not list:
        raise DecodeError("A tuple is not encoded as a list.")
    return tuple(items)


def _read_extension(code: int, data: bytes) -> Any:
    read = readers.get(code)
    if read is None:
        raise DecodeError(
            f"MessagePack extension type {code} is not known; a newer version may know it."
        )
    return read(data)


def _refuse_tuple(code: int, data: bytes) -> Any:
    if code == CODE_TUPLE:
        raise DecodeError(f"Tuples are nested more than {MAX_TUPLE_DEPTH} deep.")
    return _read_extension(code, data)


def _make_hooks(on_stack: Reader, on_heap: Reader) -> tuple[Hook, Hook]:
    """Return the hooks for extension types outside all tuples, and inside one tuple."""
    hook: Hook = _refuse_tuple
    outer = hook
    for depth in reversed(range(MAX_TUPLE_DEPTH)):
        hook, outer = _make_hook(depth, on_stack if depth < _STACK_DEPTH else on_heap, hook), hook
    return hook, outer


quick_hook, quick_inner_hook = _make_hooks(_quick, _quick_on_heap)
_checked_hook, _ = _make_hooks(_checked, _checked_on_heap)
_any_keys_hook, _ = _make_hooks(_any_keys, _any_keys_on_heap)


# ------------------------------------------------------------------------------------ whole values


def unpack(value: bytes, start: int = 0) -> Any:
    """Decode the MessagePack from an offset to the end of a value; may raise any exception."""
    data = value[start:] if len(value) < SMALL else memoryview(value)[start:]
    try:
        return unpackb(data, ext_hook=quick_hook, max_array_len=limit_of(value, start))
    except DecodeError:
        raise
    except (ValueError, TypeError):
        pass
    try:
        return _checked(data, _checked_hook)
    except DecodeError:
        raise
    except (ValueError, TypeError):
        return _any_keys(data, _any_keys_hook)


def decode_msgpack(value: bytes) -> Any:
    """Decode a value that starts with the header byte of MessagePack, or raise `DecodeError`."""
    try:
        return decoders[value[1]](value)
    except DecodeError:
        raise
    except Exception as error:
        # Any exception: neither the bytes nor all of the code that reads them are ours, and callers
        # are promised a value or a DecodeError.
        raise DecodeError(f"The value cannot be decoded: {_reason(error)}.") from error


def _decode_plain(value: bytes) -> Any:
    if len(value) >= LARGE and FORMS[value[1]].kind in ("list", "dict", "extension"):
        try:
            return LargeValueParser(value, 1, readers[CODE_ARRAY], _read_extension).parse()
        except Exception:
            pass  # `unpack` reads everything, and says what is wrong
    return unpack(value, 1)


def _make_extension_decoder(form: Form) -> Callable[[bytes], Any]:
    """Return a decoder of values that are a single extension type; it does not copy the payload."""
    start, length = 1 + form.start, form.length
    code_at = start - 1

    def decode(value: bytes) -> Any:
        size = length or (value[2] if code_at == 3 else int.from_bytes(value[2:code_at], "big"))
        if len(value) - start == size:
            code = value[code_at]
            read = readers.get(code)
            if read is not None:
                return read(value, start)
            if code == CODE_TUPLE:
                return _decode_tuple(value, start)
        return _decode_plain(value)

    return decode


def _decode_tuple(value: bytes, start: int) -> Any:
    if len(value) >= LARGE:
        return _decode_plain(value)
    data = value[start:] if len(value) < SMALL else memoryview(value)[start:]
    try:
        items = unpackb(data, ext_hook=quick_inner_hook, max_array_len=limit_of(value, start))
    except DecodeError:
        raise
    except (ValueError, TypeError):
        return _decode_plain(value)
    return _to_tuple(items)


decoders: Final = [
    _make_extension_decoder(form) if form.kind == "extension" else _decode_plain for form in FORMS
]
"""The function that decodes a whole value, by the byte after the header byte."""
_decode_extension_of_16: Final = decoders[EXTENSION_OF_16]


def _decode_complex(value: bytes) -> Any:
    # The same in fewer calls for complex numbers, which are frequent.
    if value[2] == CODE_COMPLEX and len(value) == 19:
        return complex(*_unpack_complex(value, 3))
    return _decode_extension_of_16(value)


decoders[EXTENSION_OF_16] = _decode_complex


_REASONS: Final[list[tuple[type[Exception], str]]] = [
    (msgpack.OutOfData, "it ends too early"),
    (msgpack.StackError, "lists or dictionaries are nested too deeply"),
    (msgpack.FormatError, "it holds byte 0xc1 where an object should start"),
    (msgpack.ExtraData, "there are bytes after its end"),
    (IndexError, "it ends too early"),
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "there is not enough memory"),
]


def _reason(error: Exception) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    text = str(error).rstrip(".")
    return text or type(error).__name__


# ---------------------------------------------------------------------- shortcuts of decode_value

SHORT: Final = 1  # numbers, None, booleans, and text and bytes that are not too large
CONTAINER: Final = 2  # lists and dictionaries


def _find_shortcut(byte: int) -> int:
    form = FORMS[byte]
    if form.kind == "unused" or form.length_size == 4:
        return 0
    if form.kind == "extension":
        return 0 if form.length_size else 1 + form.start + form.length
    return CONTAINER if form.kind in ("list", "dict") else SHORT


shortcuts: Final = [_find_shortcut(byte) for byte in range(256)]
"""How `decode_value` may read a value, by the byte after the header byte.

`SHORT`, `CONTAINER`, or 0 for no shortcut; a larger number is the size in bytes that a value
consisting of a single extension type has in this form.
"""

Cut: TypeAlias = tuple[slice, slice]
"""The two parts of an encoded NumPy number: everything before its bytes, and its bytes."""


def _cut(size: int) -> Cut:
    # Ready-made, as making a slice takes as long as using it.
    return slice(None, -size), slice(-size, None)


# The sizes of encoded numbers with the usual descriptors, such as "<i2".
cuts_by_form: Final[list[Cut | None]] = [None] * 256
"""By the byte after the header byte."""
cuts_by_form[EXTENSION_OF_8] = _cut(4)
cuts_by_form[EXTENSION_OF_16] = _cut(8)
cuts_by_size: Final[list[Cut | None]] = [None] * 256
"""For `EXTENSION_8`, by the size of the payload."""
for _payload, _number in {5: 1, 6: 2, 12: 8, 15: 8, 21: 16, 37: 32}.items():
    cuts_by_size[_payload] = _cut(_number)

scalar_dtypes: Final[dict[Any, Any]] = {}
"""The dtypes of NumPy numbers, by the part of an encoded value before their bytes."""
_MAX_SCALAR_DTYPES: Final = 1024


def remember_scalar(prefix: bytes, dtype: Any) -> None:
    """Remember the dtype of encoded values in which only a number follows this prefix."""
    if len(scalar_dtypes) < _MAX_SCALAR_DTYPES and dtype.kind in "biufcmM":
        scalar_dtypes[prefix] = dtype
