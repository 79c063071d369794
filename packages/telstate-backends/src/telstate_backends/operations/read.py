"""Reads of the first candidate key that exists: whether it does, its kind, contents, or samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import attrs

from telstate_backends.operations.base import (
    Command,
    Operation,
    Result,
    as_bytes,
    as_bytes_list,
    as_int,
    as_list,
    as_pairs,
    find_kind,
    foreign,
    joined,
    need_kind,
    sum_of,
    unexpected,
    wrong_kind,
)
from telstate_backends.samples import Samples
from telstate_backends.store import Fields, Store, kind_of
from telstate_backends.types import (
    REDIS_TYPES,
    TYPE_NAMES,
    Contents,
    Immutable,
    Indexed,
    KeyType,
    Mutable,
)

# By the class of decoded contents; an enumeration is slower to look up.
_TYPE_NAMES: dict[type[Contents], bytes] = {
    Immutable: TYPE_NAMES[KeyType.IMMUTABLE],
    Mutable: TYPE_NAMES[KeyType.MUTABLE],
    Indexed: TYPE_NAMES[KeyType.INDEXED],
}


@final
class Found(NamedTuple):
    """The first candidate key that exists.

    Attributes
    ----------
    key : bytes
        The full key.
    redis_type : bytes
        Its type in Redis, which need not be one that telstate writes.
    contents : Immutable or Mutable or Indexed or None
        What it holds, `None` if that was not requested.
    """

    key: bytes
    redis_type: bytes
    contents: Contents | None


class Read(Operation[Result]):
    """A read whose result follows from a :class:`Find`, so that a cache can answer it.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    __slots__ = ()

    #: Whether the result depends on the contents of the key.
    needs_contents: bool = False

    keys: tuple[bytes, ...]

    @abstractmethod
    def answer(self, found: Found | None) -> Result:
        """Return the result, given what was found."""

    def find(self) -> Find:
        """Return the operation that finds what this one needs."""
        return Find(self.keys, self.needs_contents)


@attrs.frozen
class Find(Read[Found | None]):
    """Find the first candidate key that exists, `None` if none does.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    needs_contents : bool
        Whether to return its contents too (default).
    """

    keys: tuple[bytes, ...]
    needs_contents: bool = True

    def find(self) -> Find:
        return self

    def answer(self, found: Found | None) -> Found | None:
        if self.needs_contents or found is None:
            return found
        return Found(found.key, found.redis_type, None)

    def apply(self, store: Store) -> Found | None:
        if not self.needs_contents:
            seen = store.find_kind(self.keys)
            return None if seen is None else Found(seen[0], TYPE_NAMES[seen[1]], None)
        found = store.find_contents(self.keys)
        if found is None:
            return None
        key, contents = found
        return Found(key, _TYPE_NAMES[type(contents)], contents)

    def command(self) -> Command:
        return Command("get" if self.needs_contents else "key_type", self.keys, is_script=True)

    def parse(self, reply: object) -> Found | None:
        if reply is None:
            return None
        redis_type, key, *_ = as_list(reply)
        contents = Get(self.keys).parse(reply) if self.needs_contents else None
        return Found(as_bytes(key), as_bytes(redis_type), contents)


@attrs.frozen
class Exists(Read[bool]):
    """Whether any of the candidate keys exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def answer(self, found: Found | None) -> bool:
        return found is not None

    def apply(self, store: Store) -> bool:
        return any(key in store.data for key in self.keys)

    def command(self) -> Command:
        return Command("EXISTS", self.keys)  # faster than the script

    def parse(self, reply: object) -> bool:
        return as_int(reply) > 0

    def merge(self, replies: Sequence[object]) -> object:
        return sum_of(replies)


@attrs.frozen
class WhichExist(Operation[list[bool]]):
    """For each of many keys, whether it exists.

    Attributes
    ----------
    keys : tuple of bytes
        The full keys, each in its own right, not candidates for one name.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> list[bool]:
        return [key in store.data for key in self.keys]

    def command(self) -> Command:
        return Command("which_exist", self.keys, is_script=True)

    def parse(self, reply: object) -> list[bool]:
        return [as_int(one) > 0 for one in as_list(reply)]

    def merge(self, replies: Sequence[object]) -> object:
        return joined(replies)


@attrs.frozen
class GetKeyType(Read[KeyType | None]):
    """The kind of the first candidate key that exists, `None` if none does.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def answer(self, found: Found | None) -> KeyType | None:
        if found is None:
            return None
        kind = REDIS_TYPES.get(found.redis_type)
        if kind is None:
            raise foreign(found.key, found.redis_type)
        return kind

    def apply(self, store: Store) -> KeyType | None:
        found = store.find_kind(self.keys)
        return None if found is None else found[1]

    def command(self) -> Command:
        return Command("key_type", self.keys, is_script=True)

    def parse(self, reply: object) -> KeyType | None:
        return None if reply is None else find_kind(reply)[0]


@attrs.frozen
class Get(Read[Contents | None]):
    """The contents of the first candidate key that exists, `None` if none does.

    The value of an immutable key, the latest sample of a mutable one, or all of an indexed one.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    needs_contents = True

    keys: tuple[bytes, ...]

    def answer(self, found: Found | None) -> Contents | None:
        return None if found is None else found.contents

    def apply(self, store: Store) -> Contents | None:
        found = store.find_contents(self.keys)
        return None if found is None else found[1]

    def command(self) -> Command:
        return Command("get", self.keys, is_script=True)

    def parse(self, reply: object) -> Contents | None:
        if reply is None:
            return None
        kind, key, payload = find_kind(reply)
        (body,) = payload if len(payload) == 1 else unexpected(reply)
        if kind is KeyType.INDEXED:
            return Indexed(as_pairs(body))
        if not isinstance(body, bytes):
            unexpected(reply)
        return Immutable(body) if kind is KeyType.IMMUTABLE else Mutable.of_member(body, key)


@attrs.frozen
class GetIndexed(Operation[bytes | None]):
    """The value of a sub-key in the first candidate key that exists, `None` if it is missing.

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
        return Command("get_indexed", self.keys, (self.sub_key,), is_script=True)

    def parse(self, reply: object) -> bytes | None:
        if reply is None:
            return None
        values = need_kind(reply, KeyType.INDEXED)
        return as_bytes(values[0]) if values else None


@attrs.frozen
class GetRange(Operation[Sequence[bytes] | None]):
    """The samples from `start` to before `end`, `None` if none of the keys exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    start, end : bytes
        Bounds as :func:`telstate_codec.range_bounds` returns them, compared as bytes with the samples
        (timestamp, then value). If `end` is not above `start`, there is nothing between them.
    include_previous : bool
        Whether the last sample before `start` comes first, if there is one and it is before `end`
        (which matters if `end` is before `start`). Default: no.
    """

    keys: tuple[bytes, ...]
    start: bytes
    end: bytes
    include_previous: bool = False

    def apply(self, store: Store) -> Sequence[bytes] | None:
        found = store.find_range(self.keys, self.start, self.end)
        if found is None:
            return None
        key, samples = found
        if type(samples) is not Samples:
            raise wrong_kind(key, kind_of(samples), KeyType.MUTABLE)
        return samples.find_range(self.start, self.end, self.include_previous)

    def command(self) -> Command:
        first, stop = b"[" + self.start, b"(" + self.end
        previous = b"(" + self.start if self.include_previous else b""
        return Command(
            "get_range",
            self.keys,
            (first, stop, previous),
            is_script=True,
            is_long=len(self.keys) == 1 and self.start < self.end,
        )

    def parse(self, reply: object) -> Sequence[bytes] | None:
        if reply is None:
            return None
        (samples,) = need_kind(reply, KeyType.MUTABLE) or unexpected(reply)
        return as_bytes_list(samples)
