"""The summary of a snapshot: how many keys of which type, how large, and whether the file is valid."""

from __future__ import annotations

import base64
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, cast

import attrs

from telstate_rdb._parser import Measure
from telstate_rdb._recovery import Loss
from telstate_rdb._repeated_keys import RepeatedKeys, hash_of
from telstate_rdb.constants import TYPE_NAMES, VALKEY_VERSION, VERSION_RELEASES
from telstate_rdb.printable import escape
from telstate_rdb.reader import RdbReader, read_rdb
from telstate_rdb.records import AuxiliaryField, AuxiliaryRecord, FunctionLibrary, KeyRecord
from telstate_rdb.values import RawValue

BIGGEST = 10
"""The number of the biggest keys that a summary has."""


@attrs.define
class Share:
    """The number of keys of one kind, and of their bytes in the file."""

    keys: int = 0
    size: int = 0


@attrs.frozen
class KeySize:
    """A key, and the number of bytes of it and its value in the file."""

    size: int
    database: int
    key: bytes
    type: str
    expiry: int | None


@attrs.frozen
class RepeatedKey:
    """A key that occurs twice in a database; None if its name could not be found, as in a pipe."""

    database: int | None
    key: bytes | None


@attrs.define
class Summary:
    """The summary of a snapshot.

    Parameters
    ----------
    version
        The RDB version.
    shares
        Keys and bytes by database and type.
    biggest
        The biggest keys, the biggest first.
    listed
        The requested keys, by database and name; None if none were requested.
    facts
        The auxiliary fields.
    functions
        The number of function libraries.
    checksum
        The state of the file's checksum.
    losses
        The parts of the file that could not be read, and the sorted sets that no server loads.
    repeated
        The keys that occur twice in a database: no server starts from a file that has one.
    """

    version: int
    shares: dict[tuple[int, str], Share] = attrs.field(factory=dict)
    biggest: list[KeySize] = attrs.field(factory=list)
    listed: list[KeySize] | None = None
    facts: dict[str, str] = attrs.field(factory=dict)
    functions: int = 0
    checksum: str = "unread"
    losses: list[Loss] = attrs.field(factory=list)
    repeated: list[RepeatedKey] = attrs.field(factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the file, so that a server of its version loads it."""
        return not self.losses and not self.repeated

    @property
    def total(self) -> Share:
        """All keys together."""
        shares = self.shares.values()
        return Share(sum(share.keys for share in shares), sum(share.size for share in shares))

    @property
    def format(self) -> str:
        """The version of the file in words."""
        name = "Valkey RDB" if self.version >= VALKEY_VERSION else "RDB"
        return f"{name} version {self.version} (since {VERSION_RELEASES[self.version]})"

    @property
    def server(self) -> str:
        """The server that wrote the file, if the file names it."""
        for field, name in (("valkey-ver", "Valkey"), ("redis-ver", "Redis")):
            if field in self.facts:
                return f"{name} {self.facts[field]}"
        return "not said"


def summarise(
    reader: RdbReader[KeyRecord[RawValue] | AuxiliaryRecord],
    wanted: Callable[[bytes], object] | None = None,
) -> Summary:
    """Read a snapshot to its end and summarise it.

    Parameters
    ----------
    reader
        A reader made with ``strict=False, raw=True, auxiliary=True``, of which nothing has been read.
    wanted
        Called with a key; returns something true if it is to be listed and counted. The other
        keys are read as well, to check the whole file. None: count all keys and list none.
    """
    summary = Summary(reader.version)
    heap: list[tuple[int, int, KeySize]] = []
    listed: list[KeySize] = []
    keys_before = 0
    repeated = RepeatedKeys()
    now = int(time.time() * 1000)
    for batch in reader.measures():
        if not isinstance(batch[0], tuple):
            for record in batch:
                _note_other(summary, record)
            continue
        keys = cast("list[Measure]", batch)
        databases, names, types, sizes, expiries = zip(*keys)
        database = databases[0]
        repeated.add(database, _living_names(keys, now) if any(expiries) else names)
        if wanted is not None:
            keys = [measure for measure in keys if wanted(measure[1])]
            if not keys:
                continue
            _, _, types, sizes, _ = zip(*keys)
            listed += map(_key_size, keys)
        kinds = set(types)
        for type_ in kinds:
            share = summary.shares.setdefault((database, TYPE_NAMES[type_]), Share())
            share.keys += types.count(type_)
            share.size += sum(
                sizes if len(kinds) == 1 else compress(sizes, map(type_.__eq__, types))
            )
        if len(heap) < BIGGEST or max(sizes) > heap[0][0]:
            for number, (size, measure) in enumerate(zip(sizes, keys), keys_before):
                if len(heap) < BIGGEST:
                    heapq.heappush(heap, (size, -number, _key_size(measure)))
                elif size > heap[0][0]:
                    heapq.heapreplace(heap, (size, -number, _key_size(measure)))
        keys_before += len(keys)
    if wanted is not None:
        summary.listed = sorted(listed, key=lambda entry: (entry.database, entry.key))
    summary.biggest = sorted(
        (entry for _, _, entry in heap),
        key=lambda entry: (entry.size, entry.database, entry.key),
        reverse=True,
    )
    summary.checksum = reader.checksum
    summary.losses = reader.losses
    if hashes := repeated.find():
        summary.repeated = _find_names(reader, hashes, now)
    return summary


def _note_other(summary: Summary, record: object) -> None:
    if isinstance(record, AuxiliaryField):
        summary.facts[escape(record.name)] = escape(record.value)
    elif isinstance(record, FunctionLibrary):
        summary.functions += 1


def _key_size(measure: Measure) -> KeySize:
    database, key, type_, size, expiry = measure
    return KeySize(size, database, key, TYPE_NAMES[type_], expiry)


def _living_names(measures: Iterable[Measure], now: int) -> list[bytes]:
    """Return the keys that have not expired, which are those that a server loads."""
    return [key for _, key, _, _, expiry in measures if expiry is None or expiry > now]


def _find_names(
    reader: RdbReader[KeyRecord[RawValue] | AuxiliaryRecord], hashes: set[int], now: int
) -> list[RepeatedKey]:
    """Read a file again to find the keys that have these hashes."""
    source = reader.source_again
    if source is None:
        return [RepeatedKey(None, None)]
    counts: Counter[tuple[int, bytes]] = Counter()
    for record in read_rdb(source, raw=True, strict=False):
        is_suspect = hash_of(record.database, record.key) in hashes
        if is_suspect and (record.expiry is None or record.expiry > now):
            counts[record.database, record.key] += 1
    return [RepeatedKey(*place) for place, count in counts.items() if count > 1]


def show(data: bytes) -> str:
    """Return bytes as printable text, different for different bytes.

    Examples
    --------
    >>> show("größe".encode()), show(b"a\\x1b[2J"), show(b"a\\\\b")
    ('größe', 'a\\\\x1b[2J', 'a\\\\\\\\b')
    """
    return escape(data)


def as_json(summary: Summary, file: str) -> dict[str, Any]:
    """Return a summary in the types of JSON."""
    databases: dict[str, dict[str, dict[str, int]]] = {}
    for (database, kind), share in sorted(summary.shares.items()):
        databases.setdefault(str(database), {})[kind] = _share(share)
    report: dict[str, Any] = {
        "file": file,
        "version": summary.version,
        "format": summary.format,
        "server": summary.server,
        "checksum": summary.checksum,
        "sound": summary.sound,
        **_share(summary.total),
        "databases": databases,
        "functions": summary.functions,
        "facts": summary.facts,
        "biggest": _keys(summary.biggest),
        "losses": [
            attrs.asdict(loss) | ({"key": None} if loss.key is None else _key(loss.key))
            for loss in summary.losses
        ],
        "repeated": [
            {
                "database": repeated.database,
                **({"key": None} if repeated.key is None else _key(repeated.key)),
            }
            for repeated in summary.repeated
        ],
    }
    if summary.listed is not None:
        report["listed"] = _keys(summary.listed)
    return report


def _share(share: Share) -> dict[str, int]:
    """Return a share in the types of JSON."""
    return {"keys": share.keys, "bytes": share.size}


def _key(key: bytes) -> dict[str, object]:
    """Return a key in the types of JSON: as text, and as Base64 if the text is not the key itself."""
    shown = show(key)
    if shown.encode() == key:
        return {"key": shown}
    return {"key": shown, "key_base64": base64.b64encode(key).decode()}


def _keys(entries: Iterable[KeySize]) -> list[dict[str, object]]:
    """Return keys in the types of JSON."""
    return [
        {
            "database": entry.database,
            **_key(entry.key),
            "type": entry.type,
            "bytes": entry.size,
            "expiry": entry.expiry,
        }
        for entry in entries
    ]
