"""Every form of a time, in every method that takes one, synchronous and asyncio."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pytest
import state_subjects
from hypothesis import given, settings
from hypothesis import strategies as st

from telstate import InvalidTimestampError, TelescopeState, aio
from telstate_testing import example_count

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


class HasUnix:
    """A time such as astropy's."""

    def __init__(self, unix: float) -> None:
        self.unix = unix


#: Functions from a datetime with a time zone, and its seconds, to other forms of it.
FORMS_OF = st.sampled_from(
    [
        lambda moment, seconds: moment,
        lambda moment, seconds: seconds,
        lambda moment, seconds: repr(seconds),
        lambda moment, seconds: moment.isoformat(),
        lambda moment, seconds: utc(moment).isoformat(" "),
        lambda moment, seconds: f"{utc(moment).isoformat()}Z",
        lambda moment, seconds: pandas.Timestamp(utc(moment), tz="UTC"),
        lambda moment, seconds: numpy_time(moment),
        lambda moment, seconds: np.array(numpy_time(moment)),
        lambda moment, seconds: HasUnix(seconds),
    ]
)


def utc(moment: datetime.datetime) -> datetime.datetime:
    """Return a moment in UTC, without the time zone."""
    return moment.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def numpy_time(moment: datetime.datetime) -> np.datetime64:
    """Return a moment as NumPy's time, which is in UTC."""
    return np.datetime64(utc(moment))


@settings(max_examples=example_count(60))
@given(
    st.datetimes(
        datetime.datetime(1970, 1, 2), datetime.datetime(2190, 1, 1), timezones=st.timezones()
    ),
    st.lists(FORMS_OF, min_size=6, max_size=6),
)
def test_any_form_finds_what_any_other_wrote(
    moment: datetime.datetime, forms: list[Callable[[datetime.datetime, float], Any]]
) -> None:
    """A sample that is written at a moment is found at it, whatever the forms and the methods."""
    seconds = moment.timestamp()
    first, second, *others = (form(moment, seconds) for form in forms)

    async def asynchronous() -> list[float]:
        ats = aio.TelescopeState()
        await ats.add("gain", 1.5, first)
        await ats.add_many("gain", [2.5], [second])
        return [
            time for one in others for _, time in await ats.get_range("gain", one, one, None, True)
        ]

    ts = TelescopeState()
    ts.add("gain", 1.5, first)
    ts.add_many("gain", [2.5], [second])
    with ts.pipeline() as p:
        p.view("beam").add("gain", 1.5, ts=first)
        p.view("beam").add_many("gain", [2.5], [second])
        queued = [p.view("beam").get_range("gain", one, one, None, True) for one in others]
    assert [time for one in others for _, time in ts.get_range("gain", one, one, None, True)] == [
        seconds
    ] * 8
    assert [time for one in queued for _, time in one.value] == [seconds] * 8
    assert asyncio.run(asynchronous()) == [seconds] * 8
    for one in others:
        assert (
            ts.get_range_arrays("gain", one, one, None, True).timestamps.tolist() == [seconds] * 2
        )
        assert len(ts.to_pandas("gain", one, one, None, True)) == 2
        assert ts.to_dataframe(["gain"], one, one, None, True)["gain"].tolist() == [2.5]
        assert len(ts.get_range("gain", 0, one)) == 0


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
        ("get_range_arrays", (time,)),
        ("to_pandas", (0, time)),
        ("to_dataframe", (time,)),
    ]
    for name, arguments in calls:
        with pytest.raises(error, match=message) as caught:
            await getattr(memory, name)("gain", *arguments)
        assert "gain" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert await memory.get_range("gain", 0) == [(1.5, 1.0)]
    pipeline = memory.state.pipeline()
    for name, arguments in calls[:5]:
        with pytest.raises(error, match=message):
            getattr(pipeline, name)("gain", *arguments)
