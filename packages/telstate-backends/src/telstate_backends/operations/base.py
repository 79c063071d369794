"""What an operation is: a small frozen record that translates itself for every store.

An operation is one atomic exchange with a store. It carries all candidate keys of a view at once, in
order; the first that exists hides the later ones. It says what it does to the in-memory store
(:meth:`Operation.apply`), what to send to Redis (:meth:`Operation.command`) and what the reply means
(:meth:`Operation.parse`). Expected outcomes are values; a key of the wrong kind is an exception.

A command is data; the backends decide how it is sent, retried or distributed over the nodes of a
cluster. Scripts are the files ``scripts/<name>.lua``. They reply nothing if no candidate key exists,
otherwise ``[type, key, ...]``.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, NoReturn, TypeAlias, TypeVar, cast

import attrs

from telstate_backends.errors import ForeignKeyError, ImmutableKeyError, RefusedError
from telstate_backends.store import Store
from telstate_backends.types import REDIS_TYPES, KeyType
from telstate_codec.keys import key_repr

Argument: TypeAlias = bytes | str | int
#: A command as it is sent: its name and its arguments.
Args: TypeAlias = tuple[Argument, ...]
Result = TypeVar("Result")

#: Scripts that begin with the text of another file, which holds their common functions.
_INCLUDES = {"load": "listeners", "restore": "listeners"}


#: Scripts that only read. :mod:`~telstate_backends.operations.plain_reads` does the same without scripts.
READ_SCRIPTS = frozenset(
    {
        "export",
        "get",
        "get_indexed",
        "get_page",
        "get_range",
        "key_type",
        "keys",
        "peek",
        "which_exist",
    }
)


@attrs.frozen
class Script:
    """The source of a Lua script, and the digest by which ``EVALSHA`` calls it."""

    name: str
    source: bytes
    sha: bytes
    #: The commands that call it for users who may only read, by its source and by its digest.
    read_eval: str
    read_evalsha: bytes


@functools.cache
def script(name: str) -> Script:
    """Read a script of this package, once."""
    # Imported here because a memory backend does not need them.
    import hashlib
    from importlib.resources import files

    folder = files("telstate_backends.operations").joinpath("scripts")
    names = [_INCLUDES[name], name] if name in _INCLUDES else [name]
    source = b"".join(folder.joinpath(f"{each}.lua").read_bytes() for each in names)
    # The digest protects nothing, so it must also work where SHA-1 is disabled for security.
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    suffix = "_RO" if name in READ_SCRIPTS else ""
    return Script(name, source, sha, f"EVAL{suffix}", f"EVALSHA{suffix}".encode())


@attrs.frozen
class Command:
    """What to send for an operation.

    Attributes
    ----------
    name : str
        Name of the command, or of the script if `is_script`.
    keys : tuple of bytes
        All keys that it touches.
    arguments : tuple
        What follows the keys.
    is_script : bool
        Whether it is a script.
    pages : tuple of tuple
        If there are any, each stands for a listing by pages. It is what follows the arguments, and a cursor
        precedes these. The command is repeated with the cursor of each reply until that is 0. The reply
        is then a list of the second elements of these replies, for each listing.
    whole : Command, optional
        A script that returns the only listing at once, or nothing if it is too long for that.
    steps : tuple of Command
        A transaction that does the same faster, in a batch on a single server; its last reply counts.
    is_long : bool
        Whether the reply may be long, so that a transaction is faster, because a script copies a reply
        twice.
    """

    name: str
    keys: tuple[bytes, ...] = ()
    arguments: tuple[Argument, ...] = ()
    is_script: bool = False
    pages: tuple[Args, ...] = ()
    whole: Command | None = None
    steps: tuple[Command, ...] = ()
    is_long: bool = False

    @property
    def is_read_script(self) -> bool:
        """Whether it is a script that only reads."""
        return self.is_script and self.name in READ_SCRIPTS

    def args(self, read_only: bool = False) -> Args:
        """Return what to send; a script goes by its digest, one that only reads as such if `read_only`."""
        if not self.is_script:
            return (self.name, *self.keys, *self.arguments)
        called = script(self.name)
        name = called.read_evalsha if read_only else b"EVALSHA"
        # Bytes are what is sent fastest.
        return (name, called.sha, b"%d" % len(self.keys), *self.keys, *self.arguments)

    def args_with_source(self, read_only: bool = False) -> Args:
        """Return what to send for a script that the server does not know."""
        called = script(self.name)
        name = called.read_eval if read_only else "EVAL"
        return (name, called.source, len(self.keys), *self.keys, *self.arguments)


class Operation(ABC, Generic[Result]):
    """One atomic exchange with a store, and its result."""

    __slots__ = ()

    #: Whether doing it twice has the same effect as doing it once, so that it may be sent again after a
    #: failure that leaves open whether it was done.
    is_idempotent: ClassVar[bool] = True
    #: Whether it changes the store.
    writes: ClassVar[bool] = False
    #: Whether every node of a cluster must execute it, not only those that hold its keys.
    for_all_nodes: ClassVar[bool] = False

    @abstractmethod
    def apply(self, store: Store) -> Result:
        """Execute it on the in-memory store and return its result."""

    @abstractmethod
    def command(self) -> Command:
        """Return its Redis form."""

    @abstractmethod
    def parse(self, reply: object) -> Result:
        """Return the result that a reply to :meth:`command` means."""

    def merge(self, replies: Sequence[object]) -> object:
        """Return one reply in place of the replies for each candidate key, or of each node, in order."""
        return next((reply for reply in replies if reply is not None), None)

    def affected_keys(self) -> Sequence[bytes] | None:
        """Return the keys about which a cache is out of date afterwards, `None` for all."""
        return None if self.writes else ()


class KeyOperation(Operation[Result]):
    """An operation on one key, not on candidates; a cache does not look at its result."""

    __slots__ = ()

    key: bytes

    def affected_keys(self) -> Sequence[bytes]:
        return (self.key,)


# What a program can do instead with a key of this kind.
_ADVICE = {
    KeyType.IMMUTABLE: "get its value",
    KeyType.MUTABLE: "get its latest value or a range",
    KeyType.INDEXED: "get all of it or a sub-key",
}


def wrong_kind(key: bytes, found: KeyType, wanted: KeyType) -> ImmutableKeyError:
    """Return the error for a key of another kind than an operation needs."""
    return ImmutableKeyError(
        f"Key {key_repr(key)} is {found.name.lower()}, not {wanted.name.lower()}. To read it, "
        f"{_ADVICE[found]}; to write, choose another key."
    )


def foreign(key: bytes, redis_type: bytes) -> ForeignKeyError:
    """Return the error for a key that holds something that telstate does not write."""
    name = redis_type.decode("ascii", "replace")
    return ForeignKeyError(
        f"Key {key_repr(key)} holds a Redis {name}, which telstate does not support. Use another key "
        "or database."
    )


#: How the message of an :exc:`UnexpectedReply` begins.
UNEXPECTED = "The server sent an unexpected reply"


class UnexpectedReply(RefusedError):
    """A reply of a form that no supported server sends; the backend adds the address."""


def unexpected(reply: object) -> NoReturn:
    """Refuse a reply of a form that no supported server sends."""
    raise UnexpectedReply(f"{UNEXPECTED}: {reply!r:.100}")


def as_bytes(reply: object) -> bytes:
    return reply if isinstance(reply, bytes) else unexpected(reply)


def as_int(reply: object) -> int:
    return reply if isinstance(reply, int) else unexpected(reply)


def as_list(reply: object) -> list[object]:
    return reply if isinstance(reply, list) else unexpected(reply)


def as_bytes_list(reply: object) -> list[bytes]:
    items = as_list(reply)
    # Counted in C, and not copied: there may be millions.
    if list(map(type, items)).count(bytes) < len(items):
        return [as_bytes(item) for item in items]
    return cast("list[bytes]", items)


def as_pairs(reply: object) -> dict[bytes, bytes]:
    """Narrow a reply to a list of alternating fields and values."""
    items = as_bytes_list(reply)
    return dict(zip(items[::2], items[1::2], strict=True))


def sum_of(replies: Sequence[object]) -> int:
    """Add up replies that are integers."""
    return sum(map(as_int, replies))


def joined(replies: Sequence[object]) -> list[object]:
    """Concatenate replies that are lists."""
    return [item for reply in replies for item in as_list(reply)]


def find_kind(reply: object) -> tuple[KeyType, bytes, list[object]]:
    """Split ``[type, key, ...]``; a type that telstate does not write is an error naming the key."""
    if isinstance(reply, list) and len(reply) >= 2:
        redis_type, key, *payload = reply
        # Not by `as_bytes`, nor by `match`: this is part of every read.
        if isinstance(redis_type, bytes) and isinstance(key, bytes):
            kind = REDIS_TYPES.get(redis_type)
            if kind is None:
                raise foreign(key, redis_type)
            return kind, key, payload
    unexpected(reply)


def need_kind(reply: object, wanted: KeyType) -> list[object]:
    """Split ``[type, key, ...]``; another kind than `wanted` is an error naming the key."""
    kind, key, payload = find_kind(reply)
    if kind is not wanted:
        raise wrong_kind(key, kind, wanted)
    return payload
