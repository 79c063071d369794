"""Short descriptions of encoded values, from their first bytes, for displays of a store's content.

Only the header of an array is decoded, and nothing is raised: the bytes may be anything.
"""

from __future__ import annotations

from ._msgpack.format import (
    CODE_ARRAY,
    CODE_COMPLEX,
    CODE_SCALAR,
    CODE_TUPLE,
    ENCODING_MSGPACK,
    FORMS,
    LAST_PICKLE_BYTE,
)

_UNKNOWN = "unknown value"
_EXTENSIONS = {CODE_TUPLE: "tuple", CODE_COMPLEX: "complex", CODE_SCALAR: "scalar"}
_MAX_CHARACTERS = 60


def preview_value(head: bytes) -> str:
    """Describe an encoded value from its first bytes.

    Parameters
    ----------
    head
        The beginning of an encoded value; a few hundred bytes are enough for most arrays.

    Returns
    -------
    str
        The name of the type; for an array, its dtype and shape; for text, also its beginning.

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
        return "pickle" if head and head[0] <= LAST_PICKLE_BYTE else _UNKNOWN
    form = FORMS[head[1]]
    start = 1 + form.start
    if form.kind == "extension":
        code = head[start - 1] if len(head) >= start else -1
        return (
            _preview_array(head, start) if code == CODE_ARRAY else _EXTENSIONS.get(code, _UNKNOWN)
        )
    if form.kind == "unused":
        return _UNKNOWN
    if form.kind == "str":
        return f"str {head[start:].decode('utf-8', 'ignore')[:_MAX_CHARACTERS]!r}..."
    return form.kind


def _preview_array(head: bytes, start: int) -> str:
    # Imported here, because it loads NumPy.
    from ._numpy.npy_header import header_end, read_header

    try:
        header = read_header(head[start : header_end(head, start)])
    except (ValueError, TypeError, RecursionError):
        return "array"
    return f"{header.dtype} array, shape {header.shape}"
