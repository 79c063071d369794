"""What is drawn of a sensor: each pixel has the extremes of what is held in it, whatever the values are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_client import Client, serve

from telstate import TelescopeState
from telstate.plot._panels import Bands, Numbers
from telstate.web import create_app
from telstate.web._plots import MAX_BANDS, plot_of
from telstate.web._reader import cut, decode_sensor
from telstate_codec import encode_sample, encode_value

values = st.floats(width=32) | st.integers(-(2**63), 2**63 - 1).map(float)


def held(times: list[float], numbers: list[float], begin: float, end: float) -> list[float]:
    """Return the numbers that a sensor has at some time from `begin` to before `end`."""
    found = []
    for place, time in enumerate(times):
        until = times[place + 1] if place + 1 < len(times) else math.inf
        if time < end and until > begin:
            found.append(numbers[place])
    return [number for number in found if math.isfinite(number)]


@given(
    samples=st.dictionaries(st.integers(0, 1000), values, min_size=1, max_size=200),
    begin=st.floats(-100, 1100),
    length=st.floats(0.5, 2000),
    width=st.integers(1, 30),
)
def test_pixels_have_the_extremes(
    samples: dict[int, float], begin: float, length: float, width: int
) -> None:
    """The least and the greatest of a pixel are those of the samples that are held in it."""
    times = sorted(map(float, samples))
    numbers = [samples[int(time)] for time in times]
    end = begin + length
    whole = Numbers("gain", np.array(times), np.array(numbers))
    drawn = plot_of(cut(whole, begin, end), begin, end, width, "")
    if drawn["type"] == "none":
        assert times[0] > end
    elif drawn["exact"]:
        assert len(drawn["time"]) <= 2 * width
        shown = [number for time, number in zip(times, numbers) if begin < time <= end]
        expected = [number if math.isfinite(number) else None for number in shown]
        assert drawn["low"] == drawn["high"]
        assert drawn["low"][len(drawn["low"]) - len(expected) :] == expected
    else:
        edges = [*drawn["time"], end]
        assert (len(drawn["low"]), edges[0]) == (width, begin)
        for place, (low, high) in enumerate(zip(drawn["low"], drawn["high"])):
            some = held(times, numbers, edges[place], edges[place + 1])
            assert (low, high) == (min(some, default=None), max(some, default=None))


@given(
    codes=st.lists(st.integers(0, 5), min_size=1, max_size=300),
    width=st.integers(1, 20),
    begin=st.integers(-10, 310),
    length=st.integers(1, 400),
)
def test_bands_cover_what_is_held(codes: list[int], width: int, begin: int, length: int) -> None:
    """Bands tell which value a sensor has at each time from its first sample on."""
    times = np.arange(float(len(codes)))
    end = begin + length
    whole = Bands("activity", times, np.array(codes), [f"label {code}" for code in range(6)])
    drawn = plot_of(cut(whole, begin, end), begin, end, width, "")
    if drawn["type"] == "none":
        assert end < 0
        return
    assert drawn["merged"] is False
    for time in np.arange(max(begin, 0), end) + 0.5:
        expected = f"label {codes[min(int(time), len(codes) - 1)]}"
        found = [
            drawn["labels"][code] for first, last, code in drawn["bands"] if first <= time < last
        ]
        assert found == [expected]


def test_merged_bands_leave_nothing_out() -> None:
    """Where bands are merged, each value still has a band where it is held."""
    count = 3 * MAX_BANDS
    codes = np.arange(count) % 3
    codes[count // 2] = 3
    whole = Bands("activity", np.arange(float(count)), codes, ["a", "b", "c", "d"])
    drawn = plot_of(whole, 0.0, float(count), 500, "")
    assert drawn["merged"] is True
    (rare,) = (
        [first, last] for first, last, code in drawn["bands"] if drawn["labels"][code] == "d"
    )
    assert rare[0] <= count // 2 <= rare[1]
    assert rare[1] - rare[0] < count / 200


SENSORS: dict[str, list[Any]] = {
    "integers": [2**53 + 1, -(2**63), 2**64 - 1, 0],
    "huge": [1e308, -1e308, 1.0],
    "infinite": [math.inf, -math.inf, math.nan],
    "mixed": [1, "a", None, [1, 2], b"\xff", True],
    "gaps": [1, None, 2.5],
    "booleans": [True, False, True],
    "bytes": [b"\x00", b"\xff"],
    "one": [7],
    "complex": [1 + 1j, -1j, complex(math.nan, 0)],
    "lists": [[1, 2], [3, 4], [5]],
    "structures": [{"a": 1}, {"a": 2}],
    "arrays": [np.arange(6.0).reshape(2, 3), np.ones((2, 3))],
    "complex_arrays": [np.array([1j, 2]), np.array([3, 4j])],
    "integer_arrays": [np.array([2**63], "u8"), np.array([1], "u8")],
    "times": [np.datetime64("2026-11-30"), np.datetime64("2026-12-01")],
    "empty_arrays": [np.zeros(0), np.zeros(0)],
    "scalars": [np.float32(1.5), np.float32(2.5)],
    "different_arrays": [np.zeros(3), np.zeros((2, 2)), np.zeros(1)],
    "long_text": ["x" * 100_000, "y"],
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a page with sensors of all types."""
    ts = TelescopeState()
    for key, values in SENSORS.items():
        for number, value in enumerate(values):
            ts.add(key, value, ts=1e9 + number)
    ts.add_many("far", [1, 2, 3], [0.0, 1e300, 1.7e308])
    ts.add_many("near", [1, 2], [1e9, math.nextafter(1e9, math.inf)])
    with serve(create_app(ts)) as client:
        yield client


@pytest.mark.parametrize("key", SENSORS)
def test_every_type_can_be_drawn(client: Client, key: str) -> None:
    """Whatever the values are, there is a plot of the whole and of a part, in plain JSON."""
    whole = client.json("plot", key)
    assert whole["n"] == len(SENSORS[key])
    assert whole["type"] in ("steps", "bands", "waterfall")
    part = client.json("plot", key, start=1e9 + 0.5, end=1e9 + 0.6, width=1)
    assert (part["n"], part["begin"], part["end"]) == (1, 1e9 + 0.5, 1e9 + 0.6)
    before = client.json("plot", key, start=1.0, end=2.0)
    assert (before["type"], before["n"], before["first"]) == ("none", 0, 1e9)


def test_kinds_of_plots(client: Client) -> None:
    """Numbers are steps, labels are bands, arrays are waterfalls; complex ones have two parts."""
    kinds = {key: client.json("plot", key)["type"] for key in SENSORS}
    assert {key for key, kind in kinds.items() if kind == "waterfall"} >= {
        "arrays",
        "complex_arrays",
        "lists",
    }
    assert {key for key, kind in kinds.items() if kind == "bands"} >= {
        "mixed",
        "booleans",
        "bytes",
        "structures",
        "times",
        "long_text",
    }
    assert client.json("plot", "gaps")["high"] == [1.0, None, 2.5]
    assert client.json("plot", "infinite")["notes"] == ["3 NaN, infinite or missing"]
    phase = client.json("plot", "complex", part="phase")
    assert (phase["part"], phase["low"]) == ("phase", [45.0, -90.0, None])
    image = client.json("plot", "complex_arrays", part="phase")
    assert (image["shape"], image["z"]) == ([2], [[90.0, 0.0], [0.0, 90.0]])


def test_times_at_the_ends_of_floats(client: Client) -> None:
    """Times that no calendar has, and samples that are closer than a pixel can be, are drawn."""
    far = client.json("plot", "far", width=10)
    assert (far["first"], far["last"], far["n"]) == (0.0, 1.7e308, 3)
    near = client.json("plot", "near", width=10)
    assert near["high"] == [1.0, 2.0]
    assert client.json("plot", "near", start=-1e308, end=1e308)["n"] == 2


def test_decoding_once_is_decoding() -> None:
    """Samples of few different values are the same as if each were decoded."""
    for values in SENSORS.values():
        members = [
            encode_sample(float(n), encode_value(value)) for n, value in enumerate(values * 3)
        ]
        found = decode_sensor("key", members)
        assert len(found.times) == len(members)
        first = decode_sensor("key", members[: len(values)])
        assert type(first) is type(found)
        if isinstance(first, Bands):
            assert isinstance(found, Bands)
            assert first.labels == found.labels
            assert found.codes.tolist() == first.codes.tolist() * 3
        elif not isinstance(found, Bands):
            expected = np.concatenate([first.values] * 3)
            np.testing.assert_array_equal(found.values, expected)
