"""Encoding and decoding of single values.

The header byte of an encoded value decides what reads the rest: `telstate_codec._msgpack` or
`telstate_codec.pickles`. NumPy is not loaded before the first array or scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgpack import unpackb

from ._msgpack.decoder import (
    CONTAINER,
    SHORT,
    SMALL,
    cuts_by_form,
    cuts_by_size,
    decode_msgpack,
    decoders,
    quick_hook,
    quick_inner_hook,
    readers,
    scalar_dtypes,
    shortcuts,
)
from ._msgpack.encoder import encode_msgpack, register_numpy
from ._msgpack.format import (
    CODE_ARRAY,
    CODE_SCALAR,
    CODE_TUPLE,
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    ENCODING_PICKLE,
    EXTENSION_8,
    LAST_PICKLE_BYTE,
    MSGPACK_BYTE,
)
from ._msgpack.list_limits import QUICK_ITEMS
from .errors import DecodeError, EncodeError
from .pickles import AllowPickle, dump_pickle, load_pickle, pickle_policy

_scalar_dtype = scalar_dtypes.get


def encode_value(value: object, encoding: bytes = ENCODING_DEFAULT) -> bytes:
    r"""Encode a value as the bytes that every client of a telescope state reads.

    Parameters
    ----------
    value
        ``None``, a `bool`, `int` (-2**63 to 2**64-1), `float`, `complex`, `str`, `bytes`, a NumPy
        array or scalar of any dtype without Python objects, or a `list`, `dict` or `tuple` of such
        values. Instances of subclasses of `tuple`, `complex` and `numpy.ndarray` are stored, and
        come back as plain ones. Masked arrays and instances of other subclasses are refused.
    encoding
        `ENCODING_MSGPACK` (the default) or `ENCODING_PICKLE`, which supports more types, but which
        readers refuse by default.

    Returns
    -------
    bytes
        The encoded value; always the same for the same value.

    Raises
    ------
    EncodeError
        If the value, or something in it, cannot be encoded, or if `encoding` is not known.

    Examples
    --------
    >>> encode_value({"bandwidth": 856e6})
    b'\xff\x81\xa9bandwidth\xcbA\xc9\x82\xc3\x00\x00\x00\x00'
    >>> encode_value(("J1939-6342", 17))
    b'\xff\xc7\r\x01\x92\xaaJ1939-6342\x11'
    """
    if encoding == ENCODING_MSGPACK:
        return encode_msgpack(value)
    if encoding == ENCODING_PICKLE:
        return dump_pickle(value)
    raise EncodeError(
        f"Encoding {encoding!r} is not known; use ENCODING_MSGPACK or ENCODING_PICKLE."
    )


def decode_value(
    value: bytes | bytearray | memoryview, allow_pickle: AllowPickle | None = None
) -> Any:
    r"""Decode a value. Whatever the bytes are, return a value or raise `DecodeError`.

    Parameters
    ----------
    value
        An encoded value. Anything but `bytes` is copied first.
    allow_pickle
        What to do with pickles: ``False`` refuses them, ``"safe"`` reads plain data only, ``True``
        loads anything. By default, the policy that `set_allow_pickle` or the environment has set.

    Returns
    -------
    object
        The value. Arrays own their memory and are writable.

    Raises
    ------
    DecodeError
        If the bytes are not an encoded value, or are a pickle that the policy refuses.
    TypeError
        If `value` is not bytes-like.
    ValueError
        If the value is a pickle and `allow_pickle` is not a valid policy.

    Examples
    --------
    >>> decode_value(b'\xff\xc7\r\x01\x92\xaaJ1939-6342\x11')
    ('J1939-6342', 17)
    >>> decode_value(b"\x90")
    Traceback (most recent call last):
    telstate_codec.errors.DecodeError: Header byte 0x90 is not known; a newer version may be needed.
    """
    # Shortcuts for the most frequent values, spelled out because even a call would take a tenth of the
    # time. Anything unusual falls through, or raises an exception, and starts again in `_decode`, which
    # says what is wrong.
    try:
        form = value[1]
        if form == EXTENSION_8:  # a NumPy number, if the bytes before its own are known, or a tuple
            cut = cuts_by_size[value[2]]
            if cut is not None:
                before, raw = cut
                dtype = _scalar_dtype(value[before])
                if dtype is not None:
                    return _make_scalar(dtype, value[raw])
            if value[3] == CODE_TUPLE and value[0] == MSGPACK_BYTE and len(value) == value[2] + 4:
                items = unpackb(value[4:], ext_hook=quick_inner_hook)
                if type(items) is list:
                    return tuple(items)
        else:
            cut = cuts_by_form[form]
            if cut is not None:
                before, raw = cut
                dtype = _scalar_dtype(value[before])
                if dtype is not None:
                    return _make_scalar(dtype, value[raw])
            if value[0] == MSGPACK_BYTE:
                shortcut = shortcuts[form]
                if shortcut == SHORT:
                    return unpackb(value[1:])
                if shortcut == CONTAINER and len(value) <= SMALL:
                    return unpackb(value[1:], ext_hook=quick_hook, max_array_len=QUICK_ITEMS)
                if shortcut == len(value) and value[2] == CODE_TUPLE:
                    items = unpackb(value[3:], ext_hook=quick_inner_hook)
                    if type(items) is list:
                        return tuple(items)
        if type(value) is bytes and value[0] == MSGPACK_BYTE:
            return decoders[form](value)
    except DecodeError:
        raise
    except Exception:
        pass
    return _decode(value, allow_pickle)


def _decode(value: object, allow_pickle: AllowPickle | None) -> Any:
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    elif not isinstance(value, bytes):
        raise TypeError(f"An encoded value must be bytes, not {type(value).__name__}.")
    if not value:
        raise DecodeError("The value is empty; it should start with a header byte.")
    first = value[0]
    if first == MSGPACK_BYTE:
        return decode_msgpack(value)
    if first <= LAST_PICKLE_BYTE:
        return load_pickle(value, None if allow_pickle is None else pickle_policy(allow_pickle))
    raise DecodeError(f"Header byte {first:#04x} is not known; a newer version may be needed.")


def equal_encoded_values(a: bytes, b: bytes) -> bool:
    r"""Return whether two encoded values are equal in the sense of immutable keys.

    They are if their bytes are equal, or if one is a `str` and the other the `bytes` of its UTF-8,
    which Python 2 did not distinguish. (NumPy's `str_` and `bytes_` count as text and bytes.) Nothing
    else is equal: not 1 and 1.0, nor text within lists.

    Parameters
    ----------
    a, b
        Two encoded values.

    Raises
    ------
    DecodeError
        If they differ and one of them cannot be decoded.

    Examples
    --------
    >>> equal_encoded_values(encode_value("caf\xe9"), encode_value(b"caf\xc3\xa9"))
    True
    >>> equal_encoded_values(encode_value(1), encode_value(1.0))
    False
    """
    if a == b:
        return True
    first, second = _utf8(decode_value(a)), _utf8(decode_value(b))
    return first is not None and first == second


def _utf8(value: object) -> bytes | None:
    """Return the bytes of text or bytes, and None for any other value."""
    if isinstance(value, str):
        # A pickle may hold surrogates, which are equal to themselves.
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) else None


# The first array or scalar loads NumPy: these functions import `arrays`, which replaces them.


def _arrays() -> Any:
    from ._numpy import arrays

    return arrays


def _make_first_scalar(dtype: Any, raw: Any) -> Any:
    global _make_scalar
    _make_scalar = _arrays().make_scalar
    return _make_scalar(dtype, raw)


readers[CODE_ARRAY] = lambda *args: _arrays().decode_array(*args)
readers[CODE_SCALAR] = lambda *args: _arrays().decode_scalar(*args)
register_numpy(lambda kind: _arrays().find_encoders(kind))
_make_scalar: Callable[[Any, Any], Any] = _make_first_scalar
