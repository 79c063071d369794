"""The memory that a server would need for each key of a file.

The model follows the structures of Redis 7.0 and 8.0 on a 64-bit machine with jemalloc, and counts what
``MEMORY USAGE`` counts: the name, the entry in the table of keys, and the value; not the table itself, and
not the entry of a key in the table of expiries. Nothing in it is fitted to measurements:

* An allocation takes the next size class of jemalloc: multiples of 16 up to 128, and from there four
  classes between powers of two.
* A string (*sds*) has a header of 1 byte below 32 bytes of text, or 3, 5, 9 or 17, and a zero at its end. The
  value of a key is an object of 16 bytes that holds a 64-bit integer, or points to a string; up to 44 bytes
  the string is part of it.
* A small collection is one packed string, an intset or a listpack. The server decides that when it loads the
  file, by the limits of its default configuration.
* A table (set, hash) has 56 bytes, 8 for each of its slots (the next power of two), and 24 for each entry.
  A field that expires has 18 bytes more in front of its text.
* A sorted set has a table and a skip list: a header of 640 bytes, and nodes of 24 bytes and 16 for each
  level. A node has a further level with a probability of 1/4, so the mean is counted.
* A list is a chain of nodes of 40 bytes with a listpack of about 8 kB each. In Redis 8.0 a list of one node
  is a listpack by itself.
* A stream has listpacks, which are counted as they are in the file, in a radix tree of their ids. For the
  tree and those of pending entries the server itself takes an estimate, 244 bytes for each node, which is
  counted here for the nodes that the tree has.

The memory of values of modules is known only to the module, and arrays came with a later server.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

import attrs

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import integer_of
from telstate_rdb._bulk.read import parse_score, read_text_score
from telstate_rdb._packed.listpack import decode_listpack
from telstate_rdb._packed.ziplist import decode_ziplist
from telstate_rdb._source import Source
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.records import KeyRecord
from telstate_rdb.values import Array, Hash, List, RawValue, Set, SortedSet

ServerName = Literal["7.0", "8.0"]
"""The servers whose memory is modelled."""

_OBJECT, _TABLE, _ENTRY, _SLOT = 16, 56, 24, 8
_EMBEDDED = 44  # the longest string that is part of its object
_LISTPACK = 7  # header and end
_QUICKLIST, _QUICKLIST_NODE = 40, 40
_SORTED_SET, _SKIP_LIST, _SKIP_LIST_HEADER = 16, 32, 24 + 32 * 16
_STREAM, _GROUP, _PENDING = 80, 40, 24
_RADIX_ELEMENT, _RADIX_NODE = 16, 4 + 8 * 30
_NODE_BYTES = 8192  # list-max-listpack-size -2
_NODE_OVERHEAD = 8
_ID = 16
_MOST_PACKED = 1024  # strings in a collection that can be packed
_LISTPACK_EX = 32  # beside a listpack of fields that expire
_FIELD_EXPIRY = 18  # in front of a field that expires, in a table
_DOUBLE = struct.Struct("<d")


@attrs.frozen
class _Server:
    """What differs between servers, and the limits up to which they pack collections by default."""

    set_listpack: int  # members
    has_list_listpack: bool
    consumer: int  # bytes
    hash_listpack: int = 512
    zset_listpack: int = 128
    set_intset: int = 512
    longest: int = 64


_SERVERS: Final[dict[str, _Server]] = {
    "7.0": _Server(0, False, 24),
    "8.0": _Server(128, True, 32),
}


class KeyMemory(NamedTuple):
    """A key, its size in the file, and the memory that it needs.

    Parameters
    ----------
    database, key, type, expiry
        As in its record; the type as the command ``TYPE`` names it.
    encoding
        How the server would keep the value, as ``OBJECT ENCODING`` names it.
    size
        The number of bytes of the key and its value in the file.
    elements
        The number of elements, members, fields or entries; the bytes of a string.
    longest
        The length of the longest element, member, field or value, in bytes; that of the largest node
        of a stream.
    memory
        The number of bytes; None for values of modules and for arrays.
    """

    database: int
    key: bytes
    type: c.TypeName
    expiry: int | None
    encoding: str
    size: int
    elements: int
    longest: int
    memory: int | None


def measure_key(record: KeyRecord[RawValue], server: ServerName = "8.0") -> KeyMemory:
    """Return the memory that a server would need for a key.

    Parameters
    ----------
    record
        The record of a key, read with ``raw=True``. Large collections are measured one element
        after the other, without being decoded as a whole.
    server
        The release of Redis.

    Returns
    -------
    KeyMemory
        The sizes of the key.

    Raises
    ------
    RdbParseError
        If the value is malformed.

    Examples
    --------
    >>> from telstate_rdb import read_rdb
    >>> snapshot = b"REDIS0003" b"\\x00\\x04gain\\x031.5" b"\\xff"
    >>> measure_key(next(read_rdb(snapshot, raw=True))).memory
    64
    """
    raw = record.value
    try:
        found = _MEASURES[raw.type_name](raw, _SERVERS[server])
    except RdbParseError as error:
        error.key = record.key
        raise
    memory = None if found.memory is None else found.memory + _sds(len(record.key)) + _ENTRY
    size = len(record.key) + len(raw.body)
    return KeyMemory(
        record.database,
        record.key,
        raw.type_name,
        record.expiry,
        found.encoding,
        size,
        found.elements,
        found.longest,
        memory,
    )


# ------------------------------------------------------------------------------------ allocations


def _make_classes() -> list[int]:
    """Return the size classes of jemalloc up to 1 TB."""
    classes = [8, *range(16, 129, 16)]
    while classes[-1] < 1 << 40:
        start = classes[-1]
        classes += [start + start // 4 * step for step in (1, 2, 3, 4)]
    return classes


_CLASSES = _make_classes()


def _allocated(size: int) -> int:
    """Return the memory that an allocation takes."""
    return _CLASSES[bisect_left(_CLASSES, size)]


def _sds_after(extra: int, size: int) -> int:
    """Return the memory of a string that has `extra` bytes in front of it."""
    header = 3 if size < 1 << 8 else 5 if size < 1 << 16 else 9 if size < 1 << 32 else 17
    return _allocated(extra + (1 if 0 < size < 32 else header) + size + 1)


# A node has one level with a probability of 3/4, two with 3/16, and so on.
_SKIP_LIST_NODE = sum(0.75 * 0.25**level * _allocated(40 + 16 * level) for level in range(31))

_SHORT_SDS = [_sds_after(0, size) for size in range(1024)]


def _sds(size: int) -> int:
    """Return the memory of a string of its own."""
    return _SHORT_SDS[size] if size < 1024 else _sds_after(0, size)


def _table(count: int) -> int:
    """Return the memory of a table without its entries."""
    return _TABLE + _SLOT * max(4, 1 << (count - 1).bit_length())


def _entry_size(text: bytes) -> int:
    """Return the size of an entry of a listpack."""
    size = len(text)
    if size <= 20 and (number := integer_of(text)) is not None:
        return _integer_entry_size(number)
    body = size + (1 if size < 1 << 6 else 2 if size < 1 << 12 else 5)
    back = 1 if body < 1 << 7 else 2 if body < 1 << 14 else 3 if body < 1 << 21 else 4
    return body + (back if body < 1 << 28 else 5)


def _integer_entry_size(number: int) -> int:
    if 0 <= number < 1 << 7:
        return 2
    if -1 << 12 <= number < 1 << 12:
        return 3
    bits = (number if number >= 0 else ~number).bit_length() + 1
    return 4 if bits <= 16 else 5 if bits <= 24 else 6 if bits <= 32 else 10


# ------------------------------------------------------------------------------------------ types


class _Measured(NamedTuple):
    encoding: str
    elements: int
    longest: int
    memory: int | None


def _measure_string(raw: RawValue, server: _Server) -> _Measured:
    size = _string_size(raw.body)
    if size <= 20 and integer_of(Source(raw.body).read_string()) is not None:
        return _Measured("int", size, size, _OBJECT)
    if size <= _EMBEDDED:
        return _Measured("embstr", size, size, _allocated(_OBJECT + 3 + size + 1))
    return _Measured("raw", size, size, _OBJECT + _sds(size))


def _string_size(body: bytes) -> int:
    """Return the size of a string, which is not decompressed for that."""
    source = Source(body[:32])
    source.size = None
    first = body[0] if body else 0
    if first < c.LENGTH_SPECIAL:
        return source.read_length()
    if first != c.STRING_LZF:
        return len(Source(body).read_string())
    source.position = 1
    source.read_length()
    return source.read_length()


def _measure_list(raw: RawValue, server: _Server) -> _Measured:
    elements = longest = 0
    nodes: list[int] = []
    packer = _NodePacker(nodes)
    for text in _strings(raw, nodes):
        elements += 1
        longest = max(longest, len(text))
        if raw.type != c.TYPE_LIST_QUICKLIST_2:
            packer.add(text)
    packer.end()
    if server.has_list_listpack and len(nodes) == 1 and nodes[0] <= _NODE_BYTES:
        return _Measured("listpack", elements, longest, _OBJECT + _allocated(nodes[0]))
    memory = _OBJECT + _QUICKLIST + sum(_QUICKLIST_NODE + _allocated(node) for node in nodes)
    return _Measured("quicklist", elements, longest, memory)


class _NodePacker:
    """Divides elements among the nodes of a list, as a server does."""

    def __init__(self, nodes: list[int]) -> None:
        self._nodes = nodes
        self._size = 0

    def add(self, text: bytes) -> None:
        """Add an element."""
        if self._size and self._size + len(text) + _NODE_OVERHEAD > _NODE_BYTES:
            self.end()
        self._size = (self._size or _LISTPACK) + _entry_size(text)

    def end(self) -> None:
        """End the last node."""
        if self._size:
            self._nodes.append(self._size)
        self._size = 0


def _strings(raw: RawValue, nodes: list[int]) -> Iterator[bytes]:
    """Return the elements of a list or set; append the sizes of nodes that are kept as they are."""
    source = Source(raw.body)
    if raw.type in (c.TYPE_LIST, c.TYPE_SET):
        for _ in range(source.read_length()):
            yield source.read_string()
    elif raw.type == c.TYPE_LIST_QUICKLIST:
        for _ in range(source.read_length()):
            yield from decode_ziplist(source.read_string())
    elif raw.type == c.TYPE_LIST_QUICKLIST_2:
        for _ in range(source.read_length()):
            container = source.read_length()
            node = source.read_string()
            nodes.append(len(node))
            if container == c.QUICKLIST_PLAIN:
                yield node
            else:
                yield from decode_listpack(node)
    else:
        value = decode_raw(raw)
        assert isinstance(value, List | Set)
        yield from value.elements if isinstance(value, List) else value.members


class _Sizes:
    """Sums over the strings of a collection."""

    def __init__(self) -> None:
        self.count = self.longest = self.alone = self.packed = 0

    def add(self, text: bytes) -> None:
        """Count a string: its memory by itself, and in a listpack."""
        size = len(text)
        self.count += 1
        if size > self.longest:
            self.longest = size
        self.alone += _sds(size)
        if self.count <= _MOST_PACKED:
            self.packed += _entry_size(text)


def _measure_set(raw: RawValue, server: _Server) -> _Measured:
    sizes = _Sizes()
    width: int | None = 2
    for text in _strings(raw, []):
        sizes.add(text)
        if width is not None:
            number = integer_of(text) if len(text) <= 20 else None
            width = None if number is None else max(width, _integer_width(number))
    count, longest = sizes.count, sizes.longest
    if width is not None and count <= server.set_intset:
        return _Measured("intset", count, longest, _OBJECT + _allocated(8 + width * count))
    if count <= server.set_listpack and longest <= server.longest:
        return _Measured("listpack", count, longest, _OBJECT + _allocated(_LISTPACK + sizes.packed))
    memory = _table(count) + _ENTRY * count + sizes.alone
    return _Measured("hashtable", count, longest, _OBJECT + memory)


def _integer_width(number: int) -> int:
    bits = (number if number >= 0 else ~number).bit_length() + 1
    return 2 if bits <= 16 else 4 if bits <= 32 else 8


def _measure_sorted_set(raw: RawValue, server: _Server) -> _Measured:
    sizes = _Sizes()
    scores = 0
    for member, score in _scored(raw):
        sizes.add(member)
        if sizes.count <= server.zset_listpack:
            scores += _score_size(score)
    count, longest = sizes.count, sizes.longest
    if count <= server.zset_listpack and longest <= server.longest:
        packed = _LISTPACK + sizes.packed + scores
        if raw.type == c.TYPE_ZSET_LISTPACK:  # exactly, how servers write scores differs
            packed = _string_size(raw.body)
        return _Measured("listpack", count, longest, _OBJECT + _allocated(packed))
    memory = _SORTED_SET + _SKIP_LIST + _allocated(_SKIP_LIST_HEADER) + _table(count)
    memory += round((_ENTRY + _SKIP_LIST_NODE) * count) + sizes.alone
    return _Measured("skiplist", count, longest, _OBJECT + memory)


def _scored(raw: RawValue) -> Iterator[tuple[bytes, float]]:
    """Return the members of a sorted set with their scores."""
    if raw.type not in (c.TYPE_ZSET, c.TYPE_ZSET_2):
        value = decode_raw(raw)
        assert isinstance(value, SortedSet)
        yield from zip(value.members, value.scores, strict=True)
        return
    source = Source(raw.body)
    for _ in range(source.read_length()):
        member = source.read_string()
        if raw.type == c.TYPE_ZSET_2:
            yield member, _DOUBLE.unpack(source.read(8))[0]
        else:
            yield member, parse_score(read_text_score(source))


def _score_size(score: float) -> int:
    """Return the size of a score in a listpack."""
    if score.is_integer() and abs(score) < 1 << 52:
        return _integer_entry_size(int(score))
    return _entry_size(b"%.17g" % score)


def _measure_hash(raw: RawValue, server: _Server) -> _Measured:
    sizes = _Sizes()
    times = expiries = 0
    for field, text, expiry in _fields(raw):
        sizes.add(field)
        sizes.add(text)
        if expiry:
            expiries += _sds_after(_FIELD_EXPIRY, len(field)) - _sds(len(field))
        if sizes.count <= _MOST_PACKED:
            times += _integer_entry_size(expiry)
    count, longest = sizes.count // 2, sizes.longest
    if count <= server.hash_listpack and longest <= server.longest:
        if not expiries:
            memory = _allocated(_LISTPACK + sizes.packed)
            return _Measured("listpack", count, longest, _OBJECT + memory)
        memory = _allocated(_LISTPACK + sizes.packed + times) + _allocated(_LISTPACK_EX)
        return _Measured("listpackex", count, longest, _OBJECT + memory)
    memory = _table(count) + _ENTRY * count + sizes.alone + expiries
    return _Measured("hashtable", count, longest, _OBJECT + memory)


def _fields(raw: RawValue) -> Iterator[tuple[bytes, bytes, int]]:
    """Return the fields of a hash with their values and expiries, 0 for none."""
    if raw.type == c.TYPE_HASH:
        source = Source(raw.body)
        for _ in range(source.read_length()):
            yield source.read_string(), source.read_string(), 0
        return
    value = decode_raw(raw)
    assert isinstance(value, Hash)
    expiry = value.expiries.get
    for field, text in value.fields.items():
        yield field, text, expiry(field, 0)


def _measure_stream(raw: RawValue, server: _Server) -> _Measured:
    source = Source(raw.body)
    ids: list[bytes] = []
    longest = packed = 0
    for _ in range(source.read_length()):
        ids.append(source.read_string())
        node = len(source.read_string())
        longest = max(longest, node)
        packed += _allocated(node)
    elements = source.read_length()
    memory = _OBJECT + _STREAM + packed + _radix_tree(ids)
    has_counters = raw.type != c.TYPE_STREAM_LISTPACKS
    for _ in range(7 if has_counters else 2):  # the last id, and counters
        source.read_length()
    for _ in range(source.read_length()):
        source.read_string()
        for _ in range(3 if has_counters else 2):
            source.read_length()
        pending = []
        for _ in range(source.read_length()):
            pending.append(source.read(_ID))
            source.skip(8)
            source.read_length()
        memory += _GROUP + _PENDING * len(pending) + _radix_tree(pending)
        for _ in range(source.read_length()):
            name = source.read_string()
            source.skip(16 if raw.type >= c.TYPE_STREAM_LISTPACKS_3 else 8)
            own = [source.read(_ID) for _ in range(source.read_length())]
            memory += server.consumer + len(name) + _radix_tree(own)
        if raw.type >= c.TYPE_STREAM_LISTPACKS_5:  # what was given back
            source.skip(_ID * source.read_length())
    return _Measured("stream", elements, longest, memory)


def _radix_tree(ids: Sequence[bytes]) -> int:
    return _RADIX_ELEMENT * len(ids) + _RADIX_NODE * count_radix_nodes(ids)


def count_radix_nodes(ids: Sequence[bytes]) -> int:
    """Return the number of nodes of the radix tree of some ids of one size.

    There is a node where ids part, one for each run of bytes that has no such place in it, and one for
    the end of each id.

    Parameters
    ----------
    ids
        Different byte strings of one size, in order.

    Returns
    -------
    int
        The number of nodes; an empty tree has one.

    Examples
    --------
    >>> count_radix_nodes([]), count_radix_nodes([b"abcd"]), count_radix_nodes([b"abcd", b"abxy"])
    (1, 2, 6)
    """
    if not ids:
        return 1
    size = len(ids[0])
    nodes = len(ids)
    shared = [_shared(a, b) for a, b in zip(ids, ids[1:])]
    for before, after in zip([-1, *shared], [*shared, -1]):
        nodes += size > max(before, after) + 1  # a run before the end of an id
    parting: list[int] = []  # where the ids so far part, from the root down
    for depth in [*shared, -1]:
        while parting and parting[-1] > depth:
            place = parting.pop()
            above = max(depth, parting[-1] if parting else -1)
            nodes += place > above + 1  # a run between two places
        if depth >= 0 and (not parting or parting[-1] < depth):
            parting.append(depth)
            nodes += 1
    return nodes


def _shared(first: bytes, second: bytes) -> int:
    """Return how many bytes two ids have in common at their start."""
    different = int.from_bytes(first, "big") ^ int.from_bytes(second, "big")
    return len(first) - (different.bit_length() + 7) // 8


def _measure_array(raw: RawValue, server: _Server) -> _Measured:
    value = decode_raw(raw)
    assert isinstance(value, Array)
    longest = max(map(len, value.elements.values()), default=0)
    return _Measured("array", len(value.elements), longest, None)


def _measure_module(raw: RawValue, server: _Server) -> _Measured:
    return _Measured("module", 1, len(raw.body), None)


_MEASURES: dict[c.TypeName, Callable[[RawValue, _Server], _Measured]] = {
    "string": _measure_string,
    "list": _measure_list,
    "set": _measure_set,
    "zset": _measure_sorted_set,
    "hash": _measure_hash,
    "stream": _measure_stream,
    "module": _measure_module,
    "array": _measure_array,
}
