"""What a callback of rdbtools is, to the adapter that drives it: the methods that are called."""

# Drive any callback of rdbtools from our reader, so that tools made for rdbtools read any file.
#
# rdbtools' own parser stops at RDB version 9. Here its callbacks (``RdbCallback`` and what was
# derived from it: JSON, memory report, diff, protocol) get the same calls, with the same arguments,
# from files of every version::
#
#     from rdbtools import JSONCallback
#     from telstate_rdb.contrib.rdbtools import drive
#
#     drive("dump.rdb", JSONCallback(sys.stdout.buffer))
#
# Rules, found by watching what rdbtools' parser calls:
#
# * What a file stores as an integer is given as ``int``, everything else as ``bytes``. (A score is a
#   float, but its text, as ``bytes``, where the file has text.) An expiry is a naive ``datetime`` in
#   UTC; ``info`` says how a value is packed and of what size.
# * What rdbtools knows nothing of is given as the nearest that it does: a listpack as a packed form
#   whose encoding is ``"listpack"``, newer quicklists and streams as older ones. Without counterpart,
#   and left out, are functions, slots of a cluster, and expiries of a hash's fields.
# * Files that no Redis writes can differ: keys before any database is selected (they are taken to be
#   in database 0), a database that is selected but empty, or selected twice in a row.
#
# Nothing of rdbtools is imported: it is enough that a callback has the methods.

from __future__ import annotations

import datetime
import struct
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Unpack

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_length, integer_of
from telstate_rdb._packed.intset import decode_intset
from telstate_rdb._packed.listpack import decode_listpack
from telstate_rdb._packed.ziplist import decode_ziplist
from telstate_rdb._packed.zipmap import decode_zipmap
from telstate_rdb._source import Source
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.reader import RdbSource, ReadOptions, read_rdb
from telstate_rdb.records import AuxiliaryField, DatabaseSize, KeyRecord, ModuleAuxiliary
from telstate_rdb.values import RawValue, Stream, StreamGroup, module_name

Info = dict[str, Any]
"""How a value is packed, and how much it was used: ``encoding``, ``sizeof_value``, ``idle`` ..."""


class Callback(Protocol):
    """The methods of ``rdbtools.RdbCallback`` that are called."""

    def start_rdb(self) -> object: ...
    def aux_field(self, key: Any, value: Any) -> object: ...
    def start_database(self, db_number: int) -> object: ...
    def db_size(self, db_size: int, expires_size: int) -> object: ...
    def set(self, key: Any, value: Any, expiry: Any, info: Info) -> object: ...
    def start_hash(self, key: Any, length: int, expiry: Any, info: Info) -> object: ...
    def hset(self, key: Any, field: Any, value: Any) -> object: ...
    def end_hash(self, key: Any) -> object: ...
    def start_set(self, key: Any, cardinality: int, expiry: Any, info: Info) -> object: ...
    def sadd(self, key: Any, member: Any) -> object: ...
    def end_set(self, key: Any) -> object: ...
    def start_list(self, key: Any, expiry: Any, info: Info) -> object: ...
    def rpush(self, key: Any, value: Any) -> object: ...
    def end_list(self, key: Any, info: Info) -> object: ...
    def start_sorted_set(self, key: Any, length: int, expiry: Any, info: Info) -> object: ...
    def zadd(self, key: Any, score: Any, member: Any) -> object: ...
    def end_sorted_set(self, key: Any) -> object: ...
    def start_stream(self, key: Any, listpacks_count: int, expiry: Any, info: Info) -> object: ...
    def stream_listpack(self, key: Any, entry_id: bytes, data: bytes) -> object: ...
    def end_stream(self, key: Any, items: int, last_entry_id: str, cgroups: Any) -> object: ...
    def start_module(self, key: Any, module_name: str, expiry: Any, info: Info) -> object: ...
    def handle_module_data(self, key: Any, opcode: int, data: Any) -> object: ...
    def end_module(self, key: Any, buffer_size: int, buffer: Any = None) -> object: ...
    def end_database(self, db_number: int) -> object: ...
    def end_rdb(self) -> object: ...


Text = bytes | int
_EPOCH = datetime.datetime(1970, 1, 1)
_LAST_SECOND = 221_925_052_800  # 9002-07-12
_INT32_TEXT = 11
_ID = struct.Struct(">QQ")


def drive(source: RdbSource, callback: Callback, **options: Unpack[ReadOptions]) -> None:
    """Read a snapshot and give it to a callback of rdbtools.

    Parameters
    ----------
    source
        A path, bytes or an open binary file.
    callback
        An instance of ``rdbtools.RdbCallback``, or anything with its methods.
    options
        As of :func:`~telstate_rdb.read_rdb`: ``databases``, ``keys``, ``types``, ``strict``,
        ``progress``, ``name``.

    Raises
    ------
    RdbParseError
        If the file is broken; what was before that has been given.
    """
    with read_rdb(source, raw=True, auxiliary=True, **options) as reader:
        callback.start_rdb()
        database: int | None = None

        def enter(number: int) -> None:
            nonlocal database
            if number != database:
                if database is not None:
                    callback.end_database(database)
                callback.start_database(number)
                database = number

        for record in reader:
            match record:
                case KeyRecord():
                    enter(record.database)
                    _give_key(callback, record, reader.name)
                case AuxiliaryField():
                    callback.aux_field(_as_stored(record.name), _as_stored(record.value))
                case DatabaseSize():
                    enter(record.database)
                    callback.db_size(record.keys, record.expiring)
                case ModuleAuxiliary():
                    _give_module_auxiliary(callback, record)
        callback.end_database(database or 0)
        callback.end_rdb()


def _give_key(callback: Callback, record: KeyRecord[RawValue], file: str | None) -> None:
    key = _as_stored(record.key)
    expiry = None if record.expiry is None else _time(record.expiry)
    info: Info = {"idle": record.idle, "freq": record.frequency}
    try:
        _GIVERS[record.value.type_name](callback, key, expiry, info, record.value)
    except RdbParseError as error:
        raise RdbParseError(error.reason, file=file, key=record.key) from error


# ------------------------------------------------------------------------- strings and numbers


def _as_stored(text: bytes) -> Text:
    """Give an integer for what every Redis stores as one: the text of 32 bits."""
    number = integer_of(text) if len(text) <= _INT32_TEXT else None
    return text if number is None or not -1 << 31 <= number < 1 << 31 else number


def _string(source: Source) -> Text:
    """Read a string as it is stored."""
    source.need(1)
    stored = source.buffer[source.position]
    text = source.read_string()
    return int(text) if c.STRING_INT8 <= stored <= c.STRING_INT32 else text


def _packed(text: bytes) -> Text:
    """Give an entry of a ziplist or listpack: what can be an integer there is one."""
    number = integer_of(text)
    return text if number is None else number


def _loose(text: bytes) -> Text:
    """Give the value in a zipmap, where there are no integers: what Python takes for one."""
    try:
        return int(text)
    except ValueError:
        return text


def _time(milliseconds: int) -> datetime.datetime:
    """Give a time; what is later than rdbtools knows is given as the last that it does."""
    seconds, rest = divmod(milliseconds, 1000)
    return _EPOCH + datetime.timedelta(seconds=min(seconds, _LAST_SECOND), milliseconds=rest)


def _all_strings(body: bytes) -> list[Text]:
    """Read a table of strings (types 1 and 2)."""
    source = Source(body)
    return [_string(source) for _ in range(source.read_length())]


# ------------------------------------------------------------------------------- kinds of values


def _give_string(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    callback.set(key, _string(Source(raw.body)), expiry, info=info | {"encoding": "string"})


def _packed_entries(raw: RawValue, info: Info) -> list[Text]:
    """Unpack what is one packed string, and note its encoding and size."""
    encoding, decode, convert = _PACKED[raw.type]
    source = Source(raw.body)
    if raw.type == c.TYPE_HASH_LISTPACK_EX:
        source.skip(8)
    data = source.read_string()
    info |= {"encoding": encoding, "sizeof_value": len(data)}
    return [convert(text) for text in decode(data)]


def _give_list(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    end_info: Info
    if raw.type in _PACKED:
        elements = _packed_entries(raw, info)
        end_info = {"encoding": info["encoding"]}
    elif raw.type == c.TYPE_LIST:
        elements = _all_strings(raw.body)
        end_info = {"encoding": "linkedlist"}
        info |= end_info
    else:
        nodes, size, elements = _quicklist(raw)
        info |= {"encoding": "quicklist", "zips": nodes}
        end_info = {"encoding": "quicklist", "zips": nodes, "sizeof_value": size}
    callback.start_list(key, expiry, info=info)
    for element in elements:
        callback.rpush(key, element)
    callback.end_list(key, info=end_info)


def _quicklist(raw: RawValue) -> tuple[int, int, list[Text]]:
    """Give the nodes of a list, the size of them all, and the elements."""
    source = Source(raw.body)
    nodes = source.read_length()
    elements: list[Text] = []
    size = 0
    for _ in range(nodes):
        new = raw.type == c.TYPE_LIST_QUICKLIST_2
        plain = new and source.read_length() == c.QUICKLIST_PLAIN
        data = source.read_string()
        size += len(data)
        texts = [data] if plain else decode_listpack(data) if new else decode_ziplist(data)
        elements += map(_packed, texts)
    return nodes, size, elements


def _give_set(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    if raw.type in _PACKED:
        members = _packed_entries(raw, info)
    else:
        members = _all_strings(raw.body)
        info["encoding"] = "hashtable"
    callback.start_set(key, len(members), expiry, info=info)
    for member in members:
        callback.sadd(key, member)
    callback.end_set(key)


def _give_sorted_set(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    if raw.type in _PACKED:
        entries = _packed_entries(raw, info)
        scores = (one if isinstance(one, int) else float(one) for one in entries[1::2])
        pairs: list[tuple[Text, object]] = list(zip(entries[::2], scores))
    else:
        info["encoding"] = "skiplist"
        pairs = list(_scored(Source(raw.body), raw.type))
    callback.start_sorted_set(key, len(pairs), expiry, info=info)
    for member, score in pairs:
        callback.zadd(key, score, member)
    callback.end_sorted_set(key)


_SPECIAL_SCORES = {
    c.SCORE_NAN: float("nan"),
    c.SCORE_POSITIVE_INFINITY: float("inf"),
    c.SCORE_NEGATIVE_INFINITY: float("-inf"),
}


def _scored(source: Source, kind: int) -> Iterator[tuple[Text, object]]:
    for _ in range(source.read_length()):
        member = _string(source)
        if kind == c.TYPE_ZSET_2:
            yield member, struct.unpack("<d", source.read(8))[0]
        else:
            size = source.read_byte()
            special = _SPECIAL_SCORES.get(size)
            yield member, source.read(size) if special is None else special


def _give_hash(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    if raw.type in _PACKED:
        entries = _packed_entries(raw, info)
        step = 3 if raw.type in _WITH_EXPIRY else 2
        pairs = list(zip(entries[::step], entries[1::step]))
        if raw.type == c.TYPE_HASH_ZIPMAP:
            texts = decode_zipmap(Source(raw.body).read_string())
            pairs = [(field, value) for field, (_, value) in zip(texts[::2], pairs)]
    else:
        info["encoding"] = "hashtable"
        pairs = list(_fields(raw))
    callback.start_hash(key, len(pairs), expiry, info=info)
    for field, value in pairs:
        callback.hset(key, field, value)
    callback.end_hash(key)


def _fields(raw: RawValue) -> Iterator[tuple[Text, Text]]:
    """Read a table of fields and values, whatever stands before or behind each pair."""
    source = Source(raw.body)
    of_redis = raw.version < c.VALKEY_VERSION
    if raw.type == c.TYPE_HASH_METADATA:
        source.skip(8)
    for _ in range(source.read_length()):
        if raw.type != c.TYPE_HASH and of_redis:
            source.read_length()
        yield _string(source), _string(source)
        if raw.type != c.TYPE_HASH and not of_redis:
            source.skip(8)


def _give_stream(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    source = Source(raw.body)
    nodes = source.read_length()
    callback.start_stream(key, nodes, expiry, info=info | {"encoding": "listpack"})
    for _ in range(nodes):
        identifier = source.read_string()
        callback.stream_listpack(key, identifier, source.read_string())
    items = source.read_length()
    stream = decode_raw(raw)
    assert isinstance(stream, Stream)
    callback.end_stream(key, items, str(stream.last_id), list(map(_group, stream.groups)))


def _group(group: StreamGroup) -> dict[str, Any]:
    return {
        "name": _as_stored(group.name),
        "last_entry_id": str(group.last_id),
        "pending": [
            {
                "id": _ID.pack(*pending.id),
                "delivery_time": _time(pending.delivery_time),
                "delivery_count": pending.delivery_count,
            }
            for pending in group.pending
        ],
        "consumers": [
            {
                "name": _as_stored(consumer.name),
                "seen_time": _time(consumer.seen_time),
                "pending": [{"id": _ID.pack(*one)} for one in consumer.pending],
            }
            for consumer in group.consumers
        ],
    }


# -------------------------------------------------------------------------------------- modules


def _give_module(
    callback: Callback, key: Text, expiry: datetime.datetime | None, info: Info, raw: RawValue
) -> None:
    source = Source(raw.body)
    name = module_name(source.read_length())
    wanted = callback.start_module(key, name, expiry, info=info)
    _give_module_values(callback, key, source, bytes((raw.type,)) + raw.body, bool(wanted))


def _give_module_auxiliary(callback: Callback, record: ModuleAuxiliary) -> None:
    """Give module data of no key, as rdbtools does: with the time that it is for in front."""
    when = bytes((c.MODULE_UNSIGNED,)) + encode_length(record.when)
    info: Info = {"idle": None, "freq": None}
    wanted = callback.start_module(None, record.name, None, info=info)
    recorded = bytes((c.TYPE_MODULE_2,)) + encode_length(record.id) + when + record.body
    _give_module_values(callback, None, Source(when + record.body), recorded, bool(wanted))


_MODULE_NUMBERS: dict[int, Callable[[Source], object]] = {
    c.MODULE_SIGNED: Source.read_length,
    c.MODULE_UNSIGNED: Source.read_length,
    c.MODULE_FLOAT: lambda source: struct.unpack("<f", source.read(4))[0],
    c.MODULE_DOUBLE: lambda source: struct.unpack("<d", source.read(8))[0],
    c.MODULE_STRING: _string,
}


def _give_module_values(
    callback: Callback, key: Text | None, source: Source, recorded: bytes, wanted: bool
) -> None:
    while (opcode := source.read_length()) != c.MODULE_END:
        if opcode not in _MODULE_NUMBERS:
            raise source.error(f"a module's value has the unknown mark {opcode}")
        callback.handle_module_data(key, opcode, _MODULE_NUMBERS[opcode](source))
    # The size is that of all but the mark of the end.
    callback.end_module(key, buffer_size=len(recorded) - 1, buffer=recorded if wanted else None)


# --------------------------------------------------------------------------------------- tables

_WITH_EXPIRY = frozenset({c.TYPE_HASH_LISTPACK_EX, c.TYPE_HASH_LISTPACK_EX_PRE_GA})

# Types that are one packed string: name of the encoding, how it is unpacked, and what is a number.
_PACKED: dict[int, tuple[str, Callable[[bytes], list[bytes]], Callable[[bytes], Text]]] = {
    c.TYPE_HASH_ZIPMAP: ("zipmap", decode_zipmap, _loose),
    c.TYPE_LIST_ZIPLIST: ("ziplist", decode_ziplist, _packed),
    c.TYPE_SET_INTSET: ("intset", decode_intset, _packed),
    c.TYPE_ZSET_ZIPLIST: ("ziplist", decode_ziplist, _packed),
    c.TYPE_HASH_ZIPLIST: ("ziplist", decode_ziplist, _packed),
    c.TYPE_HASH_LISTPACK: ("listpack", decode_listpack, _packed),
    c.TYPE_ZSET_LISTPACK: ("listpack", decode_listpack, _packed),
    c.TYPE_SET_LISTPACK: ("listpack", decode_listpack, _packed),
    c.TYPE_HASH_LISTPACK_EX: ("listpack", decode_listpack, _packed),
    c.TYPE_HASH_LISTPACK_EX_PRE_GA: ("listpack", decode_listpack, _packed),
}

_GIVERS: dict[c.TypeName, Callable[..., None]] = {
    "string": _give_string,
    "list": _give_list,
    "set": _give_set,
    "zset": _give_sorted_set,
    "hash": _give_hash,
    "stream": _give_stream,
    "module": _give_module,
}
