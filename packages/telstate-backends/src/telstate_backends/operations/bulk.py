"""Whole keys: into the store from a snapshot, and out of it as a DUMP payload.

Rules: a payload is made here, of what the store holds, in the oldest form that every reader
accepts; so it is the same for every backend and every version of the server, and fakeredis, whose
``DUMP`` is its own affair, is no exception.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import attrs

from telstate_backends.errors import translate_rdb_errors
from telstate_backends.events import Update
from telstate_backends.operations.base import (
    Argument,
    Command,
    Operation,
    as_bytes,
    as_bytes_list,
    as_pairs,
    find_kind,
    need_kind,
    unexpected,
    wrong_kind,
)
from telstate_backends.store import Fields, Packed, Samples, Store, Stored, kind_of
from telstate_backends.types import Immutable, KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.timestamps import decode_sample

if TYPE_CHECKING:
    from telstate_rdb import Value

#: Up to this size a payload goes through a script, which copies it; beyond, that takes longer than a
#: transaction.
SMALL_PAYLOAD = 4096
#: Milliseconds, some hundred years: by them what follows in a transaction knows what was restored in it.
AGES = 1 << 42


@attrs.frozen(hash=False)
class Load(Operation[None]):
    """Write a whole key at once, and publish its value, or each of its samples or sub-keys.

    Where surely nobody listens, no more than the first of them is published.

    Attributes
    ----------
    key : bytes
        The full key.
    contents : Immutable or Samples or Fields or Packed
        What it is to hold; not empty, and samples sorted and without repeats.
    replace : bool
        Whether what is there goes first (default). Otherwise samples and fields are put to those
        that are there already, fields of the same name (and an immutable's value) overwritten: so a
        very long key can be loaded in parts.
    """

    writes: ClassVar[bool] = True

    key: bytes
    contents: Stored | Packed
    replace: bool = True

    def apply(self, store: Store) -> None:
        contents = self.contents
        present = None if self.replace else store.get(self.key)
        if type(contents) is Packed:
            if present is None and not store.heard(self.key):
                store.data[self.key] = contents
                return
            contents = contents.unpack()
        if present is None or type(present) is type(contents) is Immutable:
            store.data[self.key] = _copy(contents)
        else:
            contents = self._join(present, contents)
        if store.watched and store.heard(self.key):
            for update in _updates(self.key, contents):
                store.publish(update)

    def _join(self, present: Stored, added: Stored) -> Stored:
        """Put something to what is there; give what is new of it."""
        if type(present) is Samples and type(added) is Samples:
            if present[-1] < added[0]:
                present.extend(added)
            else:
                old = set(present)
                added = Samples(sample for sample in added if sample not in old)
                present[:] = sorted([*present, *added])
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
        return Command("load", (self.key,), (int(self.replace), name, *items), scripted=True)

    def parse(self, reply: object) -> None:
        if reply is not None:
            need_kind(reply, kind_of(self.contents))


def unpacked(contents: Stored | Packed) -> Stored:
    """Give contents decoded."""
    return contents.unpack() if type(contents) is Packed else contents


def _copy(stored: Stored) -> Stored:
    if type(stored) is Samples:
        return Samples(stored)
    if type(stored) is Fields:
        return Fields(stored)
    return stored


def _updates(key: bytes, contents: Stored) -> Iterator[Update]:
    if type(contents) is Immutable:
        yield Update(key, KeyType.IMMUTABLE, contents.value)
    elif type(contents) is Samples:
        for sample in contents:
            try:
                timestamp, value = decode_sample(sample)
            except DecodeError:
                continue  # no telescope state ever wrote this
            yield Update(key, KeyType.MUTABLE, value, timestamp=timestamp)
    else:
        for sub_key, value in contents.items():
            yield Update(key, KeyType.INDEXED, value, sub_key=sub_key)


@attrs.frozen(hash=False)
class Restore(Operation[None]):
    """Write a whole key at once from a DUMP payload, and publish it as :class:`Load` does.

    A server takes a payload faster than anything else; one that is too old for it, or that is none
    (fakeredis), refuses it, and then :class:`Load` writes the same.

    Attributes
    ----------
    key : bytes
        The full key.
    payload : bytes
        As ``DUMP`` gives it; of a type that telstate has.
    contents : Immutable or Samples or Fields or Packed
        What is in it.
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
            restore = Command("RESTORE", keys, (AGES, self.payload, "REPLACE"))
            steps = restore, Command("restore", keys, (b"", AGES), scripted=True)
        return Command("restore", keys, (self.payload,), scripted=True, steps=steps)

    def parse(self, reply: object) -> None:
        return None


@attrs.frozen
class Export(Operation[Stored | None]):
    """All that a key holds, `None` if it does not exist.

    Attributes
    ----------
    key : bytes
        The full key.
    """

    key: bytes

    def apply(self, store: Store) -> Stored | None:
        stored = store.get(self.key)
        return None if stored is None else _copy(stored)

    def command(self) -> Command:
        return Command("export", (self.key,), scripted=True)

    def parse(self, reply: object) -> Stored | None:
        if reply is None:
            return None
        kind, _, payload = find_kind(reply)
        (body,) = payload if len(payload) == 1 else unexpected(reply)
        if kind is KeyType.IMMUTABLE:
            return Immutable(as_bytes(body))
        if kind is KeyType.MUTABLE:
            return Samples(as_bytes_list(body))
        return Fields(as_pairs(body))


@attrs.frozen
class Dump(Operation[bytes | None]):
    """All that a key holds as a DUMP payload, `None` if it does not exist.

    Attributes
    ----------
    key : bytes
        The full key.
    """

    key: bytes

    def apply(self, store: Store) -> bytes | None:
        return _payload(store.get(self.key))

    def command(self) -> Command:
        return Export(self.key).command()

    def parse(self, reply: object) -> bytes | None:
        return _payload(Export(self.key).parse(reply))


@translate_rdb_errors()
def _payload(stored: Stored | None) -> bytes | None:
    # Here, so that who dumps nothing need not pay for this import.
    from telstate_rdb import encode_dump

    return None if stored is None else encode_dump(value_of(stored))


def value_of(stored: Stored) -> Value:
    """Give what a key holds as a value of :mod:`telstate_rdb`."""
    # Here, for the same reason.
    from telstate_rdb import Hash, SortedSet

    if type(stored) is Immutable:
        return stored.value
    if type(stored) is Samples:
        return SortedSet(tuple(stored), array("d", bytes(8 * len(stored))))
    return Hash(dict(stored))
