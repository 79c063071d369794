"""Looking at a store: which keys match, how many there are, how each begins, and its contents by pages.

A listing is not atomic: a key that exists all the time is listed once, one that is created or deleted
meanwhile may be listed or not. The cost of the others is bounded, however many and long the keys are.
``Count``, ``ServerVersion`` and ``SomeKeys`` are not retried after a failure, because they are for people, who should learn
at once that the store cannot be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import ClassVar

import attrs

from telstate_backends.operations.base import (
    Command,
    KeyOperation,
    Operation,
    as_bytes,
    as_bytes_list,
    as_int,
    as_list,
    as_pairs,
    find_kind,
    joined,
    sum_of,
    unexpected,
)
from telstate_backends.samples import Samples
from telstate_backends.store import Fields, Packed, Store, contents_of, kind_of
from telstate_backends.types import REDIS_TYPES, Immutable, Indexed, KeyType
from telstate_rdb.globs import Glob

#: Keys per page of a listing: a few milliseconds of the server's time.
KEYS_PER_PAGE = 20_000
#: A page of samples ends after so many, or so many bytes: a few milliseconds of the server's time.
SAMPLES_PER_PAGE = 2000
BYTES_PER_PAGE = 1 << 18
#: Samples above this length are returned as SHA-1 digests, which the server computes (``get_page.lua``).
DIGEST_ABOVE = 64
#: Samples and values of sub-keys above this length are not looked at, since a server would have to copy them
#: whole to return their beginning. The same number is in ``peek.lua``.
LONG = 8 << 20
_TIME_BYTES = 8


@attrs.frozen
class Keys(Operation[list[bytes]]):
    """The full keys that match, sorted as bytes.

    Attributes
    ----------
    pattern : bytes
        A Redis glob pattern (default: all keys).
    """

    for_all_nodes: ClassVar[bool] = True

    pattern: bytes = b"*"

    def apply(self, store: Store) -> list[bytes]:
        if self.pattern == b"*":
            return sorted(store.data)
        return sorted(filter(Glob(self.pattern).fullmatch, store.data))

    def command(self) -> Command:
        # Scripts are slow to return many keys.
        whole = None
        if self.pattern != b"*":
            whole = Command("keys", (), (self.pattern, KEYS_PER_PAGE), is_script=True)
        arguments = ("MATCH", self.pattern, "COUNT", KEYS_PER_PAGE)
        return Command("SCAN", (), arguments, pages=((),), whole=whole)

    def parse(self, reply: object) -> list[bytes]:
        (pages,) = as_list(reply)
        return sorted({key for page in as_list(pages) for key in as_bytes_list(page)})

    def merge(self, replies: Sequence[object]) -> object:
        return _merge_pages(replies)


@attrs.frozen
class KeyTypes(Operation[dict[bytes, KeyType]]):
    """The full keys that match, sorted as bytes, with their kinds, without foreign keys.

    Attributes
    ----------
    pattern : bytes
        A Redis glob pattern (default: all keys).
    """

    for_all_nodes: ClassVar[bool] = True

    pattern: bytes = b"*"

    def apply(self, store: Store) -> dict[bytes, KeyType]:
        matches = Glob(self.pattern).fullmatch
        return {key: kind_of(store.data[key]) for key in sorted(filter(matches, store.data))}

    def command(self) -> Command:
        # Not a script: that would take longer, and in a cluster it may not touch keys that it does not declare.
        arguments = ("MATCH", self.pattern, "COUNT", KEYS_PER_PAGE)
        return Command("SCAN", (), arguments, pages=tuple(("TYPE", name) for name in REDIS_TYPES))

    def parse(self, reply: object) -> dict[bytes, KeyType]:
        found: dict[bytes, KeyType] = {}
        for kind, pages in zip(REDIS_TYPES.values(), as_list(reply), strict=True):
            for page in as_list(pages):
                found.update(dict.fromkeys(as_bytes_list(page), kind))
        return {key: found[key] for key in sorted(found)}

    def merge(self, replies: Sequence[object]) -> object:
        return _merge_pages(replies)


def _merge_pages(replies: Sequence[object]) -> list[list[object]]:
    """Join the pages of several nodes, those of each listing by themselves."""
    return [joined(pages) for pages in zip(*map(as_list, replies), strict=True)]


@attrs.frozen
class Count(Operation[int]):
    """How many keys the store has, in every namespace, including foreign ones."""

    is_idempotent: ClassVar[bool] = False
    for_all_nodes: ClassVar[bool] = True

    def apply(self, store: Store) -> int:
        return len(store.data)

    def command(self) -> Command:
        return Command("DBSIZE")

    def parse(self, reply: object) -> int:
        return as_int(reply)

    def merge(self, replies: Sequence[object]) -> object:
        return sum_of(replies)


@attrs.frozen
class ServerVersion(Operation[str | None]):
    """The name and version of the server, such as "Redis 7.0.15"; None if it has none, or does not say so.

    Examples
    --------
    >>> from telstate_backends import MemoryBackend, ServerVersion
    >>> MemoryBackend().execute(ServerVersion()) is None
    True
    """

    is_idempotent: ClassVar[bool] = False
    for_all_nodes: ClassVar[bool] = True

    def apply(self, store: Store) -> str | None:
        return None

    def command(self) -> Command:
        return Command("INFO", (), ("server",))

    def parse(self, reply: object) -> str | None:
        facts = dict(line.split(b":", 1) for line in as_bytes(reply).splitlines() if b":" in line)
        for name, field in (("Valkey", b"valkey_version"), ("Redis", b"redis_version")):
            if field in facts:
                return f"{name} {facts[field].decode(errors='replace')}"
        return None

    def merge(self, replies: Sequence[object]) -> object:
        return replies[0]


@attrs.frozen
class SomeKeys(Operation[list[bytes]]):
    """Some of the full keys, sorted as bytes; all of them if there are hardly more than `limit`.

    Attributes
    ----------
    limit : int
        How many keys to look at (on each node of a cluster), default 20,000; 4000 take about a
        millisecond of the server's time.
    """

    is_idempotent: ClassVar[bool] = False
    for_all_nodes: ClassVar[bool] = True

    limit: int = 20_000

    def apply(self, store: Store) -> list[bytes]:
        return sorted(islice(store.data, self.limit))

    def command(self) -> Command:
        # Not paged: the first page is enough, wherever it ends.
        return Command("SCAN", (), (0, "COUNT", self.limit))

    def parse(self, reply: object) -> list[bytes]:
        return sorted(set(_keys_of_page(reply)))

    def merge(self, replies: Sequence[object]) -> object:
        return [b"0", [key for reply in replies for key in _keys_of_page(reply)]]


def _keys_of_page(reply: object) -> list[bytes]:
    # fakeredis and recent clients return a page as a tuple.
    _, found = reply if isinstance(reply, (list, tuple)) and len(reply) == 2 else unexpected(reply)
    return as_bytes_list(found)


@attrs.frozen
class KeyPreview:
    """The beginning of the contents of a key.

    Attributes
    ----------
    kind : KeyType
        The kind of key.
    count : int
        Number of samples or sub-keys; 1 for an immutable key.
    size : int
        Length in bytes of the value: of the latest sample (without its time), or of `sub_key`. An
        estimate is possible where `head` is empty.
    head : bytes
        The beginning of the value, as far as requested; empty for a sample or sub-key that is very long
        (8 MiB).
    sub_key : bytes
        The beginning of one of the sub-keys; empty for other kinds.
    first, last : bytes or None
        Encoded times of the first and the last sample; `None` for other kinds, and if the samples are
        very long.
    total_size : int or None
        Length in bytes of the value, or of all samples, or of all sub-keys and values; what is still packed
        counts as in its file. None from a server, which does not know. It is not compared.
    """

    kind: KeyType
    count: int
    size: int
    head: bytes
    sub_key: bytes = b""
    first: bytes | None = None
    last: bytes | None = None
    total_size: int | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Peek(KeyOperation[KeyPreview | None]):
    """The beginning of the contents of a key, `None` if it does not exist.

    Attributes
    ----------
    key : bytes
        The full key.
    limit : int
        How many bytes of the value (and of a sub-key) to return, default 4096.

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

    def apply(self, store: Store) -> KeyPreview | None:
        # What is packed stays so: to look at all keys of a snapshot should not take more memory than loading it.
        stored, total_size = store.data.get(self.key), None
        if type(stored) is Packed:
            if (ends := stored.find_ends()) is not None:
                return self._preview_samples(stored.count, *ends, stored.size)
            if (beginning := stored.read_head(self.limit)) is not None:
                head, size = beginning
                return KeyPreview(KeyType.IMMUTABLE, 1, size, head, total_size=size)
            total_size = stored.size
            stored = stored.unpack()
        if stored is None:
            return None
        if type(stored) is Immutable:
            value, size = stored.value, len(stored.value)
            return KeyPreview(
                KeyType.IMMUTABLE, 1, size, value[: self.limit], total_size=total_size or size
            )
        if type(stored) is Samples:
            total_size = total_size or stored.size
            return self._preview_samples(len(stored), stored[0], stored.latest, total_size)
        assert type(stored) is Fields
        total_size = total_size or sum(map(len, chain(stored.keys(), stored.values())))
        sub_key = next(iter(stored))
        value, some = stored[sub_key], sub_key[: self.limit]
        head = b"" if len(value) > LONG else value[: self.limit]
        return KeyPreview(
            KeyType.INDEXED, len(stored), len(value), head, some, total_size=total_size
        )

    def _preview_samples(
        self, count: int, first: bytes, last: bytes, total_size: int
    ) -> KeyPreview:
        size = max(0, len(last) - _TIME_BYTES)
        if max(len(first), len(last)) > LONG:
            return KeyPreview(KeyType.MUTABLE, count, size, b"", total_size=total_size)
        end = _TIME_BYTES + self.limit
        head, times = last[_TIME_BYTES:end], (first[:_TIME_BYTES], last[:_TIME_BYTES])
        return KeyPreview(KeyType.MUTABLE, count, size, head, b"", *times, total_size)

    def command(self) -> Command:
        return Command("peek", (self.key,), (self.limit,), is_script=True)

    def parse(self, reply: object) -> KeyPreview | None:
        if reply is None:
            return None
        kind, _, payload = find_kind(reply)
        count, size, head, *more = payload if len(payload) >= 3 else unexpected(reply)
        pieces = [as_bytes(piece) for piece in more]
        if kind is KeyType.MUTABLE:
            times = pieces if len(pieces) == 2 else (None, None)
            return KeyPreview(kind, as_int(count), as_int(size), as_bytes(head), b"", *times)
        return KeyPreview(kind, as_int(count), as_int(size), as_bytes(head), b"".join(pieces))


@attrs.frozen
class SamplePage:
    """Some of the samples of a mutable key, in order.

    Attributes
    ----------
    samples : list of bytes
        Short ones, whole: timestamp and value.
    digests : list of (bytes, bytes)
        For each long one the 8 bytes of its time, and the hexadecimal SHA-1 digest of the whole sample.
    next_rank : int or None
        Where the next page begins, `None` if this is the last.
    count : int
        The number of all samples of the key.
    """

    samples: list[bytes]
    digests: list[tuple[bytes, bytes]]
    next_rank: int | None
    count: int


@attrs.frozen
class GetPage(KeyOperation[Immutable | Indexed | SamplePage | None]):
    """All that a key holds, in pages if it is mutable; `None` if it does not exist.

    Reading all pages returns each sample that exists all the time. One that is added meanwhile may be
    missing, or may cause another one to be returned twice.

    Attributes
    ----------
    key : bytes
        The full key.
    rank : int
        The number of samples before the page (default 0).
    size : int, optional
        The number of samples in the page, about which it has if they are as long as those in a page without it
        (default: as many as take the server a few milliseconds).
    """

    key: bytes
    rank: int = 0
    size: int | None = None

    def apply(self, store: Store) -> Immutable | Indexed | SamplePage | None:
        stored = store.read(self.key)
        if stored is None:
            return None
        if type(stored) is not Samples:
            contents = contents_of(self.key, stored)
            assert isinstance(contents, (Immutable, Indexed))
            return contents
        end, count = self.rank + (self.size or SAMPLES_PER_PAGE), len(stored)
        return SamplePage(stored[self.rank : end], [], end if end < count else None, count)

    def command(self) -> Command:
        # Pages of one size can be requested together, as long as they do not become many times longer.
        limits = (DIGEST_ABOVE, SAMPLES_PER_PAGE, BYTES_PER_PAGE)
        if self.size is not None:
            limits = (DIGEST_ABOVE, self.size, 4 * BYTES_PER_PAGE)
        return Command("get_page", (self.key,), (self.rank, *limits), is_script=True)

    def parse(self, reply: object) -> Immutable | Indexed | SamplePage | None:
        if reply is None:
            return None
        kind, _, payload = find_kind(reply)
        if kind is KeyType.MUTABLE and len(payload) == 4:
            (rank, count), (samples, long) = map(as_int, payload[:2]), map(
                as_bytes_list, payload[2:]
            )
            digests = list(zip(long[::2], long[1::2], strict=True))
            return SamplePage(samples, digests, None if rank < 0 else rank, count)
        (body,) = payload if len(payload) == 1 else unexpected(reply)
        return Immutable(as_bytes(body)) if kind is KeyType.IMMUTABLE else Indexed(as_pairs(body))
