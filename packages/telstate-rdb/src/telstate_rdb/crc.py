"""CRC-64/REDIS ("Jones"), the checksum at the end of RDB files and DUMP payloads.

Polynomial ad93d23594c935a9, reflected, initially 0, computed by anycrc at the speed of memory.
"""

from __future__ import annotations

import anycrc

_calculate = anycrc.Model("CRC64-REDIS").calc


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Compute the checksum of `data`.

    Parameters
    ----------
    data
        The bytes; a contiguous view is not copied.
    crc
        The checksum of what came before `data`, to go on from there.

    Examples
    --------
    >>> hex(crc64(b"123456789"))
    '0xe9c6d914c4b8d9ca'
    >>> hex(crc64(b"6789", crc64(b"12345")))
    '0xe9c6d914c4b8d9ca'
    """
    return _calculate(data, crc)
