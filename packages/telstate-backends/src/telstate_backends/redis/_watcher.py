"""Watching keys of a Redis server from threads.

- A watcher of keys alone, as every wait has one, shares a connection with the others of its backend. A
  thread reads it for as long as there are any, and some seconds longer for the next one, and puts events
  into the bounded queue of each. It alone touches the connection and the subscriptions, so that an
  interruption (Ctrl-C) of those that wait breaks nothing; the others only append requests.
- A watcher of patterns or of deletions has a connection of its own, which its thread reads when it asks for
  events: a cache must know what has arrived by then.

The thread that reads sleeps until the socket is readable, the timeout has passed, or another thread writes to
the wake-up socket; it never polls (except fakeredis, which has no socket). A lost connection is made anew for as
long as there is a watcher, and then a check is due.
"""

from __future__ import annotations

import copy
import math
import select
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from telstate_backends.deadline import Deadline
from telstate_backends.errors import (
    CancelledError,
    ConnectionError,
    ForeignKeyError,
    RefusedError,
)
from telstate_backends.events import CheckDue, Event
from telstate_backends.operations.read import GetKeyType
from telstate_backends.redis._client import can_spare, socket_of
from telstate_backends.redis._cluster import AnyServer, NodeCheck
from telstate_backends.redis._connection import receive
from telstate_backends.redis._errors import (
    FAILURES,
    MALFORMED,
    is_locked_out,
    of_channels,
    translate,
)
from telstate_backends.redis._heartbeat import Heartbeat
from telstate_backends.redis._pubsub import (
    EventQueue,
    Subscriber,
    Subscriptions,
    Topic,
    split_topics,
)
from telstate_backends.retry import FOREVER, Attempts, OutageLog

# Errors of a lost connection. Another thread that closes the backend while redis-py reads, and messages
# of the wrong form, raise those of MALFORMED.
_LOST = (*FAILURES, *MALFORMED, ConnectionError)

# Seconds between two looks at a connection without a socket.
_FAKE_POLL_INTERVAL = 0.01

# Seconds for which a new thread waits for one that is beginning or ending, before it looks which.
_TURN_INTERVAL = 0.01

# Seconds for which the shared connection is kept after the last watcher has left.
_KEPT = 5.0

# Seconds of the longest sleep, because operating systems do not accept a timeout of years.
_MAX_SLEEP = 3600.0


class _PubSubConnection:
    """A pub/sub connection, made when it is needed and again when it is lost; one thread uses it."""

    def __init__(
        self, server: AnyServer, execute: Callable[[GetKeyType], Any], outages: OutageLog
    ) -> None:
        self._server = server
        self._execute = execute
        self._outages = outages
        self._address = server.address
        self._subscriptions = Subscriptions()
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
        #: Whether :meth:`wake` was called.
        self._is_woken = False
        self._wake_sender: socket.socket | None = None

    def wake(self) -> None:
        """End a sleep of the thread that uses the connection, from any thread."""
        sender = self._wake_sender
        if sender is not None:
            try:
                sender.send(b"!")
            except OSError:
                pass  # the buffer is full of such calls, or the connection is released

    def close(self) -> None:
        """Make the thread that uses the connection end that, from any thread."""
        self._is_closed = True
        self.wake()

    def _make_sockets(self) -> None:
        self._wake_receiver, sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        sender.setblocking(False)
        # Also for a watcher that is dropped without being released.
        self._close_sockets = weakref.finalize(self, _close, self._wake_receiver, sender)
        # At exit a thread may still use them. mypy takes no note of the setter.
        self._close_sockets.atexit = False  # type: ignore[misc]
        #: Waits for the first of these, and for the socket of the connection if it has one.
        self._poller = select.poll()
        self._poller.register(self._wake_receiver, select.POLLIN)
        self._wake_sender = sender

    def _step(self, left: float | None) -> bool:
        """Connect, or process what has come, waiting at most `left` seconds; return whether there was anything."""
        if self._pubsub is None and not self._subscriptions.topics:
            self._sleep(left)
            return False
        try:
            if self._pubsub is None:
                self._connect()
            return self._read(left)
        except _LOST as error:
            failure = translate(error, self._address, of_channels(self._channels()))
            self._disconnect()
            if isinstance(failure, RefusedError) or is_locked_out(error):
                raise failure from error
            if not self._is_closed:
                self.trouble = str(failure)
                self._outages.begin(self, failure)
        except BaseException:
            # A part of a message may be lost, or a command only partly sent.
            self._disconnect()
            raise
        self._attempts = self._attempts or FOREVER.begin()
        delay = self._attempts.next_delay() or 0.0
        self._sleep(delay if left is None else min(left, delay))
        return False

    def _channels(self) -> list[bytes]:
        return [topic.name for topic in self._subscriptions.topics]

    def _connect(self) -> None:
        self._pubsub, self._check = self._server.pubsub(self.deadline)
        connection = self._pubsub.connection = self._pubsub.connection_pool.get_connection()
        self._heartbeat = Heartbeat(time.monotonic())
        sock = socket_of(connection)
        if sock is not None:
            self._poller.register(sock, select.POLLIN)
        self._request(True, self._subscriptions.topics)

    def _request(self, is_subscribe: bool, topics: Iterable[Topic]) -> None:
        """Subscribe to topics, or unsubscribe from them."""
        topics = list(topics)
        if is_subscribe:
            self._subscriptions.record_request(topics)
        prefix = "" if is_subscribe else "UN"
        for kind, names in zip(("SUBSCRIBE", "PSUBSCRIBE"), split_topics(topics), strict=True):
            if names:
                name = kind.replace("SUB", f"{prefix}SUB")
                self._pubsub.connection.send_command(name, *names, check_health=False)

    def _disconnect(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        self._subscriptions.reset()
        if pubsub is None:
            return
        self._poller = select.poll()
        self._poller.register(self._wake_receiver, select.POLLIN)
        try:
            pubsub.close()
        except _LOST:
            pass  # it is lost already

    def _read(self, left: float | None) -> bool:
        connection = self._pubsub.connection
        now = time.monotonic()
        if self._heartbeat.check(now):
            connection.send_command("PING", check_health=False)
        if self._check is not None and self._check.run(now):
            self._subscriptions.report_loss()
            return True
        silence = self._seconds_left(now)
        if not self._sleep(silence if left is None else min(left, silence), connection):
            return False
        replies = receive(connection)
        if not replies:
            return False
        self._heartbeat.receive(time.monotonic())
        if self.trouble is not None:
            self.trouble = None
            self._outages.end(self)
        for reply in replies:
            if isinstance(reply, Exception):
                self._process_error(reply)
            elif isinstance(reply, list):  # unlike the reply to a PING in RESP3
                self._process(reply)
        self._attempts = None
        return True

    def _process(self, reply: Sequence[object]) -> None:
        untyped = self._subscriptions.receive(reply)
        if untyped is not None:
            try:
                kind = self._execute(GetKeyType((untyped.key,)))
            except ForeignKeyError:
                kind = None
            self._subscriptions.deliver_untyped(untyped, kind)

    def _process_error(self, error: Exception) -> None:
        raise error

    def _seconds_left(self, now: float) -> float:
        """Return the seconds until there is something to do even if nothing arrives."""
        seconds = self._heartbeat.seconds_left(now)
        return seconds if self._check is None else min(seconds, self._check.seconds_left(now))

    def _sleep(self, seconds: float | None, connection: Any = None) -> bool:
        """Sleep until the connection may have input or `wake` is called; return whether it may."""
        is_fake = connection is not None and socket_of(connection) is None
        if is_fake:
            if connection.can_read(timeout=0):
                return True
            seconds = min(_FAKE_POLL_INTERVAL, math.inf if seconds is None else seconds)
        # Rounded up, so as not to wake up just before the time and sleep again.
        limit = None if seconds is None else math.ceil(min(seconds, _MAX_SLEEP) * 1000)
        ready = {descriptor for descriptor, _ in self._poller.poll(limit)}
        woken = self._wake_receiver.fileno()
        if woken in ready:
            self._is_woken = True
            try:
                self._wake_receiver.recv(4096)
            except BlockingIOError:
                pass  # an interruption came after it had been read
        return is_fake or bool(ready - {woken})

    def closed_error(self) -> CancelledError:
        """Return the error for a watcher of a backend that is closed."""
        return CancelledError(f"Redis at {self._address} was closed while it was watched.")


class RedisWatcher(_PubSubConnection):
    """Events of some keys, for one thread, on a connection of its own."""

    def __init__(
        self,
        server: AnyServer,
        execute: Callable[[GetKeyType], Any],
        outages: OutageLog,
        keys: Sequence[bytes],
        patterns: Sequence[bytes],
        deletions: bool,
    ) -> None:
        super().__init__(server, execute, outages)
        self._events: deque[Event] = deque()
        self._subscriber = Subscriber(self._events.append, keys, patterns, deletions)
        self._subscriptions.add(self._subscriber)
        self._make_sockets()

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event, `None` if the timeout has passed or `wake` was called."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._is_closed:
                raise self.closed_error()
            if self._events:
                return self._events.popleft()
            if self._is_woken:
                self._is_woken = False
                return None
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._step(left) and left == 0:
                self._is_woken = False
                return None

    def poll(self) -> Event | None:
        """Return an event that is there already; does not reconnect."""
        if self._is_closed:
            raise self.closed_error()
        while not self._events and self._pubsub is not None and self._step(0.0):
            pass
        return self._events.popleft() if self._events else None

    def add(self, keys: Iterable[bytes]) -> None:
        """Watch these keys too; only the watching thread may call this."""
        self._change(True, self._subscriptions.add_keys(self._subscriber, keys))
        if self._pubsub is None:
            self._step(0.0)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Stop watching these keys; only the watching thread may call this."""
        self._change(False, self._subscriptions.remove_keys(self._subscriber, keys))

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Return whether all of these keys are watched now, on a connection that is alive."""
        if self._pubsub is None or not self._heartbeat.is_fresh(time.monotonic()):
            return False
        return self._subscriber.covers(keys)

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

    def _change(self, is_subscribe: bool, topics: set[Topic]) -> None:
        """Change the subscription of keys; a lost connection is left to the next step."""
        if self._pubsub is None:
            return
        try:
            self._request(is_subscribe, topics)
        except BaseException as error:
            self._disconnect()
            if not isinstance(error, _LOST):
                raise


class SharedRedisWatcher:
    """Events of some keys, for one thread, on the connection that it shares with others."""

    def __init__(self, connection: SharedConnection, keys: Iterable[bytes]) -> None:
        self._connection = connection
        #: Not used: another thread makes the connection.
        self.deadline: Deadline | None = None
        self._is_closed = self._is_woken = False
        self._failure: Exception | None = None
        # Locked while there is nothing new. It takes no lock of Python code, which an interruption could
        # leave taken, as that of an Event.
        self._signal = threading.Lock()
        self._signal.acquire()
        #: The changes that it has requested, and that have not been made yet.
        self._changes: set[object] = set()
        self._events = EventQueue()
        self._subscriber = Subscriber(self._put, keys, ())
        #: In which process it is subscribed, as a number of forks; None before the first event is awaited.
        self._generation: int | None = None

    @property
    def trouble(self) -> str | None:
        """Why the server cannot be watched at present."""
        return self._connection.trouble

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event, `None` if the timeout has passed or `wake` was called."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while (event := self.poll()) is None and not self._is_woken:
            left = max(0.0, end - time.monotonic())
            if not self._signal.acquire(timeout=min(left, _MAX_SLEEP)) and left == 0:
                return None
        if event is None:
            self._is_woken = False
        return event

    def poll(self) -> Event | None:
        """Return an event that is there already."""
        if self._is_closed:
            raise self._connection.closed_error()
        if self._failure is not None:
            raise self._failure
        if self._generation != self._connection.generation:
            self._subscribe()
        return self._events.pop()

    def add(self, keys: Iterable[bytes]) -> None:
        """Watch these keys too."""
        self._change(True, keys)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Stop watching these keys."""
        self._change(False, keys)

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Return whether all of these keys are watched now, on a connection that is alive."""
        return not self._changes and self._connection.is_fresh() and self._subscriber.covers(keys)

    def wake(self) -> None:
        """Make `next` return now, or when it is next called."""
        self._is_woken = True
        self._notify()

    def close(self) -> None:
        """Make `next` raise from now on."""
        self._is_closed = True
        self._notify()

    def release(self) -> None:
        """Stop watching."""
        self._connection.request(self._connection.remove, self._subscriber)

    def abandon(self) -> None:
        """Do nothing: :meth:`release` takes no lock."""

    def forget_parent(self) -> None:
        """Do nothing: :meth:`poll` notices the fork, if the child still uses this watcher."""

    def fail(self, failure: Exception) -> None:
        """Make `next` raise an error from now on."""
        self._failure = failure
        self._notify()

    def _subscribe(self) -> None:
        if self._generation is not None:
            # The child of a fork leaves the old one to its parent's thread.
            self._subscriber = Subscriber(self._put, self._subscriber.keys, ())
            self._subscriber.reason = CheckDue.RECONNECTED
        self._generation = self._connection.generation
        self._connection.request(self._connection.add, self._subscriber, self.fail)

    def _change(self, is_added: bool, keys: Iterable[bytes]) -> None:
        if self._generation != self._connection.generation:
            self._subscribe()
        change = object()
        self._changes.add(change)
        done = partial(self._changes.discard, change)
        request = self._connection.request
        request(self._connection.change_keys, self._subscriber, is_added, [*keys], done)

    def _put(self, event: Event) -> None:
        self._events.push(event)
        self._notify()

    def _notify(self) -> None:
        try:
            self._signal.release()
        except RuntimeError:
            pass  # the thread has not seen yet what was new before


class SharedConnection(_PubSubConnection):
    """The connection of the watchers of a backend that share one, and the thread that reads it."""

    def __init__(
        self, server: AnyServer, execute: Callable[[GetKeyType], Any], outages: OutageLog
    ) -> None:
        super().__init__(server, execute, outages)
        #: How many forks have led to this process.
        self.generation = 0
        #: The present subscribers, and how to report errors to each.
        self._failing: dict[Subscriber, Callable[[Exception], None]] = {}
        #: Calls of methods of this object that its thread is to make.
        self._requests: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        #: Held by the thread. One that is started while another begins or ends waits for it.
        self._turn = threading.Lock()
        self._is_reading = False
        #: Topics to subscribe to (True) or to unsubscribe from that have not been sent yet.
        self._unsent: list[tuple[bool, set[Topic]]] = []

    def request(self, method: Callable[..., None], *args: Any) -> None:
        """Let the thread call a method of this object; from any thread, without a lock."""
        self._requests.append((method, args))
        # The thread looks for requests after it has cleared this.
        if not self._is_reading and method != self.remove:
            threading.Thread(target=self._run, name="telstate pub/sub", daemon=True).start()
        self.wake()

    def is_fresh(self) -> bool:
        """Return whether the connection is alive, as far as is known."""
        return self._pubsub is not None and self._heartbeat.is_fresh(time.monotonic())

    def forget_parent(self) -> None:
        """Leave, in the child of a fork, the thread and the watchers to the parent."""
        self._pubsub = None
        if self._wake_sender is not None:
            self._close_sockets()
            self._wake_sender = None
        self._subscriptions = Subscriptions()
        self._failing, self._unsent, self._requests = {}, [], deque()
        self._turn, self._is_reading = threading.Lock(), False
        self.generation += 1

    # The methods that follow are for the thread.

    def add(self, subscriber: Subscriber, fail: Callable[[Exception], None]) -> None:
        """Deliver events to a subscriber from now on."""
        self._failing[subscriber] = fail
        self._send_later(True, self._subscriptions.add(subscriber))

    def remove(self, subscriber: Subscriber) -> None:
        """Deliver no more events to a subscriber."""
        if self._failing.pop(subscriber, None) is not None:
            self._send_later(False, self._subscriptions.remove(subscriber))

    def change_keys(
        self,
        subscriber: Subscriber,
        is_added: bool,
        keys: Sequence[bytes],
        done: Callable[[], None],
    ) -> None:
        """Add keys to a subscriber, or remove them."""
        if subscriber in self._failing:
            change = self._subscriptions.add_keys if is_added else self._subscriptions.remove_keys
            self._send_later(is_added, change(subscriber, keys))
        done()

    def _run(self) -> None:
        """Read for as long as there are watchers, and a little longer, unless another thread does."""
        while not self._turn.acquire(timeout=_TURN_INTERVAL):
            if self._is_reading:
                return  # it looks for requests once more before it ends
        try:
            while self._requests:
                self._is_reading = True
                try:
                    self._use()
                finally:
                    self._is_reading = False
        finally:
            self._turn.release()

    def _use(self) -> None:
        end = 0.0
        while not self._is_closed:
            try:
                while self._requests:
                    method, args = self._requests.popleft()
                    method(*args)
                if not self._failing:
                    left = end - time.monotonic()
                    # It is not made anew before it is needed.
                    if (
                        left <= 0
                        or self._pubsub is None
                        or not can_spare(self._pubsub.connection_pool)
                    ):
                        break
                    self._read(left)
                elif self._wake_sender is None:
                    self._make_sockets()  # requests that came before could not wake this thread
                else:
                    self._step(None)
                    end = time.monotonic() + _KEPT
            except Exception as error:  # whatever it is, those who wait raise it
                self._disconnect()
                self._fail(tuple(self._failing), error)
        if self._is_closed:
            self._requests.clear()
        self._disconnect()
        if self._wake_sender is not None:
            self._wake_sender = None
            self._close_sockets()
        if self.trouble is not None:
            self.trouble = None
            self._outages.leave(self)

    def _read(self, left: float | None) -> bool:
        while self._unsent:
            # With as few commands as possible.
            self._request(*self._unsent.pop(0))
        return super()._read(left)

    def _disconnect(self) -> None:
        self._unsent.clear()  # a new connection subscribes to everything
        super()._disconnect()

    def _send_later(self, is_subscribe: bool, topics: set[Topic]) -> None:
        if self._pubsub is None or not topics:
            return
        if self._unsent and self._unsent[-1][0] is is_subscribe:
            # No topic is joined twice without being left in between, so this is a plain union.
            self._unsent[-1][1].update(topics)
        else:
            self._unsent.append((is_subscribe, set(topics)))

    def _process_error(self, error: Exception) -> None:
        """Fail the watchers of a refused subscription; raise the error if it is something else."""
        failure = translate(error, self._address)
        refusal = None
        if isinstance(failure, RefusedError) and not is_locked_out(error):
            refusal = self._subscriptions.refuse()
        if refusal is None:
            raise error
        for topics in refusal.retries:
            self._request(True, topics)
        if refusal.refused is not None:
            refused = RefusedError(f"The {refusal.refused} cannot be subscribed: {failure}")
            refused.__cause__ = error
            self._fail(self._subscriptions.subscribers_of(refusal.refused), refused)

    def _fail(self, subscribers: Iterable[Subscriber], failure: Exception) -> None:
        for subscriber in subscribers:
            fail = self._failing[subscriber]
            self.remove(subscriber)
            # A copy for each, since raising an error leaves traces in it.
            own = copy.copy(failure)
            own.__cause__ = failure.__cause__
            fail(own)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()
