"""Samples as pandas series and data frames, synchronous and asyncio."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from state_subjects import Subject

from telstate import (
    BatchError,
    DecodeError,
    ImmutableKeyError,
    InvalidTimestampError,
    TelescopeState,
)
from telstate_backends import AddSample
from telstate_codec import encode_sample

# pandas is in the `test` dependency group, but an environment made by hand may not have it.
pandas: Any = pytest.importorskip("pandas")


async def test_series(subject: Subject) -> None:
    """A series has all samples, the key as its name, and UTC times to the nanosecond."""
    await subject.add_many("gain", [1.5, 2.0, 1.75], [1.7e9, 1.7e9 + 2.0**-20, 1.7e9 + 86400])
    series = await subject.view("beam").to_pandas("gain")
    assert (series.name, series.index.name, str(series.index.tz)) == ("gain", "time", "UTC")
    assert str(series.index.dtype) == "datetime64[ns, UTC]"
    assert series.tolist() == [1.5, 2.0, 1.75]
    nanoseconds = [1_700_000_000_000_000_000, 1_700_000_000_000_000_954, 1_700_086_400_000_000_000]
    assert [time.value for time in series.index] == nanoseconds
    assert (await subject.to_pandas(b"gain", 1.7e9 + 1, include_previous=True)).tolist() == [
        2.0,
        1.75,
    ]
    assert (await subject.to_pandas("gain", None)).tolist() == [1.75]
    empty = await subject.to_pandas("gain", st=2e9)
    assert (len(empty), empty.dtype, str(empty.index.tz)) == (0, np.float64, "UTC")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([True, False], "bool"),
        ([1j, 2j], "complex128"),
        (np.arange(2, dtype=">f4"), "float32"),
        (np.array([2**64 - 1] * 2, "u8"), "uint64"),
        (np.arange(2).astype("M8[us]"), "datetime64[us]"),
        (np.arange(2).astype("m8[ns]"), "timedelta64[ns]"),
        (np.arange(2).astype("m8[25us]"), "object"),
        (np.arange(2).astype("M8[Y]"), "object"),
        (["on", "off"], "object"),
        ([None, 1], "object"),
        ([[1], [2]], "object"),
        (np.zeros((2, 3)), "object"),
        (np.zeros(2, "f8,i4"), "object"),
        ([np.array("on")] * 2, "object"),
    ],
)
def test_dtypes(values: Any, dtype: str) -> None:
    """Numbers and times keep their dtype; all other values are unchanged objects."""
    ts = TelescopeState()
    ts.add_many("key", values, [1, 2])
    series = ts.to_pandas("key")
    assert str(series.dtype) == dtype
    expected = [value for value, _ in ts.get_range("key", st=0)]
    if dtype == "object":
        for one, value in zip(series, expected, strict=True):
            assert np.array_equal(one, value)
    else:
        assert series.to_numpy().tolist() == [value for value in np.array(expected).tolist()]


async def test_table(subject: Subject) -> None:
    """A table has a column for each key, a row for each time, and NaN where there is no sample."""
    await subject.add_many("gain", [1.5, 2.5], [10.0, 30.0])
    await subject.add_many("mode", ["a", "b"], [20.0, 30.0])
    await subject.add_many("count", [2**53 + 1, 7], [10.0, 20.0])
    await subject.add_many("twice", [1, 2], [10.0, 10.0])
    table = await subject.view("beam").to_dataframe(["gain", b"mode", "count", "twice"])
    assert list(table.columns) == ["gain", "mode", "count", "twice"]
    assert [time.timestamp() for time in table.index] == [10.0, 20.0, 30.0]
    assert (table.index.name, str(table.index.tz)) == ("time", "UTC")
    gain = table["gain"].ffill()
    assert gain.tolist() == [1.5, 1.5, 2.5]
    assert table["mode"].tolist()[1:] == ["a", "b"]
    assert table["mode"].isna().tolist() == [True, False, False]
    assert table["count"].tolist()[:2] == [2**53 + 1, 7]
    assert table["twice"].tolist()[0] == 2
    part = await subject.to_dataframe(iter(["gain", "mode"]), 25.0, 30.0, include_previous=True)
    assert [time.timestamp() for time in part.index] == [10.0, 20.0]
    assert len(await subject.to_dataframe(["gain"], st=99)) == 0
    assert len(await subject.to_dataframe([])) == 0


async def test_table_of_a_glob(subject: Subject) -> None:
    """A glob chooses the sensors whose full names match; a plain name is a key of the view."""
    beam = subject.view("beam")
    await beam.add("gain", 2.0, ts=10.0)
    await beam.set("gain_table", 1)
    await subject.add("gain", 1.0, ts=10.0)
    for glob in ("*gain*", b"*gain*"):
        table = await beam.to_dataframe(glob, st=5)
        assert table.iloc[0].to_dict() == {"beam_gain": 2.0, "gain": 1.0}
    assert (await beam.to_dataframe("gain")).iloc[0].to_dict() == {"gain": 2.0}


async def test_similar_key() -> None:
    """A missing key of a table suggests a similar one, as a series does."""
    ts = TelescopeState()
    ts.add("gain", 1.5)
    with pytest.raises(KeyError) as caught:
        ts.to_dataframe(["gain", "gian"])
    assert str(caught.value).endswith("did you mean 'gain'?")


async def test_samples_that_cannot_be_decoded(subject: Subject) -> None:
    """Samples that cannot be decoded raise a `BatchError` with an error for each key."""
    await subject.add("gain", 1.5, ts=1.0)
    await subject.execute(AddSample(b"bad", encode_sample(1.0, b"?")))
    with pytest.raises(BatchError, match="1 of 2 keys cannot be read: 'bad'") as caught:
        await subject.to_dataframe(["gain", "bad"])
    assert [type(error) for error in caught.value.exceptions] == [DecodeError]


async def test_refused(subject: Subject) -> None:
    """Errors name every key that is missing or of another kind, and times outside pandas' range."""
    await subject.set("i", 1)
    await subject.add("far", 1, ts=1e10)
    with pytest.raises(KeyError, match="'nope'"):
        await subject.to_pandas("nope")
    await subject.set("gain_table", 1)
    await subject.set_indexed("x", 1, 2)
    await subject.add("gain", 1.5, ts=1.0)
    for keys in (["nope", "far", "i"], "nope"):
        with pytest.raises(KeyError, match="^'nope' not found"):
            await subject.to_dataframe(keys)
    with pytest.raises(KeyError, match="^'nope' not found; 'nor_this' not found$"):
        await subject.to_dataframe(["nope", "gain", "nor_this"])
    with pytest.raises(ImmutableKeyError, match=r"not mutable: 'i', 'x'\. A glob"):
        await subject.to_dataframe(["i", "gain", "x"])
    with pytest.raises(
        KeyError, match=r"^No mutable key matches '\[ix\]'; 2 keys of other kinds do$"
    ):
        await subject.to_dataframe("[ix]")
    with pytest.raises(InvalidTimestampError, match="'far'.*later than pandas"):
        await subject.to_pandas("far")
    with pytest.raises(InvalidTimestampError, match="'far'.*later than pandas"):
        await subject.to_dataframe(["far"])


async def test_without_pandas(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pandas, the error says what to install, and the store is not read."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="Install telstate with its extra 'pandas'"):
        await subject.to_pandas("nope")
    with pytest.raises(ImportError, match="Install telstate with its extra 'pandas'"):
        await subject.to_dataframe(["nope"])


def test_pandas_is_imported_only_when_used() -> None:
    """Arrays and batches do not import pandas."""
    code = (
        "import sys, telstate; ts = telstate.TelescopeState(); ts.add_many('a', [1.5], [1]);"
        "ts.get_range_arrays('a'); ts.get_many(['a']); sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
