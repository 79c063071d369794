"""One connection kept out of the pool, for a client that asks one thing after another.

Rules: taking a connection from redis-py's pool and giving it back costs nearly as much as asking the
server. So a link keeps one; whoever finds it busy (another thread) takes one from the pool as usual.
What is asked here, by either, heeds the patience of who asks, which redis-py's own methods do not.
It is looked at before each use, as the pool does, and made anew if the server has closed it, and it
is given up at any error that leaves it unknown what comes next on the wire.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import getpid
from typing import Any

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError, TimeoutError

from telstate_backends.deadline import GLANCE, GRACE, Patience, present_patience
from telstate_backends.operations.base import Command
from telstate_backends.redis import _client as clients
from telstate_backends.redis import _protocol as wire
from telstate_backends.redis._errors import FAILURES


class HeldConnection:
    """The connection, and whether it is free.

    Parameters
    ----------
    pool : redis.ConnectionPool
        Where it comes from.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection: Any = None
        self._process = 0
        self._lock = threading.Lock()
        self._usable = clients.can_spare(pool)
        self._arguments = clients.get_connection_arguments(pool)

    def take(self) -> bool:
        """Take it if it is free; then `ready` and `release` must follow."""
        return self._usable and self._lock.acquire(blocking=False)

    def release(self) -> None:
        """Let others take it."""
        self._lock.release()

    def close(self) -> None:
        """Give the connection back to the pool."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == getpid():
            connection.disconnect()
            self._pool.release(connection)

    @contextmanager
    def or_another(self) -> Iterator[Any]:
        """Take it for the block, or one from the pool if it is busy."""
        if self.take():
            try:
                yield self.ready()
            finally:
                self.release()
            return
        connection = self._pool.get_connection(*self._arguments)
        try:
            yield connection
        finally:
            self._pool.release(connection)

    def ready(self) -> Any:
        """Give the connection, by which something can be asked now; raises as redis-py does."""
        connection = self._connection
        if connection is None or self._process != getpid():
            # The child of a fork leaves the parent's connection alone.
            self._process = getpid()
            self._connection = self._pool.get_connection(*self._arguments)
            return self._connection
        # As the pool does: sending would connect too, but not ask Sentinel for the master of today.
        connection.connect()
        try:
            alive = not connection.can_read(timeout=0)  # whatever came, nobody asked for it
        except FAILURES:
            alive = False
        if not alive:
            connection.disconnect()
            connection.connect()
        return connection


def ask_on(connection: Any, command: Command) -> object:
    """Send a command and give the reply; raises as redis-py does."""
    patience = present_patience()
    try:
        if command.together:
            try:
                return _ask_together(connection, command.together, patience)
            except NoPermissionError:
                pass  # some users may not do transactions, but scripts
        try:
            if patience is None:
                connection.send_command(*wire.brief(command))
                return connection.read_response()
            return _ask_pieces(connection, wire.brief(command), patience)
        except NoScriptError:
            return _ask_pieces(connection, wire.in_full(command), patience)
    except ResponseError:
        raise
    except BaseException:
        connection.disconnect()
        raise


def ask_all_on(connection: Any, batch: Sequence[wire.Pieces]) -> list[object]:
    """Send commands and give the replies, errors of theirs among them; raises as redis-py does."""
    patience = present_patience()
    replies: list[object] = []
    try:
        _send_all(connection, batch, patience)
        for _ in batch:
            if patience is not None:
                _await_reply(connection, patience)
            try:
                replies.append(connection.read_response())
            except ResponseError as error:
                replies.append(error)
    except BaseException:
        connection.disconnect()
        raise
    return replies


def _ask_pieces(connection: Any, pieces: wire.Pieces, patience: Patience | None) -> object:
    if patience is None:
        connection.send_command(*pieces)
    else:
        # For the answer to a PING before it redis-py would wait as long as the socket allows.
        connection.send_command(*pieces, check_health=False)
        _await_reply(connection, patience)
    return connection.read_response()


def _send_all(connection: Any, batch: Sequence[wire.Pieces], patience: Patience | None) -> None:
    connection.send_packed_command(connection.pack_commands(batch), check_health=patience is None)


def _ask_together(
    connection: Any, commands: Sequence[Command], patience: Patience | None
) -> tuple[object, ...]:
    """Send commands as a transaction and give their replies, errors of theirs among them."""
    pieces = wire.transaction(commands)
    _send_all(connection, pieces, patience)
    if patience is not None:
        _await_reply(connection, patience)
    refusal = None
    for _ in pieces[:-1]:
        try:
            connection.read_response()
        except ResponseError as error:
            refusal = refusal or error
    try:
        return tuple(connection.read_response())
    except ResponseError as error:
        # EXEC says only that something was refused.
        raise refusal or error


def _await_reply(connection: Any, patience: Patience) -> None:
    """Wait for a reply as long as its asker would, and as the socket's timeout allows."""
    begun = time.monotonic()
    longest = connection.socket_timeout
    while not connection.can_read(timeout=GLANCE):
        waited = time.monotonic() - begun
        enough = waited >= GRACE and patience.left() == 0
        if enough or (longest is not None and waited >= longest):
            raise TimeoutError(f"no reply within {waited:.1f} s")
