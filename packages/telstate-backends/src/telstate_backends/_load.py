"""Load the records of a snapshot into any backend, in batches, with progress and a report.

What telstate does not support (lists, sets, streams, modules, sorted sets with scores, hashes whose fields
expire) is refused with an error that names the key, or skipped and reported. A batch is small enough not to
block an event loop or a server for long; a very long key is loaded in parts. For a server, some batches are
under way while the next ones are read; batches with a common key are written in order.

A damaged file must not be half loaded. A store in memory is written when everything has been read; for a
server, a file that can be read twice is read to its end before the first write.
"""

from __future__ import annotations

import io
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

import telstate_rdb
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
from telstate_backends.errors import (
    DatabaseCollisionError,
    ForeignKeyError,
    RefusedError,
    translate_rdb_errors,
)
from telstate_backends.operations.bulk import Load, Restore
from telstate_backends.store import Packed, Stored
from telstate_codec.keys import Key, encode_key, key_repr
from telstate_rdb import Loss, RdbReader, RdbSource, read_in_place, read_lazily, read_rdb
from telstate_rdb.globs import Glob
from telstate_rdb.printable import escape_path
from telstate_rdb.reader import verify_checksum

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

    @property
    def has_expired(self) -> bool:
        """Whether the key was skipped because it has expired."""
        return self.reason == EXPIRED


@attrs.define
class LoadReport:
    """The result of a load so far.

    Attributes
    ----------
    keys : int
        Number of keys that were loaded.
    skipped : list of Skipped
        The keys that were skipped.
    collisions : list of bytes
        The keys that are in several databases of the file; the last value of each was loaded.
    repeated : list of bytes
        The keys that are in a database of the file more than once, which no server accepts; the last
        value of each was loaded.
    losses : list of telstate_rdb.Loss
        The parts of a broken file that could not be read.
    databases : list of int
        The databases of the file with keys that were loaded, in its order.
    """

    keys: int = 0
    skipped: list[Skipped] = attrs.field(factory=list)
    collisions: list[bytes] = attrs.field(factory=list)
    repeated: list[bytes] = attrs.field(factory=list)
    losses: list[Loss] = attrs.field(factory=list)
    databases: list[int] = attrs.field(factory=list)


Operations: TypeAlias = Sequence[Load | Restore]


@attrs.frozen
class Batch:
    """Operations that are sent together, and how many new keys they have."""

    operations: Operations
    keys: int


KeyChoice: TypeAlias = Key | Callable[[bytes], object]
#: One glob pattern, several, or a function that returns whether a key is wanted.
Patterns: TypeAlias = Key | Iterable[Key] | KeyChoice
Foreign: TypeAlias = Literal["refuse", "skip"]
Collisions: TypeAlias = Literal["accept", "refuse"]
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
    keys: Patterns | None = None,
    strict: bool = True,
    collisions: Collisions = "accept",
    in_place: bool = False,
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
    databases : int or collection of int, optional
        The databases to load (default: all; of a key that is in several, the last value is loaded).
    keys : str or bytes or iterable of these or callable, optional
        A glob pattern that keys must match, several names and patterns of which they must match one, or a
        function that returns whether a key is wanted (default: all keys).
    strict : bool
        Whether a broken file is an error (default), or as much as possible is loaded.
    collisions : {"accept", "refuse"}
        Whether the last value of a key that is in several databases is loaded (default), or such a key
        is an error.
    in_place : bool
        Whether a store in memory leaves long values in the file (default: no), if the source is the path of
        a regular file, or such a file that is open. It stays open as long as the store refers to it; if it is
        changed, reading a value is an `RdbParseError`. Not for `strict=False`.

    Returns
    -------
    LoadReport
        What was loaded and what was skipped.

    Raises
    ------
    RdbParseError
        If the file is broken. Nothing is loaded then, unless the store is a server and the file cannot be
        read twice (a pipe, for example): the keys before the damage are loaded in that case.
    DatabaseCollisionError
        If a key is in several databases and `collisions` is "refuse". Nothing is loaded then, with the
        same exception as for a broken file.
    ForeignKeyError, OSError, ConnectionError, RefusedError
        As for :func:`load_records`.
    """
    if in_place and strict:
        report = _load_in_place(backend, source, foreign, progress, databases, keys, collisions)
        if report is not None:
            return report
    with _read(backend, source, databases, keys, strict, collisions) as records:
        load = _LoadState(backend, records, foreign, progress, collisions)
        report = _load(backend, load)
        report.losses += records.losses
        return report


async def load_rdb_async(
    backend: AsyncBackend,
    source: RdbSource,
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
    databases: Collection[int] | int | None = None,
    keys: Patterns | None = None,
    strict: bool = True,
    collisions: Collisions = "accept",
    in_place: bool = False,
) -> LoadReport:
    """Load a snapshot into an asyncio backend: :func:`load_rdb`, awaited.

    The file is opened, read and decoded in a thread, a batch at a time, so that other tasks can run.
    """
    # Imported here because synchronous programs do not need it.
    from asyncio import to_thread

    if in_place and strict:
        load_in_place = partial(_load_in_place, backend, source, foreign, progress)
        report_in_place = await to_thread(load_in_place, databases, keys, collisions)
        if report_in_place is not None:
            return report_in_place
    with await to_thread(_read, backend, source, databases, keys, strict, collisions) as records:
        load = _LoadState(backend, records, foreign, progress, collisions)
        report = await _load_async(backend, load)
        report.losses += records.losses
        return report


def _load_in_place(
    backend: Backend | AsyncBackend,
    source: RdbSource,
    foreign: Foreign,
    progress: Progress | None,
    databases: Collection[int] | int | None,
    keys: Patterns | None,
    collisions: Collisions,
) -> LoadReport | None:
    """Load a file without its long values into a store in memory; return None if it cannot be read so.

    It cannot if anything is wrong with it: then what was read before the checksum may be wrong, too.
    """
    store = backend.uncached.store
    if store is None or not isinstance(source, str | os.PathLike | io.BufferedReader):
        return None
    if not hasattr(os, "pread"):
        return None  # Windows has none, and an open file could not be replaced there
    name: object = None
    if isinstance(source, io.BufferedReader):
        name = source.name
    elif not os.path.isfile(source):
        return None
    name = name if isinstance(name, str) else None
    try:
        with read_in_place(
            source, databases=databases, keys=_choice_of(keys), name=name
        ) as records:
            load = _LoadState(backend, records, foreign, progress, collisions)
            entries = {record.key: contents for record, contents in load.contents(records, foreign)}
    except (telstate_rdb.RdbParseError, ForeignKeyError):
        return None
    with store.lock:
        if store.watched:
            for key, contents in entries.items():
                Load(key, contents).apply(store)
        else:
            store.data.update(entries)
    load.count(Batch((), len(entries)))
    return load.report


@translate_rdb_errors()
def _read(
    backend: Backend | AsyncBackend,
    source: RdbSource,
    databases: Collection[int] | int | None,
    keys: Patterns | None,
    strict: bool,
    collisions: Collisions,
) -> RdbReader[Any]:
    """Open a file, after checking it first if its records go to a server."""
    raw = backend.takes_payloads
    choice = _choice_of(keys)

    def open_file() -> RdbReader[Any]:
        if strict:
            return read_lazily(source, raw=raw, databases=databases, keys=choice)
        return read_rdb(source, raw=raw, databases=databases, keys=choice, strict=False)

    if backend.uncached.store is None and _can_be_read_twice(source):
        if strict:
            with _rewinding(source):
                _validate(source)
        if collisions == "refuse":
            with _rewinding(source):
                for _ in _LoadState(backend, open_file(), "skip", None, collisions).batches:
                    pass  # a collision is an error
    return open_file()


def _can_be_read_twice(source: RdbSource) -> bool:
    if isinstance(source, str | os.PathLike):
        return os.path.isfile(source)  # and no pipe; that it cannot be opened will be seen
    if isinstance(source, bytes | bytearray | memoryview):
        return True
    is_seekable = getattr(source, "seekable", None)
    return is_seekable is not None and bool(is_seekable())


@contextmanager
def _rewinding(source: Any) -> Iterator[None]:
    """Return to the present position of an open file at the end of the block."""
    start = source.tell() if hasattr(source, "seekable") else None
    try:
        yield
    finally:
        if start is not None:
            source.seek(start)


def _validate(source: RdbSource) -> None:
    """Read a file to its end, and raise the error if it is broken."""
    # With the right checksum, values can be malformed only if a program wrote them so.
    has_checksum = verify_checksum(source) is not None
    for _ in read_lazily(source, raw=has_checksum):
        pass


def _choice_of(keys: Patterns | None) -> KeyChoice | None:
    """Return one pattern, or a function that returns whether a key has one of some names, or matches one."""
    if keys is None or isinstance(keys, str | bytes) or callable(keys):
        return keys
    names = {encode_key(key) for key in keys}
    globs = [Glob(name).fullmatch for name in names]
    return lambda key: key in names or any(matches(key) for matches in globs)


def _collision_error(report: LoadReport, file: str | None) -> DatabaseCollisionError:
    """Return the error for a file with keys of the same name in several databases."""
    place = "The file" if file is None else escape_path(file)
    keys, databases = report.collisions, sorted(report.databases)
    names = ", ".join(map(key_repr, keys[:3])) + (", ..." if len(keys) > 3 else "")
    which = f"key {names}" if len(keys) == 1 else f"{len(keys)} keys ({names})"
    *others, last = map(str, databases)
    return DatabaseCollisionError(
        f"{place} has {which} in several of its databases {', '.join(others)} and {last}. "
        "Choose one of them.",
        databases,
    )


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
    return _load(backend, _LoadState(backend, records, foreign, progress))


def _load(backend: Backend, load: _LoadState) -> LoadReport:
    if not backend.takes_payloads:
        for batch in load.batches if backend.uncached.store is None else tuple(load.batches):
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
    return await _load_async(backend, _LoadState(backend, records, foreign, progress))


async def _load_async(backend: AsyncBackend, load: _LoadState) -> LoadReport:
    # Imported here because synchronous programs do not need it.
    from asyncio import CancelledError, Task, create_task, sleep, to_thread, wait

    if not backend.takes_payloads and backend.uncached.store is not None:
        cancelled: CancelledError | None = None
        for ready in await to_thread(tuple, load.batches):
            await _write_async(backend, load, ready)
            load.count(ready)
            try:
                await sleep(0)  # a backend in memory never lets other tasks run
            except CancelledError as error:
                cancelled = error  # everything is loaded, or nothing
        if cancelled is not None:
            raise cancelled
        return load.report
    queue: _Queue[Task[None]] = _Queue()

    async def next_batch() -> Batch | None:
        try:
            return await to_thread(next, load.batches, None)
        except Exception:
            if queue:
                await wait(queue.futures)  # what was read before the error is written
            raise

    try:
        while (batch := await next_batch()) is not None:
            if not backend.takes_payloads:
                await _write_async(backend, load, batch)
                load.count(batch)
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
    loads = load.check(batch.operations, backend.execute_many(batch.operations))
    load.check(loads, backend.execute_many(loads))


async def _write_async(backend: AsyncBackend, load: _LoadState, batch: Batch) -> None:
    loads = load.check(batch.operations, await backend.execute_many(batch.operations))
    load.check(loads, await backend.execute_many(loads))


class _LoadState:
    """The state of a load; :attr:`batches` yields the batches that are still to be written."""

    def __init__(
        self,
        backend: Backend | AsyncBackend,
        records: Iterable[Record],
        foreign: Foreign,
        progress: Progress | None,
        collisions: Collisions = "accept",
    ) -> None:
        if progress is not None:
            check_function(progress, _PROGRESS)
        self._refuses_collisions = collisions == "refuse"
        self.report = LoadReport()
        #: The keys so far, each with its last database.
        self._databases: dict[bytes, int] = {}
        #: The keys that are in the file more than once, and whether in one database.
        self._doubles: set[tuple[bytes, bool]] = set()
        self.batches = self._batches(records, foreign)
        self._progress = progress
        #: Types of payloads that the server refuses; `None` if the backend does not accept payloads.
        self._refused: set[int] | None = set() if backend.takes_payloads else None

    def _batches(self, records: Iterable[Record], foreign: Foreign) -> Iterator[Batch]:
        batch: list[Load | Restore] = []
        size = keys = 0
        for record, contents in self.contents(records, foreign):
            for operation in operations_for(record, contents, self._refused):
                batch.append(operation)
                size += size_of(operation)
                if size >= BATCH_BYTES or len(batch) >= BATCH_LENGTH:
                    yield Batch(batch, len(self._databases) - keys)
                    keys = len(self._databases)
                    batch, size = [], 0
        if batch:
            yield Batch(batch, len(self._databases) - keys)

    def contents(
        self, records: Iterable[Record], foreign: Foreign
    ) -> Iterator[tuple[Record, Stored | Packed]]:
        """Yield the records to load and their contents; note the others in the report."""
        now = time.time()
        file = records.name if isinstance(records, RdbReader) else None
        databases = self._databases
        database: int | None = None
        report = self.report
        with translate_rdb_errors():
            for record in records:
                key = record.key
                contents = contents_of_record(record, now, file)
                if isinstance(contents, str):
                    if foreign == "refuse" and contents != EXPIRED:
                        raise ForeignKeyError(
                            f"Key {key_repr(key)} of database {record.database} holds {contents}, which "
                            "telstate does not support. Load with foreign='skip' to leave such keys out."
                        )
                    report.skipped.append(Skipped(key, contents))
                    continue
                if record.database != database:
                    database = record.database
                    if database not in report.databases:
                        report.databases.append(database)
                known = len(databases)
                before = databases.setdefault(key, record.database)
                if len(databases) == known:
                    self._note_double(key, before == record.database)
                    databases[key] = record.database
                if self._refuses_collisions and report.collisions:
                    continue  # nothing more is written, but the error names them all
                yield record, contents
        if self._refuses_collisions and report.collisions:
            raise _collision_error(report, file)

    def _note_double(self, key: bytes, in_same_database: bool) -> None:
        if (key, in_same_database) not in self._doubles:
            self._doubles.add((key, in_same_database))
            report = self.report
            (report.repeated if in_same_database else report.collisions).append(key)

    def check(self, batch: Operations, results: Sequence[object]) -> list[Load]:
        """Return what must be loaded instead of refused payloads; raise any other error."""
        loads: list[Load] = []
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
        self.report.keys += batch.keys
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
        self._entries.append(({operation.key for operation in batch.operations}, batch, future))

    def pop(self) -> Batch:
        """Remove the first batch."""
        return self._entries.popleft()[1]

    def must_wait(self, batch: Batch) -> bool:
        """Return whether the first batch must end before another: one with its keys, or too many."""
        keys = {operation.key for operation in batch.operations}
        return len(self._entries) == IN_FLIGHT or not all(
            keys.isdisjoint(others) for others, _, _ in self._entries
        )
