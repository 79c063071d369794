"""What is in a telescope state, for people: summaries of keys, and a tree of them.

`summarise` asks the store, in few round trips, and returns plain records; `key_tree` draws them with
rich, `key_tree_text` as plain text. The cost of a summary is bounded however long the values are: only the
beginning of each is read, and a longer value is described by type and size. Pickles are only decoded as
the policy of the process allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import attrs

from telstate._view import SEPARATOR
from telstate_backends import Backend, KeyPreview, Keys, KeyType, Peek
from telstate_codec import DecodeError, decode_key, decode_timestamp, decode_value, encode_key
from telstate_codec.previews import preview_value
from telstate_codec.printable import BoundedRepr, escape

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["KeySummary", "describe", "key_tree", "key_tree_text", "summarise", "time_of"]

# How many keys are requested at once.
BATCH = 100
# How many bytes of a value are read, and how many characters of its description are shown.
PREVIEW_BYTES = 1 << 14
MAX_LENGTH = 200
# From this many similar branches on, only the first is drawn.
MIN_SIMILAR = 3

# From this depth on, the keys of a branch are listed one below the other.
MAX_DEPTH = 10

_short = BoundedRepr(max_length=60, max_items=4, max_level=3)


class HasBackend(Protocol):
    """A synchronous telescope state, as far as summaries need it."""

    @property
    def backend(self) -> Backend: ...


@attrs.frozen
class KeySummary:
    """A key and what it holds, on one line.

    Attributes
    ----------
    name : str
        The full name.
    kind : KeyType
        The kind of the key.
    value : str
        The value (of a mutable key, the latest) in a few words.
    count : int
        The number of samples or sub-keys; 1 for an immutable.
    first, last : float or None
        The times of the first and the last sample, in seconds since 1970.
    """

    name: str
    kind: KeyType
    value: str
    count: int = 1
    first: float | None = None
    last: float | None = None

    @property
    def extent(self) -> str:
        """The number of samples or sub-keys, and their times; empty for an immutable."""
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


def summarise(ts: HasBackend, filter: str = "*") -> list[KeySummary]:
    """Summarise the keys of a store that match a glob, in every namespace, sorted by name.

    Parameters
    ----------
    ts
        A synchronous telescope state, of any view.
    filter
        A Redis glob of full names. Default: all keys.
    """
    keys = ts.backend.execute(Keys(encode_key(filter)))
    summaries = []
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        summaries += summaries_of(batch, ts.backend.execute_many(peek_at(batch)))
    return summaries


def peek_at(keys: Iterable[bytes]) -> list[Peek]:
    """Return the operations that read what `summaries_of` needs."""
    return [Peek(key, PREVIEW_BYTES) for key in keys]


def summaries_of(keys: Sequence[bytes], key_previews: Iterable[object]) -> list[KeySummary]:
    """Summarise keys by the results of `peek_at`; keys that are gone or foreign are left out."""
    return [
        _summarise_key(decode_key(key), key_preview)
        for key, key_preview in zip(keys, key_previews)
        if isinstance(key_preview, KeyPreview)
    ]


def _summarise_key(name: str, seen: KeyPreview) -> KeySummary:
    value = describe(seen.head, seen.size)
    if seen.kind is KeyType.INDEXED:
        value = f"[{describe(seen.sub_key)}] = {value}"
    if seen.first is None or seen.last is None:
        return KeySummary(name, seen.kind, value, seen.count)
    try:
        first, last = decode_timestamp(seen.first), decode_timestamp(seen.last)
    except DecodeError as error:  # a summary must not fail on a corrupt store
        return KeySummary(name, seen.kind, f"({error})", seen.count)
    return KeySummary(name, seen.kind, value, seen.count, first, last)


def describe(encoded: bytes, size: int | None = None) -> str:
    """Describe an encoded value in a few words; never raises.

    Parameters
    ----------
    encoded
        The value, or its beginning.
    size
        The size of the whole value in bytes. Default: that of `encoded`.

    Examples
    --------
    >>> from telstate_codec import encode_value
    >>> describe(encode_value([1, 2]))
    '[1, 2]'
    >>> describe(encode_value(list(range(1000)))[:20], 2746)
    'list, 2,746 bytes'
    """
    if size is not None and size > len(encoded):
        text = escape(preview_value(encoded)) if encoded else "long value"
        return text[:MAX_LENGTH] if "array, shape" in text else f"{text}, {size:,} bytes"
    try:
        value = decode_value(encoded)
        shape = getattr(value, "shape", ())
        text = f"{value.dtype} array, shape {shape}" if shape else _short.repr(value)
    except DecodeError:
        return f"({len(encoded)} bytes, not shown: a pickle, or not an encoded value)"
    text = escape(" ".join(text.split()))
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."


def time_of(timestamp: float) -> str:
    """Format a time in seconds since 1970 as date and time in UTC."""
    try:
        moment = datetime.fromtimestamp(timestamp, timezone.utc)
    except (OverflowError, ValueError, OSError):  # outside the years of datetime
        return f"{timestamp} s"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def key_tree(summaries: Iterable[KeySummary], title: str) -> Tree:
    """Draw keys as a tree; needs the extra ``cli``.

    Names are divided at the separator, a chain without a fork is one branch, and of similar branches
    (the antennas of an array) only the first is drawn.

    Parameters
    ----------
    summaries
        The keys, from `summarise`.
    title
        The text at the root of the tree.

    Returns
    -------
    tree : rich.tree.Tree
        The tree, to be printed by a `rich.console.Console`.

    Raises
    ------
    ImportError
        If rich is not installed; `key_tree_text` works without it.
    """
    try:
        from rich import text, tree
    except ImportError as error:
        raise ImportError(
            "key_tree needs rich, which is not installed: pip install 'telstate[cli]'. "
            "key_tree_text draws the tree without it.",
            name="rich",
        ) from error

    def label(node: _Node) -> text.Text:
        if node.is_note:
            return text.Text(node.name, style="dim")
        if node.key is None:
            return text.Text(node.name, style="bold")
        line = text.Text.assemble(
            (node.name, "cyan"), "  ", (node.key.kind.name.lower(), "magenta"), "  "
        )
        line.append(node.key.extent, style="green")
        line.append(escape(node.key.value))
        return line

    def add(nodes: Iterable[_Node], branch: Tree) -> None:
        for node in nodes:
            add(node.children, branch.add(label(node)))

    root = tree.Tree(text.Text(escape(title), style="bold"), guide_style="dim")
    add(_arrange(summaries), root)
    return root


def key_tree_text(summaries: Iterable[KeySummary], title: str) -> str:
    """Draw keys as `key_tree` does, as plain text, one line for each branch.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> ts["l0_n_chans"], ts["l0_bandwidth"] = 4096, 856e6
    >>> print(key_tree_text(summarise(ts), "all"))
    all
    └── l0
        ├── bandwidth  immutable  856000000.0
        └── n_chans  immutable  4096
    """
    return "\n".join([escape(title), *_lines(_arrange(summaries), "")])


def _lines(nodes: Sequence[_Node], indent: str) -> Iterator[str]:
    for number, node in enumerate(nodes, 1):
        is_last = number == len(nodes)
        text = node.name
        if node.key is not None:
            text += f"  {node.key.kind.name.lower()}  {node.key.extent}{escape(node.key.value)}"
        yield f"{indent}{'└── ' if is_last else '├── '}{text}"
        yield from _lines(node.children, indent + ("    " if is_last else "│   "))


@attrs.frozen
class _Node:
    """A line of the tree, and what is below it."""

    name: str
    key: KeySummary | None = None
    children: Sequence[_Node] = ()
    is_note: bool = False


@attrs.define
class _Branch:
    """A part of a name, the key that ends there (if any), and the parts that follow."""

    key: KeySummary | None = None
    below: dict[str, _Branch] = attrs.Factory(dict)
    #: The same for branches that have in common the names and kinds of the keys below.
    shape: int = 0


def _arrange(summaries: Iterable[KeySummary]) -> list[_Node]:
    """Arrange keys as a tree."""
    root = _Branch()
    branches = []
    for summary in summaries:
        branch = root
        for part in escape(summary.name).split(SEPARATOR):
            if part not in branch.below:
                branch.below[part] = _Branch()
                branches.append(branch.below[part])
            branch = branch.below[part]
        branch.key = summary
    # Without recursion, because a name may have any number of parts: the innermost come last.
    shapes: dict[object, int] = {}
    for branch in reversed(branches):
        kind = None if branch.key is None else branch.key.kind
        below = tuple((part, one.shape) for part, one in branch.below.items())
        branch.shape = shapes.setdefault((kind, below), len(shapes))
    return list(_nodes_below(root, 1))


def _nodes_below(branch: _Branch, depth: int) -> Iterator[_Node]:
    folded = [_fold(part, below) for part, below in branch.below.items()]
    for _, run in groupby(folded, key=lambda pair: pair[1].shape if pair[1].below else id(pair)):
        similar = list(run)
        shown = similar if len(similar) < MIN_SIMILAR else similar[:1]
        for name, below in shown:
            if depth < MAX_DEPTH:
                yield _Node(name, below.key, list(_nodes_below(below, depth + 1)))
            else:
                yield from _list_keys(name, below)
        if len(shown) < len(similar):
            names = ", ".join(name for name, _ in similar[1:])
            yield _Node(
                f"{len(similar) - 1} more like {similar[0][0]}: {names}", None, (), is_note=True
            )


def _list_keys(name: str, branch: _Branch) -> Iterator[_Node]:
    """List the keys of a branch one below the other."""
    todo = [(name, branch)]
    while todo:
        name, branch = _fold(*todo.pop())
        if branch.key is not None:
            yield _Node(name, branch.key)
        below = [(f"{name}{SEPARATOR}{part}", one) for part, one in branch.below.items()]
        todo += reversed(below)


def _fold(name: str, branch: _Branch) -> tuple[str, _Branch]:
    """Join a chain without a fork into one branch."""
    parts = [name]
    while branch.key is None and len(branch.below) == 1:
        ((part, branch),) = branch.below.items()
        parts.append(part)
    return SEPARATOR.join(parts), branch
