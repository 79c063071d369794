"""What is in a telescope state, for people: a tree of keys with kinds, values and sample counts.

Two steps, each usable by itself: `summarise` asks the store, in few round trips, and gives plain
records (both are in `telstate.summaries`); `key_tree` draws them. Names are cut at the separator; a chain
without a fork is one branch; and branches that are alike (the antennas of an array) are drawn once, the
others named.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich.text import Text
from rich.tree import Tree

from telstate.summaries import KeySummary, describe, summarise, time_of
from telstate.views import SEPARATOR

__all__ = ["KeySummary", "describe", "key_tree", "summarise", "time_of"]

# From how many alike branches on only the first is drawn.
ALIKE = 3


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
    line.append(key.extent, style="green")
    line.append(key.value)
    return line
