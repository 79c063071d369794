"""Lists: plain or one ziplist before version 7, from then on nodes of about 8 kB (a *quicklist*).

Nodes are cut where RPUSH of one element after the other would cut them, by the server's own estimate of
the overhead of an element, which is why the estimates look odd.
"""

from __future__ import annotations

from collections.abc import Sequence

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_length, encode_string, encode_strings
from telstate_rdb._bulk.read import read_strings
from telstate_rdb._packed.listpack import decode_listpack, encode_listpack_entry, join_listpack
from telstate_rdb._packed.ziplist import decode_ziplist, encode_ziplist, encode_ziplist_body
from telstate_rdb._source import Source
from telstate_rdb._types.limits import PackingLimit, check_not_empty
from telstate_rdb.lzf import Compress
from telstate_rdb.values import List

_LIMIT = PackingLimit(512, 64)  # list-max-ziplist-entries, -value: before version 7
_NODE_BYTES = 8192  # list-max-ziplist-size -2
_LISTPACK_OVERHEAD = 8  # the most that Redis 7 expects the header and size of an element to need
# From this size on an element is a node by itself: 1 GiB in version 10, later the size of a node.
_PLAIN_SIZE = {10: 1 << 30}


def read_list(source: Source) -> List:
    """Read a table of elements (type 1)."""
    return List(tuple(read_strings(source, source.read_length())))


def decode_list_ziplist(data: bytes) -> List:
    """Decode a list that is one ziplist (type 10)."""
    return List(tuple(decode_ziplist(data)))


def read_quicklist(source: Source) -> List:
    """Read a list of ziplists (type 14)."""
    elements: list[bytes] = []
    nodes = source.read_length()
    source.expect(nodes)
    for _ in range(nodes):
        elements += decode_ziplist(source.read_string())
    return List(tuple(elements))


def read_quicklist_2(source: Source) -> List:
    """Read a list of listpacks and single elements (type 18)."""
    elements: list[bytes] = []
    nodes = source.read_length()
    source.expect(2 * nodes)
    for _ in range(nodes):
        container = source.read_length()
        if container == c.QUICKLIST_PACKED:
            elements += decode_listpack(source.read_string())
        elif container == c.QUICKLIST_PLAIN:
            elements.append(source.read_string())
        else:
            raise source.error(f"a list has a node of the unknown form {container}")
    return List(tuple(elements))


def skip_quicklist_2(source: Source) -> None:
    """Skip a list of listpacks and single elements (type 18)."""
    for _ in range(source.read_length()):
        source.read_length()
        source.skip_string()


def check_list(value: List) -> None:
    """Raise an error for a list that no server loads."""
    check_not_empty(len(value.elements), "list")


def encode_list(value: List, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Encode a list; return its type and bytes."""
    check_list(value)
    elements = value.elements
    if version >= c.TYPE_VERSIONS[c.TYPE_LIST_QUICKLIST_2]:
        return c.TYPE_LIST_QUICKLIST_2, _encode_listpack_nodes(elements, version, compress)
    if version >= c.TYPE_VERSIONS[c.TYPE_LIST_QUICKLIST]:
        nodes = _encode_ziplist_nodes(elements)
        return c.TYPE_LIST_QUICKLIST, encode_length(len(nodes)) + encode_strings(nodes, compress)
    if _LIMIT.allows(len(elements), elements):
        return c.TYPE_LIST_ZIPLIST, encode_string(encode_ziplist(elements), compress)
    return c.TYPE_LIST, encode_length(len(elements)) + encode_strings(elements, compress)


def _encode_ziplist_nodes(elements: Sequence[bytes]) -> list[bytes]:
    nodes = []
    node: list[bytes] = []
    size = previous = 0
    for element in elements:
        estimate = len(element) + _estimate_ziplist_overhead(len(element))
        if node and size + estimate > _NODE_BYTES:
            nodes.append(encode_ziplist(node))
            node = []
        if not node:
            size, previous = c.ZIPLIST_HEADER_SIZE + 1, 0
        node.append(element)
        previous = len(encode_ziplist_body(element)) + (
            1 if previous < c.ZIPLIST_BIG_PREVIOUS else 5
        )
        size += previous
    nodes.append(encode_ziplist(node))
    return nodes


def _estimate_ziplist_overhead(size: int) -> int:
    header = 1 if size < 1 << 6 else 2 if size < 1 << 14 else 5
    return header + (1 if size < c.ZIPLIST_BIG_PREVIOUS else 5)


def _encode_listpack_nodes(
    elements: Sequence[bytes], version: int, compress: Compress | None
) -> bytes:
    plain_size = _PLAIN_SIZE.get(version, _NODE_BYTES + 1)
    nodes: list[tuple[int, bytes]] = []
    node: list[bytes] = []
    size = 0
    for element in elements:
        is_plain = len(element) >= plain_size
        if node and (is_plain or size + len(element) + _LISTPACK_OVERHEAD > _NODE_BYTES):
            nodes.append((c.QUICKLIST_PACKED, join_listpack(node)))
            node = []
        if is_plain:
            nodes.append((c.QUICKLIST_PLAIN, element))
            continue
        if not node:
            size = c.LISTPACK_HEADER_SIZE + 1
        entry = encode_listpack_entry(element)
        node.append(entry)
        size += len(entry)
    if node:
        nodes.append((c.QUICKLIST_PACKED, join_listpack(node)))
    parts = [encode_length(len(nodes))]
    for container, content in nodes:
        parts += (encode_length(container), encode_string(content, compress))
    return b"".join(parts)
