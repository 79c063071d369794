"""What is shown of names and values: it can be printed, it is short, and it takes no time."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import decode_key, decode_value
from telstate_codec.printable import BoundedRepr, bounded_repr, escape

LIMIT = 20_000


def doubled(make: Any, levels: int = 60) -> Any:
    """Return a container that holds another one twice, and so on."""
    value: Any = make([])
    for _ in range(levels):
        value = make([value, value])
    return value


class Point(NamedTuple):
    """A subclass of tuple."""

    x: Any
    y: Any


OBJECTS = np.empty(2, object)
OBJECTS[:] = [10**5000, doubled(tuple)]
LARGE: list[Any] = [
    10**5000,
    -(2**64),
    True,
    [10**5000] * 2,
    (10**5000,),
    {10**5000: 10**5000},
    {(10**5000,)},
    Fraction(10**5000, 3),
    Decimal("1" * 4000),
    range(10**5000),
    slice(10**5000),
    complex(1, 2),
    doubled(tuple),
    doubled(list),
    doubled(lambda parts: dict(enumerate(parts))),
    doubled(lambda parts: OrderedDict(enumerate(parts))),
    doubled(lambda parts: defaultdict(list, enumerate(parts))),
    doubled(lambda parts: Point(parts, parts)),
    doubled(deque),
    OBJECTS,
    OBJECTS.view(np.recarray),
    np.array([OBJECTS, OBJECTS], object),
    np.zeros((1000, 1000)),
    np.zeros((), [(f"field{number}", "f8") for number in range(1000)]),
    np.void(bytes(10**6)),
    np.str_("x" * 10**6),
    "x" * 10**6,
    "\x1b" * 10**6,
    bytes(10**6),
    bytearray(10**6),
    list(range(10**6)),
    set(range(10**5)),
    dict.fromkeys(range(10**6)),
]


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_any_value_is_shown_briefly(value: Any) -> None:
    """Neither long integers nor nesting make a representation long, slow or an error."""
    for shown in (bounded_repr(value), BoundedRepr(60, 4, 3).repr([value, {"a": value}])):
        assert shown.isprintable() and 0 < len(shown) < LIMIT


def test_usual_values_are_shown_as_python_shows_them() -> None:
    """What is short is shown whole."""
    for value in (1, -1.5, None, "a'b", b"\0", [1, (2,), {"a": 3}], {1}, np.float64(1.5), ()):
        assert bounded_repr(value) == repr(value)
    assert bounded_repr(Point(1, [2])) == "Point(1, [2])"
    assert bounded_repr(OrderedDict(a=1)) == "OrderedDict({'a': 1})"
    assert bounded_repr(Fraction(1, 3)) == "Fraction(1, 3)"
    assert bounded_repr(2**64) == str(2**64)
    assert bounded_repr(list(range(11))) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"
    assert bounded_repr(np.arange(3)) == "array([0, 1, 2])"
    assert bounded_repr(np.arange(300.0)) == "<float64 array of shape (300,)>"


def test_values_whose_repr_fails() -> None:
    """An object that cannot be represented is shown by its type."""

    class Broken:
        dtype = 3
        shape = (1,)

    assert bounded_repr(Broken()) == "<Broken>"


@given(st.text(alphabet=st.characters(), max_size=20))
def test_what_is_escaped_can_be_printed(text: str) -> None:
    """Only printable characters are left; text that has no others stays as it is."""
    shown = escape(text)
    assert shown.isprintable() and escape(shown) == shown
    assert shown == text or not text.isprintable()


@given(st.binary(max_size=20))
def test_every_key_can_be_shown(key: bytes) -> None:
    """A key that is not UTF-8 is shown by its bytes."""
    shown = escape(decode_key(key))
    assert shown.isprintable()
    shown.encode("utf-8")


@given(
    st.recursive(
        st.none()
        | st.integers()
        | st.floats()
        | st.text(alphabet=st.characters(exclude_categories=["Cs"]))
        | st.binary(),
        lambda inner: st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("ab\x1b"), inner, max_size=5),
        max_leaves=10,
    )
)
def test_pickled_values_are_shown(value: Any) -> None:
    """Whatever plain data a pickle holds, it is shown on one line."""
    shown = bounded_repr(decode_value(pickle.dumps(value, 2), allow_pickle="safe"))
    assert shown.isprintable() and len(shown) < LIMIT
