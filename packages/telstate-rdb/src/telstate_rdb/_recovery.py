"""Getting as many whole records as can be had out of a broken file, and saying what was lost.

A value that is malformed, but whose end is known, costs only its key. Where it is not known any
more where the next record begins, :mod:`telstate_rdb._resync` looks for the next place from which
records make sense; what lies between is lost.

Rules: a record that is given was whole, as far as anybody can tell; what was not is a
:class:`Loss`. Nothing is raised for what is wrong with the file, except for its header. The same
bytes give the same records, wherever they come from.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from telstate_rdb._parser import AnyRecord, Walk, read_end, walk
from telstate_rdb._resync import Search, is_text
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.records import KeyRecord
from telstate_rdb.values import RawValue


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
        yield from recover_with(Search(state), raw, losses)


def recover_with(search: Search, raw: bool, losses: list[Loss]) -> Iterator[AnyRecord]:
    """Do what :func:`recover` does, with the file open."""
    state = search.state
    source = state.source
    end = 0  # behind the mark of the end, once that is reached
    resumed = True
    while resumed:
        resumed = False
        try:
            for record in walk(state):
                if not isinstance(record, KeyRecord) or not isinstance(record.value, RawValue):
                    yield record
                    continue
                if search.texts and not is_text(record.key):
                    search.texts = False
                try:
                    value = decode_raw(record.value)
                except RdbParseError as error:
                    lost = len(record.value.body)
                    if not search.goes_on():  # then the end of the value was not the end of it
                        error.key = record.key
                        raise
                    losses.append(Loss(source.offset - lost, lost, record.key, error.reason))
                else:
                    yield record if raw else record._replace(value=value)
            end = source.offset
            read_end(state)
        except RdbParseError as error:
            start = source.offset if source.keep_from is None else source.keep_from
            search.work += max(source.offset - start, 0)
            found = search.find(start)
            if found is not None:
                losses.append(Loss(start, found - start, error.key, error.reason))
                state.checksum = "unread"
                resumed = True
                continue
            lost = start if state.checksum == "unread" else end
            reason = error.reason
            if search.exhausted:
                reason += "; the search for records behind it was given up, it takes too long"
            losses.append(Loss(lost, None, error.key, reason))
