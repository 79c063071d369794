"""Reads large values that are mostly arrays, each of which is then copied once.

msgpack copies the payload of an extension type before it hands it over. For a large array within a
dictionary, a list or a tuple that is a copy too many, so such values are walked through here, in
Python, down to the arrays. That pays only while there is little else in them: the walk gives up
after a number of objects that goes with the size of the value, and at whatever is unusual or wrong.
`unpack` then does all of it, so nothing here needs to explain what is wrong with a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgpack import unpackb

from .format import EXT_ARRAY, EXT_TUPLE

LARGE: Final = 2**18  # bytes of a value from which a walk is worth a try
_ARRAY: Final = 2**15  # bytes of an array from which its copy counts
_BYTES_PER_OBJECT: Final = 2**14
_DEPTH: Final = 16

# Objects by their first byte: the bytes before the content (the first one, the length and, for
# extension types, the code), and those of them that hold the length.
_FIXED_SIZES: Final = {
    **dict.fromkeys([*range(0x80), 0xC0, 0xC2, 0xC3, *range(0xE0, 0x100)], 1),
    **{0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9},
    **{0xA0 + length: 1 + length for length in range(32)},
}
_TEXT_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_LIST_LENGTHS: Final = {0xDC: 2, 0xDD: 4}
_MAP_LENGTHS: Final = {0xDE: 2, 0xDF: 4}
_EXT_LENGTHS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXT: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


class GiveUp(Exception):
    """The value is not of the kind that is walked through."""


class Walk:
    """One walk through a value.

    Parameters
    ----------
    data
        The value.
    start
        Where its MessagePack starts.
    array
        Reads an array from data, the offset of its payload and that of the payload's end.
    extension
        Reads any other extension type, tuples apart, from its code and payload.
    """

    def __init__(
        self,
        data: bytes,
        start: int,
        array: Callable[[bytes, int, int], Any],
        extension: Callable[[int, bytes], Any],
    ) -> None:
        self._data = data
        self._at = start
        self._array = array
        self._extension = extension
        self._objects = len(data) // _BYTES_PER_OBJECT

    def whole(self) -> Any:
        """Give the value.

        Raises
        ------
        GiveUp
            If it is not of the right kind, or is malformed.
        """
        value = self._value(0)
        if self._at != len(self._data):
            raise GiveUp
        return value

    def _value(self, depth: int) -> Any:
        self._objects -= 1
        if self._objects < 0 or depth > _DEPTH or self._at >= len(self._data):
            raise GiveUp
        form = self._data[self._at]
        if 0x90 <= form < 0xA0 or form in _LIST_LENGTHS:
            count = self._length(form & 0x0F, _LIST_LENGTHS.get(form))
            return [self._value(depth + 1) for _ in self._counted(count)]
        if 0x80 <= form < 0x90 or form in _MAP_LENGTHS:
            count = self._length(form & 0x0F, _MAP_LENGTHS.get(form))
            return {self._key(depth): self._value(depth + 1) for _ in self._counted(count)}
        if form in _FIXED_EXT or form in _EXT_LENGTHS:
            return self._any_extension(
                self._length(_FIXED_EXT.get(form, 0), _EXT_LENGTHS.get(form)), depth
            )
        size = _FIXED_SIZES.get(form)
        if size is None:
            if form not in _TEXT_LENGTHS:
                raise GiveUp
            start = self._at
            size = self._length(0, _TEXT_LENGTHS[form]) + self._at - start
            self._at = start
        return unpackb(self._taken(size))

    def _taken(self, size: int) -> memoryview:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise GiveUp
        return memoryview(self._data)[start : self._at]

    def _length(self, fixed: int, length_bytes: int | None) -> int:
        """Step over the first byte and the length, if there is one, and give the length."""
        self._taken(1)
        return fixed if length_bytes is None else int.from_bytes(self._taken(length_bytes), "big")

    def _counted(self, count: int) -> range:
        if count > self._objects:
            raise GiveUp
        return range(count)

    def _key(self, depth: int) -> str | bytes:
        key = self._value(depth + 1)
        if not isinstance(key, (str, bytes)):
            raise GiveUp
        return key

    def _any_extension(self, size: int, depth: int) -> Any:
        code = self._taken(1)[0]
        end = self._at + size
        if end > len(self._data):
            raise GiveUp
        if code == EXT_TUPLE:
            items = self._value(depth + 1)
            if type(items) is not list or self._at != end:
                raise GiveUp
            return tuple(items)
        if code == EXT_ARRAY and size >= _ARRAY:
            start, self._at = self._at, end
            return self._array(self._data, start, end)
        if code > 0x7F:  # MessagePack's own, such as time stamps
            raise GiveUp
        return self._extension(code, bytes(self._taken(size)))
