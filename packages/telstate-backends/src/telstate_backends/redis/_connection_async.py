"""One connection that all tasks of an event loop share: commands go out in order, replies come in order.

Rules: redis-py makes the connection (address, TLS, Sentinel, user, database); then its socket is read
and written here, without a task or a timeout of its own for each command. The reply to a task that was
cancelled is dropped when it comes, and all others get their own. Whatever leaves it unknown what comes
next on the wire (an error of the protocol, no reply in time, an exception that a signal handler raises in
the middle of this) closes the connection: all tasks that wait for replies get the error, and the next
command connects again. Large commands go by connections of their own from redis-py's pool, so that the
others need not wait for them, and so do all commands where there is no real connection (fakeredis).

The socket timeout limits exchanges as it does for synchronous calls: the oldest that waits must be answered
within it, or the next 64 KiB sent or received.
"""

from __future__ import annotations

import asyncio
import builtins
import copy
import functools
import os
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
import redis.exceptions as theirs

from telstate_backends.operations.base import Args
from telstate_backends.redis import _client
from telstate_backends.redis._connection import PROGRESS, check_header
from telstate_backends.redis._errors import FAILURES, MALFORMED

#: Batches of more bytes than this go by connections of their own.
_LARGE = 1 << 16
#: Seconds without a reply after which to check whether the server has closed the connection.
_IDLE = 0.01
#: Bytes that are received at a time at most.
_BUFFER_SIZE = 1 << 16
#: What the buffer begins with until something is received.
_MARK = os.urandom(16)
_MORE = object()
#: What hiredis makes of RESP3's messages that are not replies; old versions know none.
_PUSH: type | None = getattr(hiredis, "PushNotification", None)


class MultiplexedConnection(asyncio.BufferedProtocol):
    """A connection made by redis-py, idle at first, then read and written by a protocol of our own."""

    def __init__(self, connection: Any, transport: Any) -> None:
        self.loop = asyncio.get_running_loop()
        #: Whether it is closed.
        self.is_lost = False
        #: Cleared while the server accepts less than is sent.
        self.writable = asyncio.Event()
        self.writable.set()
        self._timeout: float | None = connection.socket_timeout
        self._health_interval: float = getattr(connection, "health_check_interval", 0)
        self._reader = hiredis.Reader(
            protocolError=theirs.InvalidResponse,
            replyError=_client.error_factory(connection),
            notEnoughData=_MORE,
        )
        #: The futures that wait for replies, and for how many, in order.
        self._pending: deque[tuple[asyncio.Future[Any], int]] = deque()
        #: Replies so far for the first of them.
        self._gathered: list[object] = []
        #: What is to be sent at the end of this iteration of the loop.
        self._outbox: list[bytes] = []
        #: When something was last received.
        self._heard = self.loop.time()
        #: Since when the oldest reply, or the next part of it, has been due.
        self._since = self._heard
        #: Bytes received since then, and bytes that were still to be sent when that was last checked.
        self._received = self._unsent = 0
        self._buffer = bytearray(_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        #: Whether the buffer may have been filled since it was last processed.
        self._is_reading = False
        #: Whether the next reply is the first to an idle connection.
        self._is_first = True
        self._timer: asyncio.TimerHandle | None = None
        self._transport = transport
        # redis-py's own protocol is told of the end, for which redis-py waits when it closes the connection.
        self._before: Any = transport.get_protocol()
        transport.set_protocol(self)

    def pack(self, batch: Sequence[Args]) -> bytes | None:
        """Return the bytes of commands, None if they are too many."""
        packed, size = [], 0
        for args in batch:
            packed.append(_client.pack(args))
            size += len(packed[-1])
            if size > _LARGE:
                return None
        return packed[0] if len(packed) == 1 else b"".join(packed)

    def send(self, packed: bytes, count: int) -> asyncio.Future[list[object]]:
        """Send commands and return a future of their replies, errors among them."""
        if self.is_lost:
            raise theirs.ConnectionError("Connection closed by server.")
        future: asyncio.Future[list[object]] = self.loop.create_future()
        try:
            was_idle = not self._pending
            self._pending.append((future, count))
            if not was_idle:
                if not self._outbox:
                    self.loop.call_soon(self._flush)
                self._outbox.append(packed)
                return future
            self._is_first = True
            self._start(self.loop.time())
            self._unsent = len(packed)
            if self._timer is None and self._timeout is not None:
                self._timer = self.loop.call_at(self._since + self._timeout, self._check_time)
            self._transport.write(packed)
        except BaseException:
            self._lose_track()
            raise
        return future

    def ping(self) -> asyncio.Future[list[object]]:
        """Send a PING and return a future of its reply."""
        return self.send(_client.pack((b"PING",)), 1)

    def detach(self) -> None:
        """Return the connection, on which no reply is outstanding, to redis-py."""
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.set_protocol(self._before)

    def is_closing(self) -> bool:
        """Return whether it is closed, or is about to be."""
        return self.is_lost or self._transport.is_closing() is True

    def is_idle(self) -> bool:
        """Return whether nothing has been received for some time, and no reply is pending."""
        return not self._pending and self.loop.time() - self._heard > _IDLE

    def needs_health_check(self) -> bool:
        """Return whether nothing has been received for so long that a PING is due."""
        quiet = self.loop.time() - self._heard
        return bool(self._health_interval) and not self._pending and quiet > self._health_interval

    def lose(self, error: Exception) -> None:
        """Close it and give the error to all that wait for replies."""
        if self.is_lost and not self._pending:
            return
        try:
            self._end(error)
        except BaseException:
            self._end(error)  # what a signal handler has interrupted
            raise

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what is received next."""
        if self._is_reading and self._view[: len(_MARK)] != _MARK:
            # Something was received, but an exception came before it was processed.
            self._lose_track()
        self._is_reading = True
        self._view[: len(_MARK)] = _MARK
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Set the results of the futures that wait for replies."""
        try:
            self._heard = self.loop.time()
            self._received += nbytes
            if self._received >= PROGRESS:
                self._start(self._heard)
            try:
                if self._is_first:
                    self._is_first = False
                    check_header(self._buffer, nbytes)
                # The types of hiredis leave out buffers of other classes.
                self._reader.feed(self._buffer, 0, nbytes)  # type: ignore[arg-type]  # see above
                while not self.is_lost and (reply := self._reader.gets()) is not _MORE:
                    if type(reply) is not _PUSH:
                        self._take(reply)
            except (*FAILURES, *MALFORMED) as error:
                self.lose(error)
            self._is_reading = False
        except BaseException:
            self._lose_track()
            raise

    def eof_received(self) -> None:
        """Close it."""
        self.lose(theirs.ConnectionError("Connection closed by server."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Close it."""
        self.lose(theirs.ConnectionError("Connection closed by server." if exc is None else exc))
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """Let new commands wait."""
        self.writable.clear()
        self._before.pause_writing()

    def resume_writing(self) -> None:
        """Let new commands go on."""
        self.writable.set()
        self._before.resume_writing()

    def _end(self, error: Exception) -> None:
        self.is_lost = True
        self.writable.set()
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.clear()
        self._transport.abort()
        while self._pending:
            future, _ = self._pending[0]
            if not future.done():
                # A copy for each, since raising an error leaves traces in it.
                future.set_exception(copy.copy(error))
            self._pending.popleft()

    def _take(self, reply: object) -> None:
        if not self._pending:
            self.lose(theirs.InvalidResponse("a reply to no command"))
            return
        future, count = self._pending[0]
        self._gathered.append(reply)
        if len(self._gathered) < count:
            return
        replies, self._gathered = self._gathered, []
        # Before it is removed, so that an interruption leaves no future without a result.
        if not future.done():
            future.set_result(replies)
        self._pending.popleft()
        self._start(self._heard)

    def _flush(self) -> None:
        try:
            if not self.is_lost:
                packed = b"".join(self._outbox)
                self._outbox.clear()
                self._transport.write(packed)
        except BaseException:
            self._lose_track()
            raise

    def _start(self, now: float) -> None:
        """Start the time of the oldest reply, or of the next part of it."""
        self._since = now
        self._received = 0

    def _check_time(self) -> None:
        self._timer = None
        if not self._pending or self.is_lost:
            return
        assert self._timeout is not None  # otherwise there is no timer
        now = self.loop.time()
        unsent = self._transport.get_write_buffer_size()
        if unsent and self._unsent - unsent >= PROGRESS:
            self._start(now)
        self._unsent = unsent
        due = self._since + self._timeout
        if now >= due:
            self.lose(theirs.TimeoutError(f"no reply within {self._timeout:g} s"))
        else:
            self._timer = self.loop.call_at(due, self._check_time)

    def _lose_track(self) -> None:
        """Close it because a signal handler has raised an exception in the middle of something."""
        self.lose(theirs.ConnectionError("the connection was interrupted"))


class SharedConnection:
    """The shared connection to a server, made when it is first needed and again after it is lost."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._multiplexed: MultiplexedConnection | None = None
        #: The redis-py connection underneath.
        self._connection: Any = None
        self._connecting: asyncio.Task[Exception | None] | None = None
        self._usable = _client.can_spare(pool)
        self._connection_class = getattr(pool, "connection_class", None)
        if isinstance(self._connection_class, type):
            pool.connection_class = limited(self._connection_class)
        self._follows_master = _client.follows_master(pool)

    async def request_many(self, batch: Sequence[Args]) -> list[object]:
        """Send commands in one round trip and return the replies, an error for one that failed."""
        multiplexed = await self._get()
        if multiplexed is None or (packed := multiplexed.pack(batch)) is None:
            return await self._request_on_its_own(batch)
        replies = await multiplexed.send(packed, len(batch))
        for reply in replies:
            if isinstance(reply, Exception):
                self._check(multiplexed, reply)
        return replies

    async def close(self) -> None:
        """Return the connection to the pool."""
        self._usable = False
        if isinstance(self._connection_class, type):
            self._pool.connection_class = self._connection_class
        if self._connecting is not None and self._is_connecting():
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        multiplexed, self._multiplexed = self._multiplexed, None
        connection, self._connection = self._connection, None
        if multiplexed is not None:
            multiplexed.lose(theirs.ConnectionError("the connection was closed"))
        if connection is not None:
            await connection.disconnect()
            await self._pool.release(connection)

    async def _request_on_its_own(self, batch: Sequence[Args]) -> list[object]:
        connection = await self._pool.get_connection()
        try:
            packed = b"".join([_client.pack(args) for args in batch])
            transport = _client.transport_of(connection)
            if transport is None:
                return await _request(connection, packed, len(batch))
            own = MultiplexedConnection(connection, transport)
            try:
                replies = await own.send(packed, len(batch))
            except BaseException:
                own.lose(theirs.ConnectionError("the batch was interrupted"))
                raise
            own.detach()
            return replies
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)

    def _check(self, multiplexed: MultiplexedConnection, error: Exception) -> None:
        """Raise an error reply that concerns the connection."""
        if self._follows_master and isinstance(error, theirs.ReadOnlyError):
            # The master has become a replica: the next connection goes to the new one.
            lost = theirs.ConnectionError("the master is a replica now")
            multiplexed.lose(lost)
            raise lost from error
        if isinstance(error, FAILURES) and not isinstance(error, theirs.ResponseError):
            raise error

    async def _get(self) -> MultiplexedConnection | None:
        """Return the shared connection, None if commands must go by others."""
        while True:
            shared = self._multiplexed
            if (
                shared is None
                or shared.is_closing()
                or shared.loop is not asyncio.get_running_loop()
            ):
                return await self._connect() if self._usable else None
            if self._is_connecting():
                return await self._connect()  # it is being checked
            if shared.is_idle():
                break
            if shared.writable.is_set():
                return shared
            await shared.writable.wait()
        # The loop may not have seen yet that the server has closed it: it polls the socket between these.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if shared.is_closing() or shared.needs_health_check():
            return await self._connect() if self._usable else None
        return shared

    def _is_connecting(self) -> bool:
        return self._connecting is not None and not self._connecting.done()

    async def _connect(self) -> MultiplexedConnection | None:
        loop = asyncio.get_running_loop()
        connecting = self._connecting
        if connecting is None or connecting.done() or connecting.get_loop() is not loop:
            connecting = loop.create_task(self._reconnect(), name="telstate connecting")
            self._connecting = connecting
        # Many may wait for it; if one of them is cancelled, the others go on.
        await asyncio.wait([connecting])
        # The exception of a signal handler has been raised already, out of the event loop.
        if connecting.cancelled() or connecting.exception() is not None:
            raise theirs.ConnectionError("the connection was closed while it was made")
        if (failure := connecting.result()) is not None:
            raise copy.copy(failure) from failure
        return self._multiplexed

    async def _reconnect(self) -> Exception | None:
        """Connect, unless the connection still answers a PING; return the error if that fails."""
        shared = self._multiplexed
        try:
            if shared is not None and shared.loop is not asyncio.get_running_loop():
                # It belongs to another loop, which may be gone: leave it alone.
                self._multiplexed = self._connection = None
            elif shared is not None and not shared.is_closing():
                try:
                    await shared.ping()
                    return None
                except FAILURES:
                    pass  # it is lost now
            self._multiplexed = None
            if self._connection is None:
                self._connection = await self._pool.get_connection()
            if _client.has_ended(self._connection):
                await self._connection.disconnect(nowait=True)
                # Which also asks Sentinels for the present master.
                await self._connection.connect()
            transport = _client.transport_of(self._connection)
            if transport is not None:
                self._multiplexed = MultiplexedConnection(self._connection, transport)
            else:
                self._usable = False
                connection, self._connection = self._connection, None
                await self._pool.release(connection)
            return None
        except Exception as error:  # whatever it is, those who wait for it raise it
            return error


async def _request(connection: Any, packed: bytes, count: int) -> list[object]:
    """Send commands on a connection that is not a real one, and return the replies."""
    await connection.send_packed_command(packed)
    replies: list[object] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response())
        except theirs.ResponseError as error:
            replies.append(error)
    return replies


class _Limited:
    """What is mixed into redis-py's connections: a limit for connecting, and no half-made connection."""

    socket_timeout: float | None
    socket_connect_timeout: float | None

    async def connect_check_health(self, check_health: bool = True, **kwargs: Any) -> None:
        """Connect and log in, within both timeouts together, or leave nothing."""
        # The methods of `super` here are those of the class that this one is mixed into.
        parent: Any = super()
        limits = self.socket_timeout, self.socket_connect_timeout
        try:
            async with asyncio.timeout(None if None in limits else sum(filter(None, limits))):
                # redis-py would send a PING before a SELECT.
                await parent.connect_check_health(check_health=False, **kwargs)
        except builtins.TimeoutError as error:
            await parent.disconnect(nowait=True)
            raise theirs.TimeoutError("Timeout connecting to server") from error
        except BaseException:
            await parent.disconnect(nowait=True)
            raise

    async def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Log in, and read no reply that has too many elements."""
        parent: Any = super()
        reader: Any = getattr(self, "_reader", None)
        if isinstance(reader, asyncio.StreamReader):  # fakeredis has another
            read = reader.read

            async def checked(size: int = -1) -> bytes:
                data = await read(size)
                check_header(data, len(data))
                return data

            # redis-py reads all replies by this method.
            setattr(reader, "read", checked)
        await parent.on_connect_check_health(*args, **kwargs)


@functools.cache
def limited(kind: type) -> type:
    """Return a class of asyncio connections that keep to limits of time while they connect."""
    if issubclass(kind, _Limited):
        return kind
    return type(f"Limited{kind.__name__}", (_Limited, kind), {})
