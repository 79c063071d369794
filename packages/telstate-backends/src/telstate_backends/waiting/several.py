"""Waiting until several keys exist: one wait, one subscription, for all of them.

Rules: as for every wait, see :mod:`telstate_backends.waiting.single`. An update counts as the coming of its
key; before the wait ends the store is asked once more, so that what it gives exists all at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from telstate_backends.operations.reading import WhichExist
from telstate_backends.updates import Update
from telstate_backends.waiting.conditions import name_of
from telstate_backends.waiting.single import Verdict

#: How many missing names a message gives.
_MOST_NAMED = 10


class KeysWait:
    """A wait until all of several names exist, or any of them.

    Parameters
    ----------
    names : iterable of tuple of bytes
        For each name its candidate keys; it exists if one of them does.
    require_all : bool
        Whether all of the names are needed (default), or only one.

    Attributes
    ----------
    found : tuple of bool
        For each name whether it existed when the store was last asked.

    Examples
    --------
    >>> from telstate_backends import KeysWait, MemoryBackend, SetImmutable, wait
    >>> backend = MemoryBackend()
    >>> backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    >>> wanted = KeysWait([(b"beam_n_chans", b"n_chans"), (b"n_pols",)], require_all=False)
    >>> wait(backend, wanted, timeout=5)
    >>> wanted.found
    (True, False)
    """

    def __init__(self, names: Iterable[tuple[bytes, ...]], require_all: bool = True) -> None:
        self._names = tuple(names)
        self._enough = all if require_all else any
        self._joint = " and " if require_all else ", nor "
        self.keys = tuple(dict.fromkeys(key for name in self._names for key in name))
        self._existing: set[bytes] = set()
        self.found = (False,) * len(self._names)
        self.name = self._missing()

    def question(self) -> WhichExist:
        """Ask which of all the keys exist."""
        return WhichExist(self.keys)

    def judge_answer(self, answer: list[bool]) -> bool:
        """Tell whether enough of them exist now."""
        self._existing = {key for key, exists in zip(self.keys, answer, strict=True) if exists}
        self.found = self._look()
        self.name = self._missing()
        return self._enough(self.found)

    def judge_update(self, update: Update) -> Verdict:
        """Take note that a key has come; when it is enough the store is asked."""
        self._existing.add(update.key)
        return Verdict.CHECK if self._enough(self._look()) else Verdict.IGNORE

    def _look(self) -> tuple[bool, ...]:
        return tuple(not self._existing.isdisjoint(name) for name in self._names)

    def _missing(self) -> str:
        names = [
            name_of(name) for name, found in zip(self._names, self.found, strict=True) if not found
        ]
        more = len(names) - _MOST_NAMED
        return self._joint.join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
