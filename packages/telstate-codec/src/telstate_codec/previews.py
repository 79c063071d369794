"""What an encoded value is, told from its beginning alone, for people who look at a store.

Nothing is decoded but the header of an array, and nothing is raised: the bytes may be anything.
"""

from __future__ import annotations

from ._msgpack.format import ENCODING_MSGPACK, EXT_ARRAY, EXT_COMPLEX, EXT_SCALAR, EXT_TUPLE

# First and last byte of MessagePack's forms, the Python type, and where its text starts (or 0).
_FORMS = (
    (0x00, 0x7F, "int", 0),
    (0x80, 0x8F, "dict", 0),
    (0x90, 0x9F, "list", 0),
    (0xA0, 0xBF, "str", 2),
    (0xC0, 0xC0, "None", 0),
    (0xC2, 0xC3, "bool", 0),
    (0xC4, 0xC6, "bytes", 0),
    (0xCA, 0xCB, "float", 0),
    (0xCC, 0xD3, "int", 0),
    (0xD9, 0xD9, "str", 3),
    (0xDA, 0xDA, "str", 4),
    (0xDB, 0xDB, "str", 6),
    (0xDC, 0xDD, "list", 0),
    (0xDE, 0xDF, "dict", 0),
    (0xE0, 0xFF, "int", 0),
)
# Where the code of an extension type stands, by the byte that it starts with.
_CODES = {**dict.fromkeys(range(0xD4, 0xD9), 2), 0xC7: 3, 0xC8: 4, 0xC9: 6}
_TYPES = {EXT_TUPLE: "tuple", EXT_COMPLEX: "complex", EXT_ARRAY: "array", EXT_SCALAR: "scalar"}
_SHOWN = 60


def preview_value(head: bytes) -> str:
    """Tell what an encoded value is from its first bytes.

    Parameters
    ----------
    head
        The beginning of an encoded value; some hundred bytes are enough for most arrays.

    Returns
    -------
    text
        The type's name; for an array, its dtype and shape; for a text, its beginning too.

    Examples
    --------
    >>> import numpy
    >>> from telstate_codec import encode_value
    >>> preview_value(encode_value(numpy.zeros((5000, 5000), "f4"))[:1000])
    'float32 array, shape (5000, 5000)'
    >>> preview_value(encode_value({"a": 1})), preview_value(encode_value("ab" * 1000)[:12])
    ('dict', "str 'abababab'...")
    """
    if len(head) < 2 or head[:1] != ENCODING_MSGPACK:
        return "pickle" if head and head[0] <= 0x80 else "unknown value"
    code_at = _CODES.get(head[1])
    if code_at is not None:
        code = head[code_at] if len(head) > code_at else -1
        name = _TYPES.get(code, "unknown value")
        return _array(head, code_at + 1) if code == EXT_ARRAY else name
    for first, last, name, start in _FORMS:
        if first <= head[1] <= last:
            if not start:
                return name
            text = head[start:].decode("utf-8", "ignore")[:_SHOWN]
            return f"{name} {text!r}..."
    return "unknown value"


def _array(head: bytes, start: int) -> str:
    # Here, because NumPy is not imported before there is an array.
    from ._numpy.npy_header import header_end, read_header

    try:
        header = read_header(head[start : header_end(head, start)])
    except (ValueError, TypeError, RecursionError):
        return "array"
    return f"{header.dtype} array, shape {header.shape}"
