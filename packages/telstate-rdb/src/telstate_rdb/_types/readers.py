"""How each type of value is read, and how it is passed over: two tables.

A reader takes a :class:`~telstate_rdb._source.Source` that stands behind the key and gives the
value; a skipper leaves the source behind the value without decoding it. The tables differ between
Redis and Valkey from type 22 on, so they are asked for by the version of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from telstate_rdb import constants as c
from telstate_rdb._bulk.read import (
    read_hash,
    read_list,
    read_set,
    read_sorted_set,
    read_sorted_set_of_text,
    skip_items,
)
from telstate_rdb._packed import listpack, ziplist
from telstate_rdb._packed.intset import decode_intset
from telstate_rdb._packed.listpack import decode_listpack
from telstate_rdb._packed.ziplist import decode_ziplist
from telstate_rdb._packed.zipmap import decode_zipmap
from telstate_rdb._source import Source
from telstate_rdb._types.collections import (
    make_hash,
    make_hash_with_expiries,
    make_set,
    make_sorted_set_of_one_score,
    make_sorted_set_of_pairs,
)
from telstate_rdb._types.modules import read_module, refuse_old_module, skip_module
from telstate_rdb._types.streams import (
    read_stream_1,
    read_stream_2,
    read_stream_3,
    skip_stream_1,
    skip_stream_2,
    skip_stream_3,
)
from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import Hash, List, SortedSet, Value

Reader = Callable[[Source], Value]
Skipper = Callable[[Source], object]
PackedDecoder = Callable[[bytes], Value]


# ----------------------------------------------------------------------- lists of packed nodes


def _read_quicklist(source: Source) -> List:
    """Read a list of ziplists (type 14)."""
    elements: list[bytes] = []
    nodes = source.read_length()
    source.expect(nodes)
    for _ in range(nodes):
        elements += decode_ziplist(source.read_string())
    return List(tuple(elements))


def _read_quicklist_2(source: Source) -> List:
    """Read a list of listpacks and elements by themselves (type 18)."""
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


# ---------------------------------------------------------------------------- one packed form


def as_it_is(data: bytes) -> bytes:
    """Decode a string."""
    return data


def _decode_zset_ziplist(data: bytes) -> SortedSet:
    uniform = ziplist.decode_uniform_pairs(data)
    if uniform is None:
        return make_sorted_set_of_pairs(decode_ziplist(data))
    return make_sorted_set_of_one_score(*uniform)


def _decode_zset_listpack(data: bytes) -> SortedSet:
    uniform = listpack.decode_uniform_pairs(data)
    if uniform is None:
        return make_sorted_set_of_pairs(decode_listpack(data))
    return make_sorted_set_of_one_score(*uniform)


def _hash_of(unpack: Callable[[bytes], list[bytes]]) -> PackedDecoder:
    """Make the decoder of a hash in a packed form of fields and values."""

    def decode(data: bytes) -> Hash:
        entries = unpack(data)
        return make_hash(entries[::2], entries[1::2])

    return decode


def _set_of(unpack: Callable[[bytes], list[bytes]]) -> PackedDecoder:
    """Make the decoder of a set in a packed form."""
    return lambda data: make_set(unpack(data))


def _decode_list_ziplist(data: bytes) -> List:
    return List(tuple(decode_ziplist(data)))


def _decode_hash_listpack_ex(data: bytes) -> Hash:
    """Decode a hash of (field, value, expiry or 0)."""
    entries = decode_listpack(data)
    try:
        expiries = [int(text) for text in entries[2::3]]
    except ValueError:
        raise RdbParseError("a hash has an expiry that is no number") from None
    if len(entries) % 3 or min(expiries, default=0) < 0:
        raise RdbParseError("a hash has a field without a value or a sound expiry")
    return make_hash_with_expiries(entries[::3], entries[1::3], expiries)


PACKED_DECODERS: dict[int, PackedDecoder] = {
    c.TYPE_STRING: as_it_is,
    c.TYPE_HASH_ZIPMAP: _hash_of(decode_zipmap),
    c.TYPE_LIST_ZIPLIST: _decode_list_ziplist,
    c.TYPE_SET_INTSET: _set_of(decode_intset),
    c.TYPE_ZSET_ZIPLIST: _decode_zset_ziplist,
    c.TYPE_HASH_ZIPLIST: _hash_of(decode_ziplist),
    c.TYPE_HASH_LISTPACK: _hash_of(decode_listpack),
    c.TYPE_ZSET_LISTPACK: _decode_zset_listpack,
    c.TYPE_SET_LISTPACK: _set_of(decode_listpack),
    c.TYPE_HASH_LISTPACK_EX_PRE_GA: _decode_hash_listpack_ex,
}
"""The types whose values are one string, and what turns that into the value."""


def _reader_of(decode: PackedDecoder) -> Reader:
    """Make the reader of a value that is one string."""
    return lambda source: decode(source.read_string())


# ---------------------------------------------------------------- hashes with expiring fields


def _read_hash_listpack_ex(source: Source) -> Hash:
    """Read a listpack of (field, value, expiry) behind the least expiry (type 25)."""
    source.skip(8)
    return _decode_hash_listpack_ex(source.read_string())


def _read_hash_metadata(source: Source) -> Hash:
    """Read a table of (ttl, field, value) behind the least expiry (type 24)."""
    return _read_fields_after_ttl(source, source.read_signed(8) - 1)


def _read_hash_metadata_pre_ga(source: Source) -> Hash:
    """Read a table of (expiry, field, value) (type 22 of Redis)."""
    return _read_fields_after_ttl(source, 0)


def _read_fields_after_ttl(source: Source, base: int) -> Hash:
    """Read a table of (ttl, field, value); `base` is to be added to a ttl that is not 0."""
    count = source.read_length()
    source.expect(3 * count)
    fields: list[bytes] = []
    values: list[bytes] = []
    expiries: list[int] = []
    for _ in range(count):
        ttl = source.read_length()
        expiries.append(ttl + base if ttl else 0)
        fields.append(source.read_string())
        values.append(source.read_string())
    return make_hash_with_expiries(fields, values, expiries)


def _read_valkey_hash(source: Source) -> Hash:
    """Read a table of (field, value, expiry or -1) (type 22 of Valkey)."""
    count = source.read_length()
    source.expect(10 * count)
    fields: list[bytes] = []
    values: list[bytes] = []
    expiries: list[int] = []
    for _ in range(count):
        fields.append(source.read_string())
        values.append(source.read_string())
        expiry = source.read_signed(8)
        expiries.append(0 if expiry == -1 else expiry)
    return make_hash_with_expiries(fields, values, expiries)


# --------------------------------------------------------------------------------- skipping


def _skipper_of_table(strings: int, tail: int = 0) -> Skipper:
    """Make the skipper of a table whose items are some strings and `tail` bytes."""

    def skip(source: Source) -> None:
        skip_items(source, source.read_length(), strings, tail)

    return skip


def _skip_zset(source: Source) -> None:
    for _ in range(source.read_length()):
        source.skip_string()
        length = source.read_byte()
        source.skip(length if length < c.SCORE_NAN else 0)


def _skip_lengths_and_strings(strings: int) -> Skipper:
    """Make the skipper of a table whose items are a length and some strings."""

    def skip(source: Source) -> None:
        for _ in range(source.read_length()):
            source.read_length()
            for _ in range(strings):
                source.skip_string()

    return skip


def _behind(size: int, skip: Skipper) -> Skipper:
    """Make the skipper of `size` bytes and then something."""

    def skip_both(source: Source) -> None:
        source.skip(size)
        skip(source)

    return skip_both


# ------------------------------------------------------------------------------------ tables

_COMMON: dict[int, tuple[Reader, Skipper]] = {
    **{
        type_: (_reader_of(decode), Source.skip_string) for type_, decode in PACKED_DECODERS.items()
    },
    c.TYPE_LIST: (read_list, _skipper_of_table(1)),
    c.TYPE_SET: (read_set, _skipper_of_table(1)),
    c.TYPE_ZSET: (read_sorted_set_of_text, _skip_zset),
    c.TYPE_HASH: (read_hash, _skipper_of_table(2)),
    c.TYPE_ZSET_2: (read_sorted_set, _skipper_of_table(1, 8)),
    c.TYPE_MODULE: (refuse_old_module, refuse_old_module),
    c.TYPE_MODULE_2: (read_module, skip_module),
    c.TYPE_LIST_QUICKLIST: (_read_quicklist, _skipper_of_table(1)),
    c.TYPE_STREAM_LISTPACKS: (read_stream_1, skip_stream_1),
    c.TYPE_LIST_QUICKLIST_2: (_read_quicklist_2, _skip_lengths_and_strings(1)),
    c.TYPE_STREAM_LISTPACKS_2: (read_stream_2, skip_stream_2),
    c.TYPE_STREAM_LISTPACKS_3: (read_stream_3, skip_stream_3),
}

_REDIS = _COMMON | {
    c.TYPE_HASH_METADATA_PRE_GA: (_read_hash_metadata_pre_ga, _skip_lengths_and_strings(2)),
    c.TYPE_HASH_METADATA: (_read_hash_metadata, _behind(8, _skip_lengths_and_strings(2))),
    c.TYPE_HASH_LISTPACK_EX: (_read_hash_listpack_ex, _behind(8, Source.skip_string)),
}

_VALKEY = {
    **{t: codec for t, codec in _COMMON.items() if t < c.TYPE_VALKEY_HASH_2},
    c.TYPE_VALKEY_HASH_2: (_read_valkey_hash, _skipper_of_table(2, 8)),
}


def codecs_of_version(version: int) -> Mapping[int, tuple[Reader, Skipper]]:
    """Give, for each type byte that files of a version can have, its reader and skipper."""
    return _VALKEY if version >= c.VALKEY_VERSION else _REDIS
