"""Where commands go on asyncio: :mod:`telstate_backends.redis.links`, awaited.

Rules: the same. redis-py's asyncio cluster client has no clients for single nodes, so a cluster link
makes its own, one for each node that it meets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Protocol

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from telstate_backends.commands import Command
from telstate_backends.operations.base import Operation
from telstate_backends.redis import clients, slots, wire
from telstate_backends.redis.failures import FAILURES, LOST


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

    async def close(self) -> None:
        """Let go of all connections."""


class AsyncServerLink:
    """A way to one server, by address or by what Sentinel says."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        clients.check(client.connection_pool.connection_kwargs)
        client.set_retry(Retry(NoBackoff(), 0))
        self.address = clients.address_of(client.connection_pool)
        # redis-py leaves some of its methods without annotations.
        self._client: Any = client

    async def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        return await self.ask_one(operation.command())

    async def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        return await self.ask_all([operation.command() for operation in operations])

    async def ask_one(self, command: Command) -> object:
        """Give the reply to one command."""
        if command.paged:
            return await self._ask_pages(command)
        send = self._client.execute_command
        try:
            return await send(*wire.brief(command))
        except NoScriptError:
            return await send(*wire.in_full(command))

    async def ask_all(self, commands: Sequence[Command]) -> list[object]:
        """Give the replies to commands; a failed one gives redis-py's error."""
        replies: list[object] = []
        for paged, run in wire.runs(commands):
            if paged:
                replies += [await self.ask_one(commands[index]) for index in run]
                continue
            async with self._client.pipeline(transaction=False) as pipeline:
                part = [commands[index] for index in run]
                for pieces in wire.batch(part):
                    pipeline.execute_command(*pieces)
                replies += wire.collect(part, await pipeline.execute(raise_on_error=False))
        return replies

    async def _ask_pages(self, command: Command) -> list[object]:
        cursor, pages = 0, []
        while True:
            cursor, found = wire.split_page(await self.ask_one(wire.page(command, cursor)))
            pages.append(found)
            if cursor == 0:
                return pages

    async def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""
        return self._client.pubsub()

    async def ping(self) -> None:
        """See whether there is anybody."""
        await self._client.ping()

    async def close(self) -> None:
        """Let go of all connections."""
        await clients.close(self._client)
        pool = self._client.connection_pool
        await pool.disconnect()
        for sentinel in clients.sentinels_of(pool):
            await clients.close(sentinel)


class AsyncClusterLink:
    """A way to the nodes of a Redis Cluster; redis-py knows which there are."""

    def __init__(self, cluster: RedisCluster) -> None:
        clients.check(cluster.connection_kwargs)
        self.address = clients.cluster_address(next(iter(_startup_nodes(cluster))))
        # redis-py leaves some of its methods without annotations.
        self._cluster: Any = cluster
        self._servers: dict[str, AsyncServerLink] = {}

    async def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        (reply,) = await self.ask_many([operation])
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        await self._cluster.initialize()
        nodes = {node.name: node for node in self._cluster.get_primaries()}
        plan = slots.plan(operations, self._node_of, list(nodes))
        work = (self._ask_node(nodes[name], commands) for name, commands in plan.work.items())
        try:
            replies = await asyncio.gather(*work)
        except LOST:
            await self._look_again()
            raise
        return plan.collect(dict(zip(plan.work, replies, strict=True)))

    async def _ask_node(self, node: ClusterNode, commands: Sequence[Command]) -> list[object]:
        replies = await self._server(node).ask_all(commands)
        for place, reply in enumerate(replies):
            if isinstance(reply, slots.REDIRECTIONS):
                replies[place] = await self._follow(commands[place])
        return replies

    async def _follow(self, command: Command) -> object:
        try:
            return await self._cluster.execute_command(*wire.repeated(command))
        except FAILURES as error:
            return error

    def _server(self, node: ClusterNode) -> AsyncServerLink:
        server = self._servers.get(node.name)
        if server is None:
            pool = redis.asyncio.ConnectionPool(
                connection_class=node.connection_class, **node.connection_kwargs
            )
            server = AsyncServerLink(redis.asyncio.Redis(connection_pool=pool))
            self._servers[node.name] = server
        return server

    def _node_of(self, key: bytes) -> str:
        # Keys are text to this method's annotation only.
        node: ClusterNode | None = self._cluster.get_node_from_key(key)
        if node is None:
            raise redis.exceptions.ClusterError("no node serves the slot of a key")
        return node.name

    async def _look_again(self) -> None:
        """Ask the nodes that are left who serves what now; if none answers, that is no news."""
        try:
            await self._cluster.nodes_manager.initialize()
        except FAILURES:
            pass

    async def pubsub(self) -> Any:
        """Make a redis-py pub/sub object on some node: all nodes pass on what is published."""
        await self._cluster.initialize()
        return await self._server(random.choice(self._cluster.get_primaries())).pubsub()

    async def ping(self) -> None:
        """See whether there is anybody."""
        await self._cluster.initialize()

    async def close(self) -> None:
        """Let go of all connections."""
        for server in self._servers.values():
            await server.close()
        await clients.close(self._cluster)


def _startup_nodes(cluster: RedisCluster) -> list[ClusterNode]:
    return list(cluster.nodes_manager.startup_nodes.values())


def link_to(client: redis.asyncio.Redis | RedisCluster) -> AsyncLink:
    """Give the way to what a client is for."""
    return AsyncClusterLink(client) if isinstance(client, RedisCluster) else AsyncServerLink(client)
