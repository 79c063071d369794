"""DUMP payloads: made. (Taken apart they are in :mod:`telstate_rdb.payloads`.)

Rules: a payload is a value as it stands in a file, between its type byte and a footer of RDB version
and checksum, see :mod:`telstate_rdb.constants`.
"""

from __future__ import annotations

from telstate_rdb.encoding.lzf import compress_lzf
from telstate_rdb.encoding.values import check_version, encode_value, lowest_version
from telstate_rdb.values import RawValue, Value


def encode_dump(value: Value, version: int | None = None, *, compress: bool = False) -> bytes:
    """Make the payload with which ``RESTORE`` makes a value.

    Parameters
    ----------
    value
        The value.
    version
        The RDB version to write it in, 6 to 12 or 80 (Valkey 9); a server refuses versions above
        its own. By default the lowest that holds the value, which is 6 (any server since Redis
        2.6) unless it is a stream, a module's or has fields with an expiry.
    compress
        Whether to compress strings.

    Returns
    -------
    bytes
        What ``DUMP`` would give.

    Raises
    ------
    RdbWriteError
        If the version cannot hold the value, or no server would load it.
    ValueError
        If the version is not one that is written.

    Examples
    --------
    >>> encode_dump(b"4096").hex(" ")
    '00 c1 00 10 06 00 e0 f0 35 21 9c 47 44 6c'
    """
    if version is None:
        version = lowest_version(value)
    check_version(version)
    kind, body = encode_value(value, version, compress_lzf if compress else None)
    return RawValue(kind, body, version).dump()
