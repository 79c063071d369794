"""What is known of a store, in few bytes: a set of 64-bit digests of pieces of contents.

Rules: a piece is a value, a sample, or a sub-key with its value; of two different pieces with one
digest the second would be taken for known, which happens once in 10**13 among a million. Digests
hold within one process only: what is short is hashed by Python, with a seed of the process.
"""

# What is new in a store: decisions only, no I/O.
#
# A ledger hears the events of a watcher and gives changes, each once: updates as they come, and after
# a loss (of the connection, or of what a slow reader left unread) what is in the store and was not
# known. So it remembers a digest of everything that there is of the watched keys.
#
# Rules: it is told everything by :meth:`Ledger.hear`; :meth:`Ledger.work` then says, as a generator,
# what to ask of the store, and is sent the results; it can be dropped at any point and begun again, since
# an event counts as taken only when all is done. An update that comes is new, since the store
# publishes only what took effect, unless a reading after a loss has brought it already: then it is
# dropped, once. Where updates can be late (between the nodes of a cluster), one of what is known is
# dropped as well. A deletion that is published makes all of its key unknown again, and tells nothing:
# what was written since comes as updates, in order. One that is not published is noticed at the next
# reading only.

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from telstate_backends.errors import ForeignKeyError, TelstateError
from telstate_backends.events import CheckDue, Cleared, Deleted, Event, Update
from telstate_backends.operations.base import Operation
from telstate_backends.operations.inspect import DIGEST_ABOVE, KeyTypes, SamplePage, Survey
from telstate_backends.operations.read import Exists, GetRange
from telstate_backends.types import Immutable, Indexed, KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.timestamps import decode_sample, encode_timestamp
from telstate_rdb.globs import Glob

_MASK = (1 << 64) - 1


def digest(piece: bytes) -> int:
    """Give the digest of a piece."""
    if len(piece) <= DIGEST_ABOVE:
        return hash(piece) & _MASK
    # Here, so that who watches nothing need not pay for this import.
    from hashlib import sha1

    return digest_of_long(sha1(piece, usedforsecurity=False).hexdigest())


def digest_of_long(sha1: str | bytes) -> int:
    """Give the digest of a long piece whose SHA-1 is known, in hexadecimal."""
    return int(sha1[:16], 16)


def digest_of_item(sub_key: bytes, value: bytes) -> int:
    """Give the digest of a sub-key with its value."""
    return digest(b"%d\n%b%b" % (len(sub_key), sub_key, value))


def digest_of_update(update: Update) -> int:
    """Give the digest of what an update is about."""
    if update.timestamp is not None:
        return digest(encode_timestamp(update.timestamp) + update.value)
    if update.kind is KeyType.INDEXED:
        return digest_of_item(update.sub_key or b"", update.value)
    return digest(update.value)


class Known:
    """A set of digests, in 12 to 24 bytes each; one of Python's own needs about 70.

    Of each number 63 bits count, all but the lowest; in the place of that one stands whether an
    update of it is awaited.

    Examples
    --------
    >>> known = Known()
    >>> known.add(7)
    >>> 7 in known, 8 in known, len(known)
    (True, False, 1)
    >>> known.add(7, awaited=True)
    >>> known.settle(7), known.settle(7), len(known)
    (True, False, 1)
    """

    __slots__ = ("_count", "_table")

    def __init__(self) -> None:
        # Open addressing: a number stands at its remainder or in the next free place after it.
        self._table = array("Q", bytes(8 * 8))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return self._table[self._place(number)] != 0

    def add(self, number: int, awaited: bool = False) -> None:
        """Put in a number, unless it is there, and if `awaited` note that; zero is taken for two."""
        place = self._place(number)
        if self._table[place] == 0:
            self._count += 1
            if 3 * self._count > 2 * len(self._table):
                self._grow()
                place = self._place(number)
            self._table[place] = number & ~1 or 2
        self._table[place] |= awaited

    def awaits(self, number: int) -> bool:
        """Tell whether an update of this number is awaited."""
        return bool(self._table[self._place(number)] & 1)

    def settle(self, number: int) -> bool:
        """Tell whether an update of this number was awaited, which it is no longer."""
        place = self._place(number)
        awaited = bool(self._table[place] & 1)
        self._table[place] &= ~1
        return awaited

    def _place(self, number: int) -> int:
        table = self._table
        mask = len(table) - 1
        number = number & ~1 or 2
        place = (number >> 1) & mask
        while table[place] and table[place] & ~1 != number:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(8 * 2 * len(old)))
        for number in old:
            if number:
                self._table[self._place(number)] = number


Result = TypeVar("Result")
Item = TypeVar("Item")

#: What a ledger tells: what has changed, and that a check was due and has been made.
News: TypeAlias = Update | CheckDue
#: Lists of operations to execute; it is sent their results, an error in place of a failed one's.
Plan: TypeAlias = Generator[Sequence[Operation[Any]], list[Any], Result]

#: How many operations go in one batch: the server answers others between them, and a page of each
#: fits into memory.
BATCH = 20


class Ledger:
    """What is known of some keys, and what is new.

    Parameters
    ----------
    names : iterable of tuple of bytes
        For each watched name the candidate keys, in the order of the view. An update of one that an
        earlier candidate shadows does not count.
    patterns : iterable of bytes
        Globs of full keys, all of whose updates count.
    remember : bool
        Whether to remember what is known (default). A store that never loses an update does without.
    late : bool
        Whether an update may come late, when what it tells of has been read already, even before the
        beginning (default: no).
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
        #: For each full key, what comes before it in each name that it is a candidate of.
        self._earlier: dict[bytes, list[tuple[bytes, ...]]] = {}
        for candidates in names:
            for place, key in enumerate(candidates):
                self._earlier.setdefault(key, []).append(candidates[:place])
        self.keys = tuple(self._earlier)
        self._shadows = {
            key for places in self._earlier.values() for keys in places for key in keys
        }
        #: Which of the shadows exist, as far as is known.
        self._present: set[bytes] = set()
        self._remember = remember
        self._late = late
        #: Whether an update of what is known is a late one.
        self._is_wary = late
        #: For each key; awaited is what a reading has brought, since its update may still come.
        self._known: dict[bytes, Known] = {}
        self._inbox: deque[Event] = deque()
        self._news: deque[News] = deque()
        #: Whether what was there in the beginning is known.
        self.begun = False

    def hear(self, event: Event) -> None:
        """Take in what a watcher tells."""
        self._inbox.append(event)

    def pop(self) -> News | None:
        """Give what is new, one at a time; `None` if nothing is."""
        return self._news.popleft() if self._news else None

    def work(self) -> Plan[None]:
        """Deal with all that was heard."""
        while self._inbox:
            event = self._inbox[0]
            if isinstance(event, Update):
                yield from self._take(event)
            elif isinstance(event, Deleted):
                yield from self._look_after((event.key,))
            elif isinstance(event, Cleared):
                yield from self._look_after(self._present | self._known.keys(), everywhere=True)
            else:
                yield from self._read(event)
            self._inbox.popleft()

    def _take(self, update: Update) -> Plan[None]:
        counts = yield from self._counts(update.key)
        key = update.key
        if key in self._shadows:
            self._present.add(key)
        if self._remember:
            number = digest_of_update(update)
            known = self._known.setdefault(key, Known())
            if known.settle(number) or (self._is_wary and number in known):
                return
            known.add(number)
        if counts:
            self._news.append(update)

    def _look_after(self, keys: Collection[bytes], everywhere: bool = False) -> Plan[None]:
        """Forget what deleted keys held, unless it is still there.

        Redis does not say in which database a key was deleted. A cluster has but one, but there it is
        the word of one node that every key was (`everywhere`). What is there and was not known is
        told when its update comes, at its place among the others.
        """
        reading = _Remainder(self._known)
        if self._remember and (everywhere or not self._late):
            yield from reading.survey([key for key in keys if key in self._known])
        for key in keys:
            self._known.pop(key, None)
        self._known.update(reading.known)
        self._present.difference_update(keys)
        self._present |= self._shadows & reading.known.keys()
        if everywhere:
            # Whether what is left has been set anew cannot be seen, so an update of it must be
            # taken for a new one.
            self._is_wary = False

    def _counts(self, key: bytes) -> Plan[bool]:
        """Tell whether nothing shadows a key; what is thought to do so may have been deleted."""
        if self._is_open(key):
            return True
        places = self._earlier.get(key, [])
        exist = _sound((yield [Exists(earlier) for earlier in places]))
        for earlier, one_exists in zip(places, exist, strict=True):
            if not one_exists:
                self._present.difference_update(earlier)
        return self._is_open(key)

    def _is_open(self, key: bytes) -> bool:
        return any(
            self._present.isdisjoint(earlier) for earlier in self._earlier.get(key, ())
        ) or any(glob.matches(key) for glob in self._globs)

    def _read(self, reason: CheckDue) -> Plan[None]:
        """Compare the store with what is known; the first time, get to know it."""
        if not self._remember:
            yield from self._read_shadows()
            return
        reading = _Reading(self._known if self.begun else None)
        listed = _sound((yield [KeyTypes(pattern) for pattern in self.patterns]))
        keys = dict.fromkeys([*self.keys, *(key for kinds in listed for key in kinds)])
        yield from reading.survey(keys)
        yield from reading.fetch()
        # From here on nothing can go wrong: now it counts.
        self._known = reading.known
        self._present = self._shadows & reading.known.keys()
        if self.begun and reason is not CheckDue.UNREADABLE:
            self._news.append(reason)
        for number, update in sorted(reading.new, key=_order):
            self._known[update.key].add(number, awaited=True)
            if self._is_open(update.key):
                self._news.append(update)
        self._is_wary = self._late
        self.begun = True

    def _read_shadows(self) -> Plan[None]:
        shadows = sorted(self._shadows)
        exist = _sound((yield [Exists((key,)) for key in shadows]))
        self._present = {key for key, exists in zip(shadows, exist, strict=True) if exists}
        self.begun = True


class _Reading:
    """One reading of the store: what is there, and what of it was not known."""

    def __init__(self, before: dict[bytes, Known] | None) -> None:
        self._before = before
        self.known: dict[bytes, Known] = {}
        self.new: list[tuple[int, Update]] = []
        #: Long samples that are new: key and time, and their digests.
        self._wanted: dict[tuple[bytes, bytes], set[int]] = {}

    def survey(self, keys: Iterable[bytes]) -> Plan[None]:
        """Look at all that keys hold."""
        todo = deque((key, 0) for key in keys)
        while todo:
            batch = [todo.popleft() for _ in range(min(BATCH, len(todo)))]
            results = yield [Survey(key, rank) for key, rank in batch]
            for (key, _), found in zip(batch, results, strict=True):
                if found is not None and not isinstance(found, ForeignKeyError):
                    todo += [(key, rank) for rank in self._note(key, *_sound([found]))]

    def _note(self, key: bytes, found: Immutable | Indexed | SamplePage) -> Iterator[int]:
        """Take note of what a key holds; give where to look on, if anywhere."""
        if isinstance(found, Immutable):
            self._see(key, digest(found.value), Update(key, KeyType.IMMUTABLE, found.value))
        elif isinstance(found, Indexed):
            for sub_key, value in found.items.items():
                update = Update(key, KeyType.INDEXED, value, sub_key=sub_key)
                self._see(key, digest_of_item(sub_key, value), update)
        else:
            for sample in found.samples:
                number = digest(sample)
                if self._is_new(key, number):
                    self._bring(key, number, sample)
            for time, sha1 in found.digests:
                number = digest_of_long(sha1)
                if self._is_new(key, number):
                    self._wanted.setdefault((key, time), set()).add(number)
            if found.next_rank is not None:
                yield found.next_rank

    def fetch(self) -> Plan[None]:
        """Get the long samples that are new."""
        for batch in _batches(self._wanted.items(), BATCH):
            results = yield [GetRange((key,), time, _after(time)) for (key, time), _ in batch]
            for ((key, _), numbers), samples in zip(batch, results, strict=True):
                # The key may have been deleted since, and be of another kind now.
                for sample in samples if isinstance(samples, list) else ():
                    number = digest(sample)
                    if number in numbers:
                        self._bring(key, number, sample)

    def _see(self, key: bytes, number: int, update: Update) -> None:
        if self._is_new(key, number):
            self.new.append((number, update))

    def _is_new(self, key: bytes, number: int) -> bool:
        known = self.known.setdefault(key, Known())
        if self._before is None or number in known:
            known.add(number)
            return False
        before = self._before.get(key)
        is_new = before is None or number not in before
        known.add(number, awaited=before is not None and before.awaits(number))
        return is_new

    def _bring(self, key: bytes, number: int, sample: bytes) -> None:
        try:
            timestamp, value = decode_sample(sample)
        except DecodeError:
            return  # no telescope state ever wrote this
        self.new.append((number, Update(key, KeyType.MUTABLE, value, timestamp=timestamp)))


class _Remainder(_Reading):
    """A reading that takes note only of what was known before and is there still."""

    def _is_new(self, key: bytes, number: int) -> bool:
        before = None if self._before is None else self._before.get(key)
        if before is not None and number in before:
            self.known.setdefault(key, Known()).add(number)
        return False


def _order(new: tuple[int, Update]) -> tuple[float, bytes]:
    """Put what has no time first, then samples by time."""
    _, update = new
    return (-math.inf if update.timestamp is None else update.timestamp, update.key)


def _after(time: bytes) -> bytes:
    return (int.from_bytes(time, "big") + 1).to_bytes(9, "big").removeprefix(b"\0")


def _sound(results: list[Any]) -> list[Any]:
    """Give results of which none is an error."""
    for result in results:
        if isinstance(result, TelstateError):
            raise result
    return results


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
