"""Recovery: return all records of a broken file that are complete, and report the rest.

A file is parsed as usual until something is wrong. A value that is malformed, but whose end is known,
costs only its own key. Otherwise :mod:`telstate_rdb._resync` searches for the next place from which
records make sense, and everything before it is lost. From there on, parsing goes on as usual.

No error is raised for a broken file, except for its header. The same bytes give the same
records, however they are delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import attrs

from telstate_rdb._parser import RecordParser
from telstate_rdb._resync import Search
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.records import KeyRecord
from telstate_rdb.stored import AnyRecord
from telstate_rdb.values import RawValue


@attrs.frozen
class Loss:
    """A part of a file that could not be read.

    Parameters
    ----------
    offset
        The offset in the file at which it begins.
    size
        Its number of bytes; None: everything from there on.
    key
        The key whose value was lost, if it is known.
    reason
        What was wrong.
    """

    offset: int
    size: int | None
    key: bytes | None
    reason: str


def recover(
    parser: RecordParser, losses: list[Loss], search: Search | None = None
) -> Iterator[Iterable[AnyRecord]]:
    """Parse the complete records of a file as `RecordParser.parse` does; add the rest to `losses`."""
    source = parser.source
    search = search or Search(parser)
    end = 0  # the offset after the end mark, once that is reached
    with closing(source):
        while True:
            try:
                yield from parser.parse()
                end = source.offset
                parser.read_end()
                return
            except RdbParseError as error:
                loss = _skip_damage(parser, search, error, end)
            losses.append(loss)
            if loss.size is None:
                return


def _skip_damage(parser: RecordParser, search: Search, error: RdbParseError, end: int) -> Loss:
    """Leave the source where records go on after an error, if there is such a place."""
    start = parser.record_start
    reached = parser.source.offset
    if error.key is not None:
        try:
            return _skip_value(parser, search)
        except RdbParseError as second_error:
            error = second_error
            reached = parser.source.offset
    search.work += max(reached - start, 0)
    found = search.find()
    if found is not None:
        parser.resume()
        return Loss(start, found - start, error.key, error.reason)
    reason = error.reason
    if search.is_exhausted:
        reason += "; the search for later records was given up because it takes too long"
    return Loss(start if parser.checksum == "unread" else end, None, error.key, reason)


def _skip_value(parser: RecordParser, search: Search) -> Loss:
    """Skip the value of the current key, which is malformed; RdbParseError if its end is not known."""
    source = parser.source
    parser.go_back()
    raw_parser = RecordParser(source, parser.version, raw=True)
    while not (records := raw_parser.read_record()):
        pass  # an expiry or the like
    (record,) = records
    assert isinstance(record, KeyRecord) and isinstance(record.value, RawValue)
    size = len(record.value.body)
    try:
        parser.check_value(decode_raw(record.value))
    except RdbParseError as error:
        if not search.goes_on():
            error.key = record.key
            raise
        return Loss(source.offset - size, size, record.key, error.reason)
    raise source.error("the value cannot be decoded")
