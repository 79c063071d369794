"""Checks of functions that users pass to a synchronous or asyncio call, which calls them synchronously.

Nothing would await the coroutine of an ``async def`` function, and as a condition it would count as true.
Such a function is refused at once where inspection shows it, and otherwise when it returns such a result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType

# How a function is defined if it is asynchronous or a generator.
_NOT_SYNCHRONOUS = (
    inspect.CO_COROUTINE
    | inspect.CO_ITERABLE_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
    | inspect.CO_GENERATOR
)


def check_function(function: object, name: str | Callable[[], str]) -> None:
    """Raise `TypeError` if an argument is not a synchronous function.

    `name` is what the message calls it, or returns that.
    """
    if (
        type(function) is FunctionType
        and not function.__code__.co_flags & _NOT_SYNCHRONOUS
        and not function.__dict__  # It may be marked as a coroutine function.
    ):
        return
    name = name if isinstance(name, str) else name()
    if not callable(function):
        raise TypeError(f"The {name} must be a function, not {type(function).__name__!r}.")
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or inspect.isgeneratorfunction(function)
    ):
        raise _not_synchronous(name)


def check_result(result: object, name: str, refuse_awaitables: bool = False) -> None:
    """Raise `TypeError` if a function has returned a coroutine, a generator or a refused awaitable."""
    if isinstance(result, (CoroutineType, GeneratorType)):
        result.close()  # so that Python does not warn of it
        raise _not_synchronous(name)
    is_awaitable = refuse_awaitables and hasattr(type(result), "__await__")
    if is_awaitable or isinstance(result, AsyncGeneratorType):
        raise _not_synchronous(name)


def _not_synchronous(name: str) -> TypeError:
    return TypeError(
        f"The {name} must be a synchronous function. "
        "Define it with def instead of async def, without yield."
    )
