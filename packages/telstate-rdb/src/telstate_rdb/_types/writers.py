"""The table of writers: from a value to the type and bytes that a version of the format has for it.

Small collections are packed where a server of that version packs them with its default settings. A value
that no server would load (an empty collection, a member twice, a score of NaN) is refused, because one
such key keeps a server from starting.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from telstate_rdb import constants as c
from telstate_rdb._bulk.encode_strings import encode_string
from telstate_rdb._types.hashes import default_hash_version, encode_hash, lowest_hash_version
from telstate_rdb._types.lists import encode_list
from telstate_rdb._types.modules import encode_module, lowest_module_version
from telstate_rdb._types.sets import encode_set
from telstate_rdb._types.streams import encode_stream, lowest_stream_version
from telstate_rdb._types.zsets import encode_sorted_set
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.lzf import Compress
from telstate_rdb.values import Array, Hash, List, Module, Set, SortedSet, Stream, Value

WRITABLE_VERSIONS = (*range(c.EVERY_READER_VERSION, c.MAX_VERSION + 1), c.VALKEY_VERSION)
"""The versions that can be asked for."""


def _encode_string(value: bytes, version: int, compress: Compress | None) -> tuple[int, bytes]:
    return c.TYPE_STRING, encode_string(value, compress)


# A function takes the class that it stands beside, which a table cannot express: hence Any.
_ENCODERS: dict[type, Callable[[Any, int, Compress | None], tuple[int, bytes]]] = {
    bytes: _encode_string,
    List: encode_list,
    Set: encode_set,
    SortedSet: encode_sorted_set,
    Hash: encode_hash,
    Stream: encode_stream,
    Module: encode_module,
}
_LOWEST_VERSIONS: dict[type, Callable[[Any], int]] = {
    Hash: lowest_hash_version,
    Stream: lowest_stream_version,
    Module: lowest_module_version,
}


def check_version(version: int) -> None:
    """Raise ValueError for a version that is not in `WRITABLE_VERSIONS`."""
    if version not in WRITABLE_VERSIONS:
        raise ValueError(
            f"RDB version {version} cannot be written. Use {c.EVERY_READER_VERSION} to {c.MAX_VERSION}, "
            f"{c.VALKEY_VERSION} for Valkey, or no version for the lowest that can hold the values."
        )


def lowest_version(value: Value) -> int:
    """Return the lowest RDB version, 6 or above, that can hold a value without any loss."""
    find = _LOWEST_VERSIONS.get(type(value))
    return c.EVERY_READER_VERSION if find is None else find(value)


def default_version(value: Value, written: int = c.EVERY_READER_VERSION) -> int:
    """Return the version for a value if none is requested, in a file whose values have needed `written`.

    Fields that expire have one form in Redis and another in Valkey, of which a file has only one.
    """
    version = default_hash_version(value) if isinstance(value, Hash) else lowest_version(value)
    return written if min(version, written) >= c.MAX_VERSION else version


def encode_value(
    value: Value,
    version: int | None,
    compress: Compress | None = None,
    written: int = c.EVERY_READER_VERSION,
) -> tuple[int, bytes, int]:
    """Encode a value for a version of the format (None: the lowest that can hold it).

    Returns the type byte, the bytes of the value and the version. Raises RdbWriteError if the version cannot
    hold the value or no server would load it, and TypeError if a part of it has the wrong type.
    """
    encode = _ENCODERS.get(type(value))
    if isinstance(value, Array):
        raise RdbWriteError("An array cannot be written: only Redis 8.8 and later load it.")
    if encode is None:
        types = ", ".join(type_.__name__ for type_ in _ENCODERS)
        raise TypeError(f"A value must be one of {types}, not {type(value).__name__}.")
    name = type(value).__name__.lower()
    needed = lowest_version(value)
    if version is None:
        version = default_version(value, written)
    if version < needed:
        advice = (
            " (or telstate_rdb.without_counters() of it)"
            if isinstance(value, Stream) and version >= c.TYPE_VERSIONS[c.TYPE_STREAM_LISTPACKS]
            else ""
        )
        # Valkey refuses version 12, and Redis refuses 80.
        later = f"or 80 ({c.VERSION_RELEASES[80]})" if needed == 12 else "or later"
        raise RdbWriteError(
            f"RDB version {version} cannot hold this {name}. Write version {needed} "
            f"({c.VERSION_RELEASES[needed]}) {later}{advice}."
        )
    try:
        return (*encode(value, version, compress), version)
    except (struct.error, OverflowError) as error:
        raise RdbWriteError(
            f"A number in this {name} is outside the range of the format ({error})."
        ) from error
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"A part of this {name} has the wrong type: strings are bytes, numbers int, and scores "
            f"array('d') ({error})."
        ) from error
