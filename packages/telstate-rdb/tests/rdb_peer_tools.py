"""Run by the peer's Python, with our package on its path: rdbtools' tools on a file.

``python rdb_peer_tools.py WHOSE FILE`` writes what JSON, diff, protocol and memory callbacks make
of a file to standard output, as JSON. WHOSE is ``ours`` or ``theirs``: the parser.
"""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Iterable
from typing import Any

import rdbtools


class Records:
    """Collects what the memory callback reports."""

    def __init__(self) -> None:
        self.lines: list[list[Any]] = []

    def next_record(self, record: Iterable[Any]) -> None:
        """Keep database, type, key, bytes, encoding and size."""
        self.lines.append(list(record)[:6])


def run(whose: str, path: str, callback: Any) -> None:
    """Give a file to a callback."""
    if whose == "ours":
        from telstate_rdb.contrib.rdbtools import drive

        drive(path, callback)
    else:
        rdbtools.RdbParser(callback).parse(path)


def main(whose: str, path: str) -> None:
    """Run all tools."""
    found: dict[str, Any] = {}
    for kind in ("JSONCallback", "DiffCallback", "ProtocolCallback", "KeyValsOnlyCallback"):
        out = io.BytesIO()
        run(whose, path, getattr(rdbtools, kind)(out, string_escape="base64"))
        found[kind] = out.getvalue().decode("latin-1")
    random.seed(0)  # the report on skip lists rolls dice
    records = Records()
    run(whose, path, rdbtools.MemoryCallback(records, 64))
    found["MemoryCallback"] = records.lines
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
