"""Which keys of a file are wanted: decided before their values are decoded."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from telstate_rdb.constants import TYPE_NAMES, TypeName
from telstate_rdb.globs import Glob


@attrs.frozen
class Selection:
    """The wish for some databases, keys and types; None stands for all."""

    databases: Collection[int] | None
    matches: Callable[[bytes], object] | None
    types: Collection[int] | None

    def wants(self, database: int, key: bytes, type_: int) -> bool:
        """Tell whether a key is wanted."""
        return (
            (self.databases is None or database in self.databases)
            and (self.types is None or type_ in self.types)
            and (self.matches is None or bool(self.matches(key)))
        )


def make_selection(
    databases: Collection[int] | int | None,
    keys: str | bytes | None,
    types: Collection[TypeName] | TypeName | None,
) -> Selection | None:
    """Make the selection, or None if everything is wanted.

    Raises
    ------
    ValueError
        For a type that Redis does not have.
    TypeError
        If `keys` is anything but one pattern.
    """
    if not isinstance(keys, str | bytes | None):
        raise TypeError(f"keys= takes one pattern, as str or bytes, not {keys!r}")
    if databases is None and keys is None and types is None:
        return None
    if isinstance(databases, int):
        databases = (databases,)
    if isinstance(keys, str):
        keys = keys.encode("utf-8", "surrogateescape")
    type_bytes = None
    if types is not None:
        wanted = {types} if isinstance(types, str) else set(types)
        if unknown := wanted - set(TYPE_NAMES.values()):
            known = ", ".join(sorted(set(TYPE_NAMES.values())))
            raise ValueError(f"unknown types {sorted(unknown)}; there are {known}")
        type_bytes = frozenset(byte for byte, name in TYPE_NAMES.items() if name in wanted)
    return Selection(databases, None if keys is None else Glob(keys).matches, type_bytes)
