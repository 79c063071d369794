"""Export of a telescope state to a table: CSV, JSON lines or Parquet.

An immutable key is a row, and so is each sample and each sub-key. Rows are made and written in batches; the
contents of one key at a time are in memory. JSON lines and Parquet lose nothing, and `telstate._import` reads
them: a value is in the text form of `telstate_codec.json_form`, and one that cannot be decoded (a pickle that
the policy refuses, say) is ``{"$encoded": ...}`` with its stored bytes in base64.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from telstate._calls.common import logger, with_key
from telstate._summaries import HasBackend
from telstate.snapshots import RDBWriter, Selection, counted, write_store
from telstate_backends import KeyType
from telstate_codec import (
    ENCODING_MSGPACK,
    DecodeError,
    EncodeError,
    InvalidTimestampError,
    Key,
    Time,
    decode_key,
    decode_sample,
    decode_samples,
    decode_value,
    encode_key,
    encode_timestamp,
    encode_value,
)
from telstate_codec.json_form import value_to_json
from telstate_rdb.atomic_file import AtomicFile
from telstate_rdb.extras import require_extra
from telstate_rdb.values import Hash, RawValue, SortedSet

if TYPE_CHECKING:
    from telstate_rdb import Value

Item = TypeVar("Item")

ENCODED = "$encoded"
"""The mark of a value that is given by its stored bytes."""

COLUMNS = ("key", "kind", "time", "unix", "sub_key", "number", "integer", "text", "json")
"""The columns of a Parquet file; see `export`."""

VERSION = (b"telstate", b"1")
"""The metadata of a Parquet file by which its reader knows it."""

# A batch of rows ends with so many, or with so many bytes of encoded values.
BATCH_ROWS = 10_000
BATCH_BYTES = 1 << 22
# So much is collected before it is written; so many rows of Parquet are a row group.
_BUFFER_BYTES = 1 << 18
_GROUP_ROWS = 1 << 16
_TIMESTAMP_BYTES = 8
_END = b"\xff" * 9  # after every encoded time
_COMPRESSION_LEVEL = 6
_MAX_TIME = 9.2e9  # in 2261: later times are no 64-bit numbers of nanoseconds
_SUFFIXES = ".csv, .csv.gz, .jsonl, .jsonl.gz or .parquet"


@attrs.frozen
class ExportReport:
    """What `export` has written.

    Attributes
    ----------
    keys : int
        The number of keys.
    rows : int
        The number of rows: immutable keys, samples and sub-keys.
    encoded : tuple of str
        The names of keys with values that could not be decoded, and are in the file as stored bytes.
    """

    keys: int
    rows: int
    encoded: tuple[str, ...] = ()


def export(
    ts: HasBackend,
    path: str | os.PathLike[str],
    keys: Iterable[Key] | None = None,
    *,
    exclude: Iterable[Key] = (),
    start: Time | None = None,
    end: Time | None = None,
    unix: bool = False,
    consistent: bool = False,
    keep_empty: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> ExportReport:
    """Export the store, or some keys of it, to a table for other programs, whatever the view.

    The suffix of the file chooses the format: ``.csv``, ``.jsonl`` (JSON lines) or ``.parquet`` (needs the
    extra ``parquet``); ``.csv.gz`` and ``.jsonl.gz`` are compressed. A row is an immutable key, a sample, or a
    sub-key. The file is replaced as a whole when everything is written, or left as it was.

    Parameters
    ----------
    ts
        A synchronous telescope state.
    path
        The path of the file.
    keys
        Full names of keys, or glob patterns such as ``"m000_*"``. Default: all. Keys of other programs
        (Redis lists, for example) are left out and logged, unless they are named.
    exclude
        Full names or glob patterns of keys to leave out. Default: none.
    start, end
        The range of the samples, a `Time` each; the end is not included. Default: all samples. Keys that are no
        sensors are exported in any case.
    unix
        Whether times in CSV are seconds since 1970 in place of ISO 8601 in UTC, which has microseconds.
        Default: False. JSON lines always have seconds, and Parquet both.
    consistent
        Whether all keys are read as they are at one moment, as for `TelescopeState.save`. Default: False.
    keep_empty
        Whether a file without any row is written. Default: False.
    progress
        Called from time to time with the number of keys that are written, and that of all; not for a
        consistent export. Default: none.

    Returns
    -------
    report
        The numbers of keys and of rows, and the keys that could not be decoded.

    Raises
    ------
    ValueError
        If the path has another suffix.
    InvalidTimestampError
        If the range is empty, or `start` or `end` is not a valid time.
    ImportError
        If the format is Parquet and pyarrow is not installed.
    DecodeError
        If a sample has no time, so that telstate has not written it.
    KeyError, ForeignKeyError, RefusedError, ConnectionError, RdbWriteError, OSError
        As for `TelescopeState.save`.

    Notes
    -----
    ``.csv`` is for spreadsheets, with the columns ``key``, ``time``, ``value`` and ``sub_key``. Numbers and
    text are written as such, other values in the text form of `telstate_codec.json_form`.

    ``.jsonl`` has an object on each line, and loses nothing: ``{"key": "n_chans", "value": 4096}`` for an
    immutable key, with ``"time"`` (in seconds since 1970, exact) for a sample, and with ``"sub_key"`` for a
    sub-key. Values and sub-keys are in that text form; a key that is not UTF-8 is ``{"$bytes": ...}``.

    ``.parquet`` loses nothing either. Its columns are:

    ===========  ===================  ==================================================================
    ``key``      string               the full name; ``{"$bytes": ...}`` if it is not UTF-8
    ``kind``     string               ``immutable``, ``mutable`` or ``indexed``
    ``time``     timestamp[ns, UTC]   of a sample, rounded; null from the year 2261 on
    ``unix``     double               of a sample, in seconds since 1970, exact
    ``sub_key``  string               in the text form
    ``number``   double               of every real number and boolean, also of NumPy
    ``integer``  int64                of every integer that has 64 bits
    ``text``     string               of every text
    ``json``     string               the text form of every value that is not a Python `str`, `float` or
                                      `int` that the columns before it hold exactly
    ===========  ===================  ==================================================================

    Values that cannot be decoded, such as pickles that the policy refuses (see `set_allow_pickle`), are
    ``{"$encoded": ...}`` with the stored bytes in base64; pickles that can be decoded become ordinary values.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> ts["n_chans"] = 4096
    >>> ts.add("gain", 1.5, ts=100.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "observation.jsonl")
    ...     report = export(ts, path)
    ...     print(path.read_text(), end="")
    {"key": "gain", "time": 100.0, "value": 1.5}
    {"key": "n_chans", "value": 4096}
    >>> report.keys, report.rows
    (2, 2)
    """
    make_table = find_format(path, unix)
    selection = Selection(keys, exclude)
    span = (
        b"" if start is None else encode_timestamp(start),
        _END if end is None else encode_timestamp(end),
    )
    if span[0] >= span[1]:
        raise InvalidTimestampError("The range is empty: its end is not after its start.")
    make_writer = partial(_Exporter, path, make_table, span)
    writer = write_store(ts.backend, make_writer, selection, consistent, keep_empty, progress)
    table = writer.table
    if table.encoded:
        logger.warning(
            "%s not be decoded, and the stored bytes were exported",
            counted([encode_key(name) for name in table.encoded], "could", "could"),
        )
    return ExportReport(writer.keys_written, table.rows, tuple(table.encoded))


def find_format(path: str | os.PathLike[str], unix: bool = False) -> Callable[[], Table]:
    """Return what creates a file in the format that a suffix stands for, or raise an error."""
    name = os.fsdecode(path).lower()
    base = name.removesuffix(".gz")
    if base.endswith(".csv"):
        return partial(_CsvTable, path, base != name, unix)
    if base.endswith(".jsonl"):
        return partial(_JsonTable, path, base != name)
    if name.endswith(".parquet"):
        load_pyarrow()
        return partial(_ParquetTable, path)
    shown = AtomicFile(path).shown
    raise ValueError(f"The suffix of {shown} is not known. Use {_SUFFIXES}.")


def load_pyarrow() -> Any:
    """Import pyarrow, or raise an `ImportError` that says how to install it."""
    require_extra("telstate", "parquet", "Parquet files need", "pyarrow")
    import pyarrow
    import pyarrow.parquet

    return pyarrow


class _Exporter(RDBWriter):
    """An `RDBWriter` that writes a table."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        make_table: Callable[[], Table],
        span: tuple[bytes, bytes],
    ) -> None:
        self.table = make_table()
        self.table.span = span
        super().__init__(path, keep_empty=True)

    def _make_writer(self) -> Table:
        return self.table


@attrs.frozen
class Encoded:
    """A value that cannot be decoded."""

    value: bytes


@attrs.frozen
class Rows:
    """Some rows of one key: its kind, the times of samples or the sub-keys, and the values."""

    key: str | dict[str, str]
    kind: KeyType
    values: Sequence[Any]
    times: Sequence[float] = ()
    sub_keys: Sequence[Any] = ()


class Table:
    """The new content of a file while it is being written: the common part of all formats.

    Of sensors, it has the samples whose encoded times are in `span`.
    """

    span = b"", _END

    def __init__(self, path: str | os.PathLike[str], is_compressed: bool = False) -> None:
        self.rows = 0
        self.encoded: dict[str, None] = {}
        self._file = AtomicFile(path)
        self._pieces: list[bytes] = []
        self._size = 0
        self._compress = None
        if is_compressed:
            self._compress = zlib.compressobj(_COMPRESSION_LEVEL, wbits=31)  # as gzip

    def __enter__(self) -> Self:
        self._file.open()
        try:
            self.begin()
        except BaseException:
            self._file.discard()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        try:
            if exc_type is None:
                self.end()
                self._flush(is_end=True)
                self._file.commit()
            else:
                self.abandon()
        finally:
            self._file.discard()

    def write(self, key: bytes, value: Value | RawValue, /) -> None:
        """Write the rows of a key."""
        try:
            for rows in _split_rows(key, value, *self.span):
                self.write_rows(rows)
                self.rows += len(rows.values)
                if any(type(one) is Encoded for one in (*rows.values, *rows.sub_keys)):
                    self.encoded[decode_key(key)] = None
        except (DecodeError, EncodeError) as error:
            raise with_key(error, key) from error

    def begin(self) -> None:
        """Write what comes before all rows."""

    def write_rows(self, rows: Rows) -> None:
        """Write some rows."""
        raise NotImplementedError

    def end(self) -> None:
        """Write what comes after all rows."""

    def abandon(self) -> None:
        """Release what an unfinished file needs."""

    def put(self, data: bytes) -> None:
        """Append bytes."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _BUFFER_BYTES:
            self._flush()

    def _flush(self, is_end: bool = False) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._compress is not None:
            data = self._compress.compress(data)
            if is_end:
                data += self._compress.flush()
        self._file.write(data)


class _CsvTable(Table):
    """A CSV file."""

    def __init__(self, path: str | os.PathLike[str], is_compressed: bool, unix: bool) -> None:
        super().__init__(path, is_compressed)
        self._format_time = repr if unix else _format_time
        self._text = io.StringIO()
        self._writer = csv.writer(self._text)

    def begin(self) -> None:
        self._writer.writerow(["key", "time", "value", "sub_key"])

    def write_rows(self, rows: Rows) -> None:
        count = len(rows.values)
        times: Iterable[str] = map(self._format_time, rows.times) if rows.times else [""] * count
        sub_keys: Iterable[str] = map(_plain, rows.sub_keys) if rows.sub_keys else [""] * count
        keys = [_name_text(rows.key)] * count
        self._writer.writerows(zip(keys, times, map(_plain, rows.values), sub_keys, strict=True))
        self.end()

    def end(self) -> None:
        # Pickles may hold surrogates, which UTF-8 has not.
        self.put(self._text.getvalue().encode("utf-8", "backslashreplace"))
        self._text.seek(0)
        self._text.truncate()


class _JsonTable(Table):
    """A file of JSON lines."""

    def write_rows(self, rows: Rows) -> None:
        start = f'{{"key": {json.dumps(rows.key)}, '
        values = map(to_text, rows.values)
        if rows.times:
            lines = [
                f'{start}"time": {to_text(time)}, "value": {value}}}\n'
                for time, value in zip(rows.times, values, strict=True)
            ]
        elif rows.sub_keys:
            lines = [
                f'{start}"sub_key": {to_text(sub_key)}, "value": {value}}}\n'
                for sub_key, value in zip(rows.sub_keys, values, strict=True)
            ]
        else:
            lines = [f'{start}"value": {value}}}\n' for value in values]
        self.put("".join(lines).encode())


class _ParquetTable(Table):
    """A Parquet file."""

    def begin(self) -> None:
        arrow = load_pyarrow()
        text = arrow.string()
        types = (
            *(text, text, arrow.timestamp("ns", tz="UTC"), arrow.float64(), text),
            *(arrow.float64(), arrow.int64(), text, text),
        )
        fields = zip(COLUMNS, types, strict=True)
        self._schema = arrow.schema(list(fields), metadata=dict([VERSION]))
        self._sink = _Sink(self._file)
        # Version 2.6 of the format, the default of recent releases, has nanoseconds.
        self._writer = arrow.parquet.ParquetWriter(
            self._sink, self._schema, version="2.6", compression="zstd"
        )
        self._columns: list[list[Any]] = [[] for _ in COLUMNS]
        self._bytes = 0

    def write_rows(self, rows: Rows) -> None:
        count = len(rows.values)
        none = [None] * count
        for column, values in zip(
            self._columns,
            (
                [_name_text(rows.key)] * count,
                [rows.kind.name.lower()] * count,
                _nanoseconds(rows.times) if rows.times else none,
                rows.times or none,
                list(map(to_text, rows.sub_keys)) or none,
                *zip(*map(_typed_columns, rows.values)),
            ),
            strict=True,
        ):
            column.extend(values)
        self._bytes += sum(
            len(text) for column in self._columns[-2:] for text in column[-count:] if text
        )
        if len(self._columns[0]) >= _GROUP_ROWS or self._bytes >= BATCH_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        arrow = load_pyarrow()
        arrays = [
            arrow.array(column, field.type) for column, field in zip(self._columns, self._schema)
        ]
        self._writer.write_table(arrow.Table.from_arrays(arrays, schema=self._schema))
        self._columns = [[] for _ in COLUMNS]
        self._bytes = 0

    def end(self) -> None:
        if self._columns[0]:
            self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        self._sink.file = None
        self._writer.close()


class _Sink(io.RawIOBase):
    """A file object over an `AtomicFile`; what is written after its end is dropped."""

    def __init__(self, file: AtomicFile) -> None:
        self.file: AtomicFile | None = file

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Append bytes."""
        if self.file is not None:
            self.file.write(data)
        return len(data)


def _split_rows(key: bytes, value: Value | RawValue, first: bytes, end: bytes) -> Iterator[Rows]:
    """Decode the contents of a key, in batches."""
    name = name_to_json(key)
    if isinstance(value, SortedSet):
        inside = (one for one in value.members if first <= one[:_TIMESTAMP_BYTES] < end)
        for members in _batches(inside, len):
            values, times = zip(*_decode_members(members))
            yield Rows(name, KeyType.MUTABLE, values, times)
    elif isinstance(value, Hash):
        for items in _batches(value.fields.items(), lambda item: len(item[0]) + len(item[1])):
            sub_keys, fields = ([decode(one) for one in ones] for ones in zip(*items))
            yield Rows(name, KeyType.INDEXED, fields, sub_keys=sub_keys)
    else:
        assert isinstance(value, bytes)  # stores hold nothing else
        yield Rows(name, KeyType.IMMUTABLE, [decode(value)])


def _batches(items: Iterable[Item], size_of: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Yield items in lists that are not too long."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if size >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decode_members(members: Sequence[bytes]) -> Sequence[tuple[Any, float]]:
    header = slice(_TIMESTAMP_BYTES, _TIMESTAMP_BYTES + 1)
    if all(member[header] == ENCODING_MSGPACK for member in members):
        try:
            return decode_samples(members)
        except DecodeError:
            pass  # of one of them
    return [(decode(encoded), time) for time, encoded in map(decode_sample, members)]


def decode(encoded: bytes) -> Any:
    """Decode a value; return an `Encoded` if that fails, or if the value cannot be encoded again."""
    try:
        value = decode_value(encoded)
        if encoded[:1] != ENCODING_MSGPACK:  # pickles hold more types
            encode_value(value)
    except (DecodeError, EncodeError):
        return Encoded(encoded)
    return value


def to_text(value: Any) -> str:
    """Return the text form of a value."""
    if type(value) is float and math.isfinite(value):
        return repr(value)
    if type(value) is not Encoded:
        try:
            return json.dumps(value_to_json(value))
        except (EncodeError, RecursionError):  # nested too deeply for JSON
            value = Encoded(encode_value(value))
    return json.dumps({ENCODED: base64.b64encode(value.value).decode()})


def name_to_json(key: bytes) -> str | dict[str, str]:
    """Return a key as text, or in the text form of bytes if it is not UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        form: dict[str, str] = value_to_json(key)
        return form


def _name_text(name: str | dict[str, str]) -> str:
    """Return a key as text in a column; one that could be mistaken for a text form is in that form too."""
    if isinstance(name, str):
        if not name.startswith('{"$'):
            return name
        name = value_to_json(name.encode())
    return json.dumps(name)


def _plain(value: Any) -> str:
    """Return a value as a spreadsheet takes it."""
    if isinstance(value, str):
        return str(value)
    number = _number(value)
    if type(number) in (int, float):
        return repr(number)
    return to_text(value if number is None else number)


def _number(value: Any) -> float | int | bool | None:
    """Return a real number, also one of NumPy, as one of Python; None for any other value."""
    if type(value) in (float, int, bool):
        known: float | int | bool = value
        return known
    dtype = getattr(value, "dtype", None)
    if (
        dtype is None
        or value.shape
        or dtype.kind not in "biuf"
        or type(value).__name__ == "ndarray"
    ):
        return None
    number: float | int | bool = value.item() if dtype.itemsize <= 8 else float(value)
    return number


def _typed_columns(value: Any) -> tuple[float | None, int | None, str | None, str | None]:
    """Return the number, the integer, the text and the text form in a Parquet file."""
    kind = type(value)
    if kind is float and math.isfinite(value):
        return value, None, None, None
    if isinstance(value, str):
        text = str(value)
        is_exact = kind is str and text.isascii() or _is_utf8(text)
        return (
            None,
            None,
            text if is_exact else None,
            None if kind is str and is_exact else to_text(value),
        )
    number = _number(value)
    if number is None:
        return None, None, None, to_text(value)
    is_integer = isinstance(number, int) and not isinstance(number, bool)
    integer = int(number) if is_integer and -(2**63) <= number < 2**63 else None
    is_exact = kind is int and integer is not None
    return float(number), integer, None, None if is_exact else to_text(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _format_time(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, or as seconds outside the years of datetime."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return repr(seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _nanoseconds(times: Sequence[float]) -> list[int | None]:
    """Return times as nanoseconds since 1970, None where that is too large for 64 bits."""
    found: list[int | None] = []
    for time in times:
        if not abs(time) <= _MAX_TIME:
            found.append(None)
            continue
        whole = math.floor(time)
        # Separately, because a float has not as many digits.
        found.append(whole * 10**9 + round((time - whole) * 1e9))
    return found
