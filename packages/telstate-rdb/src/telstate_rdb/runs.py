"""Runs of things of one size in the buffer: found in bulk, and taken apart by `struct`.

A sensor's samples, and much else that programs store, have strings of one length one after the
other. Where the byte of length of the first string is repeated at equal distances, everything
between is known: one slice with a step finds how far that holds, and one `struct` takes it apart,
many items at a time. This is five times as fast as going from string to string.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from struct import Struct

MIN_RUN = 8
"""Shorter runs are not worth it."""

FIRST_WINDOW = 64
"""How many items are looked at first; after each run that fills the window, more."""

MAX_WINDOW = 1 << 16

_BLOCK = 64  # items that one struct takes apart


def run_length(
    buffer: bytes, position: int, count: int, stride: int, offsets: tuple[int, ...]
) -> int:
    """Count how many items have the same bytes as the first one at some offsets in each.

    Parameters
    ----------
    buffer
        The bytes; items beyond its end are not counted.
    position
        The start of the first item.
    count
        How many items to look at, at the most.
    stride
        The size of an item.
    offsets
        The offsets in an item to compare.
    """
    count = min(count, (len(buffer) - position) // stride)
    for offset in offsets:
        column = buffer[position + offset : position + count * stride : stride]
        count = len(column) - len(column.lstrip(column[:1]))
        if count < MIN_RUN:
            break
    return count


@lru_cache(512)
def _layout(parts: tuple[int, ...], count: int) -> Struct:
    """Give the form of `count` items; bytes skipped and bytes taken alternate in `parts`."""
    codes = "".join(f"{size}{'xs'[i % 2]}" for i, size in enumerate(parts) if size or i % 2)
    return Struct("<" + codes * count)


def take_apart(
    buffer: bytes, position: int, count: int, stride: int, parts: tuple[int, ...]
) -> chain[bytes]:
    """Give the strings in `count` items of equal form, in order.

    Parameters
    ----------
    buffer, position, count, stride
        As in :func:`run_length`.
    parts
        The form of an item: how many bytes to skip, how many to take, how many to skip...
    """
    blocks = count // _BLOCK
    view = memoryview(buffer)
    middle = position + blocks * _BLOCK * stride
    stop = position + count * stride
    return chain(
        chain.from_iterable(_layout(parts, _BLOCK).iter_unpack(view[position:middle])),
        chain.from_iterable(_layout(parts, 1).iter_unpack(view[middle:stop])),
    )


def column_of_doubles(buffer: bytes, position: int, count: int, stride: int) -> bytes:
    """Collect the 8 bytes at the start of each of `count` items."""
    stop = position + (count - 1) * stride + 8
    columns = [buffer[position + i : stop : stride] for i in range(8)]
    if all(column.count(column[:1]) == count for column in columns):
        return buffer[position : position + 8] * count
    doubles = bytearray(8 * count)
    for i, column in enumerate(columns):
        doubles[i::8] = column
    return bytes(doubles)
