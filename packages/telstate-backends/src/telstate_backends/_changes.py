"""What has changed in a store, each change once: decisions only, no I/O.

A `ChangeTracker` takes the events of a watcher and returns changes: updates as they arrive, and after lost
updates (with the connection, or because the reader was too slow) what the store has and the tracker did not
know. To that end it keeps a 64-bit digest of every piece of the watched keys. A piece is a value, a sample,
or a sub-key with its value. Of two pieces with the same digest the second would be taken as known, which
happens once in 10**13 among a million. Digests are valid within one process only: short pieces are hashed
by Python, whose seed differs between processes.

- An update that arrives is new, because the store publishes only what took effect, unless a scan of the
  store after a loss has already returned it: then it is dropped, once. Where updates can arrive late
  (between the nodes of a cluster), an update of a known piece is dropped as well.
- A published deletion makes all pieces of its key unknown again, and returns nothing: what was written
  since arrives as updates, in order. A deletion that is not published is noticed by the next scan only.
- :meth:`ChangeTracker.process` is a generator of operations to execute. It can be dropped at any point and
  started again, since an event is only removed from the queue when it has been processed.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import attrs

from telstate_backends.errors import ForeignKeyError, TelstateError
from telstate_backends.events import CheckDue, Cleared, Deleted, Event, Update
from telstate_backends.operations.base import Operation
from telstate_backends.operations.inspect import DIGEST_ABOVE, GetPage, KeyTypes, SamplePage
from telstate_backends.operations.read import Exists, GetRange
from telstate_backends.types import Immutable, Indexed, KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.timestamps import decode_sample, encode_timestamp
from telstate_rdb.globs import Glob

Result = TypeVar("Result")

#: What a tracker returns: an update, or that updates were lost, and those that follow make up for it.
TrackedEvent: TypeAlias = Update | CheckDue
#: Yields lists of operations to execute, and is sent their results, the errors of failed ones included.
Plan: TypeAlias = Generator[Sequence[Operation[Any]], list[Any], Result]

# How many operations go in one batch: the server serves others between batches, and a page of each
# operation fits into memory.
BATCH_SIZE = 20

#: So many digests are added to a set before duplicates are looked for.
_SLACK = 1000


def digest(piece: bytes) -> int:
    """Return the digest of a piece."""
    if len(piece) <= DIGEST_ABOVE:
        return hash(piece)
    # Imported here, because programs that watch nothing do not need it.
    from hashlib import sha1

    return digest_of_sha1(sha1(piece, usedforsecurity=False).hexdigest())


def digest_of_sha1(sha1: str | bytes) -> int:
    """Return the digest of a long piece whose SHA-1 is known, in hexadecimal."""
    return int(sha1[:16], 16) - (1 << 63)


def digest_of_item(sub_key: bytes, value: bytes) -> int:
    """Return the digest of a sub-key with its value."""
    return digest(b"%d\n%b%b" % (len(sub_key), sub_key, value))


def digest_of_update(update: Update) -> int:
    """Return the digest of the piece that an update carries."""
    if update.timestamp is not None:
        return digest(encode_timestamp(update.timestamp) + update.value)
    if update.kind is KeyType.INDEXED:
        return digest_of_item(update.sub_key or b"", update.value)
    return digest(update.value)


class DigestSet:
    """A set of digests, in 8 to 24 bytes each until one is looked up, which takes about 70."""

    __slots__ = ("_limit", "_numbers", "expected")

    def __init__(self) -> None:
        # An array may have duplicates.
        self._numbers: array[int] | set[int] = array("q")
        self._limit = _SLACK
        #: Those of pieces of which an update is still expected, sorted.
        self.expected = array("q")

    def __len__(self) -> int:
        return len(set(self._numbers))

    def __contains__(self, number: int) -> bool:
        if not isinstance(self._numbers, set):
            self._numbers = set(self._numbers)
        return number in self._numbers

    def add(self, number: int) -> None:
        """Add a digest."""
        if isinstance(self._numbers, set):
            self._numbers.add(number)
            return
        self._numbers.append(number)
        if len(self._numbers) > self._limit:
            self.pack()

    def add_new(self, numbers: Iterable[int]) -> None:
        """Add digests before any is looked up."""
        assert isinstance(self._numbers, array)
        self._numbers.extend(numbers)

    def pack(self) -> None:
        """Reduce the memory to 8 bytes for each digest, until one is looked up."""
        self._numbers = array("q", set(self._numbers))
        self._limit = 2 * len(self._numbers) + _SLACK

    def expect(self, numbers: Iterable[int]) -> None:
        """Record that updates of these pieces, which are known, are expected."""
        self.expected = array("q", sorted({*self.expected, *numbers}))

    def clear_expected(self, number: int) -> bool:
        """Expect no update of this piece any more; return whether one was expected."""
        place = bisect_left(self.expected, number)
        was_expected = place < len(self.expected) and self.expected[place] == number
        if was_expected:
            del self.expected[place]
        return was_expected


class ChangeTracker:
    """What is known of some keys, and what has changed.

    Parameters
    ----------
    names : iterable of tuple of bytes
        For each watched name the candidate keys, in the order of the view. An update of a key that an
        earlier candidate shadows does not count.
    patterns : iterable of bytes
        Globs of full keys, all of whose updates count.
    remember : bool
        Whether to keep digests (default). A store that never loses an update needs none.
    late : bool
        Whether an update may arrive after a scan of the store has returned its piece, even the first
        (default: no).
    """

    def __init__(
        self,
        names: Iterable[tuple[bytes, ...]],
        patterns: Iterable[bytes] = (),
        remember: bool = True,
        late: bool = False,
    ) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self._globs = [Glob(pattern) for pattern in self.patterns]
        #: For each full key, the candidates before it in each of its names.
        self._earlier: dict[bytes, list[tuple[bytes, ...]]] = {}
        #: The keys that shadow others if they exist, and those that do, as far as is known.
        self._shadowing: set[bytes] = set()
        self._existing: set[bytes] = set()
        for candidates in names:
            self._shadowing.update(candidates[:-1])
            for place, key in enumerate(candidates):
                self._earlier.setdefault(key, []).append(candidates[:place])
        self.keys = tuple(self._earlier)
        self._remember = remember
        self._late = late
        #: Whether to drop an update of a known piece, because it must be a late one.
        self._drop_known = late
        #: For each key; an update is expected of pieces that a scan has returned.
        self._known: dict[bytes, DigestSet] = {}
        self._inbox: deque[Event] = deque()
        self._outbox: deque[TrackedEvent] = deque()
        #: Whether the first scan is done, so that changes are returned.
        self.is_ready = False

    def put(self, event: Event) -> None:
        """Add an event of the watcher to the queue."""
        self._inbox.append(event)

    def pop(self) -> TrackedEvent | None:
        """Return the next change, or `None`."""
        return self._outbox.popleft() if self._outbox else None

    def process(self) -> Plan[None]:
        """Process all events in the queue; return a plan of what to query for that."""
        while self._inbox:
            event = self._inbox[0]
            if isinstance(event, Update):
                yield from self._process_update(event)
            elif isinstance(event, Deleted):
                yield from self._process_deletion((event.key,))
            elif isinstance(event, Cleared):
                keys = self._existing | self._known.keys()
                yield from self._process_deletion(keys, is_clear=True)
            else:
                yield from self._scan(event)
            self._inbox.popleft()

    def _process_update(self, update: Update) -> Plan[None]:
        key = update.key
        is_visible = self._is_visible(key)
        if not is_visible and key in self._earlier:
            yield from self._check_shadows(key)
            is_visible = self._is_visible(key)
        if key in self._shadowing:
            self._existing.add(key)
        if self._remember:
            number = digest_of_update(update)
            known = self._known.setdefault(key, DigestSet())
            if known.clear_expected(number) or (self._drop_known and number in known):
                return
            known.add(number)
        if is_visible:
            self._outbox.append(update)

    def _process_deletion(self, keys: Collection[bytes], is_clear: bool = False) -> Plan[None]:
        """Forget the pieces of deleted keys, except those that are still there.

        Redis does not say in which database a key was deleted. A cluster has only one database, but a
        clear there comes from one node, and not all of the keys are on it. A piece that is there but
        unknown is returned when its update arrives, in its place among the others.
        """
        scan = _RemainingScan(self._known)
        if self._remember and (is_clear or not self._late):
            yield from scan.read([key for key in keys if key in self._known])
        for key in keys:
            self._known.pop(key, None)
        self._known.update(scan.known)
        self._existing.difference_update(keys)
        self._existing |= self._shadowing & scan.known.keys()
        if is_clear:
            # A piece that is left may have been written again since, so its update must count as new.
            self._drop_known = False

    def _is_visible(self, key: bytes) -> bool:
        """Return whether a key matches a pattern, or is shadowed by no key known to exist."""
        for earlier in self._earlier.get(key, ()):
            if self._existing.isdisjoint(earlier):
                return True
        return any(glob.matches(key) for glob in self._globs)

    def _check_shadows(self, key: bytes) -> Plan[None]:
        """Check whether the keys that shadow a key still exist."""
        earlier = self._earlier[key]
        exist = _checked((yield [Exists(keys) for keys in earlier]))
        for keys, one_exists in zip(earlier, exist, strict=True):
            if not one_exists:
                self._existing.difference_update(keys)

    def _scan(self, reason: CheckDue) -> Plan[None]:
        """Compare the store with what is known; the first time, get to know it."""
        if not self._remember:
            keys = sorted(self._shadowing)
            exist = _checked((yield [Exists((key,)) for key in keys]))
            self._existing = {key for key, exists in zip(keys, exist, strict=True) if exists}
            self.is_ready = True
            return
        scan = _Scan(self._known if self.is_ready else None)
        listed = _checked((yield [KeyTypes(pattern) for pattern in self.patterns]))
        yield from scan.read(
            dict.fromkeys([*self.keys, *(key for kinds in listed for key in kinds)])
        )
        yield from scan.read_long_samples()
        # Nothing can fail from here on.
        before, self._known = self._known, scan.known
        self._existing = self._shadowing & scan.known.keys()
        if self.is_ready and reason is not CheckDue.UNREADABLE:
            self._outbox.append(reason)
        expected: dict[bytes, list[int]] = {}
        for number, update in sorted(scan.new, key=_sort_key):
            expected.setdefault(update.key, []).append(number)
            if self._is_visible(update.key):
                self._outbox.append(update)
        if self.is_ready:
            for key, known in scan.known.items():
                still = before[key].expected if key in before else ()
                known.expect([*expected.get(key, ()), *filter(known.__contains__, still)])
                if not self._late:
                    known.pack()
        self._drop_known = self._late
        self.is_ready = True


@attrs.define(eq=False)
class _Reading:
    """The pages of a key that are still to be read: the first shows how many samples one has, and then all are known.

    Samples that are added meanwhile move others to higher ranks, so pages are requested in order of rank, until
    one is the last.
    """

    key: bytes
    ranks: Iterator[int] = attrs.field(factory=lambda: iter((0,)))
    #: The number of samples in a page, and the rank after the last page, if they are known.
    size: int | None = None
    end: int = 0

    def follow(self, rank: int, requested: int | None, page: SamplePage) -> bool:
        """Plan the pages after the first, after one that ends too early, and after the last; return whether it did."""
        if page.next_rank is None or requested != self.size:
            return False
        size = max(1, page.next_rank - rank)
        if page.next_rank < self.end and size >= (requested or 0):
            return False
        self.ranks, self.size = iter(range(page.next_rank, page.count, size)), size
        self.end = page.count
        return True


class _Scan:
    """One scan of the store: the pieces that are there, and those that were not known."""

    def __init__(self, before: dict[bytes, DigestSet] | None) -> None:
        self._before = before
        self.known: dict[bytes, DigestSet] = {}
        self.new: list[tuple[int, Update]] = []
        #: The digests of long samples that are new, by key and encoded timestamp.
        self._long: dict[tuple[bytes, bytes], set[int]] = {}

    def read(self, keys: Iterable[bytes]) -> Plan[None]:
        """Read all that keys hold, long samples as digests."""
        todo = deque(map(_Reading, keys))
        while todo:
            batch: list[tuple[_Reading, int, int | None]] = []
            while todo and len(batch) < BATCH_SIZE:
                rank = next(todo[0].ranks, None)
                if rank is None:
                    todo.popleft()
                else:
                    batch.append((todo[0], rank, todo[0].size))
            results = yield [GetPage(reading.key, rank, size) for reading, rank, size in batch]
            for (reading, rank, size), found in zip(batch, results, strict=True):
                if found is None or isinstance(found, ForeignKeyError):
                    continue
                self._add_page(reading.key, *_checked([found]))
                if isinstance(found, SamplePage) and reading.follow(rank, size, found):
                    todo.append(reading)

    def _add_page(self, key: bytes, found: Immutable | Indexed | SamplePage) -> None:
        """Add what a key holds, or a page of it."""
        if isinstance(found, Immutable):
            update = Update(key, KeyType.IMMUTABLE, found.value)
            self._add_piece(digest(found.value), update)
        elif isinstance(found, Indexed):
            for sub_key, value in found.items.items():
                update = Update(key, KeyType.INDEXED, value, sub_key=sub_key)
                self._add_piece(digest_of_item(sub_key, value), update)
        elif self._before is None:
            known = self.known.setdefault(key, DigestSet())
            known.add_new(map(digest, found.samples))
            known.add_new(digest_of_sha1(sha1) for _, sha1 in found.digests)
        else:
            self._add_samples(key, found)

    def _add_samples(self, key: bytes, page: SamplePage) -> None:
        for sample in page.samples:
            number = digest(sample)
            if self._add_digest(key, number):
                self._add_sample(key, number, sample)
        for time, sha1 in page.digests:
            number = digest_of_sha1(sha1)
            if self._add_digest(key, number):
                self._long.setdefault((key, time), set()).add(number)

    def read_long_samples(self) -> Plan[None]:
        """Read the long samples that are new."""
        todo = iter(self._long.items())
        while batch := list(islice(todo, BATCH_SIZE)):
            results = yield [GetRange((key,), time, _next_time(time)) for (key, time), _ in batch]
            for ((key, _), numbers), samples in zip(batch, results, strict=True):
                # The key may have been deleted since, and be of another kind now.
                for sample in samples if isinstance(samples, Sequence) else ():
                    number = digest(sample)
                    if number in numbers:
                        self._add_sample(key, number, sample)

    def _add_piece(self, number: int, update: Update) -> None:
        if self._add_digest(update.key, number):
            self.new.append((number, update))

    def _add_digest(self, key: bytes, number: int) -> bool:
        """Add the digest of a piece; return whether the piece is new."""
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = DigestSet()
        if self._before is None or number in known:
            known.add(number)
            return False
        before = self._before.get(key)
        known.add(number)
        return before is None or number not in before

    def _add_sample(self, key: bytes, number: int, sample: bytes) -> None:
        try:
            timestamp, value = decode_sample(sample)
        except DecodeError:
            return  # no telescope state wrote this
        self.new.append((number, Update(key, KeyType.MUTABLE, value, timestamp=timestamp)))


class _RemainingScan(_Scan):
    """A scan that only adds what was known before and is still there."""

    def _add_digest(self, key: bytes, number: int) -> bool:
        before = None if self._before is None else self._before.get(key)
        if before is not None and number in before:
            self.known.setdefault(key, DigestSet()).add(number)
        return False


def _sort_key(new: tuple[int, Update]) -> tuple[float, bytes]:
    """Sort what has no time first, then samples by time."""
    _, update = new
    return (-math.inf if update.timestamp is None else update.timestamp, update.key)


def _next_time(time: bytes) -> bytes:
    return (int.from_bytes(time, "big") + 1).to_bytes(9, "big").removeprefix(b"\0")


def _checked(results: list[Any]) -> list[Any]:
    """Return results, or raise the first error among them."""
    for result in results:
        if isinstance(result, TelstateError):
            raise result
    return results
