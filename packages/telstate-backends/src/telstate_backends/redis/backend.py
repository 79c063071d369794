"""The Redis backend for ordinary code.

Rules: one operation is one command or script and one round trip. What is safe to repeat is repeated
after a failure of the connection, within the bound of the retry policy. redis-py's errors become
ours here and nowhere else, with the address.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from redis.cluster import RedisCluster

from telstate_backends.abc import Backend
from telstate_backends.deadline import Deadline, limited, present_patience
from telstate_backends.errors import ConnectionError, TelstateError
from telstate_backends.operations.base import Operation, UnexpectedReply
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
from telstate_backends.redis._server import link_to
from telstate_backends.redis._watcher import RedisWatcher
from telstate_backends.redis.url import (
    connect,
    is_for_tls,
    is_unknown_option,
    place_of,
    target_of,
    unknown_option,
)
from telstate_backends.retry import OPERATIONS, OutageLog, RetryPolicy

Result = TypeVar("Result")


#: All backends of this process.
_backends: weakref.WeakSet[RedisBackend] = weakref.WeakSet()


class RedisBackend(Backend):
    """A Redis server, for ordinary code; its methods can be called from any thread.

    Parameters
    ----------
    client : redis.Redis or redis.RedisCluster
        A client that does not decode responses; from now on it belongs to the backend, which closes
        it. Until then its own retries are off, for whatever else is sent by it, too: `retry` says how
        long, and only what is safe to repeat is repeated. Whoever needs redis-py's retries elsewhere
        makes another client for that.
    retry : RetryPolicy, optional
        How long to repeat what is safe to repeat; by default for 10 seconds.

    Raises
    ------
    ConnectionError
        If the server cannot be reached now.
    ValueError
        If the client decodes responses.
    TypeError
        If it is no client, or one for asyncio.
    """

    #: Whether whole keys are best written as DUMP payloads, see :func:`load_rdb`.
    takes_payloads = True

    #: Where the server is, without any password.
    address: str = "an unknown address"

    def __init__(
        self, client: redis.Redis | RedisCluster, *, retry: RetryPolicy = RetryPolicy()
    ) -> None:
        unfit = clients.unfit(client, asynchronous=False)
        if unfit is not None:
            del client  # which may be a URL with a password
            raise TypeError(unfit)
        self._link = link_to(client)
        #: Whether updates may come late: nodes pass them on to each other.
        self.may_deliver_late = isinstance(client, RedisCluster)
        self._retry = retry
        self._closing = threading.Event()
        #: One for each exchange that is under way; without a lock, which a fork might find held.
        self._busy: set[object] = set()
        self._watchers: set[RedisWatcher] = set()
        _backends.add(self)
        self.address = self._link.address
        self._outages = OutageLog(self.address)
        try:
            self._link.ping()
        except BaseException as error:
            self._link.close()
            if isinstance(error, FAILURES):
                raise translate(error, self.address, tls_at_first=self._link.tls) from error
            if isinstance(error, NONSENSE) and not is_unknown_option(error):
                raise senseless(error, self.address)
            raise

    @classmethod
    @contextmanager
    def borrow(cls, client: redis.Redis) -> Iterator[RedisBackend]:
        """Use a client that somebody else owns; afterwards it has its own retries and connections again."""
        backend = cls(client)
        try:
            yield backend
        finally:
            backend._link.release()

    @classmethod
    def from_url(
        cls, url: str, db: int | None = None, *, retry: RetryPolicy = RetryPolicy()
    ) -> RedisBackend:
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
        """
        try:
            target = target_of(url, db)
        finally:
            del url  # it may hold a password, which no traceback should show
        try:
            return cls(connect(target), retry=retry)
        except FAILURES as error:
            place, tls = place_of(target), is_for_tls(target)
            raise translate(error, place, tls_at_first=tls) from error
        except NONSENSE as error:
            # redis-py asks the nodes of a cluster for their slots when it creates the client.
            if target.scheme.endswith("+cluster") and not is_unknown_option(error):
                raise senseless(error, place_of(target))
            if not isinstance(error, TypeError):
                raise
            unknown = unknown_option(error)
        raise unknown

    def __repr__(self) -> str:
        return f"<RedisBackend at {self.address}>"

    def execute(
        self, operation: Operation[Result], /, *, deadline: Deadline | None = None
    ) -> Result:
        """Do one operation, atomically."""
        if deadline is not None:
            with limited(deadline):
                return self.execute(operation)
        reply = self._persist(lambda: self._link.ask(operation), [operation])
        try:
            return operation.parse(reply)
        except (*NONSENSE, UnexpectedReply) as error:
            raise senseless(error, self.address)

    def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do operations in order, in one round trip; a failed one gives its error."""
        if deadline is not None:
            with limited(deadline):
                return self.execute_many(operations)
        if not operations:
            return []
        safe = wire.repeatable(operations)
        replies = self._persist(
            lambda: wire.served(self._link.ask_many(operations), safe), operations
        )
        return [
            wire.parse(operation, outcome(reply, self.address, operation), self.address)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    @contextmanager
    def watch(
        self,
        keys: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        deletions: bool = False,
    ) -> Iterator[RedisWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        watcher = RedisWatcher(self._link, self.execute, self._outages, keys, patterns, deletions)
        self._watchers.add(watcher)
        if self._closing.is_set():
            watcher.close()
        try:
            yield watcher
        except GeneratorExit:
            # Dropped, not left: perhaps by the garbage collector, in the midst of what holds a lock.
            watcher.abandon()
            raise
        finally:
            self._watchers.discard(watcher)
            watcher.release()

    def close(self) -> None:
        """Let go of connections and wake all watchers.

        If other threads are just asking the server, the last of them lets go of the connections: to close
        those in the midst of an exchange would give one thread's replies to another.
        """
        self._closing.set()
        for watcher in tuple(self._watchers):
            watcher.close()
        if not self._busy:
            self._link.close()

    def _persist(
        self, attempt: Callable[[], Result], operations: Sequence[Operation[Any]]
    ) -> Result:
        """Try, and if that is safe try again while the connection fails."""
        attempts = None
        while True:
            if self._closing.is_set():
                raise closed(self.address)
            self._busy.add(place := object())
            try:
                result = attempt()
                if self._outages.is_open:
                    self._outages.end(OPERATIONS)
                return result
            except FAILURES as error:
                if self._closing.is_set():
                    raise closed(self.address) from error
                failure = translate(error, self.address, of_operations(operations))
                attempts = attempts or self._retry.begin()
                delay = attempts.next_delay()
                patience = present_patience()
                if delay is not None and patience is not None:
                    delay = patience.shorten(delay)
                safe = wire.repeatable(operations) or is_unsent(error)
                if delay is None or not safe or not isinstance(failure, ConnectionError):
                    raise failure from error
                self._outages.begin(OPERATIONS, failure)
            except (*NONSENSE, RuntimeError) as error:
                # What comes of a connection, or a thread, that is closed while it is used.
                if self._closing.is_set() and not isinstance(error, TelstateError):
                    raise closed(self.address) from error
                if isinstance(error, (*NONSENSE, UnexpectedReply)):
                    raise senseless(error, self.address)
                raise
            finally:
                self._busy.discard(place)
                if self._closing.is_set() and not self._busy:
                    self._link.close()
            self._closing.wait(delay)


def _forget_parents_exchanges() -> None:
    """Forget, in the child of a fork, what threads of its parent were about, which will never end here."""
    for backend in tuple(_backends):
        backend._busy = set()


# Rather than to ask at each exchange which process this is, which takes as long as much else of it.
os.register_at_fork(after_in_child=_forget_parents_exchanges)
