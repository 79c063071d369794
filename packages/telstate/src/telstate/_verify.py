"""Whether a snapshot is sound: its bytes, and the values in it."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from telstate._sources import Source, is_address, open_source
from telstate._summaries import count_of, is_pickle
from telstate_codec import (
    DecodeError,
    decode_key,
    decode_value,
)
from telstate_codec.errors import TRUST_ADVICE
from telstate_codec.printable import escape

if TYPE_CHECKING:
    from telstate_rdb import Progress, Value

_TIME_BYTES = 8
_INFINITY = struct.pack(">d", float("inf"))
_REPEATED = "the key is in the database twice, so that no server loads the file"


@attrs.frozen
class SnapshotProblem:
    """Something that is wrong with a snapshot, or that telstate does not read.

    Attributes
    ----------
    reason : str
        What it is.
    name : str or None
        The full name of the key; None if it concerns no key, or is not known.
    database : int or None
        The database of the key, if it is known.
    offset : int or None
        Where it is in the file, in bytes, if it is known.
    """

    reason: str
    name: str | None = None
    database: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        places = []
        if self.offset is not None:
            places.append(f"byte {self.offset}")
        if self.name is not None:
            database = f" of database {self.database}" if self.database else ""
            places.append(f"key {escape(self.name)}{database}")
        place = ", ".join(places)
        return f"{place}: {self.reason}" if place else self.reason


@attrs.frozen
class Verification:
    """The result of verifying a snapshot.

    Attributes
    ----------
    keys : int
        The number of keys that were read.
    checksum : str
        The state of the checksum: ``"ok"``, ``"wrong"``, ``"not computed"`` (left out by the
        writer), ``"none"`` (of old versions), or ``"unread"``.
    problems : list of SnapshotProblem
        What is wrong: corrupt bytes, keys that are in a database twice, values that cannot be decoded.
    unread : list of SnapshotProblem
        What may be right, but is not read: pickles that the safe policy does not read, and keys of other
        programs.
    """

    keys: int
    checksum: str
    problems: list[SnapshotProblem]
    unread: list[SnapshotProblem]

    @property
    def has_checksum(self) -> bool:
        """Whether the file has a checksum. If not, damage inside values cannot be seen."""
        return self.checksum in ("ok", "wrong")

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_snapshot(source: Source, *, progress: Progress | None = None) -> Verification:
    """Verify that a snapshot is complete and correct, and that every value in it can be decoded.

    A server loads the file if this returns no problems, and telstate reads what is in it. Damage inside values
    is only seen if the file has a checksum, see `Verification.has_checksum`. Pickles are read by the safe policy,
    so no code in them is run. Memory is limited by the largest value.

    Parameters
    ----------
    source
        A path, an ``https://`` or ``s3://`` address, or an open binary file. It is read twice, so that
        a pipe is copied to a temporary file first.
    progress
        Called from time to time with the number of bytes read and the size of the file (None if that is not known).
        Default: none.

    Returns
    -------
    verification
        What is wrong, and what is not read.

    Raises
    ------
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> import io
    >>> snapshot = b"REDIS0003" b"\\x00\\x04gain\\x02\\xff\\xc1" b"\\xff"
    >>> for problem in verify_snapshot(io.BytesIO(snapshot)).problems:
    ...     print(problem)
    key gain: The value cannot be decoded: it holds byte 0xc1 where an object should start.
    """
    with _open_twice(source) as opened:
        return _verify(opened, progress)


@contextmanager
def _open_twice(source: Any) -> Iterator[Any]:
    """Yield what can be read twice: the source, or a copy of a pipe."""
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike) and not (
            is_address(source) or os.path.isfile(source)
        ):
            source = stack.enter_context(open(source, "rb"))
        if hasattr(source, "read") and not (hasattr(source, "seekable") and source.seekable()):
            copy = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            shutil.copyfileobj(source, copy)
            copy.seek(0)
            source = io.BufferedReader(copy)
        yield stack.enter_context(open_source(source))


def _verify(source: Any, progress: Progress | None) -> Verification:
    from telstate_rdb import RdbParseError, read_rdb
    from telstate_rdb.summary import summarise

    position = source.tell() if hasattr(source, "read") else None
    try:
        summary = summarise(read_rdb(source, strict=False, raw=True, auxiliary=True))
    except RdbParseError as error:
        problem = SnapshotProblem(error.reason, offset=error.offset)
        return Verification(0, "unread", [problem], [])
    problems = [
        SnapshotProblem(loss.reason, _decode(loss.key), None, loss.offset)
        for loss in summary.losses
    ]
    unread: list[SnapshotProblem] = []
    if position is not None:
        source.seek(position)
    counts: Counter[tuple[int, bytes]] = Counter()
    now = time.time() * 1000
    # Reading it the first time takes a fraction of the time, because no value is decoded.
    for record in read_rdb(source, strict=False, progress=progress):
        place = decode_key(record.key), record.database
        corrupt, skipped = _check_value(record.value)
        problems += [SnapshotProblem(reason, *place) for reason in corrupt]
        unread += [SnapshotProblem(reason, *place) for reason in skipped]
        if summary.repeated and (record.expiry is None or record.expiry > now):
            counts[record.database, record.key] += 1
            if counts[record.database, record.key] == 2:
                problems.append(SnapshotProblem(_REPEATED, *place))
    return Verification(summary.total.keys, summary.checksum, problems, unread)


def _decode(key: bytes | None) -> str | None:
    return None if key is None else decode_key(key)


def _check_value(value: Value) -> tuple[list[str], list[str]]:
    """Return what is wrong with the contents of a key, and what is not read."""
    from telstate_rdb import Hash, SortedSet

    if isinstance(value, bytes):
        return _check_values("value", [value])
    if isinstance(value, SortedSet):
        if any(value.scores):
            return [], ["a sorted set with scores that are not 0, which telstate does not support"]
        corrupt, skipped = _check_values("sample", [m[_TIME_BYTES:] for m in value.members])
        wrong_times = sum(not _is_time(member) for member in value.members)
        if wrong_times:
            corrupt.insert(0, f"{count_of(wrong_times, 'sample')} without a valid time")
        return corrupt, skipped
    if isinstance(value, Hash):
        corrupt, skipped = _check_values("sub-key", list(value.fields))
        corrupt_values, skipped_values = _check_values("value", list(value.fields.values()))
        if value.expiries:
            skipped.append("a hash with fields that expire, which telstate does not support")
        return corrupt + corrupt_values, skipped + skipped_values
    return [], [f"a Redis {value.type_name}, which telstate does not support"]


def _is_time(member: bytes) -> bool:
    """Return whether a sample starts with a time that can be written: finite, and at least 0."""
    return len(member) >= _TIME_BYTES and member[:_TIME_BYTES] < _INFINITY


def _check_values(noun: str, values: list[bytes]) -> tuple[list[str], list[str]]:
    """Return what is wrong with encoded values, and which pickles are not read, each in one sentence."""
    corrupt: list[str] = []
    skipped: list[str] = []
    for value in values:
        try:
            decode_value(value, "safe")
        except DecodeError as error:
            (skipped if is_pickle(value) else corrupt).append(str(error).removesuffix(TRUST_ADVICE))
    found = []
    for reasons in (corrupt, skipped):
        several = "" if len(values) == 1 else f"{count_of(len(reasons), noun)} of {len(values):,}: "
        found.append([several + reasons[0]] if reasons else [])
    return found[0], found[1]
