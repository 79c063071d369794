"""Records of a snapshot into any backend, in batches, with progress and a report.

Rules: what telstate does not have (lists, sets, streams, modules, sorted sets with scores, hashes
whose fields expire) is refused with an error that names the key, or skipped and reported, as asked.
Batches are made purely (:func:`batches`); sync and asyncio loading only send them. A batch is small
enough not to hold up an event loop or a server for long; a very long key goes in several parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import eq
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from telstate_backends.backend import AsyncBackend, Backend
from telstate_backends.errors import ForeignKeyError
from telstate_backends.kinds import Immutable
from telstate_backends.operations.snapshots import Load
from telstate_backends.store import Fields, Samples, Stored
from telstate_codec.keys import key_repr

if TYPE_CHECKING:
    from telstate_rdb import KeyRecord, Value

#: A batch is sent when it has this many bytes of keys and values, or this many operations.
BATCH_BYTES = 1 << 20
BATCH_LENGTH = 1000
#: Samples or sub-keys of one key that are sent at once.
PART_LENGTH = 20_000


@attrs.frozen
class Skipped:
    """A key that was not loaded, and why.

    Attributes
    ----------
    key : bytes
        The full key.
    reason : str
        What it holds that telstate does not have.
    """

    key: bytes
    reason: str


@attrs.define
class LoadReport:
    """What has been loaded so far.

    Attributes
    ----------
    keys : int
        How many keys are in the backend now because of this load.
    skipped : list of Skipped
        The keys that are not, where they were to be skipped.
    """

    keys: int = 0
    skipped: list[Skipped] = attrs.field(factory=list)


Foreign: TypeAlias = Literal["refuse", "skip"]
Progress: TypeAlias = Callable[[LoadReport], object]


def load_records(
    backend: Backend,
    records: Iterable[KeyRecord[Value]],
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
) -> LoadReport:
    """Load records into a backend; keys that are there already are replaced.

    Parameters
    ----------
    backend : Backend
        Where to.
    records : iterable of telstate_rdb.KeyRecord
        What, for example from :func:`telstate_rdb.read_rdb`; of every database that it gives.
    foreign : {"refuse", "skip"}
        Whether a key that telstate cannot have is an error (default), or is skipped and reported.
    progress : callable, optional
        Called with the report after each batch.

    Returns
    -------
    LoadReport
        What was loaded and what was skipped. A key that has expired is always skipped; one that
        is to expire later is loaded to stay.

    Raises
    ------
    ForeignKeyError
        If a key is to be refused; what came before it stays loaded.
    RdbParseError, OSError
        As `records` raises them.
    ConnectionError, RefusedError
        If the store cannot be reached or does not take the keys.
    """
    report = LoadReport()
    for batch in batches(records, report, foreign, time.time()):
        _check(backend.execute_many(batch))
        _count(batch, report, progress)
    return report


async def load_records_async(
    backend: AsyncBackend,
    records: Iterable[KeyRecord[Value]],
    *,
    foreign: Foreign = "refuse",
    progress: Progress | None = None,
) -> LoadReport:
    """Load records into an asyncio backend: :func:`load_records`, awaited."""
    from asyncio import sleep

    report = LoadReport()
    for batch in batches(records, report, foreign, time.time()):
        _check(await backend.execute_many(batch))
        _count(batch, report, progress)
        await sleep(0)  # a memory backend does not make others wait either
    return report


def batches(
    records: Iterable[KeyRecord[Value]], report: LoadReport, foreign: Foreign, now: float
) -> Iterator[list[Load]]:
    """Cut records into lists of operations; what is skipped goes to the report."""
    batch: list[Load] = []
    size = 0
    for record in records:
        contents = _contents(record, now)
        if isinstance(contents, str):
            if foreign == "refuse" and contents != _EXPIRED:
                raise ForeignKeyError(
                    f"key {key_repr(record.key)} of database {record.database} holds {contents}, "
                    "which telstate does not have; load with foreign='skip' to leave such keys out"
                )
            report.skipped.append(Skipped(record.key, contents))
            continue
        for part, replace in _parts(contents):
            batch.append(Load(record.key, part, replace))
            size += len(record.key) + _size(part)
            if size >= BATCH_BYTES or len(batch) >= BATCH_LENGTH:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


_EXPIRED = "nothing any more: it has expired"


def _contents(record: KeyRecord[Value], now: float) -> Stored | str:
    """Give what the key is to hold, or say what is the matter with it."""
    # Here, so that who loads nothing need not pay for this import.
    from telstate_rdb import Hash, SortedSet

    value = record.value
    if record.expiry is not None and record.expiry <= now * 1000:
        return _EXPIRED
    if isinstance(value, bytes):
        return Immutable(value)
    if isinstance(value, SortedSet):
        if value.scores.count(0.0) != len(value.scores):
            return "a sorted set with scores that are not 0"
        return _samples(value.members) if value.members else "an empty sorted set"
    if isinstance(value, Hash):
        if value.expiries:
            return "a hash with fields that expire"
        return Fields(value.fields) if value.fields else "an empty hash"
    return f"a Redis {value.type_name}"


def _samples(members: Iterable[bytes]) -> Samples:
    samples = Samples(sorted(members))
    if any(map(eq, samples, islice(samples, 1, None))):
        # No server writes a member twice, but a file may say anything.
        return Samples(dict.fromkeys(samples))
    return samples


def _parts(contents: Stored) -> Iterator[tuple[Stored, bool]]:
    """Cut long contents; with each part, whether it replaces what is there."""
    if type(contents) is Immutable or len(contents) <= PART_LENGTH:
        yield contents, True
    elif type(contents) is Samples:
        for start in range(0, len(contents), PART_LENGTH):
            yield Samples(contents[start : start + PART_LENGTH]), start == 0
    else:
        items = iter(contents.items())
        for start in range(0, len(contents), PART_LENGTH):
            yield Fields(islice(items, PART_LENGTH)), start == 0


def _size(contents: Stored) -> int:
    if type(contents) is Immutable:
        return len(contents.value)
    if type(contents) is Samples:
        return sum(map(len, contents))
    return sum(map(len, contents)) + sum(map(len, contents.values()))


def _check(results: list[object]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result


def _count(batch: list[Load], report: LoadReport, progress: Progress | None) -> None:
    report.keys += sum(load.replace for load in batch)
    if progress is not None:
        progress(report)
