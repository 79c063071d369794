"""Runs of things of one size in the buffer: found in bulk, and taken apart by `struct`.

A sensor's samples, and much else that programs store, have strings of one length one after the
other. Where the byte of length of the first string is repeated at equal distances, everything
between is known: one slice with a step finds how far that holds, and one `struct` takes it apart,
many items at a time. This is five times as fast as going from string to string.
"""

from __future__ import annotations

from functools import lru_cache, partial
from struct import Struct

MIN_RUN = 8
"""Shorter runs are not worth it."""

FIRST_WINDOW = 64
"""How many items are looked at first; after each run that fills the window, more."""

MAX_WINDOW = 1 << 16


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
        if column != column[:1] * count:  # the quickest comparison there is
            count = len(column) - len(column.lstrip(column[:1]))
        if count < MIN_RUN:
            break
    return count


def _layout(parts: tuple[int, ...], count: int) -> Struct:
    """Give the form of `count` items; bytes skipped and bytes taken alternate in `parts`."""
    codes = "".join(f"{size}{'xs'[i % 2]}" for i, size in enumerate(parts) if size or i % 2)
    return Struct("<" + codes * count)


# By how many items each takes apart; a form of many items is large, so few of them are kept.
_LAYOUTS = {
    count: lru_cache(kept)(partial(_layout, count=count))
    for count, kept in ((1024, 8), (64, 64), (1, 512))
}


def take_apart(
    out: list[bytes],
    buffer: bytes,
    position: int,
    count: int,
    stride: int,
    parts: tuple[int, ...],
) -> None:
    """Append the strings in `count` items of equal form, in order.

    Parameters
    ----------
    out
        What they are appended to.
    buffer, position, count, stride
        As in :func:`run_length`.
    parts
        The form of an item: how many bytes to skip, how many to take, how many to skip...
    """
    view = memoryview(buffer)
    for size, layout in _LAYOUTS.items():
        if count >= size:
            blocks, count = divmod(count, size)
            stop = position + blocks * size * stride
            for strings in layout(parts).iter_unpack(view[position:stop]):
                out += strings
            position = stop


def column_of_doubles(buffer: bytes, position: int, count: int, stride: int) -> bytes:
    """Collect the 8 bytes at the start of each of `count` items."""
    stop = position + (count - 1) * stride + 8
    columns = [buffer[position + i : stop : stride] for i in range(8)]
    if all(column == column[:1] * count for column in columns):
        return buffer[position : position + 8] * count
    doubles = bytearray(8 * count)
    for i, column in enumerate(columns):
        doubles[i::8] = column
    return bytes(doubles)
