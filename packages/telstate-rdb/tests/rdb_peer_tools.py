"""Run the tools of rdbtools on a file; run by the peer's Python, with our package on its path.

Usage: ``python rdb_peer_tools.py WHOSE FILE``. The output of the JSON, diff, protocol and memory callbacks is
written to standard output, as JSON. WHOSE is the parser: ``ours`` or ``theirs``.
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
    """Collects the records of the memory callback."""

    def __init__(self) -> None:
        self.lines: list[list[Any]] = []

    def next_record(self, record: Iterable[Any]) -> None:
        """Keep the database, type, key, bytes, encoding and size."""
        self.lines.append(list(record)[:6])


def run(whose: str, path: str, callback: Any) -> None:
    """Read a file with a callback."""
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
    random.seed(0)  # the report on skip lists is randomised
    records = Records()
    run(whose, path, rdbtools.MemoryCallback(records, 64))
    found["MemoryCallback"] = records.lines
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
