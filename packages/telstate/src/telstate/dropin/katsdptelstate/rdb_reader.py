"""Reading RDB files into a callback: an object that is told of one key after the other."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from telstate_backends.errors import RdbParseError, translate_rdb_errors
from telstate_rdb.contrib.rdbtools import Callback, drive

__all__ = ["BackendCallback", "RdbParseError", "load_from_file"]


class BackendCallback(Callback):
    """What is told of keys; a class derived from it does something with them and counts them.

    It has the methods of ``rdbtools.RdbCallback``, which here do nothing. What a file stores as an
    integer is given as one; `as_bytes` makes it the text again that it stands for.

    Attributes
    ----------
    n_keys : int
        How many keys it has taken, by its own count.
    client_busy : bool
        Nothing looks at it any more: an error of the callback comes out as it is in any case.
    """

    def __init__(self) -> None:
        self.n_keys = 0
        self.client_busy = False


@translate_rdb_errors()
def load_from_file(
    callback: BackendCallback, file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO
) -> int:
    """Read an RDB file of any version into a callback.

    Parameters
    ----------
    callback
        What is told of the keys.
    file
        Path of the file, or an open binary file.

    Returns
    -------
    count
        How many keys the callback has counted.

    Raises
    ------
    RdbParseError
        If the file is broken.
    OSError
        If it cannot be opened.
    """
    # Bytes would be taken for the content.
    drive(os.fsdecode(file) if isinstance(file, (bytes, os.PathLike)) else file, callback)
    return callback.n_keys


def as_bytes(text: Any) -> bytes:
    """Give the bytes that a callback was told of, or that an integer stands for."""
    return b"%d" % text if isinstance(text, int) else bytes(text)
