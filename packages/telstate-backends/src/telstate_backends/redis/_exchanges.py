"""What is said to one server for a command or a batch, written once for synchronous and asyncio code.

An exchange is a generator. It yields batches of commands, each to be sent in one round trip; it is sent
the replies in order, with redis-py's error in place of the reply to a failed command; and it returns its
own result. `Server` and `AsyncServer` drive it.

Rules: a script goes by its digest (``EVALSHA``); if the server does not know it, the text is sent, which
also makes it known. In a batch the first use of each script sends the text straight away, so that order
is kept even if the server has just lost its scripts. A paged command needs as many round trips as it has
pages, so it is not part of a batch. A command with steps is a transaction in a batch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TypeAlias, TypeVar

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from telstate_backends.operations.base import Args, Command, as_bytes, as_int, unexpected
from telstate_backends.redis._client import is_pool_exhausted
from telstate_backends.redis._errors import LOST, is_temporary, partly_sent
from telstate_backends.redis._slots import Piece, bare_masters

Result = TypeVar("Result")
Exchange: TypeAlias = Generator[Sequence[Args], list[object], Result]


def exchange_command(command: Command) -> Exchange[object]:
    """Return the reply to one command; raises redis-py's error if it fails."""
    if command.is_paged:
        return (yield from _exchange_pages(command))
    if command.transaction:
        try:
            replies = yield [("MULTI",), *(each.args() for each in command.transaction), ("EXEC",)]
            return tuple(_executed(replies))
        except NoPermissionError:
            pass  # some users may not run transactions, but scripts
    (reply,) = yield [command.args()]
    if isinstance(reply, NoScriptError):
        (reply,) = yield [command.args_with_source()]
    if isinstance(reply, Exception):
        raise reply
    return reply


def exchange_commands(
    commands: Sequence[Command], asking: Sequence[bool]
) -> Exchange[list[object]]:
    """Return the replies to commands, in order; a node that is only about to get their slot needs `asking`."""
    replies: list[object] = []
    for paged, run in groupby(zip(commands, asking, strict=True), lambda each: each[0].is_paged):
        try:
            if not paged:
                replies += yield from _exchange_batch(list(run))
                continue
            for command, announced in run:
                try:
                    replies.append((yield from _exchange_pages(command, announced)))
                except ResponseError as error:
                    replies.append(error)
        except (*LOST, ResponseError) as error:
            if replies and (is_pool_exhausted(error) or is_temporary(error)):
                raise partly_sent(error) from error
            raise
    return replies


def exchange_pieces(pieces: Sequence[Piece], node: str) -> Exchange[None]:
    """Send pieces of operations to a node of a cluster, named ``host:port``, and record its replies."""
    if len(pieces) == 1 and not pieces[0].asking:
        try:
            replies = [(yield from exchange_command(pieces[0].command))]
        except ResponseError as error:
            replies = [error]
    else:
        commands = [piece.command for piece in pieces]
        replies = yield from exchange_commands(commands, [piece.asking for piece in pieces])
    for piece, reply in zip(pieces, replies, strict=True):
        piece.take(reply, node)


def exchange_bare_masters() -> Exchange[list[str]]:
    """Return the masters of a cluster without slots, none if the user may not ask."""
    (reply,) = yield [("CLUSTER", "NODES")]
    return [] if isinstance(reply, ResponseError) else bare_masters(as_bytes(reply))


def exchange_nodes() -> Exchange[bytes]:
    """Return what a node of a cluster knows about all of them."""
    (reply,) = yield [("CLUSTER", "NODES")]
    if isinstance(reply, Exception):
        raise reply
    return as_bytes(reply)


def _exchange_batch(commands: Sequence[tuple[Command, bool]]) -> Exchange[list[object]]:
    replies = iter((yield list(_batch(commands))))
    collected: list[object] = []
    for command, announced in commands:
        if announced:
            next(replies)
        if command.steps:
            try:
                executed = _executed(list(islice(replies, len(command.steps) + 2)))
                failed = (reply for reply in executed if isinstance(reply, Exception))
                collected.append(next(failed, executed[-1]))
            except ResponseError as error:
                collected.append(error)
        else:
            collected.append(next(replies))
    return collected


def _batch(commands: Iterable[tuple[Command, bool]]) -> Iterator[Args]:
    known: set[str] = set()
    for command, announced in commands:
        if announced:
            yield ("ASKING",)
        if command.steps:
            yield ("MULTI",)
        for step in command.steps or (command,):
            if step.is_script and step.name not in known:
                known.add(step.name)
                yield step.args_with_source()
            else:
                yield step.args()
        if command.steps:
            yield ("EXEC",)


def _executed(replies: Sequence[object]) -> list[object]:
    """Return the replies that EXEC gave, the last of those to a transaction; raise if it was refused."""
    for reply in replies:
        # EXEC says only that something was refused, hence the first.
        if isinstance(reply, Exception):
            raise reply
    executed = replies[-1]
    return executed if isinstance(executed, list) else unexpected(executed)


def _exchange_pages(command: Command, asking: bool = False) -> Exchange[list[object]]:
    cursor, pages = 0, []
    while True:
        arguments = (cursor, *command.arguments[1:])
        page = Command(command.name, command.keys, arguments, is_script=command.is_script)
        if asking:
            (reply,) = yield from _exchange_batch([(page, True)])
            if isinstance(reply, Exception):
                raise reply
        else:
            reply = yield from exchange_command(page)
        if not isinstance(reply, list) or len(reply) != 2:
            unexpected(reply)
        cursor = int(reply[0]) if isinstance(reply[0], bytes) else as_int(reply[0])
        pages.append(reply[1])
        if cursor == 0:
            return pages
