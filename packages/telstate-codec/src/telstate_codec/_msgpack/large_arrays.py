"""A decoder for large values that consist mostly of arrays; it copies each array once.

msgpack copies the payload of an extension type before it hands it over. For a large array in a
dictionary, list or tuple that is one copy too many, so such values are parsed here, in Python, down
to the arrays. This pays only while there is little else in the value: the parser gives up after a
number of objects that depends on the size of the value, and on anything unusual or wrong. The
general decoder then starts again, so no error here needs an explanation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgpack import unpackb

from .format import CODE_ARRAY, CODE_TUPLE, FORMS, Form

LARGE: Final = 2**18
"""Size of a value, in bytes, from which `LargeValueParser` is worth trying."""

_LARGE_ARRAY: Final = 2**15  # bytes of an array from which copying it matters
_BYTES_PER_OBJECT: Final = 2**14
_MAX_DEPTH: Final = 16


class GiveUp(Exception):
    """The value is malformed, or is not one that this parser is meant for."""


class LargeValueParser:
    """A parser of one value.

    `read_array` reads an array from the data and the offsets of its payload's start and end;
    `read_extension` reads any other extension type but tuples, from its code and payload.
    """

    def __init__(
        self,
        data: bytes,
        start: int,
        read_array: Callable[[bytes, int, int], Any],
        read_extension: Callable[[int, bytes], Any],
    ) -> None:
        self._data = data
        self._position = start
        self._read_array = read_array
        self._read_extension = read_extension
        self._objects_left = len(data) // _BYTES_PER_OBJECT

    def parse(self) -> Any:
        """Return the value, or raise `GiveUp` (or what `read_extension` raises)."""
        value = self._value(0)
        if self._position != len(self._data):
            raise GiveUp
        return value

    def _value(self, depth: int) -> Any:
        self._objects_left -= 1
        start = self._position
        if self._objects_left < 0 or depth > _MAX_DEPTH or start >= len(self._data):
            raise GiveUp
        form = FORMS[self._data[start]]
        length = self._length(form)
        if form.kind == "list":
            return [self._value(depth + 1) for _ in self._checked_range(length)]
        if form.kind == "dict":
            return {self._key(depth): self._value(depth + 1) for _ in self._checked_range(length)}
        if form.kind == "extension":
            return self._extension(length, depth)
        if form.kind == "unused":
            raise GiveUp
        self._take(length)
        return unpackb(memoryview(self._data)[start : self._position])

    def _take(self, size: int) -> memoryview:
        start, self._position = self._position, self._position + size
        if self._position > len(self._data):
            raise GiveUp
        return memoryview(self._data)[start : self._position]

    def _length(self, form: Form) -> int:
        """Skip the first byte and the length field, and return the length."""
        self._take(1)
        if not form.length_size:
            return form.length
        return int.from_bytes(self._take(form.length_size), "big")

    def _checked_range(self, count: int) -> range:
        if count > self._objects_left:
            raise GiveUp
        return range(count)

    def _key(self, depth: int) -> str | bytes:
        key = self._value(depth + 1)
        if not isinstance(key, (str, bytes)):
            raise GiveUp
        return key

    def _extension(self, size: int, depth: int) -> Any:
        code = self._take(1)[0]
        end = self._position + size
        if end > len(self._data):
            raise GiveUp
        if code == CODE_TUPLE:
            items = self._value(depth + 1)
            if type(items) is not list or self._position != end:
                raise GiveUp
            return tuple(items)
        if code == CODE_ARRAY and size >= _LARGE_ARRAY:
            start, self._position = self._position, end
            return self._read_array(self._data, start, end)
        if code > 0x7F:  # MessagePack's own, such as timestamps
            raise GiveUp
        return self._read_extension(code, bytes(self._take(size)))
