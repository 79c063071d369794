"""What is in a telescope state, for people: a summary of it, summaries of its keys, and a tree of them.

`summarise` asks the store, in few round trips, and returns plain records; `key_tree` draws them with
rich, `key_tree_text` as plain text. `describe_store` and `describe_snapshot` say what a store is, and what it
holds in all. A snapshot is read once, and the samples in it are not decoded.
"""

from __future__ import annotations

import heapq
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BufferedReader
from typing import TYPE_CHECKING, Any

import attrs

from telstate._sources import Source, is_address, open_source
from telstate._summaries import (
    HasBackend,
    KeySummary,
    describe,
    natural,
    summarise,
    time_of,
)
from telstate._tree import key_tree, key_tree_text
from telstate_backends import KeyType, MemoryBackend, ServerVersion, TelstateError
from telstate_backends.errors import translate_rdb_errors
from telstate_codec import decode_key
from telstate_rdb.printable import escape, escape_path

if TYPE_CHECKING:
    from telstate._download import Downloaded
    from telstate_backends import Backend, LoadReport

__all__ = [
    "KeySummary",
    "SnapshotSummary",
    "StoreSummary",
    "describe",
    "describe_snapshot",
    "describe_store",
    "key_tree",
    "key_tree_text",
    "summarise",
    "time_of",
]

_PIECE = 1 << 13
# How many of the biggest keys a summary has.
BIGGEST = 10
_CAPTURE_BLOCK = re.compile(r"([0-9]{9,11})_")
_ANTENNA = re.compile(r"([a-z]{1,2}[0-9]{3,4})_")
_STREAM = re.compile(r"(.+)_stream_type")


@attrs.frozen
class SnapshotSummary:
    """What a snapshot file is.

    Attributes
    ----------
    size : int or None
        Its bytes; None if it was not read from a file.
    format : str
        The version of the format.
    server : str or None
        The server that wrote it, if it names one.
    created : float or None
        When it was written, in seconds since 1970, if it says so.
    checksum : str
        The state of its checksum: "ok", "wrong", "not computed" (by its writer), "none" (in old versions), or
        "unread" (of a file that ends too early).
    databases : dict of int to int
        The number of keys of each database, of whatever kind.
    problems : tuple of str
        What is wrong with the file; what could not be read is not in the summary of the store.
    left_out : dict of str to str
        The keys that telstate does not read, those of other programs and those that have expired, with the
        reason.
    collisions : tuple of str
        The keys that are in several databases; the last value of each was read.
    """

    size: int | None
    format: str
    server: str | None
    created: float | None
    checksum: str
    databases: dict[int, int]
    problems: tuple[str, ...]
    left_out: dict[str, str]
    collisions: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the file, so that a server of its version loads it."""
        return not self.problems


@attrs.frozen
class StoreSummary:
    """What a telescope state holds in all.

    Attributes
    ----------
    keys : dict of KeyType to int
        The number of keys of each kind.
    samples : int
        The number of samples of all mutable keys.
    size : int
        The bytes of all values; estimated where `KeySummary.size` is.
    first, last : float or None
        The times of the first and the last of all samples, in seconds since 1970.
    capture_blocks, streams, antennas : tuple of str
        The namespaces, by the names of keys: of capture blocks, of streams (which have a key
        ``..._stream_type``), and of antennas.
    pickles : tuple of str
        The keys whose value (of a mutable key the latest, of an indexed key one of them) is a pickle.
    biggest : tuple of KeySummary
        The keys with the most bytes, the biggest first.
    server : str or None
        The name and version of the server that holds it; None in memory, or if it does not say.
    snapshot : SnapshotSummary or None
        What the file is that it was read from, from `describe_snapshot`.
    """

    keys: dict[KeyType, int]
    samples: int
    size: int
    first: float | None
    last: float | None
    capture_blocks: tuple[str, ...]
    streams: tuple[str, ...]
    antennas: tuple[str, ...]
    pickles: tuple[str, ...]
    biggest: tuple[KeySummary, ...]
    server: str | None = None
    snapshot: SnapshotSummary | None = None


def describe_store(ts: HasBackend) -> StoreSummary:
    """Return a summary of what a store is and holds, in every namespace.

    Parameters
    ----------
    ts
        A synchronous telescope state, of any view.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> ts["sdp_l0_stream_type"] = "sdp.vis"
    >>> ts.add("m000_target", "J1939-6342", ts=1.6e9)
    >>> found = describe_store(ts)
    >>> found.samples, found.streams, found.antennas
    (1, ('sdp_l0',), ('m000',))
    """
    return summarise_store(summarise(ts), _server_of(ts.backend))


def _server_of(backend: Backend) -> str | None:
    try:
        return backend.execute(ServerVersion())
    except (
        TelstateError
    ):  # not permitted, or an imitation of a server; if it is down, other calls say so
        return None


def summarise_store(summaries: list[KeySummary], server: str | None = None) -> StoreSummary:
    """Return what a store holds in all, given the summaries of its keys."""
    names = [key.name for key in summaries]
    times = [time for key in summaries for time in (key.first, key.last) if time is not None]
    finite = [time for time in times if math.isfinite(time)]
    return StoreSummary(
        keys=dict(Counter(key.kind for key in summaries)),
        samples=sum(key.count for key in summaries if key.kind is KeyType.MUTABLE),
        size=sum(key.size or 0 for key in summaries),
        first=min(finite, default=None),
        last=max(finite, default=None),
        capture_blocks=_find(_CAPTURE_BLOCK, names),
        streams=tuple(one for one in _find(_STREAM, names) if not _CAPTURE_BLOCK.match(f"{one}_")),
        antennas=_find(_ANTENNA, names),
        pickles=tuple(key.name for key in summaries if key.is_pickle),
        biggest=tuple(heapq.nlargest(BIGGEST, summaries, key=lambda key: key.size or 0)),
        server=server,
    )


def _find(pattern: re.Pattern[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return what a pattern finds at the start of names, each once."""
    found = {match[1] for match in map(pattern.match, names) if match}
    return tuple(sorted(found, key=natural))


def describe_snapshot(
    source: Source, database: int | None = None, progress: Downloaded | None = None
) -> StoreSummary:
    """Describe what a snapshot is and holds. Of a damaged one, what can be read is described.

    Parameters
    ----------
    source
        A path, an address, or an open binary file, as for `TelescopeState.from_snapshot`.
    database
        The database whose keys are described. Default: all.
    progress
        As for `open_store`.

    Returns
    -------
    summary
        With what is wrong with the file as ``summary.snapshot.problems``.

    Raises
    ------
    RdbParseError
        If the file does not begin as a snapshot.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> ts["n_chans"] = 4096
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "observation.rdb")
    ...     count = ts.save(path)
    ...     found = describe_snapshot(path)
    >>> found.keys, found.snapshot.sound
    ({<KeyType.IMMUTABLE: 1>: 1}, True)
    """
    with open_source(source, progress) as opened, translate_rdb_errors():
        file: Any = opened
        name = escape_path(os.fspath(source)) if isinstance(source, str | os.PathLike) else None
        # A path, or a file that was downloaded, which nobody else reads.
        if not hasattr(file, "read") or is_address(source) and isinstance(file, BufferedReader):
            return _describe_file(file, name, database)
        content, problem = _read_all(file)
        found = _describe_file(content, name, database)
        if problem and found.snapshot is not None:
            problems = (problem, *found.snapshot.problems)
            found = attrs.evolve(found, snapshot=attrs.evolve(found.snapshot, problems=problems))
        return found


def _read_all(file: Any) -> tuple[bytes, str]:
    """Read what can be read only once, up to what cannot be decompressed; return that as a problem."""
    from gzip import BadGzipFile
    from zlib import error as zlib_error

    content = bytearray()
    # GzipFile.read loses what it has decompressed when the rest is missing.
    read = getattr(file, "read1", file.read)
    try:
        while piece := read(_PIECE):
            content += piece
    except (EOFError, zlib_error, BadGzipFile) as error:
        return (
            bytes(content),
            f"what follows {len(content):,} bytes cannot be decompressed: {error}",
        )
    return bytes(content), ""


def _describe_file(file: Any, name: str | None, database: int | None) -> StoreSummary:
    from telstate_rdb.summary import Summary

    version, facts = read_head(file, name)
    head = Summary(version, facts=facts)
    store, reader, report, databases = _load_all(file, name, database)
    problems = [f"byte {one.offset:,}: {one.reason}" for one in reader.losses]
    problems += [
        f"key {escape(key)} is there twice, which no server loads" for key in report.repeated
    ]
    described = summarise_store(summarise(store))
    created = facts.get("ctime", "")
    return attrs.evolve(
        described,
        snapshot=SnapshotSummary(
            size=len(file) if isinstance(file, bytes) else reader.size,
            format=head.format,
            server=head.server if {"redis-ver", "valkey-ver"} & facts.keys() else None,
            created=float(created) if created.isdecimal() else None,
            checksum=reader.checksum,
            databases=dict(sorted(databases.items())),
            problems=tuple(problems),
            left_out={decode_key(one.key): one.reason for one in report.skipped},
            collisions=tuple(map(decode_key, report.collisions)),
        ),
    )


def _load_all(
    file: Any, name: str | None, database: int | None
) -> tuple[_Holder, Any, LoadReport, Counter[int]]:
    """Load what can be read of a file; return the store, the reader, the report and the keys of each database."""
    from telstate_rdb import RdbParseError, read_in_place, read_lazily, read_rdb

    def load(read: Callable[..., Any]) -> tuple[_Holder, Any, LoadReport, Counter[int]]:
        if hasattr(file, "seek"):
            file.seek(0)
        store, databases = _Holder(MemoryBackend()), Counter[int]()
        reader = read(file, databases=database, name=name)
        return store, reader, _load(store, reader, databases), databases

    in_place = not isinstance(file, bytes) and hasattr(os, "pread")
    for read in (read_in_place, read_lazily) if in_place else (read_lazily,):
        try:
            return load(read)
        except RdbParseError:
            pass
    return load(partial(read_rdb, strict=False))


@attrs.frozen
class _Holder:
    """What `summarise` needs of a telescope state."""

    backend: MemoryBackend


def read_head(file: Any, name: str | None) -> tuple[int, dict[str, str]]:
    """Return the version of a file, and the facts about it that come before the first key."""
    from telstate_rdb import AuxiliaryField, KeyRecord, read_rdb

    facts: dict[str, str] = {}
    with read_rdb(file, raw=True, auxiliary=True, strict=False, name=name) as reader:
        for record in reader:
            if isinstance(record, KeyRecord):
                break
            if isinstance(record, AuxiliaryField):
                facts[escape(record.name)] = escape(record.value)
        return reader.version, facts


def _load(store: _Holder, reader: Any, databases: Counter[int]) -> LoadReport:
    """Load all records that a reader yields, and count those of each database."""
    from telstate_backends import load_records

    def counted() -> Iterator[Any]:
        with translate_rdb_errors():
            for record in reader:
                databases[record.database] += 1
                yield record

    return load_records(store.backend, counted(), foreign="skip")
