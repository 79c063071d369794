"""One Redis server, synchronous and asyncio side by side; its address may be what Sentinels say.

Rules: a server sends and receives. It does not retry, and what it raises, or returns in place of the reply
to a command that failed, is redis-py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from telstate_backends.deadline import Deadline
from telstate_backends.operations.base import Operation
from telstate_backends.redis import _client
from telstate_backends.redis._connection import Connections
from telstate_backends.redis._connection_async import SharedConnection
from telstate_backends.redis._errors import check_batch
from telstate_backends.redis._exchanges import (
    Exchange,
    ReadAccess,
    Result,
    exchange_command,
    exchange_commands,
    exchange_otherwise,
    is_refusal,
)
from telstate_backends.redis._sentinel import AsyncMasterFollower, MasterFollower


class Server:
    """A server for synchronous code; the retries of its client are off until it is released."""

    def __init__(self, client: redis.Redis) -> None:
        _client.check_responses(client.connection_pool.connection_kwargs)
        self._retries = _client.Retries(client, Retry(NoBackoff(), 0))
        self.address = _client.address_of(client.connection_pool)
        self.uses_tls = _client.uses_tls(client.connection_pool)
        self._follower: MasterFollower | None = None
        if _client.finds_master(client.connection_pool):
            self._follower = MasterFollower(client.connection_pool)
        # redis-py leaves some of its methods without annotations.
        self.client: Any = client
        self.access = ReadAccess()
        self._connection = Connections(client.connection_pool)

    def execute(self, operation: Operation[Any], deadline: Deadline | None = None) -> object:
        """Return the reply to one operation."""
        command = operation.command()
        access = self.access
        if deadline is None and not command.is_long and not command.pages and access.by_script:
            # The usual case is an exchange without a generator, which would cost a tenth of the time.
            way = access.way
            try:
                return self._connection.request(command.args(access.read_only))
            except NoScriptError:
                return self._connection.request(command.args_with_source(access.read_only))
            except ResponseError as error:
                if not command.is_read_script or not is_refusal(error):
                    raise
                return self.run(exchange_otherwise(command, access, way, error), deadline)
        return self.run(exchange_command(command, access), deadline)

    def execute_many(
        self, operations: Sequence[Operation[Any]], deadline: Deadline | None = None
    ) -> list[object]:
        """Return the replies to operations, in order, redis-py's error for one that failed."""
        commands = [operation.command() for operation in operations]
        exchange = exchange_commands(commands, [False] * len(commands), self.access)
        return check_batch(operations, self.run(exchange, deadline))

    def run(self, exchange: Exchange[Result], deadline: Deadline | None) -> Result:
        """Drive an exchange to its end and return its result."""
        try:
            batch = next(exchange)
            while True:
                try:
                    replies = self._connection.request_many(batch, deadline)
                except Exception as error:
                    batch = exchange.throw(error)
                else:
                    batch = exchange.send(replies)
        except StopIteration as end:
            result: Result = end.value
            return result

    def pubsub(self, deadline: Deadline | None = None) -> tuple[Any, None]:
        """Return a new redis-py pub/sub object, and no check: there is only one server."""
        return self._connection.make_pubsub(self.client, deadline), None

    def ping(self) -> None:
        """Raise if the server does not answer."""
        self._connection.request((b"PING",))

    def find_master(self, deadline: Deadline | None) -> None:
        """Ask the Sentinels again which server is the master, if there are any."""
        if self._follower is not None:
            self._follower.ask(deadline)

    def forget_parent(self) -> None:
        """Leave, in the child of a fork, the connections and the locks of the parent."""
        self._connection.forget_parent()

    def release(self) -> None:
        """Leave the client as it was."""
        self._connection.close()
        if self._follower is not None:
            self._follower.release()
        self._retries.restore()

    def close(self) -> None:
        """Close all connections."""
        self.release()
        self.client.close()
        pool = self.client.connection_pool
        pool.disconnect()
        for sentinel in _client.sentinels_of(pool):
            sentinel.close()


class AsyncServer:
    """A server for asyncio: :class:`Server`, awaited."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        _client.check_responses(client.connection_pool.connection_kwargs)
        self._retries = _client.Retries(client, redis.asyncio.retry.Retry(NoBackoff(), 0))
        self.address = _client.address_of(client.connection_pool)
        self._follower: AsyncMasterFollower | None = None
        if _client.finds_master(client.connection_pool):
            self._follower = AsyncMasterFollower(client.connection_pool)
        # redis-py leaves some of its methods without annotations.
        self.client: Any = client
        self.access = ReadAccess()
        self._connection = SharedConnection(client.connection_pool)

    async def execute(self, operation: Operation[Any]) -> object:
        """Return the reply to one operation."""
        command = operation.command()
        access = self.access
        if not command.is_long and not command.pages and access.by_script:
            way = access.way
            (reply,) = await self._connection.request_many((command.args(access.read_only),))
            if isinstance(reply, NoScriptError):
                source = command.args_with_source(access.read_only)
                (reply,) = await self._connection.request_many((source,))
            if not isinstance(reply, Exception):
                return reply
            if not command.is_read_script or not is_refusal(reply):
                raise reply
            return await self.run(exchange_otherwise(command, access, way, reply))
        return await self.run(exchange_command(command, access))

    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Return the replies to operations, in order, redis-py's error for one that failed."""
        commands = [operation.command() for operation in operations]
        exchange = exchange_commands(commands, [False] * len(commands), self.access)
        return check_batch(operations, await self.run(exchange))

    async def run(self, exchange: Exchange[Result]) -> Result:
        """Drive an exchange to its end and return its result."""
        try:
            batch = next(exchange)
            while True:
                try:
                    replies = await self._connection.request_many(batch)
                except Exception as error:
                    batch = exchange.throw(error)
                else:
                    batch = exchange.send(replies)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def pubsub(self) -> tuple[Any, None]:
        """Return a new redis-py pub/sub object, and no check: there is only one server."""
        return self.client.pubsub(), None

    async def ping(self) -> None:
        """Raise if the server does not answer."""
        (reply,) = await self._connection.request_many(((b"PING",),))
        if isinstance(reply, Exception):
            raise reply

    async def find_master(self) -> None:
        """Ask the Sentinels again which server is the master, if there are any."""
        if self._follower is not None:
            await self._follower.ask()

    async def release(self) -> None:
        """Leave the client as it was."""
        await self._connection.close()
        if self._follower is not None:
            await self._follower.wait_released()
        self._retries.restore()

    async def close(self) -> None:
        """Close all connections."""
        await self.release()
        await self.client.aclose()
        pool = self.client.connection_pool
        await pool.disconnect()
        for sentinel in _client.sentinels_of(pool):
            await sentinel.aclose()
