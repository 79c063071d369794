"""Watching keys of a Redis server on asyncio: one pub/sub connection for all watchers.

Rules: :class:`Subscriptions` decides; a subscription that the server refuses fails those who want it,
and nobody else; only the hub's own task and its two children (one sends, one
reads) touch the connection, so that cancelling a watcher never breaks it. The connection is made when it is first needed,
made anew for as long as there is a watcher, and kept until the backend is closed. Every event goes
to the backlog of the watchers that want it, which is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from telstate_backends.errors import CancelledError, ForeignKeyError, RefusedError, TelstateError
from telstate_backends.events import Event
from telstate_backends.redis._errors import FAILURES, NONSENSE, is_locked_out, translate
from telstate_backends.redis._heartbeat import Outage, Pulse
from telstate_backends.redis._pubsub import (
    Backlog,
    Listener,
    Subscriptions,
    Topic,
    split,
    take,
)
from telstate_backends.retry import FOREVER
from telstate_backends.types import KeyType

#: What a lost connection raises: also what comes of it when the sender notices first, and redis-py
#: connects anew for it under the hands of the reader, or the other way round.
_LOST = (*FAILURES, *NONSENSE, RuntimeError)


class AsyncRedisWatcher:
    """Events of some keys, for one task; made by :meth:`AsyncRedisBackend.watch`."""

    def __init__(
        self, hub: Hub, keys: Sequence[bytes], patterns: Sequence[bytes], deletions: bool
    ) -> None:
        self._hub = hub
        self._events = Backlog()
        self._stirred = asyncio.Event()
        self._failure: TelstateError | None = None
        self.listener = Listener(self._tell, keys, patterns, deletions)

    async def next(self) -> Event:
        """Wait for the next event."""
        while (event := self.poll()) is None:
            self._stirred.clear()
            await self._stirred.wait()
        return event

    def poll(self) -> Event | None:
        """Give an event that is there already."""
        if self._failure is not None:
            raise self._failure
        return self._events.pop()

    def add(self, keys: Iterable[bytes]) -> None:
        """Hear of these keys too."""
        self._hub.extend(self, keys)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Hear of these keys no more."""
        self._hub.reduce(self, keys)

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Tell whether all of these keys are heard of now."""
        return self.listener.covers(keys)

    def fail(self, failure: TelstateError) -> None:
        """Make `next` raise from now on."""
        self._failure = failure
        self._stirred.set()

    def _tell(self, event: Event) -> None:
        self._events.push(event)
        self._stirred.set()


class _Once(Retry):
    """Keeps redis-py from connecting anew by itself while a reader and a sender share the connection.

    The one would read what is for the other then: a greeting, or a refusal of something else.
    """

    async def call_with_retry(self, do: Callable[[], Awaitable[Any]], *_: Any, **__: Any) -> Any:
        """Do it, and leave it to the hub to connect anew."""
        return await do()


class _Errand(NamedTuple):
    """Something to be sent."""

    subscribe: bool  #: whether to subscribe or to unsubscribe
    topics: set[Topic]
    alone: bool  #: whether by a command of its own

    def goes_with(self, other: _Errand) -> bool:
        """Tell whether one command may serve both."""
        return self.subscribe is other.subscribe and not (self.alone or other.alone)


class Hub:
    """The pub/sub connection of one asyncio backend.

    Parameters
    ----------
    make_pubsub : callable
        Makes a redis-py pub/sub object, on a new connection.
    find_kind : callable
        Asks for the kind of a key.
    address : str
        Of the server, for messages.
    outage : Outage, optional
        What is to be told of a lost connection; by default one of its own.
    """

    def __init__(
        self,
        make_pubsub: Callable[[], Awaitable[Any]],
        find_kind: Callable[[bytes], Awaitable[KeyType | None]],
        address: str,
        outage: Outage | None = None,
    ) -> None:
        self._make_pubsub = make_pubsub
        self._find_kind = find_kind
        self._address = address
        self._subscriptions = Subscriptions()
        self._watchers: dict[Listener, AsyncRedisWatcher] = {}
        #: What to send next, in order.
        self._outbox: deque[_Errand] = deque()
        self._outbox_filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = outage or Outage(address)

    def add(self, watcher: AsyncRedisWatcher) -> None:
        """Give a watcher its events from now on."""
        if self._closed:
            watcher.fail(self._closing_error())
            return
        self._watchers[watcher.listener] = watcher
        self._post(True, self._subscriptions.add(watcher.listener))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="telstate pub/sub")

    def remove(self, watcher: AsyncRedisWatcher) -> None:
        """Give a watcher no more events."""
        if self._watchers.pop(watcher.listener, None) is not None:
            self._post(False, self._subscriptions.remove(watcher.listener))
            if not self._watchers:
                self._outage.leave(self)  # nobody tries to connect from now on

    def extend(self, watcher: AsyncRedisWatcher, keys: Iterable[bytes]) -> None:
        """Let a watcher hear of these keys too."""
        if watcher.listener in self._watchers:
            self._post(True, self._subscriptions.extend(watcher.listener, keys))

    def reduce(self, watcher: AsyncRedisWatcher, keys: Iterable[bytes]) -> None:
        """Let a watcher hear of these keys no more."""
        if watcher.listener in self._watchers:
            self._post(False, self._subscriptions.reduce(watcher.listener, keys))

    def close(self) -> None:
        """Wake all watchers with an error and stop reading."""
        if not self._closed and self._task is not None:
            # Only once: a second time would keep it from tidying up.
            self._task.cancel()
        self._closed = True
        self._fail_all(self._closing_error())

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _post(self, subscribe: bool, topics: set[Topic], alone: bool = False) -> None:
        if topics:
            self._outbox.append(_Errand(subscribe, topics, alone))
            self._outbox_filled.set()

    async def _run(self) -> None:
        """Keep a connection until cancelled, or until the server refuses us for good."""
        attempts = FOREVER.begin()
        while not self._is_over():
            if not self._subscriptions.topics:
                self._outbox.clear()
                self._outbox_filled.clear()
                await self._outbox_filled.wait()
            began = asyncio.get_running_loop().time()
            error = await self._converse()
            failure = translate(error, self._address)
            if isinstance(failure, RefusedError) or is_locked_out(error):
                self._fail_all(failure)
                return
            if self._watchers:
                self._outage.begin(self, failure)
            if asyncio.get_running_loop().time() - began > FOREVER.longest_delay:
                attempts = FOREVER.begin()
            await asyncio.sleep(attempts.next_delay() or 0.0)

    async def _converse(self) -> BaseException:
        """Use one connection for as long as it lasts; give what ended it."""
        try:
            # redis-py leaves some of its methods without annotations.
            pubsub: Any = await self._make_pubsub()
        except _LOST as error:
            return error
        self._outbox.clear()
        self._post(True, self._subscriptions.topics)
        tasks: list[asyncio.Task[None]] = []
        connection: Any = None
        retry: Any = None
        try:
            await self._send(pubsub)
            connection = pubsub.connection
            if connection is not None:
                retry, connection.retry = connection.retry, _Once(NoBackoff(), 0)
            if self._is_over():
                raise asyncio.CancelledError  # which may have been lost, see _end
            tasks += [
                asyncio.create_task(self._send_all(pubsub)),
                asyncio.create_task(self._read_all(pubsub)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        except (*_LOST, TelstateError) as error:
            return error
        finally:
            try:
                await _end(tasks)
            finally:
                self._subscriptions.lose()
                if connection is not None:
                    connection.retry = retry  # it goes back to a pool
                try:
                    await pubsub.aclose()
                except _LOST:
                    pass  # it is lost already
        raise AssertionError("neither reader nor sender ends without an error")

    def _is_over(self) -> bool:
        """Tell whether the hub is closed, or its task cancelled: by `asyncio.run` at a program's end."""
        return self._closed or (self._task is not None and self._task.cancelling() > 0)

    async def _send_all(self, pubsub: Any) -> None:
        while True:
            await self._outbox_filled.wait()
            await self._send(pubsub)

    async def _send(self, pubsub: Any) -> None:
        """Send what is in the outbox, what goes together in one command."""
        while self._outbox:
            errand = self._outbox.popleft()
            topics, subscribe = errand.topics, errand.subscribe
            while self._outbox and errand.goes_with(self._outbox[0]):
                # Nobody subscribes twice without leaving in between, so this is a plain union.
                topics = topics | self._outbox.popleft().topics
            channels, patterns = split(topics)
            if subscribe:
                self._subscriptions.sent(topics)
            if channels:
                await (pubsub.subscribe if subscribe else pubsub.unsubscribe)(*channels)
            if patterns:
                await (pubsub.psubscribe if subscribe else pubsub.punsubscribe)(*patterns)
        self._outbox_filled.clear()

    async def _read_all(self, pubsub: Any) -> None:
        """Read messages, asking whether the server lives if it is silent for long."""
        clock = asyncio.get_running_loop().time
        pulse = Pulse(clock())
        while True:
            try:
                reply = await pubsub.get_message(timeout=max(0.001, pulse.seconds(clock())))
            except ResponseError as error:
                self._take_refusal(error)
                pulse.hear(clock())
                self._outage.end(self)
                continue
            if reply is not None:
                pulse.hear(clock())
                self._outage.end(self)
                await self._take(reply)
            elif pulse.seconds(clock()) == 0:
                if pulse.asked:
                    raise TimeoutError("no answer to PING")
                pulse.ask(clock())
                await pubsub.ping()

    async def _take(self, reply: Mapping[str, object]) -> None:
        message = take(self._subscriptions, reply)
        if message is None or self._subscriptions.deliver(message):
            return
        try:
            kind = await self._find_kind(message.key)
        except ForeignKeyError:
            kind = None
        if kind is None:
            self._subscriptions.doubt(message)
        else:
            self._subscriptions.deliver(message, kind)

    def _take_refusal(self, error: ResponseError) -> None:
        """Fail those who want what the server refuses, and nobody else; raises what is no such refusal."""
        failure = translate(error, self._address)
        if not isinstance(failure, RefusedError) or is_locked_out(error):
            raise error
        refusal = self._subscriptions.refuse()
        if refusal is None:
            raise error
        for lot in refusal.lots:
            self._post(True, lot, alone=True)
        if refusal.at_fault is not None:
            refused = RefusedError(f"{refusal.at_fault} cannot be subscribed: {failure}")
            refused.__cause__ = error
            listeners = self._subscriptions.listeners_of(refusal.at_fault)
            for watcher in [self._watchers[listener] for listener in listeners]:
                self.remove(watcher)
                watcher.fail(refused)

    def _fail_all(self, failure: TelstateError) -> None:
        for watcher in tuple(self._watchers.values()):
            self.remove(watcher)
            watcher.fail(failure)

    def _closing_error(self) -> TelstateError:
        return CancelledError(f"Redis at {self._address} was closed while it was watched")


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are done, however often they, or we, have to be told."""
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
            task.exception()  # both may have failed: then asyncio need not tell of the second
    if cancellation is not None:
        raise cancellation
