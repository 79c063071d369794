"""How operations are spread over the nodes of a Redis Cluster: pure.

Rules: a script or command may touch keys of one slot only. So a command is cut where the slot of its
keys changes, order kept, each piece goes to the node of its slot, and the operation makes one reply
of theirs. A piece is atomic; the whole is only if all candidate keys share a slot (``{...}`` in
their names sees to that). What concerns every node goes to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import attrs
from redis.crc import key_slot
from redis.exceptions import AskError, TryAgainError

from telstate_backends.commands import Command
from telstate_backends.operations.base import Operation

#: What a node says of a slot that it does not serve (MOVED is a kind of ASK to redis-py) or is just
#: handing over: nothing has been done, and the cluster client knows how to go on.
REDIRECTIONS = (AskError, TryAgainError)


@attrs.frozen
class Plan:
    """What each node is to do, and how to put its replies together.

    Attributes
    ----------
    operations : sequence of Operation
        What is to be done in all.
    work : dict[str, list of Command]
        For each node, by name, what it does, in order.
    places : list of list of (str, int)
        For each operation, where the replies to its pieces are: node, and place in its list.
    """

    operations: Sequence[Operation[Any]]
    work: dict[str, list[Command]]
    places: list[list[tuple[str, int]]]

    def collect(self, replies: Mapping[str, Sequence[object]]) -> list[object]:
        """Make one reply for each operation of those of the nodes; an error outweighs all."""
        collected = []
        for operation, places in zip(self.operations, self.places, strict=True):
            pieces = [replies[node][place] for node, place in places]
            failure = next((piece for piece in pieces if isinstance(piece, BaseException)), None)
            collected.append(operation.merge(pieces) if failure is None else failure)
        return collected


def plan(
    operations: Sequence[Operation[Any]],
    node_of: Callable[[bytes], str],
    all_nodes: Sequence[str],
) -> Plan:
    """Spread operations over nodes.

    Parameters
    ----------
    operations : sequence of Operation
        What is to be done.
    node_of : callable
        Gives the name of the node that serves a key.
    all_nodes : sequence of str
        The names of all nodes that hold keys.
    """
    work: dict[str, list[Command]] = {}
    places = []
    for operation in operations:
        command = operation.command()
        pieces: list[tuple[str, Command]]
        if operation.everywhere:
            pieces = [(node, command) for node in all_nodes]
        else:
            groups = [tuple(keys) for _, keys in groupby(command.keys, key_slot)]
            pieces = [(node_of(keys[0]), attrs.evolve(command, keys=keys)) for keys in groups]
        found = []
        for node, piece in pieces:
            commands = work.setdefault(node, [])
            found.append((node, len(commands)))
            commands.append(piece)
        places.append(found)
    return Plan(operations, work, places)
