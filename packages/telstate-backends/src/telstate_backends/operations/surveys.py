"""What a key holds, to be compared with what it held: a page at a time, long samples as digests."""

from __future__ import annotations

import attrs

from telstate_backends.commands import Command
from telstate_backends.following.known import LONG
from telstate_backends.kinds import Immutable, Indexed, KeyType
from telstate_backends.operations.base import (
    Operation,
    as_bytes,
    as_bytes_list,
    as_int,
    as_pairs,
    find_kind,
    unexpected,
)
from telstate_backends.store import Samples, Store, contents_of

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
        limits = (LONG, PAGE_LENGTH, PAGE_BYTES)
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
