"""The names of keys that a shell offers: within a moment, and without a message whatever happens."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from threading import Thread

from telstate._calls.common import escape_glob
from telstate._open import names_snapshot, open_store
from telstate._sources import is_address, open_source
from telstate._view import View
from telstate_backends import Keys
from telstate_codec import decode_key, encode_key
from telstate_rdb import RdbSource, read_rdb

COMPLETIONS = 200
"""The number of names that are offered."""

SECONDS = 2.0
"""How long to wait for names; those that have been read by then are offered."""


def complete_name(
    store: str, incomplete: str, prefixes: Sequence[str] = ("",), database: int | None = None
) -> list[str]:
    """Return names of keys of a store that begin with a text; none of what would have to be downloaded."""
    if store == "-" or is_address(store):
        return []
    logging.disable()  # a message would appear in the middle of the line
    view = View(tuple(prefixes))
    found: list[str] = []

    def read() -> None:
        try:
            starts = [prefix + incomplete for prefix in prefixes]
            keys = (_read_file if names_snapshot(store) else _read_server)(store, starts, database)
            for key in islice(keys, COMPLETIONS):
                found.extend(name for name in view.short_names([key]) if name.isprintable())
        except Exception:  # of whatever type: those before are offered
            pass

    # A host whose name is being looked up cannot be interrupted, only left.
    thread = Thread(target=read, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return sorted({name for name in list(found) if name.startswith(incomplete)})[:COMPLETIONS]


def _read_file(path: str, starts: Sequence[str], database: int | None) -> Iterator[str]:
    """Yield the keys of a snapshot that begin with one of some texts; no value is decoded."""
    wanted = tuple(map(encode_key, starts))
    with open_source(os.path.expanduser(path)) as opened:
        source: RdbSource = opened
        with read_rdb(
            source, raw=True, databases=database, keys=lambda key: key.startswith(wanted)
        ) as reader:
            for record in reader:
                yield decode_key(record.key)


def _read_server(address: str, starts: Sequence[str], database: int | None) -> Iterator[str]:
    """Yield the keys of a server that begin with one of some texts."""
    with open_store(address, database=database) as ts:
        for start in starts:
            for key in ts.backend.execute(Keys(encode_key(f"{escape_glob(start)}*"))):
                yield decode_key(key)
