"""Samples as xarray arrays and datasets."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from telstate import ImmutableKeyError, InvalidTimestampError, TelescopeState, to_xarray

xarray = pytest.importorskip("xarray")
GAINS = np.arange(12, dtype=np.complex64).reshape(2, 3, 2)


@pytest.fixture
def ts() -> TelescopeState:
    """A telescope state with sensors of several types."""
    ts = TelescopeState()
    ts.add_many("gains", GAINS, [1.6e9 + 0.25, 1.6e9 + 1])
    ts.add_many("m000_az", [10.5, 11.0], [1.6e9 + 1, 1.6e9 + 2])
    ts.add_many("m000_count", [1, 2**53 + 1, 3], [1.6e9 + 1, 1.6e9 + 1, 1.6e9 + 2])
    ts.add("m000_mode", "track", ts=1.6e9 + 1)
    ts.add("m000_on", True, ts=1.6e9)
    ts["n_chans"] = 4096
    return ts


def test_an_array_sensor(ts: TelescopeState) -> None:
    """It has a dimension of times in UTC, exact to the nanosecond, and one for each axis."""
    array = to_xarray(ts, "gains")
    assert isinstance(array, xarray.DataArray)
    assert (array.name, array.dims) == ("gains", ("time", "gains_axis_1", "gains_axis_2"))
    assert array.attrs == {"key": "gains", "kind": "mutable"}
    assert array.dtype == np.complex64
    assert np.array_equal(array.values, GAINS)
    assert array.time.dtype == "datetime64[ns]"
    assert array.time.attrs == {"timezone": "UTC"}
    expected = ["2020-09-13T12:26:40.250", "2020-09-13T12:26:41"]
    assert array.time.values.tolist() == np.array(expected, "datetime64[ns]").tolist()


def test_ranges_and_views(ts: TelescopeState) -> None:
    """The parameters are those of tables, and keys are looked up in the view."""
    view = ts.view("m000")
    assert to_xarray(view, "az").values.tolist() == [10.5, 11.0]
    assert to_xarray(view, "az", 1.6e9 + 1, 1.6e9 + 2).values.tolist() == [10.5]
    assert to_xarray(view, "az", 1.6e9 + 1, 1.6e9 + 2, include_end=True).shape == (2,)
    assert to_xarray(view, "az", 1.6e9 + 3, include_previous=True).values.tolist() == [11.0]
    assert to_xarray(view, "az", 1.6e9 + 3).shape == (0,)
    assert to_xarray(view, ["az"])["az"].shape == (2,)


def test_several_sensors(ts: TelescopeState) -> None:
    """They share the times of all of them; no value but small integers changes for that."""
    dataset = to_xarray(ts, ["gains", "m000_az", "m000_count", "m000_mode", "m000_on"])
    assert isinstance(dataset, xarray.Dataset)
    assert dict(dataset.sizes) == {"time": 4, "gains_axis_1": 3, "gains_axis_2": 2}
    assert dataset.time.attrs == {"timezone": "UTC"}
    assert dataset.m000_az.attrs == {"key": "m000_az", "kind": "mutable"}
    columns = {name: column(dataset[name].values) for name in dataset if name != "gains"}
    assert columns == {
        "m000_az": [None, None, 10.5, 11.0],
        "m000_count": [None, None, 2**53 + 1, 3],
        "m000_mode": [None, None, "track", None],
        "m000_on": [True, None, None, None],
    }
    assert np.array_equal(dataset.gains.values[1:3], GAINS)
    assert np.isnan(dataset.gains.values[[0, 3]]).all()
    assert set(to_xarray(ts, "m000_[ac]*")) == {"m000_az", "m000_count"}
    same = to_xarray(ts, ["m000_az", "m000_count"])
    assert (same.m000_count.dtype, same.m000_az.dtype) == (np.int64, np.float64)


def column(values: Any) -> list[Any]:
    """Return values as a list, with None for NaN."""
    return [None if value != value else value for value in values.tolist()]


def test_shapes_that_change(ts: TelescopeState) -> None:
    """They are an error that says when they change."""
    ts.add("gains", np.zeros(3), ts=1.6e9 + 5)
    message = r"'gains' has a value of shape \(3, 2\) at 1600000000.25 and one of shape \(3,\) at 1600000005.0"
    for keys in ("gains", ["m000_az", "gains"]):
        with pytest.raises(ValueError, match=message):
            to_xarray(ts, keys)
    assert to_xarray(ts, "gains", et=1.6e9 + 5).shape == (2, 3, 2)
    ts.add_many("late", [1.0, np.ones(2)], [1, 2])
    with pytest.raises(ValueError, match=r"shape \(\) at 1.0 and one of shape \(2,\) at 2.0"):
        to_xarray(ts, "late")
    ts.add_many("mixed", [np.array([2**60 + 1]), np.array([0.5])], [1, 2])
    with pytest.raises(ValueError, match="'mixed' has arrays of different types"):
        to_xarray(ts, "mixed")


def test_errors(ts: TelescopeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are missing or of another kind are named, as are times that are too late."""
    with pytest.raises(KeyError, match="nope"):
        to_xarray(ts, ["m000_az", "nope"])
    with pytest.raises(KeyError, match=r"No mutable key matches 'n\*'"):
        to_xarray(ts, "n*")
    with pytest.raises(ImmutableKeyError, match="n_chans"):
        to_xarray(ts, "n_chans")
    ts.add("late", 1, ts=1e10)
    with pytest.raises(InvalidTimestampError, match="'late'"):
        to_xarray(ts, "late")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match="Install telstate with its extra 'xarray'"):
        to_xarray(ts, "m000_az")
