"""Where commands go on asyncio: :mod:`telstate_backends.redis._server`, awaited.

Rules: the same, but all commands share one connection (:mod:`~telstate_backends.redis._connection_async`), unless
they are large or there is no real one (fakeredis): those go through redis-py and its pool. redis-py's
asyncio cluster client has no clients for single nodes, so a cluster link makes its own, one for each
node that it meets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from telstate_backends.operations.base import Command, Operation
from telstate_backends.redis import _client as clients
from telstate_backends.redis import _protocol as wire
from telstate_backends.redis import _slots as slots
from telstate_backends.redis._connection_async import LARGE, SharedLine, packed_batch
from telstate_backends.redis._errors import FAILURES, LOST, is_unsent, partly_sent


class AsyncLink(Protocol):
    """A way to a server or to a cluster."""

    address: str

    async def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""

    async def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""

    async def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""

    async def ping(self) -> None:
        """See whether there is anybody."""

    async def release(self) -> None:
        """Leave the client as it was."""

    async def close(self) -> None:
        """Let go of all connections."""


class AsyncServerLink:
    """A way to one server, by address or by what Sentinel says."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        clients.check(client.connection_pool.connection_kwargs)
        self._retries = clients.Retries(client, Retry(NoBackoff(), 0))
        self.address = clients.address_of(client.connection_pool)
        # redis-py leaves some of its methods without annotations.
        self.client: Any = client
        self._line = SharedLine(client.connection_pool)

    async def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        return await self.ask_one(operation.command())

    async def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        commands = [operation.command() for operation in operations]
        return await self.ask_all(commands, [False] * len(commands))

    async def ask_one(self, command: Command) -> object:
        """Give the reply to one command."""
        if command.paged:
            return await self._ask_pages(command)
        if command.together and (line := await self._line.get()) is not None:
            packed = packed_batch(line, wire.transaction(command.together))
            try:
                if packed is not None:
                    return wire.together(await self._line.ask_all(line, *packed))
            except NoPermissionError:
                pass  # some users may not do transactions, but scripts
        return await self._send(command)

    async def ask_all(self, commands: Sequence[Command], asking: Sequence[bool]) -> list[object]:
        """Give the replies to commands, in order; a failed one gives redis-py's error.

        Parameters
        ----------
        commands : sequence of Command
            What to send.
        asking : sequence of bool
            Which of them are for a node of a cluster that is only about to get their slot.
        """
        replies: list[object] = []
        for paged, run in wire.runs(commands):
            try:
                if paged:
                    for place in run:
                        replies.append(await self._try_pages(commands[place], asking[place]))
                else:
                    part = slice(run.start, run.stop)
                    replies += await self._ask_batch(commands[part], asking[part])
            except LOST as error:
                if replies and is_unsent(error):
                    raise partly_sent(error) from error
                raise
        return replies

    async def _send(self, command: Command) -> object:
        try:
            return await self._send_pieces(wire.brief(command))
        except NoScriptError:
            return await self._send_pieces(wire.in_full(command))

    async def _send_pieces(self, pieces: wire.Pieces) -> object:
        line = await self._line.get()
        if line is not None and len(packed := line.pack(pieces)) <= LARGE:
            return await self._line.ask(line, packed)
        reply: object = await self.client.execute_command(*pieces)
        return reply

    async def _ask_batch(self, commands: Sequence[Command], asking: Sequence[bool]) -> list[object]:
        batch = list(wire.batch(commands, asking))
        line = await self._line.get()
        if line is not None and (packed := packed_batch(line, batch)) is not None:
            replies = await self._line.ask_all(line, *packed)
        else:
            async with self.client.pipeline(transaction=False) as pipeline:
                for pieces in batch:
                    pipeline.execute_command(*pieces)
                replies = await pipeline.execute(raise_on_error=False)
        return list(wire.collect(commands, asking, replies))

    async def _ask_pages(self, command: Command, asking: bool = False) -> list[object]:
        cursor, pages = 0, []
        while True:
            page = wire.page(command, cursor)
            reply = (await self._ask_batch([page], [True]))[0] if asking else await self._send(page)
            cursor, found = wire.split_page(reply)
            pages.append(found)
            if cursor == 0:
                return pages

    async def _try_pages(self, command: Command, asking: bool) -> object:
        try:
            return await self._ask_pages(command, asking)
        except ResponseError as error:
            return error

    async def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""
        return self.client.pubsub()

    async def ping(self) -> None:
        """See whether there is anybody."""
        await self.client.ping()

    async def release(self) -> None:
        """Leave the client as it was."""
        await self._line.close()
        self._retries.restore()

    async def close(self) -> None:
        """Let go of all connections."""
        await self.release()
        await self.client.aclose()
        pool = self.client.connection_pool
        await pool.disconnect()
        for sentinel in clients.sentinels_of(pool):
            await sentinel.aclose()


class AsyncClusterLink:
    """A way to the nodes of a Redis Cluster; redis-py knows which there are."""

    def __init__(self, cluster: RedisCluster) -> None:
        clients.check(cluster.connection_kwargs)
        self.address = clients.cluster_address(next(iter(_startup_nodes(cluster))))
        # redis-py leaves some of its methods without annotations.
        self._cluster: Any = cluster
        self._servers: dict[str, AsyncServerLink] = {}
        self._closed = False

    async def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        (reply,) = await self.ask_many([operation])
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        await self._cluster.initialize()
        nodes = [node.name for node in self._cluster.get_primaries()]
        if any(operation.everywhere for operation in operations):
            nodes += await self._bare_masters(nodes[0])
        work = slots.Work(operations, nodes)
        while due := work.due(self._node_of):
            try:
                await _all_of(self._ask_node(*each) for each in due.items())
            except LOST as error:
                await self._look_again()
                if is_unsent(error):
                    raise partly_sent(error) from error
                raise
            if work.moved:
                await self._look_again()
            if work.waits:
                await asyncio.sleep(slots.PAUSE)
        return work.replies()

    async def _ask_node(self, name: str, pieces: Sequence[slots.Piece]) -> None:
        server = self._server(name)
        if len(pieces) == 1 and not pieces[0].asking:
            try:
                replies = [await server.ask_one(pieces[0].command)]
            except ResponseError as error:
                replies = [error]
        else:
            commands = [piece.command for piece in pieces]
            replies = await server.ask_all(commands, [piece.asking for piece in pieces])
        for piece, reply in zip(pieces, replies, strict=True):
            piece.take(reply, name)

    def _server(self, name: str) -> AsyncServerLink:
        server = self._servers.get(name)
        if server is None:
            node: ClusterNode | None = self._cluster.get_node(node_name=name)
            # One that some node has named, but not the slot table, is reached as the others are.
            like = node or self._cluster.get_primaries()[0]
            host, _, port = name.rpartition(":")
            place = {} if node else {"host": host, "port": int(port)}
            pool = redis.asyncio.ConnectionPool(
                connection_class=like.connection_class,
                max_connections=like.max_connections,
                **{**like.connection_kwargs, **place},
            )
            server = self._servers[name] = AsyncServerLink(
                redis.asyncio.Redis(connection_pool=pool)
            )
        return server

    def _node_of(self, key: bytes) -> str:
        # Keys are text to this method's annotation only.
        node: ClusterNode | None = self._cluster.get_node_from_key(key)
        if node is None:
            raise redis.exceptions.ClusterError("no node serves the slot of a key")
        return node.name

    async def _bare_masters(self, name: str) -> list[str]:
        try:
            return slots.bare_masters(
                await self._server(name).client.execute_command("CLUSTER NODES")
            )
        except LOST:
            await self._look_again()
            raise
        except ResponseError:
            return []  # who may not ask does without

    async def _look_again(self) -> None:
        """Ask the nodes that are left who serves what now; if none answers, that is no news."""
        if self._closed:
            return
        try:
            await self._cluster.nodes_manager.initialize()
        except FAILURES:
            pass

    async def pubsub(self) -> Any:
        """Make a redis-py pub/sub object on some node: all nodes pass on what is published."""
        await self._cluster.initialize()
        return await self._server(random.choice(self._cluster.get_primaries()).name).pubsub()

    async def ping(self) -> None:
        """See whether there is anybody."""
        await self._cluster.initialize()

    async def release(self) -> None:
        """Leave the clients of the nodes as they were."""
        for server in self._servers.values():
            await server.release()

    async def close(self) -> None:
        """Let go of all connections."""
        self._closed = True
        for server in tuple(self._servers.values()):
            await server.close()
        await self._cluster.aclose()
        # Which does nothing the second time, though somebody may have looked again since the first.
        await self._cluster.nodes_manager.aclose()


async def _all_of(things: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all to end, whatever becomes of some, so that nothing goes on behind our backs."""
    for failure in await asyncio.gather(*things, return_exceptions=True):
        if failure is not None:
            raise failure


def _startup_nodes(cluster: RedisCluster) -> list[ClusterNode]:
    return list(cluster.nodes_manager.startup_nodes.values())


def link_to(client: redis.asyncio.Redis | RedisCluster) -> AsyncLink:
    """Give the way to what a client is for."""
    return AsyncClusterLink(client) if isinstance(client, RedisCluster) else AsyncServerLink(client)
