"""Operators that a telescope state does not have, with errors that say what to do instead.

Rules: at run time each raises a TypeError; type checkers do not see them, so they go on saying that there is no
such operator. What tools ask for in order to tell what an object is (``__iter__``, ``__len__``) is not there at
all: pandas, pprint and IPython would take a telescope state for a list.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])

# What the synchronous methods take and the asyncio ones do not, and what takes its place.
_LIMITS = {
    "timeout": "put it into async with asyncio.timeout(seconds)",
    "cancel_future": "cancel the task that waits",
}

# What dictionaries and Redis clients have and a telescope state has not: what to write instead, and on asyncio.
HABITS = {
    "exists": ("key in ts", "await ts.exists(key)"),
    "has_key": ("key in ts", "await ts.exists(key)"),
    "items": ("ts.get_many(ts.keys()).items()", "await ts.get_many(await ts.keys())"),
    "pop": ("ts[key], then ts.delete(key)", "await ts[key], then await ts.delete(key)"),
    "remove": ("ts.delete(key)", "await ts.delete(key)"),
    "set": ("ts[key] = value", "await ts.set(key, value)"),
    "setdefault": ("ts.get(key, default)", "await ts.get(key, default)"),
    "update": (
        "ts[key] = value for each key, or for many with ts.pipeline() as p: p[key] = value",
        "await ts.set(key, value) for each key, or for many async with ts.pipeline() as p: p[key] = value",
    ),
    "values": ("ts.get_many(ts.keys()).values()", "await ts.get_many(await ts.keys())"),
}


def refusal(what: str, advice: str) -> Any:
    """Make a method that refuses something, and says what to do instead."""

    def refuse(self: object, *arguments: object) -> NoReturn:
        raise TypeError(f"A {type(self).__module__}.{type(self).__name__} {what}: {advice}.")

    return refuse


def without_time_limit(method: Method) -> Method:
    """Have an asyncio method say what to do instead of giving it a time limit.

    To type checkers, and to who looks at its signature, it stays as it is.
    """
    name = getattr(method, "__name__", "")

    def check(named: dict[str, Any]) -> None:
        for limit in _LIMITS.keys() & named.keys():
            raise TypeError(f"{name} takes no {limit} on asyncio: {_LIMITS[limit]}.")

    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        check(named)
        return method(*arguments, **named)

    @wraps(method)
    async def wait(*arguments: Any, **named: Any) -> Any:
        check(named)
        return await method(*arguments, **named)

    return cast(Method, wait if iscoroutinefunction(method) else call)


class SharedRefusals:
    """What both classes refuse."""

    if not TYPE_CHECKING:
        __reduce_ex__ = refusal(
            "can be neither pickled nor deep-copied",
            "open one in each process, and share it among threads",
        )


class SyncRefusals(SharedRefusals):
    """What the synchronous class refuses."""

    # Keys are names, not positions: without this, iteration would ask for keys 0, 1, 2...
    __iter__ = None

    if not TYPE_CHECKING:
        __delitem__ = refusal("deletes with a method", "use ts.delete(key)")
        __aenter__ = refusal("is not for asyncio", "use with, or telstate.aio.TelescopeState")
        __aexit__ = __aenter__

        def __delattr__(self, name: str) -> None:
            if not name.startswith("_") and name not in vars(self):
                raise AttributeError(f"Keys are not deleted with del: use ts.delete({name!r}).")
            super().__delattr__(name)


class AsyncRefusals(SharedRefusals):
    """What the asyncio class refuses: also all that would have to be awaited."""

    __iter__ = None

    if not TYPE_CHECKING:
        __contains__ = refusal("cannot be asked with in", "use await ts.exists(key)")
        __setitem__ = refusal("cannot be set to", "use await ts.set(key, value)")
        __delitem__ = refusal("cannot be deleted from with del", "use await ts.delete(key)")
        __enter__ = refusal("is for asyncio", "use async with, or telstate.TelescopeState")
        __exit__ = __enter__

        def __getattr__(self, name: str) -> NoReturn:
            # Reached only for what the class does not have.
            advice = "" if name.startswith("_") else f"; a key is read with await ts[{name!r}]"
            if name in HABITS:
                advice = f"; use {HABITS[name][1]}{advice}"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{advice}")

        def __delattr__(self, name: str) -> None:
            if not name.startswith("_") and name not in vars(self):
                raise AttributeError(
                    f"Keys are not deleted with del: use await ts.delete({name!r})."
                )
            super().__delattr__(name)
