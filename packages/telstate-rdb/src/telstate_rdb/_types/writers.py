"""From a value to the type and bytes that a version of the format has for it.

Rules: one table says which function writes each kind of value. Small collections are packed where
a server of that version, with its default settings, packs them. What no server would load again (an
empty collection, a member twice, a score that is not a number) is refused, because one such key
keeps a server from starting.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from telstate_rdb._bulk.encode_strings import (
    Compress,
    encode_length,
    encode_string,
    encode_strings,
    integer_of,
)
from telstate_rdb._packed.common import encode_intset, encode_listpack
from telstate_rdb._types import limits
from telstate_rdb._types.hashes import encode_hash
from telstate_rdb._types.lists import encode_list
from telstate_rdb._types.modules import refuse_broken_module
from telstate_rdb._types.streams import encode_stream, lowest_stream_version
from telstate_rdb._types.zsets import encode_sorted_set, refuse_repeats
from telstate_rdb.constants import (
    EVERY_READER_VERSION,
    MAX_VERSION,
    TYPE_HASH_METADATA,
    TYPE_MODULE_2,
    TYPE_SET,
    TYPE_SET_INTSET,
    TYPE_SET_LISTPACK,
    TYPE_STREAM_LISTPACKS,
    TYPE_STRING,
    TYPE_VERSIONS,
    VALKEY_VERSION,
    VERSION_RELEASES,
)
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.values import Hash, List, Module, Set, SortedSet, Stream, Value

WRITABLE_VERSIONS = (*range(EVERY_READER_VERSION, MAX_VERSION + 1), VALKEY_VERSION)
"""The versions that can be asked for."""


def check_version(version: int) -> None:
    """Refuse a version that is not written.

    Raises
    ------
    ValueError
        If it is none of `WRITABLE_VERSIONS`.
    """
    if version not in WRITABLE_VERSIONS:
        raise ValueError(
            f"RDB version {version} cannot be written: give one of {EVERY_READER_VERSION} to "
            f"{MAX_VERSION}, {VALKEY_VERSION} for Valkey, or None for the lowest that will do."
        )


def lowest_version(value: Value) -> int:
    """Give the lowest RDB version, 6 or above, that holds a value without any loss.

    Examples
    --------
    >>> from telstate_rdb.values import Hash
    >>> lowest_version(b"anything"), lowest_version(Hash({b"f": b"v"}, {b"f": 1800000000000}))
    (6, 12)
    """
    need = _NEEDS.get(type(value))
    return EVERY_READER_VERSION if need is None else need(value)


def encode_value(value: Value, version: int, compress: Compress | None = None) -> tuple[int, bytes]:
    """Write a value in the form that a version of the format has for it.

    Parameters
    ----------
    value
        The value.
    version
        The RDB version, one of `WRITABLE_VERSIONS`.
    compress
        Compresses strings, see :mod:`telstate_rdb.lzf`; None leaves them as they are.

    Returns
    -------
    type, body
        The type byte, and the value's bytes as they stand in a file.

    Raises
    ------
    RdbWriteError
        If the version cannot hold the value, or no server would load it.
    TypeError
        If it is not a value at all.
    """
    kind, body, _ = encode_lowest(value, version, compress)
    return kind, body


def encode_lowest(
    value: Value, version: int | None, compress: Compress | None
) -> tuple[int, bytes, int]:
    """Do what `encode_value` does; for None, in the lowest version that holds the value.

    Returns
    -------
    type, body, version
        As in `encode_value`, and the version.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        kinds = ", ".join(kind.__name__ for kind in _ENCODERS)
        raise TypeError(
            f"A value of a key is one of {kinds}, but this is of type {type(value).__name__}."
        )
    needed = lowest_version(value)
    if version is None:
        version = needed
    elif version < needed:
        advice = (
            " (or telstate_rdb.without_counters() of it)"
            if isinstance(value, Stream) and version >= TYPE_VERSIONS[TYPE_STREAM_LISTPACKS]
            else ""
        )
        raise RdbWriteError(
            f"RDB version {version} cannot hold this {type(value).__name__.lower()}: "
            f"write version {needed} ({VERSION_RELEASES[needed]}) or later{advice}."
        )
    try:
        return (*encoder(value, version, compress), version)
    except (struct.error, OverflowError) as error:
        raise RdbWriteError(
            f"A number in this {type(value).__name__.lower()} is outside of what the format "
            f"holds ({error})."
        ) from error
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"A part of this {type(value).__name__.lower()} is not of the type it must have: all "
            f"texts are bytes, all numbers int, scores array('d') ({error})."
        ) from error


def _lowest_hash_version(value: Hash) -> int:
    return TYPE_VERSIONS[TYPE_HASH_METADATA] if value.expiries else EVERY_READER_VERSION


def _lowest_module_version(value: Module) -> int:
    return TYPE_VERSIONS[TYPE_MODULE_2]


def _encode_bytes(value: bytes, version: int, compress: Compress | None) -> tuple[int, bytes]:
    return TYPE_STRING, encode_string(value, compress)


def _encode_set(value: Set, version: int, compress: Compress | None) -> tuple[int, bytes]:
    members = value.members
    limits.refuse_empty(len(members), "set")
    refuse_repeats(members, "set")
    if len(members) <= limits.INTSET_ITEMS:
        numbers = [number for member in members if (number := integer_of(member)) is not None]
        if len(numbers) == len(members):
            return TYPE_SET_INTSET, encode_string(encode_intset(numbers), compress)
    listpack = version >= TYPE_VERSIONS[TYPE_SET_LISTPACK]
    if listpack and limits.SET.allows(len(members), members):
        return TYPE_SET_LISTPACK, encode_string(encode_listpack(members), compress)
    return TYPE_SET, encode_length(len(members)) + encode_strings(members, compress)


def _encode_module(value: Module, version: int, compress: Compress | None) -> tuple[int, bytes]:
    refuse_broken_module(value.id, value.body)
    return TYPE_MODULE_2, encode_length(value.id) + value.body


# The functions take the class that they stand beside; a table cannot say so, hence Any.
_NEEDS: dict[type, Callable[[Any], int]] = {
    Hash: _lowest_hash_version,
    Stream: lowest_stream_version,
    Module: _lowest_module_version,
}
_ENCODERS: dict[type, Callable[[Any, int, Compress | None], tuple[int, bytes]]] = {
    bytes: _encode_bytes,
    List: encode_list,
    Set: _encode_set,
    SortedSet: encode_sorted_set,
    Hash: encode_hash,
    Stream: encode_stream,
    Module: _encode_module,
}
