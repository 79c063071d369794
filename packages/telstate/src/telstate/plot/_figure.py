"""Panels drawn with matplotlib, without pyplot, whose figures and backend belong to the program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from telstate._ipython import display_figures
from telstate.plot._panels import (
    MANY_SAMPLES,
    MAX_ROWS,
    Bands,
    Image,
    Numbers,
    Panel,
    Plot,
    Readable,
    arrange_rows,
    limits_of,
    part_of,
    read_plot,
    shorten,
    shorten_all,
)
from telstate.plot._pixels import Floats, edges_of, envelope, image_of
from telstate_codec import Key, Time
from telstate_rdb.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DAY = 86400.0
_WIDTH = 11.0  # inches
_MAX_HEIGHT = 300.0  # inches; files have at most 65,536 pixels
_HEIGHTS = {Numbers: 1.9, Image: 2.8}
_ROW_HEIGHT, _FEWEST_ROWS = 0.24, 4
_FEW_SAMPLES = 60  # up to which each has a dot
_LEGEND_LABEL = 24
_MAX_IN_LEGEND = 60
_FEWEST_PIXELS = 100
_FEW_COLORS = "petroff10"  # which colour-blind readers tell apart
_MAX_BLOCKS = 32  # of an image, with lines between them
_OTHERS = "0.75"  # grey, for values without a colour of their own


def plot_sensors(
    ts: Readable,
    keys: Key | Iterable[Key],
    start: Time | None = None,
    end: Time | None = None,
    ax: Axes | Iterable[Axes] | None = None,
    *,
    stacked: bool | None = None,
) -> Figure:
    """Plot sensors against time (UTC) with matplotlib; needs the extra ``plot``.

    A sensor holds its value until its next sample, and the last one to the end of the range; at the start it
    has the value of the sample before. Without samples for hours, that is a straight line and not a gap: only
    NaN and None are gaps.

    Numbers are drawn as steps, with a dot for each of a few samples. Text, bytes, booleans and everything else are
    bands: with a row for each value, or, where several sensors share an axis, a row for each sensor and a
    colour for each value. Arrays are images of time against index. Complex numbers are drawn as amplitude and
    phase in degrees.

    From 10,000 samples on, each column of pixels shows the least and the greatest number, or all bands, that
    occur in it. A pixel of an image shows the element that differs most from the median in magnitude.

    Parameters
    ----------
    ts
        A synchronous telescope state, of any view.
    keys
        A key, a Redis glob of full names such as ``"m000_*"`` (which selects the mutable keys that match, in
        every namespace), or an iterable of keys and globs.
    start
        The beginning of the range: a `Time`, or a text such as ``"-1h"`` (an hour before the last sample of
        these sensors, on a server before now) or ``"+1h"`` (after the first sample), with the units ``s``,
        ``m``, ``h`` and ``d``. Default, and for 0: the first sample.
    end
        The end of the range, in the same forms. Default: shortly after the last sample.
    ax
        Axes to draw on, as many as there are panels; one for all sensors if they are all of one kind. Default:
        those of a new figure.
    stacked
        Whether each sensor has a panel, one below the other with one axis of time; otherwise those of a kind
        share one. Default: for up to eight sensors; with `ax`, if it is several.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure; ``figure.savefig("gain.png")`` saves it.

    Raises
    ------
    KeyError
        If keys are missing, or no mutable key matches a glob.
    ImmutableKeyError
        If keys are of another kind.
    BatchError
        If samples cannot be decoded: an `ExceptionGroup` of what `get_range` raises for each key.
    InvalidTimestampError
        If the range is empty, or a time is NaN or cannot be read.
    ValueError
        If there are no keys, or `ax` has not as many axes as there are panels.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> from telstate.plot import plot_sensors
    >>> ts = TelescopeState()
    >>> ts.add_many("m000_azim", [10.0, 20.0, 30.0], [1.7e9, 1.7e9 + 60, 1.7e9 + 120])
    >>> ts.add_many("m000_activity", ["slew", "track"], [1.7e9, 1.7e9 + 60])
    >>> figure = plot_sensors(ts, "m000_*", 1.7e9, "2023-11-14T22:16")
    >>> [axes.get_title("left") for axes in figure.axes]
    ['m000_activity', 'm000_azim']
    >>> figure.axes[-1].get_xlabel()
    'UTC, 2023-11-14 22:13:20 to 2023-11-14 22:16:00'
    """
    require_extra("telstate", "plot", "Plots need", "matplotlib")
    display_figures()
    given: list[Axes] = [] if ax is None else list(np.ravel(np.array(ax, object)))
    if stacked is None and given:
        stacked = len(given) > 1
    plot = read_plot(ts, keys, start, end, stacked)
    if not given:
        return _draw_figure(plot)
    if len(given) != len(plot.panels):
        titles = ", ".join(panel.title for panel in plot.panels)
        raise ValueError(f"There are {len(given)} axes for {len(plot.panels)} panels: {titles}.")
    for axes, panel in zip(given, plot.panels):
        extent = axes.get_window_extent()
        edges = _columns(extent.width, plot)
        image = _draw_panel(axes, panel, plot, edges, max(int(extent.height), _FEWEST_PIXELS))
        if image is not None:
            _label_colors(axes.figure.colorbar(image, ax=axes), panel)
        _label_time(axes, plot)
    figure: Any = given[0].figure
    while figure.figure is not figure:  # a part of a figure
        figure = figure.figure
    drawn: Figure = figure
    return drawn


def _columns(width: float, plot: Plot) -> Floats:
    """Return the edges of the columns of pixels of an axis."""
    return edges_of(plot.begin, plot.end, max(int(width), _FEWEST_PIXELS))


def _draw_figure(plot: Plot) -> Figure:
    """Draw panels below one another, with one axis of time."""
    from matplotlib.figure import Figure

    heights = [_height_of(panel) for panel in plot.panels]
    size = (_WIDTH, min(sum(heights) + 0.6, _MAX_HEIGHT))
    figure = Figure(figsize=size, layout="constrained")
    has_image = any(isinstance(panel.sensors[0], Image) for panel in plot.panels)
    # Colour bars have a column of their own, so that the axes of time stay aligned.
    widths = [60, 1] if has_image else [1]
    grid = figure.add_gridspec(
        len(heights), len(widths), height_ratios=heights, width_ratios=widths
    )
    # Labels and colour bars take up to a third of the width.
    edges = _columns(_WIDTH * figure.dpi * 2 / 3, plot)
    images = {}
    for place, panel in enumerate(plot.panels):
        lowest = place == len(heights) - 1
        axes = figure.add_subplot(grid[place, 0], sharex=figure.axes[0] if place else None)
        images[place] = _draw_panel(
            axes, panel, plot, edges, int(heights[place] * figure.dpi * 2 / 3)
        )
        _label_time(axes, plot)
        axes.tick_params(labelbottom=lowest)
        if not lowest:
            axes.set_xlabel("")
            axes.xaxis.offsetText.set_visible(False)
    for place, image in images.items():
        if image is not None:
            colorbar = figure.colorbar(image, cax=figure.add_subplot(grid[place, -1]))
            _label_colors(colorbar, plot.panels[place])
    return figure


def _height_of(panel: Panel) -> float:
    """Return the height of a panel in inches."""
    first = panel.sensors[0]
    if not isinstance(first, Bands):
        return _HEIGHTS[type(first)]
    rows = len(panel.sensors) if len(panel.sensors) > 1 else min(len(first.labels), MAX_ROWS)
    return 0.5 + _ROW_HEIGHT * max(rows, _FEWEST_ROWS)


def _draw_panel(axes: Axes, panel: Panel, plot: Plot, edges: Floats, max_rows: int) -> Any:
    """Draw a panel, and return its image, if it is one."""
    image = None
    first = panel.sensors[0]
    if isinstance(first, Bands):
        _draw_bands(axes, panel, plot, edges)
    elif isinstance(first, Image):
        image = _draw_image(axes, first, panel, plot, edges, max_rows)
    else:
        _draw_numbers(axes, panel, plot, edges)
    # Names may hold what matplotlib takes for formulas.
    axes.set_title(shorten(panel.title, 70), loc="left", fontsize="medium", parse_math=False)
    axes.set_title(panel.note, loc="right", fontsize="small", color="0.35", parse_math=False)
    axes.set_xlim(_positions(np.array([plot.begin, plot.end]), plot).tolist())
    return image


def _draw_numbers(axes: Axes, panel: Panel, plot: Plot, edges: Floats) -> None:
    """Draw numbers as steps, many of them as the area between the least and the greatest."""
    from matplotlib import color_sequences, colormaps
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    count = len(panel.sensors)
    names = shorten_all(panel.names)
    few: Any = color_sequences[_FEW_COLORS]
    integers = True
    for place, sensor in enumerate(panel.sensors):
        assert isinstance(sensor, Numbers)
        if not len(sensor.times):
            continue
        spread = colormaps["turbo"]
        color = few[place] if count <= len(few) else spread(0.05 + 0.9 * place / (count - 1))
        values = part_of(sensor.values, panel.part)
        integers = integers and bool(np.all((values == np.rint(values)) | np.isnan(values)))
        if len(values) < MANY_SAMPLES:
            steps = np.append(np.maximum(sensor.times, plot.begin), plot.end)
            axes.stairs(
                values, _positions(steps, plot), baseline=None, color=color, label=names[place]
            )
            if len(values) <= _FEW_SAMPLES:
                inside = sensor.times >= plot.begin
                axes.plot(_positions(sensor.times[inside], plot), values[inside], ".", color=color)
        else:
            low, high = envelope(sensor.times, values, edges)
            axes.stairs(
                high,
                _positions(edges, plot),
                baseline=low,
                fill=True,
                facecolor=color,
                edgecolor=color,  # or the area would be invisible where it is flat
                linewidth=0.8,
                label=names[place],
            )
    formatter = ScalarFormatter(useOffset=False, useMathText=True)
    axes.yaxis.set_major_formatter(formatter)
    if integers:
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.set_ylabel(panel.unit)
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    if count > 1 and handles:
        _draw_legend(axes, handles, labels)


def _draw_legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Draw a legend on the right; of many labels, the first ones."""
    shown = list(zip(handles, labels))[:_MAX_IN_LEGEND]
    title = f"the first {len(shown)} of {len(labels)}" if len(shown) < len(labels) else None
    legend = axes.legend(
        [handle for handle, _ in shown],
        shorten_all([label for _, label in shown], _LEGEND_LABEL),
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize="x-small",
        ncols=-(-len(shown) // 20),
        title=title,
        title_fontsize="x-small",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_bands(axes: Axes, panel: Panel, plot: Plot, edges: Floats) -> None:
    """Draw a row of bars for each value of a sensor, or for each of several sensors."""
    from matplotlib import color_sequences
    from matplotlib.patches import Patch

    rows, labels = arrange_rows(panel, plot, edges)
    palette: Any = color_sequences[_FEW_COLORS if len(labels) <= 10 else "tab20"]
    colors: list[Any] = [palette[code % len(palette)] for code in range(len(labels))]
    if labels[-1].endswith(" other values)"):
        colors[-1] = _OTHERS
    for place, row in enumerate(rows):
        for code, spans in row.spans.items():
            begins = _positions(spans[:, 0], plot)
            widths = _positions(spans[:, 1], plot) - begins
            bars = list(zip(begins.tolist(), widths.tolist()))
            # The outline keeps the shortest visible.
            axes.broken_barh(bars, (place - 0.4, 0.8), color=colors[code], linewidth=0.6)
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], parse_math=False)
    axes.tick_params(axis="y", length=0, labelsize="small")
    if len(panel.sensors) > 1:
        _draw_legend(axes, [Patch(color=color) for color in colors], labels)


def _draw_image(
    axes: Axes, sensor: Image, panel: Panel, plot: Plot, edges: Floats, max_rows: int
) -> Any:
    """Draw arrays as an image of time against index."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    count = sensor.values.shape[1]
    pixels, group = image_of(sensor.times, sensor.values, edges, max_rows)
    shown = np.ma.masked_invalid(part_of(pixels, panel.part))
    begin, end = _positions(np.array([plot.begin, plot.end]), plot).tolist()
    low, high, beyond = limits_of(shown.compressed(), panel.part)
    colors = colormaps["twilight" if panel.part == "phase" else "viridis"]
    if sensor.values.dtype.kind == "b":
        low, high, beyond, colors = 0.0, 1.0, "neither", colors.resampled(2)
    image = axes.imshow(
        shown,
        cmap=colors,
        extent=(begin, end, -0.5, len(pixels) * group - 0.5),
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        vmin=low,
        vmax=high,
    )
    image.cmap.colorbar_extend = beyond  # type: ignore[assignment]  # is declared as a bool
    axes.set_facecolor("0.85")  # where there is no value
    axes.set_ylim(-0.5, count - 0.5)
    blocks = sensor.blocks
    if len(blocks) > 1:
        size = count / len(blocks)
        step = -(-len(blocks) // _MAX_BLOCKS)
        places = [(number + 0.5) * size - 0.5 for number in range(0, len(blocks), step)]
        axes.set_yticks(places, blocks[::step], fontsize="x-small")
        for number in range(1, len(blocks) if step == 1 and size > 1 else 1):
            axes.axhline(number * size - 0.5, color="white", linewidth=0.5)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    shape = sensor.shape
    axes.set_ylabel("index" if len(shape) == 1 else f"index in shape {shape}")
    return image


def _label_colors(colorbar: Any, panel: Panel) -> None:
    """Label the scale of colours of an image."""
    if panel.part == "phase":
        colorbar.set_ticks(range(-180, 181, 90))
    sensor = panel.sensors[0]
    if isinstance(sensor, Image) and sensor.values.dtype.kind == "b":
        colorbar.set_ticks([0.25, 0.75], labels=["False", "True"])
    colorbar.set_label(panel.unit)


def _positions(times: Floats, plot: Plot) -> Floats:
    """Return times as positions on the axis: matplotlib's days, or seconds from the beginning."""
    if not plot.has_dates:
        return times - plot.begin
    from matplotlib import dates

    convert: Any = dates.date2num
    epoch = float(convert(np.datetime64("1970-01-01")))  # a setting of matplotlib
    return times / _DAY + epoch


def _label_time(axes: Axes, plot: Plot) -> None:
    """Label the axis of time."""
    from matplotlib import dates

    untyped: Any = dates
    if plot.has_dates:
        locator = untyped.AutoDateLocator(tz=timezone.utc)
        axes.xaxis.set_major_locator(locator)
        # The label of the axis has the date.
        form = untyped.ConciseDateFormatter(locator, tz=timezone.utc, show_offset=False)
        axes.xaxis.set_major_formatter(form)
    axes.set_xlabel(plot.time_label)
