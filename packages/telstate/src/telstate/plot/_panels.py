"""Sensors read and arranged in panels, which are below one another and have one axis of time.

A panel holds sensors of one kind: numbers, bands (values that are labels rather than numbers) or an image
(one sensor of arrays). A complex sensor has a panel for its amplitude and one for its phase.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, Protocol, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from telstate._calls.common import is_glob
from telstate._pandas import samples_of, select_mutable
from telstate._relative_times import parse_relative
from telstate.pipeline import Pipeline, list_keys
from telstate.plot._pixels import TOO_LARGE, Floats, Integers, columns_with, magnitude
from telstate_backends import Backend, KeyType
from telstate_codec import (
    InvalidTimestampError,
    Key,
    SampleArrays,
    Time,
    decode_key,
    encode_key,
    to_seconds,
)
from telstate_codec.printable import BoundedRepr, escape

MANY_SAMPLES = 10_000
"""From so many samples on, columns of pixels are drawn and not every sample."""

MAX_STACKED = 8
"""The number of sensors that have a panel each, unless it is asked for."""

MAX_ROWS = 48
"""The number of values that have a row each in a panel of bands."""

MAX_LABEL = 36
"""The number of characters of a label."""

_YEAR_9999 = 253_370_764_800.0
_FEWEST_SECONDS = 1e-3  # that a date and time tell apart
# Lists of different lengths become one array up to this size, or to so many times their elements.
_MOST_PADDED = 1 << 20
_MOST_PADDING = 8
_MARGIN = 0.015  # of the span of the samples, on both sides, so that the last value held is seen
_BLOCK = 1 << 20  # elements
_IN_SCALE = (0.5, 99.5)  # percentiles
_FAR_BEYOND = 4.0

_repr = BoundedRepr(max_length=200, max_items=10).repr

Beyond: TypeAlias = Literal["neither", "min", "max", "both"]
Part: TypeAlias = Literal["", "amplitude", "phase"]
Spans: TypeAlias = NDArray[np.float64]
"""The begin and the end of each span of time, shape (n, 2), in seconds."""


class Readable(Protocol):
    """A synchronous telescope state, as far as plots need it."""

    @property
    def prefixes(self) -> tuple[str, ...]: ...

    @property
    def backend(self) -> Backend: ...

    def __contains__(self, key: Key) -> bool: ...

    def key_types(self, filter: Key) -> dict[str, KeyType]: ...

    def pipeline(self, raise_errors: bool) -> Pipeline: ...


@attrs.frozen(eq=False)
class Numbers:
    """A sensor of numbers: times in seconds, and real or complex values, NaN for none."""

    name: str
    times: Floats
    values: NDArray[Any]
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Bands:
    """A sensor of labels: times, and for each the number of its label."""

    name: str
    times: Floats
    codes: Integers
    labels: list[str]


@attrs.frozen(eq=False)
class Image:
    """A sensor of arrays: times, and elements of shape (samples, elements).

    Elements along the longest axis are next to each other, so that each spectrum, for example, is a block.
    """

    name: str
    times: Floats
    values: NDArray[Any]
    shape: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[str]:
        """The index of each block, such as ``[:, 0, 3]``."""
        axis = longest_axis(self.shape)
        others = [[":"] if place == axis else range(n) for place, n in enumerate(self.shape)]
        return [f"[{', '.join(map(str, index))}]" for index in itertools.product(*others)]

    def label(self, element: int) -> str:
        """Return the index of an element as text."""
        size = self.shape[longest_axis(self.shape)]
        block, place = divmod(element, size)
        return str(place) if len(self.shape) == 1 else self.blocks[block].replace(":", str(place))


def longest_axis(shape: tuple[int, ...]) -> int:
    """Return the longest axis of an array, of several the last."""
    return max(range(len(shape)), key=lambda axis: (shape[axis], axis))


Sensor: TypeAlias = Numbers | Bands | Image


@attrs.frozen(eq=False)
class Panel:
    """Sensors that share an axis, and which part of their values it shows."""

    sensors: Sequence[Sensor]
    part: Part = ""

    @property
    def title(self) -> str:
        """The name of the sensor, or the common parts of several names."""
        names = [sensor.name for sensor in self.sensors]
        name = escape(names[0]) if len(names) == 1 else f"{_common(names)} ({len(names)} sensors)"
        return f"{name}, {self.part}" if self.part else name

    @property
    def names(self) -> list[str]:
        """The names of the sensors, without the parts that all have in common."""
        names = [sensor.name for sensor in self.sensors]
        prefix, suffix = _common_ends(names)
        first, last = prefix.rfind("_") + 1, len(suffix) - max(suffix.find("_"), 0)
        last = last if "_" in suffix else 0
        return [escape(name[first : len(name) - last] or name) for name in names]

    @property
    def unit(self) -> str:
        """The label of the axis of values, as far as a store tells."""
        return "phase (degrees)" if self.part == "phase" else self.part

    @property
    def note(self) -> str:
        """The number of samples, and of the values that are not drawn."""
        count = sum(len(sensor.times) for sensor in self.sensors)
        notes = ["1 sample" if count == 1 else f"{count:,} samples" if count else "no samples"]
        if any(isinstance(one, Numbers) and len(one.times) >= MANY_SAMPLES for one in self.sensors):
            notes.append("min/max per pixel")
        for sensor in self.sensors:
            if isinstance(sensor, Bands):
                continue
            prefix = f"{escape(sensor.name)}: " if len(self.sensors) > 1 else ""
            notes += [prefix + note for note in sensor.notes]
        return shorten(", ".join(notes), 60)


@attrs.frozen(eq=False)
class Row:
    """A row of bands: its label, and the spans of time of each value that is in it."""

    label: str
    spans: dict[int, Spans]


@attrs.frozen(eq=False)
class Plot:
    """Panels, and the range of time in seconds since 1970: as it is drawn, and that of what is in it or was asked for."""

    panels: Sequence[Panel]
    begin: float
    end: float
    span: tuple[float, float]

    @property
    def has_dates(self) -> bool:
        """Whether date and time can say what the range is."""
        return (
            -_YEAR_9999 / 10 < self.begin
            and self.end < _YEAR_9999
            and self.end - self.begin >= _FEWEST_SECONDS
        )

    @property
    def time_label(self) -> str:
        """The label of the axis of time."""
        if self.has_dates:
            times = [format_time(one, self.end - self.begin) for one in self.span]
            return f"UTC, {' to '.join(dict.fromkeys(times))}"
        if self.end < _YEAR_9999:
            return f"seconds after {format_time(self.begin, 0.0)} UTC"
        return f"seconds after {self.begin!r} s since 1970"


def read_plot(
    ts: Readable,
    keys: Key | Iterable[Key],
    start: Time | None,
    end: Time | None,
    stacked: bool | None,
) -> Plot:
    """Read sensors and arrange them."""
    named = list_keys(keys)
    globs = [key for key in named if is_glob(key) and key not in ts]
    # Globs are of full names. Where the view is the root, those are the same keys.
    matching: dict[Key, None] = {
        one: None for glob in globs for one in select_mutable(ts.key_types(glob), glob)
    }
    in_view: dict[Key, None] = {
        decode_key(encode_key(key)): None for key in named if key not in globs
    }
    if ts.prefixes == ("",):
        in_view |= matching
        matching = {}
    full = [[prefix + str(key) for prefix in ts.prefixes] for key in in_view]
    full += [[str(key)] for key in matching]
    begin, until = _bound(start, -math.inf, ts, full), _bound(end, math.inf, ts, full)
    if begin <= 0.0:  # where all samples are asked for
        begin = -math.inf
    if begin >= until:
        raise InvalidTimestampError(
            f"The range is empty: it begins at {begin!r} s and ends at {until!r} s."
        )
    span = max(begin, 0.0), until, begin > 0.0
    with ts.pipeline(raise_errors=False) as p:
        queued = [(key, p.get_range_arrays(key, *span)) for key in in_view]
        queued_of_root = [(key, p.root().get_range_arrays(key, *span)) for key in matching]
    found = [*samples_of(dict(queued)).items(), *samples_of(dict(queued_of_root)).items()]
    if not found:
        raise ValueError("There is no key to plot.")
    shown = _extent([samples.timestamps for _, samples in found], begin, until)
    first, last = _with_margins(*shown, begin, until)
    sensors = [sensor_of(decode_key(encode_key(key)), samples, first) for key, samples in found]
    if stacked is None:
        stacked = len(sensors) <= MAX_STACKED
    return Plot(_arrange(sensors, stacked), first, last, shown)


def _bound(time: Time | None, default: float, ts: Readable, keys: list[list[str]]) -> float:
    """Return a time in seconds, which may be relative to samples; numbers too large for a float are infinite."""
    if time is None:
        return default
    relative = parse_relative(time) if isinstance(time, str) else None
    if relative is not None:
        return relative.resolve(ts.backend, keys)
    try:
        return to_seconds(time)
    except OverflowError:
        return math.inf if time > 0 else -math.inf  # type: ignore[operator]  # only numbers overflow


def _extent(times: Sequence[Floats], begin: float, until: float) -> tuple[float, float]:
    """Return the range to show: as given, or that of all samples."""
    some = [one for one in times if len(one)]
    # Without a range, there are no samples only if the times of all are NaN or infinite.
    least = min((float(one[0]) for one in some), default=until - 1.0 if until < math.inf else 0.0)
    first = begin if begin > 0.0 else least
    last = until if until < math.inf else max((float(one[-1]) for one in some), default=first)
    return first, max(first, last)


def _with_margins(first: float, last: float, begin: float, until: float) -> tuple[float, float]:
    """Return a range with a little more on the sides that were not given."""
    margin = _MARGIN * (last - first) if last > first else 1.0
    margin = max(margin, 2 * math.ulp(last))
    return (
        first if begin > 0.0 else first - margin,
        last if until < math.inf else last + margin,
    )


# ------------------------------------------------------------------------------- what a sensor holds


def sensor_of(name: str, samples: SampleArrays, begin: float) -> Sensor:
    """Return the sensor of a key, of the kind of its values."""
    times, values = samples
    if len(times) > 1 and times[0] < begin == times[1]:
        times, values = times[1:], values[1:]  # the value before the range is not held in it
    missing = "NaN"
    if values.dtype.kind == "O":
        values, missing = _unpack(values), "NaN or missing"
    if values.dtype.kind == "m":
        values = values / np.timedelta64(1, "s")
    if values.ndim > 1 and values.size == len(times):
        values = values.reshape(len(times))
    if values.ndim > 1 and values.dtype.kind in "biufc" and values.size:
        shape = values.shape[1:]
        flat = np.moveaxis(values, longest_axis(shape) + 1, -1).reshape(len(times), -1)
        return Image(name, times, flat, shape, _notes(flat, missing))
    if values.ndim == 1 and values.dtype.kind in "iufc":
        numbers = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
        notes = _notes(numbers, missing)
        numbers[_is_too_large(numbers)] = np.nan
        return Numbers(name, times, numbers, notes)
    return _bands(name, times, values)


def _unpack(values: NDArray[Any]) -> NDArray[Any]:
    """Return objects as an array of numbers if they are numbers, or lists of numbers; None is NaN."""
    if all(_is_number(value) for value in values.tolist()):
        try:
            return np.array([math.nan if value is None else float(value) for value in values])
        except OverflowError:
            return np.array([_to_float(value) for value in values])
    rows = []
    for value in values:
        if not isinstance(value, (list, tuple, np.ndarray)):
            return values
        try:
            row = np.asarray(value)
        except ValueError:  # lists of different lengths
            return values
        if row.dtype.kind not in "biufc":
            return values
        rows.append(row.reshape(-1))
    dtype = np.result_type(np.float64, *{row.dtype for row in rows})
    longest = max(len(row) for row in rows)
    if len(rows) * longest > max(_MOST_PADDED, _MOST_PADDING * sum(map(len, rows))):
        return values
    padded = np.full((len(rows), longest), np.nan, dtype)
    for target, row in zip(padded, rows):
        target[: len(row)] = row
    return padded


def _is_number(value: object) -> bool:
    return value is None or (
        isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    )


def _to_float(value: Any) -> float:
    """Return a number as a float; infinite if it is too large."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _notes(values: NDArray[Any], missing: str) -> tuple[str, ...]:
    """Return the numbers of values that cannot be drawn, as text."""
    if values.dtype.kind not in "fc":
        return ()
    nan = large = 0
    flat = values.reshape(-1)
    for begin in range(0, len(flat), _BLOCK):  # without a copy of all of them
        block = flat[begin : begin + _BLOCK]
        nan += int(np.count_nonzero(np.isnan(block)))
        large += int(np.count_nonzero(_is_too_large(block)))
    counts = {missing: nan, "too large": large}
    return tuple(f"{count:,} {name}" for name, count in counts.items() if count)


def _is_too_large(values: NDArray[Any]) -> NDArray[np.bool_]:
    with np.errstate(over="ignore", invalid="ignore"):
        sizes: Floats = np.abs(values).astype(np.float64)
    return sizes > TOO_LARGE


def _bands(name: str, times: Floats, values: NDArray[Any]) -> Bands:
    """Return a sensor of labels; equal values of one type have one label."""
    if values.dtype.kind == "b" and values.ndim == 1:
        return Bands(name, times, 1 - values.astype(np.int64), ["True", "False"])
    if values.dtype.kind == "M":
        values = values.astype(str)
    lookup: dict[object, int] = {}
    labels: list[str] = []
    codes = np.empty(len(times), np.int64)
    for place, value in enumerate(values.tolist() if values.ndim == 1 else values):
        kind = type(value)
        # Other values may be equal to each other, or cannot be looked up.
        known = (kind, value if kind in (str, bytes, bool) else label_of(value))
        code = lookup.setdefault(known, len(labels))
        if code == len(labels):
            labels.append(label_of(value))
        codes[place] = code
    return Bands(name, times, codes, labels)


def label_of(value: object) -> str:
    """Return a value as a label, on one line: text as it is unless that shows nothing."""
    if isinstance(value, str) and value.strip() == value != "":
        return escape(value[:1000])
    return _repr(value)


# ------------------------------------------------------------------------------------- arrangement


def _arrange(sensors: Sequence[Sensor], stacked: bool) -> list[Panel]:
    """Return the panels: one for each sensor, or one for all sensors of a kind."""
    groups: dict[object, list[Sensor]] = {}
    for place, sensor in enumerate(sensors):
        alone = stacked or isinstance(sensor, Image)
        groups.setdefault(place if alone else (type(sensor), _is_complex(sensor)), []).append(
            sensor
        )
    panels = []
    for group in groups.values():
        parts: tuple[Part, ...] = ("amplitude", "phase") if _is_complex(group[0]) else ("",)
        panels += [Panel(group, part) for part in parts]
    return panels


def _is_complex(sensor: Sensor) -> bool:
    return not isinstance(sensor, Bands) and sensor.values.dtype.kind == "c"


def part_of(values: NDArray[Any], part: Part) -> Floats:
    """Return the part of numbers that a panel shows; phases are in degrees, and infinite numbers are NaN."""
    if part != "phase":
        return magnitude(values)
    phases: Floats = np.degrees(np.angle(values))
    return phases


def limits_of(values: Floats, part: Part) -> tuple[float, float, Beyond]:
    """Return the limits of the scale of an image; a few values that would make all others look alike are beyond."""
    if part == "phase":
        return -180.0, 180.0, "neither"
    if not len(values):
        return 0.0, 1.0, "neither"
    low, high = float(values.min()), float(values.max())
    first, last = (float(one) for one in np.percentile(values, _IN_SCALE))
    if high - low <= _FAR_BEYOND * (last - first) or first == last:
        return low, high, "neither"
    if low >= first:
        return first, last, "max"
    return first, last, "both" if high > last else "min"


def arrange_rows(
    panel: Panel,
    plot: Plot,
    edges: Floats,
    max_values: int = MAX_ROWS,
    length: int = MAX_LABEL,
    many: float = MANY_SAMPLES,
) -> tuple[list[Row], list[str]]:
    """Return a row for each value of a sensor, or for each of several sensors, and the labels of the values.

    From `many` samples of a sensor on, its spans are those of columns of pixels.
    """
    bands = [sensor for sensor in panel.sensors if isinstance(sensor, Bands)]
    bands, labels = _join_labels(bands, plot, max_values, length)
    spans = [_spans(one, len(labels), plot, edges, many) for one in bands]
    if len(bands) > 1:
        names = shorten_all(panel.names, length)
        return [Row(name, of_sensor) for name, of_sensor in zip(names, spans)], labels
    none = np.empty((0, 2))
    return [Row(one, {code: spans[0].get(code, none)}) for code, one in enumerate(labels)], labels


def _join_labels(
    bands: Sequence[Bands], plot: Plot, max_values: int, length: int
) -> tuple[list[Bands], list[str]]:
    """Number the labels of all sensors alike; of too many, those of the longest duration have their own."""
    lookup: dict[tuple[int, str], int] = {}
    joined = []
    for one in bands:
        seen: dict[str, int] = {}  # different values of one sensor may have the same label
        codes = []
        for label in one.labels:
            seen[label] = seen.get(label, 0) + 1
            codes.append(lookup.setdefault((seen[label], label), len(lookup)))
        joined.append(attrs.evolve(one, codes=np.array(codes, np.int64)[one.codes]))
    labels = [label for _, label in lookup]
    if len(labels) <= max_values:
        return joined, shorten_all(labels, length)
    duration = sum(np.bincount(one.codes, _durations(one, plot), len(labels)) for one in joined)
    kept = np.sort(np.argsort(duration)[::-1][: max_values - 1])
    renumbered = np.full(len(labels), len(kept))
    renumbered[kept] = np.arange(len(kept))
    joined = [attrs.evolve(one, codes=renumbered[one.codes]) for one in joined]
    names = shorten_all([labels[code] for code in kept], length)
    return joined, [*names, f"({len(labels) - len(kept):,} other values)"]


def _durations(bands: Bands, plot: Plot) -> Floats:
    """Return for how many seconds each value is held."""
    return np.diff(np.maximum(bands.times, plot.begin), append=plot.end)


def _spans(bands: Bands, count: int, plot: Plot, edges: Floats, many: float) -> dict[int, Spans]:
    """Return the spans of time of each value that occurs."""
    times, codes, end = np.maximum(bands.times, plot.begin), bands.codes, plot.end
    if not len(times):
        return {}
    if len(times) < many:
        starts = np.flatnonzero(np.diff(codes, prepend=codes[0] + 1))
        begun, ended = times[starts], np.append(times[starts[1:]], end)
        spans = np.column_stack([begun, ended])
        return {int(code): spans[codes[starts] == code] for code in np.unique(codes)}
    held = np.pad(columns_with(times, codes, count, edges, end), ((0, 0), (1, 1)))
    changes = np.diff(held.astype(np.int8), axis=1)
    found = {}
    for code in np.flatnonzero(held.any(axis=1)).tolist():
        begins, ends = np.flatnonzero(changes[code] > 0), np.flatnonzero(changes[code] < 0)
        found[code] = np.column_stack([edges[begins], edges[ends]])
    return found


# ------------------------------------------------------------------------------------------- texts


def shorten(text: str, length: int = MAX_LABEL) -> str:
    """Return a text, or its beginning if it is long."""
    return text if len(text) <= length else f"{text[:length - 1]}…"


def shorten_all(labels: Sequence[str], length: int = MAX_LABEL) -> list[str]:
    """Shorten labels so that different ones remain different; equal ones are numbered."""
    short = [shorten(label, length) for label in labels]
    shared = Counter(short)
    half = length // 2
    for place, label in enumerate(labels):
        if shared[short[place]] > 1 and len(label) > length:  # they may differ at their ends
            short[place] = f"{label[:half - 1]}…{label[-half:]}"
    counts: Counter[str] = Counter()
    for place, label in enumerate(short):
        counts[label] += 1
        if counts[label] > 1:
            short[place] = f"{label} ({counts[label]})"
    return short


def _common(names: Sequence[str]) -> str:
    """Return what names have in common at both ends, or the first of them."""
    prefix, suffix = _common_ends(names)
    return escape(f"{prefix}…{suffix}") if prefix or suffix else f"{escape(names[0])}, …"


def _common_ends(names: Sequence[str]) -> tuple[str, str]:
    """Return the beginning and the end that names have in common, which do not overlap."""
    prefix = os.path.commonprefix(list(names))
    rest = [name[len(prefix) :][::-1] for name in names]
    return prefix, os.path.commonprefix(rest)[::-1]


def format_time(seconds: float, span: float) -> str:
    """Return date and time in UTC, as exactly as a range of this many seconds needs."""
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)
    precision = "seconds" if span >= 1000.0 else "milliseconds" if span >= 1.0 else "microseconds"
    text = moment.isoformat(" ", precision)
    return text.rstrip("0").removesuffix(".") if "." in text else text
