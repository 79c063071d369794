"""The choice of keys by name, type, database, size and expiry that every command offers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Any, Literal, cast, overload

import attrs

from telstate_rdb._parser import Measure
from telstate_rdb._source import Progress, RdbSource
from telstate_rdb.constants import TYPE_NAMES, TypeName
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.globs import Glob
from telstate_rdb.reader import read_rdb
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import RawValue, Value


def _to_patterns(patterns: Collection[bytes | str]) -> tuple[bytes, ...]:
    return tuple(
        p.encode("utf-8", "surrogateescape") if isinstance(p, str) else p for p in patterns
    )


def _to_tuple(items: Collection[Any]) -> tuple[Any, ...]:
    return tuple(items)


@attrs.frozen(kw_only=True, slots=False)
class Selection:
    """A choice of keys; by default all.

    Parameters
    ----------
    keys
        Patterns as for the command ``KEYS``, of which one must match. None at all: every key.
    not_keys
        Patterns of which none may match.
    types
        The types, as the command ``TYPE`` names them. None at all: every type.
    databases
        The numbers of the databases. None at all: every database.
    larger
        The size in the file, of the key and its value together, that a key must exceed.
    expiring
        True for keys that expire, False for keys that do not, None for both.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\x00\\x04mode\\x01c" b"\\xff"
    >>> [record.key for record in read_selected(snapshot, Selection(keys=["g*"]))]
    [b'gain']
    """

    keys: Collection[bytes] = attrs.field(default=(), converter=_to_patterns)
    not_keys: Collection[bytes] = attrs.field(default=(), converter=_to_patterns)
    types: Collection[TypeName] = attrs.field(default=(), converter=_to_tuple)
    databases: Collection[int] = attrs.field(default=(), converter=_to_tuple)
    larger: int | None = None
    expiring: bool | None = None

    @property
    def is_everything(self) -> bool:
        """Whether every key is chosen."""
        return self == Selection()

    @cached_property
    def matcher(self) -> Callable[[bytes], object] | None:
        """A function that returns whether the name of a key is chosen; None if every name is."""
        wanted = [Glob(pattern).fullmatch for pattern in self.keys]
        unwanted = [Glob(pattern).fullmatch for pattern in self.not_keys]
        if not unwanted:
            if len(wanted) <= 1:
                return wanted[0] if wanted else None
            return lambda key: any(match(key) for match in wanted)
        return lambda key: (not wanted or any(match(key) for match in wanted)) and not any(
            match(key) for match in unwanted
        )

    def accepts_measure(self, measure: Measure) -> bool:
        """Return whether a key is chosen, by a measure of it: size, expiry, type and name."""
        database, key, type_, size, expiry = measure
        matches = self.matcher
        return (
            (not self.databases or database in self.databases)
            and (not self.types or TYPE_NAMES[type_] in self.types)
            and (self.larger is None or size > self.larger)
            and self.accepts_expiry(expiry)
            and (matches is None or bool(matches(key)))
        )

    def accepts_expiry(self, expiry: int | None) -> bool:
        """Return whether a key with this expiry is chosen."""
        return self.expiring is None or self.expiring == (expiry is not None)


@overload
def read_selected(
    source: RdbSource,
    selection: Selection = ...,
    *,
    raw: Literal[True],
    auxiliary: Literal[False] = ...,
    progress: Progress | None = ...,
    name: str | None = ...,
) -> Iterator[KeyRecord[RawValue]]: ...


@overload
def read_selected(
    source: RdbSource,
    selection: Selection = ...,
    *,
    raw: Literal[True],
    auxiliary: bool,
    progress: Progress | None = ...,
    name: str | None = ...,
) -> Iterator[KeyRecord[RawValue] | AuxiliaryRecord]: ...


@overload
def read_selected(
    source: RdbSource,
    selection: Selection = ...,
    *,
    raw: Literal[False] = ...,
    auxiliary: Literal[False] = ...,
    progress: Progress | None = ...,
    name: str | None = ...,
) -> Iterator[KeyRecord[Value]]: ...


@overload
def read_selected(
    source: RdbSource,
    selection: Selection = ...,
    *,
    raw: Literal[False] = ...,
    auxiliary: bool,
    progress: Progress | None = ...,
    name: str | None = ...,
) -> Iterator[KeyRecord[Value] | AuxiliaryRecord]: ...


def read_selected(
    source: RdbSource,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    *,
    raw: bool = False,
    auxiliary: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
) -> Iterator[Any]:
    """Read the chosen keys of a file, in its order.

    Parameters
    ----------
    source, raw, progress, name
        As for :func:`telstate_rdb.read_rdb`.
    selection
        The keys to read. The others are skipped without being decoded where that is possible.
    auxiliary
        Whether records that are not keys are returned too, if every key is chosen.

    Yields
    ------
    KeyRecord or AuxiliaryRecord
        The records. The file is opened when the first is requested.

    Raises
    ------
    RdbParseError, OSError
        As for :func:`telstate_rdb.read_rdb`.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\x00\\x04mode\\x01c" b"\\xff"
    >>> [record.value for record in read_selected(snapshot, Selection(not_keys=["g*"]))]
    [b'c']
    """
    larger = selection.larger
    with read_rdb(
        source,
        raw=raw or larger is not None,
        auxiliary=auxiliary and selection.is_everything,
        progress=progress,
        name=name,
        databases=selection.databases or None,
        keys=selection.matcher,
        types=selection.types or None,
    ) as reader:
        if larger is None and selection.expiring is None:
            yield from reader
        else:
            yield from _select(iter(reader), selection, raw, reader.name)


def list_keys(
    source: RdbSource,
    selection: Selection = Selection(),  # noqa: B008  # it is frozen
    *,
    progress: Progress | None = None,
    name: str | None = None,
) -> Iterator[list[Measure]]:
    """List the chosen keys of a file, without their values, in its order.

    Parameters
    ----------
    source, progress, name
        As for :func:`telstate_rdb.read_rdb`.
    selection
        The keys to list.

    Yields
    ------
    list of tuple
        For each of some keys the number of its database, its name, the type byte, the size of the
        name and the value in the file, and the expiry. A list may be empty.

    Raises
    ------
    RdbParseError, OSError
        As for :func:`telstate_rdb.read_rdb`.

    Examples
    --------
    >>> snapshot = b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\x00\\x04mode\\x01c" b"\\xff"
    >>> list(list_keys(snapshot))
    [[(0, b'gain', 0, 8, None), (0, b'mode', 0, 6, None)]]
    """
    larger = selection.larger
    with read_rdb(
        source,
        raw=True,
        progress=progress,
        name=name,
        databases=selection.databases or None,
        keys=selection.matcher,
        types=selection.types or None,
    ) as reader:
        for batch in reader.measures():
            keys = cast("list[Measure]", batch)
            if larger is not None:
                keys = [key for key in keys if key[3] > larger]
            if selection.expiring is not None:
                keys = [key for key in keys if selection.accepts_expiry(key[4])]
            yield keys


def _select(
    records: Iterator[Any], selection: Selection, raw: bool, name: str | None
) -> Iterator[KeyRecord[Any]]:
    """Return the records of the chosen size and expiry."""
    larger = selection.larger
    for record in records:
        if not selection.accepts_expiry(record.expiry):
            continue
        if larger is not None:
            if len(record.key) + len(record.value.body) <= larger:
                continue
            if not raw:
                try:
                    record = record._replace(value=decode_raw(record.value))
                except RdbParseError as error:
                    error.file, error.key, error.offset = name, record.key, None
                    raise
        yield record
