"""Hashes: packed or as a table, and the forms in which fields can expire.

An expiry of a field needs Redis 7.4 (version 12: types 24 and 25, relative to the least of them) or
Valkey 9 (version 80: its own type 22). A listpack with expiries is ordered by them, with the fields that
never expire at the end, because the server looks for expired fields from the front.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import (
    encode_length,
    encode_lengths,
    encode_string,
    encode_strings,
)
from telstate_rdb._bulk.read import read_string_pairs
from telstate_rdb._packed.listpack import decode_listpack, encode_listpack
from telstate_rdb._packed.ziplist import decode_ziplist, encode_ziplist
from telstate_rdb._packed.zipmap import decode_zipmap
from telstate_rdb._source import Source
from telstate_rdb._types.limits import PackingLimit, check_not_empty
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.lzf import Compress
from telstate_rdb.values import Hash

_LIMIT = PackingLimit(512, 64)  # hash-max-ziplist-entries, -value; later hash-max-listpack-...
_EXPIRY = struct.Struct("<q")
_NO_EXPIRY = -1  # in files of Valkey
_EXPIRY_LIMIT = 1 << 48  # ms, in Redis
_VALKEY_EXPIRY_LIMIT = 1 << 63


# ------------------------------------------------------------------------- without expiring fields


def read_hash(source: Source) -> Hash:
    """Read a table of fields and values (type 4)."""
    return _make_hash(*read_string_pairs(source))


def decode_hash_zipmap(data: bytes) -> Hash:
    """Decode a hash that is a zipmap (type 9)."""
    return _make_hash_of_pairs(decode_zipmap(data))


def decode_hash_ziplist(data: bytes) -> Hash:
    """Decode a hash that is a ziplist (type 13)."""
    return _make_hash_of_pairs(decode_ziplist(data))


def decode_hash_listpack(data: bytes) -> Hash:
    """Decode a hash that is a listpack (type 16)."""
    return _make_hash_of_pairs(decode_listpack(data))


def _make_hash_of_pairs(entries: list[bytes]) -> Hash:
    return _make_hash(entries[::2], entries[1::2])


def _make_hash(
    fields: Sequence[bytes],
    values: Sequence[bytes],
    expiries: Sequence[int] = (),
    is_valkey: bool = False,
) -> Hash:
    """Make a hash of its columns; an expiry of 0 means never."""
    if len(fields) != len(values):
        raise RdbParseError("a hash has a field without a value")
    mapping = dict(zip(fields, values))
    if len(mapping) != len(fields):
        raise RdbParseError("a hash has a field twice")
    if not expiries:
        return Hash(mapping)
    times = {field: expiry for field, expiry in zip(fields, expiries) if expiry}
    return Hash(mapping, times, is_valkey)


# ---------------------------------------------------------------------------- with expiring fields


def decode_hash_listpack_ex(data: bytes) -> Hash:
    """Decode a listpack of (field, value, expiry or 0) (type 23)."""
    entries = decode_listpack(data)
    try:
        expiries = [int(text) for text in entries[2::3]]
    except ValueError:
        raise RdbParseError("a hash has an expiry that is not a number") from None
    if len(entries) % 3 or min(expiries, default=0) < 0:
        raise RdbParseError("a hash has a field without a value or a valid expiry")
    return _make_hash(entries[::3], entries[1::3], expiries)


def read_hash_listpack_ex(source: Source) -> Hash:
    """Read the least expiry and a listpack of (field, value, expiry) (type 25)."""
    source.skip(_EXPIRY.size)
    return decode_hash_listpack_ex(source.read_string())


def skip_hash_listpack_ex(source: Source) -> None:
    """Skip the least expiry and a listpack (type 25)."""
    source.skip(_EXPIRY.size)
    source.skip_string()


def read_hash_metadata(source: Source) -> Hash:
    """Read the least expiry and a table of (ttl, field, value) (type 24)."""
    return _read_fields_after_ttl(source, source.read_signed(_EXPIRY.size) - 1)


def read_hash_metadata_pre_ga(source: Source) -> Hash:
    """Read a table of (expiry, field, value) (type 22 of Redis)."""
    return _read_fields_after_ttl(source, 0)


def _read_fields_after_ttl(source: Source, base: int) -> Hash:
    """Read a table of (ttl, field, value); an expiry is `base` and a ttl that is not 0."""
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
    return _make_hash(fields, values, expiries)


def skip_hash_metadata(source: Source) -> None:
    """Skip the least expiry and a table of (ttl, field, value) (type 24)."""
    source.skip(_EXPIRY.size)
    skip_hash_metadata_pre_ga(source)


def skip_hash_metadata_pre_ga(source: Source) -> None:
    """Skip a table of (expiry, field, value) (type 22 of Redis)."""
    for _ in range(source.read_length()):
        source.read_length()
        source.skip_string()
        source.skip_string()


def read_valkey_hash(source: Source) -> Hash:
    """Read a table of (field, value, expiry or -1) (type 22 of Valkey)."""
    count = source.read_length()
    source.expect(10 * count)
    fields: list[bytes] = []
    values: list[bytes] = []
    expiries: list[int] = []
    for _ in range(count):
        fields.append(source.read_string())
        values.append(source.read_string())
        expiry = source.read_signed(_EXPIRY.size)
        expiries.append(0 if expiry == _NO_EXPIRY else expiry)
    return _make_hash(fields, values, expiries, is_valkey=True)


# --------------------------------------------------------------------------- with a hash template


def read_template_listpack(source: Source) -> Hash:
    """Read fields and a listpack of values, after the number of the template (type 29)."""
    fields = _read_template_fields(source)
    return _make_hash(fields, decode_listpack(source.read_string())[1:])


def skip_template_listpack(source: Source) -> None:
    """Skip fields and a listpack of values (type 29)."""
    _read_template_fields(source)
    source.skip_string()


def read_template_listpack_ref(source: Source) -> Hash:
    """Read a listpack of the number of a template and values (type 30)."""
    number, *values = decode_listpack(source.read_string())
    return _make_hash(_find_template(source, int(number)), values)


def read_template(source: Source) -> Hash:
    """Read fields and values (type 31)."""
    fields = _read_template_fields(source)
    return _make_hash(fields, [source.read_string() for _ in fields])


def skip_template(source: Source) -> None:
    """Skip fields and values (type 31)."""
    for _ in _read_template_fields(source):
        source.skip_string()


def read_template_ref(source: Source) -> Hash:
    """Read the number of a template and values (type 32)."""
    fields = _find_template(source, source.read_length())
    return _make_hash(fields, [source.read_string() for _ in fields])


def skip_template_ref(source: Source) -> None:
    """Skip the number of a template and values (type 32)."""
    for _ in _find_template(source, source.read_length()):
        source.skip_string()


def resolve_template(source: Source, type_: int, body: bytes) -> tuple[int, bytes]:
    """Return the type and body of a value that names its fields, for one that refers to a template."""
    reader = Source(body)
    if type_ == c.TYPE_HASH_TEMPLATE_LISTPACK_REF:
        type_, number = c.TYPE_HASH_TEMPLATE_LISTPACK, int(decode_listpack(reader.read_string())[0])
    else:
        type_, number = c.TYPE_HASH_TEMPLATE, reader.read_length()
        body = body[reader.position :]
    fields = _find_template(source, number)
    head = encode_lengths(c.FIELDS_STRINGS, len(fields)) + encode_strings(fields, None)
    return type_, head + body


def _read_template_fields(source: Source) -> Sequence[bytes]:
    form = source.read_length()
    if form == c.FIELDS_LISTPACK:
        return decode_listpack(source.read_string())
    if form == c.FIELDS_STRINGS:
        count = source.read_length()
        source.expect(count)
        return [source.read_string() for _ in range(count)]
    raise source.error(f"a hash has fields of the unknown form {form}")


def _find_template(source: Source, number: int) -> tuple[bytes, ...]:
    if number not in source.hash_templates:
        raise source.error(f"a hash refers to template {number}, which the file does not have")
    return source.hash_templates[number]


# ----------------------------------------------------------------------------------------- writing


def lowest_hash_version(value: Hash) -> int:
    """Return the lowest RDB version, 6 or above, that can hold a hash."""
    if not value.expiries:
        return c.EVERY_READER_VERSION
    is_late = max(value.expiries.values()) >= _EXPIRY_LIMIT
    return c.VALKEY_VERSION if is_late else c.TYPE_VERSIONS[c.TYPE_HASH_METADATA]


def default_hash_version(value: Hash) -> int:
    """Return the RDB version for a hash if none is requested."""
    if value.expiries and value.is_valkey:
        return c.VALKEY_VERSION
    return lowest_hash_version(value)


def check_hash(value: Hash, limit: int = _VALKEY_EXPIRY_LIMIT) -> None:
    """Raise an error for a hash that no server loads."""
    check_not_empty(len(value.fields), "hash")
    for field, expiry in value.expiries.items():
        if field not in value.fields:
            raise RdbWriteError(f"A hash has an expiry for {field!r}, but no such field.")
        if not 0 < expiry < limit:
            raise RdbWriteError(
                f"The field {field!r} of a hash has the expiry {expiry} ms since 1970: it must be "
                f"above 0 and below 2**{limit.bit_length() - 1}."
            )


def encode_hash(value: Hash, version: int, compress: Compress | None) -> tuple[int, bytes]:
    """Encode a hash; return its type and bytes."""
    is_valkey = version >= c.VALKEY_VERSION
    check_hash(value, _VALKEY_EXPIRY_LIMIT if is_valkey else _EXPIRY_LIMIT)
    if value.expiries and is_valkey:
        return c.TYPE_VALKEY_HASH_2, _encode_valkey_hash(value, compress)
    texts = list(chain.from_iterable(value.fields.items()))
    is_packed = _LIMIT.allows(len(value.fields), texts)
    if value.expiries:
        if is_packed:
            return c.TYPE_HASH_LISTPACK_EX, _encode_listpack_ex(value, compress)
        return c.TYPE_HASH_METADATA, _encode_metadata(value, compress)
    if not is_packed:
        return c.TYPE_HASH, encode_length(len(value.fields)) + encode_strings(texts, compress)
    if version >= c.TYPE_VERSIONS[c.TYPE_HASH_LISTPACK]:
        return c.TYPE_HASH_LISTPACK, encode_string(encode_listpack(texts), compress)
    return c.TYPE_HASH_ZIPLIST, encode_string(encode_ziplist(texts), compress)


def _encode_listpack_ex(value: Hash, compress: Compress | None) -> bytes:
    expiries = value.expiries
    ordered = sorted(value.fields, key=lambda field: expiries.get(field, _EXPIRY_LIMIT))
    triples = [
        text
        for field in ordered
        for text in (field, value.fields[field], b"%d" % expiries.get(field, 0))
    ]
    least = _EXPIRY.pack(min(expiries.values()))
    return least + encode_string(encode_listpack(triples), compress)


def _encode_metadata(value: Hash, compress: Compress | None) -> bytes:
    least = min(value.expiries.values())
    parts = [_EXPIRY.pack(least), encode_length(len(value.fields))]
    for field, content in value.fields.items():
        expiry = value.expiries.get(field)
        parts += (
            encode_length(0 if expiry is None else expiry - least + 1),
            encode_string(field, compress),
            encode_string(content, compress),
        )
    return b"".join(parts)


def _encode_valkey_hash(value: Hash, compress: Compress | None) -> bytes:
    parts = [encode_length(len(value.fields))]
    for field, content in value.fields.items():
        parts += (
            encode_string(field, compress),
            encode_string(content, compress),
            _EXPIRY.pack(value.expiries.get(field, _NO_EXPIRY)),
        )
    return b"".join(parts)
