"""Plots of sensors: the data and the labels of figures, and the text of plots in a terminal."""

import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakeredis import FakeRedis
from numpy.typing import NDArray

from telstate import (
    BatchError,
    ImmutableKeyError,
    InvalidTimestampError,
    RedisBackend,
    TelescopeState,
)
from telstate_backends import AddSample
from telstate_codec import encode_sample

# These are in the `test` dependency group, but an environment made by hand may not have them.
pytest.importorskip("matplotlib")
pytest.importorskip("plotext")

import matplotlib as mpl  # noqa: E402  # after the check that it is installed
from matplotlib.axes import Axes  # noqa: E402  # the same
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402  # the same
from matplotlib.figure import Figure  # noqa: E402  # the same
from matplotlib.patches import StepPatch  # noqa: E402  # the same

from telstate.plot import plot_sensors, plot_sensors_as_text  # noqa: E402  # the same

T = 1_700_000_000.0  # 2023-11-14 22:13:20


def sensor(values: Any, step: float = 10.0, key: str = "key") -> TelescopeState:
    """Return a telescope state with a sensor that has a sample every `step` seconds from T on."""
    ts = TelescopeState()
    add(ts, key, values, step)
    return ts


def add(ts: TelescopeState, key: str, values: Any, step: float = 10.0) -> None:
    """Add a sensor, whatever the number of samples."""
    times = T + step * np.arange(len(values))
    for begin in range(0, len(values), 100_000):
        part = slice(begin, begin + 100_000)
        ts.add_many(key, values[part], times[part])


def steps(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """Return the edges, in seconds after T, and the values of each line of steps."""
    patches = [one for one in axes.patches if isinstance(one, StepPatch)]
    data: list[Any] = [one.get_data() for one in patches]
    return [(seconds(one.edges), np.asarray(one.values).tolist()) for one in data]


def area(axes: Axes) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the least and the greatest values of the area between steps, and its edges."""
    (patch,) = (one for one in axes.patches if isinstance(one, StepPatch))
    data: Any = patch.get_data()
    return np.asarray(data.baseline), np.asarray(data.values), np.asarray(data.edges)


def seconds(positions: Any) -> list[float]:
    """Return positions on an axis of time in seconds after T."""
    return [round(float(one) * 86400 - T, 3) for one in np.ravel(positions)]


def bars(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Return the spans of time, in seconds after T, of the bars in each row."""
    labels = [label.get_text() for label in axes.get_yticklabels()]
    found: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
    for collection in axes.collections:
        for path in collection.get_paths():
            corners = np.asarray(path.vertices)
            (left, lower), (right, upper) = corners.min(axis=0), corners.max(axis=0)
            begin, end = seconds([left, right])
            found[labels[round((lower + upper) / 2)]].append((begin, end))
    return found


def draw(figure: Figure) -> None:
    """Draw a figure, which makes labels and positions known."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()


def picture(axes: Axes) -> NDArray[Any]:
    """Return the pixels of an image."""
    (image,) = axes.images
    array: Any = image.get_array()
    pixels: NDArray[Any] = np.ma.filled(array, np.nan)
    return pixels


# ---------------------------------------------------------------------------------------- numbers


def test_numbers_are_steps() -> None:
    """A number holds until the next sample, the last one to the end, and there is no line in between."""
    figure = plot_sensors(sensor([1.5, 2.5, 2.0]), "key", T - 5, T + 60)
    (axes,) = figure.axes
    assert steps(axes) == [([0.0, 10.0, 20.0, 60.0], [1.5, 2.5, 2.0])]
    assert seconds(axes.get_xlim()) == [-5.0, 60.0]
    (dots,) = axes.lines
    assert seconds(dots.get_xdata()) == [0.0, 10.0, 20.0]
    assert (axes.get_title("left"), axes.get_title("right")) == ("key", "3 samples")
    assert axes.get_xlabel() == "UTC, 2023-11-14 22:13:15 to 2023-11-14 22:14:20"


def test_value_at_the_start() -> None:
    """At the start of a range a sensor has the value of the sample before, without a dot."""
    ts = sensor([1.5, 2.5, 2.0])
    (axes,) = plot_sensors(ts, "key", T + 15, T + 30).axes
    assert steps(axes) == [([15.0, 20.0, 30.0], [2.5, 2.0])]
    assert seconds(axes.lines[0].get_xdata()) == [20.0]
    (axes,) = plot_sensors(ts, "key", T + 10, T + 20).axes
    assert steps(axes) == [([10.0, 20.0], [2.5])]
    (axes,) = plot_sensors(ts, "key", T + 100, T + 200).axes
    assert steps(axes) == [([100.0, 200.0], [2.0])]
    (axes,) = plot_sensors(ts, "key", T - 20, T - 10).axes
    assert (steps(axes), axes.get_title("right")) == ([], "no samples")
    add(ts, "other", [1.5])
    (axes,) = plot_sensors(ts, "*", T - 20, T - 10, stacked=False).axes
    assert (steps(axes), axes.get_title("right")) == ([], "no samples")


@pytest.mark.parametrize("start", [None, 0, -1.0, -(10**400), "1970-01-01"])
def test_all_samples(start: Any) -> None:
    """Without a range, all samples are shown, and the last value is held for a while."""
    (axes,) = plot_sensors(sensor([1.5, 2.5]), "key", start).axes
    ((edges, values),) = steps(axes)
    assert (edges[:2], values) == ([0.0, 10.0], [1.5, 2.5])
    begin, end = seconds(axes.get_xlim())
    assert begin < 0.0 and end == edges[-1] > 10.0


def test_one_sample() -> None:
    """A sensor with one sample is a line that begins at it."""
    (axes,) = plot_sensors(sensor([5.5]), "key").axes
    ((edges, values),) = steps(axes)
    assert (edges[0], values) == (0.0, [5.5])
    assert axes.get_title("right") == "1 sample"
    (axes,) = plot_sensors(sensor(["track"]), "key").axes
    assert bars(axes) == {"track": [(0.0, 1.0)]}


def test_gap_without_samples() -> None:
    """A sensor without samples for hours still has its value: there is no gap."""
    ts = TelescopeState()
    ts.add_many("key", [1.0, 2.0, 3.0], [T, T + 10, T + 36000])
    (axes,) = plot_sensors(ts, "key", T, T + 36010).axes
    assert steps(axes) == [([0.0, 10.0, 36000.0, 36010.0], [1.0, 2.0, 3.0])]


def test_missing_numbers() -> None:
    """NaN, None, infinities and numbers near the largest float are gaps, and counted."""
    ts = sensor([1.0, np.nan, np.inf, 1.7e308, -1.7e308, 2.0])
    add(ts, "none", [1.5, None, 2])
    add(ts, "complex", [1e308 + 1e308j, complex(0, np.inf), 1.0])
    add(ts, "short", np.array([np.inf, 1.0], np.float32))
    add(ts, "array", np.array([[np.inf, np.nan], [1.0, 1e308]]))
    titles = [axes.get_title("right") for axes in plot_sensors(ts, "*").axes]
    assert "3 samples, 2 too large" in titles
    assert "2 samples, 1 too large" in titles
    assert "2 samples, 1 NaN, 2 too large" in titles
    values = [
        values for axes in plot_sensors(ts, ["key", "none"]).axes for _, values in steps(axes)
    ]
    nan = pytest.approx(np.nan, nan_ok=True)
    assert values == [[1.0, nan, nan, nan, nan, 2.0], [1.5, nan, 2.0]]
    notes = [axes.get_title("right") for axes in plot_sensors(ts, ["key", "none"]).axes]
    assert notes == ["6 samples, 1 NaN, 3 too large", "3 samples, 1 NaN or missing"]


@pytest.mark.parametrize(
    "values",
    [
        [-1.5, -2.5],
        [1e300, -1e300],
        [1e-26, 2e-26],
        [1284000001.0, 1284000001.5],
        [1.0, 1.0 + 1e-13],
        [2**63, 2**64 - 1],
        [4096, 4096],
    ],
)
def test_labels_of_numbers(values: list[float]) -> None:
    """The labels of numbers are the numbers: no offset is taken off, and a factor is shown."""
    figure = plot_sensors(sensor(values), "key")
    (axes,) = figure.axes
    draw(figure)
    low, high = axes.get_ylim()
    assert low <= min(values) <= max(values) <= high
    factor = axes.yaxis.get_offset_text().get_text().replace("\N{MINUS SIGN}", "-")
    power = int(factor.split("^{")[1].split("}")[0]) if factor else 0
    assert "+" not in factor
    for tick, label in zip(axes.get_yticks(), axes.get_yticklabels()):
        text = label.get_text().replace("\N{MINUS SIGN}", "-").replace("$\\mathdefault{", "")
        shown = float(text.replace("}$", "")) * 10.0**power
        assert shown == pytest.approx(tick, rel=1e-12, abs=(high - low) / 50)


def test_integers() -> None:
    """The axis of integers has integers only."""
    figure = plot_sensors(sensor([1, 2, 2]), "key")
    assert {float(tick) % 1 for tick in figure.axes[0].get_yticks()} == {0.0}


def test_complex_numbers() -> None:
    """Complex numbers are drawn as amplitude and as phase in degrees."""
    figure = plot_sensors(sensor([1j, -2.0]), "key")
    assert [values for axes in figure.axes for _, values in steps(axes)] == [[1.0, 2.0], [90, 180]]
    assert [axes.get_title("left") for axes in figure.axes] == ["key, amplitude", "key, phase"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["amplitude", "phase (degrees)"]


def test_many_numbers() -> None:
    """Of many samples, each column shows the least and the greatest, and single peaks and drops remain."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal(30_000)
    values[12_345], values[20_001] = 50.0, -60.0
    values[1_000:4_000] = np.nan
    ts = sensor(values, 1.0)
    (axes,) = plot_sensors(ts, "key").axes
    low, high, edges = area(axes)
    assert (np.nanmax(high), np.nanmin(low)) == (50.0, -60.0)
    assert 500 < len(high) < 2000
    times = np.array(seconds(edges))
    position = np.arange(len(values))
    for column in rng.integers(1, len(high) - 1, 50):
        first = np.searchsorted(position, times[column]) - 1
        held = values[max(first, 0) : np.searchsorted(position, times[column + 1])]
        inner = held[2:-1]  # the edges are rounded to milliseconds here
        if len(held) and np.isnan(held).all():
            assert np.isnan(low[column]) and np.isnan(high[column])
        elif len(inner) and not np.isnan(held).any():
            assert held.min() <= low[column] <= inner.min()
            assert inner.max() <= high[column] <= held.max()
    assert axes.get_title("right") == "30,000 samples, min/max per pixel, 3,000 NaN"


def test_sparse_among_many() -> None:
    """Also a column without a sample shows the value that is held."""
    ts = sensor(np.arange(10_000) % 7, 0.001)
    ts.add("key", 100, ts=T + 1000)
    (axes,) = plot_sensors(ts, "key", T, T + 2000).axes
    low, high, _ = area(axes)
    for place, value in ((len(low) // 4, 9_999 % 7), (-10, 100)):
        assert (low[place], high[place]) == (value, value)


def test_samples_at_one_time() -> None:
    """Of samples at one time, all are drawn and the last is held."""
    ts = TelescopeState()
    ts.add_many("key", [1.0, 7.0, 2.0], [T, T, T + 10])
    (axes,) = plot_sensors(ts, "key", None, T + 20).axes
    assert steps(axes) == [([0.0, 0.0, 10.0, 20.0], [1.0, 7.0, 2.0])]
    add(ts, "key", np.zeros(20_000), 0.0005)
    ts.add_many("key", [99.0, 1.0], [T + 5, T + 5])
    (axes,) = plot_sensors(ts, "key", T, T + 10).axes
    assert area(axes)[1].max() == 99.0


# ------------------------------------------------------------------------------------------ bands


def test_bands() -> None:
    """Text has a row for each value, in the order in which they appear, with a bar while it is held."""
    (axes,) = plot_sensors(sensor(["stop", "slew", "slew", "", "stop"]), "key", T - 5, T + 60).axes
    assert bars(axes) == {
        "stop": [(0.0, 10.0), (40.0, 60.0)],
        "slew": [(10.0, 30.0)],
        "''": [(30.0, 40.0)],
    }
    assert seconds(axes.get_xlim()) == [-5.0, 60.0]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([b"idle", b"caf\xe9"], ["b'idle'", "b'caf\\xe9'"]),
        (["a", b"a", None, 1], ["a", "b'a'", "None", "1"]),
        ([True, False], ["True", "False"]),
        ([False, False], ["True", "False"]),
        ([True, 1], ["True", "1"]),
        ([{"a": 1}, {"a": [1]}, {"a": 1}], ["{'a': 1}", "{'a': [1]}"]),
        (["$x$", "\x1b[2J", " "], ["$x$", "\\x1b[2J", "' '"]),
        (np.array(["2020", "2021"], "M8[Y]"), ["2020", "2021"]),
        ([("a", 1), ("a", 1)], ["('a', 1)"]),
        ([np.array("on"), np.array("off")], ["on", "off"]),
    ],
)
def test_labels_of_bands(values: Any, labels: list[str]) -> None:
    """All values that are not numbers have labels, which tell text, bytes and numbers apart."""
    (axes,) = plot_sensors(sensor(values), "key").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == labels


def test_long_labels() -> None:
    """Long labels are shortened and remain different."""
    long = "J0408-6545 | PKS 0408-65 | PKS 0407-65, radec bfcal single_accumulation, 4:08:20.38 "
    (axes,) = plot_sensors(sensor([f"{long}A", f"{long}B", "x" * 200]), "key").axes
    found = [label.get_text() for label in axes.get_yticklabels()]
    assert found[0].startswith("J0408-6545") and found[0].endswith("4:08:20.38 A")
    assert found[1].endswith("4:08:20.38 B")
    assert max(map(len, found)) <= 36
    both = [f"{'a' * 40}{n}{'b' * 40}" for n in range(2)]
    (axes,) = plot_sensors(sensor(both), "key").axes
    first, second = (label.get_text() for label in axes.get_yticklabels())
    assert second == f"{first} (2)"


def test_many_values() -> None:
    """Forty values have a row each; of hundreds, those of the longest duration, and the others share one."""
    (axes,) = plot_sensors(sensor([f"value {n}" for n in range(40)]), "key").axes
    assert len(axes.get_yticklabels()) == 40
    ts = sensor([f"value {n}" for n in range(300)])
    ts.add("key", "value 7", ts=T + 3000)
    (axes,) = plot_sensors(ts, "key", T, T + 4000).axes
    found = bars(axes)
    assert len(found) == 48
    assert "value 7" in found and "(253 other values)" in found
    durations = [end - begin for spans in found.values() for begin, end in spans]
    assert sum(durations) == pytest.approx(4000.0)


def test_many_bands() -> None:
    """Of many samples, each column shows all values that are held in it."""
    values = np.zeros(50_000, bool)
    values[[0, 12_345, 40_000, 49_999]] = True
    (axes,) = plot_sensors(sensor(values, 0.1), "key", T, T + 6000).axes
    found = bars(axes)
    assert [round(begin / 100) for begin, _ in found["True"]] == [0, 12, 40, 50]
    assert found["True"][-1][1] == 6000.0
    assert all(end - begin < 20.0 for begin, end in found["True"][:-1])
    ((begin, end),) = found["False"]
    assert (begin, round(end / 100)) == (0.0, 50)


# ----------------------------------------------------------------------------------------- images


def test_arrays() -> None:
    """Arrays are an image of time against index: each is held until the next, and before the first is nothing."""
    ts = sensor(np.arange(6.0).reshape(3, 2))
    figure = plot_sensors(ts, "key", T - 10, T + 40)
    axes, colors = figure.axes
    pixels = picture(axes)
    assert pixels.shape[0] == 2
    at = [int((moment + 10) / 50 * pixels.shape[1]) for moment in (-5, 5, 15, 35)]
    nan = pytest.approx(np.nan, nan_ok=True)
    assert pixels[:, at].T.tolist() == [[nan, nan], [0, 1], [2, 3], [4, 5]]
    left, right, bottom, top = axes.images[0].get_extent()
    assert (seconds([left, right]), bottom, top) == ([-10.0, 40.0], -0.5, 1.5)
    assert axes.get_ylabel() == "index"
    assert colors.get_ylim() == (0.0, 5.0)


def test_complex_arrays() -> None:
    """Complex arrays are drawn as amplitude and phase, on scales of their own."""
    values = np.array([[1j, -2.0], [3.0, np.nan]], np.complex64)
    figure = plot_sensors(sensor(values), "key", T, T + 20)
    amplitude, phase, *colors = figure.axes
    assert picture(amplitude)[0, [0, -1]].tolist() == [1.0, 3.0]
    assert picture(phase)[0, [0, -1]].tolist() == [90.0, 0.0]
    assert np.isnan(picture(phase)[1, -1]) and np.isnan(picture(amplitude)[1, -1])
    assert [one.get_ylabel() for one in colors] == ["amplitude", "phase (degrees)"]
    assert colors[1].get_ylim() == (-180.0, 180.0)
    assert amplitude.get_title("right") == "2 samples, 1 NaN"


def test_large_arrays() -> None:
    """A pixel of many elements shows the one that is furthest from the median: peaks and drop-outs remain."""
    rng = np.random.default_rng(1)
    values = (rng.random((1500, 900)) + 10.0).astype(np.float32)
    values[1234, 777], values[999, 3] = 99.0, -5.0
    figure = plot_sensors(sensor(values, 1.0), "key")
    axes, colors = figure.axes
    pixels = picture(axes)
    assert pixels.shape[0] <= 200 and pixels.shape[1] <= 1000
    assert (np.nanmax(pixels), np.nanmin(pixels)) == (99.0, -5.0)
    # A few values far beyond do not leave all the others alike.
    assert (9.9 < colors.get_ylim()[0], colors.get_ylim()[1] < 11.1) == (True, True)
    colormap: Any = axes.images[0].cmap
    assert colormap.colorbar_extend == "both"
    assert axes.get_ylim() == (-0.5, 899.5)


@pytest.mark.parametrize(
    ("values", "expected", "label"),
    [
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], "index"),
        ([[1, 2.5], (3, None)], None, ""),
        ([[1, 2], [3], []], [[1, 2], [3, np.nan], [np.nan, np.nan]], "index"),
        (np.arange(8).reshape(2, 2, 2), [[0, 1, 2, 3], [4, 5, 6, 7]], "index in shape (2, 2)"),
        (np.array([[True, False]] * 2), [[1, 0], [1, 0]], "index"),
        (np.array([["a", "b"]] * 2), None, ""),
        (np.zeros((2, 0)), None, ""),
    ],
)
def test_shapes(values: Any, expected: list[list[float]] | None, label: str) -> None:
    """Lists of numbers and arrays with several axes are images; arrays of text or of nothing are bands."""
    axes = plot_sensors(sensor(values), "key", T, T + 10.0 * len(values)).axes[0]
    assert axes.get_ylabel() == label
    if expected is None:
        assert not axes.images and axes.get_yticklabels()
    else:
        pixels = picture(axes)
        columns = [int((n + 0.5) / len(values) * pixels.shape[1]) for n in range(len(values))]
        np.testing.assert_array_equal(pixels[:, columns].T, expected)


def test_blocks_of_an_image() -> None:
    """Elements along the longest axis are next to each other, and each such block has its index as a label."""
    values = np.arange(24).reshape(2, 6, 2)  # two samples of six channels and two polarisations
    ts = sensor(values)
    axes = plot_sensors(ts, "key", T, T + 20).axes[0]
    pixels = picture(axes)
    expected = values.transpose(0, 2, 1).reshape(2, 12)
    columns = [pixels.shape[1] // 4, 3 * pixels.shape[1] // 4]
    np.testing.assert_array_equal(pixels[:, columns].T, expected)
    labels = [(label.get_position()[1], label.get_text()) for label in axes.get_yticklabels()]
    assert labels == [(2.5, "[:, 0]"), (8.5, "[:, 1]")]
    lines = text(ts, "key")
    assert any(line.startswith("[2, 1]┤") for line in lines), lines


def test_labels_of_many_blocks() -> None:
    """Not every block has a label where there are many."""
    axes = plot_sensors(sensor(np.ones((2, 100, 9, 9))), "key").axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["[:, 0, 0]", "[:, 0, 3]"] and len(labels) == 27


def test_flat_envelope() -> None:
    """The area between the least and the greatest of many samples is visible where both are the same."""
    axes = plot_sensors(sensor(np.full(10_000, 2.5)), "key").axes[0]
    (patch,) = (one for one in axes.patches if isinstance(one, StepPatch))
    assert patch.get_edgecolor() == patch.get_facecolor()
    assert patch.get_linewidth() > 0.5


# ----------------------------------------------------------------------------------- several keys


def test_stacked() -> None:
    """Several sensors are stacked with one axis of time, also of different kinds."""
    ts = TelescopeState()
    add(ts, "azim", [1.0, 2.0])
    add(ts, "activity", ["slew", "track"])
    add(ts, "bandpass", np.ones((2, 4)))
    figure = plot_sensors(ts, ["azim", "activity", "bandpass"])
    panels = figure.axes[:3]
    assert [axes.get_title("left") for axes in panels] == ["azim", "activity", "bandpass"]
    assert len({axes.get_xlim() for axes in panels}) == 1
    draw(figure)
    assert len({(axes.get_position().x0, axes.get_position().x1) for axes in panels}) == 1
    assert [axes.get_xlabel() != "" for axes in panels] == [False, False, True]


def test_shared() -> None:
    """More than eight sensors share an axis for each kind, and fewer do if that is asked for."""
    ts = TelescopeState()
    for number in range(5):
        add(ts, f"m{number:03d}_azim", [1.0, 2.0])
        add(ts, f"m{number:03d}_activity", ["slew", "track"][number % 2 :])
    figure = plot_sensors(ts, "*", None, T + 20)
    activity, azim = figure.axes
    assert azim.get_title("left") == "m00…_azim (5 sensors)"
    assert len(steps(azim)) == 5
    legend = azim.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][1] == "m001"
    assert activity.get_title("left") == "m00…_activity (5 sensors)"
    found = bars(activity)
    assert found["m000"] == [(0.0, 10.0), (10.0, 20.0)]
    assert found["m001"] == [(0.0, 20.0)]
    legend = activity.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["slew", "track"]
    assert len(plot_sensors(ts, "*", stacked=True).axes) == 10
    assert len(plot_sensors(ts, "m000_*", stacked=False).axes) == 2


def test_views_and_globs() -> None:
    """Names are those of the view, globs are of full names; each sensor is drawn once."""
    ts = sensor([1.0], key="gain")
    add(ts, "beam_gain", [2.0])
    ts["beam_gain_table"] = 1
    beam = ts.view("beam")
    assert steps(plot_sensors(beam, b"gain").axes[0])[0][1] == [2.0]
    figure = plot_sensors(beam, ["gain", "*gain*"])
    assert [steps(axes)[0][1] for axes in figure.axes] == [[2.0], [2.0], [1.0]]
    figure = plot_sensors(ts, iter(["gain", "*gain*"]))
    assert [axes.get_title("left") for axes in figure.axes] == ["gain", "beam_gain"]


def test_on_every_backend(ts: TelescopeState) -> None:
    """Sensors of servers are drawn as those in memory."""
    add(ts, "gain", [1.5, 2.5])
    add(ts, "beam_mode", ["a", "b"])
    figure = plot_sensors(ts.view("beam"), ["mode", "ga*"], T + 5, T + 20)
    assert bars(figure.axes[0]) == {"a": [(5.0, 10.0)], "b": [(10.0, 20.0)]}
    assert steps(figure.axes[1]) == [([5.0, 10.0, 20.0], [1.5, 2.5])]


def test_given_axes() -> None:
    """Sensors are drawn on the axes of the caller, whose figure is returned."""
    ts = sensor([1.0, 2.0], key="a")
    add(ts, "b", [3.0])
    add(ts, "c", np.ones((2, 2), complex))
    figure = Figure()
    both = figure.subplots(2)
    assert plot_sensors(ts, ["a", "b"], ax=both[0]) is figure
    assert len(steps(both[0])) == 2
    plot_sensors(ts, ["a", "b"], T, T + 20, ax=both)
    assert both[1].get_title("left") == "b"
    plot_sensors(ts, "c", ax=figure.add_gridspec(1, 2).subplots())
    parts: Any = Figure().subfigures(2)
    part = parts[0]
    assert plot_sensors(ts, "a", ax=part.subplots()) is part.figure
    for number in range(9):
        add(ts, f"m{number}", [1.0])
    nine: Any = Figure().subplots(9)
    plot_sensors(ts, "m*", ax=nine)
    assert nine[8].get_title("left") == "m8"
    with pytest.raises(ValueError, match="There are 1 axes for 2 panels: c, amplitude, c, phase"):
        plot_sensors(ts, "c", ax=both[0])


# ------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (10.0, [str(second) for second in range(20, 31)]),
        (86400.0, ["Nov-15", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"]),
    ],
)
def test_labels_of_time(span: float, labels: list[str]) -> None:
    """The axis of time has short labels in UTC, and says the date, whatever matplotlib's settings."""
    ts = sensor([1.0])
    with mpl.rc_context({"timezone": "US/Pacific"}):
        figure = plot_sensors(ts, "key", T, T + span)
        draw(figure)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == labels
    assert axes.get_xlabel().startswith("UTC, 2023-11-14 22:13:20 to 2023-11-1")
    assert seconds(axes.get_xlim()) == [0.0, span]


@pytest.mark.parametrize(
    ("times", "label"),
    [
        ([1e15, 2e15], "seconds after 985000000000000.0 s since 1970"),
        ([T, T + 2e-6], "seconds after 2023-11-14 22:13:20 UTC"),
        ([0.0, 1e-4], "seconds after 1969-12-31 23:59:59.999998 UTC"),
    ],
)
def test_times_beyond_dates(times: list[float], label: str) -> None:
    """Where dates cannot say what the times are, they are seconds."""
    ts = TelescopeState()
    ts.add_many("key", [1.0, 2.0], times)
    figure = plot_sensors(ts, "key")
    draw(figure)
    assert figure.axes[0].get_xlabel() == label
    assert plot_sensors_as_text(ts, "key").endswith(f"{label}\n")


def test_times_of_any_form() -> None:
    """The range may be given in all forms of a time."""
    ts = sensor([1.0, 2.0])
    for start in (
        T,
        "2023-11-14T22:13:20",
        np.datetime64("2023-11-14T22:13:20"),
        datetime.fromtimestamp(T, timezone.utc),
    ):
        axes = plot_sensors(ts, "key", start, T + 20).axes[0]
        assert seconds(axes.get_xlim()) == [0.0, 20.0]


def test_times_relative_to_samples() -> None:
    """An age is before the last sample of all sensors that are plotted, and ``+`` after the first one."""
    ts = TelescopeState()
    ts.add_many("x_late", [1.0, 2.0], [T + 100, T + 7200])
    ts.add("early", "on", ts=T)
    ts.add("other", 1, ts=T + 1e6)
    ts.add("late", 1, ts=T + 1e6)  # which x_late hides
    keys = ["late", "ear*"]
    axes = plot_sensors(ts.view("x"), keys, "-1h").axes[0]
    assert seconds(axes.get_xlim())[0] == 3600.0
    axes = plot_sensors(ts.view("x"), keys, " -1.5 h", "+2h").axes[0]
    assert seconds(axes.get_xlim()) == [1800.0, 7200.0]
    assert "22:43:20" in plot_sensors_as_text(ts, "early", end="+30min")
    with pytest.raises(InvalidTimestampError, match="The range is empty"):
        plot_sensors(ts, "early", "+1s", "-1s")


def test_ages_on_a_server() -> None:
    """On a server, which gets more samples, an age is before now."""
    ts = TelescopeState(RedisBackend(FakeRedis()))
    ts.add("key", 1.0, ts=T)
    now = time.time()
    begin, _ = plot_sensors(ts, "key", "-1h").axes[0].get_xlim()
    assert now - 3600 - 1e-3 <= seconds([begin])[0] + T <= time.time() - 3600 + 1e-3


# ----------------------------------------------------------------------------------------- errors


def test_refused() -> None:
    """Missing keys, keys of other kinds, samples that cannot be decoded and empty ranges raise the usual errors."""
    ts = sensor([1.0])
    ts["n_chans"] = 4096
    ts.backend.execute(AddSample(b"bad", encode_sample(1.0, b"?")))
    for draw in (plot_sensors, plot_sensors_as_text):
        with pytest.raises(KeyError, match="'nope' not found"):
            draw(ts, ["key", "nope"])
        with pytest.raises(KeyError, match=r"No mutable key matches 'n\*'; 1 keys of other kinds"):
            draw(ts, "n*")
        with pytest.raises(ImmutableKeyError, match="not mutable: 'n_chans'"):
            draw(ts, ["n_chans"])
        with pytest.raises(BatchError, match="'bad'"):
            draw(ts, "bad")
        with pytest.raises(InvalidTimestampError, match="The range is empty"):
            draw(ts, "key", T, T)
        with pytest.raises(InvalidTimestampError, match="NaN"):
            draw(ts, "key", np.nan)
        with pytest.raises(TypeError, match="has no time zone"):
            draw(ts, "key", datetime(2023, 11, 14))
        with pytest.raises(ValueError, match="There is no key"):
            draw(ts, [])


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says what to install, and the store is not read."""
    for name in ("matplotlib", "matplotlib.figure", "plotext"):
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (plot_sensors, plot_sensors_as_text):
        with pytest.raises(ImportError, match="Install telstate with its extra 'plot'"):
            draw(TelescopeState(), "nope")


def test_pyplot_is_not_imported() -> None:
    """Plotting neither imports pyplot nor chooses a backend, and importing the module loads no matplotlib."""
    code = (
        "import sys, telstate, telstate.plot; assert 'matplotlib' not in sys.modules;"
        "ts = telstate.TelescopeState(); ts.add('a', 1.5);"
        "telstate.plot.plot_sensors(ts, 'a').savefig(sys.stdout.buffer, format='svg');"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_million_samples() -> None:
    """A million samples are drawn in about a second of processor time, whatever they are."""
    rng = np.random.default_rng(1)
    ts = sensor(np.cumsum(rng.standard_normal(10**6)), 0.01)
    begin = time.process_time()
    ts.get_range_arrays("key", st=0)
    reading = time.process_time() - begin
    begin = time.process_time()
    draw(plot_sensors(ts, "key"))
    plot_sensors_as_text(ts, "key")
    # The limit is generous: that it is exceeded means that samples are treated one by one.
    assert time.process_time() - begin - 2 * reading < 5.0


# ------------------------------------------------------------------------------------ in a terminal


def text(ts: TelescopeState, keys: Any, *span: float, **options: Any) -> list[str]:
    """Return the lines of a plot as text."""
    drawn = plot_sensors_as_text(ts, keys, *span, **options)
    assert drawn.endswith("\n")
    return drawn.splitlines()


def test_text_of_numbers() -> None:
    """Numbers are lines of dots within the width and the height, with round labels."""
    lines = text(sensor([1.0, 3.0, 2.0]), "key", T, T + 30, width=60, height=12)
    assert len(lines) == 12 and max(map(len, lines)) == 60
    assert lines[0] == "key" + " " * 48 + "3 samples"
    assert lines[-1] == "UTC, 2023-11-14 22:13:20 to 2023-11-14 22:13:50"
    rows = {line.partition("┤")[0].strip(): line.partition("┤")[2] for line in lines if "┤" in line}
    thirds = {label: [row[:18], row[21:37], row[41:57]] for label, row in rows.items()}
    for place, label in enumerate(["1", "3", "2"]):
        assert [third.strip() != "" for third in thirds[label]] == [n == place for n in range(3)]
    assert "22:13:30" in lines[-2]


def test_text_of_bands() -> None:
    """Bands are rows of blocks, the same without colours."""
    ts = sensor(["stop", "slew", "stop"])
    lines = text(ts, "key", T, T + 40, width=46)
    assert lines[2] == "stop┤" + "█" * 10 + " " * 10 + "█" * 20 + "│"
    assert lines[3] == "slew┤" + " " * 10 + "█" * 10 + " " * 20 + "│"
    colored = plot_sensors_as_text(ts, "key", T, T + 40, width=46, color=True)
    assert "\x1b[" in colored and "\x1b" not in "".join(lines)


def test_text_of_several_sensors() -> None:
    """Sensors that share an axis have letters, and * where several values are in one place."""
    ts = sensor(["stop", "slew", "stop", "track"], key="a")
    add(ts, "b", ["track"])
    lines = text(ts, ["a", "b"], T, T + 100, width=43, stacked=False)
    assert lines[2] == "a┤AAAABBBBAAAA" + "C" * 28 + "│"
    assert lines[3] == "b┤" + "C" * 40 + "│"
    assert lines[6] == "A stop  B slew  C track  * several"
    lines = text(ts, ["a", "b"], T, T + 1000, width=43, stacked=False)
    assert lines[2] == "a┤**" + "C" * 38 + "│"
    numbers = sensor([1.0], key="a")
    add(numbers, "b", [2.0])
    lines = text(numbers, "*", T, T + 10, width=43, height=10, stacked=False)
    assert lines[2] == "  2┤" + "B" * 38 + "│"
    assert "A a  B b" in lines


def test_text_of_arrays() -> None:
    """Arrays are shades of time against index."""
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    lines = text(sensor(values), "key", T - 10, T + 20, width=42)
    assert lines[2] == "1┤" + " " * 13 + "█" * 13 + "·" * 13 + "│"
    assert lines[3] == "0┤" + " " * 13 + "·" * 13 + "█" * 13 + "│"
    assert lines[6] == "· 0 to █ 1"


def test_text_fits() -> None:
    """A plot in a narrow or low terminal has what fits; the values of the longest duration have rows."""
    ts = sensor([f"value {n}" for n in range(40)] + ["value 7"] * 3)
    lines = text(ts, "key", width=50, height=14)
    assert len(lines) == 14 and max(map(len, lines)) <= 50
    assert any(line.strip().startswith("value 7┤") for line in lines)
    assert any("(32 other values)" in line for line in lines)
    for values in ([1.0], [np.nan], [1e300, -1e300], ["x"], np.ones((1, 3)), [1j]):
        assert max(map(len, text(sensor(values), "key", width=50, height=5))) <= 50
    assert "no samples" in text(ts, "key", T - 20, T - 10)[0]


def test_real_observation(real_snapshot: Path) -> None:
    """The targets and activities of a real observation are drawn, in a figure and in a terminal."""
    ts = TelescopeState.from_snapshot(real_snapshot)
    figure = plot_sensors(ts, ["m000_target", "m000_activity"])
    target, activity = figure.axes
    assert len(target.get_yticklabels()) == 48
    assert list(bars(activity)) == ["stop", "slew", "track"]
    lines = text(ts, "m0*_activity", width=100)
    assert "_activity (59 sensors)" in lines[0]
    assert sum(line.startswith("m0") and line[4] == "┤" for line in lines) == 59


def test_long_labels_and_the_caption() -> None:
    """Long labels leave room for the plot, and the caption has the times of the samples."""
    ts = sensor(["x" * 60, "y"], key="long")
    for antenna in range(2):
        add(ts, f"{'b' * 60}{antenna}", [1.0, 2.0])
    lines = text(ts, "long", width=200, height=10)
    assert max(line.find("┤") for line in lines) == 36
    assert lines[-1] == "UTC, 2023-11-14 22:13:20 to 2023-11-14 22:13:30"
    (axes,) = plot_sensors(ts, [f"{'b' * 60}{n}" for n in range(2)], stacked=False).axes
    legend = axes.get_legend()
    assert legend is not None
    labels = [one.get_text() for one in legend.get_texts()]
    assert len(set(labels)) == 2 and max(map(len, labels)) == 24


def test_lists_of_very_different_lengths() -> None:
    """Lists that would take far more memory as one array are drawn as bands."""
    values: list[Any] = [[1.0]] * 2000
    values[1000] = [1.0] * 2000
    assert "┤" in "".join(text(sensor(values), "key"))
    (axes,) = plot_sensors(sensor(values), "key").axes  # without the axes of a colour bar
    assert len(axes.get_yticklabels()) == 2
