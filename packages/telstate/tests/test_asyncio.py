"""What holds the synchronous and the asyncio telescope state together, and what sets them apart."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import pytest

import telstate
from telstate.aio import TelescopeState

# What cannot be the same: awaiting takes the place of a timeout and a future.
LEFT_OUT = {"timeout", "cancel_future"}
# Operators of the one that have names in the other.
NAMES = {"__contains__": "exists", "__setitem__": "set"}


def parameters(function: object) -> list[str]:
    """List what a method takes, in order, with defaults."""
    assert callable(function)
    found = inspect.signature(function).parameters.values()
    return [f"{one.name}={one.default!r}" for one in found if one.name not in LEFT_OUT]


def test_same_signatures() -> None:
    """Every method of the synchronous class is here, with the same parameters in the same order."""
    sync = telstate.TelescopeState
    methods = [name for name, value in inspect.getmembers(sync) if inspect.isfunction(value)]
    public = [name for name in methods if not name.startswith("_") or name in NAMES]
    assert len(public) > 12
    for name in public:
        twin = getattr(TelescopeState, NAMES.get(name, name))
        assert parameters(twin) == parameters(getattr(sync, name)), name


REFUSED: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "in": (lambda ts: "a" in ts, "", r"await ts.exists\(key\)"),
    "set": (lambda ts: operator.setitem(ts, "a", 1), "", r"await ts.set\(key, value\)"),
    "del": (
        lambda ts: operator.delitem(ts, "a"),
        r"use ts.delete\(key\)",
        r"await ts.delete\(key\)",
    ),
    "for": (list, r"use ts.keys\(\)", r"await ts.keys\(\)"),
    "len": (len, r"len\(ts.keys\(\)\)", r"len\(await ts.keys\(\)\)"),
    "with": (lambda ts: ts.__enter__(), "", "use async with"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operators_that_are_refused(name: str) -> None:
    """An operator that a telescope state does not have is a TypeError that says what to do instead."""
    attempt, advice, async_advice = REFUSED[name]
    if advice:
        with pytest.raises(TypeError, match=rf"^A telstate\..*TelescopeState .*{advice}"):
            attempt(telstate.TelescopeState())
    with pytest.raises(TypeError, match=rf"^A telstate.aio.TelescopeState .*{async_advice}"):
        attempt(TelescopeState())
    assert bool(telstate.TelescopeState()) is bool(TelescopeState()) is True


async def test_async_with_a_synchronous_one() -> None:
    """A synchronous telescope state says that it is none for ``async with``."""
    ts: Any = telstate.TelescopeState()
    with pytest.raises(TypeError, match="use with, or telstate.aio"):
        async with ts:
            pass


async def test_attributes_are_refused() -> None:
    """Setting a key without awaiting is an error that says how to do it."""
    ts = TelescopeState()
    with pytest.raises(AttributeError, match="await ts.set"):
        ts.n_chans = 4096
    ts._note = 3
    assert vars(ts)["_note"] == 3
    with pytest.raises(AttributeError, match=r"await ts\['n_chans'\]"):
        getattr(ts, "n_chans")  # noqa: B009  # type checkers see that there is none
    with pytest.raises(AttributeError, match="'_nope'$"):
        getattr(ts, "_nope")  # noqa: B009  # the same
