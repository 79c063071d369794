"""The Redis backend for asyncio: :mod:`telstate_backends.redis.backend`, awaited.

Rules: the same; and all tasks share one connection for commands, and all watchers one for pub/sub.
"""

from __future__ import annotations

import asyncio
import builtins
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import TimeoutError

from telstate_backends.abc import AsyncBackend, Consume, Wants, want_all
from telstate_backends.deadline import GRACE, Deadline
from telstate_backends.operations.base import Operation, UnexpectedReply
from telstate_backends.operations.read import GetKeyType
from telstate_backends.redis._client import check_client
from telstate_backends.redis._cluster import async_server_of
from telstate_backends.redis._errors import (
    FAILURES,
    MALFORMED,
    closed,
    invalid_reply,
    is_invalid_reply,
    is_temporary,
    judge,
    result_of,
    translate,
)
from telstate_backends.redis._watcher_async import AsyncRedisWatcher, PubSubConnection
from telstate_backends.redis.url import connect_async, mocked_client, parse_url
from telstate_backends.retry import OPERATIONS, OutageLog, RetryPolicy
from telstate_backends.types import KeyType

if TYPE_CHECKING:
    from concurrent.futures import Future

    from telstate_backends.redis._replication import Snapshot

Result = TypeVar("Result")

#: Seconds between two checks whether the calls in progress have ended, while a backend is closed.
_CLOSING_INTERVAL = 0.01


class AsyncRedisBackend(AsyncBackend):
    """A Redis server, a master found by Sentinel, or a cluster; it belongs to one event loop.

    Parameters
    ----------
    client : redis.asyncio.Redis or redis.asyncio.RedisCluster
        A client that does not decode responses. From now on it belongs to the backend, which closes
        it. Its own retries are off until then, also for other uses of it: `retry` says how long to
        retry, and only what is safe to repeat is repeated.
    retry : RetryPolicy, optional
        How long to retry what is safe to repeat (default: 10 seconds).

    Raises
    ------
    ValueError
        If the client decodes responses.
    TypeError
        If it is not a client, or a synchronous one.

    Examples
    --------
    >>> import fakeredis
    >>> from telstate_backends import Get, SetImmutable
    >>> async def main() -> None:
    ...     async with AsyncRedisBackend(fakeredis.FakeAsyncRedis()) as backend:
    ...         await backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    ...         print(await backend.execute(Get((b"n_chans",))))
    >>> asyncio.run(main())
    Immutable(value=b'\\xff\\x10')
    """

    takes_payloads = True

    #: Where the server is, without any password.
    address: str = "an unknown address"

    def __init__(
        self,
        client: redis.asyncio.Redis | RedisCluster,
        *,
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        check_client(client, asynchronous=True)
        self._server = async_server_of(client)
        # The nodes of a cluster pass updates on to each other.
        self.may_deliver_late = isinstance(client, RedisCluster)
        self._retry = retry
        self.address = self._server.address
        self._outages = OutageLog(self.address)
        self._pubsub = PubSubConnection(
            self._server.pubsub, self._find_kind, self.address, self._outages
        )
        self._snapshots: set[Snapshot] = set()
        self._closed = False
        #: The tasks of the exchanges in progress.
        self._busy: dict[object, asyncio.Task[Any] | None] = {}

    @classmethod
    @asynccontextmanager
    async def borrow(cls, client: redis.asyncio.Redis) -> AsyncIterator[AsyncRedisBackend]:
        """Return a context manager that yields a backend: :meth:`RedisBackend.borrow`, awaited."""
        backend = cls(client)
        try:
            yield backend
        finally:
            await backend._server.release()

    @classmethod
    async def from_url(
        cls, url: str, db: int | None = None, *, retry: RetryPolicy = RetryPolicy()
    ) -> Self:
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
            How long to retry what is safe to repeat (default: 10 seconds).

        Raises
        ------
        ConnectionError
            If the server cannot be reached now.
        ValueError
            If the URL cannot be read.
        """
        parsed = parse_url(url, db)
        client = mocked_client(url, asynchronous=True, db=db)
        backend = cls(connect_async(parsed) if client is None else client, retry=retry)
        try:
            await backend._server.ping()
        except BaseException as error:
            await backend._server.close()
            address = parsed.address or backend.address
            if isinstance(error, FAILURES):
                raise translate(error, address, tls_at_first=parsed.uses_tls) from error
            if isinstance(error, Exception) and is_invalid_reply(error):
                raise invalid_reply(error, address)
            raise
        return backend

    def __repr__(self) -> str:
        return f"<AsyncRedisBackend at {self.address}>"

    async def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically."""
        reply = await self._send(self._server.execute, operation, deadline)
        try:
            return operation.parse(reply)
        except (*MALFORMED, UnexpectedReply) as error:
            raise invalid_reply(error, self.address)

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order, in one round trip; the error of a failed one is its result."""
        if not operations:
            return []
        replies = await self._send(self._server.execute_many, operations, deadline)
        return [
            result_of(operation, reply, self.address)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    @asynccontextmanager
    async def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> AsyncIterator[AsyncRedisWatcher]:
        """Watch keys, and all keys that match glob patterns, from now on."""
        watcher = AsyncRedisWatcher(self._pubsub, keys, patterns, deletions)
        self._pubsub.add(watcher)
        try:
            yield watcher
        finally:
            self._pubsub.remove(watcher)

    async def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment; see :meth:`AsyncBackend.take_snapshot`."""
        # Imported here because few programs need it.
        from telstate_backends.redis._replication import open_snapshot_async
        from telstate_backends.threads import run_in_thread

        async def attempt(_: object) -> Future[Result]:
            snapshot = await open_snapshot_async(self._server, wants, self.execute_many)
            self._snapshots.add(snapshot)
            try:
                if self._closed:
                    snapshot.cut()
                return await run_in_thread(lambda: snapshot.feed(consume), snapshot.cut)
            finally:
                self._snapshots.discard(snapshot)

        return (await self._send(attempt, (), None)).result()

    def close(self) -> None:
        """Wake all watchers and start to close the connections."""
        self._closed = True
        self._pubsub.close()
        for snapshot in tuple(self._snapshots):
            snapshot.cut()

    async def wait_closed(self) -> None:
        """Wait until all connections are closed, and every call in progress has ended."""
        await self._pubsub.wait_closed()
        is_busy = True
        while is_busy:
            is_busy = self._is_busy()
            # Also after the last call has ended, since it may have connected until then.
            await self._server.close()
            if is_busy:
                await asyncio.sleep(_CLOSING_INTERVAL)

    def _is_busy(self) -> bool:
        # An exchange that was interrupted while it ended has been left in the dictionary.
        own = asyncio.current_task()
        return any(task is not own and not (task and task.done()) for task in self._busy.values())

    async def _find_kind(self, key: bytes) -> KeyType | None:
        return await self.execute(GetKeyType((key,)))

    async def _send(
        self, send: Callable[[Any], Awaitable[Result]], work: Any, deadline: Deadline | None
    ) -> Result:
        """Send an operation or a sequence of them, and repeat that after failures if it is safe to repeat."""
        attempts = None
        task = asyncio.current_task()
        cancellations = 0 if task is None else task.cancelling()
        while True:
            if self._closed:
                raise closed(self.address)
            exchange = object()
            try:
                self._busy[exchange] = task
                result = await (send(work) if deadline is None else _within(deadline, send(work)))
                if task is not None and task.cancelling() > cancellations:
                    raise asyncio.CancelledError  # see below
                if self._outages.waiting:
                    self._outages.end(OPERATIONS)
                return result
            except Exception as error:
                # Before Python 3.12, a cancellation that comes just when redis-py has sent a command, or
                # has found its connection lost, is lost in asyncio.wait_for; nothing else notices it.
                if task is not None and task.cancelling() > cancellations:
                    raise asyncio.CancelledError
                operations = [work] if isinstance(work, Operation) else work
                failure, is_repeatable = judge(error, self.address, operations, self._closed)
                delay = None
                if is_repeatable:
                    attempts = attempts or self._retry.begin(self._outages)
                    delay = attempts.next_delay(failure, deadline)
                if failure is error:
                    raise
                if delay is None:
                    raise failure from error
                if is_temporary(error):
                    with suppress(*FAILURES):  # the next attempt shows what is wrong
                        await _within(deadline or Deadline(), self._server.find_master())
            finally:
                self._busy.pop(exchange, None)
            await asyncio.sleep(delay)


async def _within(deadline: Deadline, reply: Awaitable[Result]) -> Result:
    """Wait for a reply until a deadline; raises as redis-py does."""
    seconds = max(GRACE, deadline.left())
    try:
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            return await reply
    except builtins.TimeoutError as error:
        raise TimeoutError(f"no reply within {seconds:.1f} s") from error
