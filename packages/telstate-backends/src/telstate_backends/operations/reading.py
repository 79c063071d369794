"""Existence, kind and contents of the first candidate key that exists."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from telstate_backends.commands import Command
from telstate_backends.kinds import Contents, Immutable, Indexed, KeyType, Mutable
from telstate_backends.operations.base import (
    Operation,
    as_bytes,
    as_int,
    as_pairs,
    find_kind,
    need_kind,
    unexpected,
    wrong_kind,
)
from telstate_backends.store import Fields, Store, contents_of, kind_of


@attrs.frozen
class Exists(Operation[bool]):
    """Whether any of the candidate keys exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> bool:
        data = store.data
        return any(key in data for key in self.keys)

    def command(self) -> Command:
        return Command("EXISTS", self.keys)

    def parse(self, reply: object) -> bool:
        return as_int(reply) > 0

    def merge(self, replies: Sequence[object]) -> object:
        return sum(as_int(reply) for reply in replies)


@attrs.frozen
class GetKeyType(Operation[KeyType | None]):
    """The kind of the first candidate key that exists, `None` if none does.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> KeyType | None:
        found = store.find(self.keys)
        return None if found is None else kind_of(found[1])

    def command(self) -> Command:
        return Command("key_type", self.keys, scripted=True)

    def parse(self, reply: object) -> KeyType | None:
        return None if reply is None else find_kind(reply)[0]


@attrs.frozen
class Get(Operation[Contents | None]):
    """The contents of the first candidate key that exists, `None` if none does.

    An immutable's value, a mutable's latest sample, or all of an indexed key.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> Contents | None:
        data = store.data
        for key in self.keys:
            stored = data.get(key)
            if stored is not None:
                return contents_of(stored)
        return None

    def command(self) -> Command:
        return Command("get", self.keys, scripted=True)

    def parse(self, reply: object) -> Contents | None:
        return None if reply is None else _parse_contents(reply)[1]


@attrs.frozen
class Find(Operation[tuple[bytes, Contents] | None]):
    """Which candidate key exists first, with its contents; `None` if none does.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> tuple[bytes, Contents] | None:
        found = store.find(self.keys)
        return None if found is None else (found[0], contents_of(found[1]))

    def command(self) -> Command:
        return Command("get", self.keys, scripted=True)

    def parse(self, reply: object) -> tuple[bytes, Contents] | None:
        return None if reply is None else _parse_contents(reply)


def _parse_contents(reply: object) -> tuple[bytes, Contents]:
    kind, key, payload = find_kind(reply)
    (body,) = payload if len(payload) == 1 else unexpected(reply)
    if kind is KeyType.IMMUTABLE:
        return key, Immutable(as_bytes(body))
    if kind is KeyType.MUTABLE:
        return key, Mutable.of_member(as_bytes(body))
    return key, Indexed(as_pairs(body))


@attrs.frozen
class GetIndexed(Operation[bytes | None]):
    """The value of a sub-key in the first candidate key that exists, `None` if there is none.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    sub_key : bytes
        The encoded sub-key.
    """

    keys: tuple[bytes, ...]
    sub_key: bytes

    def apply(self, store: Store) -> bytes | None:
        found = store.find(self.keys)
        if found is None:
            return None
        key, stored = found
        if type(stored) is not Fields:
            raise wrong_kind(key, kind_of(stored), KeyType.INDEXED)
        return stored.get(self.sub_key)

    def command(self) -> Command:
        return Command("get_indexed", self.keys, (self.sub_key,), scripted=True)

    def parse(self, reply: object) -> bytes | None:
        if reply is None:
            return None
        values = need_kind(reply, KeyType.INDEXED)
        return as_bytes(values[0]) if values else None
