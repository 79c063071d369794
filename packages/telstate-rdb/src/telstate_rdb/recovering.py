"""Getting as many whole records as can be had out of a broken file, and saying what was lost.

A value that is malformed, but whose end is known, costs only its key. Where it is not known any
more where the next record begins, the file is searched for a place from which several records in
a row make sense, or from which everything does up to the end; what lies between is lost.

In the middle of a value much can look like a record. So where all keys before were printable text,
keys behind the damage must be, too; and none may be empty or come twice in a row of records.

Rules: a record that is given was whole, as far as anybody can tell; what was not is a
:class:`Loss`. Nothing is raised for what is wrong with the file, except for its header.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from telstate_rdb import constants as c
from telstate_rdb.auxiliary import AUXILIARY_READERS
from telstate_rdb.decoders import codecs_of_version
from telstate_rdb.errors import RdbParseError
from telstate_rdb.payloads import decode_raw
from telstate_rdb.records import KeyRecord
from telstate_rdb.source import Source
from telstate_rdb.values import RawValue
from telstate_rdb.walking import AnyRecord, Walk, read_end, walk

ENOUGH_RECORDS = 4
"""So many sound records in a row, of different keys, are taken for the truth."""

SEARCH_WINDOW = 1 << 22
"""How far behind a place records are tried, in bytes."""

SEARCH_LIMIT = 1 << 24
"""How far the next record is searched for, in bytes."""


@attrs.frozen
class Loss:
    """A part of a file that could not be used.

    Parameters
    ----------
    offset
        Where it begins in the file.
    size
        How many bytes it has; None: everything from there on.
    key
        The key whose value was lost, if there is one and it is known.
    reason
        What was wrong.
    """

    offset: int
    size: int | None
    key: bytes | None
    reason: str


def recover(state: Walk, raw: bool, losses: list[Loss]) -> Iterator[AnyRecord]:
    """Give the records of a file that are whole, and append what was lost to `losses`.

    Parameters
    ----------
    state
        The file, standing behind its header; must be `raw` and `keep`.
    raw
        Whether values are to be given as they are.
    losses
        Where losses go.
    """
    with state.source:
        yield from _recover(state, raw, losses)


def _recover(state: Walk, raw: bool, losses: list[Loss]) -> Iterator[AnyRecord]:
    """Do what :func:`recover` does, with the file open."""
    source = state.source
    texts = True  # whether all keys so far were printable
    end = 0  # behind the mark of the end, once that is reached
    resumed = True
    while resumed:
        resumed = False
        try:
            for record in walk(state):
                if not isinstance(record, KeyRecord) or not isinstance(record.value, RawValue):
                    yield record
                    continue
                texts = texts and _is_text(record.key)
                try:
                    value = decode_raw(record.value)
                except RdbParseError as error:
                    lost = len(record.value.body)
                    if not _goes_on(
                        state, texts
                    ):  # then the end of the value was not the end of it
                        error.key = record.key
                        raise
                    losses.append(Loss(source.offset - lost, lost, record.key, error.reason))
                else:
                    yield record if raw else record._replace(value=value)
            end = source.offset
            read_end(state)
        except RdbParseError as error:
            start = source.offset if source.keep_from is None else source.keep_from
            found = _search(state, start, texts)
            if found is None:
                lost = start if state.checksum == "unread" else end
                losses.append(Loss(lost, None, error.key, error.reason))
            else:
                losses.append(Loss(start, found - start, error.key, error.reason))
                state.checksum = "unread"
                resumed = True


def _goes_on(state: Walk, texts: bool) -> bool:
    """Tell whether records go on where the source is."""
    source = state.source
    try:
        source.look_ahead(SEARCH_WINDOW)
    except RdbParseError:
        return False
    return _makes_sense(state, source.buffer, source.position, source.ended, texts)


def _search(state: Walk, start: int, texts: bool) -> int | None:
    """Leave the source at the next place behind `start` where records go on; give its offset."""
    source = state.source
    plausible = {
        *codecs_of_version(state.version),
        *AUXILIARY_READERS,
        c.OPCODE_DATABASE,
        c.OPCODE_EXPIRY_MS,
        c.OPCODE_EXPIRY_S,
        c.OPCODE_FREQUENCY,
        c.OPCODE_IDLE,
        c.OPCODE_END,
    }
    source.position = start + 1 - source.base
    try:
        while source.offset < start + SEARCH_LIMIT:
            source.keep_from = source.offset
            source.look_ahead(SEARCH_WINDOW)
            buffer = source.buffer
            first = source.position
            ended = source.ended
            stop = len(buffer) if ended else max(len(buffer) - SEARCH_WINDOW // 2, first + 1)
            for position in range(first, stop):
                if buffer[position] in plausible and _makes_sense(
                    state, buffer, position, ended, texts
                ):
                    source.position = position
                    return source.offset
            source.position = stop
            if ended:
                return None
    except RdbParseError:
        pass  # the source cannot be read further
    return None


def _is_text(key: bytes) -> bool:
    """Tell whether a key can be printed."""
    try:
        return key.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _makes_sense(state: Walk, buffer: bytes, position: int, ended: bool, texts: bool) -> bool:
    """Tell whether sound records begin at `position`: enough of them, or all up to the end."""
    source = Source(buffer)
    source.position = position
    trial = Walk(source, state.version, raw=True, auxiliary=True, database=state.database)
    keys = set()
    try:
        for record in walk(trial):
            if isinstance(record, KeyRecord) and isinstance(record.value, RawValue):
                if not record.key or (trial.database, record.key) in keys:
                    return False  # zeros look like strings of no length
                if texts and not _is_text(record.key):
                    return False
                decode_raw(record.value)
                keys.add((trial.database, record.key))
                if len(keys) >= ENOUGH_RECORDS:
                    return True
        footer = c.CHECKSUM_SIZE if state.version >= c.CHECKSUM_VERSION else 0
        return ended and len(buffer) - source.position == footer
    except RdbParseError:
        return False
