"""A bounded memory of what a function gave, for lookups on the quickest paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Remembered(dict[_Key, _Value]):
    """What a function gave for each key; all of it is forgotten when there is too much.

    Looking up what is there costs no more than in a dictionary. Threads may share one: at worst
    they both ask the function.

    Parameters
    ----------
    make
        The function. What it raises is raised, and not remembered.
    size
        Gives the bytes that a key and its value take, about; large ones are not remembered.

    Examples
    --------
    >>> squares = Remembered(lambda number: number**2, lambda key, value: 1)
    >>> squares[3], dict(squares)
    (9, {3: 9})
    """

    ENTRIES: Final = 1024
    LARGE: Final = 1024

    def __init__(self, make: Callable[[_Key], _Value], size: Callable[[_Key, _Value], int]) -> None:
        super().__init__()
        self._make = make
        self._size = size

    def __missing__(self, key: _Key) -> _Value:
        value = self._make(key)
        if self._size(key, value) <= self.LARGE:
            if len(self) >= self.ENTRIES:
                self.clear()
            self[key] = value
        return value
