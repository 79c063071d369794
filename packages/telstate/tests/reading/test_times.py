"""Every form of a time, in every method that takes one, synchronous and asyncio."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas
import pytest
import state_subjects

from telstate import InvalidTimestampError, TelescopeState

NOON = 1796040000.0
FORMS = [
    "2026-11-30T12:00:00",
    "2026-11-30T14:00:00+02:00",
    "1796040000",
    datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.timezone.utc),
    pandas.Timestamp("2026-11-30T13:00", tz="Europe/Paris"),
    np.datetime64("2026-11-30T12:00"),
]
WRONG = [
    (datetime.datetime(2026, 11, 30, 12), TypeError, "has no time zone"),
    (pandas.Timestamp("2026-11-30T13:00"), TypeError, "has no time zone"),
    (pandas.NaT, InvalidTimestampError, "NaT"),
    ("yesterday", InvalidTimestampError, "yesterday"),
    (pandas.Timedelta(1, "s"), TypeError, "Timedelta"),
]


@pytest.fixture(params=[False, True], ids=["sync", "asyncio"])
def memory(request: pytest.FixtureRequest) -> state_subjects.Subject:
    """A telescope state in memory."""
    return state_subjects.memory(request.param)


@pytest.mark.parametrize("time", FORMS, ids=repr)
async def test_forms(memory: state_subjects.Subject, time: Any) -> None:
    """A time that is written is found by each form of it, and is returned in seconds."""
    await memory.add("gain", 1.5, time)
    await memory.add_many("gain", [2.5, 3.5], [time, NOON + 1])
    assert await memory.get_range("gain", 0) == [(1.5, NOON), (2.5, NOON), (3.5, NOON + 1)]
    assert await memory.get_range("gain", time, NOON + 1) == [(1.5, NOON), (2.5, NOON)]
    assert await memory.get_range("gain", 0, time, include_end=True) == [(1.5, NOON), (2.5, NOON)]
    arrays = await memory.get_range_arrays("gain", time, time, include_end=True)
    assert arrays.timestamps.tolist() == [NOON, NOON]
    series = await memory.to_pandas("gain", time)
    assert series.index[0] == pandas.Timestamp("2026-11-30T12:00", tz="UTC")
    frame = await memory.to_dataframe(["gain"], time, time, include_end=True)
    assert frame["gain"].tolist() == [2.5]


def test_pipelines() -> None:
    """A pipeline takes the same."""
    ts = TelescopeState()
    with ts.pipeline() as p:
        p.add("gain", 1.5, ts=FORMS[0])
        p.add_many("gain", [2.5], FORMS[1:2])
        found = p.get_range("gain", FORMS[3], NOON + 1)
    assert found.value == [(1.5, NOON), (2.5, NOON)]


@pytest.mark.parametrize(("time", "error", "message"), WRONG, ids=repr)
async def test_wrong_times(
    memory: state_subjects.Subject, time: Any, error: type[Exception], message: str
) -> None:
    """What is no time, or not known to be which, is an error that names the key; nothing is written."""
    await memory.add("gain", 1.5, 1.0)
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("add", (2.5, time)),
        ("add_many", ([2.5], [time])),
        ("get_range", (time,)),
        ("get_range", (0, time)),
    ]
    for name, arguments in calls:
        with pytest.raises(error, match=message) as caught:
            await getattr(memory, name)("gain", *arguments)
        assert "gain" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert await memory.get_range("gain", 0) == [(1.5, 1.0)]
