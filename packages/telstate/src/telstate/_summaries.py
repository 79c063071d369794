"""Summaries of keys: kind, number of samples and their times, type and size, and the value in a few words.

The cost of a summary is bounded however long the values are: only the beginning of each is read, and a longer
value is described by type and size. Pickles are only decoded as the policy of the process allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol

import attrs

from telstate_backends import Backend, KeyPreview, Keys, KeyType, Peek
from telstate_codec import DecodeError, decode_key, decode_timestamp, decode_value, encode_key
from telstate_codec.previews import preview_value
from telstate_codec.printable import BoundedRepr, escape

# How many keys are requested at once.
BATCH = 100
# How many bytes of a value are read, and how many characters of its description are shown.
PREVIEW_BYTES = 1 << 14
MAX_LENGTH = 200
# Longer text is shortened, and its length is shown.
_MAX_TEXT = 100
# How many elements of an array are shown, and how many characters of a dtype.
_MAX_ELEMENTS = 4
_MAX_DTYPE = 40
_TIME_BYTES = 8
_LAST_PICKLE_BYTE = 0x80

_short = BoundedRepr(max_length=60, max_items=4, max_level=3)
_DIGITS = re.compile("([0-9]+)")


class HasBackend(Protocol):
    """A synchronous telescope state, as far as summaries need it."""

    @property
    def backend(self) -> Backend: ...


@attrs.frozen
class KeySummary:
    """A key and what it holds, on one line.

    Attributes
    ----------
    name : str
        The full name.
    kind : KeyType
        The kind of the key.
    value : str
        The value (of a mutable key, the latest) in a few words.
    count : int
        The number of samples or sub-keys; 1 for an immutable.
    first, last : float or None
        The times of the first and the last sample, in seconds since 1970.
    type : str
        The type of that value, with the shape of an array and the length of a container or of long text.
    size : int or None
        The bytes of all values, with the times of samples and the sub-keys. On a server, that of a mutable
        or indexed key is an estimate: all values count as long as the one in `value`. What was loaded from
        a snapshot and not been read since counts as in the file.
    is_pickle : bool
        Whether that value is a pickle.
    """

    name: str
    kind: KeyType
    value: str
    count: int = 1
    first: float | None = None
    last: float | None = None
    type: str = ""
    size: int | None = None
    is_pickle: bool = False

    @property
    def extent(self) -> str:
        """The number of samples or sub-keys, and their times; empty for an immutable."""
        if self.kind is KeyType.IMMUTABLE:
            return ""
        count = self.counted
        if self.first is None or self.last is None:
            return count
        first, last = time_of(self.first), time_of(self.last)
        if first == last:
            return f"{count}, {first}"
        same_day = len(first) == len(last) and first[:10] == last[:10]
        return f"{count}, {first} to {last[11:] if same_day else last}"

    @property
    def counted(self) -> str:
        """The number of samples or sub-keys in words; empty for an immutable."""
        if self.kind is KeyType.IMMUTABLE:
            return ""
        return count_of(self.count, "sample" if self.kind is KeyType.MUTABLE else "sub-key")

    @property
    def shown_type(self) -> str:
        """The type where the value does not show it; otherwise empty."""
        return _type_before(self.type, self.value)


def summarise(ts: HasBackend, filter: str = "*") -> list[KeySummary]:
    """Return summaries of the keys of a store that match a glob, in every namespace, in natural order.

    Parameters
    ----------
    ts
        A synchronous telescope state, of any view.
    filter
        A Redis glob of full names. Default: all keys.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> ts.add("gain", 1.5, ts=0)
    >>> gain = summarise(ts)[0]
    >>> gain.kind.name, gain.count, gain.type, gain.value
    ('MUTABLE', 1, 'float', '1.5')
    """
    keys = ts.backend.execute(Keys(encode_key(filter)))
    return summarise_keys(ts, keys)


def summarise_keys(ts: HasBackend, keys: Sequence[bytes]) -> list[KeySummary]:
    """Summarise keys, in natural order; those that do not exist or are foreign are left out."""
    summaries = []
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        summaries += summaries_of(batch, ts.backend.execute_many(peek_at(batch)))
    return sorted(summaries, key=lambda summary: natural(summary.name))


def peek_at(keys: Iterable[bytes]) -> list[Peek]:
    """Return the operations that read what `summaries_of` needs."""
    return [Peek(key, PREVIEW_BYTES) for key in keys]


def summaries_of(keys: Sequence[bytes], key_previews: Iterable[object]) -> list[KeySummary]:
    """Summarise keys by the results of `peek_at`; keys that are gone or foreign are left out."""
    return [
        _summarise_key(decode_key(key), key_preview)
        for key, key_preview in zip(keys, key_previews)
        if isinstance(key_preview, KeyPreview)
    ]


def _summarise_key(name: str, seen: KeyPreview) -> KeySummary:
    type_, value = _describe(seen.head, seen.size)
    has_pickle = is_pickle(seen.head)
    if seen.kind is KeyType.INDEXED:
        value = f"[{_value_of(seen.sub_key)}] = {value}"
    size = seen.total_size
    if size is None:
        own = {KeyType.INDEXED: len(seen.sub_key), KeyType.MUTABLE: _TIME_BYTES}
        size = seen.count * (seen.size + own.get(seen.kind, 0))
    summary = KeySummary(
        name, seen.kind, value, seen.count, type=type_, size=size, is_pickle=has_pickle
    )
    if seen.first is None or seen.last is None:
        return summary
    try:
        first, last = decode_timestamp(seen.first), decode_timestamp(seen.last)
    except DecodeError as error:  # a summary must not fail on a corrupt store
        return attrs.evolve(summary, value=f"({error})")
    return attrs.evolve(summary, first=first, last=last)


def describe(encoded: bytes, size: int | None = None) -> str:
    """Return a description of an encoded value in a few words; never raises.

    Parameters
    ----------
    encoded
        The value, or its beginning.
    size
        The size of the whole value in bytes. Default: that of `encoded`.

    Examples
    --------
    >>> from telstate_codec import encode_value
    >>> describe(encode_value([1, 2]))
    '[1, 2]'
    >>> describe(encode_value(list(range(1000)))[:20], 2746)
    'list of 2,746 bytes'
    """
    return _join(*_describe(encoded, size))


def describe_value(value: Any) -> str:
    """Describe a value in a few words, as `describe` does an encoded one."""
    return _join(_type_of(value), _shown(value))


def is_pickle(encoded: bytes) -> bool:
    """Return whether an encoded value is a pickle, by its first byte."""
    return encoded != b"" and encoded[0] <= _LAST_PICKLE_BYTE


def count_of(number: int, noun: str) -> str:
    """Return a number of things in words.

    Examples
    --------
    >>> count_of(1, "key"), count_of(2000, "key")
    ('1 key', '2,000 keys')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _join(type_: str, value: str) -> str:
    return f"{_type_before(type_, value)}  {value}".strip()


def _type_before(type_: str, value: str) -> str:
    """Return a type, unless the value shows it."""
    return type_ if "(" in type_ or not value else ""


def _value_of(encoded: bytes) -> str:
    return _describe(encoded, None)[1]


def _describe(encoded: bytes, size: int | None) -> tuple[str, str]:
    """Return the type and a short text of an encoded value, or of its beginning."""
    if size is not None and size > len(encoded):
        return _describe_beginning(encoded, size)
    try:
        value = decode_value(encoded)
        return _type_of(value), _shown(value)
    except DecodeError:
        if is_pickle(encoded):
            return "pickle", f"(not read, {len(encoded):,} bytes)"
        return "?", f"(not an encoded value, {len(encoded):,} bytes)"


def _describe_beginning(head: bytes, size: int) -> tuple[str, str]:
    if not head:
        return "", f"(long value, {size:,} bytes)"
    text = escape(preview_value(head))
    dtype, _, shape = text.rpartition(" array, shape ")
    if dtype:
        return f"{dtype[:_MAX_DTYPE]} {shape}"[:MAX_LENGTH], ""
    if text.startswith("str "):
        return f"str ({size:,} bytes)", text[4:]
    return text, f"{text} of {size:,} bytes"


def _type_of(value: Any) -> str:
    """Return the type of a value, with the shape of an array, or the length if not all of it is shown."""
    name = type(value).__name__
    shape = getattr(value, "shape", None)
    if shape is not None:
        dtype = escape(str(value.dtype))[:_MAX_DTYPE]
        return f"{dtype} {shape}" if name == "ndarray" else dtype
    if isinstance(value, str | bytes):
        return f"{name} ({len(value):,})" if len(value) > _MAX_TEXT else name
    if isinstance(value, list | tuple | dict):
        return f"{name} ({len(value):,})" if len(value) > _short.maxlist else name
    return name


def _shown(value: Any) -> str:
    """Return a value as a short text on one line."""
    return shorten(escape(" ".join(_text_of(value).split())), MAX_LENGTH)


def shorten(text: str, length: int) -> str:
    """Return a text, or its beginning and three dots if it is longer."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _text_of(value: Any) -> str:
    if isinstance(value, str | bytes):
        return f"{value[:_MAX_TEXT]!r}{'...' if len(value) > _MAX_TEXT else ''}"
    if type(value).__name__ == "ndarray" and not value.dtype.hasobject:
        some = [_element_text(one) for one in value.flat[:_MAX_ELEMENTS].tolist()]
        return f"[{', '.join(some)}{', ...' if value.size > _MAX_ELEMENTS else ''}]"
    return _short.repr(value)


def _element_text(element: Any) -> str:
    return f"{element:.6g}" if isinstance(element, float | complex) else _short.repr(element)


def time_of(timestamp: float) -> str:
    """Return a timestamp, in seconds since 1970, as date and time in UTC."""
    try:
        moment = datetime.fromtimestamp(timestamp, timezone.utc)
    except (OverflowError, ValueError, OSError):  # outside the years of datetime
        return f"{timestamp} s"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def natural(name: str) -> list[object]:
    """Return what sorts names in natural order: m9 before m10.

    Examples
    --------
    >>> sorted(["m10", "m9", "m010", "a"], key=natural)
    ['a', 'm9', 'm010', 'm10']
    """
    parts = _DIGITS.split(name)
    sortable: list[object] = [*parts]
    # Not as integers: Python refuses to convert very long ones.
    sortable[1::2] = [(len(one.lstrip("0")), one.lstrip("0"), one) for one in parts[1::2]]
    return sortable


def pattern_of(name: str) -> str:
    """Return a name without its numbers, which is the same for names that look alike."""
    return _DIGITS.sub("#", name)
