"""Snapshots: RDB files into a store, and stores into an RDB file.

The work is done by `telstate_rdb` (bytes of the file) and `telstate_backends` (what a key holds); this
is where they meet. What was written is readable by every Redis and by katsdptelstate.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from telstate.suggestions import Hint, MissingKeyError
from telstate.views import View
from telstate_backends import (
    AsyncBackend,
    Backend,
    Export,
    ForeignKeyError,
    Glimpse,
    Keys,
    Peek,
    RefusedError,
    TelstateError,
)
from telstate_backends._callables import check_ordinary
from telstate_backends.errors import RdbParseError, RdbWriteError, translate_rdb_errors
from telstate_backends.operations.bulk import value_of
from telstate_backends.store import Stored
from telstate_codec import Key, encode_key, key_repr

if TYPE_CHECKING:
    import redis

    from telstate.telescope_state import TelescopeState
    from telstate_backends._load import LoadReport
    from telstate_rdb import KeyRecord, RawValue, RdbReader, Value
    from telstate_rdb._source import BinaryReader

logger = logging.getLogger("telstate")

# How many keys are asked for at once, and how many bytes (a key that has more comes alone).
BATCH = 100
BATCH_BYTES = 1 << 24
# How many keys are asked for their sizes at once.
SIZED = 200
# How many names an error shows.
_SHOWN = 5

Progress = Callable[[int], object]
# A path, or anything open that reads bytes: a file, a decompressor, an HTTP response.
Source: TypeAlias = "str | os.PathLike[str] | BinaryReader"


def load_into(
    backend: Backend,
    file: Source,
    progress: Progress | None = None,
    strict: bool = True,
) -> int:
    """Load a snapshot into a backend.

    Parameters
    ----------
    backend
        Where to.
    file
        Path of an RDB file, or an open binary file.
    progress
        Called now and then with the number of keys loaded so far.
    strict
        Whether a damaged file is an error (default), or what is whole of it is loaded and what is
        lost is logged as a warning.

    Returns
    -------
    count
        How many keys were loaded. What telstate does not have (Redis lists, say) is left out and
        logged as a warning, since other programs may share the server that the file is from.
    """
    # Here, because most programs that use a live store never read a file.
    from telstate_backends._load import load_rdb, load_records

    teller = _teller(progress)
    if not strict:
        records = _salvaged(file)
        report = load_records(backend, records, foreign="skip", progress=teller)
        return _loaded(report, records)
    try:
        report = load_rdb(backend, file, foreign="skip", progress=teller)
    except RdbParseError as error:
        _advise(error)
        raise
    return _loaded(report)


async def load_into_async(
    backend: AsyncBackend,
    file: Source,
    progress: Progress | None = None,
    strict: bool = True,
) -> int:
    """Load a snapshot into an asyncio backend: `load_into`, awaited."""
    # Here, for the same reason; and in a thread, because it takes a while, for the first time.
    from asyncio import to_thread

    loading = await to_thread(import_module, "telstate_backends._load")
    report: LoadReport
    teller = _teller(progress)
    if not strict:
        records = await to_thread(_salvaged, file)
        report = await loading.load_records_async(backend, records, foreign="skip", progress=teller)
        return _loaded(report, records)
    try:
        report = await loading.load_rdb_async(backend, file, foreign="skip", progress=teller)
    except RdbParseError as error:
        _advise(error)
        raise
    return _loaded(report)


@translate_rdb_errors()
def _salvaged(file: Source) -> RdbReader[KeyRecord[Value]]:
    """Read what is whole of a file; values are decoded, so that none which is not gets to a server."""
    from telstate_rdb import read_rdb

    return read_rdb(file, strict=False)


def _advise(error: RdbParseError) -> None:
    """Say how to get at the rest, unless there is none: the beginning is that of no snapshot."""
    if error.offset:
        error.reason += "; to get what is whole of it, use load_from_file or TelescopeState.from_snapshot with strict=False"


def _teller(progress: Progress | None) -> Callable[[LoadReport], object] | None:
    return None if progress is None else lambda report: progress(report.keys)


def _loaded(report: LoadReport, records: RdbReader[KeyRecord[Value]] | None = None) -> int:
    """Log what was left out or lost, and give how many keys were loaded."""
    for skipped in report.skipped:
        logger.warning("Key %s was not loaded: it holds %s", key_repr(skipped.key), skipped.reason)
    if records is not None:
        for loss in records.losses:
            size = "the rest" if loss.size is None else f"{loss.size} bytes"
            key = "" if loss.key is None else f" (of key {key_repr(loss.key)})"
            place = f"byte {loss.offset} of {records.name or 'the file'}"
            logger.warning("Lost at %s, %s%s: %s", place, size, key, loss.reason)
    return report.keys


class RDBWriterBase:
    """What the synchronous and the asyncio writer have in common: the file and the counts.

    Parameters
    ----------
    filename
        Path of the file. One that is there already is replaced.
    keep_empty
        Whether a file is written even if there is no key for it.

    Attributes
    ----------
    filename : str
        The same.
    keys_written : int
        How many keys were written.
    keys_failed : int
        How many were asked for and not there, or could not be written; each is logged.
    failures : dict[bytes, str]
        Why, for each of those keys.
    """

    def __init__(self, filename: str | os.PathLike[str], *, keep_empty: bool = False) -> None:
        from telstate_rdb import RdbWriter

        self.filename = os.fspath(filename)
        self.keys_written = 0
        self.keys_failed = 0
        self.failures: dict[bytes, str] = {}
        self._errors: dict[bytes, TelstateError] = {}  # of those failures that are some
        self._entered = False
        self._names: set[bytes] = set()
        self._keep_empty = keep_empty
        self._writer = RdbWriter(self.filename, keep_empty=keep_empty)

    @translate_rdb_errors()
    def write_key(self, key: bytes, dumped_value: bytes) -> None:
        """Write a key from what ``DUMP`` gave, of any version of Redis."""
        self._check_open()
        self._writer.write_dump(key, dumped_value)
        self._names.add(key)
        self.keys_written += 1

    @translate_rdb_errors()
    def _open(self) -> None:
        self._writer.__enter__()
        self._entered = True

    @translate_rdb_errors()
    def _close(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        self._writer.__exit__(exception_type, exception, traceback)
        if exception is None and not self.keys_written and not self._keep_empty:
            logger.warning("No key was written, so %s was left as it was", self.filename)

    def _begin(self, progress: Progress | None) -> None:
        """Check that there can be written, and whom to tell of it."""
        self._check_open()
        if progress is not None:
            check_ordinary(progress, "the progress function of saving")

    def _check_open(self) -> None:
        if not self._entered:
            raise RdbWriteError(
                f"{self.filename} is not open: use the RDBWriter in a with statement."
            )

    @translate_rdb_errors()
    def _write_batch(
        self, keys: list[bytes], contents: Iterable[Stored | TelstateError | None]
    ) -> None:
        """Write keys, or log and count that they cannot be; an error of the file is raised."""
        for key, stored in zip(keys, contents):
            if stored is None:
                self._fail(key, "there is no such key")
            elif isinstance(stored, TelstateError):
                self._fail(key, stored)
            elif key in self._names:
                self._repeat(key, value_of(stored))
            else:
                self._writer.write(key, value_of(stored))
                self._names.add(key)
                self.keys_written += 1

    def _repeat(self, key: bytes, value: Value | RawValue) -> None:
        """Deal with a key that the file has already; no server reads a file that has one twice."""
        self._fail(key, "the file has a key of that name already")

    def _fail(self, key: bytes, problem: object) -> None:
        self.keys_failed += 1
        self.failures[key] = str(problem)
        if isinstance(problem, TelstateError):
            self._errors[key] = problem
        logger.error("Key %s was not saved: %s", key_repr(key), problem)


class RDBWriter(RDBWriterBase):
    """Write keys of one or more stores to an RDB file.

    Use it as a context manager: the file appears, whole, at the end of the ``with`` block, and not at
    all if that ends with an error or if no key was written. Parameters and attributes are those of
    `RDBWriterBase`; for asyncio there is `telstate.aio.rdb_writer.RDBWriter`.

    Examples
    --------
    >>> import os, tempfile
    >>> from telstate import RDBWriter, TelescopeState
    >>> ts = TelescopeState()
    >>> ts["n_chans"] = 4096
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "observation.rdb")
    ...     with RDBWriter(path) as writer:
    ...         writer.save(ts, keys=["n_chans", "n_pols"])
    ...     TelescopeState().load_from_file(path)
    1
    >>> writer.keys_written, writer.keys_failed
    (1, 1)
    """

    def __enter__(self) -> RDBWriter:
        self._open()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(exception_type, exception, traceback)

    def save(
        self,
        client: TelescopeState | Backend | redis.Redis,
        keys: Iterable[Key] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store.

        Parameters
        ----------
        client
            A telescope state (of any view), a backend, or a redis-py client.
        keys
            Full names of the keys (default: all); one that is not there is logged and counted.
        progress
            Called now and then with the number of keys written so far.

        Raises
        ------
        RdbWriteError
            If the file cannot be written, or the writer is not in a ``with`` statement.
        """
        self._begin(progress)
        with _store_behind(client) as backend:
            wanted = backend.execute(Keys(b"*")) if keys is None else check_keys(keys)
            for start in range(0, len(wanted), SIZED):
                some = wanted[start : start + SIZED]
                for batch in portions(some, backend.execute_many([Peek(key, 0) for key in some])):
                    self._write_batch(batch, backend.execute_many([Export(key) for key in batch]))
                    if progress is not None:
                        progress(self.keys_written)


def portions(
    keys: Iterable[bytes], glimpses: Iterable[object], most: int = BATCH
) -> Iterator[list[bytes]]:
    """Cut keys, in order, into batches whose contents go into memory at once.

    Parameters
    ----------
    keys
        The keys.
    glimpses
        What `Peek` says of each; other things (None, errors) take no room.
    most
        How many keys may be in a batch.
    """
    batch: list[bytes] = []
    filled = 0
    for key, glimpse in zip(keys, glimpses):
        size = glimpse.count * glimpse.size if isinstance(glimpse, Glimpse) else 0
        if batch and (len(batch) == most or filled + size > BATCH_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(key)
        filled += size
    if batch:
        yield batch


def save_store(backend: Backend, path: str | os.PathLike[str], keys: Iterable[Key] | None) -> int:
    """Save a store, or some keys of it, to a file of its own: ``ts.save(path, keys)``."""
    wanted = None if keys is None else names_to_save(keys)
    with RDBWriter(path, keep_empty=True) as writer:
        writer.save(backend, wanted)
        check_saved(writer, wanted, backend)
    return writer.keys_written


def names_to_save(keys: Iterable[Key]) -> list[Key]:
    """Give the names that a user asks for, each once."""
    return list(dict.fromkeys(check_keys(keys)))


def check_saved(writer: RDBWriterBase, wanted: list[Key] | None, backend: object) -> None:
    """Refuse to finish a file that lacks keys which were asked for by name.

    Of a whole store, what is not telstate's (Redis lists, say) is left out, as in loading.

    Raises
    ------
    KeyError
        If one was not there.
    ForeignKeyError
        If one holds what is not telstate's.
    RefusedError
        If the server did not give one.
    """
    if wanted is None or not writer.keys_failed:
        return
    failed = sorted(writer.failures, key=writer._errors.__contains__)  # what is not there is first
    first = failed[0]
    shown = ", ".join(map(key_repr, failed[:_SHOWN]))
    more = "..." if len(failed) > _SHOWN else ""
    text = (
        f"{writer.keys_failed} of {len(wanted)} keys cannot be saved ({shown}{more}: "
        f"{writer.failures[first]}), so {writer.filename} was left as it was; "
        "RDBWriter saves what there is"
    )
    problem = writer._errors.get(first)
    if problem is not None:
        # Other classes may want other arguments.
        known = (kind for kind in (ForeignKeyError, RefusedError) if isinstance(problem, kind))
        raise next(known, TelstateError)(text) from problem
    error = MissingKeyError(text)
    error.hint = Hint(View(("",)), first)
    error.look_in(backend)
    raise error


def check_keys(keys: Iterable[Key]) -> list[bytes]:
    """Give the keys to save as bytes.

    Raises
    ------
    TypeError
        If it is a single name, whose characters would each be taken for one.
    """
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"keys must be a list of names, not the single name {keys!r}.")
    return [encode_key(key) for key in keys]


def _store_behind(
    client: TelescopeState | Backend | redis.Redis,
) -> AbstractContextManager[Backend]:
    """Give the backend to save from, for as long as that takes; a client is only borrowed."""
    backend: Any = getattr(client, "backend", client)
    if hasattr(backend, "execute_many"):
        return nullcontext(backend)
    if hasattr(backend, "connection_pool"):
        from telstate_backends import RedisBackend

        return RedisBackend.borrow(backend)
    raise TypeError(
        f"Cannot save from a {type(client).__name__}; give a TelescopeState, a backend or a "
        "redis-py client."
    )
