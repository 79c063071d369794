"""The summary of a snapshot: how many keys of which type, how large, and whether the file is valid."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from telstate_rdb._recovery import Loss
from telstate_rdb.constants import VALKEY_VERSION, VERSION_RELEASES
from telstate_rdb.printable import escape
from telstate_rdb.reader import RdbReader
from telstate_rdb.records import AuxiliaryField, AuxiliaryRecord, FunctionLibrary, KeyRecord
from telstate_rdb.values import RawValue

BIGGEST = 10
"""The number of the biggest keys that a summary has."""


@attrs.define
class Share:
    """The number of keys of one kind, and of their bytes in the file."""

    keys: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """Count a key."""
        self.keys += 1
        self.size += size


@attrs.frozen(order=True)
class KeySize:
    """A key, and the number of bytes of it and its value in the file."""

    size: int
    database: int
    key: bytes
    type: str
    expiry: int | None = attrs.field(order=False)


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
        The parts of the file that could not be read.
    """

    version: int
    shares: dict[tuple[int, str], Share] = attrs.field(factory=dict)
    biggest: list[KeySize] = attrs.field(factory=list)
    listed: list[KeySize] | None = None
    facts: dict[str, str] = attrs.field(factory=dict)
    functions: int = 0
    checksum: str = "unread"
    losses: list[Loss] = attrs.field(factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the file."""
        return not self.losses

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
        A reader made with ``raw=True, auxiliary=True``.
    wanted
        Called with a key; returns something true if it is to be listed and counted. The other
        keys are read as well, to check the whole file. None: count all keys and list none.
    """
    summary = Summary(reader.version)
    heap: list[KeySize] = []
    listed: list[KeySize] = []
    for record in reader:
        if isinstance(record, KeyRecord):
            if wanted is not None and not wanted(record.key):
                continue
            size = len(record.key) + len(record.value.body)
            kind = record.value.type_name
            entry = KeySize(size, record.database, record.key, kind, record.expiry)
            summary.shares.setdefault((record.database, kind), Share()).add(size)
            if wanted is not None:
                listed.append(entry)
            if len(heap) < BIGGEST:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        elif isinstance(record, AuxiliaryField):
            summary.facts[show(record.name)] = show(record.value)
        elif isinstance(record, FunctionLibrary):
            summary.functions += 1
    if wanted is not None:
        summary.listed = sorted(listed, key=lambda entry: (entry.database, entry.key))
    summary.biggest = sorted(heap, reverse=True)
    summary.checksum = reader.checksum
    summary.losses = reader.losses
    return summary


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
