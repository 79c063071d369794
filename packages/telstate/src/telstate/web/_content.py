"""What the page shows of a store and its keys, as JSON of a bounded size."""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import attrs
import numpy as np

from telstate._summaries import KeySummary, describe, describe_value, natural
from telstate._texts import (
    advise_on_options,
    format_encoded,
    has_more_items,
    pretty_value,
    show_time,
)
from telstate._tree import Node, arrange
from telstate.overview import StoreSummary, summarise_store
from telstate.plot._panels import Bands
from telstate.web._plots import describe_array
from telstate.web._reader import decode_sensor
from telstate_backends import KeyType
from telstate_codec import (
    DecodeError,
    EncodeError,
    decode_key,
    decode_sample,
    decode_value,
)
from telstate_codec.json_form import value_to_json
from telstate_codec.printable import bounded_repr, escape

MAX_TEXT = 200_000
"""The most characters of a value as text."""

MAX_JSON = 1_000_000
"""The most bytes of a value as JSON."""

MAX_NAMES = 500
"""The most names of a list in the overview."""

MAX_ITEMS = 100_000
"""The most items of a value that is shown whole."""

_WIDTH = 100  # characters of a line of a value
_MOST = 10  # sensors with the highest rate
_MAX_TARGETS = 100
_CHUNK = 1 << 16

Json: TypeAlias = dict[str, Any]
KINDS: Mapping[KeyType, str] = {
    KeyType.IMMUTABLE: "a",
    KeyType.MUTABLE: "m",
    KeyType.INDEXED: "i",
}
"""The letter by which the page knows the kind of a key: attribute, sensor (mutable), indexed."""


def list_keys(kinds: Mapping[bytes, KeyType]) -> Json:
    """Return all keys with their kinds, and the tree of them."""
    bare = [KeySummary(decode_key(key), kind, "") for key, kind in kinds.items()]
    bare.sort(key=lambda summary: natural(summary.name))
    names = [[summary.name, KINDS[summary.kind]] for summary in bare]
    tree = [_node_to_json(node) for node in arrange(bare, expand=True)]
    return {"digest": digest_of(kinds), "keys": names, "tree": tree}


def digest_of(kinds: Mapping[bytes, KeyType]) -> str:
    """Return a text that is the same for the same keys and kinds."""
    content = b"".join(
        b"%d%d:%b" % (kind.value, len(key), key) for key, kind in sorted(kinds.items())
    )
    return f"{crc32(content):08x}"


def _node_to_json(node: Node) -> Json:
    key = node.key
    children = [_node_to_json(child) for child in node.alike or node.children]
    return {
        "label": node.name,
        "key": None if key is None else key.name,
        "kind": None if key is None else KINDS[key.kind],
        "count": (key is not None) + sum(child["count"] for child in children),
        "fold": bool(node.alike),
        "children": children,
    }


def summary_to_json(summary: KeySummary) -> Json:
    """Return a line about a key."""
    return {
        "key": summary.name,
        "kind": KINDS[summary.kind],
        "samples": summary.count,
        "first": summary.first,
        "last": summary.last,
        "type": summary.type,
        "value": summary.value,
        "bytes": summary.size,
    }


# -------------------------------------------------------------------------------------------- values


def describe_contents(kind: KeyType, encoded: bytes, time: float | None, part: str) -> Json:
    """Return the value of an attribute, or of the latest sample of a sensor."""
    answer: Json = {"kind": KINDS[kind], "time": time, "value": None, "text": "", "array": None}
    try:
        value = decode_value(encoded)
    except DecodeError as error:
        return answer | {"error": advise_on_options(str(error))}
    if isinstance(value, np.ndarray):
        answer["array"] = describe_array(value, part)
    text = (
        describe_value(value) if has_more_items(value, MAX_ITEMS) else pretty_value(value, _WIDTH)
    )
    answer |= {"text": text[:MAX_TEXT], "cut": len(text) > MAX_TEXT, "value_cut": True}
    if len(encoded) <= MAX_JSON and not has_more_items(value, MAX_ITEMS):
        try:
            content = value_to_json(value)
        except EncodeError:  # of a pickle
            return answer
        if len(json.dumps(content)) <= MAX_JSON:
            answer |= {"value": content, "value_cut": False}
    return answer


def list_sub_keys(items: Mapping[bytes, bytes], offset: int, limit: int) -> Json:
    """Return some of the sub-keys and values of an indexed key, in natural order."""
    rows = [
        [name, describe(items[sub_key])]
        for name, sub_key in _named_sub_keys(items)[offset : offset + limit]
    ]
    return {"kind": KINDS[KeyType.INDEXED], "total": len(items), "offset": offset, "rows": rows}


def _named_sub_keys(items: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Return sub-keys with their texts, in natural order."""
    named = [(_sub_key_text(sub_key), sub_key) for sub_key in items]
    return sorted(named, key=lambda pair: natural(pair[0]))


def _sub_key_text(encoded: bytes) -> str:
    try:
        value = decode_value(encoded)
    except DecodeError:
        return describe(encoded)
    return value if isinstance(value, str) else bounded_repr(value)


def list_samples(members: Sequence[bytes], total: int, offset: int) -> Json:
    """Return some of the samples of a sensor as times and short texts."""
    rows = []
    for member in members:
        time, encoded = decode_sample(member)
        rows.append([time, describe(encoded)])
    return {"total": total, "offset": offset, "samples": rows}


def write_csv(names: Sequence[str], found: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the samples of sensors as CSV, joined on time, as ``telstate range --csv`` does."""
    labels = ["value"] if len(names) == 1 else [escape(name) for name in names]
    rows = _joined(found) if len(found) > 1 else _single(found[0])
    return _write(["time", *labels], rows)


def write_items(items: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the sub-keys and values of an indexed key as CSV, in natural order."""
    sub_keys = (sub_key for _, sub_key in _named_sub_keys(items))
    return _write(
        ["sub_key", "value"],
        ([format_encoded(one), format_encoded(items[one])] for one in sub_keys),
    )


def _write(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(header)
    for row in rows:
        writer.writerow(row)
        if buffer.tell() >= _CHUNK:
            yield buffer.getvalue().encode(errors="backslashreplace")
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode(errors="backslashreplace")


def _single(members: Iterable[bytes]) -> Iterator[list[Any]]:
    for time, encoded in map(decode_sample, members):
        yield [show_time(time), format_encoded(encoded)]


def _joined(found: Sequence[Iterable[bytes]]) -> Iterator[list[Any]]:
    """Yield a row for each time; of several samples of a sensor at one time, it has the last."""
    merged = heapq.merge(
        *(
            [(member[:8], place, member) for member in members]
            for place, members in enumerate(found)
        )
    )
    moment = b""
    row: list[Any] = []
    for key, place, member in merged:
        if key != moment and moment:
            yield row
        time, encoded = decode_sample(member)
        if key != moment:
            moment, row = key, [show_time(time), *[None] * len(found)]
        row[place + 1] = format_encoded(encoded)
    if moment:
        yield row


# ------------------------------------------------------------------------------------------ overview


def overview_to_json(summaries: Sequence[KeySummary], server: str | None) -> Json:
    """Return what a store holds in all."""
    return _summary_to_json(summarise_store(list(summaries), server)) | {
        "rates": _rates(summaries),
    }


def _summary_to_json(summary: StoreSummary) -> Json:
    return {
        "keys": {letter: summary.keys.get(kind, 0) for kind, letter in KINDS.items()},
        "samples": summary.samples,
        "bytes": summary.size,
        "first": summary.first,
        "last": summary.last,
        "capture_blocks": summary.capture_blocks[:MAX_NAMES],
        "streams": summary.streams[:MAX_NAMES],
        "antennas": summary.antennas[:MAX_NAMES],
        "pickles": summary.pickles[:MAX_NAMES],
        "pickles_total": len(summary.pickles),
        "biggest": [summary_to_json(key) for key in summary.biggest],
    }


def snapshot_to_json(summary: StoreSummary) -> Json | None:
    """Return what a file is that a store was read from."""
    snapshot = summary.snapshot
    return None if snapshot is None else attrs.asdict(snapshot) | {"sound": snapshot.sound}


def _rates(summaries: Iterable[KeySummary]) -> list[Json]:
    """Return the sensors with the most samples per second."""
    rates = [
        (key.count / (key.last - key.first), key)
        for key in summaries
        if key.first is not None and key.last is not None and key.last > key.first
    ]
    busiest = heapq.nlargest(_MOST, rates, key=lambda pair: pair[0])
    return [
        {"key": key.name, "rate": rate, "samples": key.count, "last": key.last}
        for rate, key in busiest
    ]


def target_sensors(summaries: Iterable[KeySummary], antennas: Sequence[str]) -> list[KeySummary]:
    """Return the sensors that say what was observed: those of the array, or else one of an antenna."""
    found = [
        key
        for key in summaries
        if key.kind is KeyType.MUTABLE and (key.name == "target" or key.name.endswith("_target"))
    ]
    own = tuple(f"{antenna}_" for antenna in antennas)
    return [key for key in found if not own or not key.name.startswith(own)] or found[:1]


def targets_to_json(name: str, members: Sequence[bytes]) -> Json:
    """Return the different values of a sensor of targets, in the order in which they came first."""
    sensor = decode_sensor(name, members)
    if not isinstance(sensor, Bands):
        return {"key": name, "targets": []}
    codes, firsts, counts = np.unique(sensor.codes, return_index=True, return_counts=True)
    order = np.argsort(firsts)[:_MAX_TARGETS]
    targets = []
    for code, first, count in zip(codes[order], firsts[order], counts[order]):
        text = sensor.labels[int(code)]
        first_name = text.partition(",")[0].split("|")[0].strip().lstrip("*")
        targets.append(
            {
                "name": first_name or text,
                "text": text[:200],
                "first": float(sensor.times[int(first)]),
                "samples": int(count),
            }
        )
    return {"key": name, "targets": [one for one in targets if one["text"] not in ("''", '""')]}
