"""Samples of a mutable key between two times."""

from __future__ import annotations

from bisect import bisect_left

import attrs

from telstate_backends.commands import Command
from telstate_backends.kinds import KeyType
from telstate_backends.operations.base import (
    Operation,
    as_bytes_list,
    need_kind,
    unexpected,
    wrong_kind,
)
from telstate_backends.store import Samples, Store, kind_of


@attrs.frozen
class GetRange(Operation[list[bytes] | None]):
    """The samples from `start` to before `end`, `None` if none of the keys exists.

    Attributes
    ----------
    keys : tuple of bytes
        Candidate keys, in the order of the view.
    start, end : bytes
        Bounds as :func:`telstate_codec.range_bounds` makes them, compared as bytes with the samples
        (timestamp, then value). Where `end` is not above `start`, nothing lies between them.
    include_previous : bool
        Whether the last sample before `start` comes first, if there is one and it is before `end`
        (as katsdptelstate has it, where `end` is before `start`).
    """

    keys: tuple[bytes, ...]
    start: bytes
    end: bytes
    include_previous: bool = False

    def apply(self, store: Store) -> list[bytes] | None:
        found = store.find(self.keys)
        if found is None:
            return None
        key, samples = found
        if type(samples) is not Samples:
            raise wrong_kind(key, kind_of(samples), KeyType.MUTABLE)
        first = bisect_left(samples, self.start)
        stop = bisect_left(samples, self.end)
        if self.include_previous and first:
            first -= 1
        return samples[first:stop]

    def command(self) -> Command:
        first, behind, before = b"[" + self.start, b"(" + self.end, b"(" + self.start
        together: tuple[Command, ...] = ()
        if len(self.keys) == 1:
            together = Command("TYPE", self.keys), Command(
                "ZRANGEBYLEX", self.keys, (first, behind)
            )
            if self.include_previous:
                last = (before, "-", "LIMIT", 0, 1)
                together += (Command("ZREVRANGEBYLEX", self.keys, last),)
        previous = before if self.include_previous else b""
        arguments = (first, behind, previous)
        return Command("get_range", self.keys, arguments, scripted=True, together=together)

    def _join(self, redis_type: object, samples: object, *before: object) -> object:
        """Make the script's reply of those to the commands that tell the same."""
        if redis_type == b"none":
            return None
        if not isinstance(samples, list):  # of another kind
            return [redis_type, self.keys[0]]
        for sample in as_bytes_list(before[0]) if before else ():
            if sample < self.end:
                samples.insert(0, sample)
        return [redis_type, self.keys[0], samples]

    def parse(self, reply: object) -> list[bytes] | None:
        if isinstance(reply, tuple):
            reply = self._join(*reply)
        if reply is None:
            return None
        (samples,) = need_kind(reply, KeyType.MUTABLE) or unexpected(reply)
        return as_bytes_list(samples)
