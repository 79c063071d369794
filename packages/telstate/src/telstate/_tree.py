"""The tree of keys: one arrangement, drawn with rich or as plain text.

Names are divided at the separator, and a chain without a fork is one branch. Siblings whose names differ only in
a number, and which hold the same, are one line. What stands on a line is shortened from its end, where the value is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from telstate._summaries import KeySummary, natural, pattern_of, time_of
from telstate._view import SEPARATOR
from telstate_codec.printable import escape
from telstate_rdb.extras import require_extra

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.tree import Tree

# From this many similar siblings on, only the first is drawn.
MIN_SIMILAR = 3
# From this depth on, the keys of a branch are listed one below the other.
MAX_DEPTH = 10
# So much room must be left for the value by both times, by the last one, and without times.
_LEAST_VALUES = (18, 0, 0)


def _join_texts(between: str, *texts: str) -> str:
    return between.join(filter(None, texts))


def _times(key: KeySummary) -> tuple[str, ...]:
    """Return the number of samples with both times, with the last one, and without."""
    if key.last is None:
        return (key.extent,)
    joint = "," if key.count == 1 else " to"
    return key.extent, f"{key.counted}{joint} {time_of(key.last)}", key.counted


@attrs.frozen
class Node:
    """A line of the tree, and what is below it; where it stands for several that are alike, each of them."""

    name: str
    key: KeySummary | None = None
    note: str = ""
    children: Sequence[Node] = ()
    alike: Sequence[Node] = ()

    def facts(self, width: int | None) -> str:
        """Return what stands before the value: of the times as much as there is room for."""
        key = self.key
        if key is None:
            return self.note
        forms = [
            _join_texts("  ", _join_texts(", ", self.note, times), key.shown_type)
            for times in _times(key)
        ]
        if width is None:
            return forms[0]
        room = width - len(self.name) - 2
        fitting = (form for form, least in zip(forms, _LEAST_VALUES) if len(form) + least <= room)
        return next(fitting, forms[-1])

    def pieces(self, width: int | None) -> tuple[str, str, str]:
        """Return the name, the facts and the value, shortened from the end to `width` characters in all."""
        value = "" if self.key is None else escape(self.key.value)
        pieces = [escape(self.name), self.facts(width), value]
        if width is not None:
            room = width
            for number, piece in enumerate(pieces):
                room -= 2 * (number > 0 and bool(piece))
                if len(piece) > room:
                    pieces[number] = piece[: room - 1] + "…" if room > 1 else ""
                room -= len(pieces[number])
        return pieces[0], pieces[1], pieces[2]


def key_tree(
    summaries: Iterable[KeySummary],
    title: str,
    *,
    depth: int | None = None,
    limit: int | None = None,
) -> Tree:
    """Draw keys as a tree; needs the extra ``cli``.

    Names are divided at the separator, and a chain without a fork is one branch. Siblings that differ in a
    number only, and hold the same kinds of keys (the antennas of an array), are one line with the first and
    the last of them, under which is what the first holds. Lines are cut to the width of the console; the value
    comes last.

    Parameters
    ----------
    summaries
        The keys, from `summarise`.
    title
        The text at the root of the tree.
    depth
        How many levels are drawn. Default: all.
    limit
        How many lines are drawn below the title. Default: all.

    Returns
    -------
    tree : rich.tree.Tree
        The tree, to be printed by a `rich.console.Console`.

    Raises
    ------
    ImportError
        If rich is not installed; `key_tree_text` works without it.
    """
    require_extra("telstate", "cli", "key_tree, unlike key_tree_text, needs", "rich")
    from rich import text, tree

    @attrs.frozen
    class Label:
        """A line, which is shortened to the width of the console when it is printed."""

        node: Node

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            name, facts, value = self.node.pieces(options.max_width)
            line = text.Text(name, "cyan" if self.node.key else "bold", no_wrap=True, end="")
            if facts:
                line.append("  ").append(facts, "green" if self.node.key else "dim")
            yield line.append(f"  {value}") if value else line

    def add(nodes: Iterable[Node], branch: Tree) -> None:
        for node in nodes:
            add(node.children, branch.add(Label(node)))

    root = tree.Tree(text.Text(escape(title), style="bold"), guide_style="dim")
    add(arrange(summaries, depth, limit), root)
    return root


def key_tree_text(
    summaries: Iterable[KeySummary],
    title: str,
    *,
    depth: int | None = None,
    limit: int | None = None,
    width: int | None = None,
) -> str:
    """Return keys drawn as `key_tree` does, as plain text.

    Parameters
    ----------
    summaries, title, depth, limit
        As for `key_tree`.
    width
        The number of characters to which lines are cut. Default: they are not cut.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> from telstate.overview import summarise
    >>> ts = TelescopeState()
    >>> ts["l0_n_chans"], ts["l0_bandwidth"] = 4096, 856e6
    >>> for number in range(64):
    ...     ts.add(f"m{number:03}_target", "J1939-6342", ts=60)
    >>> print(key_tree_text(summarise(ts), "all"))
    all
    ├── l0
    │   ├── bandwidth  856000000.0
    │   └── n_chans  4096
    └── m000_target ... m063_target  64 alike, 1 sample, 1970-01-01 00:01:00  'J1939-6342'
    """
    lines = [escape(title)]
    for guide, node in walk(arrange(summaries, depth, limit)):
        pieces = node.pieces(None if width is None else max(1, width - len(guide)))
        lines.append(guide + "  ".join(filter(None, pieces)))
    return "\n".join(lines)


def walk(nodes: Sequence[Node], indent: str = "") -> Iterator[tuple[str, Node]]:
    """Return the lines of a tree: what stands before each, and its node."""
    for number, node in enumerate(nodes, 1):
        is_last = number == len(nodes)
        yield indent + ("└── " if is_last else "├── "), node
        yield from walk(node.children, indent + ("    " if is_last else "│   "))


@attrs.define
class _Branch:
    """A part of a name, the key that ends there (if any), and the parts that follow."""

    key: KeySummary | None = None
    below: dict[str, _Branch] = attrs.Factory(dict)
    #: The same for branches that have in common the names and kinds of the keys below.
    shape: int = 0
    #: The number of keys here and below.
    size: int = 0


def arrange(
    summaries: Iterable[KeySummary],
    depth: int | None = None,
    limit: int | None = None,
    advice: str = "raise the limit, or choose a depth or keys",
    expand: bool = False,
) -> list[Node]:
    """Arrange keys as a tree, to a depth, and of a number of lines with advice on how to see more.

    With `expand`, a node for several that are alike has all of them as `Node.alike`.
    """
    root = _Branch()
    branches = []
    for summary in sorted(summaries, key=lambda summary: natural(summary.name)):
        branch = root
        for part in summary.name.split(SEPARATOR):
            branch.size += 1
            if part not in branch.below:
                branch.below[part] = _Branch()
                branches.append(branch.below[part])
            branch = branch.below[part]
        branch.size += 1
        branch.key = summary
    # Without recursion, because a name may have any number of parts: the innermost come last.
    shapes: dict[object, int] = {}
    for branch in reversed(branches):
        kind = None if branch.key is None else branch.key.kind
        below = tuple((part, one.shape) for part, one in branch.below.items())
        branch.shape = shapes.setdefault((kind, below), len(shapes))
    nodes = list(_nodes_below(root, 1, depth, expand))
    return nodes if limit is None else _shorten(nodes, limit, advice)


def _shorten(nodes: Sequence[Node], limit: int, advice: str) -> list[Node]:
    """Return the first lines of a tree, and a note about the others."""
    lines = sum(1 for _ in walk(nodes))
    if lines <= limit:
        return list(nodes)
    left = limit

    def take(some: Sequence[Node]) -> list[Node]:
        nonlocal left
        taken = []
        for node in some:
            if left == 0:
                break
            left -= 1
            taken.append(attrs.evolve(node, children=take(node.children)))
        return taken

    more = lines - limit
    note = f"{more:,} more line{'s' * (more > 1)}: {advice}"
    return [*take(nodes), Node("...", note=note)]


def _nodes_below(branch: _Branch, level: int, depth: int | None, expand: bool) -> Iterator[Node]:
    groups: dict[object, list[tuple[str, _Branch]]] = {}
    for part, below in branch.below.items():
        name, below = _join(part, below)
        pattern = pattern_of(name)
        type_ = below.key.type if below.key is not None and not below.below else ""
        alike = (pattern, below.shape, type_) if pattern != name else name
        groups.setdefault(alike, []).append((name, below))
    for group in groups.values():
        if len(group) < MIN_SIMILAR:
            for name, below in group:
                yield from _draw(name, below, level, depth, expand)
            continue
        name, below = group[0]
        label, note = f"{name} ... {group[-1][0]}", f"{len(group):,} alike"
        if expand:
            members = [node for one in group for node in _draw(*one, level, depth, expand)]
            yield Node(label, None, note, (), members)
        else:
            yield from _draw(label, below, level, depth, expand, note)


def _draw(
    name: str, branch: _Branch, level: int, depth: int | None, expand: bool, note: str = ""
) -> Iterator[Node]:
    """Draw a branch, and what is below it down to a depth."""
    if level == MAX_DEPTH:
        yield from _list_keys(name, branch)
        return
    children: list[Node] = []
    if depth is None or level < depth:
        children = list(_nodes_below(branch, level + 1, depth, expand))
    elif branch.below:
        hidden = branch.size - (branch.key is not None)
        below = f"{hidden:,} keys" if hidden > 1 else "1 key"
        note = ", ".join(filter(None, (note, f"{below} below" if branch.key else below)))
    yield Node(name, branch.key, note, children)


def _list_keys(name: str, branch: _Branch) -> Iterator[Node]:
    """List the keys of a branch one below the other."""
    todo = [(name, branch)]
    while todo:
        name, branch = _join(*todo.pop())
        if branch.key is not None:
            yield Node(name, branch.key)
        below = [(f"{name}{SEPARATOR}{part}", one) for part, one in branch.below.items()]
        todo += reversed(below)


def _join(name: str, branch: _Branch) -> tuple[str, _Branch]:
    """Join a chain without a fork into one branch."""
    parts = [name]
    while branch.key is None and len(branch.below) == 1:
        ((part, branch),) = branch.below.items()
        parts.append(part)
    return SEPARATOR.join(parts), branch
