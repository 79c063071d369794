"""Snapshots to read, wherever they are: a path, an open file, an ``https://`` or an ``s3://`` address.

Rules: what gzip compressed is recognised by its first bytes, not by its name. A file at an address is
downloaded to a temporary file first, so that a server that fails halfway leaves nothing half loaded.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from telstate_rdb.printable import without_credentials

if TYPE_CHECKING:
    from telstate._download import Downloaded
    from telstate_rdb import BinaryReader

#: Where a snapshot can be: a path, an ``https://`` or ``s3://`` address, or an open file of bytes (also a
#: decompressor, or an HTTP response).
Source: TypeAlias = "str | os.PathLike[str] | BinaryReader"

_GZIP = b"\x1f\x8b"
_ADDRESS = re.compile(r"\s*(https?|s3)://", re.IGNORECASE)


def is_address(source: object) -> bool:
    """Return whether a source is the text of an address to download from."""
    return isinstance(source, str) and _ADDRESS.match(source) is not None


@contextmanager
def open_source(
    source: Source,
    progress: Downloaded | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Source]:
    """Open a snapshot to read it; the path of a file that needs nothing done is returned as it is."""
    if isinstance(source, str) and is_address(source):
        from telstate._download import download  # which imports an HTTP client

        file = download(source, progress, stop or threading.Event())
    elif isinstance(source, str | os.PathLike):
        with without_credentials():
            file = open(source, "rb")
    else:
        yield _decompressed(source)
        return
    with file:
        opened = _decompressed(file)
        is_plain = opened is file and not is_address(source) and file.seekable()
        yield source if is_plain else opened


@asynccontextmanager
async def open_source_async(source: Source) -> AsyncIterator[Source]:
    """Open a snapshot as `open_source` does, in a thread; a download ends when the task is cancelled."""
    from asyncio import to_thread

    stop = threading.Event()
    opening = open_source(source, stop=stop)
    try:
        opened = await to_thread(opening.__enter__)
    except BaseException:
        stop.set()
        raise
    try:
        yield opened
    finally:
        opening.__exit__(None, None, None)


def _decompressed(file: Any) -> Source:
    """Return a reader of the contents of a file: the file itself, unless gzip compressed it."""
    if isinstance(file, io.BufferedReader) and file.peek(2)[:2] == _GZIP:
        from gzip import GzipFile

        file = GzipFile(file.name if isinstance(file.name, str) else "", "rb", fileobj=file)
    return cast("BinaryReader", file)
