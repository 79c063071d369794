"""The telescope state for asyncio: `telstate.telescope_state`, awaited."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from telstate._base import TelescopeStateBase, warn_is_immutable
from telstate._calls import read, write
from telstate._calls.common import Call
from telstate._connect import check_async_backend, open_async_backend
from telstate._suggest import look_in
from telstate._view import View
from telstate.errors import MissingKeyError
from telstate_backends import AsyncBackend, KeyType
from telstate_backends.abc import AsyncClosing
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays, Time

if TYPE_CHECKING:
    import pandas

    from telstate._calls.wait import IndexedCondition, KeyCondition, Require
    from telstate._sources import Source
    from telstate.aio.pipeline import Pipeline
    from telstate.aio.watch import Watch
    from telstate.snapshots import Collisions

__all__ = ["TelescopeState"]

Result = TypeVar("Result")


class TelescopeState(AsyncClosing, TelescopeStateBase[AsyncBackend]):
    """A telescope state for asyncio; `telstate.TelescopeState` describes the methods.

    Parameters
    ----------
    backend
        The backend. Default: a new in-memory store.
    prefixes
        The view: reads try the prefixes in order, writes use the first. Default: the root.
    base
        Another instance whose backend is shared, instead of `backend`. If it is read-only, so is this
        one.
    cache_size
        The number of immutable keys to cache, as for `telstate.TelescopeState`. Default: 0, no cache.

    Raises
    ------
    ValueError
        If both `backend` and `base` are given.
    TypeError
        If `backend` is not an asyncio backend.

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
                raise ValueError(
                    "base has its own backend and cache. Leave backend and cache_size out."
                )
            self._setup(check_async_backend(base.backend), View(prefixes, base.read_only))
        else:
            self._setup(open_async_backend(backend, cache_size), View(prefixes), owner=True)

    async def _run(self, call: Call[Result]) -> Result:
        """Execute the operation of a call, and finish it."""
        operation, finish = call
        try:
            return finish(await self._backend.execute(operation))
        except MissingKeyError as error:
            look_in(error, self._backend)
            raise

    def close(self) -> None:
        """Start to close the backend that this instance made or was constructed with.

        Views, and instances made with ``base=``, share the backend of the instance that they were made
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
        """Return whether a key exists: ``key in ts``, awaited."""
        return await self._run(read.exists(self._view, key))

    async def __getitem__(self, key: Key) -> Any:
        return await self._run(read.get_item(self._view, key))

    async def get(self, key: Key, default: Any = None, return_encoded: bool = False) -> Any:
        """Return the value of an immutable key, the latest value of a mutable one, or an indexed key's `dict`."""
        return await self._run(read.get(self._view, key, default, return_encoded))

    async def get_indexed(
        self, key: Key, sub_key: Any, default: Any = None, return_encoded: bool = False
    ) -> Any:
        """Return one value of an indexed key, or `default`."""
        return await self._run(read.get_indexed(self._view, key, sub_key, default, return_encoded))

    async def get_range(
        self,
        key: Key,
        st: Time | None = None,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
        return_encoded: bool = False,
    ) -> list[tuple[Any, float]]:
        """Return the samples of a mutable key in a time range; without a range, the latest one."""
        return await self._run(
            read.get_range(self._view, key, st, et, include_previous, include_end, return_encoded)
        )

    async def key_type(self, key: Key) -> KeyType | None:
        """Return the kind of a key, None if there is no such key."""
        return await self._run(read.key_type(self._view, key))

    async def is_immutable(self, key: Key) -> bool:
        """Return whether a key is immutable. Deprecated: use `key_type`."""
        warn_is_immutable()
        return await self.key_type(key) is KeyType.IMMUTABLE

    async def keys(self, filter: Key = "*", *, view: bool = False) -> list[str]:
        """Return all keys that match a Redis glob, sorted: full names, or with `view` the names in this view."""
        return await self._run(read.keys(filter, self._view if view else None))

    # Writing

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(
                f"Setting an attribute cannot be awaited. Use await ts.set({name!r}, value)."
            )
        super().__setattr__(name, value)

    async def set(self, key: Key, value: Any) -> None:
        """Set an immutable key: ``ts[key] = value``, awaited."""
        await self._run(write.set_immutable(self._view, key, value))

    async def add(
        self,
        key: Key,
        value: Any,
        ts: Time | None = None,
        immutable: bool = False,
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add a sample to a mutable key, or set an immutable one."""
        await self._run(write.add(self._view, key, value, ts, immutable, encoding))

    async def set_indexed(
        self, key: Key, sub_key: Any, value: Any, encoding: bytes = ENCODING_DEFAULT
    ) -> None:
        """Set one value of an indexed key; setting it to an equal value again is allowed."""
        await self._run(write.set_indexed(self._view, key, sub_key, value, encoding))

    async def delete(self, key: Key) -> None:
        """Delete a key in every prefix of the view."""
        await self._run(write.delete(self._view, key))

    async def clear(self) -> None:
        """Delete every key of the store, whatever the view."""
        await self._run(write.clear(self._view))

    # Waiting

    async def wait_key(self, key: Key, condition: KeyCondition | None = None) -> None:
        """Wait until a key exists, or until a condition on it is true.

        There is no time limit; cancel the task, or use ``asyncio.timeout``. Only updates end a wait. In
        a view, deleting a key that shadows another one does not, even if the condition is true for that
        one. For an indexed key the condition is called with the whole dict at the time when the update
        is taken, so that entries deleted by then may never be seen.
        """
        from telstate._calls.wait import key_wait
        from telstate_backends import wait_async

        await wait_async(self._backend, key_wait(self._view, key, condition))

    async def wait_indexed(
        self, key: Key, sub_key: Any, condition: IndexedCondition | None = None
    ) -> None:
        """Wait until a sub-key exists, or until a condition on its value is true."""
        from telstate._calls.wait import indexed_wait
        from telstate_backends import wait_async

        await wait_async(self._backend, indexed_wait(self._view, key, sub_key, condition))

    async def wait_keys(self, keys: Iterable[Key], require: Require = "all") -> tuple[str, ...]:
        """Wait until several keys exist, or any of them; return those that exist now."""
        from telstate._calls.wait import keys_wait
        from telstate_backends import wait_async

        wanted, existing = keys_wait(self._view, keys, require)
        await wait_async(self._backend, wanted)
        return existing()

    def watch(self, *keys: Key, patterns: Iterable[Key] = ()) -> Watch:
        """Return a watch that yields each update of some keys once, in order, with none missed.

        Examples
        --------
        >>> import asyncio
        >>> from telstate.aio import TelescopeState
        >>> async def main():
        ...     ts = TelescopeState()
        ...     async with ts.watch("gain") as watch:
        ...         await ts.add("gain", 1.5, ts=100.0)
        ...         async for update in watch:
        ...             return update
        >>> asyncio.run(main())
        KeyUpdate('gain', KeyType.MUTABLE, 1.5, timestamp=100.0)
        """
        from telstate.aio.watch import Watch

        return Watch(self._backend, self._view, keys, patterns)

    # Snapshots

    @classmethod
    async def from_snapshot(
        cls,
        file: Source,
        prefixes: Iterable[Key] = ("",),
        *,
        strict: bool = True,
        keys: Iterable[Key] | None = None,
        database: int | None = None,
        collisions: Collisions = "warn",
    ) -> Self:
        """Return a telescope state with the contents of a snapshot, and changes kept in memory.

        The file is read in a thread, so that other tasks can run. Long values stay in it until they are asked for.
        """
        from telstate.snapshots import load_into_async

        ts = cls(prefixes=prefixes)
        await load_into_async(ts.backend, file, strict, keys, database, collisions, in_place=True)
        return ts

    async def save(
        self,
        path: str | os.PathLike[str],
        keys: Iterable[Key] | None = None,
        *,
        exclude: Iterable[Key] = (),
        consistent: bool = False,
        keep_empty: bool = False,
    ) -> int:
        """Save the store, or some keys of it, to a snapshot; return the number of keys.

        The file is written in a thread, so that other tasks can run; with `consistent`, the server's
        snapshot is read there too.
        """
        from telstate.aio.rdb_writer import save_store

        return await save_store(self._backend, path, keys, consistent, keep_empty, exclude)

    async def load_from_file(
        self,
        file: Source,
        *,
        strict: bool = True,
        keys: Iterable[Key] | None = None,
        database: int | None = None,
        collisions: Collisions = "warn",
    ) -> int:
        """Load a snapshot into the store, whatever the view; return the number of keys.

        The file is read in a thread, so that other tasks can run.
        """
        from telstate.snapshots import load_into_async

        self._view.check_writable("load a snapshot")
        return await load_into_async(self._backend, file, strict, keys, database, collisions)

    # Batches, arrays and tables

    def pipeline(self, raise_errors: bool = True) -> Pipeline:
        """Return a pipeline: calls are queued in its ``async with`` block and sent together at the end.

        Queuing is not awaited; only the end of the block is.

        Examples
        --------
        >>> import asyncio
        >>> from telstate.aio import TelescopeState
        >>> async def main():
        ...     ts = TelescopeState()
        ...     async with ts.pipeline() as p:
        ...         p["n_chans"] = 4096
        ...         n_chans = p["n_chans"]
        ...     return n_chans.value
        >>> asyncio.run(main())
        4096
        """
        from telstate.aio.pipeline import Pipeline

        return Pipeline(self._backend, self._view, raise_errors)

    async def get_many(
        self, keys: Key | Iterable[Key], return_encoded: bool = False
    ) -> dict[Key, Any]:
        """Return the values of those keys that exist, in one exchange with the store."""
        from telstate.aio.pipeline import select_keys
        from telstate.pipeline import existing_values, queue_gets

        selected = await select_keys(keys, self.exists, self.key_types)
        async with self.pipeline() as p:
            found = queue_gets(p, selected, return_encoded)
        return existing_values(found)

    async def key_types(self, filter: Key = "*", *, view: bool = False) -> dict[str, KeyType]:
        """Return the kinds of all keys that match a Redis glob, sorted by name, as `keys` lists them."""
        return await self._run(read.key_types(filter, self._view if view else None))

    async def add_many(
        self,
        key: Key,
        values: Iterable[Any],
        timestamps: Iterable[Time],
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add samples to a mutable key atomically: no reader sees only some of them."""
        await self._run(write.add_many(self._view, key, values, timestamps, encoding))

    async def get_range_arrays(
        self,
        key: Key,
        st: Time | None = None,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> SampleArrays:
        """Return the samples of a mutable key in a time range as NumPy arrays."""
        return await self._run(
            read.get_range_arrays(self._view, key, st, et, include_previous, include_end)
        )

    async def to_pandas(
        self,
        key: Key,
        st: Time | None = 0.0,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.Series:
        """Return the samples of a mutable key as a pandas series; needs the extra ``pandas``."""
        from telstate._pandas import advising_table, load_pandas, make_series

        load_pandas()  # fails before anything is requested
        with advising_table(key):
            arrays = await self.get_range_arrays(key, st, et, include_previous, include_end)
        return make_series(key, arrays)

    async def to_dataframe(
        self,
        keys: Key | Iterable[Key],
        st: Time | None = 0.0,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.DataFrame:
        """Return the samples of several mutable keys as a pandas table; needs the extra ``pandas``."""
        from telstate import _pandas
        from telstate.aio.pipeline import select_keys

        _pandas.load_pandas()  # fails before anything is requested
        selected = await select_keys(keys, self.exists, self.key_types, _pandas.select_mutable)
        async with self.pipeline(raise_errors=False) as p:
            found = _pandas.queue_ranges(p, selected, (st, et, include_previous, include_end))
        return _pandas.make_frame(_pandas.samples_of(found))
