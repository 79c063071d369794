"""The Redis backend for synchronous code.

Rules: one operation is one command or script, and one round trip. What is safe to repeat is repeated
after a failure of the connection, within the bound of the retry policy. redis-py's errors become ours
here, with the address in them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis
from redis.cluster import RedisCluster

from telstate_backends.abc import Backend, Consume, Wants, want_all
from telstate_backends.deadline import Deadline
from telstate_backends.operations.base import Operation, UnexpectedReply
from telstate_backends.redis._client import check_client
from telstate_backends.redis._cluster import server_of
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
from telstate_backends.redis._watcher import RedisWatcher, SharedConnection, SharedRedisWatcher
from telstate_backends.redis.url import connect, mocked_client, parse_url
from telstate_backends.retry import OPERATIONS, OutageLog, RetryPolicy

if TYPE_CHECKING:
    from concurrent.futures import Future

    from telstate_backends.redis._replication import Snapshot

Result = TypeVar("Result")


#: All backends of this process.
_backends: weakref.WeakSet[RedisBackend] = weakref.WeakSet()


class RedisBackend(Backend):
    """A Redis server, a master found by Sentinel, or a cluster; its methods can be called from any thread.

    Parameters
    ----------
    client : redis.Redis or redis.RedisCluster
        A client that does not decode responses. From now on it belongs to the backend, which closes
        it. Its own retries are off until then, also for other uses of it: `retry` says how long to
        retry, and only what is safe to repeat is repeated.
    retry : RetryPolicy, optional
        How long to retry what is safe to repeat (default: 10 seconds).

    Raises
    ------
    ConnectionError
        If the server cannot be reached now.
    ValueError
        If the client decodes responses.
    TypeError
        If it is not a client, or one for asyncio.

    Examples
    --------
    >>> import fakeredis
    >>> from telstate_backends import Get, SetImmutable
    >>> with RedisBackend(fakeredis.FakeRedis()) as backend:
    ...     backend.execute(SetImmutable(b"n_chans", b"\\xff\\x10"))
    ...     backend.execute(Get((b"n_chans",)))
    Immutable(value=b'\\xff\\x10')
    """

    takes_payloads = True

    #: Where the server is, without any password.
    address: str = "an unknown address"

    def __init__(
        self, client: redis.Redis | RedisCluster, *, retry: RetryPolicy = RetryPolicy()
    ) -> None:
        check_client(client, asynchronous=False)
        self._server = server_of(client)
        # The nodes of a cluster pass updates on to each other.
        self.may_deliver_late = isinstance(client, RedisCluster)
        self._retry = retry
        self._closing = threading.Event()
        #: One for each exchange in progress; without a lock, which a fork might find taken.
        self._busy: set[object] = set()
        self._watchers: set[RedisWatcher | SharedRedisWatcher] = set()
        self._snapshots: set[Snapshot] = set()
        _backends.add(self)
        self.address = self._server.address
        self._outages = OutageLog(self.address)
        # So that a backend that is dropped is freed, with its connections, at once.
        myself = weakref.proxy(self)
        self._shared = SharedConnection(
            self._server, lambda operation: myself.execute(operation), self._outages
        )
        # At exit there is no need to. mypy takes no note of the setter.
        weakref.finalize(self, self._shared.close).atexit = False  # type: ignore[misc]
        try:
            self._server.ping()
        except BaseException as error:
            self._server.close()
            if isinstance(error, FAILURES):
                raise translate(error, self.address, tls_at_first=self._server.uses_tls) from error
            if isinstance(error, Exception) and is_invalid_reply(error):
                raise invalid_reply(error, self.address)
            raise

    @classmethod
    @contextmanager
    def borrow(cls, client: redis.Redis) -> Iterator[RedisBackend]:
        """Return a context manager that yields a backend which uses a client for a while.

        Afterwards the client has its own retries and all its connections again.
        """
        backend = cls(client)
        try:
            yield backend
        finally:
            backend._server.release()

    @classmethod
    def from_url(
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

        Examples
        --------
        >>> RedisBackend.from_url("redis://127.0.0.1:6379/1")  # doctest: +SKIP
        <RedisBackend at 127.0.0.1:6379>
        """
        client = mocked_client(url, db=db)
        if client is not None:
            return cls(client, retry=retry)
        parsed = parse_url(url, db)
        try:
            client = connect(parsed)
        except FAILURES as error:
            raise translate(error, parsed.address, tls_at_first=parsed.uses_tls) from error
        return cls(client, retry=retry)

    def __repr__(self) -> str:
        return f"<RedisBackend at {self.address}>"

    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Execute one operation, atomically."""
        reply = self._send(self._server.execute, operation, deadline)
        try:
            return operation.parse(reply)
        except (*MALFORMED, UnexpectedReply) as error:
            raise invalid_reply(error, self.address)

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute operations in order, in one round trip; the error of a failed one is its result."""
        if not operations:
            return []
        replies = self._send(self._server.execute_many, operations, deadline)
        return [
            result_of(operation, reply, self.address)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    @contextmanager
    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = (), *, deletions: bool = False
    ) -> Iterator[RedisWatcher | SharedRedisWatcher]:
        """Watch keys, and all keys that match glob patterns, from now on."""
        watcher: RedisWatcher | SharedRedisWatcher
        # After the end of the main thread, Python 3.12.1 starts no other.
        if patterns or deletions or not threading.main_thread().is_alive():
            watcher = RedisWatcher(
                self._server, self.execute, self._outages, keys, patterns, deletions
            )
        else:
            watcher = SharedRedisWatcher(self._shared, keys)
        self._watchers.add(watcher)
        if self._closing.is_set():
            watcher.close()
        try:
            yield watcher
        except GeneratorExit:
            # Not left but dropped, perhaps by the garbage collector while a lock is held.
            watcher.abandon()
            raise
        finally:
            self._watchers.discard(watcher)
            watcher.release()

    def take_snapshot(self, consume: Consume[Result], wants: Wants = want_all) -> Result:
        """Read all keys as they are at one moment; see :meth:`Backend.take_snapshot`."""
        # Imported here because few programs need it.
        from telstate_backends.redis._replication import open_snapshot

        def attempt(_: object, __: object) -> Future[Result]:
            snapshot = open_snapshot(self._server, wants, self.execute_many)
            self._snapshots.add(snapshot)
            try:
                if self._closing.is_set():
                    snapshot.cut()
                return snapshot.feed(consume)
            finally:
                self._snapshots.discard(snapshot)

        return self._send(attempt, (), None).result()

    def close(self) -> None:
        """Close all connections and wake all watchers.

        If other threads are just using the server, the last of them closes the connections: to close
        them earlier would give one thread's replies to another.
        """
        self._closing.set()
        for watcher in tuple(self._watchers):
            watcher.close()
        self._shared.close()
        for snapshot in tuple(self._snapshots):
            snapshot.cut()
        if not self._busy:
            self._server.close()

    def _forget_parent(self) -> None:
        # Exchanges of the parent's threads never end here, and its threads may hold locks.
        self._busy = set()
        closing, self._closing = self._closing, threading.Event()
        if closing.is_set():
            self._closing.set()
        self._server.forget_parent()
        self._shared.forget_parent()
        for watcher in tuple(self._watchers):
            watcher.forget_parent()

    def _send(
        self, send: Callable[[Any, Deadline | None], Result], work: Any, deadline: Deadline | None
    ) -> Result:
        """Send an operation or a sequence of them, and repeat that after failures if it is safe to repeat."""
        attempts = None
        while True:
            if self._closing.is_set():
                raise closed(self.address)
            exchange = object()
            try:
                self._busy.add(exchange)
                result = send(work, deadline)
                if self._outages.waiting:
                    self._outages.end(OPERATIONS)
                return result
            except Exception as error:
                operations = [work] if isinstance(work, Operation) else work
                failure, is_repeatable = judge(
                    error, self.address, operations, self._closing.is_set()
                )
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
                        self._server.find_master(deadline)
            finally:
                self._busy.discard(exchange)
                if self._closing.is_set() and not self._busy:
                    self._server.close()
            self._closing.wait(delay)


def _forget_parent() -> None:
    """Leave, in the child of a fork, everything to the parent whose threads may use it."""
    for backend in tuple(_backends):
        backend._forget_parent()


# Cheaper than to ask at each exchange which process this is.
os.register_at_fork(after_in_child=_forget_parent)
