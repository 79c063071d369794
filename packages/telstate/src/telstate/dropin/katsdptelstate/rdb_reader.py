"""Reading RDB files with a callback: an object whose methods are called for each key."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from telstate_backends.errors import RdbParseError, translate_rdb_errors
from telstate_rdb.contrib.rdbtools import Callback, drive

__all__ = ["BackendCallback", "RdbParseError", "load_from_file"]


class BackendCallback(Callback):
    """The base of callbacks; a derived class stores the keys and counts them.

    It has the methods of ``rdbtools.RdbCallback``, which do nothing here. A value that a file stores as
    an integer is passed as an integer; `as_bytes` converts it to the text that it represents.

    Attributes
    ----------
    n_keys : int
        The number of keys that were stored, as counted by the callback.
    client_busy : bool
        Not used any more: an error of the callback is always raised as it is.
    """

    def __init__(self) -> None:
        self.n_keys = 0
        self.client_busy = False


@translate_rdb_errors()
def load_from_file(
    callback: BackendCallback, file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO
) -> int:
    """Read an RDB file of any version with a callback.

    Parameters
    ----------
    callback
        The callback.
    file
        The path of the file, or an open binary file.

    Returns
    -------
    count
        The number of keys that the callback has counted.

    Raises
    ------
    RdbParseError
        If the file is corrupt.
    OSError
        If it cannot be opened.
    """
    # A path as bytes would be taken for the contents.
    drive(os.fsdecode(file) if isinstance(file, (bytes, os.PathLike)) else file, callback)
    return callback.n_keys


def as_bytes(text: Any) -> bytes:
    """Return the bytes that a callback received, or that an integer represents."""
    return b"%d" % text if isinstance(text, int) else bytes(text)
