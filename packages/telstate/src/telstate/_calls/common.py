"""What all calls share: the type of a call, encoding, and errors that name the key."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from telstate_backends import Operation
from telstate_codec import (
    ENCODING_DEFAULT,
    EncodeError,
    Key,
    decode_key,
    encode_key,
    encode_value,
    key_repr,
)
from telstate_codec.printable import bounded_repr

logger = logging.getLogger("telstate")

Result = TypeVar("Result")

# What the backend executes, and what turns its result into that of the method (or raises). A plain
# tuple, because one is made for every call and nothing is faster to make.
Call: TypeAlias = tuple[Operation[Any], Callable[[Any], Result]]

_GLOB_SIGN = re.compile(r"[*?[\\]")

CodecError = TypeVar("CodecError", bound=Exception)


def with_key(error: CodecError, key: Key, *sub_key: object) -> CodecError:
    """Return the same error with the key, and perhaps the sub-key, in its message."""
    place = "".join(f"[{bounded_repr(one)}]" for one in sub_key)
    return type(error)(f"Key {key_repr(key)}{place}: {error}")


def encode(value: object, key: Key, encoding: bytes = ENCODING_DEFAULT) -> bytes:
    """Encode a value; an error names the key."""
    try:
        return encode_value(value, encoding)
    except EncodeError as error:
        raise with_key(error, key) from error


def is_glob(key: Key) -> bool:
    """Return whether a name has characters by which a Redis glob differs from a name."""
    return (
        _GLOB_SIGN.search(key if isinstance(key, str) else decode_key(encode_key(key))) is not None
    )


def escape_glob(name: str) -> str:
    """Return the glob that matches a name only."""
    return _GLOB_SIGN.sub(r"\\\g<0>", name)


def has_glob(keys: list[Key]) -> bool:
    """Return whether `is_glob` is true for one of several keys, faster than asking it for each."""
    try:
        return _GLOB_SIGN.search("".join(keys)) is not None  # type: ignore[arg-type]  # bytes are below
    except TypeError:
        return any(map(is_glob, keys))


def check_names(keys: object, what: str = "keys") -> None:
    """Refuse a single name where several belong: each of its characters would become one."""
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"{what} must be a list of names, not the single name {keys!r}.")
