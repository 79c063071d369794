"""Sums over keys by the prefixes of their names, as rows and as a picture.

Names such as ``user:17:name`` form a tree: ``user:``, ``user:17:``. It is kept to a depth, and a prefix has at
most so many others below it; what comes after them is summed up as one, so that numbers in names do not
use up the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape as escape_html
from typing import NamedTuple
from zlib import crc32

import attrs

from telstate_rdb.printable import escape

MOST_CHILDREN = 10_000
"""The most prefixes that are kept apart below one; those that come first are."""

WITHOUT_PREFIX = "without prefix"
"""The label of the keys without a separator."""

OTHERS = "others"
"""The label of all prefixes that are not kept apart."""

_WIDTH, _ROW, _MARGIN = 1200, 20, 10  # of a picture, in pixels
_LEAST_WIDTH = 0.5  # of a box that is drawn
_CHARACTER = 7.0  # width
_NO_SEPARATOR, _OTHERS = b"", None


class PrefixSum(NamedTuple):
    """The keys whose names begin alike.

    Parameters
    ----------
    prefix
        The beginning, with its last separator, escaped; or a label in words for keys without
        separator, and for those that are not kept apart.
    keys
        The number of keys.
    size
        Their bytes in the file.
    memory
        The memory that they need.
    """

    prefix: str
    keys: int
    size: int
    memory: int


@attrs.define(eq=False)
class _Node:
    keys: int = 0
    size: int = 0
    memory: int = 0
    children: dict[bytes | None, _Node] = attrs.field(factory=dict)

    def add(self, size: int, memory: int) -> None:
        self.keys += 1
        self.size += size
        self.memory += memory

    def child(self, name: bytes) -> _Node:
        found = self.children.get(name)
        if found is None:
            key = name if len(self.children) < MOST_CHILDREN else _OTHERS
            found = self.children.setdefault(key, _Node())
        return found


class PrefixTree:
    """Sums over keys by prefix.

    Parameters
    ----------
    separator
        What stands between the parts of a name.
    depth
        The number of parts that are kept apart.

    Examples
    --------
    >>> tree = PrefixTree(b":")
    >>> for key in (b"user:1", b"user:2", b"mode"):
    ...     tree.add(key, size=10, memory=100)
    >>> [tuple(row) for row in tree.rows()]
    [('user:', 2, 20, 200), ('without prefix', 1, 10, 100)]
    """

    def __init__(self, separator: bytes, depth: int = 1) -> None:
        self._separator = separator
        self._depth = depth
        self._root = _Node()

    def add(self, key: bytes, size: int, memory: int) -> None:
        """Count a key.

        Parameters
        ----------
        key
            Its name.
        size
            Its bytes in the file.
        memory
            The memory that it needs.
        """
        node = self._root
        node.add(size, memory)
        *parts, _ = key.split(self._separator, self._depth)
        for part in parts or [_NO_SEPARATOR]:
            node = node.child(part + self._separator if parts else part)
            node.add(size, memory)

    def rows(self) -> Iterator[PrefixSum]:
        """Return the sums for all prefixes: each level by memory, and below a prefix those in it."""
        yield from self._rows(self._root, b"")

    def _rows(self, node: _Node, above: bytes) -> Iterator[PrefixSum]:
        for name, child in _by_memory(node):
            yield PrefixSum(_label(above, name), child.keys, child.size, child.memory)
            yield from self._rows(child, above + (name or b""))

    def to_svg(self, title: str) -> str:
        """Draw the memory of all prefixes as a flame graph, from the top down.

        Parameters
        ----------
        title
            The text of the box of all keys.

        Returns
        -------
        str
            A picture in SVG. A box is as wide as the memory of a prefix; pointing at it shows its
            numbers.
        """
        boxes: list[str] = []
        depth = _draw(boxes, self._root, b"", title, 0.0, float(_WIDTH), 0)
        width, height = _WIDTH + 2 * _MARGIN, (depth + 1) * _ROW + 2 * _MARGIN
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="{-_MARGIN} {-_MARGIN} {width} {height}" '
            'font-family="monospace" font-size="11">\n'
            f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="100%" height="100%" fill="#ffffff"/>\n'
            f"{''.join(boxes)}</svg>\n"
        )


def _by_memory(node: _Node) -> list[tuple[bytes | None, _Node]]:
    return sorted(
        node.children.items(), key=lambda item: (item[0] is None, -item[1].memory, item[0] or b"")
    )


def _label(above: bytes, name: bytes | None) -> str:
    if name is None:
        return f"{escape(above)}({OTHERS})" if above else OTHERS
    return escape(above + name) if name else WITHOUT_PREFIX


def _draw(
    boxes: list[str], node: _Node, above: bytes, label: str, x: float, width: float, depth: int
) -> int:
    """Draw a box and those below it; return how deep they go."""
    y = depth * _ROW
    hue = crc32(label.encode()) % 60  # red to yellow
    numbers = f"{label}\n{node.memory:,} bytes of memory, {node.keys:,} keys"
    room = int((width - 6) / _CHARACTER)
    shown = label if len(label) <= room else label[: max(0, room - 2)] + ".." if room > 4 else ""
    boxes.append(
        f"<g><title>{escape_html(numbers)}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" '
        f'fill="hsl({hue},80%,70%)" stroke="#ffffff" stroke-width="0.5"/>'
        f'<text x="{x + 3:.1f}" y="{y + 14}">{escape_html(shown)}</text></g>\n'
    )
    deepest = depth
    for name, child in _by_memory(node):
        share = width * child.memory / node.memory if node.memory else 0.0
        if share >= _LEAST_WIDTH:
            inner = _draw(
                boxes, child, above + (name or b""), _label(above, name), x, share, depth + 1
            )
            deepest = max(deepest, inner)
        x += share
    return deepest
