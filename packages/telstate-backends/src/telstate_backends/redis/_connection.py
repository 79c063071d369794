"""One connection kept out of redis-py's pool, for a client that sends one command after another.

Rules: taking a connection from the pool and giving it back costs nearly as much as a command. So one is
kept; a thread that finds it in use takes another from the pool. Like the pool does, it checks the
connection before each use, and reconnects if the server has closed it. A connection is closed after any
error that leaves it unknown what comes next on the wire.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from os import getpid
from typing import Any

from redis.exceptions import ResponseError, TimeoutError

from telstate_backends.deadline import GRACE, POLL_INTERVAL, Deadline
from telstate_backends.operations.base import Args
from telstate_backends.redis import _client
from telstate_backends.redis._errors import FAILURES


class PinnedConnection:
    """A connection kept out of a pool, which has others for when it is in use."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._pinned: Any = None
        self._process = 0
        self._lock = threading.Lock()
        self._usable = _client.can_spare(pool)

    def request(self, args: Args) -> object:
        """Send a command and return the reply; raises as redis-py does."""
        connection, is_pinned = self._acquire()
        try:
            connection.send_command(*args)
            return connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            if is_pinned:
                self._lock.release()
            else:
                self._pool.release(connection)

    def request_many(self, batch: Sequence[Args], deadline: Deadline | None) -> list[object]:
        """Send commands in one round trip and return the replies, an error for one that failed."""
        connection, is_pinned = self._acquire()
        replies: list[object] = []
        try:
            # For the answer to a health check redis-py would wait as long as the socket allows.
            packed = connection.pack_commands(batch)
            connection.send_packed_command(packed, check_health=deadline is None)
            for _ in batch:
                if deadline is not None:
                    _await_reply(connection, deadline)
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    replies.append(error)
            return replies
        except BaseException:
            connection.disconnect()
            raise
        finally:
            if is_pinned:
                self._lock.release()
            else:
                self._pool.release(connection)

    def close(self) -> None:
        """Return the connection to the pool."""
        connection, self._pinned = self._pinned, None
        if connection is not None and self._process == getpid():
            connection.disconnect()
            self._pool.release(connection)

    def _acquire(self) -> tuple[Any, bool]:
        """Return a connection that is ready, and whether it is the pinned one; raises as redis-py does."""
        if not self._usable or not self._lock.acquire(blocking=False):
            return self._pool.get_connection(), False
        try:
            if self._process != getpid():
                # The child of a fork leaves the parent's connection alone, even if it cannot connect yet.
                self._pinned = None
                self._process = getpid()
            connection = self._pinned
            if connection is None:
                connection = self._pinned = self._pool.get_connection()
                return connection, True
            # Sending would connect too, but not ask Sentinels for the present master.
            connection.connect()
            try:
                is_alive = not connection.can_read(timeout=0)  # nothing is expected now
            except FAILURES:
                is_alive = False
            if not is_alive:
                connection.disconnect()
                connection.connect()
            return connection, True
        except BaseException:
            self._lock.release()
            raise


def _await_reply(connection: Any, deadline: Deadline) -> None:
    """Wait for a reply until the deadline, and as long as the socket's timeout allows."""
    begun = time.monotonic()
    longest = connection.socket_timeout
    while not connection.can_read(timeout=POLL_INTERVAL):
        waited = time.monotonic() - begun
        is_over = waited >= GRACE and deadline.expired
        if is_over or (longest is not None and waited >= longest):
            raise TimeoutError(f"no reply within {waited:.1f} s")
