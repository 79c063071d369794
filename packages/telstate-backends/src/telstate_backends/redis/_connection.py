"""The connections of synchronous calls, kept out of redis-py's pool, and how long they wait for a server.

Rules: a connection is free for the next call only when the last reply to the one before has been read.
After an exception from any source in between it is closed: replies that are still on their way would
pass for those to later commands. Free connections are on a list, whose methods are atomic, so that there
is no lock that a fork or an interruption could leave taken; a connection that an interruption loses is
closed by its finalizer. The child of a fork has no connection of its parent's.

The socket timeout limits a whole exchange, not each wait for a few bytes: a server has that long for the
first 64 KiB of its replies, and again for each further 64 KiB. A deadline of the caller ends it earlier.
"""

from __future__ import annotations

import functools
import gc
import math
import select
import ssl
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.exceptions
from redis.exceptions import InvalidResponse, ResponseError

from telstate_backends.deadline import GRACE, POLL_INTERVAL, Deadline
from telstate_backends.operations.base import Args
from telstate_backends.redis import _client
from telstate_backends.redis._errors import FAILURES

#: Bytes that must be sent or received within each socket timeout, unless the exchange ends before.
PROGRESS = 1 << 16
#: Seconds between two searches for connections that interruptions have lost.
_COLLECTION_INTERVAL = 1.0
#: No reply has so many elements that its header is longer; for more, hiredis would take minutes.
_LONGEST_HEADER = len(b"*99999999\r")


def check_header(data: bytes | bytearray, size: int) -> None:
    """Raise if a reply, of which `size` bytes are there, has a number of elements that no server sends."""
    if size >= _LONGEST_HEADER and data[0] in b"*%~>" and data[1:_LONGEST_HEADER].isdigit():
        raise InvalidResponse("a reply of too many elements")


class LimitedSocket:
    """A connected socket that limits the time of each exchange; all else is as with the socket itself."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._timeout: float | None = sock.gettimeout()
        #: Whether the socket itself has a shorter timeout at present.
        self._is_shortened = False
        #: Until when the next :data:`PROGRESS` bytes are due, None before the first of an exchange.
        self._due: float | None = None
        self._received = 0
        self._deadline: Deadline | None = None
        self._grace = math.inf
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def limit(self, deadline: Deadline | None, grace: float | None = None) -> None:
        """Keep to a deadline from now on, which is not before `grace` seconds from now; None for none."""
        self._deadline = deadline
        self._grace = time.monotonic() + (GRACE if grace is None else grace)

    def settimeout(self, timeout: float | None) -> None:
        """Set the time for each :data:`PROGRESS` bytes."""
        self._timeout = timeout
        self.begin()

    def begin(self) -> None:
        """Start the time of an exchange, or of a message."""
        self._due = None
        self._is_shortened = False
        self.sock.settimeout(self._timeout)

    def has_input(self) -> bool:
        """Return whether there is something to read, or the connection has ended."""
        return bool(self._poller.poll(0))

    def sendall(self, data: Any) -> None:
        """Send commands."""
        self._due = None
        if self._is_shortened:
            self.begin()
        if self._deadline is None and len(data) <= PROGRESS:
            self.sock.sendall(data)
            return
        rest = memoryview(data)
        while rest:
            self._due = None
            self._shorten(math.inf)
            self.sock.sendall(rest[:PROGRESS])
            rest = rest[PROGRESS:]
        self._due = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive a part of a reply."""
        if flags:
            return bytes(self.sock.recv(size, flags))  # redis-py looks whether there is anything
        data: bytes = self._receive(self.sock.recv, size)
        self._count(len(data))
        return data

    def recv_into(self, buffer: bytearray) -> int:
        """Receive a part of a reply into a buffer."""
        is_first = self._due is None
        count: int = self._receive(self.sock.recv_into, buffer)
        if is_first:
            check_header(buffer, count)
        self._count(count)
        return count

    def receive_available(self) -> bytes:
        """Receive what is there, perhaps nothing."""
        self.sock.settimeout(0.0)
        try:
            data: bytes = self.sock.recv(PROGRESS)
            # TLS may have decrypted more than was asked for, which a poller does not see.
            while data and getattr(self.sock, "pending", int)():
                data += self.sock.recv(PROGRESS)
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        finally:
            self.begin()
        if not data:
            raise redis.exceptions.ConnectionError("Connection closed by server.")
        return data

    def _receive(self, receive: Callable[..., Any], *args: Any) -> Any:
        if self._timeout == 0:
            return receive(*args)  # what is there, if anything
        if self._due is None and self._deadline is None:
            # Most replies come in one piece.
            self._received = 0
            self._due = time.monotonic() + (math.inf if self._timeout is None else self._timeout)
            return receive(*args)
        while True:
            is_last = self._shorten(POLL_INTERVAL)
            try:
                return receive(*args)
            except TimeoutError:
                if is_last:
                    raise

    def _count(self, size: int) -> None:
        self._received += size
        if self._received >= PROGRESS and self._due is not None:
            self._received = 0
            self._due = 0.0  # so that the next part starts the time anew

    def _shorten(self, longest: float) -> bool:
        """Set the socket's timeout to the time that is left; return whether it ends then."""
        now = time.monotonic()
        # A message may begin long after the last one, without anything having been sent.
        if self._due is None or self._due <= now:
            self._due = now + (math.inf if self._timeout is None else self._timeout)
        end = self._due
        if self._deadline is None:
            longest = math.inf
        else:
            end = min(end, max(self._grace, now + self._deadline.left()))
            if end <= now:
                raise TimeoutError("the deadline has passed")
        left = end - now
        timeout = min(left, longest)
        self.sock.settimeout(None if timeout == math.inf else timeout)
        self._is_shortened = True
        return timeout == left


class _Limited:
    """What is mixed into redis-py's connections: limits of time, bytes only, and no half-made connection."""

    #: Until when the caller is prepared to wait for a connection.
    deadline: Deadline | None = None
    socket_timeout: float | None
    socket_connect_timeout: float | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._command_packer = _client.Packer()

    def connect_check_health(self, check_health: bool = True, **kwargs: Any) -> None:
        """Connect and log in, within the socket timeout altogether, or leave nothing."""
        # Each of the methods of `super` here is one of the class that this one is mixed into.
        parent: Any = super()
        try:
            # redis-py would send a PING before a SELECT.
            parent.connect_check_health(check_health=False, **kwargs)
            limit(self, None)
        except BaseException:
            parent.disconnect()
            raise

    def _connect(self) -> Any:
        parent: Any = super()
        deadline = self.deadline
        before = self.socket_timeout, self.socket_connect_timeout
        if deadline is not None:
            left = max(GRACE, deadline.left())
            self.socket_timeout, self.socket_connect_timeout = (
                left if each is None else min(left, each) for each in before
            )
        try:
            sock = parent._connect()
        finally:
            self.socket_timeout, self.socket_connect_timeout = before
        if not hasattr(sock, "gettimeout"):
            return sock  # of fakeredis
        sock.settimeout(self.socket_timeout)
        made = LimitedSocket(sock)
        ends = Deadline.after(self.socket_timeout)
        if deadline is not None:
            ends = Deadline(min(ends.end, deadline.end), deadline.is_cancelled)
        made.limit(ends)
        return made


@functools.cache
def limited(kind: type) -> type:
    """Return a class of connections that keep to limits of time."""
    if issubclass(kind, _Limited):
        return kind
    return type(f"Limited{kind.__name__}", (_Limited, kind), {})


def limited_pool(*, connection_class: type = redis.Connection, **arguments: Any) -> Any:
    """Return a pool whose connections keep to limits of time."""
    return redis.ConnectionPool(connection_class=limited(connection_class), **arguments)


class Connections:
    """The connections to a server, made and kept beside redis-py's pool, if that is of the usual kind."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        #: Whether connections are kept here; otherwise each is one of the pool's.
        self._keeps = _client.can_bypass(pool)
        self._connection_class = getattr(pool, "connection_class", None)
        if isinstance(self._connection_class, type):
            pool.connection_class = limited(self._connection_class)
        #: The connections on which no reply is outstanding.
        self._free: list[Any] = []
        #: All connections, for as long as they exist, since the pool limits their number.
        self._made: weakref.WeakSet[Any] = weakref.WeakSet()
        #: When connections that interruptions have lost were last looked for.
        self._collected = 0.0
        self._is_closed = False

    def request(self, args: Args) -> object:
        """Send a command and return the reply; raises as redis-py does."""
        connection = self.get_connection()
        try:
            connection.send_packed_command((_client.pack(args),), check_health=False)
            reply: object = connection.read_response()
        except ResponseError:
            self.release(connection)
            raise
        except BaseException:
            self.discard(connection)
            raise
        self.release(connection)
        return reply

    def request_many(self, batch: Sequence[Args], deadline: Deadline | None) -> list[object]:
        """Send commands in one round trip and return the replies, an error for one that failed."""
        connection = self.get_connection(deadline)
        replies: list[object] = []
        try:
            packed = [_client.pack(args) for args in batch]
            limit(connection, deadline)
            connection.send_packed_command((b"".join(packed),), check_health=False)
            for _ in batch:
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    replies.append(error)
            limit(connection, None)
        except BaseException:
            self.discard(connection)
            raise
        self.release(connection)
        return replies

    def get_connection(self, deadline: Deadline | None = None) -> Any:
        """Return a connection that is ready; raises as redis-py does."""
        while self._keeps and self._free:
            try:
                connection = self._free.pop()
            except IndexError:
                break  # another thread has taken the last one
            try:
                if _is_usable(connection, deadline):
                    return connection
            except BaseException:
                self.discard(connection)
                raise
            self.discard(connection)
        return self.connect(deadline) if self._keeps else self._pool.get_connection()

    def connect(self, deadline: Deadline | None) -> Any:
        """Return a new connection; raises as redis-py does."""
        while len(self._made) >= _client.connections_left(self._pool):
            try:
                self.discard(self._free.pop())
            except IndexError:
                if time.monotonic() < self._collected + _COLLECTION_INTERVAL:
                    raise _client.too_many_connections() from None
                # redis-py's connections are in cycles of references.
                gc.collect()
                self._collected = time.monotonic()
        connection = _client.make_unmanaged(self._pool)
        try:
            self._made.add(connection)
            connection.deadline = deadline
            connection.connect()
            connection.deadline = None  # which refers to the caller, and is not needed again
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Take back a connection on which no reply is outstanding."""
        if not self._keeps:
            self._pool.release(connection)
        elif self._is_closed:
            self.discard(connection)
        else:
            self._free.append(connection)

    def discard(self, connection: Any) -> None:
        """Close a connection."""
        connection.disconnect()
        if self._keeps:
            self._made.discard(connection)
        else:
            self._pool.release(connection)

    def make_pubsub(self, client: Any, deadline: Deadline | None = None) -> Any:
        """Return a redis-py pub/sub object, whose connection is made by a deadline."""
        pubsub = client.pubsub()
        if self._keeps:
            pubsub.connection_pool = _PubSubPool(self, pubsub.connection_pool, deadline)
        return pubsub

    def close(self) -> None:
        """Close the free connections, and those in use when they are released."""
        self._is_closed = True
        if isinstance(self._connection_class, type):
            self._pool.connection_class = self._connection_class
        while self._free:
            self.discard(self._free.pop())

    def forget_parent(self) -> None:
        """Leave, in the child of a fork, the connections and the locks of its parent."""
        self._free = []
        self._made = weakref.WeakSet()
        _client.reset_pool(self._pool)


class _PubSubPool:
    """What a pub/sub object of redis-py needs of a pool."""

    def __init__(self, connections: Connections, pool: Any, deadline: Deadline | None) -> None:
        self._connections = connections
        self._pool = pool
        self._deadline = deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def get_connection(self) -> Any:
        """Return a connection."""
        return self._connections.connect(self._deadline)

    def release(self, connection: Any) -> None:
        """Take back a connection, which may still be subscribed."""
        self._connections.discard(connection)


def _is_usable(connection: Any, deadline: Deadline | None) -> bool:
    """Return whether a free connection is still connected, and nothing has come that nobody waits for."""
    try:
        sock = getattr(connection, "_sock", None)
        if sock.has_input() if isinstance(sock, LimitedSocket) else connection.can_read(timeout=0):
            return False
        if deadline is None:
            connection.check_health()  # which may wait for as long as the socket timeout
        return True
    except FAILURES:
        return False


def limit(connection: Any, deadline: Deadline | None) -> None:
    """Keep to a deadline, or to none, in what is sent and received on a connection from now on."""
    sock = getattr(connection, "_sock", None)
    if isinstance(sock, LimitedSocket):
        sock.limit(deadline)


def receive(connection: Any) -> list[Any]:
    """Return what has come on a pub/sub connection, errors among it, without waiting."""
    sock = getattr(connection, "_sock", None)
    reader = _client.reader_of(connection)
    if reader is None or not isinstance(sock, LimitedSocket):
        replies = []
        while connection.can_read(timeout=0):
            replies.append(_client.read_reply(connection))
        return replies
    data = sock.receive_available()
    if not reader.has_data():
        check_header(data, len(data))
    reader.feed(data)
    return _client.replies_of(reader)
