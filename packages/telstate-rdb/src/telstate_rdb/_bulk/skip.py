"""Skip tables without taking them apart."""

from __future__ import annotations

from telstate_rdb._bulk.runs import Layout, scan
from telstate_rdb._source import Source
from telstate_rdb.constants import SCORE_NAN


def skip_table(source: Source, layout: Layout) -> int:
    """Skip a count and so many items; return the count."""
    count = source.read_length()
    source.expect(count * (layout.strings + layout.tail))
    strings = layout.strings - layout.has_text_score
    for piece in scan(source, count, layout):
        if piece is None:
            for _ in range(strings):
                source.skip_string()
            if layout.has_text_score:
                length = source.read_byte()
                source.skip(length if length < SCORE_NAN else 0)
            source.skip(layout.tail)
    return count
