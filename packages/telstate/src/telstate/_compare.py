"""Comparison of two telescope states."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from telstate.overview import HasBackend
from telstate.snapshots import SIZE_BATCH, split_by_size
from telstate_backends import Backend, Get, GetRange, Immutable, Indexed, KeyType, KeyTypes, Peek
from telstate_codec import (
    ENCODING_MSGPACK,
    DecodeError,
    EncodeError,
    decode_key,
    decode_sample,
    decode_value,
    encode_key,
    encode_value,
    equal_encoded_values,
    range_bounds,
)
from telstate_codec.printable import escape

_WHERE = ("only in the first", "only in the second", "with another value")


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
    """

    name: str
    kinds: tuple[KeyType | None, KeyType | None]
    only: tuple[int, int] = (0, 0)
    changed: int = 0
    times: tuple[float, float] | None = None

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


def compare(a: HasBackend, b: HasBackend, filter: str = "*") -> list[KeyDifference]:
    """Compare two telescope states key by key.

    A pickle and the same value in MessagePack are equal if the policy allows pickles to be read. Samples are
    equal if their times and values are. Keys of other programs are left out.

    Parameters
    ----------
    a, b
        Two synchronous telescope states, of any view, on any backends.
    filter
        A Redis glob of full names. Default: all keys.

    Returns
    -------
    differences
        What differs, sorted by name; empty if nothing does.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> before, after = TelescopeState(), TelescopeState()
    >>> before["n_chans"] = 4096
    >>> after["n_chans"] = 32768
    >>> after.add("gain", 1.5, ts=100.0)
    >>> for difference in compare(before, after):
    ...     print(difference)
    gain: missing / mutable
    n_chans: another value
    """
    pattern = encode_key(filter)
    # A cache may not know yet that a key was deleted.
    backends = [state.backend.uncached for state in (a, b)]
    kinds = [backend.execute(KeyTypes(pattern)) for backend in backends]
    pairs = {
        key: (kinds[0].get(key), kinds[1].get(key)) for key in kinds[0].keys() | kinds[1].keys()
    }
    found = {key: KeyDifference(decode_key(key), pair) for key, pair in pairs.items()}
    shared = [key for key, (first, second) in pairs.items() if first is second]
    for batch in _split(backends, shared):
        contents = [_read(backend, batch, kinds[0]) for backend in backends]
        for key, *values in zip(batch, *contents, strict=True):
            same = found.pop(key)
            found |= {key: other for other in _compare_contents(same, *values)}
    return sorted(found.values(), key=lambda difference: difference.name)


def _split(backends: Sequence[Backend], keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield keys in batches whose contents fit into memory in both backends."""
    for start in range(0, len(keys), SIZE_BATCH):
        some = keys[start : start + SIZE_BATCH]
        first, second = (
            backend.execute_many([Peek(key, 0) for key in some]) for backend in backends
        )
        sizes = dict(zip(some, second, strict=True))
        for part in split_by_size(some, first):
            yield from split_by_size(part, map(sizes.get, part))


def _read(backend: Backend, keys: Sequence[bytes], kinds: dict[bytes, KeyType]) -> list[Any]:
    """Return the contents of keys; None for one that has gone in the meantime."""
    always = range_bounds(-math.inf, math.inf, True)
    operations: list[Any] = [
        GetRange((key,), *always, False) if kinds[key] is KeyType.MUTABLE else Get((key,))
        for key in keys
    ]
    results = backend.execute_many(operations)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def _compare_contents(same: KeyDifference, a: Any, b: Any) -> Iterator[KeyDifference]:
    """Yield the difference between the contents of a key, if there is one."""
    if a == b:
        return
    if a is None or b is None:
        kind = same.kinds[0]
        yield attrs.evolve(same, kinds=(None if a is None else kind, None if b is None else kind))
    elif isinstance(a, Immutable):
        if not _are_equal(a.value, b.value):
            yield attrs.evolve(same, changed=1)
    elif isinstance(a, Indexed):
        yield from _compare_items(same, a.items, b.items)
    else:
        yield from _compare_samples(same, a, b)


def _compare_items(
    same: KeyDifference, a: dict[bytes, bytes], b: dict[bytes, bytes]
) -> Iterator[KeyDifference]:
    only = len(a.keys() - b.keys()), len(b.keys() - a.keys())
    changed = sum(not _are_equal(a[sub_key], b[sub_key]) for sub_key in a.keys() & b.keys())
    if any(only) or changed:
        yield attrs.evolve(same, only=only, changed=changed)


def _compare_samples(
    same: KeyDifference, a: list[bytes], b: list[bytes]
) -> Iterator[KeyDifference]:
    only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    by_time: dict[float, list[bytes]] = {}
    for member in only_b:
        timestamp, value = decode_sample(member)
        by_time.setdefault(timestamp, []).append(value)
    left: list[float] = []
    for member in only_a:
        timestamp, value = decode_sample(member)
        others = by_time.get(timestamp, [])
        equal = next((other for other in others if _are_equal(value, other)), None)
        if equal is None:
            left.append(timestamp)
        else:
            others.remove(equal)
    right = [timestamp for timestamp, values in by_time.items() for _ in values]
    if left or right:
        times = [*left, *right]
        yield attrs.evolve(same, only=(len(left), len(right)), times=(min(times), max(times)))


def _are_equal(a: bytes, b: bytes) -> bool:
    """Return whether two values are equal, whatever their encodings; if one cannot be decoded, only if the bytes are."""
    try:
        return equal_encoded_values(a, b) or _normal(a) == _normal(b)
    except (DecodeError, EncodeError):
        return False


def _normal(encoded: bytes) -> bytes:
    """Return a value in MessagePack."""
    return encoded if encoded[:1] == ENCODING_MSGPACK else encode_value(decode_value(encoded))
