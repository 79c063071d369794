"""Whole keys: into the store from a snapshot, and out of it to a DUMP payload.

Payloads are made here, from the contents of the store, in the oldest form that every reader accepts.
So they are the same for every backend and every version of the server, also for fakeredis, whose
``DUMP`` is not that of Redis.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, overload

import attrs

from telstate_backends.errors import translate_rdb_errors
from telstate_backends.events import Update
from telstate_backends.operations.base import (
    Argument,
    Command,
    KeyOperation,
    as_bytes,
    as_bytes_list,
    as_pairs,
    find_kind,
    need_kind,
    unexpected,
    wrong_kind,
)
from telstate_backends.samples import Samples
from telstate_backends.store import Fields, Packed, Store, Stored, kind_of
from telstate_backends.types import Immutable, KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.timestamps import decode_sample

if TYPE_CHECKING:
    from telstate_rdb import StoredValue, Value

#: Up to this size a payload is passed to a script, which copies it; for a larger one a transaction is
#: faster.
SMALL_PAYLOAD = 4096
#: Milliseconds (139 years) by which the second step of a transaction recognises what the first restored.
RESTORED_TTL = 1 << 42


@attrs.frozen(hash=False)
class Load(KeyOperation[None]):
    """Write a whole key at once, and publish its value, or each of its samples or sub-keys.

    If certainly nobody listens, only the first of them is published.

    Attributes
    ----------
    key : bytes
        The full key.
    contents : Immutable or Samples or Fields or Packed
        Its new contents, samples sorted and without duplicates. Without samples or fields there is no key.
    replace : bool
        Whether the present contents are deleted first (default). Otherwise samples and fields are added
        to the present ones, and fields of the same name (and the value of an immutable key) overwritten,
        so that a very long key can be loaded in parts.
    """

    writes: ClassVar[bool] = True

    key: bytes
    contents: Stored | Packed
    replace: bool = True

    def apply(self, store: Store) -> None:
        contents = self.contents
        present = None if self.replace else store.get(self.key)
        if type(contents) is Packed:
            if present is None and not store.has_listeners(self.key):
                store.data[self.key] = contents
                return
            contents = contents.unpack()
        if type(contents) is not Immutable and not contents and present is None:
            store.data.pop(self.key, None)  # nothing empty exists, here as on a server
        elif present is None or type(present) is type(contents) is Immutable:
            store.data[self.key] = copy_contents(contents)
        else:
            contents = self._merge(present, contents)
        if store.watched and store.has_listeners(self.key):
            for update in _updates(self.key, contents):
                store.publish(update)

    def _merge(self, present: Stored, added: Stored) -> Stored:
        """Add contents to the present ones, and return those that are new."""
        if type(present) is Samples and type(added) is Samples:
            if added and not present.latest < added[0]:
                old = set(present)
                added = Samples(sample for sample in added if sample not in old)
            if added:
                present.insert_samples(added)
        elif type(present) is Fields and type(added) is Fields:
            present.update(added)
        else:
            raise wrong_kind(self.key, kind_of(present), kind_of(added))
        return added

    def command(self) -> Command:
        contents = unpacked(self.contents)
        items: Iterable[Argument]
        if type(contents) is Immutable:
            name, items = "string", (contents.value,)
        elif type(contents) is Samples:
            scored: list[Argument] = [b"0"] * (2 * len(contents))
            scored[1::2] = contents
            name, items = "zset", scored
        else:
            name, items = "hash", chain.from_iterable(contents.items())
        return Command("load", (self.key,), (int(self.replace), name, *items), is_script=True)

    def parse(self, reply: object) -> None:
        if reply is not None:
            need_kind(reply, kind_of(self.contents))


def unpacked(contents: Stored | Packed) -> Stored:
    """Return contents decoded."""
    return contents.unpack() if type(contents) is Packed else contents


def copy_contents(stored: Stored) -> Stored:
    """Return contents that later changes of the store do not change."""
    if type(stored) is Samples:
        return stored.copy()
    return Fields(stored) if type(stored) is Fields else stored


def _updates(key: bytes, contents: Stored) -> Iterator[Update]:
    if type(contents) is Immutable:
        yield Update(key, KeyType.IMMUTABLE, contents.value)
    elif type(contents) is Samples:
        for sample in contents:
            try:
                timestamp, value = decode_sample(sample)
            except DecodeError:
                continue  # not written by a telescope state
            yield Update(key, KeyType.MUTABLE, value, timestamp=timestamp)
    else:
        for sub_key, value in contents.items():
            yield Update(key, KeyType.INDEXED, value, sub_key=sub_key)


@attrs.frozen(hash=False)
class Restore(KeyOperation[None]):
    """Write a whole key at once from a DUMP payload, and publish it as :class:`Load` does.

    For a server this is the fastest way. One that does not accept the payload (because it is too old, or
    fakeredis) refuses the operation, and a :class:`Load` writes the same.

    Attributes
    ----------
    key : bytes
        The full key.
    payload : bytes
        The payload, of a type that telstate writes.
    contents : Immutable or Samples or Fields or Packed
        The same contents.
    """

    writes: ClassVar[bool] = True

    key: bytes
    payload: bytes
    contents: Stored | Packed

    def apply(self, store: Store) -> None:
        Load(self.key, self.contents).apply(store)

    def command(self) -> Command:
        keys = (self.key,)
        steps: tuple[Command, ...] = ()
        if len(self.payload) > SMALL_PAYLOAD:
            restore = Command("RESTORE", keys, (RESTORED_TTL, self.payload, "REPLACE"))
            steps = restore, Command("restore", keys, (b"", RESTORED_TTL), is_script=True)
        return Command("restore", keys, (self.payload,), is_script=True, steps=steps)

    def parse(self, reply: object) -> None:
        return None


@attrs.frozen
class Export(KeyOperation[Stored | None]):
    """All that a key holds, `None` if it does not exist.

    Attributes
    ----------
    key : bytes
        The full key.
    is_long : bool
        Whether the contents are probably so long that a server returns them faster without a script (default: no).
        The result is the same.
    """

    key: bytes
    is_long: bool = False

    def apply(self, store: Store) -> Stored | None:
        stored = store.read(self.key)
        return None if stored is None else copy_contents(stored)

    def command(self) -> Command:
        return Command("export", (self.key,), is_script=True, is_long=self.is_long)

    def parse(self, reply: object) -> Stored | None:
        return _parse_contents(reply, Samples)


def _parse_contents(reply: object, make_samples: Callable[[list[bytes]], Samples]) -> Stored | None:
    if reply is None:
        return None
    kind, _, payload = find_kind(reply)
    (body,) = payload if len(payload) == 1 else unexpected(reply)
    if kind is KeyType.IMMUTABLE:
        return Immutable(as_bytes(body))
    if kind is KeyType.MUTABLE:
        return make_samples(as_bytes_list(body))
    return Fields(as_pairs(body))


@attrs.frozen
class ExportPacked(KeyOperation[Stored | Packed | None]):
    """All that a key holds, as `Export`; what is still in the file that was opened stays packed.

    Attributes
    ----------
    key : bytes
        The full key.
    is_long : bool
        As for `Export`.
    """

    key: bytes
    is_long: bool = False

    def apply(self, store: Store) -> Stored | Packed | None:
        stored = store.data.get(self.key)
        if type(stored) is Packed and stored.in_file is not None:
            return stored
        return Export(self.key).apply(store)

    def command(self) -> Command:
        return Export(self.key, self.is_long).command()

    def parse(self, reply: object) -> Stored | None:
        return _parse_contents(reply, Samples.in_one_block)


@translate_rdb_errors()
def dump_payload(stored: Stored | None) -> bytes | None:
    """Return the DUMP payload of the result of an :class:`Export`, `None` for `None`.

    Examples
    --------
    >>> dump_payload(Immutable(b"value")).hex()
    '000576616c75650600171ba9b834ffa7fd'
    """
    # Imported here because few programs need it.
    from telstate_rdb import encode_dump

    return None if stored is None else encode_dump(value_of(stored))


@overload
def value_of(stored: Stored) -> Value: ...


@overload
def value_of(stored: Stored | Packed) -> Value | StoredValue: ...


def value_of(stored: Stored | Packed) -> Value | StoredValue:
    """Return the contents of a key as a value of :mod:`telstate_rdb`; what is in a file stays there."""
    if type(stored) is Packed:
        return stored.in_file or value_of(stored.unpack())
    # Imported here for the same reason.
    from telstate_rdb import Hash, SortedSet

    if type(stored) is Immutable:
        return stored.value
    if type(stored) is Samples:
        return SortedSet(tuple(stored), array("d", bytes(8 * len(stored))))
    return Hash(dict(stored))
