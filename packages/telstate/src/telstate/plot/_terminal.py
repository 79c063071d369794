"""Panels drawn as text, with plotext.

Nothing relies on colours: where several sensors or values share a row or an axis, each has a letter.
"""

from __future__ import annotations

import math
import string
import textwrap
from collections.abc import Callable, Iterable, Sequence

import attrs
import numpy as np

from telstate.plot._panels import (
    MAX_LABEL,
    MAX_ROWS,
    Bands,
    Image,
    Numbers,
    Panel,
    Plot,
    Readable,
    arrange_rows,
    format_time,
    limits_of,
    part_of,
    read_plot,
    shorten,
)
from telstate.plot._pixels import edges_of, envelope, image_of
from telstate_codec import Key, Time
from telstate_codec.printable import escape
from telstate_rdb.extras import require_extra

_LEAST_WIDTH, _FEWEST_ROWS, _FEWEST_VALUES = 40, 5, 8
_FRAME = 4  # lines of a panel besides its rows: title, frame and labels of time
_LETTERS = string.ascii_uppercase + string.ascii_lowercase
_SEVERAL = "*"  # values in one place
_SHADES = "·░▒▓█"
_COLORS = ("cyan", "orange", "green", "magenta", "red", "blue+")  # seen on dark and on light
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400


@attrs.frozen
class _Series:
    """Points to draw with one marker, connected or not; x is in columns."""

    marker: str
    x: Sequence[float]
    y: Sequence[float]
    is_line: bool = False
    color: int = 0


@attrs.frozen
class _Picture:
    """A panel as characters: the number of rows, the axis of values, and the points for a number of columns."""

    rows: int
    limits: tuple[float, float]
    ticks: Sequence[float]
    labels: Sequence[str]
    legend: str
    draw: Callable[[int], list[_Series]]


def plot_sensors_as_text(
    ts: Readable,
    keys: Key | Iterable[Key],
    start: Time | None = None,
    end: Time | None = None,
    *,
    width: int = 80,
    height: int = 24,
    color: bool = False,
    stacked: bool | None = None,
) -> str:
    """Plot sensors against time (UTC) as text; needs the extra ``plot``.

    It shows what `plot_sensors` shows, as far as characters can: where sensors or values share an axis or a row,
    each has a letter, and ``*`` stands for several in one place. Elements of arrays are shades.

    Parameters
    ----------
    ts, keys, start, end
        As for `plot_sensors`.
    width, height
        The size of the terminal in characters. With many panels, the plot is higher. Default: 80 and 24.
    color
        Whether to add the escape sequences of a terminal for colours. Default: False.
    stacked
        As for `plot_sensors`. Default: for up to eight sensors.

    Returns
    -------
    text : str
        Lines, each ended by a newline.

    Raises
    ------
    KeyError, ImmutableKeyError, BatchError, InvalidTimestampError, ValueError
        As for `plot_sensors`.
    ImportError
        If plotext is not installed.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> from telstate.plot import plot_sensors_as_text
    >>> ts = TelescopeState()
    >>> ts.add_many("m000_activity", ["slew", "track"], [1.7e9, 1.7e9 + 60])
    >>> print(plot_sensors_as_text(ts, "m000_activity", 1.7e9, 1.7e9 + 180, width=61), end="")
    m000_activity                                       2 samples
         ┌──────────────────────────────────────────────────────┐
     slew┤██████████████████                                    │
    track┤                  ████████████████████████████████████│
         └────────────┬────────────────┬─────────────────┬──────┘
                    22:14            22:15             22:16
    UTC, 2023-11-14 22:13:20 to 2023-11-14 22:16:20
    """
    require_extra("telstate", "plot", "Plots in a terminal need", "plotext")
    import plotext

    width = max(width, _LEAST_WIDTH)
    plot = read_plot(ts, keys, start, end, stacked)
    footer = textwrap.wrap(plot.time_label, width)
    free = height - len(footer) - _FRAME * len(plot.panels)
    rows = max(free // len(plot.panels), _FEWEST_ROWS)
    pictures = [_picture_of(panel, plot, rows, width) for panel in plot.panels]
    margin = max(len(label) for one in pictures for label in one.labels)
    columns = width - margin - 2
    ticks = _time_ticks(plot, columns)
    lines = []
    for panel, picture in zip(plot.panels, pictures):
        note = shorten(panel.note, width // 2)
        lines.append(shorten(panel.title, width - len(note) - 2).ljust(width - len(note)) + note)
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.limit_size(False, False)
        plotext.plot_size(width, picture.rows + 3)
        for one in picture.draw(columns):
            name = _COLORS[one.color % len(_COLORS)] if color else "default"
            draw = plotext.plot if one.is_line else plotext.scatter
            draw(one.x, one.y, marker=one.marker, color=name)
        plotext.xlim(0, columns - 1)
        plotext.ylim(*picture.limits)
        plotext.xticks(*ticks)
        plotext.yticks(picture.ticks, [label.rjust(margin) for label in picture.labels])
        drawn = plotext.build()
        lines += (drawn if color else plotext.uncolorize(drawn)).splitlines()
        lines += textwrap.wrap(picture.legend, width)
    return "\n".join([*(line.rstrip() for line in lines), *footer, ""])


def _picture_of(panel: Panel, plot: Plot, rows: int, width: int) -> _Picture:
    first = panel.sensors[0]
    if isinstance(first, Bands):
        return _bands_picture(panel, plot, rows, width)
    if isinstance(first, Image):
        return _image_picture(first, panel, plot, rows, width)
    return _numbers_picture(panel, plot, rows)


def _numbers_picture(panel: Panel, plot: Plot, rows: int) -> _Picture:
    """Return lines of dots, or of a letter for each of several sensors."""
    sensors = [sensor for sensor in panel.sensors if isinstance(sensor, Numbers)]
    values = [part_of(sensor.values, panel.part) for sensor in sensors]
    finite = np.concatenate([one[~np.isnan(one)] for one in values])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) / 10 or 1.0), high + (abs(high) / 10 or 1.0)
    ticks, labels = _number_ticks(low, high, rows // 3 + 1)
    several = len(sensors) > 1

    def draw(columns: int) -> list[_Series]:
        count = columns * (1 if several else 2)  # a character has two columns of dots
        edges = edges_of(plot.begin, plot.end, count)
        x = (np.arange(count) + 0.5) * columns / count - 0.5
        series = []
        for place, (sensor, some) in enumerate(zip(sensors, values)):
            if not len(some):
                continue
            marker = _LETTERS[place % len(_LETTERS)] if several else "braille"
            bounds = np.column_stack(envelope(sensor.times, some, edges))
            known = ~np.isnan(bounds[:, 0])
            starts = np.flatnonzero(np.diff(known, prepend=False))
            for begin, end in zip(starts[::2], np.append(starts[1::2], count)):
                run = slice(int(begin), int(end))
                line = np.repeat(x[run], 2).tolist(), bounds[run].ravel().tolist()
                series.append(_Series(marker, *line, True, place))
        return series

    legend = _legend([sensor.name for sensor in sensors]) if several else ""
    return _Picture(rows, (low, high), ticks, labels, legend, draw)


def _bands_picture(panel: Panel, plot: Plot, rows: int, width: int) -> _Picture:
    """Return a row of blocks for each value of a sensor, or a row of letters for each of several sensors."""
    several = len(panel.sensors) > 1
    max_values = MAX_ROWS if several else max(rows, _FEWEST_VALUES)
    arranged, values = arrange_rows(
        panel,
        plot,
        edges_of(plot.begin, plot.end, 2 * width),
        max_values,
        min(width // 3, MAX_LABEL),
    )

    def draw(columns: int) -> list[_Series]:
        scale = columns / (plot.end - plot.begin)
        series = []
        for place, row in enumerate(arranged):
            held = np.zeros((len(values), columns), np.bool_)
            for code, spans in row.spans.items():
                cells = (spans - plot.begin) * scale
                begins = np.minimum(np.floor(cells[:, 0] + 1e-6).astype(int), columns - 1)
                ends = np.maximum(np.ceil(cells[:, 1] - 1e-6).astype(int), begins + 1)
                for begin, end in zip(begins, ends):
                    held[code, begin:end] = True
            crowded = held.sum(axis=0) > 1
            for code in row.spans:
                x = np.flatnonzero(held[code] & ~crowded)
                marker = _LETTERS[code % len(_LETTERS)] if several else "█"
                series.append(_Series(marker, x.tolist(), [-place] * len(x), False, code))
            x = np.flatnonzero(crowded)
            series.append(_Series(_SEVERAL, x.tolist(), [-place] * len(x)))
        return [one for one in series if one.x]

    count = max(len(arranged), 2)
    legend = f"{_legend(values)}  {_SEVERAL} several" if several else ""
    ticks = [float(-place) for place in range(len(arranged))]
    labels = [row.label for row in arranged]
    return _Picture(count, (1.0 - count, 0.0), ticks, labels, legend, draw)


def _image_picture(sensor: Image, panel: Panel, plot: Plot, rows: int, width: int) -> _Picture:
    """Return shades, from the least to the greatest value, of time against index."""
    group = -(-sensor.values.shape[1] // rows)
    count = -(-sensor.values.shape[1] // group)
    # The limits are those of a picture that is a little wider.
    pixels, _ = image_of(sensor.times, sensor.values, edges_of(plot.begin, plot.end, width), rows)
    shown = part_of(pixels, panel.part)
    low, high, beyond = limits_of(shown[~np.isnan(shown)], panel.part)

    def draw(columns: int) -> list[_Series]:
        pixels, _ = image_of(
            sensor.times, sensor.values, edges_of(plot.begin, plot.end, columns), rows
        )
        shown = part_of(pixels, panel.part)
        span = (high - low) or 1.0
        levels = np.clip((shown - low) / span * len(_SHADES), 0, len(_SHADES) - 1)
        series = []
        for level, shade in enumerate(_SHADES):
            y, x = np.nonzero(np.floor(levels) == level)  # NaN equals no level
            if len(x):
                series.append(_Series(shade, x.tolist(), y.tolist()))
        return series

    ticks = list(range(0, count, max(1, count // 3)))
    labels = [sensor.label(tick * group) for tick in ticks]
    less = " and less" if beyond in ("min", "both") else ""
    more = " and more" if beyond in ("max", "both") else ""
    legend = f"{_SHADES[0]} {low:.4g}{less} to {_SHADES[-1]} {high:.4g}{more}"
    limits = (0.0, float(max(count - 1, 1)))
    return _Picture(max(count, 2), limits, ticks, labels, legend, draw)


def _legend(names: Sequence[str]) -> str:
    """Return the meaning of letters."""
    letters = (_LETTERS[place % len(_LETTERS)] for place in range(len(names)))
    return "  ".join(f"{letter} {shorten(escape(name))}" for letter, name in zip(letters, names))


# ------------------------------------------------------------------------------------------- ticks


def _step(span: float, count: int) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that divides a span into at most `count` parts."""
    least = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(least))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= least), 10 * power)


def _number_ticks(low: float, high: float, count: int) -> tuple[list[float], list[str]]:
    """Return round numbers in a range, as text without a common offset."""
    step = _step(high - low, count)
    ticks = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    if len(ticks) < 2:
        ticks = [low, high]
    labels: list[str] = []
    for digits in range(4, 18):
        labels = [f"{tick + 0.0:.{digits}g}" for tick in ticks]
        if all(abs(float(one) - tick) <= step / 100 for one, tick in zip(labels, ticks)):
            break
    return ticks, labels


def _time_ticks(plot: Plot, columns: int) -> tuple[list[float], list[str]]:
    """Return positions in columns, and times as text."""
    span = plot.end - plot.begin
    count = max(columns // 14, 1)
    if not plot.has_dates:
        step = _step(span, count)
        moments = [n * step for n in range(math.floor(span / step) + 1)]
        return [one / span * (columns - 1) for one in moments], [f"{one:.6g}" for one in moments]
    least = span / count
    step = next((float(one) for one in _TIME_STEPS if one >= max(least, 1.0)), 0.0)
    if least < 1.0:
        step = _step(span, count)
    elif not step:
        step = _DAY * _step(span / _DAY, count) if span / _DAY > count else float(_DAY)
    moments = [
        n * step for n in range(math.ceil(plot.begin / step), math.floor(plot.end / step) + 1)
    ]
    positions = [(one - plot.begin) / span * (columns - 1) for one in moments]
    return positions, [_time_label(one, step) for one in moments]


def _time_label(moment: float, step: float) -> str:
    """Return the part of a time that changes from tick to tick; the date at midnight."""
    text = format_time(moment, 1.0 if step < 1.0 else 1e9)
    if moment % _DAY == 0.0:
        return text[:10]
    return text[11:16] if step >= 60.0 else text[11:]
