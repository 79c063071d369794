"""Read RDB files: `read_rdb`, `read_lazily` and the iterator that they return.

Opening a file and its header are checked at the call, everything else while the records are read. In
strict mode (the default) an error ends the records; without it, :mod:`telstate_rdb._recovery` takes over.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import closing
from functools import cache
from itertools import chain
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from telstate_rdb import constants as c
from telstate_rdb._crc64 import crc64
from telstate_rdb._parser import Checksum, Container, Measure, RecordParser, read_header
from telstate_rdb._source import Progress, RdbSource, Source, open_path, size_of
from telstate_rdb.constants import TypeName
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import RawValue, Value

if TYPE_CHECKING:  # imported where they are used: few readers need them
    from telstate_rdb._filter import Filter, KeyChoice
    from telstate_rdb._recovery import Loss
    from telstate_rdb.lazy import LazyTable
    from telstate_rdb.stored import AnyRecord, StoredValue

RecordT = TypeVar("RecordT", covariant=True)

_PIECE_SIZE = 1 << 18  # fits into the cache of a processor


class LazyOptions(TypedDict, total=False):
    """The options of :func:`read_lazily` that do not change the type of its records."""

    databases: Collection[int] | int | None
    keys: KeyChoice | None
    types: Collection[TypeName] | TypeName | None
    progress: Progress | None
    name: str | None


class ReadOptions(LazyOptions, total=False):
    """The options of :func:`read_rdb` that do not change the type of its records."""

    strict: bool


class RdbReader(Generic[RecordT]):
    """An iterator over the records of a file; made by :func:`read_rdb` and :func:`read_lazily`.

    In a ``with`` statement it closes the file, even before all records are read.

    Attributes
    ----------
    version
        The RDB version of the file.
    losses
        The parts of the file that could not be read so far. In strict mode it is empty, because an
        error is raised instead.
    """

    def __init__(
        self, parser: RecordParser, stretches: Iterator[Iterable[RecordT]], losses: list[Loss]
    ) -> None:
        self._parser = parser
        self._stretches = stretches
        self._records = chain.from_iterable(stretches)
        self.version = parser.version
        self.losses = losses

    @property
    def checksum(self) -> Checksum:
        """The state of the file's checksum, which is known once all records are read."""
        return self._parser.checksum

    @property
    def container(self) -> Container:
        """What the bytes are, which is known once all records are read.

        ``"rdb"`` for a file, ``"aof"`` for an AOF file that begins with a snapshot (the commands after it are
        not read), ``"replication"`` for the reply of a server to ``SYNC``.
        """
        return self._parser.container

    @property
    def name(self) -> str | None:
        """The name of the file, if it has one."""
        return self._parser.source.name

    @property
    def size(self) -> int | None:
        """The size of the file in bytes, if it is known."""
        return self._parser.source.size

    def __iter__(self) -> Iterator[RecordT]:
        return self._records

    def __next__(self) -> RecordT:
        return next(self._records)

    def batches(self) -> Iterator[list[RecordT]]:
        """Return an iterator over the same records in lists, which is faster where whole lists can be handled.

        The records of a list are of one database. It takes no more memory than a few hundred kilobytes of
        the file, or than a single record. After records have been read one by one, it goes on with the next
        list.

        Examples
        --------
        >>> reader = read_rdb(b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\x00\\x04mode\\x01c" b"\\xff")
        >>> [[record.key for record in batch] for batch in reader.batches()]
        [[b'gain', b'mode']]
        """
        for stretch in self._stretches:
            if batch := list(stretch):
                yield batch

    def measures(self) -> Iterator[list[Measure] | list[AuxiliaryRecord]]:
        """Return an iterator over the sizes of keys, in lists, in place of their records."""
        self._parser.measure()
        batches: Iterator[Any] = self.batches()
        return batches

    @property
    def source_again(self) -> str | bytes | None:
        """The path or the bytes of the file, to read it once more; None if it came from elsewhere."""
        return self._parser.source.again

    def __enter__(self) -> RdbReader[RecordT]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, and close the file if it was opened by its path."""
        if isinstance(self._stretches, Generator):
            self._stretches.close()
        self._parser.source.close()


@overload
def read_rdb(
    source: RdbSource,
    *,
    raw: Literal[False] = False,
    auxiliary: Literal[False] = False,
    **options: Unpack[ReadOptions],
) -> RdbReader[KeyRecord[Value]]: ...


@overload
def read_rdb(
    source: RdbSource,
    *,
    raw: Literal[True],
    auxiliary: Literal[False] = False,
    **options: Unpack[ReadOptions],
) -> RdbReader[KeyRecord[RawValue]]: ...


@overload
def read_rdb(
    source: RdbSource,
    *,
    raw: Literal[False] = False,
    auxiliary: Literal[True],
    **options: Unpack[ReadOptions],
) -> RdbReader[KeyRecord[Value] | AuxiliaryRecord]: ...


@overload
def read_rdb(
    source: RdbSource,
    *,
    raw: Literal[True],
    auxiliary: Literal[True],
    **options: Unpack[ReadOptions],
) -> RdbReader[KeyRecord[RawValue] | AuxiliaryRecord]: ...


@overload
def read_rdb(
    source: RdbSource,
    *,
    raw: bool,
    auxiliary: Literal[False] = False,
    **options: Unpack[ReadOptions],
) -> RdbReader[KeyRecord[Value] | KeyRecord[RawValue]]: ...


@overload
def read_rdb(
    source: RdbSource,
    *,
    raw: bool = False,
    auxiliary: bool,
    **options: Unpack[ReadOptions],
) -> RdbReader[KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord]: ...


def read_rdb(
    source: RdbSource,
    *,
    strict: bool = True,
    databases: Collection[int] | int | None = None,
    keys: KeyChoice | None = None,
    types: Collection[TypeName] | TypeName | None = None,
    raw: bool = False,
    auxiliary: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> RdbReader[AnyRecord]:
    """Read an RDB file of any version of Redis or Valkey.

    A version that is not known is read as far as the types of its values are known. An AOF file that begins
    with a snapshot and the reply to ``SYNC`` are read too, see :attr:`RdbReader.container`.

    The memory used is limited by the largest value, not by the size of the file. Every byte is checked
    against the checksum of the file.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an open binary file, which need not be able to seek: a
        pipe, a decompressor, a socket's ``makefile("rb")``. It is read from its current position
        to its end, and is not closed.
    strict
        Whether anything wrong with the file raises an error, after the records before it have been
        returned (the default). Otherwise as many complete records as possible are returned, and
        :attr:`RdbReader.losses` says what was lost and where.
    databases
        The number or numbers of the databases to read (default: all).
    keys
        A pattern for the keys to read, as in the command ``KEYS``, or a function that is called
        with each key and returns whether to read it (default: all).
    types
        The type or types to read, as the command ``TYPE`` names them: ``"string"``, ``"list"``,
        ``"set"``, ``"zset"``, ``"hash"``, ``"stream"``, ``"module"``, ``"array"`` (default: all). All other
        values are skipped without being decoded.
    raw
        Whether values are left as they are in the file, as
        :class:`~telstate_rdb.values.RawValue`, for ``RESTORE`` for instance. In strict mode
        nothing but the checksum protects against malformed ones.
    auxiliary
        Whether records that are not keys are returned too: facts about the file, sizes of
        databases, functions, data of modules, see :data:`~telstate_rdb.records.AuxiliaryRecord`.
    progress
        A function that is called at intervals with the number of bytes read and the size of the file
        (None if it is not known).
    name
        The name of the file in errors (default: its own name).

    Returns
    -------
    RdbReader
        An iterator over the records, in the order of the file.

    Raises
    ------
    RdbParseError
        At once: if it is not an RDB file. From the iterator, in strict
        mode: if it is truncated, its checksum is wrong, anything is malformed or follows its end, or a
        type is not known.
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\xfe\\x00" b"\\x00\\x04gain\\x031.5" b"\\xff"
    >>> for record in read_rdb(snapshot):
    ...     print(record.database, record.key, record.value)
    0 b'gain' b'1.5'
    """
    _keep_freed_memory()
    key_filter = _make_filter(databases, keys, types)
    opened, version = _open(source, name, progress)
    parser = RecordParser(
        opened,
        version,
        key_filter=key_filter,
        raw=raw,
        validates=not strict,
        auxiliary=auxiliary,
        recovers=not strict,
    )
    losses: list[Loss] = []
    if strict:
        return RdbReader(parser, _parse(parser), losses)
    from telstate_rdb._recovery import recover

    return RdbReader(parser, recover(parser, losses), losses)


@overload
def read_lazily(
    source: RdbSource, *, raw: Literal[False] = False, **options: Unpack[LazyOptions]
) -> RdbReader[KeyRecord[Value] | KeyRecord[LazyTable]]: ...


@overload
def read_lazily(
    source: RdbSource, *, raw: Literal[True], **options: Unpack[LazyOptions]
) -> RdbReader[KeyRecord[RawValue] | KeyRecord[LazyTable]]: ...


@overload
def read_lazily(
    source: RdbSource, *, raw: bool, **options: Unpack[LazyOptions]
) -> RdbReader[KeyRecord[Value] | KeyRecord[RawValue] | KeyRecord[LazyTable]]: ...


def read_lazily(
    source: RdbSource,
    *,
    databases: Collection[int] | int | None = None,
    keys: KeyChoice | None = None,
    types: Collection[TypeName] | TypeName | None = None,
    raw: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> RdbReader[AnyRecord]:
    """Read a file like :func:`read_rdb`, but skip large tables and decode them later.

    The sorted sets and hashes that make up most of a snapshot of sensors are returned undecoded as
    :class:`~telstate_rdb.lazy.LazyTable`, which takes a fraction of the time.

    If the file can be read twice (a path, bytes, an open regular file), its checksum is verified
    first, and a wrong one raises an error at the call, before any record. Otherwise, and if there is
    no checksum, undecoded tables are validated, so that decoding them cannot fail.

    Parameters
    ----------
    source, databases, keys, types, progress, name
        As in :func:`read_rdb`.
    raw
        Whether all other values are left as they are in the file, including hashes and those
        sorted sets that cannot be decoded later.

    Returns
    -------
    RdbReader
        An iterator over the records, in the order of the file. Sorted sets whose members have
        different scores are decoded.

    Raises
    ------
    RdbParseError, OSError
        As in :func:`read_rdb`.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\x04\\x05peaks\\x01\\x05J1939\\x0414.9" b"\\xff"
    >>> [(record.key, record.value) for record in read_lazily(snapshot)]
    [(b'peaks', Hash(fields={b'J1939': b'14.9'}, expiries={}))]
    """
    from telstate_rdb.lazy import make_lazy_readers

    _keep_freed_memory()
    is_right = verify_checksum(source)
    if is_right is False:
        for _ in read_rdb(source, name=name):  # which raises the error
            pass
    key_filter = _make_filter(databases, keys, types)
    opened, version = _open(source, name, progress)
    # A raw hash is not read lazily, because a server would load one with a repeated field.
    lazy_readers = make_lazy_readers(is_trusted=is_right is True, with_hashes=not raw)
    parser = RecordParser(
        opened, version, key_filter=key_filter, raw=raw, lazy_readers=lazy_readers
    )
    return RdbReader(parser, _parse(parser), [])


def read_in_place(
    source: str | os.PathLike[str] | io.BufferedReader,
    *,
    databases: Collection[int] | int | None = None,
    keys: KeyChoice | None = None,
    name: str | None = None,
) -> RdbReader[KeyRecord[Value] | KeyRecord[StoredValue]]:
    """Read a file like :func:`read_lazily`, but leave all values in it that are not short.

    Strings, sorted sets and hashes of more than about 500 bytes are returned as
    :class:`~telstate_rdb.stored.StoredValue`. They are read from the file, which stays open, when they are
    decoded. The file is read once: **until the last record has been returned, its checksum is not verified**.

    Parameters
    ----------
    source
        The path of a regular file, or such a file that is open; all of it is read.
    databases, keys, name
        As in :func:`read_rdb`.

    Returns
    -------
    RdbReader
        An iterator over the records, in the order of the file.

    Raises
    ------
    RdbParseError
        As from :func:`read_rdb`. A file that is corrupt may have had other records before the error.
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from telstate_rdb import RdbWriter
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "example.rdb"
    >>> with RdbWriter(path) as writer:
    ...     writer.write(b"long", bytes(1000))
    >>> (record,) = read_in_place(path)
    >>> record.value.type_name, record.value.size, record.value.decode() == bytes(1000)
    ('string', 1002, True)
    """
    from telstate_rdb.stored import LEAST_SIZE, OpenFile, make_stored_readers

    _keep_freed_memory()
    key_filter = _make_filter(databases, keys, None)
    stored = OpenFile(source, name)
    opened = stored.open()
    stored.version = read_header(opened)
    # The header has been read, so the file is not shorter than a checksum.
    last = stored.read(stored.size - c.CHECKSUM_SIZE, c.CHECKSUM_SIZE)
    is_trusted = any(last) and _has_checksum(stored.read(0, c.HEADER_SIZE))

    def make_parser(opened: Source, is_trusted: bool) -> RecordParser:
        return RecordParser(
            opened,
            stored.version,
            key_filter=key_filter,
            lazy_readers=make_stored_readers(stored, is_trusted=is_trusted),
            longest_packed=LEAST_SIZE,
        )

    parser = make_parser(opened, is_trusted)

    def parse() -> Iterator[Iterable[AnyRecord]]:
        yield from _parse(parser)
        if is_trusted and parser.checksum != "ok":
            # There is no checksum: a mark of replication follows the end, and was taken for it.
            again = stored.open()
            read_header(again)
            for _ in _parse(make_parser(again, False)):
                pass

    records: Iterator[Any] = parse()
    return RdbReader(parser, records, [])


def _make_filter(
    databases: Collection[int] | int | None,
    keys: KeyChoice | None,
    types: Collection[TypeName] | TypeName | None,
) -> Filter | None:
    """Make a filter, or return None if everything passes."""
    if databases is keys is types is None:
        return None
    from telstate_rdb._filter import make_filter

    return make_filter(databases, keys, types)


def _open(source: RdbSource, name: str | None, progress: Progress | None) -> tuple[Source, int]:
    """Open a file and read the version in its header."""
    opened = Source(source, name=name, progress=progress)
    try:
        return opened, read_header(opened)
    except BaseException:
        opened.close()
        raise


def _parse(parser: RecordParser) -> Iterator[Iterable[AnyRecord]]:
    """Parse a file to its end, and close it."""
    with closing(parser.source):
        yield from parser.parse()
        parser.read_end()


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep up to 32 MB of freed memory for later use.

    A file is read in pieces that are soon freed. glibc would return each of them to the system, and
    getting new pages takes as long as all the rest. Its limit follows the largest block that was freed
    so far, which is this one; as it is never written to, allocating it costs nothing.
    """
    bytes(1 << 24)


# -------------------------------------------------------------------------- verifying the checksum


class _RewindableFile(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


def verify_checksum(source: RdbSource) -> bool | None:
    """Return whether the checksum at the end of a file is right.

    Only a source that can be read twice is read: bytes, the path of a regular file, or an open
    regular file. This takes a fraction of a millisecond for each megabyte.

    Returns
    -------
    bool or None
        None if there is no checksum, or the file cannot be read twice: then nothing of it is
        read. An open file is left at its current position.

    Raises
    ------
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> verify_checksum(b"REDIS0006\\xff\\xf4\\xc2\\xf4\\xa6\\x94\\x4c\\x77\\x40")
    False
    """
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with open_path(source) as file:
            return verify_checksum(file)
    size = size_of(source)
    if size is None or not isinstance(source, io.BytesIO | io.FileIO | io.BufferedReader):
        return None
    return _verify_checksum(source, size)


def _verify_checksum(file: _RewindableFile, size: int) -> bool | None:
    start = file.tell()
    buffer = memoryview(bytearray(_PIECE_SIZE))
    crc = 0
    try:
        if not _has_checksum(bytes(_read_into(file, buffer[: c.HEADER_SIZE]))):
            return None
        file.seek(start + size - c.CHECKSUM_SIZE)
        stored = int.from_bytes(_read_into(file, buffer[: c.CHECKSUM_SIZE]), "little")
        if not stored:
            return None
        file.seek(start)
        rest = size - c.CHECKSUM_SIZE
        while rest and (piece := _read_into(file, buffer[:rest])):
            crc = crc64(piece, crc)
            rest -= len(piece)
    finally:
        file.seek(start)
    return not rest and crc == stored


def _read_into(file: _RewindableFile, buffer: memoryview) -> memoryview:
    """Fill a buffer from a file, as far as the file goes."""
    size = 0
    while size < len(buffer) and (count := file.readinto(buffer[size:])):
        size += count
    return buffer[:size]


def _has_checksum(header: bytes) -> bool:
    """Return whether a file that starts like this ends with a checksum."""
    if header.startswith(c.MAGIC_VALKEY):
        return True
    digits = header[len(c.MAGIC_REDIS) :]
    return (
        header.startswith(c.MAGIC_REDIS)
        and digits.isdigit()
        and int(digits) >= c.CHECKSUM_VERSION
        and len(header) == c.HEADER_SIZE
    )
