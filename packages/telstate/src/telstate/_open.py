"""From a text, as typed in a shell, to a telescope state: of a snapshot, wherever it is, or of a server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from telstate._sources import Source, is_address
from telstate.snapshots import load_into
from telstate.telescope_state import TelescopeState
from telstate_backends import ConnectionError
from telstate_codec import Key
from telstate_codec.printable import escape

if TYPE_CHECKING:
    from telstate._download import Downloaded
    from telstate.snapshots import Collisions

_SUFFIXES = (".rdb", ".rdb.gz")


def names_snapshot(store: Source) -> bool:
    """Return whether `open_store` takes something for a snapshot, and not for a server."""
    if not isinstance(store, str) or is_address(store):
        return True
    if "://" in store:
        return False
    is_there = os.path.exists(store) and not os.path.isdir(store)
    return is_there or store.endswith(_SUFFIXES) or os.sep in store


def open_store(
    store: Source,
    *,
    prefixes: Iterable[Key] = ("",),
    database: int | None = None,
    keys: Iterable[Key] | None = None,
    strict: bool = True,
    collisions: Collisions = "warn",
    progress: Downloaded | None = None,
) -> TelescopeState:
    """Open a snapshot, or connect to a server, as the command ``telstate`` does.

    Parameters
    ----------
    store
        A snapshot: the path of a file (that gzip may have compressed), an ``https://`` or ``s3://``
        address, or an open binary file. Or a server: a URL such as ``redis://host:6379/1``, ``host:port``
        or ``host``. A text without ``://`` is a path if there is such a file, if it ends in ``.rdb`` or
        ``.rdb.gz``, or if it has a slash.
    prefixes
        The view, as for `TelescopeState`.
    database
        The database of a server (default: 0, or that of the URL), or the one to load from a snapshot
        (default: all).
    keys
        Full names or glob patterns of the keys to load from a snapshot; a server has all its keys anyway.
        Default: all.
    strict, collisions
        As for `TelescopeState.load_from_file`.
    progress
        Called during a download with the number of bytes that have arrived, and that of the whole file, or
        None if it is not known. Default: none.

    Returns
    -------
    ts
        A telescope state in memory, or one that is connected. Close it, or use it in a ``with`` statement.

    Raises
    ------
    OSError
        If a snapshot cannot be opened or downloaded.
    RdbParseError
        If it is corrupt.
    ConnectionError
        If a server cannot be reached.
    ValueError
        If a URL is not valid, or names another database.

    Examples
    --------
    >>> import os, tempfile
    >>> from telstate import TelescopeState, open_store
    >>> ts = TelescopeState()
    >>> ts["n_chans"] = 4096
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "observation.rdb")
    ...     count = ts.save(path)
    ...     with open_store(path) as again:
    ...         again["n_chans"]
    4096
    """
    if names_snapshot(store):
        ts = TelescopeState(prefixes=prefixes)
        load_into(ts.backend, store, strict, keys, database, collisions, progress, in_place=True)
        return ts
    assert isinstance(store, str)
    from telstate_backends import RedisBackend  # which imports redis-py

    if not store.strip():
        raise ValueError("An empty text names no store.")
    try:
        if database == 0 and "://" in store:  # which a URL may contradict
            return TelescopeState(RedisBackend.from_url(store, 0), prefixes=prefixes)
        return TelescopeState(store, database or 0, prefixes)
    except ConnectionError as error:
        if ":" in store:
            raise
        shown = escape(store)
        other = f"{shown} is a folder" if os.path.isdir(store) else f"There is no file {shown}"
        raise ConnectionError(f"{other}, and no server of that name: {error}") from error
