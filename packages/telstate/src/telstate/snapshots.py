"""Snapshots: loading RDB files into stores, and saving stores to RDB files.

`telstate_rdb` reads and writes the files, `telstate_backends` the keys; this module connects them. Files
that are written here can be read by Redis since 2.6 (since 4.0 if sensors were copied from a server's snapshot), by
Valkey and by katsdptelstate.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias, TypeVar

from telstate._base import TelescopeStateBase, name_methods_after
from telstate._calls.common import check_names, logger
from telstate._connect import class_name
from telstate._sources import Source, open_source, open_source_async
from telstate._suggest import Suggestion, look_in
from telstate._view import View
from telstate.errors import MissingKeyError
from telstate_backends import (
    AsyncBackend,
    Backend,
    ConnectionError,
    Export,
    ForeignKeyError,
    Glob,
    KeyPreview,
    Keys,
    Peek,
    RefusedError,
    TelstateError,
    check_function,
)
from telstate_backends.errors import RdbParseError, RdbWriteError, translate_rdb_errors
from telstate_backends.operations.bulk import ExportPacked, value_of
from telstate_backends.store import Packed, Stored
from telstate_codec import Key, encode_key, key_repr
from telstate_rdb.printable import escape_path

if TYPE_CHECKING:
    import redis

    from telstate._download import Downloaded
    from telstate_backends import LoadReport
    from telstate_backends.abc import SnapshotEntry
    from telstate_rdb import RawValue, StoredValue, Value

# The contents of so many bytes are in memory at once; a larger key is alone.
BATCH_BYTES = 1 << 22
# How many sizes are requested at once, which is also the most keys of a batch.
SIZE_BATCH = 2000
# The keys of a batch from a store in memory, whose sizes are not requested.
MEMORY_BATCH = 500
# So many bytes are long.
_LONG = 1 << 14
# How many names an error shows, and a record in the log.
_MAX_NAMES = 5
_MAX_LOGGED = 100
_MISSING = "there is no such key"
_NO_MATCH = "no key matches"
#: What the error for a damaged snapshot advises.
STRICT_ADVICE = "; strict=False loads the intact parts"
#: What the error for a file without keys advises.
EMPTY_ADVICE = " For an empty file, use keep_empty=True."
_GLOB_BYTES = frozenset(b"*?[\\")

Progress = Callable[[int], object]
#: What happens to keys of the same name in several databases of a file.
Collisions: TypeAlias = Literal["warn", "refuse"]


def load_into(
    backend: Backend,
    file: Source,
    strict: bool,
    keys: Iterable[Key] | None = None,
    database: int | None = None,
    collisions: Collisions = "warn",
    progress: Downloaded | None = None,
    in_place: bool = False,
) -> int:
    """Load a snapshot into a backend: ``ts.load_from_file(file, strict=strict)``.

    With `in_place`, long values stay in the file, which is a path or an address.
    """
    from telstate_backends import load_rdb

    options = _load_options(file, strict, keys, database, collisions, in_place)
    with open_source(file, progress) as opened, _mentioning_strict():
        report = load_rdb(backend, opened, **options)
        return _log_report(report, opened)


def load_selected(
    backend: Backend,
    file: Source,
    wants: Callable[[bytes], object],
    database: int | None,
    progress: Progress | None,
) -> int:
    """Load those keys of a snapshot that are wanted; `progress` is called with the number so far."""
    from telstate_backends import load_rdb

    def follow(report: LoadReport) -> None:
        if progress is not None:
            progress(report.keys)

    report = load_rdb(
        backend,
        file,
        foreign="skip",
        progress=follow,
        databases=database,
        keys=wants,
        collisions="refuse",
    )
    return _log_report(report, file)


async def load_into_async(
    backend: AsyncBackend,
    file: Source,
    strict: bool,
    keys: Iterable[Key] | None = None,
    database: int | None = None,
    collisions: Collisions = "warn",
    in_place: bool = False,
) -> int:
    """Load a snapshot into an asyncio backend: `load_into`, awaited."""
    from asyncio import to_thread

    options = _load_options(file, strict, keys, database, collisions, in_place)
    # The first import takes long enough to delay other tasks.
    load_rdb_async = await to_thread(_import_async_loading)
    async with open_source_async(file) as opened:
        with _mentioning_strict():
            report: LoadReport = await load_rdb_async(backend, opened, **options)
        return _log_report(report, opened)


def _load_options(
    file: Source,
    strict: bool,
    keys: Iterable[Key] | None,
    database: int | None,
    collisions: Collisions,
    in_place: bool,
) -> dict[str, Any]:
    """Return the options of `load_rdb` and of its asyncio twin."""
    if collisions not in ("warn", "refuse"):
        raise ValueError(f"collisions must be 'warn' or 'refuse', not {collisions!r}.")
    return {
        "foreign": "skip",
        "databases": database,
        "keys": None if keys is None else encode_names(keys),
        "strict": strict,
        "collisions": "accept" if collisions == "warn" else "refuse",
        # A file that the caller opened may be written to afterwards.
        "in_place": in_place and isinstance(file, str | os.PathLike),
    }


def _import_async_loading() -> Any:
    from telstate_backends import load_rdb_async

    return load_rdb_async


@contextmanager
def _mentioning_strict() -> Iterator[None]:
    """Add to an error how to read the rest, unless the file does not even begin as a snapshot."""
    try:
        yield
    except RdbParseError as error:
        if error.offset:
            error.reason += STRICT_ADVICE
        raise


def _log_report(report: LoadReport, file: Source) -> int:
    """Log what was left out or lost, and return the number of keys that were loaded."""
    name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", None)
    place = escape_path(str(name)) if isinstance(name, str | os.PathLike) else ""
    place = place or "the file"
    expired = [skipped.key for skipped in report.skipped if skipped.has_expired]
    foreign = [skipped for skipped in report.skipped if not skipped.has_expired]
    if foreign:
        reasons = ", ".join(dict.fromkeys(skipped.reason for skipped in foreign))
        logger.warning(
            "%s not loaded from %s, as telstate does not support the contents: %s",
            counted([skipped.key for skipped in foreign], "was", "were"),
            place,
            reasons,
        )
    if expired:
        logger.warning(
            "%s not loaded from %s: expired before", counted(expired, "was", "were"), place
        )
    if report.collisions:
        logger.warning(
            "%s in several databases of %s, and the last value was loaded; choose one with database=",
            counted(report.collisions, "is", "are"),
            place,
        )
    if report.repeated:
        logger.warning(
            "%s in a database of %s more than once, so that no server would load it; the last value was "
            "loaded",
            counted(report.repeated, "is", "are"),
            place,
        )
    for loss in report.losses:
        size = "the rest" if loss.size is None else f"{loss.size} bytes"
        key = "" if loss.key is None else f" (of key {key_repr(loss.key)})"
        where = f"byte {loss.offset} of {place}"
        logger.warning("Lost at %s, %s%s: %s", where, size, key, loss.reason)
    return report.keys


class RecordWriter(Protocol):
    """The new content of a file, as a context manager: it replaces the old one when it is complete."""

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def write(self, key: bytes, value: Any, /) -> None:
        """Write a key: a value of telstate_rdb, or one that is in a file if the writer takes these."""


@name_methods_after("RDBWriter")
class RDBWriterBase:
    """The common part of the synchronous and the asyncio writer: the file and the counts.

    Parameters
    ----------
    filename
        The path of the file. An existing file is replaced.
    keep_empty
        Whether the file is written even if it has no keys, or if it replaces another one and lacks keys
        that the store refused. Default: False.

    Attributes
    ----------
    filename : str
        The path of the file.
    keys_written : int
        The number of keys that were written.
    keys_failed : int
        The number of keys that do not exist or could not be written; their names are logged.
    failures : dict[bytes, str]
        The reason for each of these keys.
    """

    def __init__(self, filename: str | os.PathLike[str], *, keep_empty: bool = False) -> None:
        self.filename = os.fspath(filename)
        self._shown = escape_path(self.filename)
        self.keys_written = 0
        self.keys_failed = 0
        self.failures: dict[bytes, str] = {}
        self._errors: dict[bytes, TelstateError] = {}  # of those failures that are errors
        self._refused: TelstateError | None = None  # the first of them but for foreign keys
        self._stops_at_refusal = False
        self._logged = 0  # so many of the failures
        self._entered = False
        self._names: set[bytes] = set()
        self._keep_empty = keep_empty
        self._writer = self._make_writer()

    def _make_writer(self) -> RecordWriter:
        """Return the writer of the file; exports have one of their own."""
        from telstate_rdb import RdbWriter

        return RdbWriter(self.filename, keep_empty=self._keep_empty)

    @translate_rdb_errors()
    def write_key(self, key: bytes, dumped_value: bytes) -> None:
        """Write a key from a DUMP payload of any version of Redis."""
        from telstate_rdb import RdbWriter

        self._check_open()
        assert isinstance(self._writer, RdbWriter)  # payloads are of RDB files only
        self._writer.write_dump(key, dumped_value)
        self._names.add(key)
        self.keys_written += 1

    @translate_rdb_errors()
    def _open(self) -> None:
        self._writer.__enter__()
        self._entered = True

    @translate_rdb_errors()
    def _close(self, error: BaseException | None) -> None:
        """Finish the file, or discard it if there is an error."""
        self._entered = False
        if error is None:
            self._log_failures()  # of single keys
        if error is None and not self._keep_empty:
            if not self.keys_written:
                logger.warning("No key was written, so %s was left as it was", self._shown)
            elif self._refused is not None and os.path.exists(self.filename):
                logger.error(
                    "%s was left as it was: keys that the store refused would be missing",
                    self._shown,
                )
                error = self._refused
        self._writer.__exit__(None if error is None else type(error), error, None)

    def _check_open(self, progress: Progress | None = None) -> None:
        """Check that the file is open, and the function that reports progress."""
        if not self._entered:
            raise RdbWriteError(
                f"{self._shown} is not open. Use the RDBWriter in a with statement."
            )
        if progress is not None:
            check_function(progress, "progress function of saving")

    @translate_rdb_errors()
    def _write_batch(
        self,
        keys: Iterable[bytes],
        contents: Iterable[Stored | Packed | TelstateError | None],
        must_exist: bool = True,
    ) -> None:
        """Write keys; count those that cannot be written. Errors of the file are raised."""
        for key, stored in zip(keys, contents):
            if type(stored) is Packed and not self._can_copy(stored):
                try:
                    stored = stored.unpack()
                except TelstateError as error:
                    stored = error
            if stored is None:
                if must_exist:
                    self._fail(key, _NO_MATCH if _is_glob(key) else _MISSING)
            elif isinstance(stored, TelstateError):
                self._fail(key, stored)
            elif key in self._names:
                self._repeat(key, value_of(stored))
            else:
                self._writer.write(key, value_of(stored))
                self._names.add(key)
                self.keys_written += 1

    def _can_copy(self, packed: Packed) -> bool:
        """Return whether contents that are in a file can be copied from there as they are."""
        from telstate_rdb import RdbWriter, StoredValue

        writer, value = self._writer, packed.value
        return (
            isinstance(writer, RdbWriter)
            and isinstance(value, StoredValue)
            and writer.can_copy(value)
        )

    def _repeat(self, key: bytes, value: Value | RawValue | StoredValue) -> None:
        """Handle a key that is in the file already; no server reads a file with duplicate keys."""
        self._fail(key, "the file has a key of that name already")

    def _fail(self, key: bytes, problem: object) -> None:
        self.keys_failed += 1
        self.failures[key] = str(problem)
        if isinstance(problem, TelstateError):
            self._errors[key] = problem
            if not isinstance(problem, ForeignKeyError):
                self._refused = self._refused or problem
                if self._stops_at_refusal:
                    raise incomplete(
                        f"Cannot save key {key_repr(key)}, so {self._shown} was left as it was: {problem}",
                        problem,
                    ) from problem

    def _log_failures(self) -> None:
        """Log the failures since the last time, those with the same problem together."""
        groups: dict[str, list[bytes]] = {}
        logged, self._logged = self._logged, len(self.failures)
        for key in islice(self.failures, logged, None):
            problem = self._errors.get(key)
            kind = self.failures[key] if problem is None else type(problem).__name__
            groups.setdefault(kind, []).append(key)
        for kind, keys in groups.items():
            level = logging.WARNING if kind == ForeignKeyError.__name__ else logging.ERROR
            reason = self.failures[keys[0]]
            logger.log(level, "%s not saved: %s", counted(keys, "was", "were"), reason)


class RDBWriter(RDBWriterBase):
    """Write keys of one or more stores to an RDB file.

    This is a context manager: the complete file appears at the end of the ``with`` block, and not at
    all if the block raises or no key was written. Parameters and attributes are those of
    `RDBWriterBase`; `telstate.aio.rdb_writer.RDBWriter` is for asyncio.

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

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(exc_value)

    def save(
        self,
        client: TelescopeStateBase[Backend] | Backend | redis.Redis,
        keys: Iterable[Key] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store.

        Parameters
        ----------
        client
            A telescope state (of any view), a backend, or a redis-py client.
        keys
            Full names of keys, or glob patterns such as ``"m000_*"``. Names that do not exist, and patterns
            that match nothing, are logged and counted. Default: all keys.
        progress
            Called from time to time with the number of keys written so far. Default: none.

        Raises
        ------
        RdbWriteError
            If the file cannot be written, or the writer is not in a ``with`` statement.
        """
        self._check_open(progress)
        try:
            with _borrow_backend(client) as backend:
                names = None if keys is None else encode_names(keys)
                listed = backend.execute(Keys()) if has_globs(names) else []
                self._save_keys(backend, select_names(names, listed), names is not None, progress)
        finally:
            self._log_failures()

    def _save_keys(
        self,
        backend: Backend,
        wanted: Sequence[bytes],
        must_exist: bool,
        progress: Progress | None = None,
    ) -> None:
        """Write keys of a store; one that has been deleted is a failure if it `must_exist`."""
        in_memory = backend.uncached.store is not None
        for start in range(0, len(wanted), SIZE_BATCH):
            some = wanted[start : start + SIZE_BATCH]
            sizes: list[Any] = [None] * len(some)  # contents of a store in memory are there anyway
            if not in_memory:
                sizes = backend.execute_many([Peek(key, 0) for key in some])
            long = find_long(some, sizes)
            for batch in split_by_size(some, sizes, MEMORY_BATCH if in_memory else SIZE_BATCH):
                contents = backend.execute_many([ExportPacked(key, key in long) for key in batch])
                self._write_batch(batch, contents, must_exist)
                if progress is not None:
                    progress(self.keys_written)


def find_long(keys: Iterable[bytes], sizes: Iterable[object]) -> set[bytes]:
    """Return the keys whose contents are long; `sizes` are results of `Peek`."""
    return {key for key, size in zip(keys, sizes) if _size_of(size) > _LONG}


def _size_of(preview: object) -> int:
    """Return about how many bytes a key has, by a result of `Peek`: none if it is missing or cannot be read."""
    return preview.count * preview.size if isinstance(preview, KeyPreview) else 0


WriterT = TypeVar("WriterT", bound=RDBWriter)


def split_by_size(
    keys: Iterable[bytes], sizes: Iterable[object], max_keys: int = SIZE_BATCH
) -> Iterator[list[bytes]]:
    """Split keys, in order, into batches whose contents fit into memory; `sizes` are results of `Peek`."""
    batch: list[bytes] = []
    batch_size = 0
    for key, preview in zip(keys, sizes):
        size = _size_of(preview)
        if batch and (len(batch) == max_keys or batch_size + size > BATCH_BYTES):
            yield batch
            batch, batch_size = [], 0
        batch.append(key)
        batch_size += size
    if batch:
        yield batch


def split_keys(backends: Sequence[Backend], keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield keys in batches whose contents fit into memory in each of the backends."""
    for start in range(0, len(keys), SIZE_BATCH):
        some = keys[start : start + SIZE_BATCH]
        parts = [list(some)]
        for backend in backends:
            if backend.uncached.store is not None:
                continue  # which is read one key at a time
            previews = backend.execute_many([Peek(key, 0) for key in some])
            sizes = dict(zip(some, previews, strict=True))
            parts = [
                smaller for part in parts for smaller in split_by_size(part, map(sizes.get, part))
            ]
        yield from parts


def read_contents(backend: Backend, keys: Sequence[bytes]) -> Iterator[Stored | None]:
    """Yield the contents of keys; None for one that has been deleted or replaced by another program.

    They are read one at a time from a store in memory, as they may be in a file.
    """
    operations = [Export(key) for key in keys]
    is_server = backend.uncached.store is None
    for batch in [operations] if is_server else ([one] for one in operations):
        for result in backend.execute_many(batch):
            if isinstance(result, Exception) and not isinstance(result, ForeignKeyError):
                raise result
            yield None if isinstance(result, ForeignKeyError) else result


class Selection:
    """The keys that a file must have: all of them, or some by name or glob pattern, without those to exclude."""

    def __init__(self, keys: Iterable[Key] | None, exclude: Iterable[Key] = ()) -> None:
        self._excluded = {name: Glob(name) for name in encode_names(exclude)}
        self.names: dict[bytes, None] | None = None
        if keys is not None:
            names = encode_names(keys)
            self.names = dict.fromkeys(
                name for name in names if _is_glob(name) or not self._excludes(name)
            )
        self._globs = [Glob(name) for name in self.names or () if _is_glob(name)]

    def _excludes(self, key: bytes) -> bool:
        return key in self._excluded or any(glob.matches(key) for glob in self._excluded.values())

    def wants(self, key: bytes) -> bool:
        """Return whether a key is selected, by a pattern or by its name."""
        if self._excludes(key):
            return False
        if self.names is None or key in self.names:
            return True
        return any(glob.matches(key) for glob in self._globs)

    @property
    def must_list(self) -> bool:
        """Whether the keys of the store must be listed to know those that are selected."""
        return self.names is None or bool(self._globs)

    @property
    def required(self) -> list[bytes]:
        """The names that are no patterns."""
        return [name for name in self.names or () if not _is_glob(name)]

    def others(self, listed: Iterable[bytes]) -> list[bytes]:
        """Return those of all keys that are selected, but not required."""
        required = set(self.required)
        return [key for key in listed if key not in required and self.wants(key)]

    def unmatched(self, found: Collection[bytes]) -> list[bytes]:
        """Return the names that are not among some keys, then the patterns that none of them matches."""
        names = [name for name in self.required if name not in found]
        patterns = [glob.pattern for glob in self._globs if not any(map(glob.matches, found))]
        return names + [pattern for pattern in patterns if pattern not in found]

    def check(
        self, writer: RDBWriterBase, keep_empty: bool, backend: Backend | AsyncBackend
    ) -> None:
        """Raise an error if a file lacks keys that were requested, or has none; log what was left out."""
        for name in self.unmatched(writer._names.union(writer.failures)):
            writer._fail(name, _NO_MATCH if _is_glob(name) else _MISSING)
        # Keys of other programs (Redis lists, for example) may be left out if they were not named.
        failed = [key for key in writer.failures if self.names is not None and key in self.names]
        if failed:
            raise _lacking(failed, len(self.names or ()), writer, backend)
        writer._log_failures()
        if not writer.keys_written and not keep_empty:
            kind = MissingKeyError if self.names == {} else RdbWriteError
            raise kind(
                f"There are no keys to save, so {writer._shown} was left as it was.{EMPTY_ADVICE}"
            )


def _is_glob(name: bytes) -> bool:
    return not _GLOB_BYTES.isdisjoint(name)


def _lacking(
    failed: list[bytes], count: int, writer: RDBWriterBase, backend: Backend | AsyncBackend
) -> Exception:
    """Return the error for requested keys that are not in a file."""
    failed.sort(key=writer._errors.__contains__)  # missing keys come first
    first = failed[0]
    reasons: dict[str, list[bytes]] = {}
    for key in failed[:_MAX_NAMES]:
        reasons.setdefault(writer.failures[key], []).append(key)
    shown = "; ".join(
        f"{', '.join(map(key_repr, keys))}: {reason}" for reason, keys in reasons.items()
    )
    more = "; ..." if len(failed) > _MAX_NAMES else ""
    advice = "; leave these out to save the others" if len(failed) < count else ""
    text = (
        f"Cannot save {len(failed)} of {count} keys, so {writer._shown} was left as it was{advice}. "
        f"{shown}{more}"
    )
    problem = writer._errors.get(first)
    if problem is not None:
        error = incomplete(text, problem)
        error.__cause__ = problem
        return error
    missing = MissingKeyError(text)
    if not _is_glob(first):
        missing.suggestion = Suggestion(first, View(("",)))
        look_in(missing, backend)
    return missing


def incomplete(text: str, problem: TelstateError) -> TelstateError:
    """Return an error with another text than `problem`, of its class where that takes one."""
    # The constructors of other classes may need other arguments.
    kinds = (ForeignKeyError, RefusedError, ConnectionError)
    return next((kind for kind in kinds if isinstance(problem, kind)), TelstateError)(text)


def counted(keys: Sequence[bytes], one: str, many: str) -> str:
    """Return "Key 'a' was" or "3 keys were", the names in brackets."""
    if len(keys) == 1:
        return f"Key {key_repr(keys[0])} {one}"
    names = ", ".join(map(key_repr, keys[:_MAX_LOGGED]))
    more = ", ..." if len(keys) > _MAX_LOGGED else ""
    return f"{len(keys)} keys ({names}{more}) {many}"


def save_store(
    backend: Backend,
    path: str | os.PathLike[str],
    keys: Iterable[Key] | None,
    consistent: bool,
    keep_empty: bool,
    exclude: Iterable[Key] = (),
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Save a store, or some keys of it, to a file of its own: ``ts.save(path, keys)``."""
    make_writer = partial(RDBWriter, path, keep_empty=True)
    selection = Selection(keys, exclude)
    writer = write_store(backend, make_writer, selection, consistent, keep_empty, progress)
    return writer.keys_written


def write_store(
    backend: Backend,
    make_writer: Callable[[], WriterT],
    selection: Selection,
    consistent: bool,
    keep_empty: bool,
    progress: Callable[[int, int], object] | None = None,
) -> WriterT:
    """Write the keys of a store that are selected to a file of its own; return the writer.

    `progress` is called with the number of keys that were written, and of those to write.
    """
    if consistent:
        write = partial(write_snapshot, make_writer, selection, keep_empty, backend)
        return backend.take_snapshot(write, selection.wants)
    with make_writer() as writer:
        writer._stops_at_refusal = True
        listed = backend.execute(Keys(b"*")) if selection.must_list else []
        others, required = selection.others(listed), selection.required
        total = len(others) + len(required)
        follow = None if progress is None else partial(_report, progress, total)
        writer._save_keys(backend, others, False, follow)
        writer._save_keys(backend, required, True, follow)
        selection.check(writer, keep_empty, backend)
    return writer


def _report(progress: Callable[[int, int], object], total: int, done: int) -> None:
    progress(done, total)


def write_snapshot(
    make_writer: Callable[[], WriterT],
    selection: Selection,
    keep_empty: bool,
    backend: Backend | AsyncBackend,
    entries: Iterable[SnapshotEntry],
) -> WriterT:
    """Write the keys of a point-in-time snapshot to a file; return the writer."""
    with make_writer() as writer:
        for key, contents in entries:
            writer._write_batch((key,), (contents,))
        selection.check(writer, keep_empty, backend)
    return writer


def has_globs(names: list[bytes] | None) -> bool:
    """Return whether the keys of the store must be listed to know those that a writer saves."""
    return names is None or any(map(_is_glob, names))


def select_names(names: list[bytes] | None, listed: list[bytes]) -> list[bytes]:
    """Return the keys that a writer saves; patterns that match nothing stay as they are."""
    if names is None:
        return listed
    wanted: list[bytes] = []
    for name in names:
        if _is_glob(name):
            matches, before = Glob(name).matches, set(wanted)
            found = [key for key in listed if key == name or matches(key)]
            wanted += [key for key in found or [name] if key not in before]
        else:
            wanted.append(name)
    return wanted


def encode_names(keys: Iterable[Key]) -> list[bytes]:
    """Return the keys to save as bytes; a single name is a `TypeError`."""
    check_names(keys)
    return [encode_key(key) for key in keys]


def _borrow_backend(
    client: TelescopeStateBase[Backend] | Backend | redis.Redis,
) -> AbstractContextManager[Backend]:
    """Return the backend to save from; a redis-py client is only borrowed for that time."""
    backend: Any = client.backend if isinstance(client, TelescopeStateBase) else client
    if isinstance(backend, Backend):
        return nullcontext(backend)
    # Not by class: something that wraps a client is as good, and redis-py need not be imported.
    if hasattr(backend, "connection_pool"):
        from telstate_backends import RedisBackend

        return RedisBackend.borrow(backend)
    raise TypeError(
        f"Cannot save from an object of type {class_name(client)}. Use a TelescopeState, a backend or a "
        "redis-py client."
    )
