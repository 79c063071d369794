"""Saving asyncio stores to an RDB file: `telstate.RDBWriter`, awaited.

The file is opened, written and finished in threads, one batch at a time, so that other tasks can run. It is
never used in the thread of the event loop, nor in two threads at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from telstate._base import TelescopeStateBase
from telstate._connect import class_name
from telstate.snapshots import (
    Progress,
)
from telstate.snapshots import RDBWriter as SyncRDBWriter
from telstate.snapshots import (
    RDBWriterBase,
    Selection,
    encode_names,
    find_long,
    has_globs,
    select_names,
    split_by_size,
    write_snapshot,
)
from telstate_backends import AsyncBackend, Keys, Peek
from telstate_backends.operations.bulk import ExportPacked
from telstate_backends.threads import run_in_thread
from telstate_codec import Key

if TYPE_CHECKING:
    import redis.asyncio

__all__ = ["RDBWriter"]

# Fewer keys at once than in a thread: replies are parsed, and stores in memory read, by the event loop.
BATCH = 1000
MEMORY_BATCH = 5


class RDBWriter(RDBWriterBase):
    """Write keys of one or more asyncio stores to an RDB file; see `telstate.RDBWriter`.

    Examples
    --------
    >>> import asyncio, os, tempfile
    >>> from telstate.aio import TelescopeState
    >>> from telstate.aio.rdb_writer import RDBWriter
    >>> async def main(path):
    ...     ts = TelescopeState()
    ...     await ts.set("n_chans", 4096)
    ...     async with RDBWriter(path) as writer:
    ...         await writer.save(ts)
    ...     return writer.keys_written
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(os.path.join(folder, "observation.rdb")))
    1
    """

    async def __aenter__(self) -> Self:
        await run_in_thread(self._open)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await run_in_thread(partial(self._close, exc_value))

    async def save(
        self,
        client: TelescopeStateBase[AsyncBackend] | AsyncBackend | redis.asyncio.Redis,
        keys: Iterable[Key] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store; the parameters are those of `telstate.RDBWriter.save`."""
        self._check_open(progress)
        try:
            async with _borrow_backend(client) as backend:
                names = None if keys is None else encode_names(keys)
                listed = await backend.execute(Keys()) if has_globs(names) else []
                await self._save_keys(
                    backend, select_names(names, listed), names is not None, progress
                )
        finally:
            self._log_failures()

    async def _save_keys(
        self,
        backend: AsyncBackend,
        wanted: Sequence[bytes],
        must_exist: bool,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store; one that has been deleted is a failure if it `must_exist`."""
        in_memory = backend.uncached.store is not None
        size = MEMORY_BATCH if in_memory else BATCH
        for start in range(0, len(wanted), size):
            some = wanted[start : start + size]
            sizes: list[Any] = [None] * len(some)  # contents of a store in memory are there anyway
            if not in_memory:
                sizes = await backend.execute_many([Peek(key, 0) for key in some])
            long = find_long(some, sizes)
            for batch in split_by_size(some, sizes):
                contents = await backend.execute_many(
                    [ExportPacked(key, key in long) for key in batch]
                )
                await run_in_thread(partial(self._write_batch, batch, contents, must_exist))
                if progress is not None:
                    progress(self.keys_written)


async def save_store(
    backend: AsyncBackend,
    path: str | os.PathLike[str],
    keys: Iterable[Key] | None,
    consistent: bool,
    keep_empty: bool,
    exclude: Iterable[Key] = (),
) -> int:
    """Save a store, or some keys of it: `telstate.snapshots.save_store`, awaited."""
    selection = Selection(keys, exclude)
    if consistent:
        make_writer = partial(SyncRDBWriter, path, keep_empty=True)
        write = partial(write_snapshot, make_writer, selection, keep_empty, backend)
        return (await backend.take_snapshot(write, selection.wants)).keys_written
    # In a thread, because the first writer imports what it needs.
    made = await asyncio.to_thread(RDBWriter, path, keep_empty=True)
    async with made as writer:
        writer._stops_at_refusal = True
        if selection.must_list:
            listed = await backend.execute(Keys(b"*"))
            await writer._save_keys(backend, selection.others(listed), False)
        await writer._save_keys(backend, selection.required, True)
        selection.check(writer, keep_empty, backend)
    return writer.keys_written


def _borrow_backend(
    client: TelescopeStateBase[AsyncBackend] | AsyncBackend | redis.asyncio.Redis,
) -> AbstractAsyncContextManager[AsyncBackend]:
    """Return the backend to save from; a redis-py client is only borrowed for that time."""
    backend: Any = client.backend if isinstance(client, TelescopeStateBase) else client
    if isinstance(backend, AsyncBackend):
        return nullcontext(backend)
    # Not by class: something that wraps a client is as good, and redis-py need not be imported.
    if hasattr(backend, "connection_pool"):
        from telstate_backends import AsyncRedisBackend

        return AsyncRedisBackend.borrow(backend)
    raise TypeError(
        f"Cannot save from an object of type {class_name(client)}. Use an asyncio TelescopeState, an "
        "asyncio backend or a redis.asyncio client."
    )
