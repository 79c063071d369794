"""What is in a snapshot, in numbers: pure, from records to a report."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

import attrs

from telstate_rdb.constants import VALKEY_VERSION, VERSION_RELEASES
from telstate_rdb.reading import RdbReader
from telstate_rdb.records import AuxiliaryField, AuxiliaryRecord, FunctionLibrary, KeyRecord
from telstate_rdb.recovering import Loss
from telstate_rdb.values import RawValue

BIGGEST = 10
"""How many of the biggest keys are kept."""


@attrs.define
class Share:
    """How many keys of one kind there are, and how many bytes they have in the file."""

    keys: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """Count a key."""
        self.keys += 1
        self.size += size


@attrs.frozen(order=True)
class KeySize:
    """A key and the bytes that it and its value have in the file."""

    size: int
    database: int
    key: bytes
    type: str
    expiry: int | None = attrs.field(order=False)


@attrs.define
class Summary:
    """What is in a snapshot.

    Parameters
    ----------
    version
        The RDB version.
    shares
        Keys and bytes by database and type.
    biggest
        The biggest keys, the biggest first.
    listed
        All keys, if they were asked for.
    facts
        The auxiliary fields.
    functions
        How many libraries of functions there are.
    checksum
        What the checksum says.
    losses
        What is not sound.
    """

    version: int
    shares: dict[tuple[int, str], Share] = attrs.field(factory=dict)
    biggest: list[KeySize] = attrs.field(factory=list)
    listed: list[KeySize] = attrs.field(factory=list)
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
        """The version in words."""
        name = "Valkey RDB" if self.version >= VALKEY_VERSION else "RDB"
        return f"{name} version {self.version} (since {VERSION_RELEASES[self.version]})"

    @property
    def server(self) -> str:
        """The server that wrote the file, as far as it says."""
        for field, name in (("valkey-ver", "Valkey"), ("redis-ver", "Redis")):
            if field in self.facts:
                return f"{name} {self.facts[field]}"
        return "not said"


def summarise(
    reader: RdbReader[KeyRecord[RawValue] | AuxiliaryRecord], list_keys: bool = False
) -> Summary:
    """Read a snapshot to its end, and say what is in it.

    Parameters
    ----------
    reader
        Made with ``raw=True, auxiliary=True``.
    list_keys
        Whether all keys are to be kept.
    """
    summary = Summary(reader.version)
    heap: list[KeySize] = []
    for record in reader:
        if isinstance(record, KeyRecord):
            size = len(record.key) + len(record.value.body)
            kind = record.value.type_name
            entry = KeySize(size, record.database, record.key, kind, record.expiry)
            summary.shares.setdefault((record.database, kind), Share()).add(size)
            if list_keys:
                summary.listed.append(entry)
            if len(heap) < BIGGEST:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        elif isinstance(record, AuxiliaryField):
            summary.facts[show(record.name)] = show(record.value)
        elif isinstance(record, FunctionLibrary):
            summary.functions += 1
    summary.biggest = sorted(heap, reverse=True)
    summary.checksum = reader.checksum
    summary.losses = reader.losses
    return summary


def show(data: bytes) -> str:
    """Show bytes as text that can be printed anywhere.

    Examples
    --------
    >>> show("größe".encode()), show(b"a\\x1b[2J")
    ('größe', 'a\\\\x1b[2J')
    """
    text = data.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else repr(data)[2:-1]


def as_json(summary: Summary, file: str) -> dict[str, Any]:
    """Give a summary as what JSON has."""
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
            attrs.asdict(loss) | {"key": None if loss.key is None else show(loss.key)}
            for loss in summary.losses
        ],
    }
    if summary.listed:
        report["listed"] = _keys(summary.listed)
    return report


def _share(share: Share) -> dict[str, int]:
    """Give a share as what JSON has."""
    return {"keys": share.keys, "bytes": share.size}


def _keys(entries: Iterable[KeySize]) -> list[dict[str, object]]:
    """Give keys as what JSON has."""
    return [
        {
            "database": entry.database,
            "key": show(entry.key),
            "type": entry.type,
            "bytes": entry.size,
            "expiry": entry.expiry,
        }
        for entry in entries
    ]
