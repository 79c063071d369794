"""Reading of the files that `telstate.export` and `TelescopeState.save` write, into any store.

A file is read twice: first to its end, so that nothing is written if it is malformed or has keys that exist
already, and then to write its keys in batches.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import attrs

from telstate._base import TelescopeStateBase
from telstate._export import COLUMNS, ENCODED, VERSION, load_pyarrow
from telstate._sources import Source, is_address, open_source
from telstate.errors import KeysExistError, MissingKeyError
from telstate.snapshots import Selection, load_selected
from telstate_backends import Backend, Fields, Immutable, KeyType, Load, Samples, WhichExist
from telstate_backends.errors import translate_rdb_errors
from telstate_backends.store import Stored
from telstate_codec import (
    DecodeError,
    Key,
    TelstateError,
    decode_key,
    encode_key,
    encode_sample,
    encode_value,
    key_repr,
)
from telstate_codec.json_form import value_from_json
from telstate_rdb import read_rdb
from telstate_rdb.printable import escape_path, without_credentials

Existing: TypeAlias = Literal["refuse", "replace", "keep"]
Progress: TypeAlias = Callable[[int, int], object]
# A key, its kind, and the encoded value, sample, or pair of sub-key and value.
Row: TypeAlias = tuple[bytes, KeyType, Any]

_MAX_NAMES = 5
_PIECE = 1 << 18
_NAMES_AT_ONCE = 1000
# A batch is sent when it has so many bytes, or operations; a long key is loaded in parts of so many rows.
_BATCH_BYTES = 1 << 20
_BATCH_LENGTH = 1000
_PART_ROWS = 20_000
_FIELDS = {"key", "time", "sub_key", "value"}
_READ_COLUMNS = [name for name in COLUMNS if name != "time"]
_BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


@attrs.frozen
class ImportReport:
    """What `import_file` has done.

    Attributes
    ----------
    keys : int
        The number of keys that were loaded.
    existing : int
        The number of keys of the file that existed before: those that were replaced, or kept.
    """

    keys: int
    existing: int = 0


def import_file(
    ts: TelescopeStateBase[Backend],
    file: Source,
    keys: Iterable[Key] | None = None,
    *,
    exclude: Iterable[Key] = (),
    existing: Existing = "refuse",
    database: int | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Load a file that `export` or `TelescopeState.save` has written into the store, whatever the view.

    The content of the file says what it is: JSON lines, Parquet, or a snapshot (RDB) of any version of Redis;
    each may be compressed with gzip. From JSON lines and Parquet, keys and values are what they were before
    the export, except that pickles that were decoded are now MessagePack.

    Parameters
    ----------
    ts
        A synchronous telescope state.
    file
        The path of the file, an ``https://`` or ``s3://`` address (see `TelescopeState.load_from_file`), or an open
        binary file. One that cannot seek is copied to a temporary file first.
    keys, exclude
        Full names or glob patterns of the keys to load, and of those to leave out. Default: all, none.
    existing
        What happens if keys of the file exist already: ``"refuse"`` loads nothing and raises an error (default),
        ``"replace"`` replaces them, ``"keep"`` leaves them as they are.
    database
        The number of the database of a snapshot. Default: all, as for `TelescopeState.load_from_file`.
    progress
        Called from time to time with the number of keys of a snapshot, or rows of another file, that are loaded,
        and the number of all.

    Returns
    -------
    report
        The numbers of keys that were loaded, and that existed before.

    Raises
    ------
    KeysExistError
        If keys exist already.
    KeyError
        If one of the names is not in the file, or no key of it matches one of the patterns.
    DecodeError
        If a file of JSON lines or a Parquet file is malformed; nothing is loaded. The message says where.
    RdbParseError, OSError
        As for `TelescopeState.load_from_file`; nothing is loaded.
    ImportError
        If it is a Parquet file and pyarrow is not installed.
    ReadOnlyError
        If the view is read-only.
    DatabaseCollisionError
        If keys of a snapshot are in several databases, and none is chosen; nothing is loaded.
    RefusedError, ConnectionError
        If the server does not accept the keys, or is lost; the keys that `progress` counted are loaded.

    Notes
    -----
    JSON lines may also come from elsewhere: each is an object with ``key`` and ``value``, and ``time`` (seconds
    since 1970, or ISO 8601 text) for a sample, or ``sub_key`` for a sub-key. The rows of a key need not be
    together. Of several values of one immutable key or sub-key, the last is loaded.

    Clients that write the same keys meanwhile may be overwritten, also with ``existing="keep"``.

    Examples
    --------
    >>> import io
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> lines = b'{"key": "n_chans", "value": 4096}\\n{"key": "gain", "time": 100.0, "value": 1.5}\\n'
    >>> import_file(ts, io.BytesIO(lines)).keys
    2
    >>> ts["n_chans"], ts.get_range("gain", st=0)
    (4096, [(1.5, 100.0)])
    """
    ts._view.check_writable("import a file")
    if existing not in get_args(Existing):
        raise ValueError(f"existing must be 'refuse', 'replace' or 'keep', not {existing!r}.")
    selection = Selection(keys, exclude)
    backend = ts.backend
    with _open(file) as source:
        found = source.read_keys(selection.wants, database)
        _check_selected(selection, found, source.name)
        present = _find_existing(backend, found)
        if present and existing == "refuse":
            raise KeysExistError(_describe_existing(present, len(found), source.name), present)
        if existing == "keep":
            found.difference_update(map(encode_key, present))
        count = source.load(backend, found, database, progress)
    return ImportReport(count, len(present))


class _Snapshot:
    """A snapshot to load."""

    def __init__(self, file: Any, name: str) -> None:
        self._file = file  # a path, or an open file at its start
        self.name = name

    @translate_rdb_errors()
    def read_keys(self, wants: Callable[[bytes], bool], database: int | None) -> set[bytes]:
        """Return the keys that are wanted."""
        with read_rdb(self._file, raw=True, databases=database, keys=wants) as reader:
            keys = {record.key for record in reader}
        if not isinstance(self._file, str):
            self._file.seek(0)
        return keys

    def load(
        self,
        backend: Backend,
        keys: Collection[bytes],
        database: int | None,
        progress: Progress | None,
    ) -> int:
        """Load keys; return their number."""
        follow = None if progress is None else partial(_report, progress, len(keys))
        return load_selected(backend, self._file, keys.__contains__, database, follow)


def _report(progress: Progress, total: int, done: int) -> None:
    progress(done, total)


class _RowFile:
    """A file of rows to load: the common part of both formats."""

    #: What a malformed file raises.
    errors: ClassVar[tuple[type[Exception], ...]] = (
        TelstateError,
        TypeError,
        ValueError,
        RecursionError,
        *_BROKEN_GZIP,
    )
    unit: ClassVar[str]

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self.name = name
        self._count = 0
        self._number = 0

    def parse(self) -> Iterator[Row]:
        """Yield the rows, and count where they are in the file."""
        raise NotImplementedError

    def _read(self) -> Iterator[Row]:
        """Yield the rows, or raise an error that says where one is malformed."""
        kinds: dict[bytes, KeyType] = {}
        self._file.seek(0)
        self._number = 0
        try:
            for row in self.parse():
                key, kind, _ = row
                if kinds.setdefault(key, kind) is not kind:
                    raise DecodeError(f"Key {key_repr(key)} is of several kinds")
                yield row
        except self.errors as error:
            place = f", {self.unit} {self._number}" if self._number else ""
            reason = str(error).rstrip(".")
            raise DecodeError(f"{self.name}{place}: {reason}.") from error

    def read_keys(self, wants: Callable[[bytes], bool], database: int | None) -> set[bytes]:
        """Return the keys that are wanted, after reading all rows."""
        keys: set[bytes] = set()
        self._count = sum(part.rows for part in _parts(self._read(), wants, keys))
        return keys

    def load(
        self,
        backend: Backend,
        keys: Collection[bytes],
        database: int | None,
        progress: Progress | None,
    ) -> int:
        """Load keys; return their number."""
        loaded: set[bytes] = set()
        batches = _batches(_parts(self._read(), keys.__contains__, loaded))
        done = 0
        # Into memory all or nothing, whatever goes wrong.
        for batch in batches if backend.uncached.store is None else [list(chain(*batches))]:
            for result in backend.execute_many([part.load for part in batch]):
                if isinstance(result, Exception):
                    raise result
            done += sum(part.rows for part in batch)
            if progress is not None:
                progress(done, self._count)
        return len(loaded)


class _JsonFile(_RowFile):
    """A file of JSON lines."""

    unit = "line"

    def parse(self) -> Iterator[Row]:
        for self._number, line in enumerate(self._file, 1):
            if line.strip():
                yield _parse_line(line)


class _ParquetFile(_RowFile):
    """A Parquet file."""

    errors = (*_RowFile.errors, KeyError, OSError)  # which pyarrow raises
    unit = "row"

    def parse(self) -> Iterator[Row]:
        arrow = load_pyarrow()
        parquet = arrow.parquet.ParquetFile(self._file)
        metadata = parquet.schema_arrow.metadata or {}
        if metadata.get(VERSION[0]) != VERSION[1]:
            raise ValueError("it was not exported by telstate")
        # Row groups are of limited size, which a number of rows would not be.
        for group in range(parquet.num_row_groups):
            columns = parquet.read_row_group(group, columns=_READ_COLUMNS).to_pydict()
            for row in zip(*(columns[name] for name in _READ_COLUMNS), strict=True):
                self._number += 1
                yield _parse_columns(*row)


@contextmanager
def _open(file: Source) -> Iterator[_Snapshot | _RowFile]:
    """Open a file in whatever format, decompressed, so that it can be read twice."""
    with ExitStack() as stack:
        path: Any = None
        opened: Any = file
        if is_address(file):
            opened = stack.enter_context(open_source(file))
        elif isinstance(file, str | os.PathLike):
            path = os.fspath(file)
            with without_credentials():
                opened = stack.enter_context(open(path, "rb"))
        named = getattr(opened, "name", None)
        name = (escape_path(named) if isinstance(named, str) else "") or "The file"
        if not getattr(opened, "seekable", bool)() or opened.tell():
            copied = stack.enter_context(tempfile.TemporaryFile())
            # Not more at once than there is: Python handles signals only between reads.
            read = getattr(opened, "read1", opened.read)
            while piece := read(_PIECE):
                copied.write(piece)
            copied.seek(0)
            opened, path = copied, None
        head = opened.read(4)
        opened.seek(0)
        if head.startswith(b"\x1f\x8b"):
            opened, path = stack.enter_context(gzip.GzipFile(fileobj=opened)), None
            try:
                head = opened.read(4)
            except _BROKEN_GZIP as error:
                raise DecodeError(f"{name}: {error}.") from error
            opened.seek(0)
        if head == b"PAR1":
            yield _ParquetFile(opened, name)
        elif head.lstrip().startswith(b"{") or (
            not head and name.endswith((".jsonl", ".jsonl.gz"))
        ):
            yield _JsonFile(opened, name)
        else:
            yield _Snapshot(opened if path is None else path, name)


def _parse_line(line: bytes) -> Row:
    content = json.loads(line.decode())
    try:
        name, value = content["key"], content["value"]
    except (TypeError, KeyError):
        raise ValueError("it is not an object with a key and a value") from None
    if len(content) > 3 or not _FIELDS.issuperset(content):
        unknown = sorted(content.keys() - _FIELDS)
        raise ValueError(
            f"field {unknown[0]!r:.60} is not known" if unknown else "it has a time and a sub-key"
        )
    key = encode_key(value_from_json(name) if isinstance(name, dict) else name)
    return _row(key, content.get("time"), content.get("sub_key", _NONE), value)


def _parse_columns(
    key: str,
    kind: str,
    time: float | None,
    sub_key: str | None,
    number: float | None,
    integer: int | None,
    text: str | None,
    form: str | None,
) -> Row:
    name = value_from_json(json.loads(key)) if key.startswith('{"$') else key
    value: Any = next((one for one in (text, integer, number) if one is not None), None)
    content = value if form is None else json.loads(form)
    return _row(encode_key(name), time, _NONE if sub_key is None else json.loads(sub_key), content)


_NONE: Any = object()  # a sub-key may be null


def _row(key: bytes, time: Any, sub_key: Any, value: Any) -> Row:
    """Return a row of which time, sub-key and value are in the text form."""
    encoded = _encode(value)
    if time is not None:
        seconds = time if type(time) is float else value_from_json(time)
        return key, KeyType.MUTABLE, encode_sample(seconds, encoded)
    if sub_key is not _NONE:
        return key, KeyType.INDEXED, (_encode(sub_key), encoded)
    return key, KeyType.IMMUTABLE, encoded


def _encode(content: Any) -> bytes:
    """Encode a value in the text form."""
    if isinstance(content, dict):
        if content.keys() == {ENCODED}:
            return base64.b64decode(content[ENCODED], validate=True)
        content = value_from_json(content)
    elif isinstance(content, list):
        content = value_from_json(content)
    return encode_value(content)


@attrs.frozen
class _Part:
    """The operation that writes some rows of a key, their number, and the bytes of their values."""

    load: Load
    rows: int
    size: int


def _parts(
    rows: Iterable[Row], wants: Callable[[bytes], bool], keys: set[bytes]
) -> Iterator[_Part]:
    """Divide the rows of wanted keys into parts, and note these keys."""
    for (key, kind), group in groupby(rows, itemgetter(0, 1)):
        if not wants(key):
            continue
        items = (item for _, _, item in group)
        while part := _take(kind, items):
            contents, count, size = part
            yield _Part(Load(key, contents, key not in keys), count, size)
            keys.add(key)


def _take(kind: KeyType, items: Iterator[Any]) -> tuple[Stored, int, int] | None:
    """Return the contents for one operation, the number of rows, and their size; None at the end."""
    taken: list[Any] = []
    size = 0
    for item in items:
        taken.append(item)
        size += len(item[1]) if kind is KeyType.INDEXED else len(item)
        if size >= _BATCH_BYTES or len(taken) == _PART_ROWS:
            break
    if not taken:
        return None
    if kind is KeyType.IMMUTABLE:
        return Immutable(taken[-1]), len(taken), size
    contents = Fields(taken) if kind is KeyType.INDEXED else Samples(sorted(set(taken)))
    return contents, len(taken), size


def _batches(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Divide parts into lists that are not too long."""
    batch: list[_Part] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += part.size
        if size >= _BATCH_BYTES or len(batch) == _BATCH_LENGTH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_selected(selection: Selection, found: Collection[bytes], name: str) -> None:
    """Raise an error for names that are not in a file, and for patterns that no key of it matches."""
    missing = selection.unmatched(found)
    if missing:
        names = ", ".join(map(key_repr, missing[:_MAX_NAMES]))
        more = ", ..." if len(missing) > _MAX_NAMES else ""
        raise MissingKeyError(f"{name} has no key {names}{more}. Nothing was loaded")


def _find_existing(backend: Backend, keys: Collection[bytes]) -> list[str]:
    """Return those of some keys that a store has, sorted."""
    names = sorted(keys)
    parts = [tuple(names[at : at + _NAMES_AT_ONCE]) for at in range(0, len(names), _NAMES_AT_ONCE)]
    exists = chain(*(backend.uncached.execute(WhichExist(part)) for part in parts))
    return [decode_key(name) for name, one in zip(names, exists, strict=True) if one]


def _describe_existing(present: Sequence[str], count: int, name: str) -> str:
    names = ", ".join(map(key_repr, present[:_MAX_NAMES]))
    more = ", ..." if len(present) > _MAX_NAMES else ""
    return (
        f"{len(present)} of {count} keys of {name} exist already, so nothing was loaded: {names}{more}. "
        "Replace or keep them with existing='replace' or existing='keep'."
    )
