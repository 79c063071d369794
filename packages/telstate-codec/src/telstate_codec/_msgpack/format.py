"""The constants of the storage format, in one place; nothing here does anything.

An encoded value is a header byte and what it announces::

    0xFF            MessagePack follows
    0x00 .. 0x80    a pickle (protocol 2 and later start with 0x80, older ones are ASCII)
    0x81 .. 0xFE    reserved

Extension types in the MessagePack, nested at any depth::

    code  Python type     payload
    1     tuple           MessagePack of the elements as a list
    2     complex         real, imaginary: two big-endian float64
    3     numpy.ndarray   a .npy file
    4     numpy.generic   MessagePack of the dtype's descriptor, then the bytes of the value

and MessagePack's own forms of an extension type, "n" being the size of the payload, big-endian::

    d4 .. d8  code  payload of 1, 2, 4, 8, 16 bytes
    c7  n     code  payload
    c8  n n   code  payload
    c9  n n n n  code  payload
"""

from __future__ import annotations

import struct
from typing import Final

ENCODING_PICKLE: Final = b"\x80"
"""Header byte of a pickle of protocol 2, for the `encoding` argument of `encode_value`."""

ENCODING_MSGPACK: Final = b"\xff"
"""Header byte of MessagePack, for the `encoding` argument of `encode_value`."""

ENCODING_DEFAULT: Final = ENCODING_MSGPACK
"""What `encode_value` writes unless it is told otherwise."""

ALLOWED_ENCODINGS: Final = frozenset([ENCODING_PICKLE, ENCODING_MSGPACK])
"""All that `encode_value` can write."""

EXT_TUPLE: Final = 1
EXT_COMPLEX: Final = 2
EXT_ARRAY: Final = 3
EXT_SCALAR: Final = 4

MAX_TUPLE_DEPTH: Final = 128
"""Tuples within tuples that are written and read; more could overflow the C stack of a reader."""

MAX_PAYLOAD: Final = 2**32 - 1
"""Bytes in the payload of an extension type, at most: MessagePack's own limit."""

_FIXED_SIZES: Final = {1: b"\xd4", 2: b"\xd5", 4: b"\xd6", 8: b"\xd7", 16: b"\xd8"}


def ext_header(code: int, size: int) -> bytes:
    """Give the MessagePack bytes that come before an extension type's payload.

    Examples
    --------
    >>> ext_header(EXT_COMPLEX, 16), ext_header(EXT_ARRAY, 136)
    (b'\\xd8\\x02', b'\\xc7\\x88\\x03')
    """
    if size in _FIXED_SIZES:
        return _FIXED_SIZES[size] + bytes([code])
    if size < 2**8:
        return struct.pack(">BBB", 0xC7, size, code)
    if size < 2**16:
        return struct.pack(">BHB", 0xC8, size, code)
    return struct.pack(">BIB", 0xC9, size, code)
