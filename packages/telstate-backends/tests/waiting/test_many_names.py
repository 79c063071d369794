"""Waits for many names: an update is judged by its own key, however many names are awaited."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telstate_backends import KeysWait, KeyType, Update
from telstate_backends._wait import Verdict

COUNT = 200


class CountedName(tuple[bytes, ...]):
    """The candidate keys of a name, which count how often they are looked at."""

    looks = 0

    def __iter__(self) -> Iterator[bytes]:
        CountedName.looks += 1
        return super().__iter__()


@pytest.mark.parametrize("require_all", [True, False])
def test_each_update_is_judged_by_its_own_key(require_all: bool) -> None:
    """The names are not searched for each update, and the store is queried when the last has come."""
    names = [CountedName([b"v_%d" % number, b"%d" % number]) for number in range(COUNT)]
    wanted = KeysWait(names, require_all)
    assert not wanted.check_reply([False] * len(wanted.keys))
    CountedName.looks = 0
    verdicts = [
        wanted.check_update(Update(name[number % 2], KeyType.IMMUTABLE, b""))
        for number, name in enumerate(names)
    ]
    assert CountedName.looks == 0
    before_last = Verdict.IGNORE if require_all else Verdict.CHECK
    assert verdicts == [before_last] * (COUNT - 1) + [Verdict.CHECK]


def test_names_that_share_a_key_appear_together() -> None:
    """A key that several names have as a candidate counts for all of them."""
    wanted = KeysWait([(b"a", b"c"), (b"b", b"c"), (b"d",)])
    assert not wanted.check_reply([False] * 4)
    assert wanted.check_update(Update(b"c", KeyType.IMMUTABLE, b"")) is Verdict.IGNORE
    assert wanted.check_update(Update(b"d", KeyType.IMMUTABLE, b"")) is Verdict.CHECK
    assert wanted.check_reply([False, True, False, True])
    assert wanted.found == (True, True, True)
