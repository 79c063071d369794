"""Pickled values: which keys hold them, and rewriting them as MessagePack.

Pickles are read by the safe policy only, which cannot run code, whatever the policy of the process is. One
is rewritten only if decoding the new value returns exactly what decoding the pickle returns.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from telstate._base import TelescopeStateBase
from telstate._sources import Source, open_source
from telstate._summaries import is_pickle, natural
from telstate.snapshots import Selection, read_contents, split_keys
from telstate_backends import Backend, Keys, KeyType, RdbWriteError, translate_rdb_errors
from telstate_backends.operations.bulk import value_of
from telstate_codec import (
    ENCODING_MSGPACK,
    AllowPickle,
    DecodeError,
    EncodeError,
    Key,
    decode_key,
    decode_value,
    encode_value,
)
from telstate_codec.errors import TRUST_ADVICE
from telstate_codec.printable import escape
from telstate_rdb.printable import escape_path

if TYPE_CHECKING:
    from telstate_rdb import AuxiliaryRecord, KeyRecord, Progress, RawValue, Value

_TIME_BYTES = 8
_KINDS = {"string": KeyType.IMMUTABLE, "zset": KeyType.MUTABLE, "hash": KeyType.INDEXED}
# A pickle may hold the same object many times. MessagePack repeats it, up to this size.
_MAX_GROWTH = 16
_MAX_BYTES = 1 << 20
_ITEM_BYTES = 8


@attrs.frozen
class PickledKey:
    """A key that holds pickles.

    Attributes
    ----------
    name : str
        The full name.
    kind : KeyType
        The kind of the key.
    count : int
        The number of its values that are pickles.
    total : int
        The number of all its values: samples, sub-keys, or 1 for an immutable.
    types : mapping of str to int
        What the safe policy reads the pickles as (a type, or dtype and shape of an array), each with the
        number of pickles.
    refused : int
        The number of pickles that the safe policy does not read.
    kept : int
        The number of pickles that it reads, but that cannot be rewritten as MessagePack without changing
        the value.
    reason : str or None
        Why the first of those is not read or cannot be rewritten.
    database : int
        The database of the key, if it is from a file.
    """

    name: str
    kind: KeyType
    count: int
    total: int
    types: Mapping[str, int]
    refused: int = 0
    kept: int = 0
    reason: str | None = None
    database: int = 0

    def __str__(self) -> str:
        return f"{escape(self.name)}: {self.description}"

    @property
    def description(self) -> str:
        """The types, and why a pickle is not read or cannot be rewritten, in words."""
        is_one = len(self.types) + bool(self.refused) == 1
        parts = [name if is_one else f"{name} ({count:,})" for name, count in self.types.items()]
        if self.refused:
            parts.append("refused" if is_one else f"refused ({self.refused:,})")
        text = ", ".join(parts)
        return text if self.reason is None else f"{text}. {self.reason}"


@attrs.frozen
class RewriteReport:
    """The result of rewriting pickles.

    Attributes
    ----------
    keys : int
        The number of keys in the new file.
    rewritten : int
        The number of values that were rewritten.
    pickles : list of PickledKey
        The keys that held pickles, including those that still do.
    """

    keys: int
    rewritten: int
    pickles: list[PickledKey]

    @property
    def left(self) -> list[PickledKey]:
        """The keys that still hold pickles in the new file."""
        return [key for key in self.pickles if key.refused or key.kept]


def find_pickles(
    source: TelescopeStateBase[Backend] | Source,
    keys: Iterable[Key] | None = None,
    *,
    progress: Progress | None = None,
) -> list[PickledKey]:
    """List the keys that hold pickles, and what the safe policy reads them as.

    No code in a pickle is run. Anything whose first byte is that of a pickle counts as one, so a text that
    another program wrote is listed too, as refused.

    Parameters
    ----------
    source
        A snapshot, of which all databases are read, or a synchronous telescope state.
    keys
        Full names of keys, or glob patterns. Default: all.
    progress
        Called from time to time with the number of bytes read and the size of the file (None if that is not known).
        Default: none.

    Returns
    -------
    keys
        The keys that hold pickles, in natural order.

    Raises
    ------
    RdbParseError
        If the file is corrupt.

    Examples
    --------
    >>> from telstate import ENCODING_PICKLE, TelescopeState
    >>> ts = TelescopeState()
    >>> ts.add("config", {"n_chans": 4096}, immutable=True, encoding=ENCODING_PICKLE)
    >>> for key in find_pickles(ts):
    ...     print(key)
    config: dict
    """
    wants = Selection(keys).wants
    found: list[PickledKey] = []
    with translate_rdb_errors():
        for record, value in _read_records(source, wants, progress):
            pickled, _ = _convert_record(record, value)
            if pickled is not None:
                found.append(pickled)
    return sorted(found, key=_by_name)


def rewrite_pickles(
    source: TelescopeStateBase[Backend] | Source,
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> RewriteReport:
    """Write a snapshot in which pickles are replaced by the same values in MessagePack.

    No code in a pickle is run. A pickle that the safe policy does not read, or whose value would change (a
    set would become a list, say), stays as it is. Everything else in a snapshot is copied: all databases,
    expiries, and keys of other programs. From a live store, keys of other programs are left out.

    Parameters
    ----------
    source
        A snapshot, or a synchronous telescope state.
    out
        The path of the new file. It is written as a whole, or left as it was.
    progress
        Called from time to time with the number of bytes read and the size of the file (None if that is not known).
        Default: none.

    Returns
    -------
    report
        What was rewritten, and which keys still hold pickles.

    Raises
    ------
    RdbParseError
        If `source` is corrupt; `out` is left as it was.
    RdbWriteError, OSError
        If there are no keys, or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from telstate import ENCODING_PICKLE, TelescopeState
    >>> ts = TelescopeState()
    >>> ts.add("config", {"n_chans": 4096}, immutable=True, encoding=ENCODING_PICKLE)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "observation.rdb")
    ...     report = rewrite_pickles(ts, path)
    ...     again = TelescopeState.from_snapshot(path)
    >>> report.rewritten, report.left, again["config"]
    (1, [], {'n_chans': 4096})
    """
    from telstate_rdb import KeyRecord, RdbWriter

    found: list[PickledKey] = []

    def convert() -> Iterator[KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord]:
        for record, value in _read_records(source, lambda key: True, progress, auxiliary=True):
            if isinstance(record, KeyRecord):
                pickled, record = _convert_record(record, value)
                if pickled is not None:
                    found.append(pickled)
            yield record

    with translate_rdb_errors(), RdbWriter(out, keep_empty=False) as writer:
        writer.write_records(convert())
    if not writer.keys_written:
        raise no_keys_error(out)
    rewritten = sum(key.count - key.refused - key.kept for key in found)
    return RewriteReport(writer.keys_written, rewritten, sorted(found, key=_by_name))


def no_keys_error(out: str | os.PathLike[str]) -> RdbWriteError:
    """Return the error for a file that is not replaced by one without keys."""
    return RdbWriteError(
        f"There are no keys to save, so {escape_path(os.fspath(out))} was left as it was."
    )


def _by_name(key: PickledKey) -> tuple[object, ...]:
    return natural(key.name), key.database


def _read_records(
    source: TelescopeStateBase[Backend] | Source,
    wants: Callable[[bytes], bool],
    progress: Progress | None,
    auxiliary: bool = False,
) -> Iterator[tuple[Any, Value | None]]:
    """Yield the records of a snapshot, or of a store as if it were one; and the values that may hold pickles."""
    from telstate_rdb import KeyRecord, RdbParseError, decode_raw, read_rdb

    if isinstance(source, TelescopeStateBase):
        backend = source.backend.uncached
        names = [key for key in backend.execute(Keys()) if wants(key)]
        for batch in split_keys([backend], names):
            for key, stored in zip(batch, read_contents(backend, batch), strict=True):
                if stored is not None:
                    value = value_of(stored)
                    yield KeyRecord(0, key, value), value
        return
    with open_source(source) as opened:
        reader = read_rdb(opened, raw=True, keys=wants, auxiliary=auxiliary, progress=progress)
        for record in reader:
            if not isinstance(record, KeyRecord) or record.value.type_name not in _KINDS:
                yield record, None
                continue
            try:
                value = decode_raw(record.value)
            except RdbParseError as error:
                error.file, error.key, error.offset = reader.name, record.key, None
                raise
            yield record, value


def _convert_record(
    record: KeyRecord[Any], value: Value | None
) -> tuple[PickledKey | None, KeyRecord[Any]]:
    """Return what a key holds in pickles, and its record with these rewritten as far as possible."""
    from telstate_rdb import Hash, SortedSet

    new: Value
    tally = _Tally()
    if isinstance(value, bytes):
        total, new = 1, tally.convert(value)
    elif isinstance(value, SortedSet):
        if any(value.scores):
            return None, record  # not written by a telescope state
        total = len(value.members)
        members = [
            member[:_TIME_BYTES] + tally.convert(member[_TIME_BYTES:]) for member in value.members
        ]
        if tally.count:
            members = sorted(set(members))  # a value may have been there in both encodings
        new = SortedSet(tuple(members), array("d", bytes(8 * len(members))))
    elif isinstance(value, Hash):
        total = len(value.fields)
        fields = {sub_key: tally.convert(field) for sub_key, field in value.fields.items()}
        new = attrs.evolve(value, fields=fields)
    else:
        return None, record  # of another program
    if not tally.count:
        return None, record
    type_name = "string" if isinstance(value, bytes) else value.type_name
    pickled = PickledKey(
        decode_key(record.key),
        _KINDS[type_name],
        tally.count,
        total,
        dict(tally.types.most_common()),
        tally.refused,
        tally.kept,
        tally.reason,
        record.database,
    )
    return pickled, record._replace(value=new)


class _Tally:
    """What became of the pickles of a key so far."""

    def __init__(self) -> None:
        self.count = self.refused = self.kept = 0
        self.types: Counter[str] = Counter()
        self.reason: str | None = None

    def convert(self, encoded: bytes) -> bytes:
        """Return a value in MessagePack if it is a pickle that can be converted."""
        if not is_pickle(encoded):
            return encoded
        self.count += 1
        try:
            value = decode_value(encoded, "safe")
        except DecodeError as error:
            self.refused += 1
            self.reason = self.reason or str(error).removesuffix(TRUST_ADVICE)
            return encoded
        self.types[_name_type(value)] += 1
        try:
            return _encode_same(value, len(encoded))
        except EncodeError as error:
            self.kept += 1
            self.reason = self.reason or f"It stays a pickle: {error}"
            return encoded


def convert_pickle(encoded: bytes, allow_pickle: AllowPickle | None = None) -> bytes:
    """Return a pickled value in MessagePack; raise DecodeError or EncodeError if that is not possible."""
    value = decode_value(encoded, allow_pickle)
    _check_growth(value, len(encoded))
    return encode_value(value)


def _encode_same(value: object, size: int) -> bytes:
    """Return a value of a pickle of this size in MessagePack, if decoding that returns the same."""
    _check_growth(value, size)
    encoded = encode_value(value, ENCODING_MSGPACK)
    if not _is_same(value, decode_value(encoded)):
        raise EncodeError(f"A value of type {type(value).__name__} would come back changed.")
    return encoded


def _check_growth(value: object, size: int) -> None:
    """Raise EncodeError if a value is much larger than its pickle, which may hold an object many times."""
    limit = left = _MAX_BYTES + _MAX_GROWTH * size
    todo = [value]
    while todo:
        item = todo.pop()
        left -= _ITEM_BYTES
        if isinstance(item, str | bytes | bytearray):
            left -= len(item)
        elif isinstance(item, dict):
            todo += [*item, *item.values()]
        elif isinstance(item, list | tuple):
            todo += item
        else:
            left -= getattr(item, "nbytes", 0)
        if left - _ITEM_BYTES * len(todo) < 0:
            raise EncodeError(
                f"The pickle of {size:,} bytes holds objects so often that they would take more than "
                f"{limit:,} bytes."
            )


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two values are the same, types, order and bits included."""
    todo = [(a, b)]  # without recursion, because values may be nested deeply
    while todo:
        a, b = todo.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, dict | list | tuple):
            if len(a) != len(b):
                return False
            todo += zip(a, b)
            if isinstance(a, dict):
                todo += zip(a.values(), b.values())
        elif not _is_same_leaf(a, b):
            return False
    return True


def _is_same_leaf(a: Any, b: Any) -> bool:
    if hasattr(a, "dtype"):
        return bool(
            a.dtype == b.dtype
            and a.shape == b.shape
            and a.flags.f_contiguous == b.flags.f_contiguous
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, float | complex):  # which may be a NaN, or a negative zero
        return struct.pack("2d", a.real, a.imag) == struct.pack("2d", b.real, b.imag)
    return bool(a == b)


def _name_type(value: Any) -> str:
    """Return the name of the type of a value; dtype and shape of an array."""
    kind = type(value)
    if getattr(value, "shape", ()):
        return f"{value.dtype} {value.shape}"
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
