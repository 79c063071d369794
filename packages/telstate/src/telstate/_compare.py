"""Comparison of two telescope states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from telstate._pickles import convert_pickle
from telstate._summaries import HasBackend, describe, natural
from telstate.snapshots import read_contents, split_keys
from telstate_backends import Immutable, KeyType, KeyTypes
from telstate_backends.samples import Samples
from telstate_backends.store import Fields, Stored, kind_of
from telstate_codec import (
    ENCODING_MSGPACK,
    DecodeError,
    EncodeError,
    Key,
    decode_key,
    decode_sample,
    decode_value,
    encode_key,
    encode_value,
    equal_encoded_values,
)
from telstate_codec.printable import BoundedRepr, bounded_repr, escape

_TIME_BYTES = 8
# Below this depth, values are not compared item by item.
_MAX_DEPTH = 20
_short = BoundedRepr(max_length=60, max_items=4, max_level=3)
_WHERE = ("only in the first", "only in the second", "with another value")


@attrs.frozen
class ValueDifference:
    """A value that only one of two telescope states has.

    Attributes
    ----------
    sign : str
        ``"-"`` if the first has it, ``"+"`` if the second has it.
    encoded : bytes
        The encoded value.
    time : float or None
        The time of a sample, in seconds since 1970; None for other values.
    sub_key : bytes or None
        The encoded sub-key; None for other values.
    """

    sign: str
    encoded: bytes
    time: float | None = None
    sub_key: bytes | None = None

    @property
    def value(self) -> Any:
        """The value; `DecodeError` if it cannot be decoded."""
        return decode_value(self.encoded)


@attrs.frozen
class KeyDifference:
    """How a key differs between two telescope states.

    Attributes
    ----------
    name : str
        The full name.
    kinds : tuple of KeyType or None
        The kind of the key in each; None where it is missing.
    only : tuple of int
        The numbers of samples, or of sub-keys, that only one of them has; (0, 0) for an immutable.
    changed : int
        The number of sub-keys with different values; 1 for an immutable with another value.
    times : tuple of float or None
        The times of the first and of the last sample that only one of them has, in seconds since 1970.
    values : tuple of ValueDifference
        The values that only one of them has: those of an immutable, and, if they were requested, those of the samples by
        time, or of the sub-keys. It is empty for a key that only one of them has.
    """

    name: str
    kinds: tuple[KeyType | None, KeyType | None]
    only: tuple[int, int] = (0, 0)
    changed: int = 0
    times: tuple[float, float] | None = None
    values: tuple[ValueDifference, ...] = ()

    @property
    def changes(self) -> list[str]:
        """What is different in the value of an immutable, in words, one text for each item; else empty.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> before, after = TelescopeState(), TelescopeState()
        >>> before["config"] = {"version": "3.4", "inputs": [1, 2]}
        >>> after["config"] = {"version": "3.5", "inputs": [1, 3]}
        >>> compare(before, after)[0].changes
        ["['version']: '3.4' -> '3.5'", "['inputs'][1]: 2 -> 3"]
        """
        if self.kinds != (KeyType.IMMUTABLE, KeyType.IMMUTABLE):
            return []
        first, second = self.values
        try:
            # A pickle may hold the same object very many times; `_normal` refuses that.
            before, after = (decode_value(_normal(one.encoded)) for one in (first, second))
            return list(_describe_changes("", before, after, 0))
        except (DecodeError, EncodeError):
            return [f"{describe(first.encoded)} -> {describe(second.encoded)}"]

    def __str__(self) -> str:
        name = escape(self.name)
        first, second = (kind and kind.name.lower() for kind in self.kinds)
        if first != second:
            return f"{name}: {first or 'missing'} / {second or 'missing'}"
        if self.kinds[0] is KeyType.IMMUTABLE:
            return f"{name}: another value"
        thing = "sample" if self.kinds[0] is KeyType.MUTABLE else "sub-key"
        counts = zip((*self.only, self.changed), _WHERE)
        parts = [f"{count} {thing}{'s' * (count > 1)} {where}" for count, where in counts if count]
        return f"{name}: {', '.join(parts)}"


def compare(
    a: HasBackend, b: HasBackend, filter: Key | Iterable[Key] = "*", *, full: bool = False
) -> list[KeyDifference]:
    """Compare two telescope states key by key.

    A pickle and the same value in MessagePack are equal if the policy allows pickles to be read. Samples are
    equal if their times and values are. Keys of other programs are left out. Neither state is read at one moment: a
    key that is being written to is compared as it is when it is read.

    Parameters
    ----------
    a, b
        Two synchronous telescope states, of any view, on any backends.
    filter
        A Redis glob of full names, or several. Default: all keys.
    full
        Whether the differences have the samples and sub-keys that differ. Default: False.

    Returns
    -------
    differences
        What differs, in natural order of the names; empty if nothing does.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> before, after = TelescopeState(), TelescopeState()
    >>> before["n_chans"] = 4096
    >>> after["n_chans"] = 32768
    >>> after.add("gain", 1.5, ts=100.0)
    >>> for difference in compare(before, after):
    ...     print(difference, [(one.sign, one.value) for one in difference.values])
    gain: missing / mutable []
    n_chans: another value [('-', 4096), ('+', 32768)]
    """
    patterns = [filter] if isinstance(filter, str | bytes) else filter
    operations = [KeyTypes(encode_key(pattern)) for pattern in patterns]
    # A cache may not know yet that a key was deleted.
    backends = [state.backend.uncached for state in (a, b)]
    kinds: list[dict[bytes, KeyType]] = [{}, {}]
    for backend, found_kinds in zip(backends, kinds):
        for operation in operations:
            matching = backend.execute(operation)
            found_kinds.update(matching)
    pairs = {
        key: (kinds[0].get(key), kinds[1].get(key)) for key in kinds[0].keys() | kinds[1].keys()
    }
    shared = [key for key, (first, second) in pairs.items() if first is second]
    found = [
        KeyDifference(decode_key(key), pair)
        for key, pair in pairs.items()
        if pair[0] is not pair[1]
    ]
    for batch in split_keys(backends, shared):
        contents = [read_contents(backend, batch) for backend in backends]
        for key, *stored in zip(batch, *contents, strict=True):
            found += _compare_contents(decode_key(key), stored[0], stored[1], full)
    return sorted(found, key=lambda difference: natural(difference.name))


def _compare_contents(
    name: str, a: Stored | None, b: Stored | None, full: bool
) -> Iterator[KeyDifference]:
    """Yield the difference between the contents of a key, if there is one."""
    if a == b:
        return
    kinds = (None if a is None else kind_of(a), None if b is None else kind_of(b))
    same = KeyDifference(name, kinds)
    if isinstance(a, Immutable) and isinstance(b, Immutable):
        if not are_equal(a.value, b.value):
            values = (ValueDifference("-", a.value), ValueDifference("+", b.value))
            yield attrs.evolve(same, changed=1, values=values)
    elif isinstance(a, Samples) and isinstance(b, Samples):
        yield from _compare_samples(same, a, b, full)
    elif isinstance(a, Fields) and isinstance(b, Fields):
        yield from _compare_items(same, a, b, full)
    else:  # changed since they were listed
        yield same


def _describe_changes(path: str, a: Any, b: Any, depth: int) -> Iterator[str]:
    """Yield what is different in two values, with the place in them."""
    may_descend = depth < _MAX_DEPTH
    if may_descend and isinstance(a, dict) and isinstance(b, dict):
        if a.keys() == b.keys() and encode_value(list(a)) != encode_value(list(b)):
            text = "the same keys, in another order or of other types"
            yield f"{path}: {text}" if path else text
        for key in dict.fromkeys([*a, *b]):
            place = f"{path}[{bounded_repr(key)}]"
            if key not in b:
                yield f"{place}: only in the first"
            elif key not in a:
                yield f"{place}: only in the second"
            else:
                yield from _describe_changes(place, a[key], b[key], depth + 1)
        return
    is_sequence = type(a) is type(b) and isinstance(a, list | tuple)
    if may_descend and is_sequence and len(a) == len(b):
        for number, pair in enumerate(zip(a, b)):
            yield from _describe_changes(f"{path}[{number}]", *pair, depth + 1)
        return
    if encode_value(a) == encode_value(b):
        return
    text = f"{_short.repr(a)} -> {_short.repr(b)}"
    shape = getattr(a, "shape", ())
    if shape and shape == getattr(b, "shape", ()) and a.dtype == b.dtype:
        # As bytes, so that a NaN is equal to itself.
        first, second = (array.ravel().view(f"V{array.itemsize}") for array in (a, b))
        differ = (first != second).sum()
        text = f"{differ:,} of {a.size:,} elements ({a.dtype}, shape {shape})"
        if not differ:
            text = "the same elements, C order / Fortran order"
    yield f"{path}: {text}" if path else text


def _compare_items(
    same: KeyDifference, a: dict[bytes, bytes], b: dict[bytes, bytes], full: bool
) -> Iterator[KeyDifference]:
    only = len(a.keys() - b.keys()), len(b.keys() - a.keys())
    changed = {sub_key for sub_key in a.keys() & b.keys() if not are_equal(a[sub_key], b[sub_key])}
    if not any(only) and not changed:
        return
    values = [
        ValueDifference(sign, value, sub_key=sub_key)
        for sign, items, others in (("-", a, b), ("+", b, a))
        for sub_key, value in (items.items() if full else ())
        if sub_key in changed or sub_key not in others
    ]
    values.sort(key=lambda one: (one.sub_key, one.sign == "+"))
    yield attrs.evolve(same, only=only, changed=len(changed), values=tuple(values))


def _compare_samples(
    same: KeyDifference, a: Samples, b: Samples, full: bool
) -> Iterator[KeyDifference]:
    left, right = unmatched_samples(a, b)
    if not left and not right:
        return
    try:
        times = [decode_sample(member)[0] for member in (*left, *right)]
    except DecodeError as error:
        raise DecodeError(f"Key {same.name!r} cannot be compared: {error}") from error
    values = [
        ValueDifference(sign, decode_sample(member)[1], decode_sample(member)[0])
        for sign, members in (("-", left), ("+", right))
        for member in (members if full else ())
    ]
    values.sort(key=lambda one: (one.time, one.sign == "+"))
    yield attrs.evolve(
        same,
        only=(len(left), len(right)),
        times=(min(times), max(times)),
        values=tuple(values),
    )


def unmatched_samples(a: Iterable[bytes], b: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the samples of each that have no equal in the other, sorted."""
    left, right = set(a), set(b)
    left, right = left - right, right - left
    by_time: dict[bytes, list[bytes]] = {}
    for member in right:
        by_time.setdefault(member[:_TIME_BYTES], []).append(member)
    only_a: list[bytes] = []
    for member in sorted(left):
        others = by_time.get(member[:_TIME_BYTES], [])
        value = member[_TIME_BYTES:]
        equal = next((other for other in others if are_equal(value, other[_TIME_BYTES:])), None)
        if equal is None:
            only_a.append(member)
        else:
            others.remove(equal)
    return only_a, sorted(member for members in by_time.values() for member in members)


def are_equal(a: bytes, b: bytes) -> bool:
    """Return whether two values are equal, whatever their encodings; if one cannot be decoded, only if the bytes are."""
    try:
        return equal_encoded_values(a, b) or _normal(a) == _normal(b)
    except (DecodeError, EncodeError):
        return a == b


def _normal(encoded: bytes) -> bytes:
    """Return a value in MessagePack."""
    return encoded if encoded[:1] == ENCODING_MSGPACK else convert_pickle(encoded)
