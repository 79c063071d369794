"""MessagePack to values, with the extension types, from bytes that nobody vouches for.

msgpack's C code does the work, and guards against most of what bytes can do to it. Against the rest
there are three passes, each tried only where the one before it gave up:

1. quick: with a limit on the length of lists (see `list_limits`), and only text and bytes
   as dictionary keys.
2. checked: the lengths of everything are first checked without making anything.
3. any keys: as 2, with any dictionary keys. Other than text and bytes, keys can be made to have the
   same hash, and a dictionary of many such keys takes hours; those are refused.

Most values need only the first. Tuples are extension types, whose payload is MessagePack again, so
they recurse through Python: their depth is limited, and below a few levels msgpack's state is put on
the heap, as it takes tens of kilobytes of the C stack otherwise. Each level also has a copy of its
payload in memory, which is why deep levels must be small.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgpack
from msgpack import unpackb

from ..errors import DecodeError
from .format import EXT_ARRAY, EXT_COMPLEX, EXT_TUPLE, MAX_TUPLE_DEPTH
from .large_arrays import LARGE, Walk
from .list_limits import FEW, limit_inside, limit_of

Hook: TypeAlias = Callable[[int, bytes], Any]
Reader: TypeAlias = Callable[[bytes, Hook], Any]

_COMPLEX: Final = struct.Struct(">dd")
_unpack_complex: Final = _COMPLEX.unpack_from

_STACK_DEPTH: Final = 4  # tuples within tuples that msgpack may read with its state on the C stack
_COPY_DEPTH: Final = 16  # tuples within tuples that may be of any size
_COPY_SIZE: Final = 2**16  # bytes of those further in
SMALL: Final = 2**12  # bytes from which a view costs less than a copy
_MANY_KEYS: Final = 64  # keys of the same hash in one dictionary


# --------------------------------------------------------------------------------- the three passes


def _quick(data: bytes, hook: Hook) -> Any:
    return unpackb(data, ext_hook=hook, max_array_len=limit_inside(data))


def _checked(data: bytes | memoryview, hook: Hook) -> Any:
    first_object(data)
    return unpackb(data, ext_hook=hook)


def _any_keys(data: bytes | memoryview, hook: Hook) -> Any:
    first_object(data)
    return unpackb(data, ext_hook=hook, strict_map_key=False, object_pairs_hook=_dictionary)


def _quick_on_heap(data: bytes, hook: Hook) -> Any:
    return _on_heap(data, ext_hook=hook, max_array_len=limit_inside(data))


def _checked_on_heap(data: bytes | memoryview, hook: Hook) -> Any:
    first_object(data)
    return _on_heap(data, ext_hook=hook)


def _any_keys_on_heap(data: bytes | memoryview, hook: Hook) -> Any:
    first_object(data)
    return _on_heap(data, ext_hook=hook, strict_map_key=False, object_pairs_hook=_dictionary)


def _on_heap(data: bytes | memoryview, **options: Any) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)), **options)
    unpacker.feed(data)
    value = unpacker.unpack()
    if unpacker.tell() != len(data):
        raise DecodeError("The value goes on after its end.")
    return value


def first_object(data: bytes | memoryview) -> int:
    """Give the bytes that the first object takes, without making it.

    Raises
    ------
    ValueError, msgpack.OutOfData
        If it is malformed or goes on beyond the data.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    unpacker.skip()
    return unpacker.tell()


def _dictionary(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if len(pairs) > _MANY_KEYS:
        hashes = Counter(hash(key) for key, _ in pairs)
        if max(hashes.values()) > _MANY_KEYS:
            raise DecodeError("A dictionary has too many keys that have the same hash.")
    return dict(pairs)


# --------------------------------------------------------------------------------- extension types


def _read_complex(data: bytes, start: int = 0) -> complex:
    if len(data) - start != _COMPLEX.size:
        raise DecodeError(f"A complex number takes 16 bytes, not {len(data) - start}.")
    return complex(*_unpack_complex(data, start))


# How to read the payload of an extension type that goes from an offset to the end of the data.
# `telstate_codec._numpy.arrays` adds those of NumPy's types.
readers: Final[dict[int, Callable[..., Any]]] = {EXT_COMPLEX: _read_complex}


def _make_hook(depth: int, reader: Reader, inner: Hook) -> Hook:
    """Make the function that is called for extension types at a depth of tuples."""

    def hook(code: int, data: bytes) -> Any:
        if code == EXT_TUPLE:
            if depth >= _COPY_DEPTH and len(data) > _COPY_SIZE:
                raise DecodeError(f"A large tuple is nested more than {_COPY_DEPTH} deep.")
            return _to_tuple(reader(data, inner))
        return _other_extension(code, data)

    def quick_hook(code: int, data: bytes) -> Any:
        # The same as hook, for tuples that are not deep and the first pass.
        if code == EXT_TUPLE:
            if len(data) <= FEW:
                items = unpackb(data, ext_hook=inner)
            else:
                items = unpackb(data, ext_hook=inner, max_array_len=limit_inside(data))
            return tuple(items) if type(items) is list else _to_tuple(items)
        read = readers.get(code)
        return _other_extension(code, data) if read is None else read(data)

    return quick_hook if reader is _quick else hook


def _to_tuple(items: object) -> tuple[Any, ...]:
    if type(items) is not list:
        raise DecodeError("A tuple is not encoded as a list.")
    return tuple(items)


def _other_extension(code: int, data: bytes) -> Any:
    try:
        read = readers[code]
    except KeyError:
        raise DecodeError(
            f"MessagePack extension type {code} is not known; a newer version may know it."
        ) from None
    return read(data)


def _too_deep(code: int, data: bytes) -> Any:
    if code == EXT_TUPLE:
        raise DecodeError(f"Tuples are nested more than {MAX_TUPLE_DEPTH} deep.")
    return _other_extension(code, data)


def _make_hooks(on_stack: Reader, on_heap: Reader) -> tuple[Hook, Hook]:
    """Make the hooks of all depths; give those outside of all tuples and inside of one."""
    hook: Hook = _too_deep
    outer = hook
    for depth in reversed(range(MAX_TUPLE_DEPTH)):
        hook, outer = _make_hook(depth, on_stack if depth < _STACK_DEPTH else on_heap, hook), hook
    return hook, outer


_QUICK_HOOK, _QUICK_INNER = _make_hooks(_quick, _quick_on_heap)
_CHECKED_HOOK, _ = _make_hooks(_checked, _checked_on_heap)
_ANY_KEYS_HOOK, _ = _make_hooks(_any_keys, _any_keys_on_heap)
quick_hook: Final = _QUICK_HOOK
quick_inner: Final = _QUICK_INNER


# ------------------------------------------------------------------------------------ whole values


def unpack(value: bytes, start: int = 0) -> Any:
    """Give what the MessagePack from an offset to the end stands for; may raise nearly anything."""
    data = value[start:] if len(value) < SMALL else memoryview(value)[start:]
    try:
        return unpackb(data, ext_hook=_QUICK_HOOK, max_array_len=limit_of(value, start))
    except DecodeError:
        raise
    except (ValueError, TypeError):
        pass
    try:
        return _checked(data, _CHECKED_HOOK)
    except DecodeError:
        raise
    except (ValueError, TypeError):
        return _any_keys(data, _ANY_KEYS_HOOK)


def decode_msgpack(value: bytes) -> Any:
    """Give the value of header byte and MessagePack.

    Raises
    ------
    DecodeError
        Whatever is wrong with the bytes.
    """
    try:
        return by_form[value[1]](value)
    except DecodeError:
        raise
    except Exception as error:
        # Everything: the bytes are not ours, nor is all the code that reads them, and the caller is
        # promised a value or a DecodeError.
        raise DecodeError(f"The value cannot be decoded: {_reason(error)}.") from error


def _decode_plain(value: bytes) -> Any:
    if len(value) >= LARGE and value[1] in _WALKED:
        try:
            return Walk(value, 1, readers[EXT_ARRAY], _other_extension).whole()
        except Exception:
            pass  # it is not for the walk to say what is wrong
    return unpack(value, 1)


def _decode_ext8(value: bytes) -> Any:
    return _decode_extension(value, value[3], value[2], 4)


def _decode_ext16(value: bytes) -> Any:
    return _decode_extension(value, value[4], int.from_bytes(value[2:4], "big"), 5)


def _decode_ext32(value: bytes) -> Any:
    return _decode_extension(value, value[6], int.from_bytes(value[2:6], "big"), 7)


def _decode_fixed_16(value: bytes) -> Any:
    if value[2] == EXT_COMPLEX and len(value) == 19:
        return complex(*_unpack_complex(value, 3))
    return _decode_fixed(value)


def _decode_fixed(value: bytes) -> Any:
    return _decode_extension(value, value[2], 1 << (value[1] - 0xD4), 3)


def _decode_extension(value: bytes, code: int, size: int, start: int) -> Any:
    """Decode a value that is all one extension type, without copying its payload first."""
    if len(value) - start == size:
        if code == EXT_TUPLE:
            return _decode_tuple(value, start)
        read = readers.get(code)
        if read is not None:
            return read(value, start)
    return _decode_plain(value)


def _decode_tuple(value: bytes, start: int) -> Any:
    if len(value) >= LARGE:
        return _decode_plain(value)
    data = value[start:] if len(value) < SMALL else memoryview(value)[start:]
    try:
        items = unpackb(data, ext_hook=_QUICK_INNER, max_array_len=limit_of(value, start))
    except DecodeError:
        raise
    except (ValueError, TypeError):
        return _decode_plain(value)
    return _to_tuple(items)


# The bytes after the header of values that may hold large arrays: containers, extension types.
_WALKED: Final = {*range(0x80, 0xA0), 0xC7, 0xC8, 0xC9, 0xDC, 0xDD, 0xDE, 0xDF}

# How to decode a value, by the byte after the header.
by_form: Final[list[Callable[[bytes], Any]]] = [_decode_plain] * 256
by_form[0xC7:0xCA] = [_decode_ext8, _decode_ext16, _decode_ext32]
by_form[0xD4:0xD8] = [_decode_fixed] * 4
by_form[0xD8] = _decode_fixed_16


# ----------------------------------------------------------------------------------- shortest ways

# How `decode_value` may begin, by the byte after the header. Anything above CONTAINER: perhaps with a
# tuple, if the whole value is so many bytes long.
SHORT: Final = 1  # numbers, None, booleans, and text and bytes that are not too large
CONTAINER: Final = 2  # lists and dictionaries
ways: Final = [0] * 256
ways[0x00:0x80] = [SHORT] * 128
ways[0xE0:0x100] = ways[0xA0:0xC0] = [SHORT] * 32
ways[0xCA:0xD4] = [SHORT] * 10
for _form in (0xC0, 0xC2, 0xC3, 0xC4, 0xC5, 0xD9, 0xDA):
    ways[_form] = SHORT
ways[0x80:0xA0] = [CONTAINER] * 32
ways[0xDC] = ways[0xDE] = CONTAINER
ways[0xD4:0xD9] = [3 + 1, 3 + 2, 3 + 4, 3 + 8, 3 + 16]

# Where to cut an encoded NumPy number into its bytes and what comes before. Ready-made slices, as
# making one takes as long as using it. Sizes are those of the usual descriptors, such as "<i2".
Cut: TypeAlias = tuple[slice, slice]


def _cut(size: int) -> Cut:
    return slice(None, -size), slice(-size, None)


cuts_by_form: Final[list[Cut | None]] = [None] * 256  # by the byte after the header
cuts_by_form[0xD7] = _cut(4)
cuts_by_form[0xD8] = _cut(8)
EXT_8: Final = 0xC7
cuts_by_size: Final[list[Cut | None]] = [None] * 256  # for EXT_8, by the size of the payload
for _payload, _number in {5: 1, 6: 2, 12: 8, 15: 8, 21: 16, 37: 32}.items():
    cuts_by_size[_payload] = _cut(_number)

# The dtypes of NumPy scalars by all that comes before their bytes in an encoded value.
scalar_dtypes: Final[dict[Any, Any]] = {}
_SCALAR_DTYPES: Final = 1024


def remember_scalar(prefix: bytes, dtype: Any) -> None:
    """Remember the dtype of values that start with a prefix, which only the number follows."""
    if len(scalar_dtypes) < _SCALAR_DTYPES and dtype.kind in "biufcmM":
        scalar_dtypes[prefix] = dtype


_REASONS: Final[list[tuple[type[Exception], str]]] = [
    (msgpack.OutOfData, "it ends too early"),
    (msgpack.StackError, "lists or dictionaries are nested too deeply"),
    (msgpack.FormatError, "it holds byte 0xc1 where an object should start"),
    (msgpack.ExtraData, "it goes on after its end"),
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
