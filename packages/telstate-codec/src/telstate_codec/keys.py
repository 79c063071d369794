"""Keys: bytes in the store, text for people.

The two are UTF-8 with the ``surrogateescape`` error handler, so a key that is not valid UTF-8
survives the way to text and back.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from .errors import InvalidKeyError

Key: TypeAlias = str | bytes
"""What is taken wherever a key is taken."""

_WRONG_TYPE: Final = "A key must be str or bytes, not {}: {!r}"
_WRONG_BYTES: Final = "A key from the store must be bytes, not {}: {!r}"


def encode_key(key: Key) -> bytes:
    r"""Give the bytes of a key as they are in the store.

    Parameters
    ----------
    key
        Text, or bytes, which are given back as they are.

    Raises
    ------
    InvalidKeyError
        If the text holds a surrogate that stands for no byte, and so has no UTF-8.
    TypeError
        If the key is neither text nor bytes.

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
                f"Key {key!r} has no UTF-8: character {error.start} is a surrogate on its own."
            ) from error
    if isinstance(key, bytes):
        return key
    raise TypeError(_WRONG_TYPE.format(type(key).__name__, key))


def decode_key(key: bytes) -> str:
    r"""Give the text of a key from the store; `encode_key` gives the bytes back.

    Raises
    ------
    TypeError
        If the key is not bytes.

    Examples
    --------
    >>> decode_key(b"sdp_l0_n_chans")
    'sdp_l0_n_chans'
    >>> decode_key(b"caf\xe9")
    'caf\udce9'
    """
    if not isinstance(key, bytes):
        raise TypeError(_WRONG_BYTES.format(type(key).__name__, key))
    return key.decode("utf-8", "surrogateescape")


def key_repr(key: Key) -> str:
    r"""Give a key as messages show it: its text quoted, or its bytes where they are not UTF-8.

    Raises
    ------
    TypeError
        If the key is neither text nor bytes.

    Examples
    --------
    >>> key_repr(b"gain"), key_repr("gain"), key_repr(b"caf\xe9")
    ("'gain'", "'gain'", "b'caf\\xe9'")
    """
    if isinstance(key, bytes):
        raw = key
    elif isinstance(key, str):
        try:
            raw = key.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # no key of a store, but a message still wants to show it
            return repr(key)
    else:
        raise TypeError(_WRONG_TYPE.format(type(key).__name__, key))
    try:
        return repr(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(raw)
