"""Where commands go: to one server, or to the nodes of a cluster.

Rules: a link sends and receives, and knows nothing of errors' meaning or of trying again; what it
raises, and what stands in place of a failed reply of a batch, is redis-py's. The pieces of a batch
for several nodes are sent to all of them at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError
from redis.retry import Retry

from telstate_backends.commands import Command
from telstate_backends.operations.base import Operation
from telstate_backends.redis import clients, slots, wire
from telstate_backends.redis.failures import FAILURES, LOST
from telstate_backends.redis.held import HeldConnection


class Link(Protocol):
    """A way to a server or to a cluster."""

    address: str

    def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""

    def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""

    def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""

    def ping(self) -> None:
        """See whether there is anybody."""

    def close(self) -> None:
        """Let go of all connections."""


class ServerLink:
    """A way to one server, by address or by what Sentinel says."""

    def __init__(self, client: redis.Redis) -> None:
        clients.check(client.connection_pool.connection_kwargs)
        client.set_retry(Retry(NoBackoff(), 0))
        self.address = clients.address_of(client.connection_pool)
        # redis-py leaves some of its methods without annotations.
        self._client: Any = client
        self._held = HeldConnection(client.connection_pool)

    def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        command = operation.command()
        if command.paged or not self._held.take():
            return self.ask_one(command)
        try:
            return self._held.ask(command)
        finally:
            self._held.release()

    def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        return self.ask_all([operation.command() for operation in operations])

    def ask_one(self, command: Command) -> object:
        """Give the reply to one command."""
        if command.paged:
            return self._ask_pages(command)
        send: Callable[..., object] = self._client.execute_command
        try:
            return send(*wire.brief(command))
        except NoScriptError:
            return send(*wire.in_full(command))

    def ask_all(self, commands: Sequence[Command]) -> list[object]:
        """Give the replies to commands; a failed one gives redis-py's error."""
        replies: list[object] = []
        for paged, run in wire.runs(commands):
            if paged:
                replies += [self.ask_one(commands[index]) for index in run]
                continue
            with self._client.pipeline(transaction=False) as pipeline:
                part = [commands[index] for index in run]
                for pieces in wire.batch(part):
                    pipeline.execute_command(*pieces)
                replies += wire.collect(part, pipeline.execute(raise_on_error=False))
        return replies

    def _ask_pages(self, command: Command) -> list[object]:
        cursor, pages = 0, []
        while True:
            cursor, found = wire.split_page(self.ask_one(wire.page(command, cursor)))
            pages.append(found)
            if cursor == 0:
                return pages

    def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""
        return self._client.pubsub()

    def ping(self) -> None:
        """See whether there is anybody."""
        self._client.ping()

    def close(self) -> None:
        """Let go of all connections."""
        self._held.close()
        self._client.close()
        pool = self._client.connection_pool
        pool.disconnect()
        for sentinel in clients.sentinels_of(pool):
            sentinel.close()


class ClusterLink:
    """A way to the nodes of a Redis Cluster; redis-py knows which there are."""

    def __init__(self, cluster: RedisCluster) -> None:
        # redis-py leaves some of its methods without annotations.
        self._cluster = cast(Any, cluster)
        clients.check(self._cluster.get_connection_kwargs())
        self.address = clients.cluster_address(self._cluster.get_default_node())
        self._threads = ThreadPoolExecutor(thread_name_prefix="telstate cluster")

    def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        (reply,) = self.ask_many([operation])
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        nodes = {node.name: node for node in self._cluster.get_primaries()}
        plan = slots.plan(operations, self._node_of, list(nodes))
        try:
            if len(plan.work) == 1:
                replies = {name: self._ask_node(nodes[name], plan.work[name]) for name in plan.work}
            else:
                running = {
                    name: self._threads.submit(self._ask_node, nodes[name], commands)
                    for name, commands in plan.work.items()
                }
                wait(running.values())
                replies = {name: future.result() for name, future in running.items()}
        except LOST:
            self._look_again()
            raise
        return plan.collect(replies)

    def _ask_node(self, node: ClusterNode, commands: Sequence[Command]) -> list[object]:
        server = ServerLink(self._cluster.get_redis_connection(node))
        replies = server.ask_all(commands)
        for place, reply in enumerate(replies):
            if isinstance(reply, slots.REDIRECTIONS):
                replies[place] = self._follow(commands[place])
        return replies

    def _follow(self, command: Command) -> object:
        try:
            return self._cluster.execute_command(*wire.repeated(command))
        except FAILURES as error:
            return error

    def _node_of(self, key: bytes) -> str:
        name: str = self._cluster.get_node_from_key(key).name
        return name

    def _look_again(self) -> None:
        """Ask the nodes that are left who serves what now; if none answers, that is no news."""
        try:
            self._cluster.nodes_manager.initialize()
        except FAILURES:
            pass

    def pubsub(self) -> Any:
        """Make a redis-py pub/sub object on some node: all nodes pass on what is published."""
        node = random.choice(self._cluster.get_primaries())
        return self._cluster.get_redis_connection(node).pubsub()

    def ping(self) -> None:
        """See whether there is anybody."""
        self._cluster.get_redis_connection(self._cluster.get_default_node()).ping()

    def close(self) -> None:
        """Let go of all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._cluster.close()


def link_to(client: redis.Redis | RedisCluster) -> Link:
    """Give the way to what a client is for."""
    return ClusterLink(client) if isinstance(client, RedisCluster) else ServerLink(client)
