"""How operations are spread over the nodes of a Redis Cluster, and find their way while slots move: pure.

Rules: a script or command may touch keys of one slot only. So a command is cut where the slot of its
keys changes, order kept, each piece goes to the node of its slot, and the operation makes one reply
of theirs. A piece is atomic; the whole is only if all candidate keys share a slot (``{...}`` in
their names sees to that). What concerns every node goes to all of them.

A node that does not serve a slot, or is just handing it over, says so and has done nothing: then the
piece is sent again where it belongs, in the next round. A piece with one key cannot be overtaken by a
later one with that key, which is sent the same way; one with several could (each node has some of them),
so what touches a key of such a piece waits until that has its reply, unless both only read. For the
same reason what writes does not go in one round with what concerns every node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import attrs
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

from telstate_backends.operations.base import Command, Operation

#: How often a piece is sent before its last answer is the reply.
_ATTEMPTS = 16
#: Seconds to wait before the next round if keys of one piece are just now on different nodes.
PAUSE = 0.02
#: How often that may be before the keys are asked for one by one: the slot has then many keys to move.
_PATIENCE = 2
#: What a script says of a key that moves away, or here, while the node does not expect it.
_ELSEWHERE = "access a non local key"

_NO_REPLY = object()


@attrs.define(eq=False)
class Piece:
    """A command for one node, as far as it has come.

    Attributes
    ----------
    command : Command
        What is asked; its keys share a slot.
    writes : bool
        Whether that changes something.
    node : str or None
        The node to ask, by ``host:port``; None for the one that the slot table names.
    asking : bool
        Whether the node is only about to get the slot, and has to be told that we know.
    reply : object
        What has come last.
    due : bool
        Whether that does not count, so that it has to be sent (again).
    """

    command: Command
    writes: bool
    node: str | None = None
    asking: bool = False
    reply: object = _NO_REPLY
    due: bool = True
    _attempts: int = 0
    _refusals: int = 0

    def take(self, reply: object, node: str) -> None:
        """Take what a node replied, and decide where to go next if it sends us elsewhere."""
        self.reply = reply
        self._attempts += 1
        self.due = isinstance(reply, ResponseError) and self._attempts < _ATTEMPTS
        if not self.due:
            return
        if isinstance(reply, AskError):
            # A node that is asked with an empty host is the one that was asked.
            host = reply.host or node.rpartition(":")[0]
            self.node = f"{host}:{reply.port}"
            self.asking = not isinstance(reply, MovedError)
        elif isinstance(reply, TryAgainError):
            self._refusals += 1
            self.node, self.asking = None, False
        elif _ELSEWHERE in str(reply):
            # Without keys, it is for this node alone, which does not serve all that it has.
            self.node, self.asking = (None, False) if self.command.keys else (node, True)
        elif not isinstance(reply, NoScriptError):  # if it is: who sent its text was sent elsewhere
            self.due = False

    @property
    def waits(self) -> bool:
        """Whether it can only be served later."""
        return self.due and isinstance(self.reply, TryAgainError)

    def split(self) -> list[Piece]:
        """Give pieces for each key where all keys at once are refused for too long."""
        keys = self.command.keys
        if not self.waits or self._refusals <= _PATIENCE or len(keys) == 1:
            return [self]
        return [Piece(attrs.evolve(self.command, keys=(key,)), self.writes) for key in keys]


class _Order:
    """What in one round has to be done before something else is sent.

    For each of the three, None: nothing, False: something that reads, True: something that writes.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, bool] = {}
        self._anything: bool | None = None
        self._everywhere: bool | None = None

    def holds(self, piece: Piece) -> bool:
        """Tell whether a piece has to wait for the next round."""
        keys = piece.command.keys
        before = [self._everywhere, *map(self._keys.get, keys)] if keys else [self._anything]
        return any(writes or piece.writes for writes in before if writes is not None)

    def note(self, piece: Piece, held: bool) -> None:
        """Take note of a piece, which may have to be done before others."""
        keys = piece.command.keys
        self._anything = self._anything or piece.writes
        if not keys:
            self._everywhere = self._everywhere or piece.writes
        elif held or len(keys) > 1:
            for key in keys:
                self._keys[key] = self._keys.get(key, False) or piece.writes


class Work:
    """Operations on their way through a cluster.

    Parameters
    ----------
    operations : sequence of Operation
        What is to be done.
    all_nodes : sequence of str
        The names of all nodes that hold keys.
    """

    def __init__(self, operations: Sequence[Operation[Any]], all_nodes: Sequence[str]) -> None:
        self._operations = operations
        self._pieces = [list(_pieces(operation, all_nodes)) for operation in operations]

    def due(self, node_of: Callable[[bytes], str]) -> dict[str, list[Piece]]:
        """Give what is to be sent now to each node, in order.

        Parameters
        ----------
        node_of : callable
            Gives the name of the node that serves a key, by the slot table.
        """
        nodes: dict[str, list[Piece]] = {}
        order = _Order()
        for place, pieces in enumerate(self._pieces):
            if any(piece.waits for piece in pieces):
                pieces = self._pieces[place] = [part for piece in pieces for part in piece.split()]
            waiting = [(piece, order.holds(piece)) for piece in pieces if piece.due]
            for piece, held in waiting:
                order.note(piece, held)
                if not held:
                    node = piece.node or node_of(piece.command.keys[0])
                    nodes.setdefault(node, []).append(piece)
        return nodes

    @property
    def waits(self) -> bool:
        """Whether the next round should not come at once."""
        return any(piece.waits for pieces in self._pieces for piece in pieces)

    @property
    def moved(self) -> bool:
        """Whether the slot table is out of date."""
        return any(
            piece.due and isinstance(piece.reply, MovedError)
            for pieces in self._pieces
            for piece in pieces
        )

    def replies(self) -> list[object]:
        """Make one reply for each operation of those to its pieces; an error outweighs all."""
        collected = []
        for operation, pieces in zip(self._operations, self._pieces, strict=True):
            replies = [piece.reply for piece in pieces]
            failure = next((reply for reply in replies if isinstance(reply, BaseException)), None)
            collected.append(operation.merge(replies) if failure is None else failure)
        return collected


def check_served(operations: Sequence[Operation[Any]], replies: list[object]) -> list[object]:
    """Return the replies of a batch; raise if the cluster was down and the batch may be sent again.

    A server has done nothing of what it answers so, and soon will, as after a lost connection.
    """
    if all(operation.is_idempotent for operation in operations):
        for reply in replies:
            if isinstance(reply, ClusterDownError):
                raise reply
    return replies


def bare_masters(listed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Give the masters without slots, which the slot table does not have; they may be about to get some.

    Parameters
    ----------
    listed : dict
        What redis-py makes of the reply to ``CLUSTER NODES``.
    """
    found = []
    for name, node in listed.items():
        flags = set(node["flags"].split(","))
        if "master" in flags and not node["slots"] and not flags & {"fail", "noaddr", "handshake"}:
            found.append(name)
    return found


def _pieces(operation: Operation[Any], all_nodes: Sequence[str]) -> Iterator[Piece]:
    command = operation.command()
    if operation.for_all_nodes:
        for node in all_nodes:
            yield Piece(command, operation.writes, node)
    else:
        for _, keys in groupby(command.keys, key_slot):
            yield Piece(attrs.evolve(command, keys=tuple(keys)), operation.writes)
