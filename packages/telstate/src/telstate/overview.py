"""What is in a telescope state, for people: a tree of keys with kinds, values and sample counts.

Two steps, each usable by itself: `summarise` asks the store, in few round trips, and gives plain
records; `key_tree` draws them. Names are cut at the separator; a chain without a fork is one branch; and
branches that are alike (the antennas of an array) are drawn once, the others named.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from datetime import datetime, timezone
from itertools import groupby
from typing import Any

import attrs
from rich.text import Text
from rich.tree import Tree

from telstate.telescope_state import TelescopeState
from telstate.views import SEPARATOR
from telstate_backends import Fields, Immutable, KeyType, Samples
from telstate_backends.operations import Export, Keys
from telstate_codec import DecodeError, decode_key, decode_sample, decode_value, encode_key

# How many keys are asked for at once.
BATCH = 100
# From how many alike branches on only the first is drawn.
ALIKE = 3

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


def summarise(ts: TelescopeState, filter: str = "*") -> list[KeySummary]:
    """Summarise all keys of a store, in every namespace, that match a glob, sorted by name."""
    keys = ts.backend.execute(Keys(encode_key(filter)))
    summaries = []
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        for key, stored in zip(batch, ts.backend.execute_many([Export(key) for key in batch])):
            if isinstance(stored, (Immutable, Samples, Fields)):
                summaries.append(_summary(decode_key(key), stored))
    return summaries


def _summary(name: str, stored: Immutable | Samples | Fields) -> KeySummary:
    if isinstance(stored, Immutable):
        return KeySummary(name, KeyType.IMMUTABLE, describe(stored.value))
    if isinstance(stored, Fields):
        sub_key = next(iter(stored))
        value = f"[{describe(sub_key)}] = {describe(stored[sub_key])}"
        return KeySummary(name, KeyType.INDEXED, value, len(stored))
    try:
        first, _ = decode_sample(stored[0])
        last, value_bytes = decode_sample(stored[-1])
    except DecodeError as error:  # Overviews are for odd files too.
        return KeySummary(name, KeyType.MUTABLE, f"({error})", len(stored))
    return KeySummary(name, KeyType.MUTABLE, describe(value_bytes), len(stored), first, last)


def describe(encoded: bytes) -> str:
    """Describe an encoded value in a few words, whatever it is."""
    try:
        value = decode_value(encoded)
    except DecodeError:
        return f"({len(encoded)} bytes that are not shown: a pickle, or no value)"
    shape = getattr(value, "shape", ())
    if shape:
        return f"{value.dtype} array, shape {shape}"
    return " ".join(_short.repr(value).split())


def time_of(timestamp: float) -> str:
    """Write a time of day in UTC, with the date."""
    try:
        moment = datetime.fromtimestamp(timestamp, timezone.utc)
    except (OverflowError, ValueError, OSError):  # A time far off is no reason to show nothing.
        return f"{timestamp} s"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


class Branch:
    """A part of a name, the key that ends there (if any), and what comes after it."""

    def __init__(self) -> None:
        self.key: KeySummary | None = None
        self.below: dict[str, Branch] = {}

    def put(self, parts: list[str], key: KeySummary) -> None:
        """Put a key where its name says."""
        branch = self
        for part in parts:
            branch = branch.below.setdefault(part, Branch())
        branch.key = key

    def folded(self, name: str) -> tuple[str, Branch]:
        """Join a chain without a fork into one branch."""
        branch = self
        while branch.key is None and len(branch.below) == 1:
            ((part, branch),) = branch.below.items()
            name = f"{name}{SEPARATOR}{part}"
        return name, branch

    @property
    def shape(self) -> tuple[Any, ...]:
        """What makes branches alike: names below, and kinds."""
        kind = None if self.key is None else self.key.kind
        return kind, tuple((part, branch.shape) for part, branch in self.below.items())


def key_tree(summaries: Iterable[KeySummary], title: str) -> Tree:
    """Draw keys as a tree."""
    root = Branch()
    for summary in summaries:
        root.put(summary.name.split(SEPARATOR), summary)
    tree = Tree(Text(title, style="bold"), guide_style="dim")
    _draw(root, tree)
    return tree


def _draw(branch: Branch, tree: Tree) -> None:
    folded = [below.folded(part) for part, below in branch.below.items()]
    for _, run in groupby(folded, key=lambda pair: pair[1].shape if pair[1].below else id(pair)):
        alike = list(run)
        shown = alike if len(alike) < ALIKE else alike[:1]
        for name, below in shown:
            _draw(below, tree.add(_line(name, below)))
        if len(shown) < len(alike):
            names = ", ".join(name for name, _ in alike[1:])
            tree.add(Text(f"{len(alike) - 1} more like {alike[0][0]}: {names}", style="dim"))


def _line(name: str, branch: Branch) -> Text:
    key = branch.key
    if key is None:
        return Text(name, style="bold")
    line = Text.assemble((name, "cyan"), "  ", (key.kind.name.lower(), "magenta"), "  ")
    if key.first is not None and key.last is not None:
        if key.count == 1:
            span = f"1 sample, {time_of(key.first)}, "
        else:
            span = f"{key.count} samples, {time_of(key.first)} to {time_of(key.last)}, latest "
        line.append(span, style="green")
    elif key.kind is KeyType.INDEXED:
        sub_keys = "1 sub-key, " if key.count == 1 else f"{key.count} sub-keys, such as "
        line.append(sub_keys, style="green")
    line.append(key.value)
    return line
