"""The synchronous and the asyncio class have the same methods, and neither is a collection."""

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from pprint import pformat
from typing import Any

import numpy
import pytest

import telstate
from telstate.aio import TelescopeState

# Waits on asyncio are cancelled instead.
LEFT_OUT = {"timeout", "cancel_future"}
# Operators of the synchronous class and the asyncio methods in their place.
NAMES = {"__contains__": "exists", "__setitem__": "set"}


# Methods of the asyncio class only.
MORE = {"exists", "set", "wait_closed"}


def signature(function: object) -> list[str]:
    """List the parameters of a method with kinds, types and defaults, and its return type."""
    assert callable(function)
    found = inspect.signature(function)
    # Both classes use the same names for their own types.
    parts = [repr(one) for one in found.parameters.values() if one.name not in LEFT_OUT]
    return [repr(one) for one in (*parts, str(found.return_annotation))]


def public(of: type) -> list[str]:
    """List the public names of a class."""
    return [name for name in dir(of) if not name.startswith("_")]


def test_same_signatures() -> None:
    """Both classes have the same methods, with the same parameters and types in the same order."""
    sync = telstate.TelescopeState
    assert set(public(TelescopeState)) - set(public(sync)) == MORE
    pairs = [(name, name) for name in public(sync)] + list(NAMES.items())
    assert len(pairs) > 25
    for name, twin in pairs:
        one, other = getattr(sync, name), getattr(TelescopeState, twin)
        if callable(one):
            assert signature(other) == signature(one), name


def test_docstrings() -> None:
    """Every public method has a docstring, with parameters if it has several."""
    for of in (telstate.TelescopeState, TelescopeState):
        for name in public(of):
            if name.startswith("SEPARATOR"):
                continue
            text = inspect.getdoc(getattr(of, name))
            assert text is not None, name
            assert text.partition("\n\n")[0].endswith((".", ":")), name
    sync = telstate.TelescopeState
    for name in public(sync):
        method = getattr(sync, name)
        if inspect.isfunction(method) and len(inspect.signature(method).parameters) > 2:
            assert "Parameters" in (inspect.getdoc(method) or ""), name


def test_reference() -> None:
    """Every public name is in the reference, which takes all methods of the asyncio class."""
    names = {*public(telstate.TelescopeState), *vars(telstate)["__all__"]}
    pages = (Path(__file__).parents[4] / "docs" / "reference").glob("*.md")
    text = "\n".join(page.read_text() for page in pages)
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("make", [telstate.TelescopeState, TelescopeState], ids=["sync", "asyncio"])
def test_not_a_collection(make: Callable[[], object]) -> None:
    """A telescope state is neither iterable nor a collection, and it is true."""
    ts = make()
    assert not isinstance(ts, (Iterable, Sized, Mapping, Sequence))
    assert bool(ts) is True
    with pytest.raises(TypeError, match="not iterable"):
        iter(ts)  # type: ignore[call-overload]  # that it is refused is the test
    with pytest.raises(TypeError, match="len()"):
        len(ts)  # type: ignore[arg-type]  # the same
    assert numpy.array(ts, dtype=object).shape == ()
    assert pformat([ts]).startswith("[<TelescopeState on ")


@pytest.mark.parametrize("make", [telstate.TelescopeState, TelescopeState], ids=["sync", "asyncio"])
def test_copies(make: Callable[[], Any]) -> None:
    """A copy is a view of the same store; a telescope state cannot be pickled."""
    ts = make().view("beam", read_only=True)
    again = copy.copy(ts)
    assert again.backend is ts.backend
    assert (type(again), again.prefixes, again.read_only) == (type(ts), ts.prefixes, True)
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot pickle"):
            attempt(ts)


async def test_attributes_are_refused() -> None:
    """Setting an attribute of the asyncio class raises an error that says how to set a key."""
    ts = TelescopeState()
    with pytest.raises(AttributeError, match="await ts.set"):
        ts.n_chans = 4096
    ts._note = 3
    assert vars(ts)["_note"] == 3
    assert not hasattr(ts, "n_chans")


def test_operators_are_refused() -> None:
    """Operators that could not be awaited raise a TypeError."""
    ts: Any = TelescopeState()
    with pytest.raises(TypeError):
        "n_chans" in ts  # noqa: B015  # that it is refused is the test
    with pytest.raises(TypeError):
        ts["n_chans"] = 4096
    with pytest.raises(TypeError):
        del ts["n_chans"]
