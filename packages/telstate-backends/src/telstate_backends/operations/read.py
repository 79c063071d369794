"""Existence, kind and contents of the first candidate key that exists."""

# Samples of a mutable key between two times.

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar, final

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
    need_kind,
    unexpected,
    wrong_kind,
)
from telstate_backends.store import Fields, Packed, Samples, Store, contents_of, kind_of
from telstate_backends.types import (
    REDIS_TYPES,
    TYPE_NAMES,
    Contents,
    Immutable,
    Indexed,
    KeyType,
    Mutable,
)


@final
@attrs.frozen
class Found:
    """The first candidate key that exists.

    Attributes
    ----------
    key : bytes
        The full key.
    redis_type : bytes
        What Redis calls what it holds; not always a type that telstate has.
    contents : Immutable or Mutable or Indexed or None
        What it holds, if that was asked.
    """

    key: bytes
    redis_type: bytes
    contents: Contents | None


class Read(Operation[Result]):
    """A read whose answer follows from the first candidate that exists, and so can be remembered.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    __slots__ = ()

    #: Whether the answer takes the contents of the key.
    whole: ClassVar[bool] = True

    keys: tuple[bytes, ...]

    @abstractmethod
    def answer(self, found: Found | None) -> Result:
        """Give the result, from the answer to :class:`Seek`."""


@attrs.frozen
class Seek(Operation[Found | None]):
    """What a :class:`Read` needs to know; `None` if no candidate key exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    whole : bool
        Whether to tell the contents too.
    """

    keys: tuple[bytes, ...]
    whole: bool

    def apply(self, store: Store) -> Found | None:
        if not self.whole:
            seen = store.find_kind(self.keys)
            return None if seen is None else Found(seen[0], TYPE_NAMES[seen[1]], None)
        found = store.find(self.keys)
        if found is None:
            return None
        key, stored = found
        return Found(key, TYPE_NAMES[kind_of(stored)], contents_of(key, stored))

    def command(self) -> Command:
        return Command("get" if self.whole else "key_type", self.keys, scripted=True)

    def parse(self, reply: object) -> Found | None:
        if reply is None:
            return None
        redis_type, key, *_ = as_list(reply)
        contents = _parse_contents(reply)[1] if self.whole else None
        return Found(as_bytes(key), as_bytes(redis_type), contents)


@attrs.frozen
class Exists(Read[bool]):
    """Whether any of the candidate keys exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    whole: ClassVar[bool] = False

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> bool:
        data = store.data
        return any(key in data for key in self.keys)

    def answer(self, found: Found | None) -> bool:
        return found is not None

    def command(self) -> Command:
        return Command("EXISTS", self.keys)

    def parse(self, reply: object) -> bool:
        return as_int(reply) > 0

    def merge(self, replies: Sequence[object]) -> object:
        return sum(as_int(reply) for reply in replies)


@attrs.frozen
class WhichExist(Operation[list[bool]]):
    """Of each of many keys, whether it exists.

    Attributes
    ----------
    keys : tuple of bytes
        The full keys; not candidates for one name, but keys in their own right.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> list[bool]:
        return [key in store.data for key in self.keys]

    def command(self) -> Command:
        return Command("exist", self.keys, scripted=True)

    def parse(self, reply: object) -> list[bool]:
        return [as_int(one) > 0 for one in as_list(reply)]

    def merge(self, replies: Sequence[object]) -> object:
        return [one for reply in replies for one in as_list(reply)]


@attrs.frozen
class GetKeyType(Read[KeyType | None]):
    """The kind of the first candidate key that exists, `None` if none does.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    whole: ClassVar[bool] = False

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> KeyType | None:
        found = store.find_kind(self.keys)
        return None if found is None else found[1]

    def answer(self, found: Found | None) -> KeyType | None:
        if found is None:
            return None
        kind = REDIS_TYPES.get(found.redis_type)
        if kind is None:
            raise foreign(found.key, found.redis_type)
        return kind

    def command(self) -> Command:
        return Command("key_type", self.keys, scripted=True)

    def parse(self, reply: object) -> KeyType | None:
        return None if reply is None else find_kind(reply)[0]


@attrs.frozen
class Get(Read[Contents | None]):
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
                if type(stored) is Packed:
                    stored = store.unpack(key, stored)
                return contents_of(key, stored)
        return None

    def answer(self, found: Found | None) -> Contents | None:
        return None if found is None else found.contents

    def command(self) -> Command:
        return Command("get", self.keys, scripted=True)

    def parse(self, reply: object) -> Contents | None:
        return None if reply is None else _parse_contents(reply)[1]


@attrs.frozen
class Find(Read[tuple[bytes, Contents] | None]):
    """Which candidate key exists first, with its contents; `None` if none does.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    """

    keys: tuple[bytes, ...]

    def apply(self, store: Store) -> tuple[bytes, Contents] | None:
        found = store.find(self.keys)
        return None if found is None else (found[0], contents_of(*found))

    def answer(self, found: Found | None) -> tuple[bytes, Contents] | None:
        if found is None or found.contents is None:
            return None
        return found.key, found.contents

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
        return key, Mutable.of_member(as_bytes(body), key)
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


@attrs.frozen
class GetRange(Operation[list[bytes] | None]):
    """The samples from `start` to before `end`, `None` if none of the keys exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    start, end : bytes
        Bounds as :func:`telstate_codec.range_bounds` makes them, compared as bytes with the samples
        (timestamp, then value). Where `end` is not above `start`, nothing lies between them.
    include_previous : bool
        Whether the last sample before `start` comes first, if there is one and it is before `end`
        (as katsdptelstate has it, where `end` is before `start`).
    """

    keys: tuple[bytes, ...]
    start: bytes
    end: bytes
    include_previous: bool = False

    def apply(self, store: Store) -> list[bytes] | None:
        found = store.find(self.keys)
        if found is None:
            return None
        key, samples = found
        if type(samples) is not Samples:
            raise wrong_kind(key, kind_of(samples), KeyType.MUTABLE)
        first = bisect_left(samples, self.start)
        stop = bisect_left(samples, self.end)
        if self.include_previous and first:
            first -= 1
        return samples[first:stop]

    def command(self) -> Command:
        first, behind, before = b"[" + self.start, b"(" + self.end, b"(" + self.start
        together: tuple[Command, ...] = ()
        if len(self.keys) == 1:
            together = Command("TYPE", self.keys), Command(
                "ZRANGEBYLEX", self.keys, (first, behind)
            )
            if self.include_previous:
                last = (before, "-", "LIMIT", 0, 1)
                together += (Command("ZREVRANGEBYLEX", self.keys, last),)
        previous = before if self.include_previous else b""
        arguments = (first, behind, previous)
        return Command("get_range", self.keys, arguments, scripted=True, together=together)

    def _join(self, redis_type: object, samples: object, *before: object) -> object:
        """Make the script's reply of those to the commands that tell the same."""
        if redis_type == b"none":
            return None
        if not isinstance(samples, list):  # of another kind
            return [redis_type, self.keys[0]]
        for sample in as_bytes_list(before[0]) if before else ():
            if sample < self.end:
                samples.insert(0, sample)
        return [redis_type, self.keys[0], samples]

    def parse(self, reply: object) -> list[bytes] | None:
        if isinstance(reply, tuple):
            reply = self._join(*reply)
        if reply is None:
            return None
        (samples,) = need_kind(reply, KeyType.MUTABLE) or unexpected(reply)
        return as_bytes_list(samples)
