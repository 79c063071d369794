"""CRC-64/REDIS ("Jones"), the checksum at the end of RDB files and DUMP payloads.

Polynomial ad93d23594c935a9, reflected, initial value 0; computed by anycrc at memory speed.
"""

from __future__ import annotations

import anycrc

_model = anycrc.Model("CRC64-REDIS")
_calculate = _model.calc


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Return the checksum of `data`.

    Parameters
    ----------
    data
        The bytes; a contiguous view is not copied.
    crc
        The checksum of the bytes before `data`, to continue from there.

    Examples
    --------
    >>> hex(crc64(b"123456789"))
    '0xe9c6d914c4b8d9ca'
    >>> hex(crc64(b"6789", crc64(b"12345")))
    '0xe9c6d914c4b8d9ca'
    """
    return _calculate(data, crc)


def combine_crc64(first: int, second: int, second_size: int) -> int:
    """Compute the checksum of two consecutive pieces from the checksum of each."""
    return _model.combine(first, second, second_size)
