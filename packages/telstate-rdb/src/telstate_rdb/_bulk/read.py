"""Collections that a file holds as tables: a count, then so many strings (and scores).

Rules: a table may be larger than the buffer, so it is read as the buffer fills, and nothing is
read twice. The usual strings (shorter than 16384 bytes, not compressed) are taken in the loops
here, runs of equal size by :mod:`telstate_rdb._bulk.runs`, the others by the source.
"""

from __future__ import annotations

from telstate_rdb._bulk.runs import (
    FIRST_WINDOW,
    MAX_WINDOW,
    MIN_RUN,
    column_of_doubles,
    run_length,
    take_apart,
)
from telstate_rdb._bulk.skip import pass_strings, pass_usual
from telstate_rdb._source import Source
from telstate_rdb.constants import (
    SCORE_NAN,
    SCORE_NEGATIVE_INFINITY,
    SCORE_POSITIVE_INFINITY,
)
from telstate_rdb.errors import RdbParseError


def read_strings(source: Source, count: int) -> list[bytes]:
    """Read `count` strings."""
    source.expect(count)
    out: list[bytes] = []
    append = out.append
    window = FIRST_WINDOW
    while count:
        buffer = source.buffer
        position = source.position
        end = len(buffer)
        try:
            while count:
                first = buffer[position]
                if first < 64:
                    start = position + 1
                    stop = start + first
                elif first < 128:
                    start = position + 2
                    stop = start + ((first & 63) << 8 | buffer[position + 1])
                else:
                    source.position = position
                    append(source.read_string())
                    buffer = source.buffer
                    position = source.position
                    end = len(buffer)
                    count -= 1
                    continue
                if stop > end:
                    break
                if count >= MIN_RUN and buffer[stop] == first:
                    stride = stop - position
                    if position + MIN_RUN * stride <= end and buffer[stop + stride] == first:
                        offsets = (0,) if first < 64 else (0, 1)
                        limit = min(count, window)
                        run = run_length(buffer, position, limit, stride, offsets)
                        if run >= MIN_RUN:
                            parts = (start - position, stop - start)
                            take_apart(out, buffer, position, run, stride, parts)
                            position += run * stride
                            count -= run
                            window = min(window * 8, MAX_WINDOW) if run == limit else FIRST_WINDOW
                            continue
                append(buffer[start:stop])
                position = stop
                count -= 1
        except IndexError:
            pass  # the buffer ends within a length
        source.position = position
        if count:
            source.fill(end - position + 1)
    return out


def read_scored_strings(source: Source) -> tuple[list[bytes], bytearray]:
    """Read a table of strings, each with a score of 8 bytes (type 5): both columns."""
    count = source.read_length()
    source.expect(9 * count)
    members: list[bytes] = []
    append = members.append
    scores = bytearray()
    window = FIRST_WINDOW
    while count:
        buffer = source.buffer
        position = source.position
        end = len(buffer)
        try:
            while count:
                first = buffer[position]
                if first < 64:
                    start = position + 1
                    stop = start + first
                elif first < 128:
                    start = position + 2
                    stop = start + ((first & 63) << 8 | buffer[position + 1])
                else:
                    source.position = position
                    append(source.read_string())
                    scores += source.read(8)
                    buffer = source.buffer
                    position = source.position
                    end = len(buffer)
                    count -= 1
                    continue
                following = stop + 8
                if following > end:
                    break
                if count >= MIN_RUN and buffer[following] == first:
                    stride = following - position
                    last = position + (MIN_RUN - 1) * stride
                    if last < end and buffer[last] == first:
                        offsets = (0,) if first < 64 else (0, 1)
                        limit = min(count, window)
                        run = run_length(buffer, position, limit, stride, offsets)
                        if run >= MIN_RUN:
                            parts = (start - position, stop - start, 8)
                            take_apart(members, buffer, position, run, stride, parts)
                            scores += column_of_doubles(buffer, stop, run, stride)
                            position += run * stride
                            count -= run
                            window = min(window * 8, MAX_WINDOW) if run == limit else FIRST_WINDOW
                            continue
                append(buffer[start:stop])
                scores += buffer[stop:following]
                position = following
                count -= 1
        except IndexError:
            pass  # the buffer ends within a length
        source.position = position
        if count:
            source.fill(end - position + 1)
    return members, scores


SPECIAL_SCORES = {
    SCORE_NAN: b"nan",
    SCORE_POSITIVE_INFINITY: b"inf",
    SCORE_NEGATIVE_INFINITY: b"-inf",
}
"""The scores that have no text, by the byte in place of its length."""


def read_text_scored_strings(source: Source) -> tuple[list[bytes], list[float]]:
    """Read a table of strings, each with a score as text (type 3): both columns."""
    count = source.read_length()
    source.expect(2 * count)
    members: list[bytes] = []
    scores: list[float] = []
    known: dict[bytes, float] = {}
    window = FIRST_WINDOW
    while count:
        source.look_ahead(256 * 64)
        buffer = source.buffer
        position = source.position
        try:
            first = buffer[position]
            if first < 128 and count >= MIN_RUN:
                start = position + 1 + (first >= 64)
                length = first if first < 64 else (first & 63) << 8 | buffer[position + 1]
                stop = start + length
                text = buffer[stop]
                following = stop + 1 + (text if text < SCORE_NAN else 0)
                stride = following - position
                if buffer[following] == first:
                    same = (*range(start - position), *range(stop - position, stride))
                    limit = min(count, window)
                    run = run_length(buffer, position, limit, stride, same)
                    if run >= MIN_RUN:
                        parts = (start - position, stop - start, following - stop)
                        take_apart(members, buffer, position, run, stride, parts)
                        source.position = stop
                        scores += [_read_text_score(source, known)] * run
                        source.position = position + run * stride
                        count -= run
                        window = min(window * 8, MAX_WINDOW) if run == limit else FIRST_WINDOW
                        continue
        except IndexError:
            pass  # the buffer ends within the next item
        members.append(source.read_string())
        scores.append(_read_text_score(source, known))
        count -= 1
    return members, scores


def parse_score(text: bytes) -> float:
    """Return the number that the text of a score stands for.

    Examples
    --------
    >>> parse_score(b"-1.5e3"), parse_score(b"inf")
    (-1500.0, inf)
    """
    try:
        if b"_" not in text:
            return float(text)
    except ValueError:
        pass
    raise RdbParseError(f"a sorted set has a score that is not a number: {text[:40]!r}")


def _read_text_score(source: Source, known: dict[bytes, float]) -> float:
    """Read a score; `known` holds what was seen before."""
    length = source.read_byte()
    text = SPECIAL_SCORES.get(length) or source.read(length)
    score = known.get(text)
    if score is None:
        score = parse_score(text)
        if len(known) < 1000:
            known[text] = score
    return score


def skip_items(source: Source, count: int, strings: int, tail: int = 0) -> None:
    """Go on to behind `count` items, each of some strings and then `tail` bytes.

    Nothing is decoded; runs of items of one size are passed in one step, others of usual strings
    many at a time.
    """
    source.expect(count * (strings + tail))
    if strings == 1:
        pass_strings(source, count, tail)
        return
    window = FIRST_WINDOW
    while count:
        start = source.offset
        lengths = []  # offset of each short length in the item
        for _ in range(strings):
            lengths.append(source.offset - start)
            source.skip_string()
        source.skip(tail)
        count -= 1
        stride = source.offset - start
        position = source.position
        if count < MIN_RUN or stride > position:
            continue
        buffer = source.buffer
        item = position - stride
        run = 0
        if all([buffer[item + i] < 64 for i in lengths]):
            limit = min(count + 1, window)
            run = run_length(buffer, item, limit, stride, tuple(lengths))
            window = min(window * 8, MAX_WINDOW) if run == limit else FIRST_WINDOW
        if run >= MIN_RUN:
            source.position = item + run * stride
            count -= run - 1
        elif not tail:
            ends = pass_usual(buffer, position, strings * min(count, FIRST_WINDOW))
            passed = len(ends) // strings
            if passed:
                source.position = ends[strings * passed - 1]
                count -= passed
