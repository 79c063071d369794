"""Driving callbacks of rdbtools, so that tools made for rdbtools read files of every version.

The parser of rdbtools stops at RDB version 9. Here its callbacks (``RdbCallback`` and classes derived from
it: JSON, memory report, diff, protocol) get the same calls with the same arguments::

    from rdbtools import JSONCallback
    from telstate_rdb.contrib.rdbtools import drive

    drive("dump.rdb", JSONCallback(sys.stdout.buffer))

The calls were found by observing the parser of rdbtools:

* A value that the file stores as an integer is passed as ``int``, everything else as ``bytes``. (A score is a
  float, or ``bytes`` if the file has it as text.) An expiry is a naive ``datetime`` in UTC; ``info``
  describes how a value is packed and its size.
* Forms that rdbtools does not know are passed as the nearest that it does: a listpack as a packed form with
  the encoding ``"listpack"``, newer quicklists and streams as older ones. Functions, cluster slots and
  expiries of the fields of a hash have no counterpart and are left out.
* Files that no Redis writes can differ: keys before the first database (they are taken to be in database 0),
  an empty database, or one that is selected twice in a row.

Nothing of rdbtools is imported: a callback only needs the methods. On Python 3.12 and later rdbtools needs
setuptools before version 81, which the extra ``rdbtools`` installs.
"""

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
from telstate_rdb._source import RdbSource, Source
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.reader import ReadOptions, read_rdb
from telstate_rdb.records import AuxiliaryField, DatabaseSize, KeyRecord, ModuleAuxiliary
from telstate_rdb.values import RawValue, Stream, StreamGroup, module_name

Info = dict[str, Any]
"""Describes how a value is packed and used: ``encoding``, ``sizeof_value``, ``idle`` and others."""


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
"""A string, as an integer where the file stores it as one."""

Expiry = datetime.datetime | None
_EPOCH = datetime.datetime(1970, 1, 1)
_LAST_SECOND = 221_925_052_800  # 9002-07-12
_INT32_TEXT = 11
_ID = struct.Struct(">QQ")


def drive(source: RdbSource, callback: Callback, **options: Unpack[ReadOptions]) -> None:
    """Read a snapshot and call the methods of a callback of rdbtools.

    Parameters
    ----------
    source
        A path, bytes or an open binary file.
    callback
        An instance of ``rdbtools.RdbCallback``, or any object with its methods.
    options
        As for :func:`~telstate_rdb.read_rdb`: ``databases``, ``keys``, ``types``, ``strict``,
        ``progress``, ``name``.

    Raises
    ------
    RdbParseError
        If the file is malformed, after the calls for everything before that place.

    Examples
    --------
    >>> from unittest.mock import Mock
    >>> callback = Mock()
    >>> drive(b"REDIS0003\\xfe\\x00\\x00\\x04gain\\x031.5\\xff", callback)
    >>> callback.set.call_args.args
    (b'gain', b'1.5', None)
    """
    with read_rdb(source, raw=True, auxiliary=True, **options) as reader:
        callback.start_rdb()
        database: int | None = None

        def enter_database(number: int) -> None:
            nonlocal database
            if number != database:
                if database is not None:
                    callback.end_database(database)
                callback.start_database(number)
                database = number

        for record in reader:
            match record:
                case KeyRecord():
                    enter_database(record.database)
                    _send_key(callback, record, reader.name)
                case AuxiliaryField():
                    callback.aux_field(_as_stored(record.name), _as_stored(record.value))
                case DatabaseSize():
                    enter_database(record.database)
                    callback.db_size(record.keys, record.expiring)
                case ModuleAuxiliary():
                    _send_module_auxiliary(callback, record)
        callback.end_database(database or 0)
        callback.end_rdb()


def _send_key(callback: Callback, record: KeyRecord[RawValue], file: str | None) -> None:
    key = _as_stored(record.key)
    expiry = None if record.expiry is None else _to_datetime(record.expiry)
    info: Info = {"idle": record.idle, "freq": record.frequency}
    try:
        _SENDERS[record.value.type_name](callback, key, expiry, info, record.value)
    except RdbParseError as error:
        raise RdbParseError(error.reason, file=file, key=record.key) from error


# ------------------------------------------------------------------------------ strings and numbers


def _as_stored(text: bytes) -> Text:
    """Convert a string that every Redis stores as an integer: the text of up to 32 bits."""
    number = integer_of(text) if len(text) <= _INT32_TEXT else None
    return text if number is None or not -1 << 31 <= number < 1 << 31 else number


def _read_string(source: Source) -> Text:
    """Read a string, as an integer if it is stored as one."""
    source.fill(1)
    stored = source.buffer[source.position]
    text = source.read_string()
    return int(text) if c.STRING_INT8 <= stored <= c.STRING_INT32 else text


def _as_packed(text: bytes) -> Text:
    """Convert an entry of a ziplist or listpack, where every 64-bit integer is stored as one."""
    number = integer_of(text)
    return text if number is None else number


def _to_integer(text: bytes) -> Text:
    """Convert a value in a zipmap as rdbtools does."""
    try:
        return int(text)
    except ValueError:
        return text


def _to_datetime(milliseconds: int) -> datetime.datetime:
    """Convert a time; one later than the last that rdbtools can represent becomes that."""
    seconds, rest = divmod(milliseconds, 1000)
    return _EPOCH + datetime.timedelta(seconds=min(seconds, _LAST_SECOND), milliseconds=rest)


def _read_table(body: bytes) -> list[Text]:
    """Read a table of strings (types 1 and 2)."""
    source = Source(body)
    return [_read_string(source) for _ in range(source.read_length())]


# ------------------------------------------------------------------------------------ kinds of values


def _send_string(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    callback.set(key, _read_string(Source(raw.body)), expiry, info=info | {"encoding": "string"})


def _unpack(raw: RawValue, info: Info) -> list[Text]:
    """Decode a value that is one packed string, and add its encoding and size to `info`."""
    encoding, decode = _PACKED[raw.type]
    source = Source(raw.body)
    if raw.type == c.TYPE_HASH_LISTPACK_EX:
        source.skip(8)
    data = source.read_string()
    info |= {"encoding": encoding, "sizeof_value": len(data)}
    texts = decode(data)
    if raw.type == c.TYPE_HASH_ZIPMAP:  # which stores no integers
        return [_to_integer(text) if place % 2 else text for place, text in enumerate(texts)]
    return [_as_packed(text) for text in texts]


def _send_list(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    end_info: Info
    if raw.type in _PACKED:
        elements = _unpack(raw, info)
        end_info = {"encoding": info["encoding"]}
    elif raw.type == c.TYPE_LIST:
        elements = _read_table(raw.body)
        end_info = {"encoding": "linkedlist"}
        info |= end_info
    else:
        nodes, size, elements = _read_quicklist(raw)
        info |= {"encoding": "quicklist", "zips": nodes}
        end_info = {"encoding": "quicklist", "zips": nodes, "sizeof_value": size}
    callback.start_list(key, expiry, info=info)
    for element in elements:
        callback.rpush(key, element)
    callback.end_list(key, info=end_info)


def _read_quicklist(raw: RawValue) -> tuple[int, int, list[Text]]:
    """Return the number of nodes of a list, their total size, and the elements."""
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
        elements += map(_as_packed, texts)
    return nodes, size, elements


def _send_set(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    if raw.type in _PACKED:
        members = _unpack(raw, info)
    else:
        members = _read_table(raw.body)
        info["encoding"] = "hashtable"
    callback.start_set(key, len(members), expiry, info=info)
    for member in members:
        callback.sadd(key, member)
    callback.end_set(key)


def _send_zset(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    if raw.type in _PACKED:
        entries = _unpack(raw, info)
        scores = (text if isinstance(text, int) else float(text) for text in entries[1::2])
        pairs: list[tuple[Text, object]] = list(zip(entries[::2], scores))
    else:
        info["encoding"] = "skiplist"
        pairs = list(_read_scored(Source(raw.body), raw.type))
    callback.start_sorted_set(key, len(pairs), expiry, info=info)
    for member, score in pairs:
        callback.zadd(key, score, member)
    callback.end_sorted_set(key)


_SPECIAL_SCORES = {
    c.SCORE_NAN: float("nan"),
    c.SCORE_POSITIVE_INFINITY: float("inf"),
    c.SCORE_NEGATIVE_INFINITY: float("-inf"),
}


def _read_scored(source: Source, kind: int) -> Iterator[tuple[Text, object]]:
    for _ in range(source.read_length()):
        member = _read_string(source)
        if kind == c.TYPE_ZSET_2:
            yield member, struct.unpack("<d", source.read(8))[0]
        else:
            size = source.read_byte()
            special = _SPECIAL_SCORES.get(size)
            yield member, source.read(size) if special is None else special


def _send_hash(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    if raw.type in _PACKED:
        entries = _unpack(raw, info)
        step = 3 if raw.type in _WITH_EXPIRY else 2
        pairs = list(zip(entries[::step], entries[1::step]))
    else:
        info["encoding"] = "hashtable"
        pairs = list(_read_fields(raw))
    callback.start_hash(key, len(pairs), expiry, info=info)
    for field, value in pairs:
        callback.hset(key, field, value)
    callback.end_hash(key)


def _read_fields(raw: RawValue) -> Iterator[tuple[Text, Text]]:
    """Yield the pairs of a table of fields and values, without their expiries."""
    source = Source(raw.body)
    of_redis = raw.version < c.VALKEY_VERSION
    if raw.type == c.TYPE_HASH_METADATA:
        source.skip(8)
    for _ in range(source.read_length()):
        if raw.type != c.TYPE_HASH and of_redis:
            source.read_length()
        yield _read_string(source), _read_string(source)
        if raw.type != c.TYPE_HASH and not of_redis:
            source.skip(8)


def _send_stream(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    source = Source(raw.body)
    nodes = source.read_length()
    callback.start_stream(key, nodes, expiry, info=info | {"encoding": "listpack"})
    for _ in range(nodes):
        identifier = source.read_string()
        callback.stream_listpack(key, identifier, source.read_string())
    items = source.read_length()
    stream = decode_raw(raw)
    assert isinstance(stream, Stream)
    callback.end_stream(key, items, str(stream.last_id), list(map(_describe_group, stream.groups)))


def _describe_group(group: StreamGroup) -> dict[str, Any]:
    return {
        "name": _as_stored(group.name),
        "last_entry_id": str(group.last_id),
        "pending": [
            {
                "id": _ID.pack(*pending.id),
                "delivery_time": _to_datetime(pending.delivery_time),
                "delivery_count": pending.delivery_count,
            }
            for pending in group.pending
        ],
        "consumers": [
            {
                "name": _as_stored(consumer.name),
                "seen_time": _to_datetime(consumer.seen_time),
                "pending": [{"id": _ID.pack(*id_)} for id_ in consumer.pending],
            }
            for consumer in group.consumers
        ],
    }


# ------------------------------------------------------------------------------------------- modules


def _send_module(callback: Callback, key: Text, expiry: Expiry, info: Info, raw: RawValue) -> None:
    source = Source(raw.body)
    name = module_name(source.read_length())
    wanted = callback.start_module(key, name, expiry, info=info)
    _send_module_values(callback, key, source, bytes((raw.type,)) + raw.body, bool(wanted))


def _send_module_auxiliary(callback: Callback, record: ModuleAuxiliary) -> None:
    """Send the auxiliary data of a module as rdbtools does, after the time at which it was saved."""
    when = bytes((c.MODULE_UNSIGNED,)) + encode_length(record.when)
    info: Info = {"idle": None, "freq": None}
    wanted = callback.start_module(None, record.name, None, info=info)
    recorded = bytes((c.TYPE_MODULE_2,)) + encode_length(record.id) + when + record.body
    _send_module_values(callback, None, Source(when + record.body), recorded, bool(wanted))


_MODULE_NUMBERS: dict[int, Callable[[Source], object]] = {
    c.MODULE_SIGNED: Source.read_length,
    c.MODULE_UNSIGNED: Source.read_length,
    c.MODULE_FLOAT: lambda source: struct.unpack("<f", source.read(4))[0],
    c.MODULE_DOUBLE: lambda source: struct.unpack("<d", source.read(8))[0],
    c.MODULE_STRING: _read_string,
}


def _send_module_values(
    callback: Callback, key: Text | None, source: Source, recorded: bytes, wanted: bool
) -> None:
    while (opcode := source.read_length()) != c.MODULE_END:
        if opcode not in _MODULE_NUMBERS:
            raise source.error(f"the value of a module has the unknown opcode {opcode}")
        callback.handle_module_data(key, opcode, _MODULE_NUMBERS[opcode](source))
    # The size is without the opcode of the end.
    callback.end_module(key, buffer_size=len(recorded) - 1, buffer=recorded if wanted else None)


# -------------------------------------------------------------------------------------------- tables

_WITH_EXPIRY = frozenset({c.TYPE_HASH_LISTPACK_EX, c.TYPE_HASH_LISTPACK_EX_PRE_GA})

# The types that are one packed string: the name of the encoding and its decoder.
_PACKED: dict[int, tuple[str, Callable[[bytes], list[bytes]]]] = {
    c.TYPE_HASH_ZIPMAP: ("zipmap", decode_zipmap),
    c.TYPE_LIST_ZIPLIST: ("ziplist", decode_ziplist),
    c.TYPE_SET_INTSET: ("intset", decode_intset),
    c.TYPE_ZSET_ZIPLIST: ("ziplist", decode_ziplist),
    c.TYPE_HASH_ZIPLIST: ("ziplist", decode_ziplist),
    c.TYPE_HASH_LISTPACK: ("listpack", decode_listpack),
    c.TYPE_ZSET_LISTPACK: ("listpack", decode_listpack),
    c.TYPE_SET_LISTPACK: ("listpack", decode_listpack),
    c.TYPE_HASH_LISTPACK_EX: ("listpack", decode_listpack),
    c.TYPE_HASH_LISTPACK_EX_PRE_GA: ("listpack", decode_listpack),
}

_SENDERS: dict[c.TypeName, Callable[..., None]] = {
    "string": _send_string,
    "list": _send_list,
    "set": _send_set,
    "zset": _send_zset,
    "hash": _send_hash,
    "stream": _send_stream,
    "module": _send_module,
}
