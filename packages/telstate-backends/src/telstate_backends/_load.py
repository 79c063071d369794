"""Load the records of a snapshot into any backend, in batches, with progress and a report.

What telstate does not support (lists, sets, streams, modules, sorted sets with scores, hashes whose fields
expire) is refused with an error that names the key, or skipped and reported. A batch is small enough not to
block an event loop or a server for long; a very long key is loaded in parts. For a server, some batches are
under way while the next ones are read; batches with a common key are written in order.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeAlias, TypeVar

import attrs

from telstate_backends._callables import check_function, check_result
from telstate_backends._load_operations import (
    EXPIRED,
    Record,
    contents_of_record,
    loads_for,
    operations_for,
    size_of,
)
from telstate_backends.abc import AsyncBackend, Backend
from telstate_backends.errors import ForeignKeyError, RefusedError, translate_rdb_errors
from telstate_backends.operations.bulk import Load, Restore
from telstate_codec.keys import key_repr
from telstate_rdb import RdbReader, RdbSource, read_lazily, read_rdb

#: A batch is sent when it has so many bytes of keys and values, or so many operations.
BATCH_BYTES = 1 << 20
BATCH_LENGTH = 1000
#: The maximum number of batches that are under way to a server.
IN_FLIGHT = 3


@attrs.frozen
class Skipped:
    """A key that was not loaded.

    Attributes
    ----------
    key : bytes
        The full key.
    reason : str
        What it holds that telstate does not support.
    """

    key: bytes
    reason: str


@attrs.define
class LoadReport:
    """What has been loaded so far.

    Attributes
    ----------
    keys : int
        Number of keys that were loaded.
    skipped : list of Skipped
        The keys that were skipped.
    """

    keys: int = 0
    skipped: list[Skipped] = attrs.field(factory=list)


Batch: TypeAlias = list[Load | Restore]
Foreign: TypeAlias = Literal["refuse", "skip"]
Progress: TypeAlias = Callable[[LoadReport], object]
#: Its name in error messages.
_PROGRESS = "progress function of a load"
Pending = TypeVar("Pending")


def load_rdb(
    backend: Backend,
    source: RdbSource,
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
    databases: Collection[int] | int | None = None,
    keys: str | bytes | None = None,
    strict: bool = True,
) -> LoadReport:
    """Load a snapshot into a backend, in the way that is fastest for it.

    Parameters
    ----------
    backend : Backend
        The backend to load into.
    source : path or bytes or binary file
        The RDB file.
    foreign, progress
        As for :func:`load_records`.
    databases, keys, strict
        As for :func:`telstate_rdb.read_rdb`: which databases and keys to load (default: all), and whether
        a broken file is an error (default) or as much as possible is loaded.

    Returns
    -------
    LoadReport
        What was loaded and what was skipped.

    Raises
    ------
    RdbParseError
        If the file is broken: before anything is loaded, if the file has a checksum and can be read twice
        (a path, bytes, an open regular file).
    ForeignKeyError, OSError, ConnectionError, RefusedError
        As for :func:`load_records`.
    """
    records = _read(backend, source, databases, keys, strict)
    return load_records(backend, records, foreign=foreign, progress=progress)


async def load_rdb_async(
    backend: AsyncBackend,
    source: RdbSource,
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
    databases: Collection[int] | int | None = None,
    keys: str | bytes | None = None,
    strict: bool = True,
) -> LoadReport:
    """Load a snapshot into an asyncio backend: :func:`load_rdb`, awaited.

    The file is opened, read and decoded in a thread, a batch at a time, so that other tasks can run.
    """
    # Imported here because synchronous programs do not need it.
    from asyncio import to_thread

    records = await to_thread(_read, backend, source, databases, keys, strict)
    return await load_records_async(backend, records, foreign=foreign, progress=progress)


@translate_rdb_errors()
def _read(
    backend: Backend | AsyncBackend,
    source: RdbSource,
    databases: Collection[int] | int | None,
    keys: str | bytes | None,
    strict: bool,
) -> Iterable[Record]:
    raw = backend.takes_payloads
    if not strict:
        return read_rdb(source, raw=raw, databases=databases, keys=keys, strict=False)
    return read_lazily(source, raw=raw, databases=databases, keys=keys)


def load_records(
    backend: Backend,
    records: Iterable[Record],
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
) -> LoadReport:
    """Load records into a backend, in batches; existing keys are replaced.

    Parameters
    ----------
    backend : Backend
        The backend to load into.
    records : iterable of telstate_rdb.KeyRecord
        The records, of all databases, for example from :func:`telstate_rdb.read_rdb`. Raw values are
        passed to the backend without being encoded again, if it accepts them.
    foreign : {"refuse", "skip"}
        Whether a key that telstate does not support is an error (default), or is skipped and reported.
    progress : callable, optional
        A synchronous function, called with the report after each batch.

    Returns
    -------
    LoadReport
        What was loaded and what was skipped. A key that has expired is always skipped; one that expires
        later is loaded without its expiry.

    Raises
    ------
    ForeignKeyError
        If a key is refused; the keys before it are loaded.
    RdbParseError, OSError
        As `records` raises them.
    ConnectionError, RefusedError
        If the store cannot be reached or does not accept the keys.
    TypeError
        If `progress` is not a synchronous function.
    """
    load = _LoadState(backend, records, foreign, progress)
    if not backend.takes_payloads:
        for batch in load.batches:
            _write(backend, load, batch)
            load.count(batch)
        return load.report
    # Imported here because few programs need it.
    from concurrent.futures import Future, ThreadPoolExecutor

    queue: _Queue[Future[None]] = _Queue()
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        for batch in load.batches:
            while queue.must_wait(batch):
                queue.first.result()
                load.count(queue.pop())
            queue.append(batch, threads.submit(_write, backend, load, batch))
        while queue:
            queue.first.result()
            load.count(queue.pop())
    return load.report


async def load_records_async(
    backend: AsyncBackend,
    records: Iterable[Record],
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
) -> LoadReport:
    """Load records into an asyncio backend: :func:`load_records`, awaited.

    The records are taken from `records` in a thread, a batch at a time, so that other tasks can run.
    """
    # Imported here because synchronous programs do not need it.
    from asyncio import Task, create_task, sleep, to_thread, wait

    load = _LoadState(backend, records, foreign, progress)
    queue: _Queue[Task[None]] = _Queue()
    try:
        while (batch := await to_thread(next, load.batches, None)) is not None:
            if not backend.takes_payloads:
                await _write_async(backend, load, batch)
                load.count(batch)
                await sleep(0)  # a backend in memory never lets other tasks run
                continue
            while queue.must_wait(batch):
                await queue.first
                load.count(queue.pop())
            queue.append(batch, create_task(_write_async(backend, load, batch)))
        while queue:
            await queue.first
            load.count(queue.pop())
    finally:
        # After an error or a cancellation no task is left.
        tasks = queue.futures
        for task in tasks:
            task.cancel()
        if tasks:
            await wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # asyncio would report an error that nobody looked at
    return load.report


def _write(backend: Backend, load: _LoadState, batch: Batch) -> None:
    loads = load.check(batch, backend.execute_many(batch))
    load.check(loads, backend.execute_many(loads))


async def _write_async(backend: AsyncBackend, load: _LoadState, batch: Batch) -> None:
    loads = load.check(batch, await backend.execute_many(batch))
    load.check(loads, await backend.execute_many(loads))


class _LoadState:
    """What a load has done and learned; :attr:`batches` yields what it must still write."""

    def __init__(
        self,
        backend: Backend | AsyncBackend,
        records: Iterable[Record],
        foreign: Foreign,
        progress: Progress | None,
    ) -> None:
        if progress is not None:
            check_function(progress, _PROGRESS)
        self.report = LoadReport()
        self.batches = self._batches(records, foreign)
        self._progress = progress
        #: Types of payloads that the server refuses; `None` if the backend does not accept payloads.
        self._refused: set[int] | None = set() if backend.takes_payloads else None

    def _batches(self, records: Iterable[Record], foreign: Foreign) -> Iterator[Batch]:
        now = time.time()
        file = records.name if isinstance(records, RdbReader) else None
        batch: Batch = []
        size = 0
        with translate_rdb_errors():
            for record in records:
                contents = contents_of_record(record, now, file)
                if isinstance(contents, str):
                    if foreign == "refuse" and contents != EXPIRED:
                        raise ForeignKeyError(
                            f"Key {key_repr(record.key)} of database {record.database} holds "
                            f"{contents}, which telstate does not support. Load with foreign='skip' to "
                            "leave such keys out."
                        )
                    self.report.skipped.append(Skipped(record.key, contents))
                    continue
                for operation in operations_for(record, contents, self._refused):
                    batch.append(operation)
                    size += size_of(operation)
                    if size >= BATCH_BYTES or len(batch) >= BATCH_LENGTH:
                        yield batch
                        batch, size = [], 0
        if batch:
            yield batch

    def check(self, batch: Sequence[Load | Restore], results: Sequence[object]) -> Batch:
        """Return what must be loaded instead of refused payloads; raise any other error."""
        loads: Batch = []
        for operation, result in zip(batch, results, strict=True):
            if isinstance(result, RefusedError) and isinstance(operation, Restore):
                loads += loads_for(operation)
                if self._refused is not None:
                    self._refused.add(operation.payload[0])
            elif isinstance(result, Exception):
                raise result
        return loads

    def count(self, batch: Batch) -> None:
        """Count the keys of a batch that has been written, and call the progress function."""
        self.report.keys += sum(isinstance(each, Restore) or each.replace for each in batch)
        if self._progress is not None:
            check_result(self._progress(self.report), _PROGRESS)


class _Queue(Generic[Pending]):
    """Batches that are under way, in order, with the futures of their writes."""

    def __init__(self) -> None:
        self._entries: deque[tuple[set[bytes], Batch, Pending]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def futures(self) -> list[Pending]:
        return [future for _, _, future in self._entries]

    @property
    def first(self) -> Pending:
        return self._entries[0][2]

    def append(self, batch: Batch, future: Pending) -> None:
        self._entries.append(({operation.key for operation in batch}, batch, future))

    def pop(self) -> Batch:
        """Remove the first batch."""
        return self._entries.popleft()[1]

    def must_wait(self, batch: Batch) -> bool:
        """Return whether the first batch must end before another: one with its keys, or too many."""
        keys = {operation.key for operation in batch}
        return len(self._entries) == IN_FLIGHT or not all(
            keys.isdisjoint(others) for others, _, _ in self._entries
        )
