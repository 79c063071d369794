"""What servers pack, and what they refuse to load: shared by the types of collections.

A server packs a collection that has at most so many items, none longer than so many bytes. The default
limits are the same from Redis 2.6 to 7.4; each type's stands in its own module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from telstate_rdb.errors import RdbWriteError


@attrs.frozen
class PackingLimit:
    """The largest number of items, and the size of the longest string, that are still packed."""

    items: int
    longest: int

    def allows(self, items: int, texts: Sequence[bytes]) -> bool:
        """Return whether a collection of `items`, made of `texts`, is packed."""
        return items <= self.items and max(map(len, texts)) <= self.longest


def check_not_empty(items: int, what: str) -> None:
    """Raise an error for an empty collection, which no server loads."""
    if not items:
        raise RdbWriteError(
            f"An empty {what} cannot be written: no Redis server loads it. Leave the key out."
        )


def check_unique(members: Sequence[bytes], what: str) -> None:
    """Raise an error if a member occurs twice, which no server loads."""
    if len(frozenset(members)) < len(members):
        repeated = Counter(members).most_common(1)[0][0]
        raise RdbWriteError(
            f"A {what} has the member {repeated!r} twice: no Redis server loads it. "
            "Leave one of them out."
        )
