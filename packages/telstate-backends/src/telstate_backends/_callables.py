"""Functions that users give us to call: ordinary ones, since nobody awaits what an ``async def`` gives.

Rules: such a function is refused before anything is asked of the store where it shows, and otherwise when
it has given something that would have to be awaited; that is closed, so that Python does not warn of it.
"""

from __future__ import annotations

import inspect
from types import AsyncGeneratorType, CoroutineType, GeneratorType

_SPECIAL = (
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isgeneratorfunction,
)


def check_ordinary(function: object, what: str) -> None:
    """Refuse what is no ordinary function.

    Parameters
    ----------
    function : object
        What a user has given.
    what : str
        What it is, in messages.

    Raises
    ------
    TypeError
        If it cannot be called, or what it gives would have to be awaited or iterated over.
    """
    if not callable(function):
        raise TypeError(
            f"{what} must be an ordinary function, not of type {type(function).__name__}"
        )
    if any(is_special(function) for is_special in _SPECIAL):
        raise _not_ordinary(what)


def check_result(result: object, what: str, refuse_futures: bool = False) -> None:
    """Refuse what an ordinary function does not give.

    Parameters
    ----------
    result : object
        What a function of a user gave.
    what : str
        What the function is, in messages.
    refuse_futures : bool
        Whether anything else that can be awaited is refused too, because the result matters.

    Raises
    ------
    TypeError
        If the result would have to be awaited or iterated over.
    """
    if isinstance(result, (CoroutineType, GeneratorType)):
        result.close()
        raise _not_ordinary(what)
    can_be_awaited = refuse_futures and hasattr(type(result), "__await__")
    if can_be_awaited or isinstance(result, AsyncGeneratorType):
        raise _not_ordinary(what)


def _not_ordinary(what: str) -> TypeError:
    return TypeError(
        f"{what} must be an ordinary function, written with def and return: nobody awaits what this one "
        "gives"
    )
