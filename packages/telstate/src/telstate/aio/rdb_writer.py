"""Save asyncio stores to an RDB file: `telstate.RDBWriter`, awaited."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from telstate.snapshots import BATCH, Progress, RDBWriterBase, check_keys
from telstate_backends import AsyncBackend, Export, Keys
from telstate_codec import Key

if TYPE_CHECKING:
    from telstate.aio import TelescopeState

__all__ = ["RDBWriter"]


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
        self._open()
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(exception_type, exception, traceback)

    async def save(
        self,
        client: TelescopeState | AsyncBackend,
        keys: Iterable[Key] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store; parameters are those of `telstate.RDBWriter.save`."""
        self._check_open()
        # Not isinstance: the class would have to be imported, and a mock of it would not do.
        backend: Any = getattr(client, "backend", client)
        wanted = await backend.execute(Keys(b"*")) if keys is None else check_keys(keys)
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            self._write_batch(batch, await backend.execute_many([Export(key) for key in batch]))
            if progress is not None:
                progress(self.keys_written)
