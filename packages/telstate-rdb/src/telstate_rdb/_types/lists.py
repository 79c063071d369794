"""Lists: plain or one ziplist before version 7, from then on nodes of about 8 kB.

Rules: nodes are cut where RPUSH of one element after the other would cut them, by the same
estimate of an element's overhead, which is why the estimates look odd.
"""

from __future__ import annotations

from collections.abc import Sequence

from telstate_rdb._bulk.encode_strings import (
    Compress,
    encode_length,
    encode_string,
    encode_strings,
)
from telstate_rdb._packed.common import (
    encode_ziplist,
    join_listpack,
    listpack_entry,
    ziplist_body,
)
from telstate_rdb._types import limits
from telstate_rdb.constants import (
    LISTPACK_HEADER_SIZE,
    QUICKLIST_PACKED,
    QUICKLIST_PLAIN,
    TYPE_LIST,
    TYPE_LIST_QUICKLIST,
    TYPE_LIST_QUICKLIST_2,
    TYPE_LIST_ZIPLIST,
    TYPE_VERSIONS,
    ZIPLIST_BIG_PREVIOUS,
    ZIPLIST_HEADER_SIZE,
)
from telstate_rdb.values import List

_LISTPACK_OVERHEAD = 8  # what Redis 7 reckons an element's header and size to need, at the most
_PLAIN_SIZE = {10: 1 << 30}  # from so many bytes on, an element stands alone; others: a node's


def encode_list(value: List, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Write a list: the type and the bytes."""
    elements = value.elements
    limits.refuse_empty(len(elements), "list")
    if version >= TYPE_VERSIONS[TYPE_LIST_QUICKLIST_2]:
        return TYPE_LIST_QUICKLIST_2, _listpack_nodes(elements, version, compress)
    if version >= TYPE_VERSIONS[TYPE_LIST_QUICKLIST]:
        nodes = _ziplist_nodes(elements)
        return TYPE_LIST_QUICKLIST, encode_length(len(nodes)) + encode_strings(nodes, compress)
    if limits.LIST.allows(len(elements), elements):
        return TYPE_LIST_ZIPLIST, encode_string(encode_ziplist(elements), compress)
    return TYPE_LIST, encode_length(len(elements)) + encode_strings(elements, compress)


def _ziplist_nodes(elements: Sequence[bytes]) -> list[bytes]:
    nodes = []
    node: list[bytes] = []
    size = previous = 0
    for element in elements:
        reckoned = len(element) + _ziplist_overhead(len(element))
        if node and size + reckoned > limits.QUICKLIST_NODE_BYTES:
            nodes.append(encode_ziplist(node))
            node = []
        if not node:
            size, previous = ZIPLIST_HEADER_SIZE + 1, 0
        node.append(element)
        entry = len(ziplist_body(element)) + (1 if previous < ZIPLIST_BIG_PREVIOUS else 5)
        size += entry
        previous = entry
    nodes.append(encode_ziplist(node))
    return nodes


def _ziplist_overhead(size: int) -> int:
    header = 1 if size < 1 << 6 else 2 if size < 1 << 14 else 5
    return header + (1 if size < ZIPLIST_BIG_PREVIOUS else 5)


def _listpack_nodes(elements: Sequence[bytes], version: int, compress: Compress | None) -> bytes:
    plain_above = _PLAIN_SIZE.get(version, limits.QUICKLIST_NODE_BYTES + 1)
    nodes: list[tuple[int, bytes]] = []
    node: list[bytes] = []
    size = 0
    for element in elements:
        plain = len(element) >= plain_above
        reckoned = size + len(element) + _LISTPACK_OVERHEAD
        if node and (plain or reckoned > limits.QUICKLIST_NODE_BYTES):
            nodes.append((QUICKLIST_PACKED, join_listpack(node)))
            node = []
        if plain:
            nodes.append((QUICKLIST_PLAIN, element))
            continue
        if not node:
            size = LISTPACK_HEADER_SIZE + 1
        entry = listpack_entry(element)
        node.append(entry)
        size += len(entry)
    if node:
        nodes.append((QUICKLIST_PACKED, join_listpack(node)))
    parts = [encode_length(len(nodes))]
    for container, content in nodes:
        parts += (encode_length(container), encode_string(content, compress))
    return b"".join(parts)
