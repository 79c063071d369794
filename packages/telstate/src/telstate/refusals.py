"""Operators that a telescope state does not have, with errors that say what to do instead.

Rules: at run time each raises a TypeError; type checkers do not see them, so they go on saying that there is no
such operator. A telescope state is true, though it has something by the name of ``__len__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn


def refusal(what: str, advice: str) -> Any:
    """Make a method that refuses something, and says what to do instead."""

    def refuse(self: object, *arguments: object) -> NoReturn:
        raise TypeError(f"A {type(self).__module__}.{type(self).__name__} {what}: {advice}.")

    return refuse


class SyncRefusals:
    """What the synchronous class refuses."""

    if TYPE_CHECKING:
        # Keys are names, not positions: without this, iteration would ask for keys 0, 1, 2...
        __iter__ = None
    else:
        __iter__ = refusal("is not iterable", "use ts.keys(), the names in every namespace")
        __len__ = refusal("has no length", "use len(ts.keys()), which counts every namespace")
        __delitem__ = refusal("deletes with a method", "use ts.delete(key)")
        __aenter__ = refusal("is not for asyncio", "use with, or telstate.aio.TelescopeState")
        __aexit__ = __aenter__

        def __bool__(self) -> bool:
            return True


class AsyncRefusals:
    """What the asyncio class refuses: also all that would have to be awaited."""

    if TYPE_CHECKING:
        __iter__ = None
    else:
        __iter__ = refusal("is not iterable", "use for key in await ts.keys()")
        __len__ = refusal("has no length", "use len(await ts.keys()), which counts every namespace")
        __contains__ = refusal("cannot be asked with in", "use await ts.exists(key)")
        __setitem__ = refusal("cannot be set to", "use await ts.set(key, value)")
        __delitem__ = refusal("cannot be deleted from with del", "use await ts.delete(key)")
        __enter__ = refusal("is for asyncio", "use async with, or telstate.TelescopeState")
        __exit__ = __enter__

        def __bool__(self) -> bool:
            return True

        def __getattr__(self, name: str) -> NoReturn:
            # Reached only for what the class does not have.
            advice = "" if name.startswith("_") else f"; a key is read with await ts[{name!r}]"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{advice}")
