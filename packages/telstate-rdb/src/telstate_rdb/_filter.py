"""The choice of keys to read, made before their values are decoded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import methodcaller

import attrs

from telstate_rdb.constants import TYPE_NAMES, TypeName
from telstate_rdb.globs import Glob

KeyChoice = str | bytes | Callable[[bytes], object]
"""The keys to read: a pattern, as for the command ``KEYS``, or a function that is called with each key."""

_SPECIAL_BYTES = frozenset(b"*?[\\")


@attrs.frozen
class Filter:
    """The databases, keys and type bytes to read; None stands for all."""

    databases: Collection[int] | None
    matches: Callable[[bytes], object] | None
    types: Collection[int] | None

    def accepts_database(self, database: int) -> bool:
        """Return whether the keys of a database can pass."""
        return self.databases is None or database in self.databases

    def accepts(self, database: int, key: bytes, type_: int) -> bool:
        """Return whether a key passes."""
        return (
            self.accepts_database(database)
            and (self.types is None or type_ in self.types)
            and (self.matches is None or bool(self.matches(key)))
        )


def make_filter(
    databases: Collection[int] | int | None,
    keys: KeyChoice | None,
    types: Collection[TypeName] | TypeName | None,
) -> Filter | None:
    """Make a filter, or return None if everything passes."""
    if not (keys is None or isinstance(keys, str | bytes) or callable(keys)):
        raise TypeError(
            f"keys= takes one pattern, as str or bytes, or a function of a key, not {keys!r}."
        )
    if isinstance(keys, str):
        keys = keys.encode("utf-8", "surrogateescape")
    if keys == b"*":
        keys = None
    if databases is None and keys is None and types is None:
        return None
    if isinstance(databases, int):
        databases = (databases,)
    type_bytes = None
    if types is not None:
        names = {types} if isinstance(types, str) else set(types)
        if unknown := names - set(TYPE_NAMES.values()):
            known = ", ".join(sorted(set(TYPE_NAMES.values())))
            raise ValueError(f"Unknown types {sorted(unknown)}; there are {known}.")
        type_bytes = frozenset(byte for byte, name in TYPE_NAMES.items() if name in names)
    matches = _matcher_of(keys) if isinstance(keys, bytes) else keys
    return Filter(databases, matches, type_bytes)


def _matcher_of(pattern: bytes) -> Callable[[bytes], object]:
    """Return what matches a pattern, in the fastest way."""
    if pattern[-1:] == b"*" and not _SPECIAL_BYTES.intersection(pattern[:-1]):
        return methodcaller("startswith", pattern[:-1])
    return Glob(pattern).fullmatch
