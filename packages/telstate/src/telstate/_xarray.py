"""Samples as xarray arrays with a coordinate of times.

xarray is an extra, ``telstate[xarray]``, and is only imported here. As in `telstate._pandas`, no number changes,
except that small integers become floats to represent missing ones as NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from telstate import _pandas
from telstate.pipeline import select_keys
from telstate.telescope_state import TelescopeState
from telstate_backends import KeyType
from telstate_codec import Key, SampleArrays, Time, decode_key, encode_key, key_repr
from telstate_rdb.extras import require_extra

if TYPE_CHECKING:
    import xarray


def to_xarray(
    ts: TelescopeState,
    keys: Key | Iterable[Key],
    st: Time | None = 0.0,
    et: Time | None = None,
    include_previous: bool | None = None,
    include_end: bool = False,
) -> xarray.DataArray | xarray.Dataset:
    """Return the samples of mutable keys as arrays with the coordinate ``time``; needs the extra ``xarray``.

    Parameters
    ----------
    ts
        A synchronous telescope state. In a view, keys are looked up under all its prefixes.
    keys
        A key or several. One with glob characters that does not exist is a Redis glob of full names, such as
        ``"m000_*"``, and selects all mutable keys that match, in every namespace.
    st, et, include_previous, include_end
        As for `TelescopeState.to_pandas`: without a range all samples are returned.

    Returns
    -------
    array : xarray.DataArray or xarray.Dataset
        For one key a `DataArray` named like the key, with the dimension ``time`` and those of its values:
        ``<key>_axis_1``, ``<key>_axis_2``... For several keys, or a glob, a `Dataset` with such a variable for each.
        ``time`` is datetime64[ns] in UTC. The attributes of a variable are its ``key`` and its ``kind``. Values
        that are neither numbers nor arrays of one shape (text, lists) are objects.

    Raises
    ------
    ValueError
        If the shape of the values of a key changes over time, or they cannot be stacked without a change.
    KeyError, ImmutableKeyError, BatchError, InvalidTimestampError
        As for `TelescopeState.to_dataframe`.
    ImportError
        If xarray is not installed.

    Notes
    -----
    The variables of a Dataset share the times of all of them, and have NaN where a key has no
    sample; ``.ffill("time")`` fills in the value at that time. Of several samples of one key at one time it has
    the last. Large arrays and frequent samples are better read one key at a time, since each gets as many rows
    as there are times.

    Examples
    --------
    >>> import numpy as np
    >>> from telstate import TelescopeState, to_xarray
    >>> ts = TelescopeState()
    >>> ts.add_many("bandpass", np.arange(6.0).reshape(2, 3), [100.0, 110.0])
    >>> bandpass = to_xarray(ts, "bandpass")
    >>> bandpass.dims, bandpass.shape
    (('time', 'bandpass_axis_1'), (2, 3))
    >>> bandpass.sel(time="1970-01-01T00:01:50").values
    array([3., 4., 5.])
    """
    _load_xarray()  # fails before anything is requested
    selected = select_keys(keys, ts.__contains__, ts.key_types, _pandas.select_mutable)
    is_single = isinstance(keys, str | bytes) and selected == {keys: False}
    with ts.pipeline(raise_errors=False) as p:
        found = _pandas.queue_ranges(p, selected, (st, et, include_previous, include_end))
    arrays = [_make_array(key, one) for key, one in _pandas.samples_of(found).items()]
    result: xarray.DataArray | xarray.Dataset = arrays[0] if is_single else _join(arrays)
    return result


def _load_xarray() -> Any:
    """Import xarray, or raise an `ImportError` that says how to install it."""
    require_extra("telstate", "xarray", "Arrays with coordinates need", "xarray")
    import xarray

    return xarray


def _make_array(key: Key, samples: SampleArrays) -> Any:
    """Return the samples of a key with their times."""
    name = decode_key(encode_key(key))
    values = samples.values
    if values.dtype == object:
        _check_stacked(key, samples)
    axes = [f"{name}_axis_{number}" for number in range(1, values.ndim)]
    times = _pandas.time_index(key, samples.timestamps).tz_localize(None)
    return _load_xarray().DataArray(
        values,
        dims=["time", *axes],
        coords={"time": ("time", times.values.astype("datetime64[ns]"), {"timezone": "UTC"})},
        name=name,
        attrs={"key": name, "kind": KeyType.MUTABLE.name.lower()},
    )


def _check_stacked(key: Key, samples: SampleArrays) -> None:
    """Raise an error if some values are arrays, which could not be stacked."""
    first: tuple[Any, float] | None = None
    has_arrays = False
    for value, time in zip(samples.values, samples.timestamps.tolist()):
        has_arrays = has_arrays or hasattr(value, "shape") and bool(value.shape)
        shape = getattr(value, "shape", ())
        first = first or (shape, time)
        if has_arrays and shape != first[0]:
            raise ValueError(
                f"Key {key_repr(key)} has a value of shape {first[0]} at {first[1]} and one of shape {shape} at "
                f"{time}. Choose a range of time in which they have one shape, or use get_range."
            )
    if has_arrays:
        raise ValueError(
            f"Key {key_repr(key)} has arrays of different types, which cannot be stacked. Choose a range of time "
            "in which they have one type, or use get_range."
        )


def _join(arrays: list[Any]) -> Any:
    """Return arrays as a dataset with the times of all of them."""
    arrays = [array.drop_duplicates("time", keep="last") for array in arrays]
    times = _pandas.load_pandas().DatetimeIndex([], dtype="datetime64[ns]")
    for array in arrays:
        times = times.union(array.indexes["time"])
    joined = _load_xarray().Dataset({array.name: _align(array, times) for array in arrays})
    joined["time"].attrs["timezone"] = "UTC"
    return joined


def _align(array: Any, times: Any) -> Any:
    """Add the missing times to an array, as objects where NaN would change other values."""
    if len(array.time) == len(times):
        return array
    limit = _pandas.MAX_EXACT
    kind = array.dtype.kind
    is_exact = kind in "fcmM" or (kind in "iu" and bool((abs(array) <= limit).all()))
    return (array if is_exact else array.astype(object)).reindex(time=times)
