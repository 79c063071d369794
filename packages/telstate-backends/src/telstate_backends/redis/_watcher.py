"""Watching keys of a Redis server from one thread.

A watcher has a pub/sub connection of its own. It sleeps until the socket is readable, the timeout has
passed, or another thread writes to its wake-up socket; it never polls (except fakeredis, which has no
socket). A lost connection is made anew for as long as the watch lasts, and then a check is due.
"""

from __future__ import annotations

import math
import select
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from telstate_backends.deadline import Deadline
from telstate_backends.errors import (
    CancelledError,
    ConnectionError,
    ForeignKeyError,
    RefusedError,
)
from telstate_backends.events import Event
from telstate_backends.operations.read import GetKeyType
from telstate_backends.redis._client import socket_of
from telstate_backends.redis._cluster import AnyServer, NodeCheck
from telstate_backends.redis._connection import read_message
from telstate_backends.redis._errors import (
    FAILURES,
    MALFORMED,
    is_locked_out,
    of_channels,
    translate,
)
from telstate_backends.redis._heartbeat import Heartbeat
from telstate_backends.redis._pubsub import Subscriber, Subscriptions, Topic, split_topics
from telstate_backends.retry import FOREVER, Attempts, OutageLog

# Errors of a lost connection. Another thread that closes the backend while redis-py reads, and messages
# of the wrong form, raise those of MALFORMED.
_LOST = (*FAILURES, *MALFORMED, ConnectionError)

# Seconds between two looks at a connection without a socket.
_FAKE_POLL_INTERVAL = 0.01

# Seconds of the longest sleep, because operating systems do not accept a timeout of years.
_MAX_SLEEP = 3600.0


class RedisWatcher:
    """Events of some keys, for one thread; made by :meth:`RedisBackend.watch`."""

    def __init__(
        self,
        server: AnyServer,
        execute: Callable[[GetKeyType], Any],
        outages: OutageLog,
        keys: Sequence[bytes],
        patterns: Sequence[bytes],
        deletions: bool,
    ) -> None:
        self._server = server
        self._execute = execute
        self._outages = outages
        self._address = server.address
        self._events: deque[Event] = deque()
        self._subscriptions = Subscriptions()
        self._subscriber = Subscriber(self._events.append, keys, patterns, deletions)
        self._subscriptions.add(self._subscriber)
        self._make_sockets()
        self._is_closed = False
        # redis-py leaves most of its methods without annotations.
        self._pubsub: Any = None
        #: In a cluster, whether the node that is watched still gets all messages.
        self._check: NodeCheck | None = None
        self._heartbeat = Heartbeat(time.monotonic())
        self._attempts: Attempts | None = None
        #: Until when a connection may take to be made.
        self.deadline: Deadline | None = None
        #: Why the server cannot be watched at present.
        self.trouble: str | None = None
        #: Waits for the socket of the connection, if it has one.
        self._poller: select.poll | None = None
        #: Whether all input has been read, so that only the socket can have more.
        self._is_drained = False

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event, `None` if the timeout has passed or `wake` was called."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._is_closed:
                raise self._closed_error()
            if self._events:
                return self._events.popleft()
            if self._was_woken():
                return None
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._step(left) and left == 0:
                return None

    def poll(self) -> Event | None:
        """Return an event that is there already; does not reconnect."""
        if self._is_closed:
            raise self._closed_error()
        if not self._events and self._pubsub is not None:
            self._read_available()
        return self._events.popleft() if self._events else None

    def add(self, keys: Iterable[bytes]) -> None:
        """Watch these keys too; only the watching thread may call this."""
        new = self._subscriptions.add_keys(self._subscriber, keys)
        if self._pubsub is None:
            self._step(0.0)
        elif new:
            self._subscriptions.record_request(new)
            self._send(self._pubsub.subscribe, new)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Stop watching these keys; only the watching thread may call this."""
        old = self._subscriptions.remove_keys(self._subscriber, keys)
        if old and self._pubsub is not None:
            self._send(self._pubsub.unsubscribe, old)

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Return whether all of these keys are watched now, on a connection that is alive."""
        if self._pubsub is None or not self._heartbeat.is_fresh(time.monotonic()):
            return False
        return self._subscriber.covers(keys)

    def wake(self) -> None:
        """Make `next` return now, or when it is next called."""
        try:
            self._wake_sender.send(b"!")
        except OSError:
            pass  # the buffer is full of such calls, or the watcher is released

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._is_closed = True
        self.wake()

    def release(self) -> None:
        """Close the connection; only the watching thread may call this."""
        self._disconnect()
        self._close_sockets()
        if self.trouble is not None:
            self._outages.leave(self)

    def abandon(self) -> None:
        """Cut the connection without returning it to redis-py's pool, whose lock may be held."""
        if self._pubsub is not None:
            connection, self._pubsub.connection = self._pubsub.connection, None
            self._pubsub = None
            if connection is not None:
                connection.disconnect()

    def forget_parent(self) -> None:
        """Leave, in the child of a fork, the sockets to the parent, and connect anew."""
        self._pubsub = None
        self._subscriptions.reset()
        self._close_sockets()
        self._make_sockets()

    def _make_sockets(self) -> None:
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        # Also for a watcher that is dropped without being released.
        self._close_sockets = weakref.finalize(self, _close, self._wake_receiver, self._wake_sender)

    def _read_available(self) -> None:
        """Process all input that is there, after one quick look at the socket."""
        is_idle = self._is_drained and self._poller is not None and not self._poller.poll(0)
        if is_idle and self._seconds_left() > 0:
            return
        while self._pubsub is not None and self._step(0.0):
            pass
        self._is_drained = True

    def _step(self, left: float | None) -> bool:
        """Connect or process one reply, waiting at most `left` seconds; return whether there was one."""
        if not self._subscriber.topics:
            self._sleep(None, left)
            return False
        try:
            if self._pubsub is None:
                self._connect()
            return self._read(left)
        except _LOST as error:
            topics = [topic.name for topic in self._subscriber.topics]
            failure = translate(error, self._address, of_channels(topics))
            self._disconnect()
            self._subscriptions.reset()
            if isinstance(failure, RefusedError) or is_locked_out(error):
                raise failure from error
            if not self._is_closed:
                self.trouble = str(failure)
                self._outages.begin(self, failure)
        except BaseException:
            # A part of a message may be lost, or a command only partly sent.
            self._disconnect()
            self._subscriptions.reset()
            raise
        self._attempts = self._attempts or FOREVER.begin()
        delay = self._attempts.next_delay() or 0.0
        self._sleep(None, delay if left is None else min(left, delay))
        return False

    def _connect(self) -> None:
        self._pubsub, self._check = self._server.pubsub(self.deadline)
        self._heartbeat = Heartbeat(time.monotonic())
        self._is_drained = False
        channels, patterns = split_topics(self._subscriber.topics)
        self._subscriptions.record_request(self._subscriber.topics)
        if channels:
            self._pubsub.subscribe(*channels)
        if patterns:
            self._pubsub.psubscribe(*patterns)
        sock = socket_of(self._pubsub.connection)
        if sock is None:
            self._poller = None
        else:
            self._poller = select.poll()
            self._poller.register(sock, select.POLLIN)

    def _send(self, send: Callable[..., None], topics: set[Topic]) -> None:
        """Change the subscription of keys; a lost connection is left to the next step."""
        try:
            send(*split_topics(topics)[0])
        except BaseException as error:
            self._disconnect()
            self._subscriptions.reset()
            if not isinstance(error, _LOST):
                raise

    def _disconnect(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is None:
            return
        try:
            pubsub.close()
        except _LOST:
            pass  # it is lost already

    def _read(self, left: float | None) -> bool:
        connection = self._pubsub.connection
        if self._heartbeat.check(time.monotonic()):
            self._pubsub.ping()
        if self._check is not None and self._check.run(time.monotonic()):
            self._subscriptions.report_loss()
            return True
        if not connection.can_read(timeout=0):
            silence = self._seconds_left()
            self._sleep(connection, silence if left is None else min(left, silence))
            if not connection.can_read(timeout=0):
                return False
        reply = read_message(self._pubsub)
        if reply is None:
            return False
        self._heartbeat.receive(time.monotonic())
        if self.trouble is not None:
            self.trouble = None
            self._outages.end(self)
        self._is_drained = False
        untyped = self._subscriptions.receive(reply)
        if untyped is not None:
            try:
                kind = self._execute(GetKeyType((untyped.key,)))
            except ForeignKeyError:
                kind = None
            self._subscriptions.deliver_untyped(untyped, kind)
        self._attempts = None
        return True

    def _seconds_left(self) -> float:
        """Return the seconds until there is something to do even if nothing arrives."""
        now = time.monotonic()
        seconds = self._heartbeat.seconds_left(now)
        return seconds if self._check is None else min(seconds, self._check.seconds_left(now))

    def _sleep(self, connection: Any, seconds: float | None) -> bool:
        """Sleep until the connection is readable or `wake` is called; return whether one was."""
        poller = select.poll()
        poller.register(self._wake_receiver, select.POLLIN)
        sock = socket_of(connection)
        if sock is not None:
            poller.register(sock, select.POLLIN)
        elif connection is not None:
            seconds = min(_FAKE_POLL_INTERVAL, math.inf if seconds is None else seconds)
        if seconds is None:
            return bool(poller.poll(None))
        # Rounded up, so as not to wake up just before the time and sleep again.
        return bool(poller.poll(math.ceil(min(seconds, _MAX_SLEEP) * 1000)))

    def _was_woken(self) -> bool:
        try:
            return bool(self._wake_receiver.recv(4096))
        except BlockingIOError:
            return False

    def _closed_error(self) -> CancelledError:
        return CancelledError(f"Redis at {self._address} was closed while it was watched.")


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()
