"""What each key of a store holds, in a line, for people.

Rules: the cost of a summary is bounded, however long the values are: only the beginning of each is
asked for, and what cannot be told from that is told by type and size. Nothing is shown that the policy on
pickles refuses.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import attrs

from telstate_backends import Glimpse, Keys, KeyType, Peek
from telstate_codec import DecodeError, decode_key, decode_timestamp, decode_value, encode_key
from telstate_codec.previews import preview_value

if TYPE_CHECKING:
    from telstate.telescope_state import TelescopeState

# How many keys are asked for at once.
BATCH = 100
# How many bytes of a value are looked at.
LOOKED_AT = 1 << 14
# How many characters of one are shown.
LONGEST = 200

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxtuple = _short.maxdict = 4
_short.maxlevel = 3


@attrs.frozen
class KeySummary:
    """A key in a line.

    Attributes
    ----------
    name : str
        Its full name.
    kind : KeyType
        What kind of key it is.
    value : str
        The value (of a sensor, the latest), in a few words.
    count : int
        How many samples or sub-keys it has; 1 for an immutable.
    first, last : float or None
        Times of the first and the last sample, in seconds since 1970.
    """

    name: str
    kind: KeyType
    value: str
    count: int = 1
    first: float | None = None
    last: float | None = None

    @property
    def extent(self) -> str:
        """How many samples or sub-keys there are, and from when to when; empty for an immutable."""
        if self.kind is KeyType.INDEXED:
            return "1 sub-key, " if self.count == 1 else f"{self.count} sub-keys, such as "
        if self.kind is KeyType.IMMUTABLE:
            return ""
        samples = "1 sample, " if self.count == 1 else f"{self.count} samples, "
        if self.first is None or self.last is None:
            return samples
        if self.count == 1:
            return f"{samples}{time_of(self.first)}, "
        return f"{samples}{time_of(self.first)} to {time_of(self.last)}, latest "


def summarise(ts: TelescopeState, filter: str = "*") -> list[KeySummary]:
    """Summarise all keys of a store, in every namespace, that match a glob, sorted by name."""
    keys = ts.backend.execute(Keys(encode_key(filter)))
    summaries = []
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        summaries += summaries_of(batch, ts.backend.execute_many(peeks(batch)))
    return summaries


def peeks(keys: Iterable[bytes]) -> list[Peek]:
    """Give what to ask for in order to summarise keys."""
    return [Peek(key, LOOKED_AT) for key in keys]


def summaries_of(keys: Sequence[bytes], glimpses: Iterable[object]) -> list[KeySummary]:
    """Summarise keys by what was seen of them; what is gone or is not telstate's is left out."""
    return [
        _summary(decode_key(key), glimpse)
        for key, glimpse in zip(keys, glimpses)
        if isinstance(glimpse, Glimpse)
    ]


def _summary(name: str, seen: Glimpse) -> KeySummary:
    value = describe(seen.head, seen.size)
    if seen.kind is KeyType.INDEXED:
        value = f"[{describe(seen.sub_key)}] = {value}"
    if seen.first is None or seen.last is None:
        return KeySummary(name, seen.kind, value, seen.count)
    try:
        first, last = decode_timestamp(seen.first), decode_timestamp(seen.last)
    except DecodeError as error:  # Summaries are for odd stores too.
        return KeySummary(name, seen.kind, f"({error})", seen.count)
    return KeySummary(name, seen.kind, value, seen.count, first, last)


def describe(encoded: bytes, size: int | None = None) -> str:
    """Describe an encoded value in a few words, whatever it is.

    Parameters
    ----------
    encoded
        The value, or its beginning.
    size
        How many bytes there are in all (default: no more than those).

    Examples
    --------
    >>> from telstate_codec import encode_value
    >>> describe(encode_value([1, 2]))
    '[1, 2]'
    >>> describe(encode_value(list(range(1000)))[:20], 2746)
    'list, 2,746 bytes'
    """
    if size is not None and size > len(encoded):
        text = preview_value(encoded) if encoded else "long value"
        return text[:LONGEST] if "array, shape" in text else f"{text}, {size:,} bytes"
    try:
        value = decode_value(encoded)
        shape = getattr(value, "shape", ())
        text = f"{value.dtype} array, shape {shape}" if shape else _short.repr(value)
    except DecodeError:
        return f"({len(encoded)} bytes that are not shown: a pickle, or no value)"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def time_of(timestamp: float) -> str:
    """Write a time of day in UTC, with the date."""
    try:
        moment = datetime.fromtimestamp(timestamp, timezone.utc)
    except (OverflowError, ValueError, OSError):  # A time far off is no reason to show nothing.
        return f"{timestamp} s"
    return moment.strftime("%Y-%m-%d %H:%M:%S")
