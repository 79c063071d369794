"""Samples as pandas objects, indexed by time.

pandas is an extra, ``telstate[pandas]``, and is only imported here. No number changes, except that pandas
turns small integers into floats to represent missing ones as NaN. Times are UTC, in nanoseconds. Values
for which pandas has no columns (arrays, structures, times in unusual units) become objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from telstate._batch import Queued
from telstate._calls.common import is_glob
from telstate.errors import BatchError, MissingKeyError
from telstate_backends import ImmutableKeyError, KeyType
from telstate_codec import (
    InvalidTimestampError,
    Key,
    SampleArrays,
    Time,
    decode_key,
    encode_key,
    key_repr,
)
from telstate_rdb.extras import require_extra

if TYPE_CHECKING:
    import pandas

    from telstate.pipeline import PipelineBase

ResultT = TypeVar("ResultT")

INDEX_NAME = "time"
# Shortly after this, in the year 2262, nanoseconds since 1970 exceed 64 bits.
MAX_TIME = 9.2e9
# Floats represent all integers up to here.
MAX_EXACT = 2**53
# pandas has these units of time, without a factor.
_UNITS = {f"[{unit}]" for unit in ("W", "D", "h", "m", "s", "ms", "us", "ns")}


def queue_ranges(
    pipeline: PipelineBase[Any],
    keys: Mapping[Key, bool],
    span: tuple[Time | None, Time | None, bool | None, bool],
) -> dict[Key, Queued[SampleArrays]]:
    """Queue a `get_range_arrays` of each key; those that map to True are full names."""
    root = pipeline.root()
    return {
        key: (root if is_full else pipeline).get_range_arrays(key, *span)
        for key, is_full in keys.items()
    }


def select_mutable(kinds: Mapping[str, KeyType], glob: Key) -> list[Key]:
    """Return the mutable ones of the keys that match a glob; none is a `KeyError`."""
    sensors: list[Key] = [key for key, kind in kinds.items() if kind is KeyType.MUTABLE]
    if not sensors:
        others = f"; {len(kinds)} keys of other kinds do" if kinds else ""
        raise MissingKeyError(f"No mutable key matches {key_repr(glob)}{others}")
    return sensors


def samples_of(found: Mapping[Key, Queued[ResultT]]) -> dict[Key, ResultT]:
    """Return the samples of each key, or raise an error for all keys with the most important problem."""
    failed = {key: one.error for key, one in found.items() if one.error is not None}
    missing = [error for error in failed.values() if isinstance(error, MissingKeyError)]
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise MissingKeyError("; ".join(str(error.args[0]) for error in missing))
    others = [key for key, error in failed.items() if isinstance(error, ImmutableKeyError)]
    if others:
        raise ImmutableKeyError(
            f"Only mutable keys have samples, and these are not mutable: "
            f"{', '.join(map(key_repr, others))}. A glob, such as 'm000_*', selects the mutable keys."
        )
    if failed:
        raise BatchError(
            f"{len(failed)} of {len(found)} keys cannot be read: {', '.join(map(key_repr, failed))}",
            list(failed.values()),
        )
    return {key: one.value for key, one in found.items()}


@contextmanager
def advising_table(key: Key) -> Iterator[None]:
    """Add to the error for a missing key that looks like a glob which method takes globs."""
    try:
        yield
    except MissingKeyError as error:
        if is_glob(key):
            error.args = (f"{error.args[0]}; to_dataframe takes globs",)
        raise


def load_pandas() -> Any:
    """Import pandas, or raise an `ImportError` that says how to install it."""
    require_extra("telstate", "pandas", "Tables need", "pandas")
    import pandas

    return pandas


def make_series(key: Key, samples: SampleArrays) -> pandas.Series:
    """Return the samples of a key as a series."""
    make = load_pandas().Series
    values = samples.values
    labels = {
        "index": time_index(key, samples.timestamps),
        "name": decode_key(encode_key(key)),
    }
    if values.ndim == 1 and _is_column_dtype(values.dtype):
        try:
            native: pandas.Series = make(values.astype(values.dtype.newbyteorder("=")), **labels)
        except ValueError:
            pass  # times that pandas cannot represent
        else:
            return native
    objects: pandas.Series = make(list(values), dtype=object, **labels)
    return objects


def make_frame(samples: Mapping[Key, SampleArrays]) -> pandas.DataFrame:
    """Return the samples of several keys as a table with a column each, NaN where a key has none."""
    loaded = load_pandas()
    columns: list[Any] = [make_series(key, arrays) for key, arrays in samples.items()]
    columns = [column[~column.index.duplicated(keep="last")] for column in columns]
    index = loaded.DatetimeIndex([], dtype="datetime64[ns, UTC]", name=INDEX_NAME)
    for column in columns:
        index = index.union(column.index)
    aligned = {column.name: _align(column, index) for column in columns}
    table: pandas.DataFrame = loaded.DataFrame(aligned, index=index)
    return table


def _is_column_dtype(dtype: Any) -> bool:
    """Return whether pandas has columns of a dtype."""
    return dtype.kind in "biufc" or (dtype.kind in "mM" and dtype.str[3:] in _UNITS)


def _align(column: Any, index: Any) -> Any:
    """Add the missing times to a column, as objects where NaN would make integers inexact."""
    missing = len(index) > len(column)
    if missing and column.dtype.kind in "iu" and not column.between(-MAX_EXACT, MAX_EXACT).all():
        column = column.astype(object)
    return column.reindex(index)


def time_index(key: Key, timestamps: Any) -> Any:
    """Return an index of times in seconds, exact to the nanosecond."""
    if len(timestamps) and timestamps.max() > MAX_TIME:
        raise InvalidTimestampError(
            f"Key {key_repr(key)} has a sample at {timestamps.max()} s, later than pandas can "
            "represent in nanoseconds. Choose an earlier end, or use get_range_arrays."
        )
    seconds = timestamps // 1.0
    # Converted separately: as one float, nanoseconds would be rounded to multiples of 256.
    nanoseconds = ((timestamps - seconds) * 1e9).round().astype("int64")
    nanoseconds += seconds.astype("int64") * 10**9
    index = load_pandas().DatetimeIndex
    return index(nanoseconds.view("datetime64[ns]"), tz="UTC", name=INDEX_NAME)
