"""The summary of a snapshot: how many keys of which type, how large, and whether the file is valid."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, cast

import attrs

from telstate_rdb import constants as c
from telstate_rdb._parser import Measure
from telstate_rdb._recovery import Loss
from telstate_rdb._repeated_keys import RepeatedKeys, hash_of
from telstate_rdb.constants import TYPE_NAMES, VALKEY_VERSION, VERSION_RELEASES
from telstate_rdb.json_form import text_to_json
from telstate_rdb.printable import escape
from telstate_rdb.reader import RdbReader, read_rdb
from telstate_rdb.records import AuxiliaryField, AuxiliaryRecord, FunctionLibrary, KeyRecord
from telstate_rdb.values import RawValue

ENCODINGS: dict[int, str] = {
    c.TYPE_STRING: "string",
    c.TYPE_LIST: "linked list",
    c.TYPE_SET: "table",
    c.TYPE_ZSET: "table, scores as text",
    c.TYPE_HASH: "table",
    c.TYPE_ZSET_2: "table",
    c.TYPE_MODULE_2: "module",
    c.TYPE_HASH_ZIPMAP: "zipmap",
    c.TYPE_LIST_ZIPLIST: "ziplist",
    c.TYPE_SET_INTSET: "intset",
    c.TYPE_ZSET_ZIPLIST: "ziplist",
    c.TYPE_HASH_ZIPLIST: "ziplist",
    c.TYPE_LIST_QUICKLIST: "ziplists",
    c.TYPE_STREAM_LISTPACKS: "listpacks",
    c.TYPE_HASH_LISTPACK: "listpack",
    c.TYPE_ZSET_LISTPACK: "listpack",
    c.TYPE_LIST_QUICKLIST_2: "listpacks",
    c.TYPE_STREAM_LISTPACKS_2: "listpacks",
    c.TYPE_SET_LISTPACK: "listpack",
    c.TYPE_STREAM_LISTPACKS_3: "listpacks",
    c.TYPE_HASH_METADATA_PRE_GA: "table, with expiries",  # also Valkey's
    c.TYPE_HASH_LISTPACK_EX_PRE_GA: "listpack, with expiries",
    c.TYPE_HASH_METADATA: "table, with expiries",
    c.TYPE_HASH_LISTPACK_EX: "listpack, with expiries",
    c.TYPE_STREAM_LISTPACKS_4: "listpacks",
    c.TYPE_STREAM_LISTPACKS_5: "listpacks",
    c.TYPE_ARRAY: "array",
    c.TYPE_HASH_TEMPLATE_LISTPACK: "listpack of a template",
    c.TYPE_HASH_TEMPLATE_LISTPACK_REF: "listpack of a template",
    c.TYPE_HASH_TEMPLATE: "template",
    c.TYPE_HASH_TEMPLATE_REF: "template",
}
"""How a value of each type byte is encoded in a file."""

BIGGEST = 10
"""The number of the biggest keys that a summary has."""


@attrs.define
class Share:
    """The number of keys of one kind, of those of them that expire, and of all their bytes in the file."""

    keys: int = 0
    expiring: int = 0
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
        Keys and bytes by database, type and encoding in the file.
    biggest
        The biggest keys, the biggest first.
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
    shares: dict[tuple[int, str, str], Share] = attrs.field(factory=dict)
    biggest: list[KeySize] = attrs.field(factory=list)
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
        return Share(
            sum(share.keys for share in shares),
            sum(share.expiring for share in shares),
            sum(share.size for share in shares),
        )

    @property
    def format(self) -> str:
        """The version of the file in words."""
        name = "Valkey RDB" if self.version >= VALKEY_VERSION else "RDB"
        release = VERSION_RELEASES.get(self.version)
        return f"{name} version {self.version}" + (f" (since {release})" if release else "")

    @property
    def server(self) -> str:
        """The server that wrote the file, if the file names it."""
        for field, name in (("valkey-ver", "Valkey"), ("redis-ver", "Redis")):
            if field in self.facts:
                return f"{name} {self.facts[field]}"
        return "not said"


def summarise(
    reader: RdbReader[KeyRecord[RawValue] | AuxiliaryRecord],
    wanted: Callable[[Measure], object] | None = None,
) -> Summary:
    """Read a snapshot to its end and summarise it.

    Parameters
    ----------
    reader
        A reader made with ``strict=False, raw=True, auxiliary=True``, of which nothing has been read.
    wanted
        Called with the database, name, type byte, size and expiry of a key; returns something true
        if it is to be counted. The other keys are read as well, to check the whole file. None: count
        all keys.
    """
    summary = Summary(reader.version)
    heap: list[tuple[int, int, KeySize]] = []
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
        some_expire = expiries.count(None) < len(expiries)
        repeated.add(database, _living_names(keys, now) if some_expire else names)
        if wanted is not None:
            keys = [measure for measure in keys if wanted(measure)]
            if not keys:
                continue
            _, _, types, sizes, expiries = zip(*keys)
        kinds = set(types)
        for type_ in kinds:
            kind = TYPE_NAMES[type_], ENCODINGS.get(type_, f"type {type_}")
            share = summary.shares.setdefault((database, *kind), Share())
            share.keys += types.count(type_)
            is_only_kind = len(kinds) == 1
            share.size += sum(sizes if is_only_kind else compress(sizes, map(type_.__eq__, types)))
            if some_expire:
                of_kind = expiries if is_only_kind else compress(expiries, map(type_.__eq__, types))
                share.expiring += sum(expiry is not None for expiry in of_kind)
        if len(heap) < BIGGEST or max(sizes) > heap[0][0]:
            for number, (size, measure) in enumerate(zip(sizes, keys), keys_before):
                if len(heap) < BIGGEST:
                    heapq.heappush(heap, (size, -number, _key_size(measure)))
                elif size > heap[0][0]:
                    heapq.heapreplace(heap, (size, -number, _key_size(measure)))
        keys_before += len(keys)
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
    databases: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for (database, kind, encoding), share in sorted(summary.shares.items()):
        types = databases.setdefault(str(database), {})
        types.setdefault(kind, {})[encoding] = _share(share)
    return {
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
        "biggest": [
            {
                "db": entry.database,
                "key": text_to_json(entry.key),
                "type": entry.type,
                "bytes": entry.size,
                "expiry": entry.expiry,
            }
            for entry in summary.biggest
        ],
        "losses": [attrs.asdict(loss) | {"key": text_to_json(loss.key)} for loss in summary.losses],
        "repeated": [
            {"db": repeated.database, "key": text_to_json(repeated.key)}
            for repeated in summary.repeated
        ],
    }


def _share(share: Share) -> dict[str, int]:
    """Return a share in the types of JSON."""
    return {"keys": share.keys, "expiring": share.expiring, "bytes": share.size}
