"""LZF strings of one shape, which are decompressed by moving all of their bytes at once.

A program that stores records of one form (a sensor's samples, for example) compresses them to the same
sizes, with the same literals and copies at the same places: only the literal bytes differ. Every byte of
such a string is then a certain byte of the compressed data, and :meth:`bytes.translate` fetches it: the
string of places is translated by a table that is the compressed data.

* A shape is learnt only from data that was decompressed step by step and found valid. Its structure (control
  bytes, lengths and distances) is compared before the shape is used, so nothing else needs checking then.
* A table has 256 bytes. Longer data is gathered in segments, each from a few blocks of the data: copies
  mostly repeat bytes nearby, or bytes that are always the same.
* Learning costs as much as decompressing some fifteen strings, so it is done only for sizes that recur, and
  ever more rarely if they recur in other shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter

Shape = Callable[[bytes], bytes | None]
"""Decompresses data of the shape's size; returns None for data of another shape."""

_TABLE = 256
_BLOCK = 16
_BLOCKS = _TABLE // _BLOCK  # in a table
_LEARN_AT = frozenset({8, 64, 512, 4096})
"""A shape is learnt when its sizes have been seen so many times without a known shape."""

_MAX_KEPT = 512
"""The number of sizes that are remembered; after that all of them are forgotten."""

LONGEST = 4096
"""The size in bytes above which shapes are not worth while."""

_shapes: dict[tuple[int, int], Shape] = {}
_misses: dict[tuple[int, int], int] = {}

known_shape = _shapes.get
"""Return the shape for (compressed size, full size), or None."""


def note_unknown(data: bytes, size: int) -> None:
    """Count valid data of an unknown shape for a string of `size`; learn the shape if that is due."""
    sizes = (len(data), size)
    misses = _misses[sizes] = _misses.get(sizes, 0) + 1
    if misses in _LEARN_AT:
        _shapes[sizes] = make_shape(data)
    elif len(_misses) > _MAX_KEPT:
        _misses.clear()
        _shapes.clear()


def make_shape(data: bytes) -> Shape:
    """Make the shape of valid data."""
    segments = list(_segments(data))
    if len(data) <= _TABLE:
        ((_, places, expected, gather),) = segments

        def short(data: bytes) -> bytes | None:
            table = data.ljust(_TABLE, b"\0")
            return gather.translate(table) if places.translate(table) == expected else None

        return short

    def long(data: bytes) -> bytes | None:
        parts = []
        for take, places, expected, gather in segments:
            table = b"".join(take(data)).ljust(_TABLE, b"\0")
            if places.translate(table) != expected:
                return None
            parts.append(gather.translate(table))
        return b"".join(parts)

    return long


def _segments(
    data: bytes,
) -> Iterator[tuple[Callable[[bytes], tuple[bytes, ...]], bytes, bytes, bytes]]:
    """Yield the segments of a shape.

    Each is a function that takes the parts of the table from the data; the places of the structure in the
    table, and the bytes that must be there; and the places of the bytes of the string.
    """
    origins, structure = _trace(data)
    if len(data) <= _TABLE:  # one table holds it all
        runs = [(list(range(len(data))), origins)]
    else:
        runs = [(run, run) for run in _cut(origins)]
        # The structure that is in none of these tables must be compared too, in tables of its own.
        held = {place // _BLOCK for place in origins}
        rest = [place for place in structure if place // _BLOCK not in held]
        runs += [(run, []) for run in _cut(rest)]
    for run, moved in runs:
        blocks = sorted({place // _BLOCK for place in run})
        starts = {block: place for place, block in zip(range(0, _TABLE, _BLOCK), blocks)}
        checked = [place for place in structure if place // _BLOCK in starts]
        structure = [place for place in structure if place // _BLOCK not in starts]
        places, gather = (
            bytes([starts[place // _BLOCK] + place % _BLOCK for place in some])
            for some in (checked, moved)
        )
        yield itemgetter(*_slices(blocks)), places, bytes([data[i] for i in checked]), gather


def _slices(blocks: list[int]) -> list[slice]:
    """Return the slices of the data that cover blocks, and an empty one at the end."""
    slices = []
    first = 0
    for i, block in enumerate(blocks):
        if i + 1 == len(blocks) or blocks[i + 1] != block + 1:
            slices.append(slice(blocks[first] * _BLOCK, (block + 1) * _BLOCK))
            first = i + 1
    return [*slices, slice(0, 0)]  # always several, so that itemgetter returns a tuple


def _cut(places: list[int]) -> list[list[int]]:
    """Cut places in the data into runs, each of at most as many blocks as a table holds."""
    runs: list[list[int]] = []
    blocks: set[int] = set()
    for place in places:
        block = place // _BLOCK
        if not runs or block not in blocks and len(blocks) == _BLOCKS:
            runs.append([])
            blocks = set()
        blocks.add(block)
        runs[-1].append(place)
    return runs


def _trace(data: bytes) -> tuple[list[int], list[int]]:
    """Return the place in the data of every byte of the string, and all other places."""
    origins: list[int] = []
    structure: list[int] = []
    position = 0
    while position < len(data):
        control = data[position]
        if control < 32:
            structure.append(position)
            origins += range(position + 1, position + control + 2)
            position += control + 2
            continue
        size = 2 if control < 224 else 3
        length = (control >> 5) + 2 if size == 2 else data[position + 1] + 9
        structure += range(position, position + size)
        position += size
        start = len(origins) - ((control & 31) << 8) - data[position - 1] - 1
        for place in range(start, start + length):  # one by one: it may overlap its own output
            origins.append(origins[place])
    return origins, structure
