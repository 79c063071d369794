"""Keys: bytes in the store, text in the API.

The conversion is UTF-8 with the ``surrogateescape`` error handler, so a key that is not valid UTF-8
survives the conversion to text and back.
"""

from __future__ import annotations

from typing import TypeAlias

from .errors import InvalidKeyError
from .printable import bounded_repr

Key: TypeAlias = str | bytes
"""A key as functions accept it: text, or the bytes in the store."""


def encode_key(key: Key) -> bytes:
    r"""Return the bytes of a key in the store.

    Parameters
    ----------
    key
        Text, or bytes, which are returned unchanged.

    Raises
    ------
    InvalidKeyError
        If the text cannot be encoded, because it has a surrogate that does not stand for a byte.
    TypeError
        If the key is neither `str` nor `bytes`.

    Examples
    --------
    >>> encode_key("sdp_l0_n_chans")
    b'sdp_l0_n_chans'
    >>> encode_key("caf\udce9")
    b'caf\xe9'
    """
    if isinstance(key, str):
        try:
            return key.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InvalidKeyError(
                f"Key {key!r} cannot be encoded: character {error.start} is a lone surrogate."
            ) from error
    if isinstance(key, bytes):
        return key
    raise TypeError(f"A key must be str or bytes, not {type(key).__name__}: {bounded_repr(key)}.")


def decode_key(key: bytes) -> str:
    r"""Return the text of a key from the store; `encode_key` converts it back.

    Raises
    ------
    TypeError
        If the key is not `bytes`.

    Examples
    --------
    >>> decode_key(b"sdp_l0_n_chans")
    'sdp_l0_n_chans'
    >>> decode_key(b"caf\xe9")
    'caf\udce9'
    """
    if not isinstance(key, bytes):
        raise TypeError(f"A key from the store must be bytes, not {type(key).__name__}: {key!r}.")
    return key.decode("utf-8", "surrogateescape")


def key_repr(key: Key) -> str:
    r"""Return a key as messages show it: as quoted text, or as bytes if it is not UTF-8.

    Raises
    ------
    TypeError
        If the key is neither `str` nor `bytes`.

    Examples
    --------
    >>> key_repr(b"gain"), key_repr("gain"), key_repr(b"caf\xe9")
    ("'gain'", "'gain'", "b'caf\\xe9'")
    """
    try:
        raw = encode_key(key)
    except InvalidKeyError:  # not the key of any store, but a message still has to show it
        return repr(key)
    try:
        return repr(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(raw)
