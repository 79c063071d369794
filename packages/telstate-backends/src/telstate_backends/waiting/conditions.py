"""Conditions of waits: ordinary functions of the user, and what is said of the errors that they raise.

Rules: what a condition raises ends the wait as it is; a note on it names what was waited for. One that would
have to be awaited is refused, because what it gives counts as true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from telstate_backends.callables import check_ordinary, check_result
from telstate_codec import key_repr

Tried = TypeVar("Tried")


def name_of(keys: tuple[bytes, ...]) -> str:
    """Name what candidate keys stand for, in messages."""
    return "key " + " or ".join(map(key_repr, keys))


def check_condition(condition: object, keys: tuple[bytes, ...]) -> None:
    """Refuse a condition that is no ordinary function, for who gives it to a wait inside another.

    Parameters
    ----------
    condition : object
        What the user gave.
    keys : tuple of bytes
        The candidate keys of the wait.

    Raises
    ------
    TypeError
        If it is no ordinary function.
    """
    check_ordinary(condition, f"the condition of the wait for {name_of(keys)}")


def conditional(
    condition: Callable[[Tried], object] | None, name: str
) -> Callable[[Tried], bool] | None:
    """Make a user's condition one that gives a truth value, and names the key in a note on its errors.

    Parameters
    ----------
    condition : callable or None
        What the user gave.
    name : str
        What the wait is for.

    Raises
    ------
    TypeError
        If it is no ordinary function.
    """
    if condition is None:
        return None
    what = f"the condition of the wait for {name}"
    check_ordinary(condition, what)
    note = f"This is from {what}."
    check = condition

    def holds(tried: Tried) -> bool:
        try:
            verdict = check(tried)
            if verdict is not True and verdict is not False:
                check_result(verdict, what, refuse_futures=True)
            return bool(verdict)
        except Exception as error:
            # A condition may raise the same one again and again.
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            raise

    return holds
