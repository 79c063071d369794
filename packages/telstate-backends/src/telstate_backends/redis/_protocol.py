"""How commands are put on the wire, and batches of them: pure, shared by sync and asyncio.

Rules: a script goes by its digest (``EVALSHA``); if the server does not know it, the text is sent,
which also makes it known. In a batch the first use of each script sends the text straight away, so
that order is kept even if the server has just lost its scripts. A paged command cannot be part of a
batch in order, so it is done by itself. A command with steps is a transaction in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from redis.exceptions import ClusterDownError

from telstate_backends.errors import TelstateError
from telstate_backends.operations.base import (
    Argument,
    Command,
    Operation,
    as_int,
    script,
    unexpected,
)
from telstate_backends.redis._errors import NONSENSE, senseless

Pieces = tuple[Argument, ...]


def brief(command: Command) -> Pieces:
    """Give what to send, a script by its digest."""
    if not command.scripted:
        return (command.name, *command.keys, *command.arguments)
    digest = script(command.name).sha
    return ("EVALSHA", digest, len(command.keys), *command.keys, *command.arguments)


def in_full(command: Command) -> Pieces:
    """Give what to send, a script by its text."""
    source = script(command.name).source
    return ("EVAL", source, len(command.keys), *command.keys, *command.arguments)


def batch(commands: Iterable[Command], asking: Iterable[bool]) -> Iterator[Pieces]:
    """Give what to send for commands that follow each other on one connection.

    Before those that are for a node which is only about to get their slot, we tell it that we know.
    """
    known: set[str] = set()
    for command, announced in zip(commands, asking, strict=True):
        if announced:
            yield ("ASKING",)
        if command.steps:
            yield ("MULTI",)
        for step in command.steps or (command,):
            if step.scripted and step.name not in known:
                known.add(step.name)
                yield in_full(step)
            else:
                yield brief(step)
        if command.steps:
            yield ("EXEC",)


def collect(
    commands: Iterable[Command], asking: Iterable[bool], replies: Iterable[object]
) -> Iterator[object]:
    """Give the reply to each command of a batch, from those to what was sent."""
    each = iter(replies)
    for command, announced in zip(commands, asking, strict=True):
        if announced:
            next(each)
        if command.steps:
            yield _outcome(list(islice(each, len(command.steps) + 2)))
        else:
            yield next(each)


def _outcome(replies: list[object]) -> object:
    """Give the reply to the last step of a transaction, or the first error."""
    *queued, executed = replies
    done = executed if isinstance(executed, list) else [executed]
    return next((reply for reply in (*queued, *done) if isinstance(reply, Exception)), done[-1])


def transaction(commands: Iterable[Command]) -> list[Pieces]:
    """Give what to send for commands that are done together."""
    return [("MULTI",), *map(brief, commands), ("EXEC",)]


def together(replies: Sequence[object]) -> tuple[object, ...]:
    """Give the replies to commands done together, from those to what was sent; raises an error."""
    for reply in replies:
        # EXEC says only that something was refused, hence the first.
        if isinstance(reply, Exception):
            raise reply
    done = replies[-1]
    return tuple(done) if isinstance(done, list) else unexpected(done)


def page(command: Command, cursor: int) -> Command:
    """Give the command for the page at a cursor."""
    arguments = (cursor, *command.arguments[1:])
    return Command(command.name, command.keys, arguments, scripted=command.scripted)


def split_page(reply: object) -> tuple[int, object]:
    """Take apart the reply for a page: the next cursor, and what is on the page."""
    if not isinstance(reply, (list, tuple)) or len(reply) != 2:
        unexpected(reply)
    cursor, found = reply
    return int(cursor) if isinstance(cursor, bytes) else as_int(cursor), found


def runs(commands: Sequence[Command]) -> Iterator[tuple[bool, range]]:
    """Cut commands into runs that go in one round trip, and those that are paged."""
    start = 0
    for paged, run in groupby(commands, lambda command: command.paged):
        stop = start + sum(1 for _ in run)
        yield paged, range(start, stop)
        start = stop


def repeatable(operations: Iterable[Operation[Any]]) -> bool:
    """Tell whether all of these may be sent again."""
    return all(operation.idempotent for operation in operations)


def served(replies: list[object], safe: bool) -> list[object]:
    """Give the replies of a batch; if it may be sent again, and a cluster is down, raise that it is.

    The server has done nothing of what it answers so, and will before long, as with a lost connection.
    """
    if safe:
        for reply in replies:
            if isinstance(reply, ClusterDownError):
                raise reply
    return replies


def parse(operation: Operation[Any], reply: object, address: str) -> Any:
    """Tell what a reply of a batch means; an error is given back, not raised."""
    if isinstance(reply, TelstateError):
        return reply
    try:
        return operation.parse(reply)
    except (*NONSENSE, TelstateError) as error:
        return senseless(error, address)
