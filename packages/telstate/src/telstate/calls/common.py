"""What all calls share: what a call is, how values are read and written, and errors that name the key."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from telstate.suggestions import Hint, MissingKeyError
from telstate.views import View
from telstate_backends import Contents, Indexed, Operation
from telstate_codec import (
    ENCODING_DEFAULT,
    DecodeError,
    EncodeError,
    Key,
    decode_value,
    encode_value,
    key_repr,
)

logger = logging.getLogger("telstate")

Result = TypeVar("Result")


class Short(reprlib.Repr):
    """Writes values in a line each, arrays too."""

    def repr_ndarray(self, array: Any, level: int) -> str:
        """Write an array: a small one as it is, of others dtype and shape."""
        text = " ".join(repr(array).split())
        if len(text) <= _LONGEST_ARRAY:
            return text
        return f"<{array.dtype} array of shape {array.shape}>"


_LONGEST_ARRAY = 80

# Values in messages: enough to recognise them, never a megabyte of configuration.
short = Short()
short.maxstring = short.maxother = 200
short.maxdict = short.maxlist = short.maxtuple = 10

# One method call: what the backend is to execute, and what turns its result into the method's (or
# raises). A plain tuple, because one is made for every call, and nothing is made faster.
Call: TypeAlias = tuple[Operation[Any], Callable[[Any], Result]]


def missing(view: View, key: Key) -> MissingKeyError:
    """Make the error for a key that none of the view's prefixes has."""
    prefixes = ", ".join(map(repr, view.prefixes))
    where = "" if view.prefixes == ("",) else f" under any of the prefixes {prefixes}"
    error = MissingKeyError(f"{key_repr(key)} not found{where}")
    error.hint = Hint(view, key)
    return error


def read(contents: Contents, return_encoded: bool = False) -> Any:
    """Give what a reader of a key gets."""
    if isinstance(contents, Indexed):
        if return_encoded:
            return contents.items
        return decode_items(contents.items)
    return contents.value if return_encoded else decode_value(contents.value)


CodecError = TypeVar("CodecError", bound=Exception)


def named(error: CodecError, key: Key, *sub_key: object) -> CodecError:
    """Make an error of the codec again, with the key in its text."""
    place = "".join(f"[{short.repr(one)}]" for one in sub_key)
    return type(error)(f"Key {key_repr(key)}{place}: {error}")


def encode(value: object, key: Key, encoding: bytes = ENCODING_DEFAULT) -> bytes:
    """Encode a value; an error names the key that it is for."""
    try:
        return encode_value(value, encoding)
    except EncodeError as error:
        raise named(error, key) from error


def decode_items(items: dict[bytes, bytes]) -> dict[Any, Any]:
    """Decode sub-keys and values; a sub-key that no dict can have is an error of the data."""
    decoded: dict[Any, Any] = {}
    for sub_key, value in items.items():
        name = decode_value(sub_key)
        try:
            decoded[name] = decode_value(value)
        except TypeError as error:
            raise DecodeError(f"the sub-key {short.repr(name)} is not hashable") from error
    return decoded


def same(result: Result) -> Result:
    """Finish a call whose result is the method's already."""
    return result


def nothing(result: object) -> None:
    """Finish a call whose result does not matter."""
