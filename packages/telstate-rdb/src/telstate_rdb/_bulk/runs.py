"""The scanner of tables: where the strings of many items are, without a call for each of them.

A table is a count and so many items; each item is one string or two, and perhaps a few bytes after
them (see `Layout`). Items that all have the same layout, as the samples of a sensor have, form a run,
which is found by comparing every n-th byte and taken apart by one `struct`. Other items are scanned
from length to length, a block at a time. Items with a very long string, and those that are not
completely in the buffer, are left to the caller, who reads them from the source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import chain
from struct import Struct
from typing import Any

import attrs

from telstate_rdb._source import Source
from telstate_rdb.constants import STRING_INT8, STRING_INT32, STRING_LZF
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import decompress_quickly

MIN_RUN = 8
"""Shorter runs are not worth it."""

BLOCK_ITEMS = 256
"""How many items are scanned one by one before the next attempt to find a run."""

_FIRST_WINDOW = (
    512  # items compared at first; after each run that fills the window, 8 times as many
)
_MAX_WINDOW = 1 << 16
_PREFIX = 8  # the bytes of strings that are compared at once, as one number


@attrs.frozen
class Layout:
    """What an item of a table consists of."""

    strings: int  # one or two
    tail: int = 0  # the number of bytes after them
    has_text_score: bool = False  # the second "string" is a score; infinity and NaN are unusual

    tails: tuple[int, ...] = attrs.field(init=False)  # the number of bytes after each string

    @tails.default
    def _make_tails(self) -> tuple[int, ...]:
        return (0, self.tail)[2 - self.strings :]


STRINGS = Layout(1)
PAIRS = Layout(2)
SCORED = Layout(1, tail=8)
EXPIRING_PAIRS = Layout(2, tail=8)
TEXT_SCORED = Layout(2, has_text_score=True)


@attrs.define  # cheaper to make than a frozen class
class Run:
    """Items of one layout in a row: `bounds` are the start and stop of each string of the first."""

    buffer: bytes
    position: int
    count: int
    stride: int
    bounds: list[int]

    def column(self, place: int) -> list[bytes]:
        """Return the first or second string of every item."""
        start, stop = self.bounds[2 * place : 2 * place + 2]
        before = start - self.position
        parts = (before, stop - start, self.stride - before - (stop - start))
        strings: list[bytes] = []
        view = memoryview(self.buffer)
        position, count = self.position, self.count
        for size, layout in _STRUCTS.items():
            if count >= size:
                blocks, count = divmod(count, size)
                end = position + blocks * size * self.stride
                for group in layout(parts).iter_unpack(view[position:end]):
                    strings += group
                position = end
        return strings

    def ends(self, place: int) -> tuple[bytes, bytes]:
        """Return the smallest and the largest of the first or second strings, without making all of them."""
        start, stop = self.bounds[2 * place : 2 * place + 2]
        if stop - start < _PREFIX:
            strings = self.column(place)
            return min(strings), max(strings)
        prefixes = bytearray(_PREFIX * self.count)
        last = self.position + (self.count - 1) * self.stride
        for i in range(_PREFIX):
            at = _PREFIX - 1 - i if sys.byteorder == "little" else i
            column = slice(start + i, last + start - self.position + i + 1, self.stride)
            prefixes[at::_PREFIX] = self.buffer[column]
        numbers = memoryview(prefixes).cast("Q").tolist()
        return self._pick(numbers, start, stop, min), self._pick(numbers, start, stop, max)

    def _pick(
        self, numbers: list[int], start: int, stop: int, choose: Callable[[Iterable[Any]], Any]
    ) -> bytes:
        """Return the smallest or largest string, by the numbers that their prefixes are."""
        number = choose(numbers)
        at = -1
        strings = []
        for _ in range(numbers.count(number)):
            at = numbers.index(number, at + 1)
            strings.append(self.buffer[start + at * self.stride : stop + at * self.stride])
        found: bytes = choose(strings)
        return found

    def score(self) -> bytes:
        """Return the one score of all items as text."""
        return self.buffer[slice(*self.bounds[2:])]

    def tails(self) -> bytes:
        """Return the bytes after the strings of every item, one after the other."""
        start = self.bounds[-1]
        size = self.position + self.stride - start
        stop = start + (self.count - 1) * self.stride + size
        columns = [self.buffer[start + i : stop : self.stride] for i in range(size)]
        if all(column == column[:1] * self.count for column in columns):
            return self.buffer[start : start + size] * self.count
        tails = bytearray(size * self.count)
        for i, column in enumerate(columns):
            tails[i::size] = column
        return bytes(tails)


@attrs.define
class Block:
    """Items scanned one by one: the start and stop of each string.

    The start of an integer or a compressed string is that of what follows its first byte, and negative.
    """

    buffer: bytes
    count: int
    bounds: list[int]
    tail: int  # the number of bytes after the strings of an item
    base: int  # the offset of the buffer in the file

    def column(self, place: int) -> list[bytes]:
        """Return the first or second string of every item."""
        buffer = self.buffer
        step = len(self.bounds) // self.count
        starts, stops = self.bounds[2 * place :: step], self.bounds[2 * place + 1 :: step]
        return [
            buffer[start:stop] if start >= 0 else self._unusual_string(-start, stop)
            for start, stop in zip(starts, stops)
        ]

    def _unusual_string(self, start: int, stop: int) -> bytes:
        """Return the text of an integer, or a decompressed string."""
        buffer = self.buffer
        if buffer[start - 1] != STRING_LZF:
            return b"%d" % int.from_bytes(buffer[start:stop], "little", signed=True)
        start += 1 if buffer[start] < 64 else 2
        size = buffer[start]
        start += 1
        if size >= 64:
            size = (size & 63) << 8 | buffer[start]
            start += 1
        try:
            return decompress_quickly(buffer[start:stop], size)
        except ValueError as error:
            raise RdbParseError(str(error), offset=self.base + start) from None

    def ends(self, place: int) -> tuple[bytes, bytes]:
        """Return the smallest and the largest of the first or second strings."""
        strings = self.column(place)
        return min(strings), max(strings)

    def tails(self) -> bytes:
        """Return the bytes after the strings of every item, one after the other."""
        buffer, size = self.buffer, self.tail
        step = len(self.bounds) // self.count
        return b"".join([buffer[stop : stop + size] for stop in self.bounds[step - 1 :: step]])


class Ends(Block):
    """Items of one string, scanned one by one: `bounds` are where they end."""

    def tails(self) -> bytes:
        """Return the bytes after the string of every item, one after the other."""
        buffer, size = self.buffer, self.tail
        return b"".join([buffer[end - size : end] for end in self.bounds])


def scan(
    source: Source, count: int, layout: Layout, *, ends_only: bool = False
) -> Iterator[Run | Block | None]:
    """Scan `count` items, and leave the source after each piece of the table that is returned.

    None stands for one item that the caller must read from the source before it goes on. With
    `ends_only`, for items of one string, blocks know only where items end, which is twice as fast.
    """
    window = _FIRST_WINDOW
    block: type[Block]
    if ends_only:
        scan_items, width, tail, block = _scan_ends, 1, 0, Ends
    else:
        scan_items, width, tail, block = _scan_items, 2 * layout.strings, layout.tail, Block
    while count:
        buffer = source.buffer
        start = source.position
        bounds = scan_items(buffer, start, 1, layout)
        if not bounds:
            yield None
            count -= 1
            continue
        stride = bounds[-1] + tail - start
        limit = min(count, window, (len(buffer) - start) // stride)
        found = 0
        first = buffer[start]
        if limit >= MIN_RUN and first < 128 and buffer[start + (MIN_RUN - 1) * stride] == first:
            if ends_only:
                bounds = [start + (1 if first < 64 else 2), bounds[0] - layout.tail]
            found = _count_equal(buffer, start, stride, limit, bounds, layout.has_text_score)
        if found >= MIN_RUN:
            window = min(window * 8, _MAX_WINDOW) if found == limit else _FIRST_WINDOW
            source.position = start + found * stride
            yield Run(buffer, start, found, stride, bounds)
        else:
            window = _FIRST_WINDOW
            bounds = scan_items(buffer, start, min(count, BLOCK_ITEMS), layout)
            found = len(bounds) // width
            source.position = bounds[-1] + tail
            yield block(buffer, found, bounds, layout.tail, source.base)
        count -= found


def _scan_ends(buffer: bytes, position: int, count: int, layout: Layout) -> list[int]:
    """Return where up to `count` items of one string end, up to an unusual one."""
    ends: list[int] = []
    note = ends.append
    short = 1 + layout.tail
    long = 2 + layout.tail
    try:
        for _ in range(count):
            size = buffer[position]
            if size < 64:
                position += size + short
            elif size < 128:
                position += ((size & 63) << 8 | buffer[position + 1]) + long
            elif STRING_INT8 <= size <= STRING_INT32:
                position += (1 << (size & 3)) + short
            else:
                break
            note(position)
    except IndexError:
        pass  # the buffer ends here
    if position > len(buffer):  # within the last item
        del ends[-1:]
    return ends


def _scan_items(buffer: bytes, position: int, count: int, layout: Layout) -> list[int]:
    """Return where the strings of up to `count` items start and stop, up to an unusual item."""
    bounds: list[int] = []
    note = bounds.append
    try:
        for tail in layout.tails * count:
            size = buffer[position]
            if size < 64:
                start = position + 1
                note(start)
            elif size < 128:
                start = position + 2
                size = (size & 63) << 8 | buffer[position + 1]
                note(start)
            elif STRING_INT8 <= size <= STRING_INT32:
                start = position + 1
                size = 1 << (size & 3)
                note(-start)
            elif size == STRING_LZF:
                start = position + 2
                size = buffer[position + 1]
                if size >= 128:
                    break
                if size >= 64:
                    size = (size & 63) << 8 | buffer[start]
                    start += 1
                full_size = buffer[start]
                if full_size >= 128:
                    break
                start += 1 if full_size < 64 else 2
                note(-position - 1)
            else:
                break
            stop = start + size
            note(stop)
            position = stop + tail
    except IndexError:
        pass  # the buffer ends here
    if position > len(buffer):  # within the last string, or the bytes after it
        del bounds[-2:]
    width = 2 * layout.strings
    del bounds[len(bounds) // width * width :]
    if layout.has_text_score:
        for place in range(2, len(bounds), 4):
            if bounds[place] != bounds[place - 1] + 1:  # the first byte is not the length of a text
                del bounds[place - 2 :]
                break
    return bounds


def _count_equal(
    buffer: bytes, position: int, stride: int, limit: int, bounds: list[int], compares_last: bool
) -> int:
    """Count the items whose lengths (and last string, if asked for) are those of the first."""
    if min(bounds) < 0:
        return 0
    ends = [position, *bounds[1:-2:2]]
    offsets = [*chain.from_iterable(map(range, ends, bounds[::2]))]
    if compares_last:
        offsets += range(*bounds[-2:])
    for offset in offsets:
        column = buffer[offset : position + limit * stride : stride]
        if column != column[:1] * limit:  # the quickest comparison there is
            limit = len(column) - len(column.lstrip(column[:1]))
        if limit < MIN_RUN:
            break
    return limit


def _make_struct(parts: tuple[int, int, int], count: int) -> Struct:
    """Make what takes one string out of each of `count` items: bytes before, in and after it."""
    before, size, after = parts
    return Struct("<" + f"{before}x{size}s{after}x" * count)


# By how many items each takes apart; the larger ones need much memory, so few of them are kept.
_STRUCTS = {
    count: lru_cache(kept)(partial(_make_struct, count=count))
    for count, kept in ((1024, 8), (64, 64), (1, 512))
}
