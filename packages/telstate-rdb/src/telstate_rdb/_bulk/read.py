"""Reading and skipping tables: a count and so many items of strings, or of strings and scores."""

from __future__ import annotations

from telstate_rdb import constants as c
from telstate_rdb._bulk.runs import PAIRS, SCORED, STRINGS, TEXT_SCORED, Layout, Run, scan
from telstate_rdb._source import Source
from telstate_rdb.errors import RdbParseError

SPECIAL_SCORES = {
    c.SCORE_NAN: b"nan",
    c.SCORE_POSITIVE_INFINITY: b"inf",
    c.SCORE_NEGATIVE_INFINITY: b"-inf",
}
_MAX_CACHED_SCORES = 1000


def read_strings(source: Source, count: int) -> list[bytes]:
    """Read `count` strings."""
    source.expect(count)
    strings: list[bytes] = []
    for piece in scan(source, count, STRINGS):
        if piece is None:
            strings.append(source.read_string())
        else:
            strings += piece.column(0)
    return strings


def read_string_pairs(source: Source) -> tuple[list[bytes], list[bytes]]:
    """Read a table of pairs of strings; return their first and their second strings."""
    count = source.read_length()
    source.expect(2 * count)
    first: list[bytes] = []
    second: list[bytes] = []
    for piece in scan(source, count, PAIRS):
        if piece is None:
            first.append(source.read_string())
            second.append(source.read_string())
        else:
            first += piece.column(0)
            second += piece.column(1)
    return first, second


def read_scored_strings(source: Source) -> tuple[list[bytes], bytearray]:
    """Read a table of strings, each with a score as a little-endian float64."""
    count = source.read_length()
    source.expect(9 * count)
    strings: list[bytes] = []
    doubles = bytearray()
    for piece in scan(source, count, SCORED):
        if piece is None:
            strings.append(source.read_string())
            doubles += source.read(8)
        else:
            strings += piece.column(0)
            doubles += piece.tails()
    return strings, doubles


def read_text_scored_strings(source: Source) -> tuple[list[bytes], list[float]]:
    """Read a table of strings, each with a score as text."""
    count = source.read_length()
    source.expect(2 * count)
    strings: list[bytes] = []
    scores: list[float] = []
    parse = _ScoreCache().__getitem__
    for piece in scan(source, count, TEXT_SCORED):
        if piece is None:
            strings.append(source.read_string())
            scores.append(parse(read_text_score(source)))
        else:
            strings += piece.column(0)
            if isinstance(piece, Run):  # which has one score only
                scores += [parse(piece.score())] * piece.count
            else:
                scores += map(parse, piece.column(1))
    return strings, scores


def read_text_score(source: Source) -> bytes:
    """Read the text of a score; of an infinity or NaN, the text that stands for it."""
    length = source.read_byte()
    return SPECIAL_SCORES.get(length) or source.read(length)


def parse_score(text: bytes) -> float:
    """Return the number that the text of a score stands for."""
    try:
        if b"_" not in text:
            return float(text)
    except ValueError:
        pass
    raise RdbParseError(f"a sorted set has a score that is not a number: {text[:40]!r}")


class _ScoreCache(dict[bytes, float]):
    """Scores by their texts, which often repeat."""

    def __missing__(self, text: bytes) -> float:
        score = parse_score(text)
        if len(self) < _MAX_CACHED_SCORES:
            self[text] = score
        return score


def skip_table(source: Source, layout: Layout) -> int:
    """Skip a count and so many items; return the count."""
    count = source.read_length()
    source.expect(count * (layout.strings + layout.tail))
    skip_items(source, count, layout)
    return count


def skip_items(source: Source, count: int, layout: Layout) -> None:
    """Skip so many items."""
    strings = layout.strings - layout.has_text_score
    for piece in scan(source, count, layout):
        if piece is None:
            for _ in range(strings):
                source.skip_string()
            if layout.has_text_score:
                length = source.read_byte()
                source.skip(length if length < c.SCORE_NAN else 0)
            source.skip(layout.tail)
