"""The Redis backend for asyncio: :mod:`telstate_backends.redis.backend`, awaited.

Rules: the same; and all tasks share one connection for commands, and all watchers one for pub/sub.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import redis.asyncio
from redis.asyncio.cluster import RedisCluster

from telstate_backends.abc import AsyncBackend
from telstate_backends.deadline import Deadline
from telstate_backends.errors import ConnectionError, TelstateError
from telstate_backends.operations.base import Operation, UnexpectedReply
from telstate_backends.operations.read import GetKeyType
from telstate_backends.redis import _client as clients
from telstate_backends.redis import _protocol as wire
from telstate_backends.redis._errors import (
    FAILURES,
    NONSENSE,
    closed,
    is_unsent,
    of_operations,
    outcome,
    senseless,
    translate,
)
from telstate_backends.redis._server_async import link_to
from telstate_backends.redis._watcher_async import AsyncRedisWatcher, PubSubConnection
from telstate_backends.redis.url import (
    connect_async,
    is_for_tls,
    is_unknown_option,
    place_of,
    target_of,
    unknown_option,
)
from telstate_backends.retry import OPERATIONS, OutageLog, RetryPolicy
from telstate_backends.types import KeyType

Result = TypeVar("Result")


class AsyncRedisBackend(AsyncBackend):
    """A Redis server, for asyncio; it belongs to one event loop.

    Parameters
    ----------
    client : redis.asyncio.Redis or redis.asyncio.RedisCluster
        A client that does not decode responses; from now on it belongs to the backend, which closes
        it. Until then its own retries are off, for whatever else is sent by it, too: `retry` says how
        long, and only what is safe to repeat is repeated. Whoever needs redis-py's retries elsewhere
        makes another client for that.
    retry : RetryPolicy, optional
        How long to repeat what is safe to repeat; by default for 10 seconds.

    Raises
    ------
    ValueError
        If the client decodes responses.
    TypeError
        If it is no client, or one for ordinary code.
    """

    #: Whether whole keys are best written as DUMP payloads, see :func:`load_rdb`.
    takes_payloads = True

    #: Where the server is, without any password.
    address: str = "an unknown address"

    def __init__(
        self,
        client: redis.asyncio.Redis | RedisCluster,
        *,
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        unfit = clients.unfit(client, asynchronous=True)
        if unfit is not None:
            del client  # which may be a URL with a password
            raise TypeError(unfit)
        self._link = link_to(client)
        #: Whether updates may come late: nodes pass them on to each other.
        self.may_deliver_late = isinstance(client, RedisCluster)
        self._retry = retry
        self.address = self._link.address
        self._outages = OutageLog(self.address)
        self._pubsub = PubSubConnection(
            self._link.pubsub, self._find_kind, self.address, self._outages
        )
        self._closed = False
        #: One for each exchange that is under way.
        self._busy: set[object] = set()
        self._idle = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def borrow(cls, client: redis.asyncio.Redis) -> AsyncIterator[AsyncRedisBackend]:
        """Use a client that somebody else owns; afterwards it has its own retries and connections again."""
        backend = cls(client)
        try:
            yield backend
        finally:
            await backend._link.release()

    @classmethod
    async def from_url(
        cls, url: str, db: int | None = None, *, retry: RetryPolicy = RetryPolicy()
    ) -> AsyncRedisBackend:
        """Connect to a server.

        Parameters
        ----------
        url : str
            ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix:///path``,
            ``redis+sentinel://host:port,host:port/service/db``,
            ``redis+cluster://host:port,host:port``; options of redis-py may follow
            (``?socket_timeout=2``). Timeouts are 5 s by default.
        db : int, optional
            The database, if the URL does not name one.
        retry : RetryPolicy, optional
            How long to repeat what is safe to repeat; by default for 10 seconds.

        Raises
        ------
        ConnectionError
            If the server cannot be reached now.
        """
        try:
            target = target_of(url, db)
        finally:
            del url  # it may hold a password, which no traceback should show
        try:
            backend = cls(connect_async(target), retry=retry)
            try:
                await backend._link.ping()
            except BaseException as error:
                await backend._link.close()
                place = place_of(target) if target.hosts else backend.address
                if isinstance(error, FAILURES):
                    raise translate(error, place, tls_at_first=is_for_tls(target)) from error
                if isinstance(error, NONSENSE) and not is_unknown_option(error):
                    raise senseless(error, place)
                raise
            return backend
        except TypeError as error:
            unknown = unknown_option(error)
        raise unknown

    def __repr__(self) -> str:
        return f"<AsyncRedisBackend at {self.address}>"

    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Do one operation, atomically."""
        reply = await self._persist(lambda: self._link.ask(operation), [operation])
        try:
            return operation.parse(reply)
        except (*NONSENSE, UnexpectedReply) as error:
            raise senseless(error, self.address)

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do operations in order, in one round trip; a failed one gives its error."""
        if not operations:
            return []
        safe = wire.repeatable(operations)

        async def ask() -> list[object]:
            return wire.served(await self._link.ask_many(operations), safe)

        replies = await self._persist(ask, operations)
        return [
            wire.parse(operation, outcome(reply, self.address, operation), self.address)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    @asynccontextmanager
    async def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> AsyncIterator[AsyncRedisWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        watcher = AsyncRedisWatcher(self._pubsub, keys, patterns, deletions)
        self._pubsub.add(watcher)
        try:
            yield watcher
        finally:
            self._pubsub.remove(watcher)

    def close(self) -> None:
        """Wake all watchers and start to let go of connections."""
        self._closed = True
        self._pubsub.close()

    async def wait_closed(self) -> None:
        """Wait until all connections are gone, and whoever uses one has been told."""
        await self._pubsub.wait_closed()
        await self._link.close()
        while self._busy:
            # Each may have connected since.
            self._idle.clear()
            await self._idle.wait()
            await self._link.close()

    async def _find_kind(self, key: bytes) -> KeyType | None:
        return await self.execute(GetKeyType((key,)))

    async def _persist(
        self, attempt: Callable[[], Awaitable[Result]], operations: Sequence[Operation[Any]]
    ) -> Result:
        """Try, and if that is safe try again while the connection fails."""
        attempts = None
        task = asyncio.current_task()
        cancellations = 0 if task is None else task.cancelling()

        def check() -> None:
            # Before Python 3.12, a cancellation that comes just when redis-py has sent a command, or
            # has found its connection lost, is lost in asyncio.wait_for; nobody else would hear of it.
            if task is not None and task.cancelling() > cancellations:
                raise asyncio.CancelledError

        while True:
            if self._is_closed():
                raise closed(self.address)
            self._busy.add(place := object())
            try:
                result = await attempt()
                check()
                if self._outages.is_open:
                    self._outages.end(OPERATIONS)
                return result
            except FAILURES as error:
                check()
                if self._is_closed():
                    raise closed(self.address) from error
                failure = translate(error, self.address, of_operations(operations))
                attempts = attempts or self._retry.begin()
                delay = attempts.next_delay()
                safe = wire.repeatable(operations) or is_unsent(error)
                if delay is None or not safe or not isinstance(failure, ConnectionError):
                    raise failure from error
                self._outages.begin(OPERATIONS, failure)
            except (*NONSENSE, RuntimeError) as error:
                check()
                # What comes of a connection that is closed while it is used.
                if self._is_closed() and not isinstance(error, TelstateError):
                    raise closed(self.address) from error
                if isinstance(error, (*NONSENSE, UnexpectedReply)):
                    raise senseless(error, self.address)
                raise
            finally:
                self._busy.remove(place)
                if not self._busy:
                    self._idle.set()
            await asyncio.sleep(delay)

    def _is_closed(self) -> bool:
        return self._closed
