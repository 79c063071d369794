"""How much the safe reader of pickles may spend: in proportion to the pickle, whatever it says.

A pickle of a few bytes can ask for a great deal: by referring to one long string again and again,
each time to be copied; by nesting a tuple in itself fifty times, two by two, and using it as a key,
whose hash then takes 2**50 steps; by keys that all have one hash. What pickles of honest data ask
for is bounded by their length, and so is what may be spent on any.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final, NoReturn

MAX_DIGITS: Final = 4300
"""Longest decimal number; Python's own limit, for the same reason (quadratic time)."""
MAX_BITS: Final = 16384
"""Longest integer that is calculated with (numerators), not just read."""
MAX_DEPTH: Final = 1000
"""Deepest nesting of a value; the picklers of Python 2 and early 3 recursed, and gave up sooner."""
MAX_KEY_DEPTH: Final = 64
"""Deepest nesting of tuples and frozensets in a key or an element of a set."""
MAX_EQUAL_HASHES: Final = 100
"""Most keys of one dictionary or set that may have the same hash."""
MAX_FRAGILE: Final = 1000
"""Most values in one pickle whose destructors recurse (object arrays, `defaultdict`)."""

_CHEAP: Final = frozenset({float, bool, type(None), type(Ellipsis), type, object})
_TIMES: Final = frozenset({"datetime64", "timedelta64"})
_UNFIT: Final = frozenset({"void"})  # its hash takes the time of all its fields
_UNFIT_INSIDE: Final = _UNFIT | _TIMES  # `_check` does not see what they are compared to
_UNKNOWN: Final = object()
_DEAR: Final = frozenset({Fraction, Decimal})


class Refusal(ValueError):
    """What the pickle wants is refused, or cannot be done; becomes the cause of a `DecodeError`."""


def refuse(reason: str) -> NoReturn:
    """Raise a `Refusal`."""
    raise Refusal(reason)


class _Crowd:
    """What is known of the keys of one dictionary or set, its owner.

    It keeps the owner alive, so that no other gets the owner's id and is taken for it.
    """

    __slots__ = ("owner", "hashes", "family")

    def __init__(self, owner: object = None) -> None:
        self.owner = owner
        self.hashes: dict[int, int] = {}  # hash -> number of keys
        self.family: object = _UNKNOWN


class Limits:
    """What is left to spend while one pickle of `size` bytes is read."""

    __slots__ = ("_room", "_work", "_fragile", "_crowds")

    def __init__(self, size: int) -> None:
        self._room = 8 * size + 4096
        self._work = 4 * size + 10_000
        self._fragile = MAX_FRAGILE
        self._crowds: dict[int, _Crowd] = {}  # by the id of the owner

    def charge(self, count: int) -> None:
        """Account for `count` bytes that are about to be copied (8 for an element)."""
        self._room -= count
        if self._room < 0:
            refuse("it wants far more memory than its own size")

    def charge_fragile(self) -> None:
        """Account for a value whose destructor recurses when such values are nested."""
        self._fragile -= 1
        if self._fragile < 0:
            refuse(f"it has more than {MAX_FRAGILE} object arrays and defaultdicts")

    def check_elements(self, elements: Iterable[object]) -> None:
        """Check what is to be a set, before it is one."""
        crowd = _Crowd()
        for element in elements:
            if type(element) is not str or len(element) > 256:
                self._check(element, crowd)

    def check_keys(self, keys: Iterable[object], owner: object) -> None:
        """Check keys that are to be put into the dictionary or set `owner`."""
        crowd = None
        for key in keys:
            if type(key) is not str or len(key) > 256:
                if crowd is None:
                    crowd = self._crowds.get(id(owner))
                    if crowd is None:
                        crowd = self._crowds[id(owner)] = _Crowd(owner)
                self._check(key, crowd)

    def _check(self, key: object, crowd: _Crowd) -> None:
        family = str(getattr(key, "dtype")) if type(key).__name__ in _TIMES else None
        if crowd.family is not _UNKNOWN and crowd.family != family:
            refuse("dates of NumPy cannot be keys together with other things")  # old NumPys warn
        crowd.family = family
        if self._weigh(key, 0):
            place = hash(key)
            crowd.hashes[place] = number = crowd.hashes.get(place, 0) + 1
            if number > MAX_EQUAL_HASHES:
                refuse("too many keys have the same hash")

    def _weigh(self, key: object, depth: int) -> bool:
        """Account for hashing and comparing `key`; tell whether its hash is easy to forge.

        Strings have random hashes, and few integers of 60 bits or floats share one.
        """
        kind = type(key)
        if isinstance(key, (str, bytes)):
            self._spend(1 + len(key) // 16)
            return False
        if isinstance(key, int):
            bits = key.bit_length()
            self._spend(1 + bits // 64)
            return bits > 60
        if isinstance(key, (tuple, frozenset)):
            if depth == MAX_KEY_DEPTH:
                refuse(f"a key is nested more than {MAX_KEY_DEPTH} deep")
            self._spend(1)
            for item in key:
                self._weigh(item, depth + 1)
            return True
        self._spend(100 if kind in _DEAR else 1)
        unfit = _UNFIT_INSIDE if depth else _UNFIT
        if getattr(kind, "__hash__") is None or kind.__name__ in unfit:
            refuse(f"a {kind.__name__} cannot be a key")
        if getattr(key, "kind", None) == "V":  # comparing takes the time of all its fields
            refuse("a structured dtype cannot be a key")
        return kind not in _CHEAP

    def _spend(self, steps: int) -> None:
        self._work -= steps
        if self._work < 0:
            refuse("its keys take far more work than its size explains")
