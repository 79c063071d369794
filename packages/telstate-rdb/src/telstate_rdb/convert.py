"""Files made of files: convert, cut out, merge and split.

Values are copied as they are wherever the version of the new file allows it. A new file appears once it is
complete; if anything fails, nothing is left of it.
"""

from __future__ import annotations

import binascii
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote_from_bytes

import attrs

from telstate_rdb._source import Progress, RdbSource, name_damage, read_from_start
from telstate_rdb.errors import RdbError
from telstate_rdb.records import AuxiliaryRecord, FunctionLibrary, KeyRecord
from telstate_rdb.selection import Selection, read_selected
from telstate_rdb.values import RawValue
from telstate_rdb.writer import RdbWriter

SLOTS = 1 << 14
"""The number of slots of a cluster."""

MAX_PARTS = 256
"""The most files that :func:`split_rdb` makes; all of them are open at once."""

NO_PREFIX = "without prefix"
"""The name of the file that :func:`split_rdb` makes of keys without a separator."""

_Record = KeyRecord[RawValue] | AuxiliaryRecord
_RecordT = TypeVar("_RecordT", bound=KeyRecord[Any] | AuxiliaryRecord)
_Identity = tuple[int | None, bytes]  # of a key, or of a function library, whose database is None


@attrs.frozen
class Conflict:
    """A key that is in several files, or a function library, whose `database` is None."""

    database: int | None
    key: bytes

    def __str__(self) -> str:
        if self.database is None:
            return f"function library {self.key!r}"
        return f"key {self.key!r} in database {self.database}"


class ConflictError(RdbError):
    """Files that are to be merged have the same keys; `conflicts` has them all."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__(conflicts)
        self.conflicts = conflicts

    def __str__(self) -> str:
        more = "" if len(self.conflicts) == 1 else f" (and {len(self.conflicts) - 1} more)"
        return f"Several of the files have the {self.conflicts[0]}{more}. Choose which to prefer."


@attrs.frozen(kw_only=True)
class Changes:
    """What changes about keys while they are copied; by default nothing.

    Parameters
    ----------
    to_database
        The database that all keys move to.
    keep_expiry
        Whether keys keep their expiry.
    shift_expiry
        The number of milliseconds that is added to each expiry.

    Examples
    --------
    >>> Changes(to_database=3, shift_expiry=500).apply(KeyRecord(0, b"gain", b"1.5", 1000))
    KeyRecord(database=3, key=b'gain', value=b'1.5', expiry=1500, idle=None, frequency=None)
    """

    to_database: int | None = None
    keep_expiry: bool = True
    shift_expiry: int = 0

    def apply(self, record: _RecordT) -> _RecordT:
        """Return a record, changed if it is that of a key."""
        if not isinstance(record, KeyRecord) or self == _UNCHANGED:
            return record
        database, expiry = record.database, record.expiry
        if self.to_database is not None:
            database = self.to_database
        if expiry is not None:
            expiry = expiry + self.shift_expiry if self.keep_expiry else None
        return record._replace(database=database, expiry=expiry)


_UNCHANGED = Changes()


@attrs.frozen
class Merged:
    """The result of :func:`merge_rdb`: the number of keys written, and the conflicts that were decided."""

    keys: int
    conflicts: tuple[Conflict, ...]


def convert_rdb(
    source: RdbSource,
    target: str | os.PathLike[str],
    *,
    version: int | None = None,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    changes: Changes = Changes(),  # noqa: B008  # it is frozen
    compress: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> int:
    """Write the chosen keys of a file to another file, in another version of the format.

    Function libraries and data of modules are copied too if every key is chosen.

    Parameters
    ----------
    source, progress, name
        As for :func:`telstate_rdb.read_rdb`.
    target
        The file to create or to replace.
    version, compress
        As for :class:`telstate_rdb.RdbWriter`: by default the lowest version from 6 that can hold
        everything.
    selection
        The keys to copy.
    changes
        What changes about them.

    Returns
    -------
    int
        The number of keys written.

    Raises
    ------
    RdbParseError
        If the source is malformed.
    RdbWriteError
        If the version cannot hold a value, two keys would have the same name in one database, or the
        file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "new.rdb"
    >>> convert_rdb(b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\xff", target, version=11)
    1
    """
    with RdbWriter(target, version, compress=compress) as writer:
        records = read_selected(
            source, selection, raw=True, auxiliary=True, progress=progress, name=name
        )
        with name_damage(source, name):
            writer.write_records(map(changes.apply, records))
    return writer.keys_written


def merge_rdb(
    sources: Sequence[RdbSource],
    target: str | os.PathLike[str],
    *,
    prefer: Literal["first", "last"] | None = None,
    version: int | None = None,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    changes: Changes = Changes(),  # noqa: B008  # it is frozen
    compress: bool = False,
    progress: Sequence[Progress | None] = (),
    names: Sequence[str | None] = (),
) -> Merged:
    """Write the chosen keys of several files to one.

    The files are read twice: first their keys, to find those that are in several of them.

    Parameters
    ----------
    sources
        The files, as paths, as bytes, or open; open files must be able to seek, and are read from their
        start.
    target, version, selection, changes, compress
        As for :func:`convert_rdb`.
    prefer
        Which file a key is taken from if several have it: the first or the last of them. By default
        that is an error.
    progress, names
        The functions that are called with the progress, and the names in errors, one for each file.

    Returns
    -------
    Merged
        The number of keys, and the conflicts.

    Raises
    ------
    ConflictError
        If a key is in several files and none is to be preferred. Nothing is written.
    RdbParseError, RdbWriteError
        As for :func:`convert_rdb`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "merged.rdb"
    >>> gain, mode = (b"REDIS0003" b"\\x00\\x04" + name + b"\\x01c" b"\\xff" for name in (b"gain", b"mode"))
    >>> merge_rdb([gain, mode], target)
    Merged(keys=2, conflicts=())
    """
    chosen: dict[_Identity, tuple[int, bytes]] = {}
    conflicts: dict[_Identity, None] = {}
    files = list(zip_longest(sources, progress, names))

    def read(number: int) -> Iterator[_Record]:
        source, watch, name = files[number]
        records = read_selected(
            read_from_start(source),
            selection,
            raw=True,
            auxiliary=True,
            progress=watch,
            name=name,
        )
        return map(changes.apply, records)

    for number in range(len(files)):
        for record in read(number):
            if (identity := _identify(record)) is None:
                continue
            code = record.code if isinstance(record, FunctionLibrary) else b""
            found = chosen.setdefault(identity, (number, code))
            if found[0] == number or code and found[1] == code:
                continue
            conflicts[identity] = None
            if prefer == "last":
                chosen[identity] = number, code
    found_conflicts = tuple(Conflict(*identity) for identity in conflicts)
    if found_conflicts and prefer is None:
        raise ConflictError(found_conflicts)
    with RdbWriter(target, version, compress=compress) as writer:
        for number in range(len(files)):
            source, _, name = files[number]
            with name_damage(source, name):
                writer.write_records(
                    record
                    for record in read(number)
                    if (identity := _identify(record)) is None or chosen[identity][0] == number
                )
    return Merged(writer.keys_written, found_conflicts)


def _identify(record: _Record) -> _Identity | None:
    """Return the database and name of what must not be in a file twice."""
    if isinstance(record, KeyRecord):
        return record.database, record.key
    if isinstance(record, FunctionLibrary):
        return None, library_name(record.code)
    return None


def library_name(code: bytes) -> bytes:
    """Return the name of a function library, from the first line of its code.

    Examples
    --------
    >>> library_name(b"#!lua name=lib\\nredis.log('')")
    b'lib'
    """
    words = code.partition(b"\n")[0].split()
    return next((word[5:] for word in words if word.startswith(b"name=")), b"")


def split_rdb(
    source: RdbSource,
    folder: str | os.PathLike[str],
    *,
    by: Literal["db", "prefix", "slot"],
    separator: bytes = b":",
    parts: int = 3,
    overwrite: bool = False,
    version: int | None = None,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    changes: Changes = Changes(),  # noqa: B008  # it is frozen
    compress: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> Mapping[Path, int]:
    """Divide the chosen keys of a file among several files.

    Function libraries and data of modules go to each of them.

    Parameters
    ----------
    source, version, selection, changes, compress, progress, name
        As for :func:`convert_rdb`.
    folder
        The folder of the new files. It is created if it does not exist.
    by
        What keys of one file have in common: their database (``db0.rdb``), the part of their name
        before the first separator (``user.rdb``), or a range of slots of a cluster
        (``slots-0-5460.rdb``).
    separator
        What ends a prefix.
    parts
        The number of equal ranges of slots.
    overwrite
        Whether files that exist may be replaced.

    Returns
    -------
    dict
        The number of keys in each file.

    Raises
    ------
    FileExistsError
        If one of the files exists.
    RdbWriteError
        If there would be more than 256 files, or as for :func:`convert_rdb`. None of the files is
        there then.

    Examples
    --------
    >>> import tempfile
    >>> snapshot = b"REDIS0003" b"\\x00\\x03a:1\\x011" b"\\x00\\x03b:1\\x011" b"\\xff"
    >>> {path.name: count for path, count in split_rdb(snapshot, tempfile.mkdtemp(), by="prefix").items()}
    {'a.rdb': 1, 'b.rdb': 1}
    """
    name_part = _part_namer(by, separator, parts)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, RdbWriter] = {}
    for_all: list[AuxiliaryRecord] = []
    records = read_selected(
        source, selection, raw=True, auxiliary=True, progress=progress, name=name
    )
    with name_damage(source, name), ExitStack() as stack:
        for record in records:
            if not isinstance(record, KeyRecord):
                for_all.append(record)
                for writer in writers.values():
                    writer.write_record(record)
                continue
            part = name_part(record)
            if part not in writers:
                if len(writers) == MAX_PARTS:
                    raise RdbError(
                        f"The keys would be divided among more than {MAX_PARTS} files. Choose fewer "
                        "keys, or divide them differently."
                    )
                path = folder / f"{part}.rdb"
                if not overwrite and os.path.lexists(path):
                    raise FileExistsError(errno.EEXIST, "The file exists", str(path))
                writers[part] = stack.enter_context(RdbWriter(path, version, compress=compress))
                for earlier in for_all:
                    writers[part].write_record(earlier)
            writers[part].write_record(changes.apply(record))
    return {folder / f"{part}.rdb": writers[part].keys_written for part in sorted(writers)}


def _part_namer(by: str, separator: bytes, parts: int) -> Callable[[KeyRecord[RawValue]], str]:
    """Return the function that names the part of a key."""
    if by == "db":
        return lambda record: f"db{record.database}"
    if by == "slot":
        if not 1 <= parts <= MAX_PARTS:
            raise ValueError(f"There can be 1 to {MAX_PARTS} ranges of slots, not {parts}.")
        firsts = [SLOTS * part // parts for part in range(parts + 1)]
        names = [f"slots-{a}-{b - 1}" for a, b in zip(firsts, firsts[1:])]
        part_of = [name for name, a, b in zip(names, firsts, firsts[1:]) for _ in range(a, b)]
        return lambda record: part_of[key_slot(record.key)]
    if by != "prefix":
        raise ValueError(f"A file can be split by db, prefix or slot, not by {by!r}.")

    def name_prefix(record: KeyRecord[RawValue]) -> str:
        prefix, found, _ = record.key.partition(separator)
        # No quoted name has a space or ends with %, and a name with dots would be hidden.
        quoted = quote_from_bytes(prefix, safe="").replace(".", "%2E") or "%"
        return quoted if found else NO_PREFIX

    return name_prefix


def key_slot(key: bytes) -> int:
    """Return the slot of a cluster that a key belongs to.

    Parameters
    ----------
    key
        The key. If it has something in braces, only that decides.

    Returns
    -------
    int
        The slot, 0 to 16383.

    Examples
    --------
    >>> key_slot(b"foo"), key_slot(b"{foo}:bar")
    (12182, 12182)
    """
    start = key.find(b"{")
    if start >= 0:
        stop = key.find(b"}", start)
        if stop > start + 1:
            key = key[start + 1 : stop]
    return binascii.crc_hqx(key, 0) % SLOTS
