"""Views: prefixes, the keys that a read tries, and the key of a write.

The private `View` is tested itself, because its cache of candidates has no public effect but speed.
"""

from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate import TelescopeState, aio
from telstate._view import MAX_CACHED_KEYS, View


@pytest.mark.parametrize(
    ("name", "add_separator", "exclusive", "prefixes"),
    [
        ("x", True, False, ("x_", "")),
        ("x_", True, False, ("x_", "")),
        ("x", False, False, ("x", "")),
        ("", True, False, ("", "")),
        (b"x", True, False, ("x_", "")),
        ("x", True, True, ("x_",)),
    ],
)
def test_view(
    ts: TelescopeState, name: str, add_separator: bool, exclusive: bool, prefixes: tuple[str, ...]
) -> None:
    """A view puts its prefix first, or alone if exclusive, and appends the separator once, if wanted."""
    assert ts.view(name, add_separator, exclusive).prefixes == prefixes


@pytest.mark.parametrize("ts", [TelescopeState(), aio.TelescopeState()], ids=["sync", "asyncio"])
def test_several_names(ts: Any) -> None:
    """More than one prefix at a time is refused."""
    views: list[Any] = [ts.view, ts.pipeline().view, View(("",)).with_prefix]
    for view in views:
        with pytest.raises(TypeError, match="one prefix at a time"):
            view("a", b"b", "c")
    with pytest.raises(TypeError, match="add_separator and exclusive must be True or False"):
        ts.view("a", exclusive="yes")
    with pytest.raises(TypeError, match="A key must be str or bytes"):
        ts.view(17)
    assert ts.view("c").view(b"b").view("a").prefixes == ("a_", "b_", "c_", "")
    assert type(ts)(base=ts, prefixes=("a_", "b_", "c_")).prefixes == ("a_", "b_", "c_")


@pytest.mark.parametrize("yes", [True, 1, numpy.True_])
@pytest.mark.parametrize("no", [False, 0, None, numpy.False_])
def test_flags(yes: Any, no: Any) -> None:
    """NumPy bools and 0 or 1 are valid flags."""
    assert TelescopeState().view("x", no, yes).prefixes == ("x",)
    assert TelescopeState().view("x", yes, no).prefixes == ("x_", "")


def test_views_share_a_backend(ts: TelescopeState) -> None:
    """Views and the root have the class and the backend of their origin."""
    view = ts.view("a").view("b")
    assert view.prefixes == ("b_", "a_", "")
    assert view.root().prefixes == ("",)
    assert view.backend is ts.backend
    assert type(view) is TelescopeState


class Observed(TelescopeState):
    """A subclass with a private attribute."""

    def __init__(self, observer: str) -> None:
        super().__init__()
        self._observer = observer


class AsyncObserved(aio.TelescopeState):
    """An asyncio subclass with a private attribute."""

    def __init__(self, observer: str) -> None:
        super().__init__()
        self._observer = observer


@pytest.mark.parametrize("of", [Observed, AsyncObserved])
def test_views_of_subclasses(of: type[Observed] | type[AsyncObserved]) -> None:
    """A view of a subclass has its class and private attributes."""
    ts = of("me")
    for view in (ts.view("beam"), ts.view("beam").root()):
        assert type(view) is of and view._observer == "me"
        # Private: closing is the public effect, which test_read_only.py tests.
        assert (ts._owner, view._owner) == (True, False)


def test_reads_try_each_prefix_and_writes_use_the_first(ts: TelescopeState) -> None:
    """A key under an earlier prefix hides those under later ones, indexed keys too."""
    view = ts.view("a").view("b")
    ts["k"] = "root"
    assert view["k"] == "root"
    ts.set_indexed("a_k", 1, "a")
    assert view["k"] == {1: "a"}
    assert view.get_indexed("k", 2, "no such sub-key") == "no such sub-key"
    view["k"] = "b"
    assert ts["b_k"] == view["k"] == "b"
    view.delete("k")
    assert ts.keys() == []


def test_write_without_prefix() -> None:
    """A view without prefixes finds no keys, and writing raises an error that says how to write."""
    ts = TelescopeState(prefixes=())
    assert "k" not in ts
    with pytest.raises(ValueError, match="without prefixes"):
        ts["k"] = 1


def test_single_string_as_prefixes() -> None:
    """A single string as prefixes is refused."""
    with pytest.raises(TypeError, match="tuple of strings"):
        TelescopeState(prefixes="ab")


@given(st.lists(st.binary(max_size=4), max_size=4), st.binary(max_size=6))
def test_candidates(prefixes: list[bytes], key: bytes) -> None:
    """For any prefixes and keys, the candidates are their concatenations."""
    view = View(prefixes)
    assert view.candidates(key) == tuple(prefix + key for prefix in prefixes)
    if prefixes:
        assert view.target(key) == prefixes[0] + key


def test_short_names() -> None:
    """Keys are listed by their names in the view."""
    assert View(("a_", "")).short_names(["a_k", "a_m", "z"]) == ["a_k", "a_m", "k", "m", "z"]
    assert View(("a_",)).short_names(["a_k", "z"]) == ["k"]


def test_many_keys() -> None:
    """Candidates are right for any number of keys, and their cache is bounded."""
    view = View(("a_", ""))
    for number in range(3 * MAX_CACHED_KEYS):
        name = f"k{number % 2000}"
        assert view.candidates(name) == (f"a_{name}".encode(), name.encode())
    assert view.candidates("k1") == view.candidates(b"k1")
