"""Watching keys of a Redis server from one thread.

Rules: a watcher has a pub/sub connection of its own. It sleeps until the socket has something, the
time is over, or somebody writes to its wake-up socket: it never polls (except fakeredis, which has
no socket). A lost connection is made anew for as long as the watch lasts, and then a check is due.
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

from telstate_backends.errors import CancelledError, ConnectionError, ForeignKeyError, RefusedError
from telstate_backends.events import Event
from telstate_backends.operations.read import GetKeyType
from telstate_backends.redis._errors import (
    FAILURES,
    NONSENSE,
    is_locked_out,
    of_channels,
    translate,
)
from telstate_backends.redis._heartbeat import Outage, Pulse
from telstate_backends.redis._pubsub import Listener, Subscriptions, Topic, split, take
from telstate_backends.redis._server import Link
from telstate_backends.retry import FOREVER, Attempts

#: What a lost connection raises: also what comes of it when another thread closes the backend while
#: redis-py reads, and what reading a message of the wrong form comes to.
_LOST = (*FAILURES, *NONSENSE, ConnectionError)

#: Seconds between two looks at a connection that has no socket.
_FAKE_POLL = 0.01


class RedisWatcher:
    """Events of some keys, for one thread; made by :meth:`RedisBackend.watch`."""

    def __init__(
        self,
        link: Link,
        execute: Callable[[GetKeyType], Any],
        outage: Outage,
        keys: Sequence[bytes],
        patterns: Sequence[bytes],
        deletions: bool,
    ) -> None:
        self._link = link
        self._execute = execute
        self._address = link.address
        self._events: deque[Event] = deque()
        self._subscriptions = Subscriptions()
        self._listener = Listener(self._events.append, keys, patterns, deletions)
        self._subscriptions.add(self._listener)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        # Also for a watcher that is dropped without being released.
        self._let_go = weakref.finalize(self, _close, self._wake_receiver, self._wake_sender)
        self._closed = False
        # redis-py leaves most of its methods without annotations.
        self._pubsub: Any = None
        self._pulse = Pulse(time.monotonic())
        self._attempts: Attempts | None = None
        self._outage = outage
        #: Why the server cannot be watched at present, in words.
        self.trouble: str | None = None
        #: Tells whether the socket has something, if there is a socket.
        self._poller: select.poll | None = None
        #: Whether all that has come has been read, so that only the socket can have something.
        self._drained = False

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event; `None` if the time is over or somebody called `wake`."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._closed:
                raise CancelledError(f"Redis at {self._address} was closed while it was watched")
            if self._events:
                return self._events.popleft()
            if self._woken():
                return None
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._step(left) and left == 0:
                return None

    def poll(self) -> Event | None:
        """Give an event that is there already; a lost connection is not made anew here."""
        if self._closed:
            raise CancelledError(f"Redis at {self._address} was closed while it was watched")
        if not self._events and self._pubsub is not None:
            self._glance()
        return self._events.popleft() if self._events else None

    def add(self, keys: Iterable[bytes]) -> None:
        """Hear of these keys too; to be called by the thread that watches."""
        new = self._subscriptions.extend(self._listener, keys)
        if self._pubsub is None:
            self._step(0.0)
        elif new:
            self._send(self._pubsub.subscribe, new)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Hear of these keys no more; to be called by the thread that watches."""
        old = self._subscriptions.reduce(self._listener, keys)
        if old and self._pubsub is not None:
            self._send(self._pubsub.unsubscribe, old)

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Tell whether all of these keys are heard of now, on a connection that lives."""
        if self._pubsub is None or not self._pulse.fresh(time.monotonic()):
            return False
        return self._listener.covers(keys)

    def wake(self) -> None:
        """Make `next` return now, or when it is next called."""
        try:
            self._wake_sender.send(b"!")
        except OSError:
            pass  # already awake a thousand times over, or released

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._closed = True
        self.wake()

    def release(self) -> None:
        """Let go of the connection; to be called by the thread that watches."""
        self._outage.leave(self)
        self._drop()
        self._let_go()

    def _glance(self) -> None:
        """Read all that has come, which is usually nothing: one quick look at the socket."""
        idle = self._drained and self._poller is not None and not self._poller.poll(0)
        if idle and self._pulse.seconds(time.monotonic()) > 0:
            return
        while self._pubsub is not None and self._step(0.0):
            pass
        self._drained = True

    def abandon(self) -> None:
        """Cut the connection without giving it back to redis-py's pool, whose lock may be held."""
        if self._pubsub is not None:
            connection, self._pubsub.connection = self._pubsub.connection, None
            self._pubsub = None
            if connection is not None:
                connection.disconnect()

    def _step(self, left: float | None) -> bool:
        """Do one thing, or wait for one; False if nothing came."""
        if not self._subscriptions.topics:
            self._sleep(None, left)
            return False
        try:
            if self._pubsub is None:
                self._connect()
            return self._read(left)
        except _LOST as error:
            topics = self._subscriptions.topics
            failure = translate(error, self._address, of_channels(topic.name for topic in topics))
            self._drop()
            if isinstance(failure, RefusedError) or is_locked_out(error):
                raise failure from error
            if not self._closed:
                self.trouble = str(failure)
                self._outage.begin(self, failure)
        self._attempts = self._attempts or FOREVER.begin()
        delay = self._attempts.next_delay() or 0.0
        self._sleep(None, delay if left is None else min(left, delay))
        return False

    def _connect(self) -> None:
        self._pubsub = self._link.pubsub()
        self._pulse = Pulse(time.monotonic())
        self._drained = False
        channels, patterns = split(self._subscriptions.topics)
        self._subscriptions.sent(self._subscriptions.topics)
        if channels:
            self._pubsub.subscribe(*channels)
        if patterns:
            self._pubsub.psubscribe(*patterns)
        sock = _socket_of(self._pubsub.connection)
        if sock is None:
            self._poller = None
        else:
            self._poller = select.poll()
            self._poller.register(sock, select.POLLIN)

    def _send(self, send: Callable[..., None], topics: set[Topic]) -> None:
        """Ask the server for more or fewer topics; a lost connection is left to the next step."""
        if send == self._pubsub.subscribe:
            self._subscriptions.sent(topics)
        try:
            send(*split(topics)[0])
        except _LOST:
            self._drop()

    def _drop(self) -> None:
        if self._pubsub is None:
            return
        self._subscriptions.lose()
        try:
            self._pubsub.close()
        except _LOST:
            pass  # it is lost already
        self._pubsub = None

    def _read(self, left: float | None) -> bool:
        connection = self._pubsub.connection
        now = time.monotonic()
        quiet = self._pulse.seconds(now)
        if not connection.can_read(timeout=0):
            awake = self._sleep(connection, quiet if left is None else min(left, quiet))
            now = time.monotonic()
            if not awake:
                if self._pulse.seconds(now) == 0:
                    self._take_pulse(now)
                return False
            if not connection.can_read(timeout=0):
                return False
        self._pulse.hear(now)
        if self.trouble is not None:
            self.trouble = None
            self._outage.end(self)
        self._drained = False
        # What is there may be the beginning of a long message, whose rest is allowed its time.
        message = take(self._subscriptions, self._pubsub.get_message(timeout=self._pulse.patience))
        if message is not None and not self._subscriptions.deliver(message):
            try:
                kind = self._execute(GetKeyType((message.key,)))
            except ForeignKeyError:
                kind = None
            if kind is None:
                self._subscriptions.doubt(message)
            else:
                self._subscriptions.deliver(message, kind)
        self._attempts = None
        return True

    def _take_pulse(self, now: float) -> None:
        if self._pulse.asked:
            raise TimeoutError("no answer to PING")
        self._pulse.ask(now)
        self._pubsub.ping()

    def _sleep(self, connection: Any, seconds: float | None) -> bool:
        """Sleep until the connection has something or `wake` is called; False if neither."""
        poll = select.poll()
        poll.register(self._wake_receiver, select.POLLIN)
        sock = _socket_of(connection)
        if sock is not None:
            poll.register(sock, select.POLLIN)
        elif connection is not None:
            seconds = _FAKE_POLL if seconds is None else min(seconds, _FAKE_POLL)
        # Rounded up, so as not to wake just before the time and go round idly.
        return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def _woken(self) -> bool:
        try:
            return bool(self._wake_receiver.recv(4096))
        except BlockingIOError:
            return False


def _socket_of(connection: Any) -> socket.socket | None:
    # There is no public way to the socket; every redis-py from 5 to 8 has it here.
    sock = getattr(connection, "_sock", None)
    return sock if isinstance(sock, socket.socket) else None


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()
