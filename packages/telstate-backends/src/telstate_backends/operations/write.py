"""Writes: each does nothing, or all of it and publishes the update, atomically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from telstate_backends.events import Cleared, Deleted, Update
from telstate_backends.operations.base import (
    Command,
    KeyOperation,
    Operation,
    as_bytes,
    as_int,
    need_kind,
    sum_of,
    wrong_kind,
)
from telstate_backends.samples import Samples, sort_samples
from telstate_backends.store import Fields, Store, kind_of
from telstate_backends.types import Immutable, KeyType
from telstate_codec.timestamps import decode_sample


@attrs.frozen
class SetImmutable(KeyOperation[bytes | None]):
    """Set an immutable key; returns `None` if that took effect, else the value that it already has.

    Attributes
    ----------
    key : bytes
        The full key.
    value : bytes
        The encoded value.
    """

    writes: ClassVar[bool] = True

    key: bytes
    value: bytes

    def apply(self, store: Store) -> bytes | None:
        present = store.read(self.key)
        if present is None:
            store.data[self.key] = Immutable(self.value)
            if store.watched:
                store.publish(Update(self.key, KeyType.IMMUTABLE, self.value))
            return None
        if type(present) is not Immutable:
            raise wrong_kind(self.key, kind_of(present), KeyType.IMMUTABLE)
        return present.value

    def command(self) -> Command:
        return Command("set_immutable", (self.key,), (self.value,), is_script=True)

    def parse(self, reply: object) -> bytes | None:
        return None if reply is None else as_bytes(need_kind(reply, KeyType.IMMUTABLE)[0])


class _Adding(KeyOperation[None]):
    """Adds samples, and so replies only if the key is of another kind."""

    __slots__ = ()

    writes: ClassVar[bool] = True

    def parse(self, reply: object) -> None:
        if reply is not None:
            need_kind(reply, KeyType.MUTABLE)


@attrs.frozen
class AddSample(_Adding):
    """Add a sample to a mutable key; adding an equal one again has no effect.

    Attributes
    ----------
    key : bytes
        The full key.
    member : bytes
        The sample as :func:`telstate_codec.encode_sample` returns it: 8 bytes of time, then the
        encoded value.
    """

    key: bytes
    member: bytes

    def apply(self, store: Store) -> None:
        samples = store.get(self.key)
        if samples is None:
            store.data[self.key] = Samples((self.member,))
        elif type(samples) is not Samples:
            raise wrong_kind(self.key, kind_of(samples), KeyType.MUTABLE)
        elif not samples.insert_sample(self.member):
            return
        if store.watched:
            timestamp, value = decode_sample(self.member)
            store.publish(Update(self.key, KeyType.MUTABLE, value, timestamp=timestamp))

    def command(self) -> Command:
        return Command("add_sample", (self.key,), (self.member,), is_script=True)


@attrs.frozen
class AddSamples(_Adding):
    """Add many samples to a mutable key at once; adding an equal one again has no effect.

    Each new one is published, in the order in which they are given.

    Attributes
    ----------
    key : bytes
        The full key.
    members : tuple of bytes
        The samples, as in :class:`AddSample`; without any, nothing is done.
    """

    key: bytes
    members: tuple[bytes, ...]

    def apply(self, store: Store) -> None:
        present = store.get(self.key)
        if present is not None and type(present) is not Samples:
            raise wrong_kind(self.key, kind_of(present), KeyType.MUTABLE)
        if store.watched:
            for member in self.members:
                AddSample(self.key, member).apply(store)
        elif present is not None and self.members:
            present.insert_samples(self.members)
        elif self.members:
            store.data[self.key] = Samples(sort_samples(self.members))

    def command(self) -> Command:
        # Without duplicates: the script publishes all that do not exist before it adds any.
        members = tuple(dict.fromkeys(self.members))
        return Command("add_samples", (self.key,), members, is_script=True)


@attrs.frozen
class SetIndexed(KeyOperation[bytes | None]):
    """Set a sub-key; returns `None` if that took effect, else the value that it already has.

    Attributes
    ----------
    key : bytes
        The full key.
    sub_key : bytes
        The encoded sub-key.
    value : bytes
        The encoded value.
    """

    writes: ClassVar[bool] = True

    key: bytes
    sub_key: bytes
    value: bytes

    def apply(self, store: Store) -> bytes | None:
        fields = store.get(self.key)
        if fields is None:
            fields = store.data[self.key] = Fields()
        elif type(fields) is not Fields:
            raise wrong_kind(self.key, kind_of(fields), KeyType.INDEXED)
        present = fields.get(self.sub_key)
        if present is None:
            fields[self.sub_key] = self.value
            if store.watched:
                store.publish(Update(self.key, KeyType.INDEXED, self.value, sub_key=self.sub_key))
        return present

    def command(self) -> Command:
        return Command("set_indexed", (self.key,), (self.sub_key, self.value), is_script=True)

    def parse(self, reply: object) -> bytes | None:
        return None if reply is None else as_bytes(need_kind(reply, KeyType.INDEXED)[0])


@attrs.frozen
class Delete(Operation[int]):
    """Delete all of the keys, in every prefix of the view; returns how many existed.

    Each of those is published, if the user may publish on ``delete/<key>``. Not idempotent: sent again,
    it might delete what somebody has written since.

    Attributes
    ----------
    keys : tuple of bytes
        The full keys.
    """

    writes: ClassVar[bool] = True
    is_idempotent: ClassVar[bool] = False

    keys: tuple[bytes, ...]

    def affected_keys(self) -> Sequence[bytes]:
        return self.keys

    def apply(self, store: Store) -> int:
        deleted = [key for key in self.keys if store.data.pop(key, None) is not None]
        if store.watched:
            for key in deleted:
                store.publish(Deleted(key))
        return len(deleted)

    def command(self) -> Command:
        return Command("delete", self.keys, is_script=True)

    def parse(self, reply: object) -> int:
        return as_int(reply)

    def merge(self, replies: Sequence[object]) -> object:
        return sum_of(replies)


@attrs.frozen
class Clear(Operation[None]):
    """Delete every key of the database, without blocking other clients.

    That is published, if the user may publish on ``clear``. Not idempotent: sent again, it might delete
    what somebody has written since.
    """

    writes: ClassVar[bool] = True
    is_idempotent: ClassVar[bool] = False
    for_all_nodes: ClassVar[bool] = True

    def apply(self, store: Store) -> None:
        store.data.clear()
        if store.watched:
            store.publish(Cleared())

    def command(self) -> Command:
        return Command("clear", is_script=True)

    def parse(self, reply: object) -> None:
        return None
