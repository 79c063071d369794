"""All keys that match a glob, in every namespace, read a page at a time.

A listing is not atomic: a key that was there all the time is listed once, one that came or went
while it ran may be listed or not.
"""

# A quick look at a store, for people: how many keys, some of them, and how each begins.
#
# Rules: the cost is bounded, however many keys there are and however long they are. A count and a
# list of some keys are not asked for again after a failure: who looks is to be told at once that the
# store cannot be reached, not after the time that a program would wait.

# What a key holds, to be compared with what it held: a page at a time, long samples as digests.

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

import attrs

from telstate_backends.operations.base import (
    Command,
    Operation,
    as_bytes,
    as_bytes_list,
    as_int,
    as_list,
    as_pairs,
    find_kind,
    unexpected,
)
from telstate_backends.store import Fields, Samples, Store, contents_of, kind_of
from telstate_backends.types import REDIS_TYPES, Immutable, Indexed, KeyType
from telstate_rdb.globs import Glob

#: Keys looked at in one go: about a millisecond of the server's time.
PAGE_SIZE = 2000


@attrs.frozen
class Keys(Operation[list[bytes]]):
    """The full keys that match, sorted as bytes.

    Attributes
    ----------
    pattern : bytes
        A Redis glob.
    """

    everywhere: ClassVar[bool] = True

    pattern: bytes = b"*"

    def apply(self, store: Store) -> list[bytes]:
        return sorted(filter(Glob(self.pattern).matches, store.data))

    def command(self) -> Command:
        return Command("SCAN", (), (0, "MATCH", self.pattern, "COUNT", PAGE_SIZE), paged=True)

    def parse(self, reply: object) -> list[bytes]:
        return sorted({key for page in as_list(reply) for key in as_bytes_list(page)})

    def merge(self, replies: Sequence[object]) -> object:
        return [page for pages in replies for page in as_list(pages)]


@attrs.frozen
class KeyTypes(Operation[dict[bytes, KeyType]]):
    """The full keys that match, sorted as bytes, with their kinds; foreign keys are left out.

    Attributes
    ----------
    pattern : bytes
        A Redis glob.
    """

    everywhere: ClassVar[bool] = True

    pattern: bytes = b"*"

    def apply(self, store: Store) -> dict[bytes, KeyType]:
        matches = Glob(self.pattern).matches
        return {key: kind_of(store.data[key]) for key in sorted(filter(matches, store.data))}

    def command(self) -> Command:
        return Command("key_types", (), (0, self.pattern, PAGE_SIZE), scripted=True, paged=True)

    def parse(self, reply: object) -> dict[bytes, KeyType]:
        found: dict[bytes, bytes] = {}
        for page in as_list(reply):
            found.update(as_pairs(page))
        return {key: REDIS_TYPES[found[key]] for key in sorted(found) if found[key] in REDIS_TYPES}

    def merge(self, replies: Sequence[object]) -> object:
        return [page for pages in replies for page in as_list(pages)]


#: Of what is stored in one piece only with others (samples, values of sub-keys), pieces longer than
#: this are not looked at: a server would have to copy them whole to cut them. As in ``peek.lua``.
#: Pieces above this length have their SHA-1 taken, which a server can do as well (``survey.lua``).
DIGEST_ABOVE = 64

LONG = 1 << 20
_TIME_BYTES = 8


@attrs.frozen
class Count(Operation[int]):
    """How many keys the store has, in every namespace, foreign ones too."""

    idempotent: ClassVar[bool] = False
    everywhere: ClassVar[bool] = True

    def apply(self, store: Store) -> int:
        return len(store.data)

    def command(self) -> Command:
        return Command("DBSIZE")

    def parse(self, reply: object) -> int:
        return as_int(reply)

    def merge(self, replies: Sequence[object]) -> object:
        return sum(map(as_int, replies))


@attrs.frozen
class SomeKeys(Operation[list[bytes]]):
    """Some of the full keys, sorted as bytes; all of them if there are hardly more than `limit`.

    Attributes
    ----------
    limit : int
        How many keys to look at (on each node of a cluster): about a millisecond of the server's
        time for 4000.
    """

    idempotent: ClassVar[bool] = False
    everywhere: ClassVar[bool] = True

    limit: int = 20_000

    def apply(self, store: Store) -> list[bytes]:
        return sorted(islice(store.data, self.limit))

    def command(self) -> Command:
        # One page, wherever it ends.
        return Command("SCAN", (), (0, "COUNT", self.limit))

    def parse(self, reply: object) -> list[bytes]:
        return sorted(set(_page(reply)))

    def merge(self, replies: Sequence[object]) -> object:
        return [b"0", [key for reply in replies for key in _page(reply)]]


def _page(reply: object) -> list[bytes]:
    # A tuple is how fakeredis and newer clients give a page.
    _, found = reply if isinstance(reply, (list, tuple)) and len(reply) == 2 else unexpected(reply)
    return as_bytes_list(found)


@attrs.frozen
class Glimpse:
    """The beginning of what a key holds.

    Attributes
    ----------
    kind : KeyType
        What kind of key it is.
    count : int
        How many samples or sub-keys it has; 1 for an immutable.
    size : int
        Length of the value in bytes: of the latest sample's (without its time), or of `sub_key`'s.
        Where `head` is empty it may be an estimate.
    head : bytes
        The beginning of the value, as far as asked for; empty for a long one (:data:`LONG`) of a
        sample or sub-key.
    sub_key : bytes
        The beginning of one of the sub-keys, any; empty for other kinds.
    first, last : bytes or None
        Times of the first and the last sample as they are stored; None for other kinds, and if the
        samples are long.
    """

    kind: KeyType
    count: int
    size: int
    head: bytes
    sub_key: bytes = b""
    first: bytes | None = None
    last: bytes | None = None


@attrs.frozen
class Peek(Operation[Glimpse | None]):
    """The beginning of what a key holds, `None` if it does not exist.

    Attributes
    ----------
    key : bytes
        The full key.
    limit : int
        How many bytes of the value (and of a sub-key) are wanted.

    Examples
    --------
    >>> from telstate_backends import MemoryBackend, Peek, SetImmutable
    >>> backend = MemoryBackend()
    >>> backend.execute(SetImmutable(b"long", bytes(1_000_000)))
    >>> backend.execute(Peek(b"long", limit=3)).size
    1000000
    """

    key: bytes
    limit: int = 4096

    def apply(self, store: Store) -> Glimpse | None:
        stored = store.get(self.key)
        if stored is None:
            return None
        if type(stored) is Immutable:
            value = stored.value
            return Glimpse(KeyType.IMMUTABLE, 1, len(value), value[: self.limit])
        if type(stored) is Samples:
            return self._samples(stored)
        assert type(stored) is Fields
        sub_key = next(iter(stored))
        value = stored[sub_key]
        head = b"" if len(value) > LONG else value[: self.limit]
        return Glimpse(KeyType.INDEXED, len(stored), len(value), head, sub_key[: self.limit])

    def _samples(self, samples: Samples) -> Glimpse:
        first, last = samples[0], samples[-1]
        size = max(0, len(last) - _TIME_BYTES)
        if max(len(first), len(last)) > LONG:
            return Glimpse(KeyType.MUTABLE, len(samples), size, b"")
        end = _TIME_BYTES + self.limit
        head, times = last[_TIME_BYTES:end], (first[:_TIME_BYTES], last[:_TIME_BYTES])
        return Glimpse(KeyType.MUTABLE, len(samples), size, head, b"", *times)

    def command(self) -> Command:
        return Command("peek", (self.key,), (self.limit,), scripted=True)

    def parse(self, reply: object) -> Glimpse | None:
        if reply is None:
            return None
        kind, _, payload = find_kind(reply)
        count, size, head, *more = payload if len(payload) >= 3 else unexpected(reply)
        pieces = [as_bytes(piece) for piece in as_list(more)]
        if kind is KeyType.MUTABLE:
            times = pieces if len(pieces) == 2 else (None, None)
            return Glimpse(kind, as_int(count), as_int(size), as_bytes(head), b"", *times)
        return Glimpse(kind, as_int(count), as_int(size), as_bytes(head), *pieces)


#: A page ends with this many samples, or this many bytes of them: a few milliseconds of the
#: server's time.
PAGE_LENGTH = 2000
PAGE_BYTES = 1 << 18


@attrs.frozen
class SamplePage:
    """Some of the samples of a mutable key, in order.

    Attributes
    ----------
    samples : list of bytes
        Short ones, whole: timestamp and value.
    digests : list of (bytes, bytes)
        Of long ones the 8 bytes of time, and the SHA-1 of the whole sample in hexadecimal.
    next_rank : int or None
        Where the next page begins, `None` if this is the last.
    """

    samples: list[bytes]
    digests: list[tuple[bytes, bytes]]
    next_rank: int | None


@attrs.frozen
class Survey(Operation[Immutable | Indexed | SamplePage | None]):
    """All that a key holds, of a mutable one a page; `None` if it does not exist.

    Whoever reads all pages sees each sample that was there all the time; one that comes meanwhile
    may be missed, or may make another one be seen twice.

    Attributes
    ----------
    key : bytes
        The full key.
    rank : int
        The number of samples that come before the page.
    """

    key: bytes
    rank: int = 0

    def apply(self, store: Store) -> Immutable | Indexed | SamplePage | None:
        stored = store.get(self.key)
        if stored is None:
            return None
        if type(stored) is not Samples:
            contents = contents_of(self.key, stored)
            assert isinstance(contents, (Immutable, Indexed))
            return contents
        end = self.rank + PAGE_LENGTH
        return SamplePage(stored[self.rank : end], [], end if end < len(stored) else None)

    def command(self) -> Command:
        limits = (DIGEST_ABOVE, PAGE_LENGTH, PAGE_BYTES)
        return Command("survey", (self.key,), (self.rank, *limits), scripted=True)

    def parse(self, reply: object) -> Immutable | Indexed | SamplePage | None:
        if reply is None:
            return None
        kind, _, payload = find_kind(reply)
        if kind is KeyType.MUTABLE and len(payload) == 3:
            rank, samples, long = as_int(payload[0]), *map(as_bytes_list, payload[1:])
            digests = list(zip(long[::2], long[1::2], strict=True))
            return SamplePage(samples, digests, None if rank < 0 else rank)
        (body,) = payload if len(payload) == 1 else unexpected(reply)
        return Immutable(as_bytes(body)) if kind is KeyType.IMMUTABLE else Indexed(as_pairs(body))
