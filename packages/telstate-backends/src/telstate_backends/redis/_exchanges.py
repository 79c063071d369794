"""What is said to one server for a command or a batch, written once for synchronous and asyncio code.

An exchange is a generator. It yields batches of commands, each to be sent in one round trip; it is sent
the replies in order, with redis-py's error in place of the reply to a failed command; and it returns its
own result. `Server` and `AsyncServer` drive it.

Rules: a script goes by its digest (``EVALSHA``); if the server does not know it, the text is sent, which
also makes it known. In a batch the first use of each script sends the text straight away, so that order
is kept even if the server has just lost its scripts. Listings need as many round trips as they have
pages, so they are not part of a batch. A command with steps is a transaction in a batch. A script that only
reads is called in the first way that the server permits; which one that is, is remembered.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from enum import Enum, auto
from itertools import groupby, islice
from typing import TypeAlias, TypeVar

import attrs
from redis.exceptions import (
    AskError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ResponseError,
    TryAgainError,
)

from telstate_backends.operations.base import Args, Command, as_bytes, as_int, unexpected
from telstate_backends.operations.plain_reads import plain_read
from telstate_backends.redis._client import is_pool_exhausted
from telstate_backends.redis._errors import LOST, is_temporary, partly_sent
from telstate_backends.redis._slots import Piece, View, parse_view

_ASKING: tuple[Args, ...] = (("ASKING",),)
_MULTI: Args = ("MULTI",)
_EXEC: Args = ("EXEC",)

Result = TypeVar("Result")
Exchange: TypeAlias = Generator[Sequence[Args], list[object], Result]


class Way(Enum):
    """How to call a script that only reads, by falling preference."""

    #: By ``EVALSHA_RO``, from Redis 7.0 on, for which a user needs no permission to write.
    READ_ONLY_SCRIPT = auto()
    SCRIPT = auto()
    #: By plain commands in a transaction.
    TRANSACTION = auto()
    #: By plain commands, between which others may change the key.
    PIPELINE = auto()


@attrs.define(eq=False)
class ReadAccess:
    """How the user may read on a server, as far as that is known."""

    way: Way = Way.READ_ONLY_SCRIPT
    #: Whether the server has confirmed that.
    is_known: bool = False
    #: Whether a long reply may be requested by a transaction.
    may_transact: bool = True

    @property
    def by_script(self) -> bool:
        """Whether scripts are permitted."""
        return self.way is Way.READ_ONLY_SCRIPT or self.way is Way.SCRIPT

    @property
    def read_only(self) -> bool:
        """Whether to call scripts by the commands for users who may only read."""
        return self.way is Way.READ_ONLY_SCRIPT


def is_refusal(error: Exception) -> bool:
    """Return whether a server does not permit a command, or does not know it."""
    return isinstance(error, NoPermissionError) or str(error).startswith("unknown command")


def exchange_command(
    command: Command, access: ReadAccess, asking: bool = False
) -> Exchange[object]:
    """Return the reply to one command; raises redis-py's error if it fails."""
    if command.pages:
        return (yield from _exchange_pages(command, access))
    if not command.is_read_script:
        return (yield from _exchange_in(Way.SCRIPT, command, asking))
    prefer_transaction = command.is_long and access.may_transact
    first = Way.TRANSACTION if prefer_transaction and access.by_script else access.way
    try:
        return (yield from _exchange_in(first, command, asking))
    except ResponseError as error:
        if not _has_alternative(error):
            raise
        return (yield from exchange_otherwise(command, access, first, error, asking))


def _has_alternative(error: ResponseError) -> bool:
    """Return whether a server that refuses to be read in one way may permit another."""
    # One without memory refuses transactions, but neither scripts nor plain commands that read.
    return is_refusal(error) or isinstance(error, OutOfMemoryError)


def exchange_otherwise(
    command: Command,
    access: ReadAccess,
    first: Way,
    failure: Exception,
    asking: bool = False,
) -> Exchange[object]:
    """Return the reply to a script that only reads, and that must not be called in the first way."""
    failures = [failure]
    for way in dict.fromkeys((access.way, *Way)):
        if way is first:
            continue
        try:
            reply = yield from _exchange_in(way, command, asking)
        except ResponseError as error:
            if not _has_alternative(error):
                raise
            failures.append(error)
            continue
        # About a key, it says nothing of how others may be read.
        if is_refusal(failure) and "permissions to access" not in str(failure):
            access.may_transact = access.may_transact and first is not Way.TRANSACTION
            access.way, access.is_known = way, True
        return reply
    raise next((error for error in failures if isinstance(error, NoPermissionError)), failures[-1])


def _exchange_in(way: Way, command: Command, asking: bool) -> Exchange[object]:
    """Return the reply to a command that is not paged, sent in this way if it is a script that only reads."""
    if way is Way.TRANSACTION or way is Way.PIPELINE:
        return (yield from _exchange_plainly(command, way is Way.TRANSACTION, asking))
    read_only = way is Way.READ_ONLY_SCRIPT
    reply = yield from _exchange_one(command.args(read_only), asking)
    if isinstance(reply, NoScriptError):
        reply = yield from _exchange_one(command.args_with_source(read_only), asking)
    if isinstance(reply, Exception):
        raise reply
    return reply


def _exchange_one(args: Args, asking: bool) -> Exchange[object]:
    *_, reply = yield [("ASKING",), args] if asking else [args]
    return reply


def _exchange_plainly(command: Command, in_transaction: bool, asking: bool) -> Exchange[object]:
    steps = plain_read(command)
    ask = _ASKING if asking else ()
    try:
        batch = next(steps)
        while True:
            if in_transaction:
                replies = yield (*ask, _MULTI, *batch, _EXEC)
                batch = steps.send(_executed(replies[len(ask) :]))
            else:
                sent = [args for each in batch for args in (*ask, each)]
                replies = yield sent
                batch = steps.send(replies[len(ask) :: 1 + len(ask)])
    except StopIteration as end:
        result: object = end.value
        return result
    except AskError as error:
        if isinstance(error, MovedError) or len(command.keys) == 1:
            raise
        # Unlike a script, a command with one key does not tell that others have not moved yet.
        raise TryAgainError("some of the keys have moved") from error


def _exchange_together(exchanges: Sequence[Exchange[object]]) -> Exchange[list[object]]:
    """Return the results of exchanges, an error for one that failed, all in the same round trips."""
    results: list[object] = [None] * len(exchanges)
    running: dict[int, Sequence[Args]] = {}

    def advance(place: int, replies: list[object] | None) -> None:
        exchange = exchanges[place]
        try:
            running[place] = next(exchange) if replies is None else exchange.send(replies)
        except StopIteration as end:
            results[place] = end.value
        except ResponseError as error:
            results[place] = error

    for place in range(len(exchanges)):
        advance(place, None)
    while running:
        sent, running = running, {}
        replies = iter((yield [args for batch in sent.values() for args in batch]))
        for place, batch in sent.items():
            advance(place, list(islice(replies, len(batch))))
    return results


def exchange_commands(
    commands: Sequence[Command], asking: Sequence[bool], access: ReadAccess
) -> Exchange[list[object]]:
    """Return the replies to commands, in order; a node that is only about to get their slot needs `asking`."""
    replies: list[object] = []
    pairs = zip(commands, asking, strict=True)
    for paged, run in groupby(pairs, lambda each: bool(each[0].pages)):
        try:
            if not paged:
                replies += yield from _exchange_batch(list(run), access)
                continue
            for command, _ in run:
                try:
                    replies.append((yield from _exchange_pages(command, access)))
                except ResponseError as error:
                    replies.append(error)
        except (*LOST, ResponseError) as error:
            if replies and (is_pool_exhausted(error) or is_temporary(error)):
                raise partly_sent(error) from error
            raise
    return replies


def exchange_pieces(pieces: Sequence[Piece], node: str, access: ReadAccess) -> Exchange[None]:
    """Send pieces of operations to a node of a cluster, named ``host:port``, and record its replies."""
    if len(pieces) == 1 and not pieces[0].asking:
        try:
            replies = [(yield from exchange_command(pieces[0].command, access))]
        except ResponseError as error:
            replies = [error]
    else:
        commands = [piece.command for piece in pieces]
        asking = [piece.asking for piece in pieces]
        replies = yield from exchange_commands(commands, asking, access)
    for piece, reply in zip(pieces, replies, strict=True):
        piece.take(reply, node)


def exchange_nodes() -> Exchange[bytes]:
    """Return what a node of a cluster knows about all of them."""
    (reply,) = yield [("CLUSTER", "NODES")]
    if isinstance(reply, Exception):
        raise reply
    return as_bytes(reply)


def exchange_view() -> Exchange[View]:
    """Return what a node of a cluster says about itself and about the masters."""
    return parse_view((yield from exchange_nodes()))


def _exchange_batch(
    commands: Sequence[tuple[Command, bool]], access: ReadAccess
) -> Exchange[list[object]]:
    reads = [place for place, (command, _) in enumerate(commands) if command.is_read_script]
    if reads and not access.is_known and len(reads) < len(commands):
        # What is read must not be read again after a later write.
        yield from _exchange_probe(access)
    is_read_only = len(reads) == len(commands)
    if reads and (
        not access.by_script or is_read_only and any(command.is_long for command, _ in commands)
    ):
        return (
            yield from _exchange_together(
                [exchange_command(command, access, announced) for command, announced in commands]
            )
        )
    collected = yield from _exchange_scripts(commands, access.read_only)
    refused = []
    for place in reads:
        reply = collected[place]
        if isinstance(reply, ResponseError) and is_refusal(reply):
            refused.append(place)
    if refused:
        again = [
            exchange_command(commands[place][0], access, commands[place][1]) for place in refused
        ]
        for place, reply in zip(refused, (yield from _exchange_together(again)), strict=True):
            collected[place] = reply
    return collected


def _exchange_probe(access: ReadAccess) -> Exchange[None]:
    """Find out whether scripts can be called by the commands for users who may only read."""
    (reply,) = yield [("EVAL_RO", "return 1", 0)]
    if isinstance(reply, ResponseError) and is_refusal(reply):
        access.way = Way.SCRIPT
    access.is_known = True


def _exchange_scripts(
    commands: Sequence[tuple[Command, bool]], read_only: bool
) -> Exchange[list[object]]:
    replies = iter((yield list(_batch(commands, read_only))))
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


def _batch(commands: Iterable[tuple[Command, bool]], read_only: bool) -> Iterator[Args]:
    known: set[str] = set()
    for command, announced in commands:
        if announced:
            yield ("ASKING",)
        if command.steps:
            yield ("MULTI",)
        for step in command.steps or (command,):
            if step.is_script and step.name not in known:
                known.add(step.name)
                yield step.args_with_source(read_only)
            else:
                yield step.args(read_only)
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


def _exchange_pages(command: Command, access: ReadAccess) -> Exchange[list[list[object]]]:
    if command.whole is not None and access.by_script:
        try:
            listing = yield from exchange_command(command.whole, access)
            if listing is not None:
                return [[listing]]
        except ResponseError:
            pass  # pages show what is wrong
    listings: list[list[object]] = [[] for _ in command.pages]
    cursors = dict.fromkeys(range(len(listings)), 0)
    while cursors:
        replies = yield [
            (command.name, cursor, *command.arguments, *command.pages[number])
            for number, cursor in cursors.items()
        ]
        for number, reply in zip(tuple(cursors), replies, strict=True):
            if isinstance(reply, Exception):
                raise reply
            # fakeredis and recent clients return a page as a tuple.
            if not isinstance(reply, (list, tuple)) or len(reply) != 2:
                unexpected(reply)
            cursor, page = reply
            cursors[number] = int(cursor) if isinstance(cursor, bytes) else as_int(cursor)
            listings[number].append(page)
            if cursors[number] == 0:
                del cursors[number]
    return listings
