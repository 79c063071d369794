"""Whether the checksum of a file is right, found out before anything else is done with the file.

Rules: only what is sure to be the same the second time is read twice: bytes, paths of regular files,
open regular files. The bytes go by in pieces that fit into the processor's cache, so that this costs
a fraction of a millisecond for each megabyte.
"""

# Reading RDB files: the iterator over their records.
#
# Rules: opening a file and its header are checked at the call, everything else as the records are
# asked for. In strict mode (the default) whatever is wrong is an error, after the records before it;
# to recover what can be had from a broken file, see :mod:`telstate_rdb._recovery`.

from __future__ import annotations

import io
import os
from collections.abc import Collection, Generator, Iterator
from functools import cache
from types import TracebackType
from typing import Generic, Literal, Protocol, TypedDict, TypeVar, Unpack, overload

from telstate_rdb import constants as c
from telstate_rdb._crc64 import crc64
from telstate_rdb._filter import make_selection
from telstate_rdb._parser import AnyRecord, Checksum, Walk, read_header, walk
from telstate_rdb._recovery import Loss, recover
from telstate_rdb._source import BinaryReader, Progress, Source, size_of
from telstate_rdb.constants import TypeName
from telstate_rdb.lazy import LazyTable
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import RawValue, Value

_PIECE = 1 << 18


class _Rewindable(Protocol):
    """A file that can go back."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


def verified(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader,
) -> bool | None:
    """Tell whether the checksum at the end of a file is that of its bytes.

    Returns
    -------
    bool or None
        None if there is none, or the file cannot be read twice: then nothing of it is read. A file
        that is read stands where it stood before.

    Raises
    ------
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> verified(b"REDIS0006\\xff\\xf4\\xc2\\xf4\\xa6\\x94\\x4c\\x77\\x40"), verified(b"REDIS0003\\xff")
    (False, None)
    """
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with io.FileIO(source) as file:
            return verified(file)
    size = size_of(source)
    if size is None or not isinstance(source, io.BytesIO | io.FileIO | io.BufferedReader):
        return None
    return _verified(source, size)


def _verified(file: _Rewindable, size: int) -> bool | None:
    place = file.tell()
    buffer = memoryview(bytearray(_PIECE))
    crc = 0
    try:
        if not _has_checksum(_filled(file, buffer[: c.HEADER_SIZE])):
            return None
        file.seek(place + size - c.CHECKSUM_SIZE)
        stored = int.from_bytes(_filled(file, buffer[: c.CHECKSUM_SIZE]), "little")
        if not stored:
            return None
        file.seek(place)
        rest = size - c.CHECKSUM_SIZE
        while rest and (piece := _filled(file, buffer[:rest])):
            crc = crc64(piece, crc)
            rest -= len(piece)
    finally:
        file.seek(place)
    return not rest and crc == stored


def _filled(file: _Rewindable, buffer: memoryview) -> memoryview:
    """Read as much as there is room for, or as there is in the file."""
    have = 0
    while have < len(buffer) and (count := file.readinto(buffer[have:])):
        have += count
    return buffer[:have]


def _has_checksum(header: memoryview) -> bool:
    """Tell whether a file that starts like this ends with a checksum."""
    text = bytes(header)
    if text.startswith(c.MAGIC_VALKEY):
        return True
    digits = text[len(c.MAGIC_REDIS) :]
    return (
        text.startswith(c.MAGIC_REDIS)
        and digits.isdigit()
        and int(digits) >= c.CHECKSUM_VERSION
        and len(text) == c.HEADER_SIZE
    )


RdbSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader
"""Where a snapshot can come from: a path, the bytes themselves or an open binary file."""

RecordT = TypeVar("RecordT", covariant=True)


class ReadOptions(TypedDict, total=False):
    """The options of :func:`read_rdb` that do not change what kind of records it gives."""

    strict: bool
    databases: Collection[int] | int | None
    keys: str | bytes | None
    types: Collection[TypeName] | TypeName | None
    progress: Progress | None
    name: str | None


class LazyOptions(TypedDict, total=False):
    """The options of :func:`read_lazily` that do not change what kind of records it gives."""

    databases: Collection[int] | int | None
    keys: str | bytes | None
    types: Collection[TypeName] | TypeName | None
    progress: Progress | None
    name: str | None


class RdbReader(Generic[RecordT]):
    """An iterator over the records of a file; made by :func:`read_rdb`.

    It can be used in a ``with`` statement, to close the file before everything is read.

    Attributes
    ----------
    version
        The RDB version of the file.
    losses
        What could not be recovered, so far (empty in strict mode, where it is an error).
    """

    def __init__(self, state: Walk, records: Iterator[RecordT], losses: list[Loss]) -> None:
        self._state = state
        self._records = records
        self.version = state.version
        self.losses = losses

    @property
    def checksum(self) -> Checksum:
        """What the checksum says; sure once all records were asked for."""
        return self._state.checksum

    @property
    def name(self) -> str | None:
        """The name of the file, if it has one."""
        return self._state.source.name

    @property
    def size(self) -> int | None:
        """The size of the file in bytes, if it was known or has been reached."""
        return self._state.source.size

    def __iter__(self) -> Iterator[RecordT]:
        return self._records

    def __next__(self) -> RecordT:
        return next(self._records)

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
        """Close the file, if it was opened here; there are no more records then."""
        if isinstance(self._records, Generator):
            self._records.close()
        self._state.source.close()


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


def read_rdb(
    source: RdbSource,
    *,
    strict: bool = True,
    databases: Collection[int] | int | None = None,
    keys: str | bytes | None = None,
    types: Collection[TypeName] | TypeName | None = None,
    raw: bool = False,
    auxiliary: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> RdbReader[AnyRecord]:
    """Read an RDB file of any version from 1 to 12, or of Valkey 9.

    Memory is bounded by the largest value, not by the file; every byte is checked against the
    checksum.

    Parameters
    ----------
    source
        A path, the bytes of a file, or an open binary file, which need not be able to seek: a
        pipe, a decompressor, a socket's ``makefile("rb")``. It is read from where it stands to its
        end, and is not closed.
    strict
        Whether anything wrong with the file is an error, after the records before it have been
        given (the default). Otherwise as many whole records as can be had are given, and
        :attr:`RdbReader.losses` says what was lost and where.
    databases
        The number, or numbers, of the databases that are wanted (default: all).
    keys
        One pattern as of the command ``KEYS`` for the keys that are wanted (default: all).
    types
        The type, or types, that are wanted, by the names that the command ``TYPE`` gives them:
        ``"string"``, ``"list"``, ``"set"``, ``"zset"``, ``"hash"``, ``"stream"``, ``"module"``
        (default: all). What is not wanted is passed over without being decoded.
    raw
        Whether values are to be left as they are in the file, as
        :class:`~telstate_rdb.values.RawValue`, to be given to ``RESTORE`` for instance. They are
        not checked for being sound, except by the checksum.
    auxiliary
        Whether records that are not keys are wanted too: facts about the file, sizes of databases,
        functions, data of modules, see :data:`~telstate_rdb.records.AuxiliaryRecord`.
    progress
        Called now and then with the number of bytes read and the size of the file (None where it
        is not known).
    name
        What to call the file in errors (default: its own name).

    Returns
    -------
    RdbReader
        An iterator over the records, in the order of the file.

    Raises
    ------
    RdbParseError
        At once: if it is no RDB file or of an unknown version. From the iterator, in strict mode:
        if it is cut short, its checksum is wrong, anything is malformed or follows its end.
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\xfe\\x00" b"\\x00\\x04gain\\x031.5" b"\\xff"
    >>> for record in read_rdb(snapshot):
    ...     print(record.database, record.key, record.value)
    0 b'gain' b'1.5'
    """
    selection = make_selection(databases, keys, types)
    state = _opened(source, name, progress)
    state.selection, state.auxiliary = selection, auxiliary
    losses: list[Loss] = []
    if strict:
        state.raw, state.finish = raw, True
        records = walk(state)
    else:
        state.raw, state.keep = True, True
        records = recover(state, raw, losses)
    return RdbReader(state, records, losses)


@overload
def read_lazily(
    source: RdbSource, *, raw: Literal[False] = False, **options: Unpack[LazyOptions]
) -> RdbReader[KeyRecord[Value] | KeyRecord[LazyTable]]: ...


@overload
def read_lazily(
    source: RdbSource, *, raw: Literal[True], **options: Unpack[LazyOptions]
) -> RdbReader[KeyRecord[RawValue] | KeyRecord[LazyTable]]: ...


def read_lazily(
    source: RdbSource,
    *,
    databases: Collection[int] | int | None = None,
    keys: str | bytes | None = None,
    types: Collection[TypeName] | TypeName | None = None,
    raw: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> RdbReader[AnyRecord]:
    """Read a file as :func:`read_rdb` does, but step over large tables, to decode them later.

    The sorted sets and hashes that make up most of a snapshot of sensors are given as
    :class:`~telstate_rdb.lazy.LazyTable`, with their bytes; that takes a fraction of the time.

    A file that can be read twice (a path, bytes, an open regular file) is first held against its
    checksum; if that is wrong, the error comes at the call, before any record. Otherwise (or where
    there is no checksum) what is not decoded is validated, so that decoding it cannot fail.

    Parameters
    ----------
    source, databases, keys, types, progress, name
        As for :func:`read_rdb`.
    raw
        Whether other values, hashes too, and sorted sets that cannot be put off are left as they are.

    Returns
    -------
    RdbReader
        An iterator over the records, in the order of the file. Sorted sets whose members have
        different scores are decoded.

    Raises
    ------
    RdbParseError, OSError
        As from :func:`read_rdb`.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\x04\\x05peaks\\x01\\x05J1939\\x0414.9" b"\\xff"
    >>> [(record.key, record.value) for record in read_lazily(snapshot)]
    [(b'peaks', Hash(fields={b'J1939': b'14.9'}, expiries={}))]
    """
    _keep_freed_memory()
    right = verified(source)
    if right is False:
        _say_what_is_wrong(source, name)
    selection = make_selection(databases, keys, types)
    state = _opened(source, name, progress)
    state.selection, state.raw, state.finish = selection, raw, True
    state.lazy, state.trusted = True, right is True
    return RdbReader(state, walk(state), [])


def _opened(source: RdbSource, name: str | None, progress: Progress | None) -> Walk:
    """Open a file and read its header."""
    opened = Source(source, name=name, progress=progress)
    try:
        return Walk(opened, read_header(opened))
    except BaseException:
        opened.close()
        raise


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep up to 32 MB of freed memory, and not give it back each time.

    A file is read in pieces that are soon free again. glibc would return each to the system, and to
    get fresh pages takes as long as all the rest. It learns what is usual from the largest block that
    was freed so far; this one is never touched, so the first time, and only then, it costs nothing.
    """
    bytes(1 << 24)


def _say_what_is_wrong(source: RdbSource, name: str | None) -> None:
    """Read a broken file to where it is broken; leave an open one where it stands."""
    for _ in read_rdb(source, name=name):
        pass
