"""Samples as pandas objects, indexed by time; only here is pandas imported, when it is first asked for.

Rules: no number changes on the way, except that pandas makes floats of small integers to have NaN among
them. Times become UTC, to the nanosecond. What pandas has no columns for (arrays, structures, times of
units of its own) becomes objects. pandas is an extra: ``telstate[pandas]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from telstate.batches import Queued
from telstate.errors import BatchError
from telstate.suggestions import MissingKeyError
from telstate_backends import ImmutableKeyError, KeyType
from telstate_codec import (
    InvalidTimestampError,
    Key,
    SampleArrays,
    decode_key,
    encode_key,
    key_repr,
)

if TYPE_CHECKING:
    import pandas

INDEX_NAME = "time"
# Not long after this, in the year 2262, nanoseconds since 1970 no longer fit in 64 bits.
LAST_TIME = 9.2e9
# Up to here, floats hold every integer.
_EXACT = 2**53
# The units of times that are seconds or a part of them, or so many of one; pandas has those.
_UNITS = {f"[{unit}]" for unit in ("W", "D", "h", "m", "s", "ms", "us", "ns")}


def is_glob(keys: Key | Iterable[Key]) -> TypeGuard[Key]:
    """Tell whether keys are given by a glob; a plain name is none."""
    return isinstance(keys, (str, bytes)) and any(
        sign in decode_key(encode_key(keys)) for sign in "*?[\\"
    )


def names_in(keys: Key | Iterable[Key]) -> list[Key]:
    """List keys that are given by their names, or one key."""
    return [keys] if isinstance(keys, (str, bytes)) else list(keys)


def sensors_in(kinds: Mapping[str, KeyType], glob: Key) -> list[Key]:
    """Choose from the keys that match a glob those that have samples.

    Raises
    ------
    KeyError
        If there is none.
    """
    sensors: list[Key] = [key for key, kind in kinds.items() if kind is KeyType.MUTABLE]
    if not sensors:
        others = f"; {len(kinds)} of another kind do" if kinds else ""
        raise MissingKeyError(f"No mutable key matches {key_repr(glob)}{others}")
    return sensors


def samples_of(found: Mapping[Key, Queued[SampleArrays]]) -> dict[Key, SampleArrays]:
    """Give what was read of each key.

    Raises
    ------
    KeyError, ImmutableKeyError, BatchError
        If keys are missing, have no samples, or something else went wrong: all of one sort.
    """
    failed = {key: one.error for key, one in found.items() if one.error is not None}
    missing = [error for error in failed.values() if isinstance(error, MissingKeyError)]
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise MissingKeyError("; ".join(str(error.args[0]) for error in missing))
    others = [key for key, error in failed.items() if isinstance(error, ImmutableKeyError)]
    if others:
        raise ImmutableKeyError(
            f"A table has samples of mutable keys, which these are not: {', '.join(map(key_repr, others))}; "
            "choose with a glob, to_dataframe('m000_*'), or with [key for key, kind in "
            "ts.key_types('m000_*').items() if kind is KeyType.MUTABLE]"
        )
    if failed:
        raise BatchError(
            f"{len(failed)} of {len(found)} keys cannot be read: {', '.join(map(key_repr, failed))}",
            list(failed.values()),
        )
    return {key: one.value for key, one in found.items()}


def load_pandas() -> Any:
    """Import pandas.

    Raises
    ------
    ImportError
        If it is not installed; it says what to do.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "Tables need pandas, which is not installed: pip install 'telstate[pandas]'.",
            name="pandas",
        ) from error
    return pandas


def make_series(key: Key, samples: SampleArrays) -> pandas.Series:
    """Make a series of the samples of a key."""
    make = load_pandas().Series
    values = samples.values
    labels = {"index": _times(key, samples.timestamps), "name": _name(key)}
    if values.ndim == 1 and _has_columns_of(values.dtype):
        try:
            native: pandas.Series = make(values.astype(values.dtype.newbyteorder("=")), **labels)
        except ValueError:
            pass  # Times that are beyond those of pandas.
        else:
            return native
    objects: pandas.Series = make(list(values), dtype=object, **labels)
    return objects


def _has_columns_of(dtype: Any) -> bool:
    """Tell whether pandas has columns of a dtype."""
    return dtype.kind in "biufc" or (dtype.kind in "mM" and dtype.str[3:] in _UNITS)


def make_frame(samples: Mapping[Key, SampleArrays]) -> pandas.DataFrame:
    """Make a table of the samples of several keys, a column each; where one has none, it is NaN."""
    loaded = load_pandas()
    columns: list[Any] = [make_series(key, arrays) for key, arrays in samples.items()]
    columns = [column[~column.index.duplicated(keep="last")] for column in columns]
    index = loaded.DatetimeIndex([], dtype="datetime64[ns, UTC]", name=INDEX_NAME)
    for column in columns:
        index = index.union(column.index)
    aligned = {column.name: _with_gaps(column, index) for column in columns}
    table: pandas.DataFrame = loaded.DataFrame(aligned, index=index)
    return table


def _with_gaps(column: Any, index: Any) -> Any:
    """Give a column a row for each time."""
    missing = len(index) > len(column)
    if missing and column.dtype.kind in "iu" and not column.between(-_EXACT, _EXACT).all():
        column = column.astype(object)
    return column.reindex(index)


def _times(key: Key, timestamps: Any) -> Any:
    """Make an index of times in seconds, exact to the nanosecond."""
    if len(timestamps) and timestamps.max() > LAST_TIME:
        raise InvalidTimestampError(
            f"Key {key_repr(key)} has a sample at {timestamps.max()} s, which is beyond the years that "
            "pandas can count in nanoseconds; take an earlier end, or get_range_arrays."
        )
    seconds = timestamps // 1.0
    # Apart from each other: as one float, they would be as coarse as 256 ns.
    nanoseconds = ((timestamps - seconds) * 1e9).round().astype("int64")
    nanoseconds += seconds.astype("int64") * 10**9
    index = load_pandas().DatetimeIndex
    return index(nanoseconds.view("datetime64[ns]"), tz="UTC", name=INDEX_NAME)


def _name(key: Key) -> str:
    return decode_key(encode_key(key))
