"""Records of a snapshot into any backend, in batches, with progress and a report.

Rules: what telstate does not have (lists, sets, streams, modules, sorted sets with scores, hashes
whose fields expire) is refused with an error that names the key, or skipped and reported, as asked.
Batches are made purely (:func:`batches`); sync and asyncio loading only send them. A batch is small
enough not to hold up an event loop or a server for long; a very long key goes in several parts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Literal, TypeAlias

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
from telstate_rdb import read_lazily, read_rdb
from telstate_rdb.reader import RdbSource

#: A batch is sent when it has this many bytes of keys and values, or this many operations.
BATCH_BYTES = 1 << 20
BATCH_LENGTH = 1000
#: Batches that are on their way to a store that is not in this process.
IN_FLIGHT = 3


@attrs.frozen
class Skipped:
    """A key that was not loaded, and why.

    Attributes
    ----------
    key : bytes
        The full key.
    reason : str
        What it holds that telstate does not have.
    """

    key: bytes
    reason: str


@attrs.define
class LoadReport:
    """What has been loaded so far.

    Attributes
    ----------
    keys : int
        How many keys are in the backend now because of this load.
    skipped : list of Skipped
        The keys that are not, where they were to be skipped.
    """

    keys: int = 0
    skipped: list[Skipped] = attrs.field(factory=list)


Batch: TypeAlias = list[Load | Restore]
Foreign: TypeAlias = Literal["refuse", "skip"]
#: What it is called in messages.
PROGRESS = "progress function of a load"
Progress: TypeAlias = Callable[[LoadReport], object]


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
        Where to.
    source : path or bytes or binary file
        The RDB file.
    foreign, progress
        As for :func:`load_records`.
    databases, keys, strict
        As for :func:`telstate_rdb.read_rdb`: which databases and keys (default: all), and whether a
        broken file is an error (default) or as much as can be had is loaded.

    Returns
    -------
    LoadReport
        What was loaded and what was skipped.

    Raises
    ------
    RdbParseError
        If the file is broken: before anything is loaded, if the file has a checksum and can be read
        twice (a path, bytes, an open regular file).
    ForeignKeyError, OSError, ConnectionError, RefusedError
        As from :func:`load_records`.
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

    The file is opened, read and decoded in a thread, a batch at a time, so that other tasks run.
    """
    # Here, so that who is not on asyncio need not pay for this import.
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
    remote = _is_remote(backend)
    if not strict:
        if remote:
            return read_rdb(source, raw=True, databases=databases, keys=keys, strict=False)
        return read_rdb(source, databases=databases, keys=keys, strict=False)
    if remote:
        return read_lazily(source, raw=True, databases=databases, keys=keys)
    return read_lazily(source, databases=databases, keys=keys)


def load_records(
    backend: Backend,
    records: Iterable[Record],
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
) -> LoadReport:
    """Load records into a backend; keys that are there already are replaced.

    Parameters
    ----------
    backend : Backend
        Where to.
    records : iterable of telstate_rdb.KeyRecord
        What, for example from :func:`telstate_rdb.read_rdb`; of every database that it gives. Raw
        values are passed on to the backend as they are, if it can read them.
    foreign : {"refuse", "skip"}
        Whether a key that telstate cannot have is an error (default), or is skipped and reported.
    progress : callable, optional
        An ordinary function, called with the report after each batch.

    Returns
    -------
    LoadReport
        What was loaded and what was skipped. A key that has expired is always skipped; one that
        is to expire later is loaded to stay.

    Raises
    ------
    ForeignKeyError
        If a key is to be refused; what came before it stays loaded.
    RdbParseError, OSError
        As `records` raises them.
    ConnectionError, RefusedError
        If the store cannot be reached or does not take the keys.
    TypeError
        If `progress` is no ordinary function.
    """
    if progress is not None:
        check_function(progress, PROGRESS)
    report = LoadReport()
    refused: set[int] | None = set() if _is_remote(backend) else None
    prepared = batches(records, report, foreign, time.time(), refused)
    write = _written if refused is None else _written_ahead
    for batch in write(backend, prepared, refused):
        _count(batch, report, progress)
    return report


def _is_remote(backend: Backend | AsyncBackend) -> bool:
    return backend.takes_payloads


def _write(backend: Backend, batch: Batch, refused: set[int] | None) -> None:
    slower = _slower(batch, backend.execute_many(batch), refused)
    _slower(slower, backend.execute_many(slower), refused)


def _written(
    backend: Backend, prepared: Iterable[Batch], refused: set[int] | None
) -> Iterator[Batch]:
    """Write batches, and give each back when it is written."""
    for batch in prepared:
        _write(backend, batch, refused)
        yield batch


def _written_ahead(
    backend: Backend, prepared: Iterable[Batch], refused: set[int] | None
) -> Iterator[Batch]:
    """Write batches as :func:`_written` does, while the next ones are read and sent.

    So the store always has something to do. What concerns a key is done in order.
    """
    # Here, so that who loads nothing need not pay for this import.
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        writing: deque[tuple[set[bytes], Batch, Future[None]]] = deque()
        for batch in prepared:
            keys = {operation.key for operation in batch}
            while _must_wait(keys, (each[0] for each in writing)):
                writing[0][2].result()
                yield writing.popleft()[1]
            writing.append((keys, batch, threads.submit(_write, backend, batch, refused)))
        for _, batch, future in writing:
            future.result()
            yield batch


def _must_wait(keys: set[bytes], under_way: Iterable[set[bytes]]) -> bool:
    """Tell whether a batch must wait for the first under way: there are enough, or one has its keys."""
    others = list(under_way)
    return len(others) == IN_FLIGHT or not all(map(keys.isdisjoint, others))


async def load_records_async(
    backend: AsyncBackend,
    records: Iterable[Record],
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
) -> LoadReport:
    """Load records into an asyncio backend: :func:`load_records`, awaited.

    The records are taken from `records` in a thread, a batch at a time, so that other tasks run.
    """
    if progress is not None:
        check_function(progress, PROGRESS)
    report = LoadReport()
    refused: set[int] | None = set() if _is_remote(backend) else None
    prepared = batches(records, report, foreign, time.time(), refused)
    write = _written_async if refused is None else _written_ahead_async
    async with aclosing(write(backend, prepared, refused)) as written:
        async for batch in written:
            _count(batch, report, progress)
    return report


async def _write_async(backend: AsyncBackend, batch: Batch, refused: set[int] | None) -> None:
    slower = _slower(batch, await backend.execute_many(batch), refused)
    _slower(slower, await backend.execute_many(slower), refused)


async def _written_async(
    backend: AsyncBackend, prepared: Iterator[Batch], refused: set[int] | None
) -> AsyncGenerator[Batch, None]:
    """Write batches, and give each back when it is written."""
    # Here, so that who is not on asyncio need not pay for this import.
    from asyncio import sleep, to_thread

    while (batch := await to_thread(next, prepared, None)) is not None:
        await _write_async(backend, batch, refused)
        yield batch
        await sleep(0)  # a memory backend does not make others wait either


async def _written_ahead_async(
    backend: AsyncBackend, prepared: Iterator[Batch], refused: set[int] | None
) -> AsyncGenerator[Batch, None]:
    """Write batches as :func:`_written_async` does, while the next ones are read and sent."""
    # Here, so that who is not on asyncio need not pay for this import.
    from asyncio import Task, create_task, to_thread, wait

    writing: deque[tuple[set[bytes], Batch, Task[None]]] = deque()
    try:
        while (batch := await to_thread(next, prepared, None)) is not None:
            keys = {operation.key for operation in batch}
            while _must_wait(keys, (each[0] for each in writing)):
                await writing[0][2]
                yield writing.popleft()[1]
            writing.append((keys, batch, create_task(_write_async(backend, batch, refused))))
        while writing:
            await writing[0][2]
            yield writing.popleft()[1]
    finally:
        # Whatever went wrong, nothing of it goes on behind the caller's back.
        left = [task for _, _, task in writing]
        for task in left:
            task.cancel()
        if left:
            await wait(left)
            for task in left:
                if not task.cancelled():
                    task.exception()  # one error is enough; asyncio would complain of the others


def batches(
    records: Iterable[Record],
    report: LoadReport,
    foreign: Foreign,
    now: float,
    refused: Collection[int] | None = None,
) -> Iterator[Batch]:
    """Cut records into lists of operations; what is skipped goes to the report.

    `refused` is as for :func:`~telstate_backends._load_operations.operations_for`.
    """
    with translate_rdb_errors():
        yield from _batches(records, report, foreign, now, refused)


def _batches(
    records: Iterable[Record],
    report: LoadReport,
    foreign: Foreign,
    now: float,
    refused: Collection[int] | None,
) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    file: str | None = getattr(records, "name", None)
    for record in records:
        contents = contents_of_record(record, now, file)
        if isinstance(contents, str):
            if foreign == "refuse" and contents != EXPIRED:
                raise ForeignKeyError(
                    f"key {key_repr(record.key)} of database {record.database} holds {contents}, "
                    "which telstate does not have; load with foreign='skip' to leave such keys out"
                )
            report.skipped.append(Skipped(record.key, contents))
            continue
        for operation in operations_for(record, contents, refused):
            batch.append(operation)
            size += size_of(operation)
            if size >= BATCH_BYTES or len(batch) >= BATCH_LENGTH:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _slower(
    batch: Sequence[Load | Restore], results: Sequence[object], refused: set[int] | None
) -> Batch:
    """Give what is to be written in the slower way, and note why; an error of that is raised."""
    slower: Batch = []
    for operation, result in zip(batch, results, strict=True):
        if isinstance(result, RefusedError) and isinstance(operation, Restore):
            slower += loads_for(operation)
            if refused is not None:
                refused.add(operation.payload[0])
        elif isinstance(result, Exception):
            raise result
    return slower


def _count(batch: Batch, report: LoadReport, progress: Progress | None) -> None:
    report.keys += sum(isinstance(each, Restore) or each.replace for each in batch)
    if progress is not None:
        check_result(progress(report), PROGRESS)
