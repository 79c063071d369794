"""How operations are divided among the nodes of a Redis Cluster, also while slots move. No I/O.

A script or command may only use keys of one slot. So a command is cut where the slot of its keys changes,
in order; each piece is sent to the node of its slot, and the operation merges the replies. A piece is
atomic; the whole is atomic only if all candidate keys share a slot (``{...}`` in their names makes them
do so). An operation on everything goes to all masters, which are asked first which others there are. A
listing of keys, or a clear, is sent again if slots have moved meanwhile: a key that moved before its old
node got to it, and after its new node did, is there the second time.

A node that does not serve a slot, or is just handing it over, redirects the piece and does nothing. The
piece is then sent to the right node in the next round. A piece with one key cannot be overtaken by a
later one with that key, because that is redirected as well. A piece with several keys could be, because
each node has some of them: so later pieces with one of its keys are delayed until it has a reply, unless
both only read. For the same reason a round has no piece that writes beside an operation on everything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import attrs
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ConnectionError,
    MovedError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

from telstate_backends.operations.base import Command, Operation
from telstate_backends.redis._errors import is_temporary, partly_sent

#: How often a piece is sent before its last reply is final.
_MAX_ATTEMPTS = 16
#: Seconds before the next round if the keys of a piece are on different nodes for the moment.
PAUSE = 0.02
#: How often that may happen before the keys are sent one by one, because the slot has many keys to move.
_MAX_REFUSALS = 2
#: Seconds between two looks at the nodes of a cluster while one of them is watched.
LOOK_INTERVAL = 2.0
#: How many looks after a node has joined its messages surely arrive: Valkey 9.1 drops those of 3 seconds.
_LOOKS = 3
#: The error of a script that uses a key that is just being moved.
_ELSEWHERE = "access a non local key"

_NO_REPLY = object()


@attrs.define(eq=False)
class Piece:
    """A command for one node, whose keys share a slot, and its state."""

    command: Command
    writes: bool
    #: The node to send it to, by ``host:port``; None for the one that the slot table names.
    node: str | None = None
    #: Whether the node is only about to get the slot, so that ASKING must precede the command.
    asking: bool = False
    reply: object = _NO_REPLY
    #: Whether it must be sent (again), because the last reply is not final.
    due: bool = True
    _attempts: int = 0
    _refusals: int = 0

    def take(self, reply: object, node: str) -> None:
        """Record the reply of a node, and where to send the piece next if it is a redirection."""
        self.reply = reply
        self._attempts += 1
        self.due = isinstance(reply, ResponseError) and self._attempts < _MAX_ATTEMPTS
        if not self.due:
            return
        if isinstance(reply, AskError):
            # An empty host is that of the node that replied.
            host = reply.host or node.rpartition(":")[0]
            self.node = f"{host}:{reply.port}"
            self.asking = not isinstance(reply, MovedError)
        elif isinstance(reply, TryAgainError) or _ELSEWHERE in str(reply):
            self._refusals += isinstance(reply, TryAgainError)
            self.node, self.asking = None, False
        elif not isinstance(reply, NoScriptError):  # that is due again: its text was redirected
            self.due = False

    @property
    def waits(self) -> bool:
        """Whether the next attempt should not be made at once."""
        return self.due and isinstance(self.reply, TryAgainError)

    def split(self) -> list[Piece]:
        """Return a piece for each key if all keys at once were refused too often."""
        keys = self.command.keys
        if not self.waits or self._refusals <= _MAX_REFUSALS or len(keys) == 1:
            return [self]
        return [Piece(attrs.evolve(self.command, keys=(key,)), self.writes) for key in keys]


class _Order:
    """The pieces of a round that later ones must not overtake: on keys, anywhere, and everywhere."""

    # For each of these, None: no piece, False: one that reads, True: one that writes.
    def __init__(self) -> None:
        self._keys: dict[bytes, bool] = {}
        self._anything: bool | None = None
        self._everywhere: bool | None = None

    def must_wait(self, piece: Piece) -> bool:
        """Return whether a piece must wait for the next round."""
        keys = piece.command.keys
        before = [self._everywhere, *map(self._keys.get, keys)] if keys else [self._anything]
        return any(writes or piece.writes for writes in before if writes is not None)

    def add(self, piece: Piece, waits: bool) -> None:
        """Record a piece, which later ones may have to wait for."""
        keys = piece.command.keys
        self._anything = self._anything or piece.writes
        if not keys:
            self._everywhere = self._everywhere or piece.writes
        elif waits or len(keys) > 1:
            for key in keys:
                self._keys[key] = self._keys.get(key, False) or piece.writes


class Work:
    """Operations on a cluster, sent in rounds until all pieces have a final reply."""

    def __init__(self, operations: Sequence[Operation[Any]], masters: Masters) -> None:
        self._operations = operations
        self._masters = masters
        self._pieces = [list(_pieces(operation, masters)) for operation in operations]
        #: The operations of which each key must be seen, and whose nodes were not asked afterwards.
        self._unchecked = {
            place
            for place, operation in enumerate(operations)
            if operation.for_all_nodes and (operation.writes or operation.command().pages)
        }

    def due(self, node_of: Callable[[bytes], str]) -> dict[str, list[Piece]]:
        """Return the pieces to send to each node in the next round, in order."""
        nodes: dict[str, list[Piece]] = {}
        order = _Order()
        for place, pieces in enumerate(self._pieces):
            if any(piece.waits for piece in pieces):
                pieces = self._pieces[place] = [part for piece in pieces for part in piece.split()]
            waiting = [(piece, order.must_wait(piece)) for piece in pieces if piece.due]
            for piece, waits in waiting:
                order.add(piece, waits)
                if not waits:
                    node = piece.node or node_of(piece.command.keys[0])
                    nodes.setdefault(node, []).append(piece)
        return nodes

    @property
    def waits(self) -> bool:
        """Whether the next round should not begin at once."""
        return any(piece.waits for pieces in self._pieces for piece in pieces)

    @property
    def needs_check(self) -> bool:
        """Whether to ask the masters again, because all of them have done an operation on everything."""
        return any(self._is_done(place) for place in self._unchecked)

    def check(self, masters: Masters) -> None:
        """Repeat such operations if slots have moved meanwhile, on the masters of now."""
        done = {place for place in self._unchecked if self._is_done(place)}
        self._unchecked -= done
        if have_slots_moved(self._masters, masters):
            for place in done:
                self._pieces[place] += _pieces(self._operations[place], masters)

    def _is_done(self, place: int) -> bool:
        return not any(piece.due for piece in self._pieces[place])

    @property
    def moved(self) -> bool:
        """Whether the slot table is out of date."""
        return any(
            piece.due and isinstance(piece.reply, MovedError)
            for pieces in self._pieces
            for piece in pieces
        )

    def replies(self) -> list[object]:
        """Return one reply for each operation, merged from those to its pieces; an error prevails."""
        collected = []
        for operation, pieces in zip(self._operations, self._pieces, strict=True):
            replies = [piece.reply for piece in pieces]
            failure = next((reply for reply in replies if isinstance(reply, BaseException)), None)
            refused = sum(map(is_temporary, replies))
            if failure is None:
                collected.append(operation.merge(replies))
            elif operation.is_idempotent or refused in (0, len(replies)):
                collected.append(failure)
            else:
                collected.append(partly_sent(failure))
        return collected

    @property
    def has_many_pieces(self) -> bool:
        """Whether some pieces may have been sent when another cannot be."""
        return sum(map(len, self._pieces)) > 1


@attrs.frozen
class View:
    """What a node of a cluster says about itself and about the masters, in reply to CLUSTER NODES."""

    #: Its own identity.
    node: str
    #: Its own epoch and slots. While a slot is being moved, its source and its target say so.
    state: tuple[str, ...]
    #: The addresses of all masters, by identity.
    masters: Mapping[str, str]
    #: The identities of all nodes that it exchanges messages with.
    nodes: frozenset[str]
    #: The number of slots that are served by any node.
    slots: int

    @property
    def has_slots(self) -> bool:
        """Whether it serves any slots."""
        return any(not slot.startswith("[") for slot in self.state[1:])

    @property
    def is_moving_slots(self) -> bool:
        """Whether it is just handing over a slot, or taking one over."""
        return any(slot.startswith("[") for slot in self.state[1:])


#: The masters of a cluster by ``host:port``, None for the view of one that does not say.
Masters: TypeAlias = Mapping[str, View | None]


def parse_view(listed: bytes) -> View:
    """Parse a reply to CLUSTER NODES."""
    node, state, masters, nodes, count = "", tuple[str, ...](), dict[str, str](), set[str](), 0
    for line in listed.decode().splitlines():
        identity, address, listed_flags, _, _, _, epoch, _, *slots = line.split()
        flags = set(listed_flags.split(","))
        if "myself" in flags:
            node, state = identity, (epoch, *slots)
        if "handshake" not in flags:
            nodes.add(identity)
        ranges = [slot.partition("-") for slot in slots if not slot.startswith("[")]
        count += sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
        # One without slots that is down has no keys either.
        if "master" in flags and (ranges or not flags & {"fail", "noaddr", "handshake"}):
            masters[identity] = address.partition("@")[0]
    return View(node, state, masters, frozenset(nodes), count)


def find_masters(
    names: Sequence[str],
) -> Generator[list[str], list[View | Exception], dict[str, View]]:
    """Return the present masters by what they say of each other; none if the user may not ask.

    It yields the names of nodes to ask at once, first the given ones, and is sent their views, or why there is
    none. A node that the others do not know has left the cluster, and is not asked about it. One that they
    know must answer.
    """
    answers = dict(zip(names, (yield list(names)), strict=True))
    views = {name: view for name, view in answers.items() if isinstance(view, View)}
    if not views:
        if all(isinstance(answer, ResponseError) for answer in answers.values()):
            return {}
        raise next(each for each in answers.values() if not isinstance(each, (View, ResponseError)))
    found: dict[str, View] = {}
    named = {view.node: name for name, view in reversed(views.items())}
    # A node that has left, or is only about to join, knows of fewer slots.
    todo = [max(views.values(), key=lambda view: view.slots)]
    while todo:
        addresses = {
            identity: address
            for view in todo
            for identity, address in view.masters.items()
            if identity not in found
        }
        unknown = [each for identity, each in addresses.items() if identity not in named]
        asked = [each for each in unknown if each not in answers]
        answers |= zip(asked, (yield asked) if asked else (), strict=True)
        todo = []
        for identity, address in addresses.items():
            answer = answers[named.setdefault(identity, address)]
            if not isinstance(answer, View):
                raise answer
            found[identity] = answer
            todo.append(answer)
    return {named[identity]: view for identity, view in found.items()}


class Membership:
    """Whether a node, by ``host:port``, passes on what is published on all others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: frozenset[str] | None = None
        #: How often to look until messages of a new node surely arrive.
        self._looks = 0

    def judge(self, masters: Masters) -> bool:
        """Return whether messages may have been lost because a node has joined; raise if this one has left."""
        if self._name not in masters:
            raise ConnectionError("this node is no longer a master of the cluster")
        view = masters[self._name]
        nodes = None if view is None else view.nodes
        is_new = nodes is not None and self._nodes is not None and not nodes <= self._nodes
        self._nodes = nodes
        if is_new:
            self._looks = _LOOKS
        elif self._looks:
            self._looks -= 1
            return self._looks == 0
        return is_new


def have_slots_moved(before: Masters, after: Masters) -> bool:
    """Return whether slots, with their keys, may have moved since the masters were asked before."""
    views = [*before.values(), *after.values()]
    return any(view is None or view.is_moving_slots for view in views) or (
        _states(before) != _states(after)
    )


def _states(masters: Masters) -> set[tuple[str, tuple[str, ...]]]:
    return {(view.node, view.state) for view in masters.values() if view is not None}


@attrs.frozen
class Ownership:
    """Which node, by its address, serves which slot, and which slots are on the move."""

    served: frozenset[tuple[str, int]]
    moving: frozenset[int]

    def slots_of(self, address: str) -> set[int]:
        """Return the slots that a node serves."""
        return {slot for each, slot in self.served if each == address}

    def moved(self, later: Ownership) -> frozenset[int]:
        """Return the slots that may have been on the move between then and `later`."""
        changed = {slot for _, slot in self.served ^ later.served}
        return self.moving | later.moving | changed


def ownership_of(replies: Mapping[str, bytes]) -> Ownership:
    """Return what the masters of a cluster, by address, reply to CLUSTER NODES about themselves."""
    served: set[tuple[str, int]] = set()
    moving: set[int] = set()
    for address, listed in replies.items():
        for line in listed.decode().splitlines():
            _, _, flags, _, _, _, _, _, *slots = line.split()
            if "myself" not in flags.split(","):
                continue
            for slot in slots:
                if slot.startswith("["):  # [93->-node] or [93-<-node]
                    moving.add(int(slot[1:].partition("-")[0]))
                else:
                    first, _, last = slot.partition("-")
                    numbers = range(int(first), int(last or first) + 1)
                    served |= {(address, number) for number in numbers}
    return Ownership(frozenset(served), frozenset(moving))


def _pieces(operation: Operation[Any], all_nodes: Iterable[str]) -> Iterator[Piece]:
    command = operation.command()
    if operation.for_all_nodes:
        for node in all_nodes:
            yield Piece(command, operation.writes, node)
    else:
        for _, keys in groupby(command.keys, key_slot):
            yield Piece(attrs.evolve(command, keys=tuple(keys)), operation.writes)
