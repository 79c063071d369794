"""Limits on the memory and work of the safe reader, in proportion to the size of the pickle.

A pickle of a few bytes can cause a lot of work: by copying one long string again and again; by using
as a key a tuple that holds another tuple twice, and so on for fifty levels, so that its hash takes
2**50 steps; by many keys that all have the same hash. Pickles of ordinary data cause work in
proportion to their length, and no more is allowed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final, NoReturn

MAX_DIGITS: Final = 4300
"""Most digits of a decimal number; Python's own limit, for the same reason (quadratic time)."""
MAX_BITS: Final = 16384
"""Most bits of integers in calculations (numerators), rather than just read."""
MAX_DEPTH: Final = 1000
"""Deepest nesting of a value; the recursive picklers of Python 2 and early 3 gave up sooner."""
MAX_KEY_DEPTH: Final = 64
"""Deepest nesting of tuples and frozensets in a key or an element of a set."""
MAX_EQUAL_HASHES: Final = 100
"""Most keys of one dictionary or set that may have the same hash."""
MAX_FRAGILE: Final = 1000
"""Most values in one pickle whose destructors recurse (object arrays, `defaultdict`)."""

_SAFE_HASHES: Final = frozenset({float, bool, type(None), type(Ellipsis), type, object})
_TIMES: Final = frozenset({"datetime64", "timedelta64"})
_NOT_KEYS: Final = frozenset({"void"})  # hashing it takes the time of all its fields
_NOT_IN_KEYS: Final = _NOT_KEYS | _TIMES  # `_check` does not know what these are compared with
_UNKNOWN: Final = object()
_SLOW_TO_HASH: Final = frozenset({Fraction, Decimal})


class Refusal(ValueError):
    """The pickle asks for something that is refused or impossible; the cause of a `DecodeError`."""


def refuse(reason: str) -> NoReturn:
    """Raise a `Refusal`."""
    raise Refusal(reason)


class _Keys:
    """Statistics of the keys of one dictionary or set, the owner.

    They keep the owner alive, so that its id is not reused for another one.
    """

    __slots__ = ("owner", "hashes", "family")

    def __init__(self, owner: object = None) -> None:
        self.owner = owner
        self.hashes: dict[int, int] = {}  # hash -> number of keys that have it
        self.family: object = _UNKNOWN


class Limits:
    """The memory and work that are left while one pickle of `size` bytes is read."""

    __slots__ = ("_room", "_work", "_fragile", "_keys")

    def __init__(self, size: int) -> None:
        self._room = 8 * size + 4096
        self._work = 4 * size + 10_000
        self._fragile = MAX_FRAGILE
        self._keys: dict[int, _Keys] = {}  # by the id of the owner

    def charge(self, count: int) -> None:
        """Account for `count` bytes that are about to be copied (8 for an element)."""
        self._room -= count
        if self._room < 0:
            refuse("it needs far more memory than its size explains")

    def charge_fragile(self) -> None:
        """Account for a value whose destructor recurses into nested ones."""
        self._fragile -= 1
        if self._fragile < 0:
            refuse(f"it has more than {MAX_FRAGILE} object arrays and defaultdicts")

    def check_elements(self, elements: Iterable[object]) -> None:
        """Check elements before a set is made of them."""
        keys = _Keys()
        for element in elements:
            if type(element) is not str or len(element) > 256:
                self._check(element, keys)

    def check_keys(self, new_keys: Iterable[object], owner: object) -> None:
        """Check keys before they are added to the dictionary or set `owner`."""
        keys = None
        for key in new_keys:
            if type(key) is not str or len(key) > 256:
                if keys is None:
                    keys = self._keys.get(id(owner))
                    if keys is None:
                        keys = self._keys[id(owner)] = _Keys(owner)
                self._check(key, keys)

    def _check(self, key: object, keys: _Keys) -> None:
        family = str(getattr(key, "dtype")) if type(key).__name__ in _TIMES else None
        if keys.family is not _UNKNOWN and keys.family != family:
            # Older releases of NumPy warn when they compare them.
            refuse("NumPy times cannot be keys together with values of other types")
        keys.family = family
        if self._charge_key(key, 0):
            hashed = hash(key)
            keys.hashes[hashed] = number = keys.hashes.get(hashed, 0) + 1
            if number > MAX_EQUAL_HASHES:
                refuse("too many keys have the same hash")

    def _charge_key(self, key: object, depth: int) -> bool:
        """Account for hashing and comparing a key, and return whether its hash is easy to forge."""
        kind = type(key)
        if isinstance(key, (str, bytes)):
            self._spend(1 + len(key) // 16)
            return False  # these hashes are random
        if isinstance(key, int):
            bits = key.bit_length()
            self._spend(1 + bits // 64)
            return bits > 60  # few shorter ones have the same hash
        if isinstance(key, (tuple, frozenset)):
            if depth == MAX_KEY_DEPTH:
                refuse(f"a key is nested more than {MAX_KEY_DEPTH} deep")
            self._spend(1)
            for item in key:
                self._charge_key(item, depth + 1)
            return True
        self._spend(100 if kind in _SLOW_TO_HASH else 1)
        excluded = _NOT_IN_KEYS if depth else _NOT_KEYS
        if getattr(kind, "__hash__") is None or kind.__name__ in excluded:
            refuse(f"a {kind.__name__} cannot be a key")
        if getattr(key, "kind", None) == "V":  # comparing one takes the time of all its fields
            refuse("a structured dtype cannot be a key")
        return kind not in _SAFE_HASHES

    def _spend(self, steps: int) -> None:
        self._work -= steps
        if self._work < 0:
            refuse("its keys need far more work than its size explains")
