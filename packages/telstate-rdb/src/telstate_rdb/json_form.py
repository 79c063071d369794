"""Records as JSON, and back, without losing anything.

Each record is one object: ``{"db": 0, "key": "gain", "type": "string", "value": "1.5"}``, with ``expiry``,
``idle`` and ``frequency`` if the file has them. Bytes that are UTF-8 are a string, all others are
``{"$bytes": BASE64}``. The value of a key is

* a string, or a list of strings for lists and sets;
* an object for hashes (field to value) and sorted sets (member to score), or ``{"$map": [[KEY, VALUE], ...]}``
  if a name is not UTF-8, stands there twice, or would look like one of these marks. An infinite score is
  ``{"$float": "inf"}``. The fields of a hash that expire are in ``field_expiries``, beside the value;
* an object with entries, counters and groups for streams, with id and body for values of modules, and with
  cursor and elements (lists of index and text) for arrays.

Long values are encoded a piece at a time, so that encoding needs little more memory than the value.
"""

from __future__ import annotations

import base64
import codecs
import json
import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, get_args

import attrs

from telstate_rdb.errors import RdbError
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import (
    Array,
    Hash,
    List,
    Module,
    Set,
    SortedSet,
    Stream,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    StreamProducers,
    Value,
)

_BATCH = 1000  # elements that are encoded at once
_PIECE = 3 << 16  # bytes of a long string that are encoded at once; divisible by 3, for Base64

_dumps = json.JSONEncoder(separators=(",", ":")).encode


class JsonFormError(RdbError):
    """JSON that is not a record in the form of this module."""


def encode_json(record: KeyRecord[Value] | AuxiliaryRecord) -> Iterator[str]:
    """Encode a record as JSON.

    Parameters
    ----------
    record
        A record of :func:`telstate_rdb.read_rdb`.

    Yields
    ------
    str
        The pieces of one line, all ASCII, without the end of the line.

    Examples
    --------
    >>> "".join(encode_json(KeyRecord(0, b"gain", b"1.5")))
    '{"db":0,"key":"gain","type":"string","value":"1.5"}'
    >>> "".join(encode_json(KeyRecord(0, b"\\xff", Hash({b"a": b"1"}, {b"a": 1800000000000}))))
    '{"db":0,"key":{"$bytes":"/w=="},"type":"hash","value":{"a":"1"},"field_expiries":{"a":1800000000000}}'
    """
    if not isinstance(record, KeyRecord):
        content = attrs.asdict(record, value_serializer=lambda _, __, value: text_to_json(value))
        yield _dumps({"type": _words(type(record)), **content})
        return
    value = record.value
    type_name = "string" if isinstance(value, bytes) else value.type_name
    head = {"db": record.database, "key": text_to_json(record.key), "type": type_name}
    for name in ("expiry", "idle", "frequency"):
        if (number := getattr(record, name)) is not None:
            head[name] = number
    yield f'{_dumps(head)[:-1]},"value":'
    yield from encode_value_json(value)
    if isinstance(value, Hash) and value.expiries:
        yield ',"field_expiries":'
        yield from _encode_map(value.expiries.items(), int)
    yield "}"


def encode_value_json(value: Value) -> Iterator[str]:
    """Encode a value as JSON, as it stands in its record (without the expiries of fields).

    Parameters
    ----------
    value
        The value of a key.

    Yields
    ------
    str
        The pieces of the JSON, all ASCII.

    Examples
    --------
    >>> "".join(encode_value_json(List((b"a", b"b"))))
    '["a","b"]'
    """
    match value:
        case bytes():
            yield from _encode_text(value)
        case List():
            yield from _encode_array(value.elements, text_to_json)
        case Set():
            yield from _encode_array(value.members, text_to_json)
        case SortedSet():
            yield from _encode_map(_Pairs(value.members, value.scores), _number)
        case Hash():
            yield from _encode_map(value.fields.items(), text_to_json)
        case Stream():
            counters = {
                "last_id": str(value.last_id),
                "first_id": str(value.first_id),
                "max_deleted_id": str(value.max_deleted_id),
                "entries_added": value.entries_added,
            }
            yield f'{_dumps(counters)[:-1]},"entries":'
            yield from _encode_array(value.entries, _entry)
            yield ',"groups":'
            yield from _encode_array(value.groups, _group)
            if value.producers is not None:
                yield ',"producers":' + _dumps(_producers(value.producers))
            yield "}"
        case Array():
            yield _dumps({"cursor": value.cursor})[:-1] + ',"elements":'
            yield from _encode_array(
                value.elements.items(), lambda pair: [pair[0], text_to_json(pair[1])]
            )
            yield "}"
        case Module():
            yield f'{{"id":"{value.id:016x}","name":"{value.name}","body":{{"$bytes":"'
            yield from _encode_base64(value.body)
            yield '"}}'


def decode_json(line: str | bytes) -> KeyRecord[Value] | AuxiliaryRecord:
    """Decode a record that :func:`encode_json` encoded.

    Parameters
    ----------
    line
        The JSON.

    Returns
    -------
    KeyRecord or AuxiliaryRecord
        The record.

    Raises
    ------
    JsonFormError
        If it is not JSON, or not a record.

    Examples
    --------
    >>> decode_json('{"db":0,"key":"gain","type":"string","value":"1.5"}').value
    b'1.5'
    """
    try:
        found = json.loads(line)
        if "key" not in found:
            kind = _AUXILIARY[found.pop("type")]
            return kind(**{name: _field(item) for name, item in found.items()})
        return KeyRecord(
            int(found.get("db", 0)),
            _bytes(found["key"]),
            _DECODERS[found["type"]](found),
            found.get("expiry"),
            found.get("idle"),
            found.get("frequency"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        shown = line[:60] if isinstance(line, str) else line[:60].decode(errors="replace")
        raise JsonFormError(f"This is not the JSON of a record: {shown!r} ({error!r}).") from error


# ---------------------------------------------------------------------------------------- encoding


class _Pairs:
    """Pairs of two columns, to be iterated more than once."""

    def __init__(self, names: Sequence[bytes], values: Iterable[Any]) -> None:
        self._names, self._values = names, values

    def __iter__(self) -> Iterator[tuple[bytes, Any]]:
        return zip(self._names, self._values, strict=True)

    def __len__(self) -> int:
        return len(self._names)


def _batched(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _encode_array(items: Iterable[Any], encode: Callable[[Any], object]) -> Iterator[str]:
    yield "["
    comma = ""
    for batch in _batched(items):
        yield comma + _dumps([encode(item) for item in batch])[1:-1]
        comma = ","
    yield "]"


def _encode_map(pairs: Any, encode: Callable[[Any], object]) -> Iterator[str]:
    """Encode names and values as an object if it can hold them; `pairs` is iterated twice."""
    if not _are_names(pairs):
        yield '{"$map":'
        yield from _encode_array(pairs, lambda pair: [text_to_json(pair[0]), encode(pair[1])])
        yield "}"
        return
    yield "{"
    comma = ""
    for batch in _batched(pairs):
        yield comma + _dumps({name.decode(): encode(value) for name, value in batch})[1:-1]
        comma = ","
    yield "}"


def _are_names(pairs: Any) -> bool:
    """Return whether names can be those of an object in JSON."""
    if len(pairs) == 1 and next(iter(pairs))[0][:1] == b"$":
        return False
    if isinstance(pairs, _Pairs) and len({name for name, _ in pairs}) < len(pairs):
        return False
    return all(_is_text(name) for name, _ in pairs)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_to_json(data: Any) -> object:
    """Return bytes in the types of JSON, and anything else as it is."""
    if not isinstance(data, bytes):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"$bytes": base64.b64encode(data).decode()}


def _encode_text(data: bytes) -> Iterator[str]:
    """Encode a string, a long one in pieces."""
    if len(data) <= _PIECE:
        yield _dumps(text_to_json(data))
        return
    try:
        for _ in _decode_pieces(data):
            pass
    except UnicodeDecodeError:
        yield '{"$bytes":"'
        yield from _encode_base64(data)
        yield '"}'
        return
    yield '"'
    for piece in _decode_pieces(data):
        yield _dumps(piece)[1:-1]
    yield '"'


def _decode_pieces(data: bytes) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _PIECE):
        yield decoder.decode(data[start : start + _PIECE])
    yield decoder.decode(b"", final=True)


def _encode_base64(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _PIECE):
        yield base64.b64encode(data[start : start + _PIECE]).decode()


def _number(score: float) -> object:
    return score if math.isfinite(score) else {"$float": str(score)}


def _entry(entry: StreamEntry) -> object:
    fields = [[text_to_json(field), text_to_json(content)] for field, content in entry.fields]
    return {"id": str(entry.id), "fields": fields}


def _producers(producers: StreamProducers) -> object:
    messages = [
        [
            text_to_json(name),
            [[text_to_json(message), str(entry)] for message, entry in entries.items()],
        ]
        for name, entries in producers.messages.items()
    ]
    return attrs.asdict(producers) | {"messages": messages}


def _group(group: StreamGroup) -> object:
    returned = {"returned": list(map(str, group.returned))} if group.returned else {}
    return returned | {
        "name": text_to_json(group.name),
        "last_id": str(group.last_id),
        "entries_read": group.entries_read,
        "pending": [
            {
                "id": str(one.id),
                "delivery_time": one.delivery_time,
                "delivery_count": one.delivery_count,
            }
            for one in group.pending
        ],
        "consumers": [
            {
                "name": text_to_json(one.name),
                "seen_time": one.seen_time,
                "active_time": one.active_time,
                "pending": list(map(str, one.pending)),
            }
            for one in group.consumers
        ],
    }


def _words(kind: type) -> str:
    """Return the name of a class in words.

    Examples
    --------
    >>> _words(StreamGroup)
    'stream group'
    """
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


_AUXILIARY: dict[str, Callable[..., AuxiliaryRecord]] = {
    _words(kind): kind for kind in get_args(AuxiliaryRecord)
}


# ---------------------------------------------------------------------------------------- decoding


def _bytes(found: Any) -> bytes:
    if isinstance(found, str):
        return found.encode()
    return base64.b64decode(found["$bytes"], validate=True)


def _field(found: Any) -> object:
    """Decode a field of a record that is not a key."""
    if isinstance(found, list):
        return tuple(map(_field, found))
    return _bytes(found) if isinstance(found, str | dict) else found


def _pairs(found: Any) -> Iterable[tuple[bytes, Any]]:
    if list(found) == ["$map"]:
        return [(_bytes(name), value) for name, value in found["$map"]]
    return [(name.encode(), value) for name, value in found.items()]


def _float(found: Any) -> float:
    return float(found["$float"] if isinstance(found, dict) else found)


def _decode_sorted_set(record: Mapping[str, Any]) -> SortedSet:
    pairs = list(_pairs(record["value"]))
    scores = array("d", (_float(score) for _, score in pairs))
    return SortedSet(tuple(member for member, _ in pairs), scores)


def _decode_hash(record: Mapping[str, Any]) -> Hash:
    fields = {field: _bytes(content) for field, content in _pairs(record["value"])}
    return Hash(fields, dict(_pairs(record.get("field_expiries", {}))))


def _id(text: str) -> StreamId:
    milliseconds, _, sequence = text.partition("-")
    return StreamId(int(milliseconds), int(sequence))


def _decode_stream(record: Mapping[str, Any]) -> Stream:
    found = record["value"]
    return Stream(
        tuple(
            StreamEntry(
                _id(one["id"]), tuple((_bytes(name), _bytes(text)) for name, text in one["fields"])
            )
            for one in found["entries"]
        ),
        _id(found["last_id"]),
        _id(found["first_id"]),
        _id(found["max_deleted_id"]),
        found["entries_added"],
        tuple(map(_decode_group, found["groups"])),
        _decode_producers(found["producers"]) if "producers" in found else None,
    )


def _decode_producers(found: Mapping[str, Any]) -> StreamProducers:
    messages = {
        _bytes(name): {_bytes(message): _id(entry) for message, entry in entries}
        for name, entries in found["messages"]
    }
    return StreamProducers(**{**found, "messages": messages})


def _decode_array(record: Mapping[str, Any]) -> Array:
    found = record["value"]
    return Array({index: _bytes(text) for index, text in found["elements"]}, found["cursor"])


def _decode_group(found: Mapping[str, Any]) -> StreamGroup:
    return StreamGroup(
        _bytes(found["name"]),
        _id(found["last_id"]),
        found["entries_read"],
        tuple(
            StreamPending(_id(one["id"]), one["delivery_time"], one["delivery_count"])
            for one in found["pending"]
        ),
        tuple(
            StreamConsumer(
                _bytes(one["name"]),
                one["seen_time"],
                one["active_time"],
                tuple(map(_id, one["pending"])),
            )
            for one in found["consumers"]
        ),
        tuple(map(_id, found.get("returned", ()))),
    )


_DECODERS: dict[str, Callable[[Mapping[str, Any]], Value]] = {
    "string": lambda record: _bytes(record["value"]),
    "array": _decode_array,
    "list": lambda record: List(tuple(map(_bytes, record["value"]))),
    "set": lambda record: Set(tuple(map(_bytes, record["value"]))),
    "zset": _decode_sorted_set,
    "hash": _decode_hash,
    "stream": _decode_stream,
    "module": lambda record: Module(
        int(record["value"]["id"], 16), _bytes(record["value"]["body"])
    ),
}
