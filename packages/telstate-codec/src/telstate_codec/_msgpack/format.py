"""The storage format: header bytes, extension types, and the forms of MessagePack.

An encoded value is a header byte followed by what the byte announces::

    0xFF            MessagePack
    0x00 .. 0x80    a pickle (protocol 2 and later start with 0x80, older ones are ASCII)
    0x81 .. 0xFE    reserved

Four extension types, nested at any depth, hold what MessagePack itself does not have::

    code  Python type     payload
    1     tuple           MessagePack of the elements as a list
    2     complex         real, imaginary: two big-endian float64
    3     numpy.ndarray   a .npy file
    4     numpy.generic   MessagePack of the dtype's descriptor, then the bytes of the value

Every MessagePack object starts with a byte that says which form it has (`FORMS`)::

    form  [length, big-endian]  [code, for extension types]  content
"""

from __future__ import annotations

import struct
from typing import Final, Literal, NamedTuple, TypeAlias

ENCODING_PICKLE: Final = b"\x80"
"""Header byte of a pickle of protocol 2, for the `encoding` argument of `encode_value`."""

ENCODING_MSGPACK: Final = b"\xff"
"""Header byte of MessagePack, for the `encoding` argument of `encode_value`."""

ENCODING_DEFAULT: Final = ENCODING_MSGPACK
"""The encoding that `encode_value` uses by default."""

ALLOWED_ENCODINGS: Final = frozenset([ENCODING_PICKLE, ENCODING_MSGPACK])
"""All encodings that `encode_value` can write."""

MSGPACK_BYTE: Final = ENCODING_MSGPACK[0]
LAST_PICKLE_BYTE: Final = ENCODING_PICKLE[0]

CODE_TUPLE: Final = 1
CODE_COMPLEX: Final = 2
CODE_ARRAY: Final = 3
CODE_SCALAR: Final = 4

MAX_TUPLE_DEPTH: Final = 128
"""Deepest nesting of tuples that is written and read; more could overflow the C stack of a reader."""

MAX_PAYLOAD: Final = 2**32 - 1
"""Largest payload of an extension type, and largest text or bytes, in bytes: MessagePack's limit."""

Kind: TypeAlias = Literal[
    "None", "bool", "int", "float", "str", "bytes", "list", "dict", "extension", "unused"
]


class Form(NamedTuple):
    """One of the forms that a MessagePack object can have.

    Attributes
    ----------
    kind
        The Python type of the object.
    length_size
        Size of the length field in bytes; 0 where the form itself says how long the content is.
    length
        Where there is no length field: the bytes of content, or the number of items or pairs.
    number
        NumPy's code for the number that is the content, without its (big-endian) byte order.
    """

    kind: Kind
    length_size: int = 0
    length: int = 0
    number: str = ""

    @property
    def start(self) -> int:
        """Offset of the content from the first byte of the object."""
        return 1 + self.length_size + (self.kind == "extension")


FORMS: Final = [
    *[Form("int")] * 128,  # 00..7F  the number itself, 0 to 127
    *[Form("dict", length=pairs) for pairs in range(16)],  # 80..8F
    *[Form("list", length=items) for items in range(16)],  # 90..9F
    *[Form("str", length=size) for size in range(32)],  # A0..BF
    Form("None"),  # C0
    Form("unused"),  # C1
    *[Form("bool")] * 2,  # C2 false, C3 true
    *[Form("bytes", size) for size in (1, 2, 4)],  # C4..C6
    *[Form("extension", size) for size in (1, 2, 4)],  # C7..C9
    *[Form("float", 0, size, f"f{size}") for size in (4, 8)],  # CA, CB
    *[Form("int", 0, size, f"u{size}") for size in (1, 2, 4, 8)],  # CC..CF
    *[Form("int", 0, size, f"i{size}") for size in (1, 2, 4, 8)],  # D0..D3
    *[Form("extension", length=size) for size in (1, 2, 4, 8, 16)],  # D4..D8
    *[Form("str", size) for size in (1, 2, 4)],  # D9..DB
    *[Form("list", size) for size in (2, 4)],  # DC, DD
    *[Form("dict", size) for size in (2, 4)],  # DE, DF
    *[Form("int")] * 32,  # E0..FF  the number itself, -32 to -1
]
"""The form of a MessagePack object, by its first byte."""

FALSE: Final = 0xC2
TRUE: Final = 0xC3
BYTES_32: Final = 0xC6
EXTENSION_8: Final = 0xC7
EXTENSION_16: Final = 0xC8
EXTENSION_32: Final = 0xC9
FLOAT_64: Final = 0xCB
EXTENSION_OF_8: Final = 0xD7
EXTENSION_OF_16: Final = 0xD8
TEXT_32: Final = 0xDB
LIST_16: Final = 0xDC
LIST_32: Final = 0xDD

_FIXED_SIZES: Final = {
    form.length: bytes([byte])
    for byte, form in enumerate(FORMS)
    if form.kind == "extension" and not form.length_size
}


def extension_header(code: int, size: int) -> bytes:
    """Return the MessagePack bytes that precede the payload of an extension type."""
    if size in _FIXED_SIZES:
        return _FIXED_SIZES[size] + bytes([code])
    if size < 2**8:
        return struct.pack(">BBB", EXTENSION_8, size, code)
    if size < 2**16:
        return struct.pack(">BHB", EXTENSION_16, size, code)
    return struct.pack(">BIB", EXTENSION_32, size, code)
