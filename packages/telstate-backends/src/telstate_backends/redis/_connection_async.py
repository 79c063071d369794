"""One connection that all tasks of a loop share: commands go out in order, replies come in order.

Rules: redis-py makes the connection (address, TLS, Sentinel, user, database), then its socket is read
and written here, without a task or a timeout of its own for each command. A caller who is cancelled
leaves his place in the queue, so that his reply is dropped when it comes and everybody else gets his
own. Whatever leaves it unknown what comes next on the wire (an error of the protocol, silence for
longer than the socket timeout) ends the line: everybody who waits is told, and the next one to ask
makes it anew. What is large does not go by it, because others would have to wait.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import hiredis
import redis.exceptions as theirs

from telstate_backends.redis import _client as clients
from telstate_backends.redis._errors import FAILURES, NONSENSE
from telstate_backends.redis._protocol import Pieces

#: Commands of more bytes than this go by connections of their own.
LARGE = 1 << 16
#: Seconds of silence after which to look whether the server has closed the connection.
_IDLE = 0.01
_MORE = object()
#: What hiredis makes of RESP3's messages that are no replies; old ones know none.
_PUSH: type | None = getattr(hiredis, "PushNotification", None)

_Pack: TypeAlias = Callable[[Pieces], bytes]


class Line(asyncio.Protocol):
    """The protocol of the connection, in place of the one that redis-py reads through.

    Parameters
    ----------
    connection : redis.asyncio.Connection
        Connected, and nothing on its way.
    """

    def __init__(self, connection: Any) -> None:
        self.loop = asyncio.get_running_loop()
        #: Whether it has ended.
        self.lost = False
        #: Cleared while the server takes less than it is sent.
        self.flows = asyncio.Event()
        self.flows.set()
        self.pack: _Pack = getattr(hiredis, "pack_command", None) or (
            lambda pieces: b"".join(connection.pack_command(*pieces))
        )
        self._timeout: float | None = connection.socket_timeout
        self._health_interval: float = getattr(connection, "health_check_interval", 0)
        self._reader = hiredis.Reader(
            protocolError=theirs.InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_MORE,
        )
        #: Who waits for how many replies, in order.
        self._pending: deque[tuple[asyncio.Future[Any], int]] = deque()
        #: Replies so far to the first of them, if it waits for several.
        self._gathered: list[object] = []
        #: What is to be sent at the end of this turn of the loop.
        self._outbox: list[bytes] = []
        self._heard = self._since = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: Any = connection._writer.transport
        # It must hear of the end, for which redis-py waits when it closes the connection.
        self._before: Any = self._transport.get_protocol()
        self._transport.set_protocol(self)

    def send(self, packed: bytes, count: int) -> asyncio.Future[Any]:
        """Send commands; the future gives the reply, or a list if `count` is not 1.

        A reply that is an error is given, not raised.
        """
        if self.lost:
            raise theirs.ConnectionError("Connection closed by server.")
        future: asyncio.Future[Any] = self.loop.create_future()
        if self._pending:
            if not self._outbox:
                self.loop.call_soon(self._flush)
            self._outbox.append(packed)
        else:
            self._since = self.loop.time()
            if self._timer is None and self._timeout is not None:
                self._timer = self.loop.call_at(self._since + self._timeout, self._look_at_clock)
            self._transport.write(packed)
        self._pending.append((future, count))
        return future

    def is_over(self) -> bool:
        """Tell whether it has ended, or is about to."""
        return self.lost or self._transport.is_closing() is True

    def is_idle(self) -> bool:
        """Tell whether nothing has come for some time, and nothing was to come."""
        return not self._pending and self.loop.time() - self._heard > _IDLE

    def is_doubtful(self) -> bool:
        """Tell whether it has been silent for so long that the server is to be asked."""
        silence = self.loop.time() - self._heard
        return bool(self._health_interval) and not self._pending and silence > self._health_interval

    def lose(self, error: Exception) -> None:
        """End it; everybody who waits for a reply gets the error."""
        if self.lost:
            return
        self.lost = True
        self.flows.set()
        if self._timer is not None:
            self._timer.cancel()
        pending, self._pending = self._pending, deque()
        self._outbox.clear()
        self._transport.abort()
        for future, _ in pending:
            if not future.done():
                # Each his own, since raising one leaves traces in it.
                future.set_exception(copy.copy(error))

    def data_received(self, data: bytes) -> None:
        """Give replies to those who wait for them."""
        self._heard = self.loop.time()
        try:
            self._reader.feed(data)
            while not self.lost and (reply := self._reader.gets()) is not _MORE:
                if type(reply) is not _PUSH:
                    self._take(reply)
        except (*FAILURES, *NONSENSE) as error:
            self.lose(error)

    def eof_received(self) -> None:
        """End it."""
        self.lose(theirs.ConnectionError("Connection closed by server."))

    def connection_lost(self, exc: Exception | None) -> None:
        """End it."""
        self.lose(theirs.ConnectionError("Connection closed by server." if exc is None else exc))
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """Send nothing more by it for now."""
        self.flows.clear()
        self._before.pause_writing()

    def resume_writing(self) -> None:
        """Go on to send by it."""
        self.flows.set()
        self._before.resume_writing()

    def _take(self, reply: object) -> None:
        if not self._pending:
            self.lose(theirs.InvalidResponse("a reply that nobody asked for"))
            return
        future, count = self._pending[0]
        if count != 1:
            self._gathered.append(reply)
            if len(self._gathered) < count:
                return
            reply, self._gathered = self._gathered, []
        self._pending.popleft()
        if not future.done():
            future.set_result(reply)

    def _flush(self) -> None:
        if not self.lost:
            self._transport.write(b"".join(self._outbox))
            self._outbox.clear()

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._pending and not self.lost:
            assert self._timeout is not None  # otherwise there is no timer
            due = max(self._heard, self._since) + self._timeout
            if self.loop.time() >= due:
                self.lose(theirs.TimeoutError(f"no reply within {self._timeout:g} s"))
            else:
                self._timer = self.loop.call_at(due, self._look_at_clock)


class SharedLine:
    """The line to a server, made when it is first needed, and made anew after it has ended.

    Parameters
    ----------
    pool : redis.asyncio.ConnectionPool
        Where its connection comes from.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._line: Line | None = None
        self._connection: Any = None
        self._making: asyncio.Task[Exception | None] | None = None
        self._usable = clients.can_spare(pool)
        self._arguments = clients.get_connection_arguments(pool)
        # A master that has become a replica since is no longer the one to talk to.
        self._has_master = bool(getattr(pool, "is_master", False))

    async def get(self) -> Line | None:
        """Give the line, `None` if the command must go another way."""
        while True:
            line = self._line
            if line is None or line.is_over() or line.loop is not asyncio.get_running_loop():
                return await self._make() if self._usable else None
            if self._is_making():
                return await self._make()  # it is being tried
            if line.is_idle():
                break
            if line.flows.is_set():
                return line
            await line.flows.wait()
        # The loop may not have seen yet that the server has closed it: it looks between these.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if line.is_over() or line.is_doubtful():
            return await self._make() if self._usable else None
        return line

    async def ask(self, line: Line, packed: bytes) -> object:
        """Give the reply to a command; raises as redis-py does."""
        reply = await line.send(packed, 1)
        if isinstance(reply, Exception):
            self._heed(line, reply)
            raise reply
        return reply

    async def ask_all(self, line: Line, packed: bytes, count: int) -> list[object]:
        """Give the replies to several commands, errors among them unless the connection is lost."""
        future = line.send(packed, count)
        replies: list[object] = [await future] if count == 1 else await future
        for reply in replies:
            if isinstance(reply, Exception):
                self._heed(line, reply)
                if isinstance(reply, FAILURES) and not isinstance(reply, theirs.ResponseError):
                    raise reply
        return replies

    async def close(self) -> None:
        """Give the connection back to the pool."""
        self._usable = False
        if self._making is not None and self._is_making():
            self._making.cancel()
            await asyncio.wait([self._making])
        line, self._line = self._line, None
        connection, self._connection = self._connection, None
        if line is not None:
            line.lose(theirs.ConnectionError("the connection was closed"))
        if connection is not None:
            await connection.disconnect()
            await self._pool.release(connection)

    def _heed(self, line: Line, error: Exception) -> None:
        if self._has_master and isinstance(error, theirs.ReadOnlyError):
            line.lose(theirs.ConnectionError("the master is a replica now"))
            raise theirs.ConnectionError("the master is a replica now") from error

    def _is_making(self) -> bool:
        return self._making is not None and not self._making.done()

    async def _make(self) -> Line | None:
        loop = asyncio.get_running_loop()
        making = self._making
        if making is None or making.done() or making.get_loop() is not loop:
            making = self._making = loop.create_task(self._connect(), name="telstate connecting")
        # Many may wait for it; that one of them is cancelled is nothing to the others.
        await asyncio.wait([making])
        if making.cancelled():
            raise theirs.ConnectionError("the connection was closed while it was made")
        if (failure := making.result()) is not None:
            raise copy.copy(failure) from failure
        return self._line

    async def _connect(self) -> Exception | None:
        """Make the line anew, or find that it is well; give what went wrong."""
        line = self._line
        try:
            if line is not None and line.loop is not asyncio.get_running_loop():
                # It belongs to another loop, which may be gone: leave it alone.
                self._line = self._connection = None
            elif line is not None and not line.is_over():
                try:
                    await line.send(line.pack(("PING",)), 1)
                    return None
                except FAILURES:
                    pass  # it is lost now
            self._line = None
            if self._connection is None:
                self._connection = await self._pool.get_connection(*self._arguments)
            else:
                await self._connection.disconnect(nowait=True)
                # Which also asks Sentinel for the master of today.
                await self._connection.connect()
            if _can_be_taken_over(self._connection):
                self._line = Line(self._connection)
            else:
                self._usable = False
                connection, self._connection = self._connection, None
                await self._pool.release(connection)
            return None
        except Exception as error:  # whatever it is, those who wait for it raise it
            return error


def _can_be_taken_over(connection: Any) -> bool:
    """Tell whether there is a real connection below: fakeredis has none."""
    transport = getattr(getattr(connection, "_writer", None), "transport", None)
    parser = getattr(connection, "_parser", None)
    return hasattr(transport, "set_protocol") and hasattr(parser, "parse_error")


def packed_batch(line: Line, batch: Iterable[Pieces]) -> tuple[bytes, int] | None:
    """Give what to send for commands that follow each other, and how many; `None` if it is large."""
    packed, size = [], 0
    for pieces in batch:
        packed.append(line.pack(pieces))
        size += len(packed[-1])
        if size > LARGE:
            return None
    return b"".join(packed), len(packed)
