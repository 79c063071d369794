"""What the page draws of a sensor or an array, as JSON of a bounded size.

Rules: a sensor holds its value until its next sample. Where there are more samples than pixels, a pixel has
the extremes of its samples, and none is left out. Numbers that JSON lacks are null.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from telstate.plot._panels import (
    Bands,
    Image,
    Numbers,
    Panel,
    Part,
    Plot,
    Sensor,
    arrange_rows,
    limits_of,
    part_of,
)
from telstate.plot._pixels import Floats, edges_of, envelope, image_of

MAX_WIDTH = 4096
"""The most columns of a plot."""

MAX_BANDS = 4000
"""The most rectangles of a plot of text."""

MAX_IMAGE = (512, 512)
"""The most rows and columns of an image."""

MAX_POINTS = 2048
"""The most points of the line of an array."""

_LABEL = 200  # characters
_EARLIEST = -1e15  # seconds
_MARGIN = 0.015  # of the span of the samples
_FEWEST_COLUMNS = 16
_DIGITS = 6  # of the numbers of an image

Json: TypeAlias = dict[str, Any]
_PARTS: Mapping[str, tuple[Part, ...]] = {"c": ("amplitude", "phase")}


def plot_of(sensor: Sensor, begin: float, end: float, width: int, part: str) -> Json:
    """Return what to draw of the samples of a sensor.

    Parameters
    ----------
    sensor
        The samples from `begin` to `end`, with the one that is held at `begin`.
    begin, end
        The range in seconds.
    width
        The number of pixels.
    part
        ``"amplitude"`` or ``"phase"`` of complex numbers.
    """
    count = len(sensor.times)
    answer: Json = {"begin": begin, "end": end, "n": count, "notes": [], "part": "", "parts": []}
    if not count:
        return answer | {"type": "none", "why": "There are no samples in this range."}
    if isinstance(sensor, Bands):
        return answer | _plot_bands(sensor, begin, end, width)
    shown, parts = _choose_part(sensor.values, part)
    answer |= {"part": shown, "parts": parts, "notes": _notes(sensor.values)}
    edges = edges_of(begin, end, width)
    if isinstance(sensor, Image):
        return answer | _plot_image(sensor, edges, shown)
    return answer | _plot_numbers(sensor, edges, shown)


def window(begin: float, end: float, first: float, last: float) -> tuple[float, float]:
    """Return the range to draw, of finite length: as given, or that of the first and the last sample."""
    begin = first if begin == -math.inf else max(begin, _EARLIEST)
    if end == math.inf:  # a little later than the last sample, so that its value is seen
        latest = max(begin, last)
        margin = max(_MARGIN * (latest - begin), 4 * math.ulp(latest))
        end = latest + (margin if latest > begin else max(margin, 1.0))
    return begin, min(max(end, math.nextafter(begin, math.inf)), sys.float_info.max)


def _choose_part(values: NDArray[Any], part: str) -> tuple[Part, list[Part]]:
    """Return which part of numbers is shown, and which there are."""
    parts = _PARTS.get(values.dtype.kind, ())
    chosen = next((one for one in parts if one == part), parts[0] if parts else "")
    return chosen, list(parts)


def _notes(values: NDArray[Any]) -> list[str]:
    """Return how many values cannot be drawn."""
    if values.dtype.kind not in "fc":
        return []
    missing = int(np.count_nonzero(~np.isfinite(values)))
    return [f"{missing:,} NaN, infinite or missing"] if missing else []


def _plot_numbers(sensor: Numbers, edges: Floats, part: Part) -> Json:
    values = part_of(sensor.values, part)
    is_exact = len(values) <= 2 * (len(edges) - 1)
    if is_exact:
        times = np.maximum(sensor.times, edges[0])
        low = high = _to_json(values)
    else:
        times = edges[:-1]
        low, high = map(_to_json, envelope(sensor.times, values, edges))
    return {"type": "steps", "time": times.tolist(), "low": low, "high": high, "exact": is_exact}


def _to_json(values: Floats) -> list[float | None]:
    """Return numbers with None for those that are not finite."""
    return [one if math.isfinite(one) else None for one in values.tolist()]


def _plot_bands(sensor: Bands, begin: float, end: float, width: int) -> Json:
    """Return the spans of time of each value, merged where they are many."""
    codes, renumbered = np.unique(sensor.codes, return_inverse=True)
    shown = Bands(
        sensor.name,
        sensor.times,
        renumbered.reshape(-1).astype(np.int64),
        [sensor.labels[code] for code in codes.tolist()],
    )
    panel = Panel([shown])
    plot = Plot([panel], begin, end, (begin, end))
    changes = 1 + int(np.count_nonzero(np.diff(shown.codes)))
    is_merged = changes > MAX_BANDS
    while True:
        many = 0 if is_merged else math.inf
        edges = edges_of(begin, end, width)
        rows, labels = arrange_rows(panel, plot, edges, length=_LABEL, many=many)
        bands = [
            [first, last, code]
            for row in rows
            for code, spans in row.spans.items()
            for first, last in spans.tolist()
        ]
        if len(bands) <= MAX_BANDS or width <= _FEWEST_COLUMNS:
            break
        width //= 2
    notes = ["neighbours narrower than a pixel are merged"] if is_merged else []
    bands.sort(key=lambda band: band[0])
    return {"type": "bands", "bands": bands, "labels": labels, "merged": is_merged, "notes": notes}


def _plot_image(sensor: Image, edges: Floats, part: Part) -> Json:
    rows, columns = MAX_IMAGE
    if len(sensor.times) <= columns:  # a column for each sample
        starts = np.unique(np.maximum(sensor.times, edges[0]))
        edges = np.append(starts[starts < edges[-1]], edges[-1])
    elif len(edges) - 1 > columns:
        edges = edges_of(float(edges[0]), float(edges[-1]), columns)
    pixels, group = image_of(sensor.times, sensor.values, edges, rows)
    shown = part_of(pixels, part)
    low, high, _ = limits_of(shown[np.isfinite(shown)], part)
    return {
        "type": "waterfall",
        "time": edges[:-1].tolist(),
        "index": list(range(0, len(shown) * group, group)),
        "z": _rows_to_json(shown),
        "shape": list(sensor.shape),
        "group": group,
        "low": low,
        "high": high,
    }


def _rows_to_json(image: Floats) -> list[list[float | None]]:
    """Return the rows of an image, with as many digits as a picture needs."""
    with np.errstate(all="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(np.abs(image)))
        scale = 10.0 ** np.clip(digits, -300, 300)
        rounded = np.rint(image * scale) / scale
    rounded = np.where(np.isfinite(rounded), rounded, image)
    return [_to_json(row) for row in rounded]


# -------------------------------------------------------------------------------------------- arrays


def describe_array(array: NDArray[Any], part: str) -> Json:
    """Return dtype, shape, statistics, and a line or an image of an array."""
    answer: Json = {"dtype": str(array.dtype)[:200], "shape": list(array.shape), "line": None}
    answer |= dict.fromkeys(("min", "max", "mean", "std", "nan", "image"))
    if array.dtype.kind not in "biufc" or not array.size:
        return answer
    chosen, parts = _choose_part(array, part)
    values = part_of(array, chosen)
    finite = values[np.isfinite(values)]
    answer |= {"part": chosen, "parts": parts, "nan": int(values.size - finite.size)}
    if finite.size:
        with np.errstate(all="ignore"):
            numbers = finite.min(), finite.max(), finite.mean(), finite.std()
        answer |= zip(("min", "max", "mean", "std"), _to_json(np.array(numbers)))
    long = [length for length in array.shape if length > 1]
    if len(long) == 1:
        answer["line"] = _line_of(values.reshape(-1))
    elif long:
        answer["image"] = _image_of_array(array.reshape(long[0], -1), chosen)
    return answer


def _line_of(values: Floats) -> Json:
    """Return the least and the greatest element of each pixel."""
    count = len(values)
    if count <= MAX_POINTS:
        numbers = _to_json(values)
        return {"index": list(range(count)), "low": numbers, "high": numbers}
    edges = np.arange(MAX_POINTS + 1) * count / MAX_POINTS
    low, high = envelope(np.arange(count, dtype=np.float64), values, np.floor(edges))
    return {"index": np.floor(edges[:-1]).tolist(), "low": _to_json(low), "high": _to_json(high)}


def _image_of_array(array: NDArray[Any], part: Part) -> Json:
    """Return an image of two axes, in which a pixel has the element furthest from the median."""
    rows, columns = array.shape
    max_rows, max_columns = MAX_IMAGE
    shown_columns = min(columns, max_columns)
    edges = np.floor(np.arange(shown_columns + 1) * columns / shown_columns)
    pixels, group = image_of(np.arange(columns, dtype=np.float64), array.T, edges, max_rows)
    shown = part_of(pixels, part)
    low, high, _ = limits_of(shown[np.isfinite(shown)], part)
    return {
        "z": _rows_to_json(shown),
        "row_range": [0, rows],
        "column_range": [0, columns],
        "group": group,
        "reduced": rows > max_rows or columns > max_columns,
        "low": low,
        "high": high,
    }
