"""Python values to encoded values and back: the header byte decides who reads the rest.

MessagePack is `telstate_codec._msgpack`, pickles are `telstate_codec.pickles`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgpack import unpackb

from ._msgpack.decoder import (
    CONTAINER,
    EXT_8,
    SHORT,
    SMALL,
    by_form,
    cuts_by_form,
    cuts_by_size,
    decode_msgpack,
    quick_hook,
    quick_inner,
    readers,
    scalar_dtypes,
    ways,
)
from ._msgpack.encoder import Encoders, encode_msgpack, register_numpy
from ._msgpack.format import (
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    ENCODING_PICKLE,
    EXT_ARRAY,
    EXT_SCALAR,
    EXT_TUPLE,
)
from ._msgpack.list_limits import QUICK_ITEMS
from .errors import DecodeError, EncodeError
from .pickles import PicklePolicy, dump_pickle, load_pickle, pickle_policy

_MSGPACK_BYTE = ENCODING_MSGPACK[0]
_LAST_PICKLE_BYTE = 0x80

_ways = ways  # as globals of this module, they are found sooner
_cuts_by_size = cuts_by_size
_cuts_by_form = cuts_by_form
_scalar_dtype = scalar_dtypes.get


def encode_value(value: object, encoding: bytes = ENCODING_DEFAULT) -> bytes:
    r"""Encode a value, in the bytes that every client of a telescope state reads.

    Parameters
    ----------
    value
        ``None``, a `bool`, `int` (-2**63 to 2**64-1), `float`, `complex`, `str`, `bytes`, a NumPy
        array or scalar of any dtype without Python objects, or a `list`, `dict` or `tuple` of such
        values. Subclasses of the built-in types are refused, except those of `tuple` and `complex`,
        which come back as plain ones, as do subclasses of arrays; masked arrays are refused.
    encoding
        `ENCODING_MSGPACK` (the default) or `ENCODING_PICKLE`, which can hold more types, but which
        readers refuse unless told otherwise.

    Returns
    -------
    bytes
        The same for the same value, always.

    Raises
    ------
    EncodeError
        If the value, or something in it, cannot be encoded, or if there is no such encoding.

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
    value: bytes | bytearray | memoryview,
    allow_pickle: bool | str | PicklePolicy | None = None,
) -> Any:
    r"""Decode a value. Whatever the bytes are, it gives a value or raises `DecodeError`.

    Parameters
    ----------
    value
        An encoded value. Anything but `bytes` is copied first.
    allow_pickle
        What to do with pickles: ``False`` refuse, ``"safe"`` read plain data only, ``True`` trust
        them with everything. By default, what `set_allow_pickle` or the environment says.

    Returns
    -------
    object
        What was encoded. Arrays own their memory and are writable.

    Raises
    ------
    DecodeError
        If the bytes are not an encoded value, or are a pickle and the policy refuses it.

    Examples
    --------
    >>> decode_value(b'\xff\xc7\r\x01\x92\xaaJ1939-6342\x11')
    ('J1939-6342', 17)
    >>> decode_value(b"\x90")
    Traceback (most recent call last):
    telstate_codec.errors.DecodeError: Header byte 0x90 is not known; a newer version may be needed.
    """
    # The shortest ways, for what is stored most. Whatever is unusual falls through, or raises an
    # exception, and starts again on the thorough way, which says what is wrong.
    try:
        form = value[1]
        if form == EXT_8:  # a NumPy number, if what comes before its bytes is known, or a tuple
            cut = _cuts_by_size[value[2]]
            if cut is not None:
                before, raw = cut
                dtype = _scalar_dtype(value[before])
                if dtype is not None:
                    return _make_scalar(dtype, value[raw])
            if value[3] == EXT_TUPLE and value[0] == _MSGPACK_BYTE and len(value) == value[2] + 4:
                items = unpackb(value[4:], ext_hook=quick_inner)
                if type(items) is list:
                    return tuple(items)
        else:
            cut = _cuts_by_form[form]
            if cut is not None:
                before, raw = cut
                dtype = _scalar_dtype(value[before])
                if dtype is not None:
                    return _make_scalar(dtype, value[raw])
            if value[0] == _MSGPACK_BYTE:
                way = _ways[form]
                if way == SHORT:
                    return unpackb(value[1:])
                if way == CONTAINER and len(value) <= SMALL:
                    return unpackb(value[1:], ext_hook=quick_hook, max_array_len=QUICK_ITEMS)
                if way == len(value) and value[2] == EXT_TUPLE:
                    items = unpackb(value[3:], ext_hook=quick_inner)
                    if type(items) is list:
                        return tuple(items)
        if type(value) is bytes and value[0] == _MSGPACK_BYTE:
            return by_form[form](value)
    except DecodeError:
        raise
    except Exception:
        pass
    return _decode(value, allow_pickle)


# NumPy is loaded at the first array or scalar: importing `telstate_codec._numpy.arrays` puts its own
# functions in the place of these.


def _decode_first_array(data: bytes, start: int = 0, end: int | None = None) -> Any:
    from ._numpy.arrays import decode_array

    return decode_array(data, start, end)


def _decode_first_scalar(data: bytes, start: int = 0) -> Any:
    from ._numpy.arrays import decode_scalar

    return decode_scalar(data, start)


def _find_first_encoders(kind: type) -> Encoders:
    from ._numpy.arrays import find_encoders

    return find_encoders(kind)


readers[EXT_ARRAY] = _decode_first_array
readers[EXT_SCALAR] = _decode_first_scalar
register_numpy(_find_first_encoders)


def _make_first_scalar(dtype: Any, raw: Any) -> Any:
    """Stand in for `telstate_codec._numpy.arrays.make_scalar`, which loads NumPy."""
    global _make_scalar
    from ._numpy.arrays import make_scalar

    _make_scalar = make_scalar
    return make_scalar(dtype, raw)


_make_scalar: Callable[[Any, Any], Any] = _make_first_scalar


def _decode(value: object, allow_pickle: bool | str | PicklePolicy | None) -> Any:
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    elif not isinstance(value, bytes):
        raise TypeError(f"An encoded value must be bytes, not {type(value).__name__}.")
    if not value:
        raise DecodeError("The value is empty; it should start with a header byte.")
    first = value[0]
    if first == _MSGPACK_BYTE:
        return decode_msgpack(value)
    if first <= _LAST_PICKLE_BYTE:
        return load_pickle(value, None if allow_pickle is None else pickle_policy(allow_pickle))
    raise DecodeError(f"Header byte {first:#04x} is not known; a newer version may be needed.")


def equal_encoded_values(a: bytes, b: bytes) -> bool:
    r"""Tell whether two encoded values count as equal, as immutable keys require.

    They are if their bytes are equal, or if one is a `str` and the other the `bytes` of its UTF-8
    (which Python 2 did not tell apart; NumPy's `str_` and `bytes_` are text and bytes too). Nothing
    else is: not 1 and 1.0, nor text within lists.

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
    """Give the bytes of text or bytes, and ``None`` of anything else."""
    if isinstance(value, str):
        # A pickle may hold surrogates; they are equal to themselves.
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) else None
