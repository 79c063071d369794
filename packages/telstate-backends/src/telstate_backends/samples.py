"""The samples of a mutable key: a sorted sequence without duplicates, in blocks of some dozens.

A block is a pair of its first sample and all of them: joined in one `bytes` if they are short and of one
size, which takes a third of the memory, else a list. The last block is a list, so that later samples are
appended quickly. All others are replaced, not changed, and each change is a single assignment, so that an
interrupt leaves the samples as they were before it or after it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import eq
from typing import Any, TypeAlias, final, overload

from telstate_codec import JoinedSamples

# A block of twice as many samples is divided.
_LENGTH = 32
# Longer samples are not joined, since that would save little.
_MAX_SIZE = 128
# Among more than so many times as many later samples, inserting samples one by one is faster than sorting.
_FEW = 100

_Block: TypeAlias = tuple[bytes, Any]  # the second is bytes or list[bytes]
_Place: TypeAlias = tuple[int, int]  # of a block, and of a sample in it


@final
class Samples(Sequence[bytes]):
    """The samples of one mutable key: timestamp and value each, sorted, no two equal.

    Parameters
    ----------
    members : iterable of bytes
        The samples, sorted and without duplicates (default: none).
    """

    __slots__ = ("_blocks", "_starts")

    def __init__(self, members: Iterable[bytes] = ()) -> None:
        self._blocks = _divide(list(members))
        # How many samples there are before each of the first blocks, as far as that was needed.
        self._starts = [0]

    @classmethod
    def in_one_block(cls, members: list[bytes]) -> Samples:
        """Return samples that are read once, so that dividing and joining them would not pay.

        Parameters
        ----------
        members : list of bytes
            Packed samples, sorted and without duplicates. The list is not copied.

        Examples
        --------
        >>> list(Samples.in_one_block([b"\\0" * 8 + b"\\xff\\x01"]))
        [b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xff\\x01']
        """
        new = cls()
        new._blocks = [(members[0], members)] if members else []
        return new

    def copy(self) -> Samples:
        """Return samples that later changes of these do not change."""
        new = Samples()
        new._blocks = [(first, members[:]) for first, members in self._blocks]
        return new

    def __repr__(self) -> str:
        return f"Samples({list(self)!r})"

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Samples | list) else NotImplemented

    def __len__(self) -> int:
        return self._known_starts()[-1] + len(self._blocks[-1][1]) if self._blocks else 0

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(_listed, self._blocks))

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        ranks = range(len(self))[index]
        if isinstance(ranks, int):
            block, place = self._place_of(ranks)
            return _listed(self._blocks[block])[place]
        if not ranks:
            return []
        if ranks.step != 1:
            return list(self)[index]
        return self._listed_between(self._place_of(ranks.start), self._place_of(ranks.stop))

    @property
    def latest(self) -> bytes:
        """The last of one or more samples."""
        latest: bytes = self._blocks[-1][1][-1]
        return latest

    @property
    def size(self) -> int:
        """The sum of the lengths of all samples."""
        return sum(
            len(members) if type(members) is bytes else sum(map(len, members))
            for _, members in self._blocks
        )

    def find_range(self, start: bytes, end: bytes, include_previous: bool) -> Sequence[bytes]:
        """Return the samples from `start` to before `end`.

        With `include_previous`, the last one before `start` comes first, if that is before `end`.
        """
        first, last = self._blocks[-1]
        if first < start:  # as most ranges are
            place = bisect_left(last, start)
            stop = place if end == start else bisect_left(last, end)
            found: list[bytes] = last[place - include_previous : stop]
            return found
        begin = self._find(start)
        finish = begin if end == start else self._find(end)
        if include_previous:
            block, place = begin
            if place:
                begin = block, place - 1
            elif block:
                begin = block - 1, _count(self._blocks[block - 1]) - 1
        return self._between(begin, finish)

    def insert_sample(self, member: bytes) -> bool:
        """Insert a sample into one or more others, by its member of the sorted set; return whether it is new."""
        blocks = self._blocks
        block, members = len(blocks) - 1, blocks[-1][1]
        if members[-1] < member:
            members.append(member)
        else:
            block = self._find_block(member)
            members = _listed(blocks[block])
            place = bisect_left(members, member)
            if members[place : place + 1] == [member]:
                return False
            del self._starts[block + 1 :]
            members.insert(place, member)
            blocks[block] = members[0], members
        if len(members) >= 2 * _LENGTH:
            blocks[block : block + 1] = _divide(members, block == len(blocks) - 1)
        return True

    def insert_samples(self, members: Iterable[bytes]) -> None:
        """Insert one or more `members`: one by one if there are few, else by sorting."""
        new = sorted(members)
        blocks = self._blocks
        block, place = self._find(new[0])
        if len(self) - self._known_starts()[block] - place > _FEW * len(new):
            for member in new:
                self.insert_sample(member)
            return
        lists = list(map(_listed, blocks[block:]))
        kept, lists[0] = lists[0][:place], lists[0][place:]
        merged = sort_samples(chain(*lists, new))
        del self._starts[block + 1 :]
        blocks[block:] = _divide(kept + merged)

    def _find_block(self, member: bytes) -> int:
        """Return the place of the last block that does not begin after a member, or of the first block."""
        # A pair is above a single item that is equal to its first.
        block = bisect_left(self._blocks, (member + b"\0",)) - 1
        return block if block > 0 else 0

    def _find(self, member: bytes) -> _Place:
        """Return the place of the first sample that is not before `member`, perhaps as the end of a block."""
        block = self._find_block(member)
        return block, bisect_left(_listed(self._blocks[block]), member)

    def _between(self, start: _Place, stop: _Place) -> Sequence[bytes]:
        """Return the samples between two places, joined if they are short and of one size, unless they are few."""
        (block, place), (last, end) = start, stop
        if start >= stop:
            return []
        first, members = self._blocks[block]
        size = len(first)
        if block == last and type(members) is bytes:
            return JoinedSamples(members[place * size : end * size], size)
        if block == last:
            found: list[bytes] = members[place:end]
            return found
        parts = []
        for one in self._blocks[block : last + 1]:
            part = _joined(one, size)
            if part is None:
                return self._listed_between(start, stop)
            parts.append(part)
        return JoinedSamples(b"".join(_trim(parts, place * size, end * size)), size)

    def _listed_between(self, start: _Place, stop: _Place) -> list[bytes]:
        (block, place), (last, end) = start, stop
        lists = list(map(_listed, self._blocks[block : last + 1]))
        return list(chain.from_iterable(_trim(lists, place, end)))

    def _known_starts(self) -> list[int]:
        """Return how many samples there are before each block."""
        starts = self._starts
        for block in self._blocks[len(starts) - 1 : -1]:
            starts.append(starts[-1] + _count(block))
        return starts

    def _place_of(self, rank: int) -> _Place:
        starts = self._known_starts()
        block = bisect_right(starts, rank) - 1
        return block, rank - starts[block]


def sort_samples(members: Iterable[bytes]) -> list[bytes]:
    """Return samples in order, and without duplicates."""
    ordered = sorted(members)
    has_duplicates = any(map(eq, ordered, islice(ordered, 1, None)))
    return list(dict.fromkeys(ordered)) if has_duplicates else ordered


def _divide(members: list[bytes], is_end: bool = True) -> list[_Block]:
    """Divide samples into blocks, of which the last is a list if it is the end."""
    if not members:
        return []
    if not is_end:
        return _joined_blocks(members)
    count = max(0, len(members) // _LENGTH - 1) * _LENGTH
    return [*_joined_blocks(members[:count]), (members[count], members[count:])]


def _joined_blocks(members: list[bytes]) -> list[_Block]:
    """Divide samples into blocks; those of short samples of one size are joined."""
    joined = JoinedSamples.join(members) if members and len(members[0]) <= _MAX_SIZE else None
    if joined is not None:
        raw, size = joined.joined, joined.size
        step = _LENGTH * size
        return [(raw[at : at + size], raw[at : at + step]) for at in range(0, len(raw), step)]
    if len(members) <= _LENGTH:
        return [(members[0], members)] if members else []
    parts = (members[at : at + _LENGTH] for at in range(0, len(members), _LENGTH))
    return list(chain.from_iterable(map(_joined_blocks, parts)))


def _joined(block: _Block, size: int) -> bytes | None:
    """Return the samples of a block in one `bytes`, or None if they are long, or not all of this size."""
    first, members = block
    if type(members) is bytes:
        return members if len(first) == size else None
    return b"".join(members) if size <= _MAX_SIZE and set(map(len, members)) == {size} else None


def _listed(block: _Block) -> list[bytes]:
    first, members = block
    if type(members) is bytes:
        size = len(first)
        return list(_layout(size, len(members) // size).unpack(members))
    listed: list[bytes] = members
    return listed


@lru_cache(1024)  # which takes less time than to make the format
def _layout(size: int, count: int) -> struct.Struct:
    return struct.Struct(f"{size}s" * count)


def _count(block: _Block) -> int:
    first, members = block
    return len(members) // len(first) if type(members) is bytes else len(members)


def _trim(parts: list[Any], start: int, stop: int) -> list[Any]:
    """Cut the last of the parts at `stop`, and the first at `start`."""
    parts[-1] = parts[-1][:stop]
    parts[0] = parts[0][start:]
    return parts
