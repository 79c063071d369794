"""Joining snapshots and telescope states into one snapshot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from telstate._base import TelescopeStateBase
from telstate._compare import are_equal, unmatched_samples
from telstate._pickles import no_keys_error
from telstate._sources import Source
from telstate._summaries import describe, natural, shorten
from telstate.snapshots import (
    RDBWriter,
    Selection,
    load_into,
    read_contents,
    split_keys,
)
from telstate_backends import Backend, Delete, Immutable, KeyType, KeyTypes, MemoryBackend
from telstate_backends.samples import Samples
from telstate_backends.store import Fields, Stored, kind_of
from telstate_codec import Key, TelstateError, decode_key
from telstate_codec.printable import escape
from telstate_rdb.printable import escape_path

_SHOWN = 5
_MAX_LENGTH = 60


@attrs.frozen
class MergeConflict:
    """A key on which the sources of a merge disagree.

    Attributes
    ----------
    name : str
        The full name.
    kinds : tuple of KeyType or None
        The kind of the key in each source; None where it is missing.
    values : tuple of str
        Its value in each source in a few words; empty where it is missing.
    sub_keys : tuple of str
        The sub-keys whose values differ, in a few words; `values` are those of the first.
    """

    name: str
    kinds: tuple[KeyType | None, ...]
    values: tuple[str, ...]
    sub_keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = escape(self.name)
        kinds = [kind.name.lower() for kind in self.kinds if kind is not None]
        if len(set(kinds)) > 1:
            return f"{name}: {' / '.join(kinds)}"
        values = " / ".join(filter(None, self.values))
        if not self.sub_keys:
            return f"{name}: {values}"
        more = len(self.sub_keys) - 1
        others = f", and {more} more sub-key{'s' * (more > 1)}" if more else ""
        return f"{name}[{self.sub_keys[0]}]: {values}{others}"


class MergeConflictError(TelstateError):
    """The sources of a merge disagree on keys, and none of them is to decide; nothing was written.

    Attributes
    ----------
    conflicts : tuple of MergeConflict
        The keys, in natural order.
    """

    def __init__(self, message: str, conflicts: tuple[MergeConflict, ...] = ()) -> None:
        super().__init__(message, conflicts)
        self.conflicts = conflicts

    def __str__(self) -> str:
        return str(self.args[0])


@attrs.frozen
class Merged:
    """The result of a merge.

    Attributes
    ----------
    keys : int
        The number of keys in the new file.
    conflicts : tuple of MergeConflict
        The conflicts that ``prefer`` decided.
    """

    keys: int
    conflicts: tuple[MergeConflict, ...] = ()


def merge(
    sources: Iterable[TelescopeStateBase[Backend] | Source],
    out: str | os.PathLike[str],
    *,
    prefer: Literal["first", "last"] | None = None,
    keys: Iterable[Key] | None = None,
) -> Merged:
    """Join snapshots and telescope states into one snapshot.

    A sensor gets the samples of all sources, equal ones once. Different values at the same time are all kept,
    as in a live store. An indexed key gets the sub-keys of all sources. It is a conflict if an immutable or a
    sub-key has different values, or if a key is of different kinds. Values are equal as for `compare`: a
    pickle and the same value in MessagePack are, if the policy allows pickles to be read.

    Parameters
    ----------
    sources
        Snapshots (paths or open binary files) and synchronous telescope states. Snapshots are decoded a
        few keys at a time.
    out
        The path of the new file. It is replaced as a whole, or left as it was. It may be one of the
        sources.
    prefer
        Which source decides conflicts: the first or the last that has the key. Of a key of different
        kinds, the sources with another kind than that one are left out. Default: conflicts are an
        error.
    keys
        Full names of keys, or glob patterns. Default: all. Keys of other programs are left out.

    Returns
    -------
    merged
        The number of keys, and the conflicts that were decided.

    Raises
    ------
    MergeConflictError
        If there are conflicts and `prefer` is None; it has all of them. Nothing is written.
    KeyError
        If one of the names does not exist, or no key matches one of the patterns. Nothing is written.
    RdbParseError, OSError
        If a file is corrupt or cannot be opened.
    RdbWriteError
        If there are no keys at all, or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from telstate import TelescopeState
    >>> monday, tuesday = TelescopeState(), TelescopeState()
    >>> monday["n_chans"] = tuesday["n_chans"] = 4096
    >>> monday.add("gain", 1.5, ts=100.0)
    >>> tuesday.add("gain", 1.75, ts=200.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "both.rdb")
    ...     merged = merge([monday, tuesday], path)
    ...     both = TelescopeState.from_snapshot(path)
    >>> merged.keys, both.get_range("gain", st=0)
    (2, [(1.5, 100.0), (1.75, 200.0)])
    """
    if prefer not in (None, "first", "last"):
        raise ValueError(f"prefer must be 'first', 'last' or None, not {prefer!r}.")
    if isinstance(sources, str | bytes):
        raise TypeError(f"The sources must be an iterable of them, not the string {sources!r}.")
    selection = Selection(keys)
    backends, loaded = [], set()
    for number, source in enumerate(sources):
        if isinstance(source, TelescopeStateBase):
            backends.append(source.backend.uncached)
            continue
        backends.append(MemoryBackend())
        loaded.add(number)
        load_into(backends[number], source, strict=True, keys=selection.names)
    if not backends:
        raise ValueError("There are no sources to merge.")
    conflicts: list[MergeConflict] = []
    with RDBWriter(out, keep_empty=True) as writer:
        for numbers, names in _group_keys(backends, selection):
            if len(numbers) == 1 and conflicts and prefer is None:
                break
            for batch in split_keys([backends[number] for number in numbers], names):
                contents = [read_contents(backends[number], batch) for number in numbers]
                for key, *stored in zip(batch, *contents, strict=True):
                    by_source = {n: one for n, one in zip(numbers, stored) if one is not None}
                    joined, conflict = _join(key, by_source, len(backends), prefer == "last")
                    if conflict is not None:
                        conflicts.append(conflict)
                    if not conflicts or prefer is not None:
                        writer._write_batch((key,), (joined,), must_exist=False)
                for number in loaded.intersection(numbers):  # which gives the memory back
                    backends[number].execute(Delete(tuple(batch)))
        conflicts.sort(key=lambda conflict: natural(conflict.name))
        if conflicts and prefer is None:
            raise _refusal(conflicts, out)
        selection.check(writer, selection.names is None, backends[0])
        if not writer.keys_written:
            raise no_keys_error(out)
    return Merged(writer.keys_written, tuple(conflicts))


def _group_keys(
    backends: Sequence[Backend], selection: Selection
) -> list[tuple[tuple[int, ...], list[bytes]]]:
    """Return the selected keys with the backends that have them; those of most backends come first."""
    having: dict[bytes, list[int]] = {}
    for number, backend in enumerate(backends):
        kinds = backend.execute(KeyTypes())
        for key in filter(selection.wants, kinds):
            having.setdefault(key, []).append(number)
    groups: dict[tuple[int, ...], list[bytes]] = {}
    for key, numbers in having.items():
        groups.setdefault(tuple(numbers), []).append(key)
    return sorted(groups.items(), key=lambda group: -len(group[0]))


def _join(
    key: bytes, by_source: dict[int, Stored], count: int, last: bool
) -> tuple[Stored | None, MergeConflict | None]:
    """Join the contents of a key in several sources; return them, and the conflict if there is one."""
    if len(by_source) < 2:
        return next(iter(by_source.values()), None), None
    ordered = [by_source[number] for number in sorted(by_source, reverse=last)]
    joined = ordered[0]
    is_conflict = False
    differing: dict[bytes, None] = {}
    for other in ordered[1:]:
        if isinstance(joined, Immutable) and isinstance(other, Immutable):
            is_conflict |= not are_equal(joined.value, other.value)
        elif isinstance(joined, Samples) and isinstance(other, Samples):
            if joined != other:
                _, missing = unmatched_samples(joined, other)
                joined = Samples(sorted([*joined, *missing]))
        elif isinstance(joined, Fields) and isinstance(other, Fields):
            joined = Fields(other | joined)
            for sub_key in other:
                if not are_equal(joined[sub_key], other[sub_key]):
                    differing[sub_key] = None
        else:
            is_conflict = True
    if not is_conflict and not differing:
        return joined, None
    sub_keys = list(differing)
    found = [by_source.get(number) for number in range(count)]
    conflict = MergeConflict(
        decode_key(key),
        tuple(None if stored is None else kind_of(stored) for stored in found),
        tuple(_describe(stored, sub_keys) for stored in found),
        tuple(map(describe, sub_keys)),
    )
    return joined, conflict


def _describe(stored: Stored | None, sub_keys: list[bytes]) -> str:
    """Describe the contents of a key, or the first of its sub-keys that differ, in a few words."""
    if isinstance(stored, Immutable):
        return shorten(describe(stored.value), _MAX_LENGTH)
    if isinstance(stored, Samples):
        return f"{len(stored)} samples"
    if isinstance(stored, Fields):
        if not sub_keys:
            return f"{len(stored)} sub-keys"
        return shorten(describe(stored[sub_keys[0]]), _MAX_LENGTH) if sub_keys[0] in stored else ""
    return ""


def _refusal(conflicts: list[MergeConflict], out: str | os.PathLike[str]) -> MergeConflictError:
    """Return the error for conflicts that nothing decides."""
    shown = "; ".join(map(str, conflicts[:_SHOWN]))
    more = f"; and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
    keys = "1 key differs" if len(conflicts) == 1 else f"{len(conflicts)} keys differ"
    return MergeConflictError(
        f"Cannot merge into {escape_path(os.fspath(out))}, which was left as it was: {keys} ({shown}{more}). "
        "Choose the source that decides with prefer='first' or 'last'.",
        tuple(conflicts),
    )
