"""Comparison of two telescope states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from telstate.overview import HasBackend
from telstate.snapshots import SIZE_BATCH, split_by_size
from telstate_backends import Backend, Export, ForeignKeyError, Immutable, KeyType, KeyTypes, Peek
from telstate_backends.store import Fields, Samples, Stored, kind_of
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
    equal if their times and values are. Keys of other programs are left out. Neither state is read at one moment: a
    key that is being written to is compared as it is when it is read.

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
    shared = [key for key, (first, second) in pairs.items() if first is second]
    found = [
        KeyDifference(decode_key(key), pair)
        for key, pair in pairs.items()
        if pair[0] is not pair[1]
    ]
    for batch in _split(backends, shared):
        contents = [_read(backend, batch) for backend in backends]
        for key, *stored in zip(batch, *contents, strict=True):
            found += _compare_contents(decode_key(key), *stored)
    return sorted(found, key=lambda difference: difference.name)


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


def _read(backend: Backend, keys: Sequence[bytes]) -> list[Stored | None]:
    """Return the contents of keys; None for one that has been deleted or replaced by another program."""
    contents: list[Stored | None] = []
    for result in backend.execute_many([Export(key) for key in keys]):
        if isinstance(result, Exception) and not isinstance(result, ForeignKeyError):
            raise result
        contents.append(None if isinstance(result, ForeignKeyError) else result)
    return contents


def _compare_contents(name: str, a: Stored | None, b: Stored | None) -> Iterator[KeyDifference]:
    """Yield the difference between the contents of a key, if there is one."""
    if a == b:
        return
    kinds = (None if a is None else kind_of(a), None if b is None else kind_of(b))
    same = KeyDifference(name, kinds)
    if isinstance(a, Immutable) and isinstance(b, Immutable):
        if not _are_equal(a.value, b.value):
            yield attrs.evolve(same, changed=1)
    elif isinstance(a, Samples) and isinstance(b, Samples):
        yield from _compare_samples(same, list(a), list(b))
    elif isinstance(a, Fields) and isinstance(b, Fields):
        yield from _compare_items(same, a, b)
    else:  # changed since they were listed
        yield same


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
