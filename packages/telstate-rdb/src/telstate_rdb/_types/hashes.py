"""Hashes: packed or plain, and the forms in which a field can have an expiry.

Rules: a field's expiry needs Redis 7.4 (version 12: types 24 and 25, relative to the least of
them) or Valkey 9 (version 80: its own type 22). A packed hash with expiries is in the order of
them, those without at the end, as the server looks for expired ones from the front.
"""

from __future__ import annotations

import struct
from itertools import chain

from telstate_rdb._bulk.encode_strings import (
    Compress,
    encode_length,
    encode_string,
    encode_strings,
)
from telstate_rdb._packed.common import encode_listpack, encode_ziplist
from telstate_rdb._types import limits
from telstate_rdb.constants import (
    TYPE_HASH,
    TYPE_HASH_LISTPACK,
    TYPE_HASH_LISTPACK_EX,
    TYPE_HASH_METADATA,
    TYPE_HASH_ZIPLIST,
    TYPE_VALKEY_HASH_2,
    TYPE_VERSIONS,
    VALKEY_VERSION,
)
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.values import Hash

_EXPIRY = struct.Struct("<q")
_NO_EXPIRY = -1


def encode_hash(value: Hash, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Write a hash: the type and the bytes."""
    limits.refuse_empty(len(value.fields), "hash")
    if value.expiries:
        check_expiries(value)
        write = _with_expiries_valkey if version >= VALKEY_VERSION else _with_expiries
        return write(value, compress)
    texts = list(chain.from_iterable(value.fields.items()))
    if not limits.HASH.allows(len(value.fields), texts):
        return TYPE_HASH, encode_length(len(value.fields)) + encode_strings(texts, compress)
    if version >= TYPE_VERSIONS[TYPE_HASH_LISTPACK]:
        return TYPE_HASH_LISTPACK, encode_string(encode_listpack(texts), compress)
    return TYPE_HASH_ZIPLIST, encode_string(encode_ziplist(texts), compress)


def check_expiries(value: Hash) -> None:
    """Refuse expiries that are impossible, or of no field."""
    for field, expiry in value.expiries.items():
        if field not in value.fields:
            raise RdbWriteError(f"A hash has an expiry for {field!r}, but no such field.")
        if not 0 < expiry < 1 << 48:
            raise RdbWriteError(
                f"The field {field!r} of a hash expires at {expiry} ms since 1970: it must be "
                "above 0 and below 2**48."
            )


def _with_expiries(value: Hash, compress: Compress | None) -> tuple[int, bytes]:
    expiries = value.expiries
    least = min(expiries.values())
    head = _EXPIRY.pack(least)
    texts = list(chain.from_iterable(value.fields.items()))
    if limits.HASH.allows(len(value.fields), texts):
        ordered = sorted(value.fields, key=lambda field: expiries.get(field, 1 << 63))
        triples = [
            text
            for field in ordered
            for text in (field, value.fields[field], b"%d" % expiries.get(field, 0))
        ]
        return TYPE_HASH_LISTPACK_EX, head + encode_string(encode_listpack(triples), compress)
    parts = [head, encode_length(len(value.fields))]
    for field, content in value.fields.items():
        expiry = expiries.get(field)
        parts += (
            encode_length(0 if expiry is None else expiry - least + 1),
            encode_string(field, compress),
            encode_string(content, compress),
        )
    return TYPE_HASH_METADATA, b"".join(parts)


def _with_expiries_valkey(value: Hash, compress: Compress | None) -> tuple[int, bytes]:
    parts = [encode_length(len(value.fields))]
    for field, content in value.fields.items():
        parts += (
            encode_string(field, compress),
            encode_string(content, compress),
            _EXPIRY.pack(value.expiries.get(field, _NO_EXPIRY)),
        )
    return TYPE_VALKEY_HASH_2, b"".join(parts)
