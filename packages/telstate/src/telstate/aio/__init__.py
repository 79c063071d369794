"""The telescope state for asyncio: `TelescopeState`, its backends and `RDBWriter`.

Each method does what the synchronous one of the same name does, and is awaited; what both mean is in
`telstate.calls`. Setting and testing have names here, since operators cannot be awaited: ``await
ts.set(key, value)`` and ``await ts.exists(key)``; reading has both, ``await ts[key]`` too. Backends,
`RDBWriter` and the modules that these are in are loaded when they are first asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, SupportsFloat, TypeVar

from telstate import calls
from telstate.aio.bulk import BulkMethods
from telstate.base import check_cache_size, check_prefixes, warn_is_immutable
from telstate.calls import Call
from telstate.refusals import AsyncRefusals, without_time_limit
from telstate.suggestions import MissingKeyError
from telstate_backends import AsyncBackend, Backend, KeyType
from telstate_backends.abc import AsyncClosing
from telstate_codec import ENCODING_DEFAULT, Key

__all__ = [
    "MemoryBackend",
    "RDBWriter",
    "RedisBackend",
    "TelescopeState",
    "memory",
    "rdb_writer",
    "redis",
]

if TYPE_CHECKING:
    from telstate.aio import memory, rdb_writer, redis
    from telstate.aio.memory import MemoryBackend
    from telstate.aio.rdb_writer import RDBWriter
    from telstate.aio.redis import RedisBackend
    from telstate.aio.watching import Watch
    from telstate.calls import IndexedCondition, KeyCondition, Require
    from telstate.snapshots import Source

Result = TypeVar("Result")

# Which module each name is loaded from, and the modules that need not be imported to be reached.
_HOME_OF = {"MemoryBackend": "memory", "RDBWriter": "rdb_writer", "RedisBackend": "redis"}
_MODULES = tuple(_HOME_OF.values())


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # From now on it is found without this function.
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _checked(backend: Backend | AsyncBackend) -> AsyncBackend:
    """Refuse what is no backend for asyncio."""
    if not hasattr(backend, "execute_many"):
        raise TypeError(
            f"A {type(backend).__name__} is no backend: give one, such as "
            "await telstate.aio.RedisBackend.from_url('redis://host:port'), "
            "telstate.aio.RedisBackend(client) or telstate.aio.MemoryBackend()."
        )
    if isinstance(backend, Backend):
        raise TypeError(
            f"A {type(backend).__module__}.{type(backend).__name__} cannot be awaited: give one of "
            "telstate.aio.RedisBackend or telstate.aio.MemoryBackend, or use telstate.TelescopeState."
        )
    return backend


class TelescopeState(AsyncClosing, BulkMethods, AsyncRefusals):
    """A telescope state for asyncio; see `telstate.TelescopeState` for what the methods mean.

    Parameters
    ----------
    backend
        Where it lives. Default: a new in-memory store.
    prefixes
        The view: reads try each prefix in turn, writes use the first. Default: the root.
    base
        Another instance, whose backend is to be shared, instead of `backend`. If that is read-only,
        so is this.
    cache_size
        How many immutable keys to remember, so as not to ask the server for them again; default 0,
        none. Those count too that a view looks for in vain before it finds one. Deletions by this
        client, and by others that use this package, are noticed; those by katsdptelstate within a
        minute. `base` shares its cache. See "Caching" in the README.

    Raises
    ------
    ValueError
        If both `backend` and `base` are given.
    TypeError
        If `backend` is none, or one for ordinary code.

    Examples
    --------
    >>> import asyncio
    >>> from telstate.aio import TelescopeState
    >>> async def main():
    ...     ts = TelescopeState()
    ...     await ts.set("n_chans", 4096)
    ...     await ts.add("gain", 1.5, ts=100.0)
    ...     return await ts["n_chans"], await ts.get("gain")
    >>> asyncio.run(main())
    (4096, 1.5)
    """

    def __init__(
        self,
        backend: AsyncBackend | None = None,
        prefixes: Iterable[Key] = ("",),
        base: TelescopeState | None = None,
        *,
        cache_size: int = 0,
    ) -> None:
        if base is not None:
            if backend is not None or cache_size != 0:
                raise ValueError("base brings its own backend and cache: give it alone.")
            shared = _checked(base.backend)
            self._setup(shared, check_prefixes(prefixes, base.read_only))
            return
        if backend is None:
            from telstate_backends import AsyncMemoryBackend

            backend = AsyncMemoryBackend()
        else:
            backend = _checked(backend)
        view = check_prefixes(prefixes)
        check_cache_size(cache_size)
        if cache_size:
            from telstate_backends import AsyncCachedBackend

            backend = AsyncCachedBackend(backend, cache_size)
        self._setup(backend, view, owner=True)

    async def _run(self, call: Call[Result]) -> Result:
        """Execute what a call asks for, and finish it."""
        operation, finish = call
        try:
            return finish(await self._backend.execute(operation))
        except MissingKeyError as error:
            error.look_in(self._backend)
            raise

    def close(self) -> None:
        """Start to let go of the store: close the backend that this instance made, or was given.

        Views, and instances made with ``base=``, share the backend of the one that they were made
        from, and leave it open. `wait_closed` finishes; ``async with`` does both.
        """
        if self._owner:
            self._backend.close()

    async def wait_closed(self) -> None:
        """Wait until what `close` started is finished."""
        if self._owner:
            await self._backend.wait_closed()

    # Reading

    async def exists(self, key: Key) -> bool:
        """Tell whether a key exists: ``key in ts``, awaited."""
        return await self._run(calls.exists(self._view, key))

    async def __getitem__(self, key: Key) -> Any:
        return await self._run(calls.get_item(self._view, key))

    async def get(self, key: Key, default: Any = None, return_encoded: bool = False) -> Any:
        """Get an immutable's value, a mutable's latest value, or an indexed key's `dict`."""
        return await self._run(calls.get(self._view, key, default, return_encoded))

    async def get_indexed(
        self, key: Key, sub_key: Any, default: Any = None, return_encoded: bool = False
    ) -> Any:
        """Get one value of an indexed key, or `default`."""
        return await self._run(calls.get_indexed(self._view, key, sub_key, default, return_encoded))

    async def get_range(
        self,
        key: Key,
        st: float | None = None,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
        return_encoded: bool = False,
    ) -> list[tuple[Any, float]]:
        """Get the samples of a mutable key in a range of time, by default the latest."""
        return await self._run(
            calls.get_range(self._view, key, st, et, include_previous, include_end, return_encoded)
        )

    async def key_type(self, key: Key) -> KeyType | None:
        """Tell what kind of key it is, None if there is no such key."""
        return await self._run(calls.key_type(self._view, key))

    async def is_immutable(self, key: Key) -> bool:
        """Tell whether a key is immutable. Deprecated: use `key_type`."""
        warn_is_immutable(stacklevel=2)
        return await self._run(calls.is_immutable(self._view, key))

    async def keys(self, filter: Key = "*") -> list[str]:
        """List the full names of all keys that match a Redis glob, in every namespace, sorted."""
        return await self._run(calls.keys(filter))

    # Writing

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"Attributes cannot be awaited: use await ts.set({name!r}, value)."
            )
        super().__setattr__(name, value)

    async def set(self, key: Key, value: Any) -> None:
        """Set an immutable key: ``ts[key] = value``, awaited."""
        await self._run(calls.set_immutable(self._view, key, value))

    async def add(
        self,
        key: Key,
        value: Any,
        ts: SupportsFloat | None = None,
        immutable: bool = False,
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add a sample to a mutable key, or set an immutable one."""
        await self._run(calls.add(self._view, key, value, ts, immutable, encoding))

    async def set_indexed(
        self, key: Key, sub_key: Any, value: Any, encoding: bytes = ENCODING_DEFAULT
    ) -> None:
        """Set one value of an indexed key, once."""
        await self._run(calls.set_indexed(self._view, key, sub_key, value, encoding))

    async def delete(self, key: Key) -> None:
        """Delete a key in every prefix of the view."""
        await self._run(calls.delete(self._view, key))

    async def clear(self) -> None:
        """Delete every key of the store, whatever the view."""
        await self._run(calls.clear(self._view))

    # Waiting

    @without_time_limit
    async def wait_key(self, key: Key, condition: KeyCondition | None = None) -> None:
        """Wait until a key exists, or until a condition holds for it; cancel it as any task.

        For an indexed key the condition is called with the whole dict as it is when the update is
        taken: what has been deleted by then may never be seen. Only updates end a wait: in a view, the
        deletion of a key that shadows another does not, though the other may fulfil the condition.
        """
        from telstate_backends._wait import wait_async  # here: not everybody waits

        await wait_async(self._backend, calls.key_wait(self._view, key, condition))

    @without_time_limit
    async def wait_indexed(
        self, key: Key, sub_key: Any, condition: IndexedCondition | None = None
    ) -> None:
        """Wait until a sub-key exists, or until a condition holds for its value."""
        from telstate_backends._wait import wait_async  # here: not everybody waits

        await wait_async(self._backend, calls.indexed_wait(self._view, key, sub_key, condition))

    @without_time_limit
    async def wait_keys(self, keys: Iterable[Key], require: Require = "all") -> tuple[str, ...]:
        """Wait until several keys exist, or any of them; gives those that exist now."""
        from telstate_backends._wait import wait_async  # here: not everybody waits

        wanted, existing, _ = calls.keys_wait(self._view, keys, require)
        await wait_async(self._backend, wanted)
        return existing()

    @without_time_limit
    def watch(self, *keys: Key, patterns: Iterable[Key] = ()) -> Watch:
        """Be told of each update of some keys, in order, none missed and none twice.

        Examples
        --------
        >>> import asyncio
        >>> async def main():
        ...     ts = TelescopeState()
        ...     async with ts.watch("gain") as watch:
        ...         await ts.add("gain", 1.5, ts=100.0)
        ...         async for update in watch:
        ...             return update
        >>> asyncio.run(main())
        KeyUpdate('gain', KeyType.MUTABLE, 1.5, timestamp=100.0)
        """
        # Here, so that who watches nothing need not pay for this import.
        from telstate.aio.watching import Watch

        return Watch(self._backend, self._view, keys, patterns)

    # Snapshots

    @classmethod
    async def from_snapshot(
        cls, file: Source, prefixes: Iterable[Key] = ("",), *, strict: bool = True
    ) -> Self:
        """Make a telescope state in memory of what is in a snapshot.

        The file, an open one too, is read in a thread, so that other tasks run meanwhile.
        """
        ts = cls(prefixes=prefixes)
        from telstate.snapshots import load_into_async  # here: many programs never do this

        await load_into_async(ts.backend, file, strict=strict)
        return ts

    async def save(self, path: str | os.PathLike[str], keys: Iterable[Key] | None = None) -> int:
        """Save the store, or some keys of it, to a snapshot; gives the number of keys.

        The file is written in a thread, so that other tasks run meanwhile.
        """
        # Here, because most programs save nothing.
        from telstate.aio.rdb_writer import save_store

        return await save_store(self._backend, path, keys)

    async def load_from_file(self, file: Source, *, strict: bool = True) -> int:
        """Load a snapshot into the store, whatever the view; gives the number of keys.

        The file, an open one too, is read in a thread, so that other tasks run meanwhile.
        """
        self._view.check_writable("no snapshot can be loaded")
        from telstate.snapshots import load_into_async  # here: many programs never do this

        return await load_into_async(self._backend, file, strict=strict)
