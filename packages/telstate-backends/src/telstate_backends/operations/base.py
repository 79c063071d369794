"""The Redis form of an operation: a command or a script, its keys and its arguments.

Rules: a command is data; how it is sent, repeated or spread over nodes is the backend's business. A
script is a small file ``scripts/<name>.lua`` of this package, read when it is first needed.
"""

# What an operation is: data that translates itself for every store.
#
# Rules: an operation is one atomic exchange, frozen, and carries all candidate keys of a view at
# once, in order; the first that exists shadows the later ones wholly. It says what it means on the
# in-memory store (:meth:`Operation.apply`), what to send to Redis (:meth:`Operation.command`) and what
# the reply means (:meth:`Operation.parse`). An expected outcome is a value; a key of the wrong kind is
# an exception. Scripts reply nothing if no candidate exists, else ``[type, key, ...]``.

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, NoReturn, TypeAlias, TypeVar

import attrs

from telstate_backends.errors import ForeignKeyError, ImmutableKeyError, RefusedError
from telstate_backends.store import Store
from telstate_backends.types import REDIS_TYPES, KeyType
from telstate_codec.keys import key_repr

Argument: TypeAlias = bytes | str | int

#: For each script that does not stand alone the file that it begins with.
_BEGINNINGS = {"load": "heard", "restore": "heard"}


@attrs.frozen
class Script:
    """One ``.lua`` file.

    Attributes
    ----------
    name : str
        Its name, without the suffix.
    source : bytes
        Its text.
    sha : str
        What ``EVALSHA`` calls it.
    """

    name: str
    source: bytes
    sha: str


@functools.cache
def script(name: str) -> Script:
    """Read a script of this package, once."""
    # Here, so that a memory backend need not pay for these imports.
    import hashlib
    from importlib.resources import files

    folder = files("telstate_backends.operations").joinpath("scripts")
    names = [_BEGINNINGS[name], name] if name in _BEGINNINGS else [name]
    source = b"".join(folder.joinpath(f"{each}.lua").read_bytes() for each in names)
    # The name of a script is not a secret: hence also on machines where SHA-1 is barred for those.
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


@attrs.frozen
class Command:
    """What to send for an operation.

    Attributes
    ----------
    name : str
        Of the command, or of the script if `scripted`.
    keys : tuple of bytes
        All keys that it touches.
    arguments : tuple
        What follows the keys.
    scripted : bool
        Whether it is a script.
    paged : bool
        Whether the first argument is a cursor, to be replaced by the one in the reply until that is
        0; the replies' second elements then make up the reply, a list of pages.
    steps : tuple of Command
        What does the same in a batch on one server, as a transaction, and is quicker there; the
        reply to the last counts.
    together : tuple of Command
        What tells the same as a transaction, on a connection of our own, and is quicker there,
        because a script copies a long reply twice; the reply is then a tuple of theirs.
    """

    name: str
    keys: tuple[bytes, ...] = ()
    arguments: tuple[Argument, ...] = ()
    scripted: bool = False
    paged: bool = False
    steps: tuple[Command, ...] = ()
    together: tuple[Command, ...] = ()


Result = TypeVar("Result")

_WORDS = {
    KeyType.IMMUTABLE: "immutable",
    KeyType.MUTABLE: "mutable",
    KeyType.INDEXED: "indexed",
}
# What a reader can do with a key of another kind than he thought.
_READ = {
    KeyType.IMMUTABLE: "get its value",
    KeyType.MUTABLE: "get its latest value, or a range",
    KeyType.INDEXED: "get all of it, or a sub-key",
}


#: What is said of a reply that no server of ours gives.
UNEXPECTED = "the server sent a reply that makes no sense here"


class UnexpectedReply(RefusedError):
    """A reply that no server of ours gives; the backend, which knows it, adds the address."""


class Operation(ABC, Generic[Result]):
    """One exchange with a store, and what comes of it."""

    __slots__ = ()

    #: Whether doing it twice is the same as doing it once, so that it may be sent again after a
    #: failure that leaves open whether it was done.
    idempotent: ClassVar[bool] = True
    #: Whether it changes the store.
    writes: ClassVar[bool] = False
    #: Whether it concerns every node of a cluster, not those that hold its keys.
    everywhere: ClassVar[bool] = False

    @abstractmethod
    def apply(self, store: Store) -> Result:
        """Do it on the in-memory store."""

    @abstractmethod
    def command(self) -> Command:
        """Give its Redis form."""

    @abstractmethod
    def parse(self, reply: object) -> Result:
        """Tell what the reply to :meth:`command` means."""

    def merge(self, replies: Sequence[object]) -> object:
        """Make one reply of those for each candidate key alone, or of every node, in order."""
        return next((reply for reply in replies if reply is not None), None)


def wrong_kind(key: bytes, found: KeyType, wanted: KeyType) -> ImmutableKeyError:
    """Make the error for a key of another kind than an operation needs."""
    return ImmutableKeyError(
        f"key {key_repr(key)} is {_WORDS[found]}, not {_WORDS[wanted]}; to read it, {_READ[found]}; "
        "to write, choose another key"
    )


def foreign(key: bytes, redis_type: bytes) -> ForeignKeyError:
    """Make the error for a key that holds nothing of telstate's."""
    name = redis_type.decode("ascii", "replace")
    return ForeignKeyError(
        f"key {key_repr(key)} holds a Redis {name}, which is no kind of telstate key; use another "
        "key or database"
    )


def unexpected(reply: object) -> NoReturn:
    """Refuse a reply that no server of ours gives."""
    raise UnexpectedReply(f"{UNEXPECTED}: {reply!r:.100}")


def as_bytes(reply: object) -> bytes:
    """Narrow a reply to bytes."""
    return reply if isinstance(reply, bytes) else unexpected(reply)


def as_int(reply: object) -> int:
    """Narrow a reply to an integer."""
    return reply if isinstance(reply, int) else unexpected(reply)


def as_list(reply: object) -> list[object]:
    """Narrow a reply to a list."""
    return reply if isinstance(reply, list) else unexpected(reply)


def as_bytes_list(reply: object) -> list[bytes]:
    """Narrow a reply to a list of bytes."""
    items = as_list(reply)
    return [item if type(item) is bytes else as_bytes(item) for item in items]


def as_pairs(reply: object) -> dict[bytes, bytes]:
    """Narrow a reply to fields and values, one after the other."""
    items = as_bytes_list(reply)
    return dict(zip(items[::2], items[1::2], strict=True))


def find_kind(reply: object) -> tuple[KeyType, bytes, list[object]]:
    """Take apart ``[type, key, ...]``; a type that is not ours is an error naming the key."""
    redis_type, key, *payload = as_list(reply)
    kind = REDIS_TYPES.get(as_bytes(redis_type))
    if kind is None:
        raise foreign(as_bytes(key), as_bytes(redis_type))
    return kind, as_bytes(key), payload


def need_kind(reply: object, wanted: KeyType) -> list[object]:
    """Take apart ``[type, key, ...]``; another kind than `wanted` is an error naming the key."""
    kind, key, payload = find_kind(reply)
    if kind is not wanted:
        raise wrong_kind(key, kind, wanted)
    return payload
