"""The Redis backend for ordinary code.

Rules: one operation is one command or script and one round trip. What is safe to repeat is repeated
after a failure of the connection, within the bound of the retry policy. redis-py's errors become
ours here and nowhere else, with the address.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from telstate_backends.commands import Command
from telstate_backends.errors import ConnectionError
from telstate_backends.operations.base import Operation
from telstate_backends.operations.snapshots import Dump
from telstate_backends.redis import clients, wire
from telstate_backends.redis.failures import FAILURES, outcome, translate
from telstate_backends.redis.watcher import RedisWatcher
from telstate_backends.retrying import RetryPolicy

Result = TypeVar("Result")


class RedisBackend:
    """A Redis server, for ordinary code; its methods can be called from any thread.

    Parameters
    ----------
    client : redis.Redis
        A client that does not decode responses; from now on it belongs to the backend, which closes
        it and switches off its own retries.
    retry : RetryPolicy, optional
        How long to repeat what is safe to repeat; by default for 10 seconds.

    Raises
    ------
    ConnectionError
        If the server cannot be reached now.
    ValueError
        If the client decodes responses.
    """

    def __init__(self, client: redis.Redis, *, retry: RetryPolicy = RetryPolicy()) -> None:
        arguments = client.connection_pool.connection_kwargs
        clients.check(arguments)
        self._client = client
        self._retry = retry
        self._closing = threading.Event()
        self._watchers: set[RedisWatcher] = set()
        self.address = clients.address_of(arguments)
        client.set_retry(Retry(NoBackoff(), 0))
        try:
            client.ping()
        except FAILURES as error:
            client.close()
            raise translate(error, self.address) from error

    @classmethod
    def from_url(
        cls, url: str, db: int | None = None, *, retry: RetryPolicy = RetryPolicy()
    ) -> RedisBackend:
        """Connect to a server.

        Parameters
        ----------
        url : str
            ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://path``;
            options of redis-py may follow (``?socket_timeout=2``).
        db : int, optional
            The database, if the URL does not name one.
        retry : RetryPolicy, optional
            How long to repeat what is safe to repeat; by default for 10 seconds.
        """
        return cls(redis.Redis.from_url(url, **clients.options(url, db)), retry=retry)

    def __repr__(self) -> str:
        return f"<RedisBackend at {self.address}>"

    def execute(self, operation: Operation[Result], /) -> Result:
        """Do one operation, atomically."""
        reply = self._persist(lambda: self._ask(operation.command()), operation.idempotent)
        return operation.parse(reply)

    def execute_many(self, operations: Sequence[Operation[Any]], /) -> list[Any]:
        """Do operations in order, in one round trip; a failed one gives its error."""
        commands = [operation.command() for operation in operations]
        safe = wire.repeatable(operations)
        replies = self._persist(lambda: self._ask_many(commands), safe) if commands else []
        return [
            wire.parse(operation, outcome(reply, self.address))
            for operation, reply in zip(operations, replies, strict=True)
        ]

    def dump(self, key: bytes) -> bytes | None:
        """Give all that a key holds as a DUMP payload, `None` if it does not exist."""
        return self.execute(Dump(key))

    @contextmanager
    def watch(
        self, keys: Sequence[bytes] = (), patterns: Sequence[bytes] = ()
    ) -> Iterator[RedisWatcher]:
        """Be told about updates of keys, and of all keys that match globs, from now on."""
        watcher = RedisWatcher(self._client, self.execute, self.address, keys, patterns)
        self._watchers.add(watcher)
        if self._closing.is_set():
            watcher.close()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.release()

    def close(self) -> None:
        """Let go of connections and wake all watchers."""
        self._closing.set()
        for watcher in tuple(self._watchers):
            watcher.close()
        self._client.close()

    def __enter__(self) -> RedisBackend:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def _persist(self, attempt: Callable[[], Result], safe: bool) -> Result:
        """Try, and if that is safe try again while the connection fails."""
        attempts = None
        while True:
            if self._closing.is_set():
                raise ConnectionError(f"the backend for Redis at {self.address} is closed")
            try:
                return attempt()
            except FAILURES as error:
                failure = translate(error, self.address)
                attempts = attempts or self._retry.begin()
                delay = attempts.next_delay()
                if delay is None or not safe or not isinstance(failure, ConnectionError):
                    raise failure from error
            self._closing.wait(delay)

    def _ask(self, command: Command) -> object:
        if command.paged:
            return self._ask_pages(command)
        # redis-py leaves this method without annotations.
        send: Callable[..., object] = self._client.execute_command
        try:
            return send(*wire.brief(command))
        except NoScriptError:
            return send(*wire.in_full(command))

    def _ask_pages(self, command: Command) -> list[object]:
        cursor, pages = 0, []
        while True:
            cursor, found = wire.split_page(self._ask(wire.page(command, cursor)))
            pages.append(found)
            if cursor == 0:
                return pages

    def _ask_many(self, commands: Sequence[Command]) -> list[object]:
        replies: list[object] = []
        for paged, run in wire.runs(commands):
            if paged:
                replies += [self._ask(commands[index]) for index in run]
                continue
            pipeline: Any
            with self._client.pipeline(transaction=False) as pipeline:
                for pieces in wire.batch(commands[index] for index in run):
                    pipeline.execute_command(*pieces)
                replies += pipeline.execute(raise_on_error=False)
        return replies
