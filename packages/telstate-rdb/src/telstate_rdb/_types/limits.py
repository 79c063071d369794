"""Up to where servers pack a collection: their default settings, the same from 2.6 to 7.4.

Rules: a collection is packed if it has no more than so many items and none is longer than so many
bytes. Written down from ``CONFIG GET *-max-*`` of Redis 6.2 and 7.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from telstate_rdb.errors import RdbWriteError


@attrs.frozen
class Limit:
    """The most items, and the most bytes in one of their texts, that are still packed."""

    items: int
    longest: int

    def allows(self, items: int, texts: Sequence[bytes]) -> bool:
        """Say whether so many items, made of `texts`, are packed."""
        return items <= self.items and max(map(len, texts)) <= self.longest


HASH = Limit(512, 64)  # hash-max-ziplist-entries, -value; later hash-max-listpack-...
SORTED_SET = Limit(128, 64)  # zset-max-ziplist-entries, -value
SET = Limit(128, 64)  # set-max-listpack-entries, -value: from version 11 on
LIST = Limit(512, 64)  # list-max-ziplist-entries, -value: before version 7
INTSET_ITEMS = 512  # set-max-intset-entries
QUICKLIST_NODE_BYTES = 8192  # list-max-ziplist-size -2


def refuse_empty(items: int, what: str) -> None:
    """Refuse to write an empty collection: Redis has none, and servers do not load them."""
    if not items:
        raise RdbWriteError(
            f"An empty {what} cannot be written, as no Redis server loads it: leave the key out."
        )
