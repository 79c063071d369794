"""Times relative to samples: ``-1h`` is an hour before the last one, ``+1h`` an hour after the first one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from itertools import chain

import attrs

from telstate_backends import Backend, KeyPreview, Peek
from telstate_codec import Key, decode_timestamp, encode_key

_FORM = re.compile(r"([+-])\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@attrs.frozen
class RelativeTime:
    """A time so many seconds after the first sample, or before the last one (on a server before now)."""

    seconds: float
    is_before: bool

    def resolve(self, backend: Backend, keys: Iterable[Sequence[Key]]) -> float:
        """Return the time in seconds since 1970, relative to the samples of keys.

        Each is the full names that a view tries, of which the first that exists counts.
        """
        if self.is_before and backend.uncached.store is None:
            return max(0.0, time.time() - self.seconds)
        keys = list(keys)
        peeks = [Peek(encode_key(name), 0) for name in chain.from_iterable(keys)]
        found = iter(backend.execute_many(peeks))
        previews = [next(filter(None, [next(found) for _ in names]), None) for names in keys]
        ends = [
            (decode_timestamp(one.first), decode_timestamp(one.last))
            for one in previews
            if isinstance(one, KeyPreview) and one.first is not None and one.last is not None
        ]
        first, last = map(list, zip(*ends)) if ends else ([time.time()],) * 2
        return max(0.0, max(last) - self.seconds) if self.is_before else min(first) + self.seconds


def parse_relative(text: str) -> RelativeTime | None:
    """Return the relative time that a text stands for, or None for any other text.

    Examples
    --------
    >>> parse_relative("-1.5h"), parse_relative("1.5")
    (RelativeTime(seconds=5400.0, is_before=True), None)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return None
    return RelativeTime(float(match[2]) * _SECONDS[match[3]], match[1] == "-")
