"""Samples reduced to columns of pixels, which show the extremes of the samples in them.

A sensor holds its value until its next sample. A column shows all values that are held at some time in it,
also the one from before. Columns are given by their edges, ascending times in seconds.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

TOO_LARGE = 1e307
"""Numbers beyond it are not drawn: matplotlib fails where the range of values exceeds that of floats."""

_MAX_FOR_MEDIAN = 1 << 20  # elements


def edges_of(begin: float, end: float, columns: int) -> Floats:
    """Return the edges of columns of the same width."""
    edges = begin + (end - begin) * (np.arange(columns + 1) / columns)
    edges[-1] = end
    return edges


def held_in_columns(times: Floats, edges: Floats) -> tuple[Integers, Integers]:
    """Return the first sample that is held in each column, and the one after the last; equal if none is."""
    first = np.searchsorted(times, edges[:-1])
    stop = np.searchsorted(times, edges[1:])
    # Unless a sample is exactly at the edge, the value of the one before is held there.
    at_edge = (first < len(times)) & (times[np.minimum(first, len(times) - 1)] == edges[:-1])
    return np.maximum(first - ~at_edge, 0), stop


def envelope(times: Floats, values: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Return the least and the greatest value in each column; NaN in a column without values."""
    first, stop = held_in_columns(times, edges)
    padded = np.append(values, np.nan)  # reduceat takes no index after the end
    bounds = np.column_stack([first, stop]).ravel()
    low, high = (reduce(padded, bounds)[::2] for reduce in (np.fmin.reduceat, np.fmax.reduceat))
    empty = first >= stop
    low[empty] = high[empty] = np.nan
    return low, high


def columns_with(
    times: Floats, codes: Integers, count: int, edges: Floats, end: float
) -> NDArray[np.bool_]:
    """Return whether each value is held in each column, shape (count, columns); values are numbers below `count`."""
    columns = len(edges) - 1
    first = np.clip(np.searchsorted(edges, times, "right") - 1, 0, columns - 1)
    until = np.append(times[1:], end)
    last = np.clip(np.searchsorted(edges, until) - 1, first, columns - 1)
    size = count * (columns + 1)
    begun = np.bincount(codes * (columns + 1) + first, minlength=size)
    ended = np.bincount(codes * (columns + 1) + last + 1, minlength=size)
    held = (begun - ended).reshape(count, columns + 1).cumsum(axis=1)
    return held[:, :-1] > 0


def image_of(
    times: Floats, values: NDArray[Any], edges: Floats, max_rows: int
) -> tuple[NDArray[Any], int]:
    """Return arrays, shape (samples, elements), as pixels, shape (rows, columns), and the number of elements in a row."""
    elements = values.shape[1]
    group = -(-elements // max_rows)
    rows = -(-elements // group)
    dtype = np.complex128 if values.dtype.kind == "c" else np.float64
    image = np.full((rows, len(edges) - 1), np.nan, dtype)
    # Of its elements a pixel shows the one furthest from the median, so that peaks and drop-outs remain.
    median = _median(values)
    first, stop = held_in_columns(times, edges)
    shown = (0, 0)
    column = np.full(rows, np.nan, dtype)
    for place, span in enumerate(zip(first.tolist(), stop.tolist())):
        if span != shown and span[0] < span[1]:
            row = _furthest(values[slice(*span)], median)
            padded = np.full(rows * group, np.nan, dtype)
            padded[:elements] = row
            column, shown = _furthest(padded.reshape(rows, group).T, median), span
        if span[0] < span[1]:
            image[:, place] = column
    return image, group


def magnitude(values: NDArray[Any]) -> Floats:
    """Return the amplitudes of complex numbers, and other numbers unchanged; NaN where too large to draw."""
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.abs(values) if values.dtype.kind == "c" else values.astype(np.float64)
    sizes = sizes.astype(np.float64)
    sizes[np.abs(sizes) > TOO_LARGE] = np.nan
    return sizes


def _median(values: NDArray[Any]) -> float:
    """Return the median magnitude, of evenly spread elements where there are many."""
    flat = values.reshape(-1)
    sizes = magnitude(flat[:: flat.size // _MAX_FOR_MEDIAN + 1])
    sizes = sizes[~np.isnan(sizes)]
    return float(np.median(sizes)) if len(sizes) else 0.0


def _furthest(block: NDArray[Any], median: float) -> NDArray[Any]:
    """Return, of each column of a block, the element whose magnitude is furthest from the median."""
    if len(block) == 1:
        found: NDArray[Any] = block[0]
        return found
    with np.errstate(over="ignore"):
        distance = np.abs(magnitude(block) - median)
    distance[np.isnan(distance)] = -1.0
    chosen: NDArray[Any] = np.take_along_axis(block, distance.argmax(axis=0)[np.newaxis], axis=0)
    chosen = chosen[0]
    return chosen
