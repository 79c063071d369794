"""Where commands go: to one server, or to the nodes of a cluster.

Rules: a link sends and receives, and knows nothing of errors' meaning or of trying again; what it
raises, and what stands in place of a failed reply of a batch, is redis-py's. The pieces of a batch
for several nodes are sent to all of them at once.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, Protocol, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from telstate_backends.deadline import present_patience
from telstate_backends.operations.base import Command, Operation
from telstate_backends.redis import _client as clients
from telstate_backends.redis import _protocol as wire
from telstate_backends.redis import _slots as slots
from telstate_backends.redis._connection import HeldConnection, ask_all_on, ask_on
from telstate_backends.redis._errors import FAILURES, LOST, is_unsent, partly_sent


class Link(Protocol):
    """A way to a server or to a cluster."""

    address: str
    tls: bool  #: whether it is to speak TLS

    def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""

    def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""

    def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""

    def ping(self) -> None:
        """See whether there is anybody."""

    def release(self) -> None:
        """Leave the client as it was."""

    def close(self) -> None:
        """Let go of all connections."""


class ServerLink:
    """A way to one server, by address or by what Sentinel says."""

    def __init__(self, client: redis.Redis) -> None:
        clients.check(client.connection_pool.connection_kwargs)
        self._retries = clients.Retries(client, Retry(NoBackoff(), 0))
        self.address = clients.address_of(client.connection_pool)
        self.tls = clients.speaks_tls(client.connection_pool)
        # redis-py leaves some of its methods without annotations.
        self.client: Any = client
        self._held = HeldConnection(client.connection_pool)

    def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        return self.ask_one(operation.command())

    def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        commands = [operation.command() for operation in operations]
        return self.ask_all(commands, [False] * len(commands))

    def ask_one(self, command: Command) -> object:
        """Give the reply to one command."""
        if command.paged:
            return self._ask_pages(command)
        if not self._held.take():
            return self._send(command)
        try:
            return ask_on(self._held.ready(), command)
        finally:
            self._held.release()

    def ask_all(self, commands: Sequence[Command], asking: Sequence[bool]) -> list[object]:
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
                        replies.append(self._try_pages(commands[place], asking[place]))
                else:
                    part = slice(run.start, run.stop)
                    replies += self._ask_batch(commands[part], asking[part])
            except LOST as error:
                if replies and is_unsent(error):
                    raise partly_sent(error) from error
                raise
        return replies

    def _send(self, command: Command) -> object:
        if present_patience() is not None:
            with self._held.or_another() as connection:
                return ask_on(connection, command)
        send: Callable[..., object] = self.client.execute_command
        try:
            return send(*wire.brief(command))
        except NoScriptError:
            return send(*wire.in_full(command))

    def _ask_batch(self, commands: Sequence[Command], asking: Sequence[bool]) -> list[object]:
        batch = wire.batch(commands, asking)
        if present_patience() is not None:
            with self._held.or_another() as connection:
                replies = ask_all_on(connection, list(batch))
        else:
            with self.client.pipeline(transaction=False) as pipeline:
                for pieces in batch:
                    pipeline.execute_command(*pieces)
                replies = pipeline.execute(raise_on_error=False)
        return list(wire.collect(commands, asking, replies))

    def _ask_pages(self, command: Command, asking: bool = False) -> list[object]:
        cursor, pages = 0, []
        while True:
            page = wire.page(command, cursor)
            reply = self._ask_batch([page], [True])[0] if asking else self._send(page)
            cursor, found = wire.split_page(reply)
            pages.append(found)
            if cursor == 0:
                return pages

    def _try_pages(self, command: Command, asking: bool) -> object:
        try:
            return self._ask_pages(command, asking)
        except ResponseError as error:
            return error

    def pubsub(self) -> Any:
        """Make a redis-py pub/sub object."""
        return self.client.pubsub()

    def ping(self) -> None:
        """See whether there is anybody."""
        self.client.ping()

    def release(self) -> None:
        """Leave the client as it was."""
        self._held.close()
        self._retries.restore()

    def close(self) -> None:
        """Let go of all connections."""
        self.release()
        self.client.close()
        pool = self.client.connection_pool
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
        self.tls = bool(self._cluster.get_connection_kwargs().get("ssl"))
        self._servers: dict[str, ServerLink] = {}
        #: Nodes that some node has named, but not the slot table, by ``host:port``.
        self._strangers: dict[str, ClusterNode] = {}
        self._threads = _make_threads()
        #: Which process they belong to.
        self._process = os.getpid()
        self._closed = False

    def ask(self, operation: Operation[Any]) -> object:
        """Give the reply to one operation."""
        (reply,) = self.ask_many([operation])
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def ask_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Give the replies to operations, in order; a failed one gives redis-py's error."""
        nodes = [node.name for node in self._cluster.get_primaries()]
        if any(operation.everywhere for operation in operations):
            nodes += self._bare_masters(nodes[0])
        work = slots.Work(operations, nodes)
        while due := work.due(self._node_of):
            try:
                self._ask_nodes(due)
            except LOST as error:
                self._look_again()
                if is_unsent(error):
                    raise partly_sent(error) from error
                raise
            if work.moved:
                self._look_again()
            if work.waits:
                time.sleep(slots.PAUSE)
        return work.replies()

    def _ask_nodes(self, due: Mapping[str, Sequence[slots.Piece]]) -> None:
        if len(due) == 1:
            ((node, pieces),) = due.items()
            self._ask_node(node, pieces)
        else:
            running: list[Future[None]] = []
            threads = self._own_threads()
            try:
                for node, pieces in due.items():
                    # Each has a copy of the context, in which is how long the asker is willing to wait.
                    context = copy_context()
                    running.append(threads.submit(context.run, self._ask_node, node, pieces))
            finally:
                wait(running)  # nothing goes on behind our backs
            for done in running:
                done.result()

    def _own_threads(self) -> ThreadPoolExecutor:
        if self._process != os.getpid():
            # The child of a fork has none of the parent's, though their executor believes that they idle.
            threads = self._threads = _make_threads()
            self._process = os.getpid()
            return threads
        return self._threads

    def _ask_node(self, name: str, pieces: Sequence[slots.Piece]) -> None:
        server = self._server(name)
        if len(pieces) == 1 and not pieces[0].asking:
            try:
                replies = [server.ask_one(pieces[0].command)]
            except ResponseError as error:
                replies = [error]
        else:
            commands = [piece.command for piece in pieces]
            replies = server.ask_all(commands, [piece.asking for piece in pieces])
        for piece, reply in zip(pieces, replies, strict=True):
            piece.take(reply, name)

    def _server(self, name: str) -> ServerLink:
        node: ClusterNode | None = self._cluster.get_node(node_name=name)
        if node is None:
            host, _, port = name.rpartition(":")
            # redis-py leaves some of its methods without annotations.
            make: Callable[..., ClusterNode] = ClusterNode
            stranger = make(host, int(port))
            node = self._strangers.setdefault(name, stranger)
        client = self._cluster.get_redis_connection(node)
        server = self._servers.get(name)
        if server is None or server.client is not client:
            server = self._servers[name] = ServerLink(client)
        return server

    def _node_of(self, key: bytes) -> str:
        name: str = self._cluster.get_node_from_key(key).name
        return name

    def _bare_masters(self, name: str) -> list[str]:
        try:
            return slots.bare_masters(self._server(name).client.execute_command("CLUSTER NODES"))
        except LOST:
            self._look_again()
            raise
        except ResponseError:
            return []  # who may not ask does without

    def _look_again(self) -> None:
        """Ask the nodes that are left who serves what now; if none answers, that is no news."""
        patience = present_patience()
        if self._closed or (patience is not None and patience.left() == 0):
            return  # who asks next finds out the same
        try:
            self._cluster.nodes_manager.initialize()
        except FAILURES:
            pass

    def pubsub(self) -> Any:
        """Make a redis-py pub/sub object on some node: all nodes pass on what is published."""
        return self._server(random.choice(self._cluster.get_primaries()).name).pubsub()

    def ping(self) -> None:
        """See whether there is anybody."""
        self._cluster.get_redis_connection(self._cluster.get_default_node()).ping()

    def release(self) -> None:
        """Leave the clients of the nodes as they were."""
        for server in tuple(self._servers.values()):
            server.release()

    def close(self) -> None:
        """Let go of all connections."""
        self._closed = True
        if self._process == os.getpid():
            # What has been begun ends, though in vain: nobody would be told of a future that is cancelled.
            self._threads.shutdown(wait=False)
        for server in tuple(self._servers.values()):
            server.close()
        self._cluster.close()


def _make_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="telstate cluster")


def link_to(client: redis.Redis | RedisCluster) -> Link:
    """Give the way to what a client is for."""
    return ClusterLink(client) if isinstance(client, RedisCluster) else ServerLink(client)
