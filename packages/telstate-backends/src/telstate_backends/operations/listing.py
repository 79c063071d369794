"""All keys that match a glob, in every namespace, read a page at a time.

A listing is not atomic: a key that was there all the time is listed once, one that came or went
while it ran may be listed or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from telstate_backends.commands import Command
from telstate_backends.kinds import REDIS_TYPES, KeyType
from telstate_backends.operations.base import Operation, as_bytes_list, as_list, as_pairs
from telstate_backends.store import Store, kind_of
from telstate_rdb.globs import Glob

#: Keys looked at in one go: about a millisecond of the server's time.
PAGE_SIZE = 2000


@attrs.frozen
class Keys(Operation[list[bytes]]):
    """The full keys that match, sorted as bytes.

    Attributes
    ----------
    pattern : bytes
        A Redis glob.
    """

    everywhere: ClassVar[bool] = True

    pattern: bytes = b"*"

    def apply(self, store: Store) -> list[bytes]:
        return sorted(filter(Glob(self.pattern).matches, store.data))

    def command(self) -> Command:
        return Command("SCAN", (), (0, "MATCH", self.pattern, "COUNT", PAGE_SIZE), paged=True)

    def parse(self, reply: object) -> list[bytes]:
        return sorted({key for page in as_list(reply) for key in as_bytes_list(page)})

    def merge(self, replies: Sequence[object]) -> object:
        return [page for pages in replies for page in as_list(pages)]


@attrs.frozen
class KeyTypes(Operation[dict[bytes, KeyType]]):
    """The full keys that match, sorted as bytes, with their kinds; foreign keys are left out.

    Attributes
    ----------
    pattern : bytes
        A Redis glob.
    """

    everywhere: ClassVar[bool] = True

    pattern: bytes = b"*"

    def apply(self, store: Store) -> dict[bytes, KeyType]:
        matches = Glob(self.pattern).matches
        return {key: kind_of(store.data[key]) for key in sorted(filter(matches, store.data))}

    def command(self) -> Command:
        return Command("key_types", (), (0, self.pattern, PAGE_SIZE), scripted=True, paged=True)

    def parse(self, reply: object) -> dict[bytes, KeyType]:
        found: dict[bytes, bytes] = {}
        for page in as_list(reply):
            found.update(as_pairs(page))
        return {key: REDIS_TYPES[found[key]] for key in sorted(found) if found[key] in REDIS_TYPES}

    def merge(self, replies: Sequence[object]) -> object:
        return [page for pages in replies for page in as_list(pages)]
