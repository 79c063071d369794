"""The table of readers: how each type of value is read, and how it is skipped.

A reader takes a :class:`~telstate_rdb._source.Source` that stands after the key and returns the value; a
skipper leaves the source after the value without decoding it. From type 22 on Redis and Valkey use the
same type bytes for different forms, so there is a table for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from telstate_rdb import constants as c
from telstate_rdb._bulk.read import skip_table
from telstate_rdb._bulk.runs import EXPIRING_PAIRS, PAIRS, SCORED, STRINGS, TEXT_SCORED
from telstate_rdb._source import Source
from telstate_rdb._types import arrays, hashes, lists, modules, sets, streams, zsets
from telstate_rdb.values import Value

Reader = Callable[[Source], Value]
Skipper = Callable[[Source], object]
PackedDecoder = Callable[[bytes], Value]


def decode_string(data: bytes) -> bytes:
    """Return the string itself."""
    return data


PACKED_DECODERS: dict[int, PackedDecoder] = {
    c.TYPE_STRING: decode_string,
    c.TYPE_HASH_ZIPMAP: hashes.decode_hash_zipmap,
    c.TYPE_LIST_ZIPLIST: lists.decode_list_ziplist,
    c.TYPE_SET_INTSET: sets.decode_set_intset,
    c.TYPE_ZSET_ZIPLIST: zsets.decode_sorted_set_ziplist,
    c.TYPE_HASH_ZIPLIST: hashes.decode_hash_ziplist,
    c.TYPE_HASH_LISTPACK: hashes.decode_hash_listpack,
    c.TYPE_ZSET_LISTPACK: zsets.decode_sorted_set_listpack,
    c.TYPE_SET_LISTPACK: sets.decode_set_listpack,
    c.TYPE_HASH_LISTPACK_EX_PRE_GA: hashes.decode_hash_listpack_ex,
}
"""The types whose values are one string, and the function that decodes it."""


def _reader_of(decode: PackedDecoder) -> Reader:
    """Make the reader of a value that is one string."""
    return lambda source: decode(source.read_string())


_COMMON: dict[int, tuple[Reader, Skipper]] = {
    **{
        type_: (_reader_of(decode), Source.skip_string) for type_, decode in PACKED_DECODERS.items()
    },
    c.TYPE_LIST: (lists.read_list, partial(skip_table, layout=STRINGS)),
    c.TYPE_SET: (sets.read_set, partial(skip_table, layout=STRINGS)),
    c.TYPE_ZSET: (zsets.read_text_sorted_set, partial(skip_table, layout=TEXT_SCORED)),
    c.TYPE_HASH: (hashes.read_hash, partial(skip_table, layout=PAIRS)),
    c.TYPE_ZSET_2: (zsets.read_sorted_set, partial(skip_table, layout=SCORED)),
    c.TYPE_MODULE: (modules.refuse_old_module, modules.refuse_old_module),
    c.TYPE_MODULE_2: (modules.read_module, modules.skip_module),
    c.TYPE_LIST_QUICKLIST: (lists.read_quicklist, partial(skip_table, layout=STRINGS)),
    c.TYPE_LIST_QUICKLIST_2: (lists.read_quicklist_2, lists.skip_quicklist_2),
    **{
        type_: (partial(streams.read_stream, type_), partial(streams.skip_stream, type_))
        for type_ in streams.STREAM_TYPES
    },
}

_REDIS = _COMMON | {
    c.TYPE_HASH_METADATA_PRE_GA: (
        hashes.read_hash_metadata_pre_ga,
        hashes.skip_hash_metadata_pre_ga,
    ),
    c.TYPE_HASH_METADATA: (hashes.read_hash_metadata, hashes.skip_hash_metadata),
    c.TYPE_HASH_LISTPACK_EX: (hashes.read_hash_listpack_ex, hashes.skip_hash_listpack_ex),
    c.TYPE_ARRAY: (arrays.read_array, arrays.skip_array),
    c.TYPE_HASH_TEMPLATE_LISTPACK: (hashes.read_template_listpack, hashes.skip_template_listpack),
    c.TYPE_HASH_TEMPLATE_LISTPACK_REF: (hashes.read_template_listpack_ref, Source.skip_string),
    c.TYPE_HASH_TEMPLATE: (hashes.read_template, hashes.skip_template),
    c.TYPE_HASH_TEMPLATE_REF: (hashes.read_template_ref, hashes.skip_template_ref),
}

TEMPLATE_REFERENCES = frozenset({c.TYPE_HASH_TEMPLATE_LISTPACK_REF, c.TYPE_HASH_TEMPLATE_REF})
"""The types that can be decoded only with what came before them in the file."""


_VALKEY: dict[int, tuple[Reader, Skipper]] = {
    **{type_: pair for type_, pair in _COMMON.items() if type_ < c.TYPE_VALKEY_HASH_2},
    c.TYPE_VALKEY_HASH_2: (hashes.read_valkey_hash, partial(skip_table, layout=EXPIRING_PAIRS)),
}


@lru_cache(32)
def codecs_of_version(version: int) -> Mapping[int, tuple[Reader, Skipper]]:
    """Return the reader and the skipper of each type byte that files of a version can have.

    In files of version 12 and below that are the types up to version 12: old files have always been read so.
    """
    if version >= c.VALKEY_VERSION:
        return _VALKEY
    last = max(version, c.MAX_VERSION)
    return {type_: pair for type_, pair in _REDIS.items() if c.TYPE_VERSIONS[type_] <= last}
