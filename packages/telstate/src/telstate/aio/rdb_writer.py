"""Save asyncio stores to an RDB file: `telstate.RDBWriter`, awaited.

Rules: the file is opened, written and finished in threads, a batch at a time, so that other tasks run;
nothing is done to it in the event loop's thread, nor in two threads at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

from telstate.snapshots import (
    BATCH,
    SIZED,
    Progress,
    RDBWriterBase,
    check_keys,
    check_saved,
    names_to_save,
    portions,
)
from telstate_backends import AsyncBackend, Export, Keys, Peek
from telstate_codec import Key

if TYPE_CHECKING:
    import redis.asyncio

    from telstate.aio import TelescopeState

__all__ = ["RDBWriter"]

Arguments = TypeVarTuple("Arguments")

# How many keys a store in memory is asked for at once: it answers in the event loop's thread.
SMALL_BATCH = 5


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

    async def __aenter__(self) -> RDBWriter:
        await _in_thread(self._open)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await _in_thread(self._close, exception_type, exception, traceback)

    async def save(
        self,
        client: TelescopeState | AsyncBackend | redis.asyncio.Redis,
        keys: Iterable[Key] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store; parameters are those of `telstate.RDBWriter.save`."""
        self._begin(progress)
        async with _store_behind(client) as backend:
            wanted = await backend.execute(Keys(b"*")) if keys is None else check_keys(keys)
            in_memory = backend.store is not None
            most, sized = (SMALL_BATCH, SMALL_BATCH) if in_memory else (BATCH, SIZED)
            for start in range(0, len(wanted), sized):
                some = wanted[start : start + sized]
                glimpses = await backend.execute_many([Peek(key, 0) for key in some])
                for batch in portions(some, glimpses, most):
                    contents = await backend.execute_many([Export(key) for key in batch])
                    await _in_thread(self._write_batch, batch, contents)
                    if progress is not None:
                        progress(self.keys_written)


def _store_behind(
    client: TelescopeState | AsyncBackend | redis.asyncio.Redis,
) -> AbstractAsyncContextManager[AsyncBackend]:
    """Give the backend to save from, for as long as that takes; a client is only borrowed."""
    # Not isinstance: the class would have to be imported, and a mock of it would not do.
    backend: Any = getattr(client, "backend", client)
    if hasattr(backend, "execute_many"):
        return nullcontext(backend)
    if hasattr(backend, "connection_pool"):
        from telstate_backends import AsyncRedisBackend

        return AsyncRedisBackend.borrow(backend)
    raise TypeError(
        f"Cannot save from a {type(client).__name__}; give an asyncio TelescopeState, an asyncio "
        "backend or a redis.asyncio client."
    )


async def save_store(
    backend: AsyncBackend, path: str | os.PathLike[str], keys: Iterable[Key] | None
) -> int:
    """Save a store, or some keys of it: `telstate.snapshots.save_store`, awaited."""
    wanted = None if keys is None else names_to_save(keys)
    # In a thread too, because what a writer needs is imported when the first one is made.
    made = await asyncio.to_thread(RDBWriter, path, keep_empty=True)
    async with made as writer:
        await writer.save(backend, wanted)
        check_saved(writer, wanted, backend)
    return writer.keys_written


async def _in_thread(
    function: Callable[[Unpack[Arguments]], None], *arguments: Unpack[Arguments]
) -> None:
    """Call a function in a thread; a cancelled task waits for its end, as two must not meet."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        work.exception()  # Looked at, so that asyncio does not complain that nobody did.
        raise cancelled
    work.result()
