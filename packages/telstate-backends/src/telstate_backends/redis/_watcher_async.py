"""Watching keys of a Redis server under asyncio: one pub/sub connection for all watchers of a backend.

- :class:`Subscriptions` decides. A subscription that the server refuses fails the watchers that want it,
  and no others.
- Only the task of `PubSubConnection` and two of its children (a sender and a reader) touch the connection,
  so that cancelling a watcher never breaks it.
- The connection is made when it is first needed, made anew for as long as there is a watcher, and kept
  until the backend is closed.
- Every event goes to the bounded queue of each watcher that wants it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from telstate_backends.errors import CancelledError, ForeignKeyError, RefusedError, TelstateError
from telstate_backends.events import Event
from telstate_backends.redis._client import without_reconnect
from telstate_backends.redis._cluster import AsyncNodeCheck
from telstate_backends.redis._errors import FAILURES, MALFORMED, is_locked_out, translate
from telstate_backends.redis._heartbeat import Heartbeat
from telstate_backends.redis._pubsub import (
    EventQueue,
    Subscriber,
    Subscriptions,
    Topic,
    split_topics,
)
from telstate_backends.retry import FOREVER, OutageLog
from telstate_backends.types import KeyType

# Errors of a lost connection, also when the sender notices it first, and redis-py reconnects for it while
# the reader uses the connection, or the other way round.
_LOST = (*FAILURES, *MALFORMED, RuntimeError)


class AsyncRedisWatcher:
    """Events of some keys, for one task; made by :meth:`AsyncRedisBackend.watch`."""

    def __init__(
        self,
        connection: PubSubConnection,
        keys: Sequence[bytes],
        patterns: Sequence[bytes],
        deletions: bool,
    ) -> None:
        self._connection = connection
        self._events = EventQueue()
        self._has_news = asyncio.Event()
        self._failure: TelstateError | None = None
        self.subscriber = Subscriber(self._put, keys, patterns, deletions)

    async def next(self) -> Event:
        """Wait for the next event."""
        while (event := self.poll()) is None:
            self._has_news.clear()
            await self._has_news.wait()
        return event

    def poll(self) -> Event | None:
        """Return an event that is there already."""
        if self._failure is not None:
            raise self._failure
        return self._events.pop()

    def add(self, keys: Iterable[bytes]) -> None:
        """Watch these keys too."""
        self._connection.add_keys(self, keys)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Stop watching these keys."""
        self._connection.remove_keys(self, keys)

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Return whether all of these keys are watched now."""
        return self.subscriber.covers(keys)

    def fail(self, failure: TelstateError) -> None:
        """Make `next` raise from now on."""
        self._failure = failure
        self._has_news.set()

    def _put(self, event: Event) -> None:
        self._events.push(event)
        self._has_news.set()


class _Request(NamedTuple):
    """A change of the subscriptions that is still to be sent."""

    is_subscribe: bool  #: whether to subscribe or to unsubscribe
    topics: set[Topic]
    is_alone: bool  #: whether it needs a command of its own

    def can_join(self, other: _Request) -> bool:
        """Return whether one command can carry both."""
        return self.is_subscribe is other.is_subscribe and not (self.is_alone or other.is_alone)


class PubSubConnection:
    """The pub/sub connection of one asyncio backend."""

    def __init__(
        self,
        make_pubsub: Callable[[], Awaitable[tuple[Any, AsyncNodeCheck | None]]],
        find_kind: Callable[[bytes], Awaitable[KeyType | None]],
        address: str,
        outages: OutageLog | None = None,
    ) -> None:
        self._make_pubsub = make_pubsub
        self._find_kind = find_kind
        self._address = address
        self._outages = outages or OutageLog(address)
        self._subscriptions = Subscriptions()
        self._watchers: dict[Subscriber, AsyncRedisWatcher] = {}
        #: What to send next, in order.
        self._requests: deque[_Request] = deque()
        self._has_requests = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def add(self, watcher: AsyncRedisWatcher) -> None:
        """Deliver events to a watcher from now on."""
        if self._is_closed:
            watcher.fail(self._closed_error())
            return
        self._watchers[watcher.subscriber] = watcher
        self._request(True, self._subscriptions.add(watcher.subscriber))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="telstate pub/sub")

    def remove(self, watcher: AsyncRedisWatcher) -> None:
        """Deliver no more events to a watcher."""
        if self._watchers.pop(watcher.subscriber, None) is not None:
            self._request(False, self._subscriptions.remove(watcher.subscriber))
            if not self._watchers:
                self._outages.leave(self)  # nothing tries to reconnect from now on

    def add_keys(self, watcher: AsyncRedisWatcher, keys: Iterable[bytes]) -> None:
        if watcher.subscriber in self._watchers:
            self._request(True, self._subscriptions.add_keys(watcher.subscriber, keys))

    def remove_keys(self, watcher: AsyncRedisWatcher, keys: Iterable[bytes]) -> None:
        if watcher.subscriber in self._watchers:
            self._request(False, self._subscriptions.remove_keys(watcher.subscriber, keys))

    def close(self) -> None:
        """Fail all watchers and start to close the connection."""
        if not self._is_closed and self._task is not None:
            # Only once: a second cancellation would interrupt its clean-up.
            self._task.cancel()
        self._is_closed = True
        self._fail_all(self._closed_error())

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _request(self, is_subscribe: bool, topics: set[Topic], is_alone: bool = False) -> None:
        if topics:
            self._requests.append(_Request(is_subscribe, topics, is_alone))
            self._has_requests.set()

    async def _run(self) -> None:
        """Keep a connection until cancelled, or until the server locks the user out."""
        attempts = FOREVER.begin()
        while not self._is_over():
            if not self._subscriptions.topics:
                self._requests.clear()
                self._has_requests.clear()
                await self._has_requests.wait()
            begin = asyncio.get_running_loop().time()
            error = await self._use_connection()
            failure = translate(error, self._address)
            if isinstance(failure, RefusedError) or is_locked_out(error):
                self._fail_all(failure)
                return
            if self._watchers:
                self._outages.begin(self, failure)
            if asyncio.get_running_loop().time() - begin > FOREVER.longest_delay:
                attempts = FOREVER.begin()
            await asyncio.sleep(attempts.next_delay() or 0.0)

    async def _use_connection(self) -> BaseException:
        """Use one connection for as long as it lasts; return the error that ended it."""
        try:
            # redis-py leaves some of its methods without annotations.
            pubsub, check = await self._make_pubsub()
        except _LOST as error:
            return error
        self._requests.clear()
        self._request(True, self._subscriptions.topics)
        try:
            await self._send(pubsub)
            if self._is_over():
                raise asyncio.CancelledError  # which may have been lost, see _cancel
            with without_reconnect(pubsub.connection):
                await self._send_and_read(pubsub, check)
        except (*_LOST, TelstateError) as error:
            return error
        finally:
            self._subscriptions.reset()
            try:
                await pubsub.aclose()
            except _LOST:
                pass  # it is lost already
        raise AssertionError("Neither the reader nor the sender ends without an error.")

    async def _send_and_read(self, pubsub: Any, check: AsyncNodeCheck | None) -> None:
        tasks = [
            asyncio.create_task(self._send_all(pubsub)),
            asyncio.create_task(self._read_all(pubsub)),
        ]
        if check is not None:
            tasks.append(asyncio.create_task(self._check_node(check)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await _cancel(tasks)

    async def _check_node(self, check: AsyncNodeCheck) -> None:
        """Report to all watchers when messages may have been lost between the nodes of a cluster."""
        while True:
            await check.run()
            self._subscriptions.report_loss()

    def _is_over(self) -> bool:
        """Return whether it is closed, or its task cancelled: by `asyncio.run` at a program's end."""
        return self._is_closed or (self._task is not None and self._task.cancelling() > 0)

    async def _send_all(self, pubsub: Any) -> None:
        while True:
            await self._has_requests.wait()
            await self._send(pubsub)

    async def _send(self, pubsub: Any) -> None:
        """Send all requests, with as few commands as possible."""
        while self._requests:
            request = self._requests.popleft()
            topics = request.topics
            while self._requests and request.can_join(self._requests[0]):
                # No topic is joined twice without being left in between, so this is a plain union.
                topics = topics | self._requests.popleft().topics
            channels, patterns = split_topics(topics)
            if request.is_subscribe:
                self._subscriptions.record_request(topics)
                if channels:
                    await pubsub.subscribe(*channels)
                if patterns:
                    await pubsub.psubscribe(*patterns)
            else:
                if channels:
                    await pubsub.unsubscribe(*channels)
                if patterns:
                    await pubsub.punsubscribe(*patterns)
        self._has_requests.clear()

    async def _read_all(self, pubsub: Any) -> None:
        """Process replies; send a PING after a long silence."""
        clock = asyncio.get_running_loop().time
        heartbeat = Heartbeat(clock())
        while True:
            reply: Mapping[str, Any] | None = None
            try:
                timeout = max(0.001, heartbeat.seconds_left(clock()))
                reply = await pubsub.get_message(timeout=timeout)
            except ResponseError as error:
                self._process_refusal(error)
            else:
                if reply is None:
                    if heartbeat.check(clock()):
                        await pubsub.ping()
                    continue
            heartbeat.receive(clock())
            if self._outages.waiting:
                self._outages.end(self)
            await self._process(reply)

    async def _process(self, reply: Mapping[str, Any] | None) -> None:
        if reply is None:
            return
        name = reply["pattern"] or reply["channel"]
        words = (reply["type"].encode(), name, reply["channel"], reply["data"])
        untyped = self._subscriptions.receive(words)
        if untyped is None:
            return
        try:
            kind = await self._find_kind(untyped.key)
        except ForeignKeyError:
            kind = None
        self._subscriptions.deliver_untyped(untyped, kind)

    def _process_refusal(self, error: ResponseError) -> None:
        """Fail the watchers of a refused subscription; raise the error if it is something else."""
        failure = translate(error, self._address)
        if not isinstance(failure, RefusedError) or is_locked_out(error):
            raise error
        refusal = self._subscriptions.refuse()
        if refusal is None:
            raise error
        for topics in refusal.retries:
            self._request(True, topics, is_alone=True)
        if refusal.refused is not None:
            refused = RefusedError(f"The {refusal.refused} cannot be subscribed: {failure}")
            refused.__cause__ = error
            for subscriber in self._subscriptions.subscribers_of(refusal.refused):
                watcher = self._watchers[subscriber]
                self.remove(watcher)
                watcher.fail(refused)

    def _fail_all(self, failure: TelstateError) -> None:
        for watcher in tuple(self._watchers.values()):
            self.remove(watcher)
            watcher.fail(failure)

    def _closed_error(self) -> CancelledError:
        return CancelledError(f"Redis at {self._address} was closed while it was watched.")


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks, again and again until they are done, even while being cancelled."""
    cancellation: asyncio.CancelledError | None = None
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        # Before Python 3.12, a cancellation that comes just when redis-py has sent a command is lost
        # in asyncio.wait_for, hence the timeout.
        try:
            await asyncio.wait(pending, timeout=0.05)
        except asyncio.CancelledError as error:
            cancellation = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # if both failed, this keeps asyncio from logging the second error
    if cancellation is not None:
        raise cancellation
