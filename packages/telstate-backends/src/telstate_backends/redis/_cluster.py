"""A Redis Cluster, synchronous and asyncio side by side: operations sent to the nodes that serve their keys.

Rules: which node serves which key, and what waits for what, is decided in :mod:`~telstate_backends.redis._slots`.
The pieces of a round for several nodes are sent to all of them at once, and all have ended before the next
round or an error. redis-py knows which nodes there are.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeAlias, cast

import redis
import redis.asyncio
import redis.asyncio.cluster
from redis.cluster import RedisCluster
from redis.exceptions import ClusterError

from telstate_backends.deadline import Deadline
from telstate_backends.operations.base import Operation
from telstate_backends.redis import _client, _slots
from telstate_backends.redis._errors import (
    FAILURES,
    LOST,
    check_batch,
    is_temporary,
    partly_sent,
)
from telstate_backends.redis._exchanges import (
    exchange_nodes,
    exchange_pieces,
    exchange_view,
)
from telstate_backends.redis._server import AsyncServer, Server


class Cluster:
    """A cluster for synchronous code."""

    def __init__(self, cluster: RedisCluster) -> None:
        # redis-py leaves some of its methods without annotations.
        self._cluster = cast(Any, cluster)
        _client.check_responses(self._cluster.get_connection_kwargs())
        self.address = _client.cluster_address(self._cluster.get_default_node())
        self.uses_tls = _client.cluster_uses_tls(self._cluster)
        _client.compact_slots(self._cluster)
        self._servers: dict[str, Server] = {}
        #: The masters at the last listing; some may be missing from the slot table.
        self._masters: set[str] = set()
        #: Nodes that some node has named, but that are not in the slot table, by ``host:port``.
        self._unlisted: dict[str, Any] = {}
        self._threads = _make_threads()
        #: The last look at all masters for those that watch, and when it began.
        self._look: Future[_slots.Masters] | None = None
        self._looked = 0.0
        #: Held by the thread that begins one. Popping from a list is atomic; a fork might find a lock held.
        self._turns = [True]
        self._closed = False

    def execute(self, operation: Operation[Any], deadline: Deadline | None = None) -> object:
        """Return the reply to one operation."""
        (reply,) = self._execute([operation], deadline)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def execute_many(
        self, operations: Sequence[Operation[Any]], deadline: Deadline | None = None
    ) -> list[object]:
        """Return the replies to operations, in order, redis-py's error for one that failed."""
        return check_batch(operations, self._execute(operations, deadline))

    def _execute(
        self, operations: Sequence[Operation[Any]], deadline: Deadline | None
    ) -> list[object]:
        is_for_all = any(operation.for_all_nodes for operation in operations)
        work = _slots.Work(operations, self._find_masters(deadline) if is_for_all else {})
        while due := work.due(self._node_of):
            try:
                self._send_round(due, deadline)
            except LOST as error:
                self._refresh_slots(deadline)
                if work.has_many_pieces and (
                    _client.is_pool_exhausted(error) or is_temporary(error)
                ):
                    raise partly_sent(error) from error
                raise
            if work.moved:
                self._refresh_slots(deadline)
            if work.needs_check:
                try:
                    work.check(self._find_masters(deadline))
                except FAILURES as error:
                    raise partly_sent(error) from error
            if work.waits:
                time.sleep(_slots.PAUSE)
        return work.replies()

    def masters(self) -> list[Server]:
        """Return the present masters, also those without slots."""
        return [self._server(name) for name in self._find_masters(None)]

    def ownership(self) -> _slots.Ownership:
        """Return which master serves which slot, as they say themselves."""
        masters = self.masters()
        return _slots.ownership_of(
            {each.address: each.run(exchange_nodes(), None) for each in masters}
        )

    def _send_round(
        self, due: Mapping[str, Sequence[_slots.Piece]], deadline: Deadline | None
    ) -> None:
        if len(due) == 1:
            ((node, pieces),) = due.items()
            server = self._server(node)
            server.run(exchange_pieces(pieces, node, server.access), deadline)
            return
        running: list[Future[None]] = []
        threads = self._threads
        try:
            for node, pieces in due.items():
                server = self._server(node)
                exchange = exchange_pieces(pieces, node, server.access)
                running.append(threads.submit(server.run, exchange, deadline))
        finally:
            wait(running)
        for done in running:
            done.result()

    def forget_parent(self) -> None:
        """Leave, in the child of a fork, the connections, the locks and the threads of the parent."""
        _client.reset_cluster(self._cluster)
        # An executor does not know that its threads are gone.
        self._threads, self._look, self._turns = _make_threads(), None, [True]
        for server in tuple(self._servers.values()):
            server.forget_parent()

    def _server(self, name: str) -> Server:
        node = self._cluster.get_node(node_name=name)
        if node is None:
            node = self._unlisted.setdefault(name, _client.make_node(name))
        client = self._cluster.get_redis_connection(node)
        server = self._servers.get(name)
        if server is None or server.client is not client:
            server = self._servers[name] = Server(client)
        return server

    def _node_of(self, key: bytes) -> str:
        name: str = self._cluster.get_node_from_key(key).name
        return name

    def _find_masters(self, deadline: Deadline | None) -> _slots.Masters:
        """Ask all known masters which others there are."""
        found: dict[str, _slots.View] = {}
        listed = self._primaries()
        finding = _slots.find_masters([*listed, *(self._masters - {*listed})])
        try:
            names = next(finding)
            while True:
                names = finding.send(self._ask(names, deadline))
        except StopIteration as end:
            found = end.value
        except LOST:
            self._refresh_slots(deadline)
            raise
        if not found or {name for name, view in found.items() if view.has_slots} != {*listed}:
            self._refresh_slots(deadline)
        self._masters = set(found)
        return found or dict.fromkeys(self._primaries())

    def _ask(
        self, names: Sequence[str], deadline: Deadline | None
    ) -> list[_slots.View | Exception]:
        threads = self._threads
        running = [
            threads.submit(self._server(name).run, exchange_view(), deadline) for name in names
        ]
        wait(running)
        answers: list[_slots.View | Exception] = []
        for done in running:
            try:
                answers.append(done.result())
            except FAILURES as error:
                answers.append(error)
        return answers

    def _primaries(self) -> list[str]:
        return [node.name for node in self._cluster.get_primaries()]

    def _refresh_slots(self, deadline: Deadline | None) -> None:
        """Ask the nodes that are left which of them serves which slot; if none answers, go on as before."""
        if self._closed or (deadline is not None and deadline.expired):
            return
        try:
            _client.refresh_slots(self._cluster)
        except FAILURES:
            pass  # the next call finds out the same

    def look(self) -> Future[_slots.Masters] | None:
        """Return the last look at all masters, and begin another one after some seconds."""
        threads = self._threads
        try:
            self._turns.pop()
        except IndexError:
            return self._look
        is_over = self._look is None or self._look.done()
        if is_over and not self._closed and time.monotonic() - self._looked >= _slots.LOOK_INTERVAL:
            self._looked = time.monotonic()
            self._look = threads.submit(self._find_masters, None)
        self._turns.append(True)
        return self._look

    def pubsub(self, deadline: Deadline | None = None) -> tuple[Any, NodeCheck]:
        """Return a new redis-py pub/sub object on some node, which passes on what all publish, and its check."""
        name = random.choice(self._primaries())
        return self._server(name).pubsub(deadline)[0], NodeCheck(name, self.look)

    def find_master(self, deadline: Deadline | None) -> None:
        """Do nothing: nodes redirect a command to the master of its slot."""

    def ping(self) -> None:
        """Raise if the cluster does not answer."""
        self._server(self._cluster.get_default_node().name).ping()

    def release(self) -> None:
        """Leave the clients of the nodes as they were."""
        for server in tuple(self._servers.values()):
            server.release()

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        # Exchanges in progress end by themselves; if they were cancelled, nobody would learn of it.
        self._threads.shutdown(wait=False)
        self._close_servers()
        self._cluster.close()
        if self._look is not None:
            # It may have connected since.
            self._look.add_done_callback(lambda _: self._close_servers())

    def _close_servers(self) -> None:
        for server in tuple(self._servers.values()):
            server.close()


class NodeCheck:
    """A check from time to time of a node that is watched."""

    def __init__(self, name: str, look: Callable[[], Future[_slots.Masters] | None]) -> None:
        self._membership = _slots.Membership(name)
        self._look = look
        self._last: Future[_slots.Masters] | None = None
        self._due = 0.0

    def seconds_left(self, now: float) -> float:
        """Return the seconds until the check is due."""
        return max(0.0, self._due - now)

    def run(self, now: float) -> bool:
        """Return whether messages may have been lost; raises redis-py's error if the node has left the cluster."""
        if now < self._due:
            return False
        self._due = now + _slots.LOOK_INTERVAL
        # What has been found since the last time: to wait for it may take long.
        last, self._last = self._last, self._look()
        if last is None:
            return False
        if not last.done():
            self._last = last
            return False
        try:
            masters = last.result()
        except FAILURES:
            return False  # they may answer the next time
        return self._membership.judge(masters)


def _make_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="telstate cluster")


class AsyncCluster:
    """A cluster for asyncio: :class:`Cluster`, awaited."""

    def __init__(self, cluster: redis.asyncio.cluster.RedisCluster) -> None:
        _client.check_responses(cluster.connection_kwargs)
        self.address = _client.cluster_address(_client.first_node(cluster))
        # redis-py leaves some of its methods without annotations.
        self._cluster = cast(Any, cluster)
        #: One for each node; redis-py's asyncio client has no clients of single nodes.
        self._servers: dict[str, AsyncServer] = {}
        #: The masters at the last listing; some may be missing from the slot table.
        self._masters: set[str] = set()
        self._closed = False

    async def execute(self, operation: Operation[Any]) -> object:
        """Return the reply to one operation."""
        (reply,) = await self._execute([operation])
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[object]:
        """Return the replies to operations, in order, redis-py's error for one that failed."""
        return check_batch(operations, await self._execute(operations))

    async def _execute(self, operations: Sequence[Operation[Any]]) -> list[object]:
        await self._cluster.initialize()
        is_for_all = any(operation.for_all_nodes for operation in operations)
        work = _slots.Work(operations, await self._find_masters() if is_for_all else {})
        while due := work.due(self._node_of):
            try:
                await self._send_round(due)
            except LOST as error:
                await self._refresh_slots()
                if work.has_many_pieces and (
                    _client.is_pool_exhausted(error) or is_temporary(error)
                ):
                    raise partly_sent(error) from error
                raise
            if work.moved:
                await self._refresh_slots()
            if work.needs_check:
                try:
                    work.check(await self._find_masters())
                except FAILURES as error:
                    raise partly_sent(error) from error
            if work.waits:
                await asyncio.sleep(_slots.PAUSE)
        return work.replies()

    async def masters(self) -> list[AsyncServer]:
        """Return the present masters, also those without slots."""
        await self._cluster.initialize()
        return [self._server(name) for name in await self._find_masters()]

    async def ownership(self) -> _slots.Ownership:
        """Return which master serves which slot, as they say themselves."""
        masters = await self.masters()
        return _slots.ownership_of(
            {each.address: await each.run(exchange_nodes()) for each in masters}
        )

    async def _send_round(self, due: Mapping[str, Sequence[_slots.Piece]]) -> None:
        servers = [(self._server(node), node, pieces) for node, pieces in due.items()]
        running = [
            server.run(exchange_pieces(pieces, node, server.access))
            for server, node, pieces in servers
        ]
        for failure in await asyncio.gather(*running, return_exceptions=True):
            if failure is not None:
                raise failure

    def _server(self, name: str) -> AsyncServer:
        server = self._servers.get(name)
        if server is None:
            client = _client.make_node_client(self._cluster, name)
            server = self._servers[name] = AsyncServer(client)
        return server

    def _node_of(self, key: bytes) -> str:
        node = self._cluster.get_node_from_key(key)
        if node is None:
            raise ClusterError("no node serves the slot of a key")
        name: str = node.name
        return name

    async def _find_masters(self) -> _slots.Masters:
        """Ask all known masters which others there are."""
        found: dict[str, _slots.View] = {}
        listed = self._primaries()
        finding = _slots.find_masters([*listed, *(self._masters - {*listed})])
        try:
            names = next(finding)
            while True:
                names = finding.send(await self._ask(names))
        except StopIteration as end:
            found = end.value
        except LOST:
            await self._refresh_slots()
            raise
        if not found or {name for name, view in found.items() if view.has_slots} != {*listed}:
            await self._refresh_slots()
        self._masters = set(found)
        return found or dict.fromkeys(self._primaries())

    async def _ask(self, names: Sequence[str]) -> list[_slots.View | Exception]:
        running = [self._server(name).run(exchange_view()) for name in names]
        answers: list[_slots.View | Exception] = []
        for answer in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(answer, (_slots.View, *FAILURES)):
                raise answer
            answers.append(answer)
        return answers

    def _primaries(self) -> list[str]:
        return [node.name for node in self._cluster.get_primaries()]

    async def _refresh_slots(self) -> None:
        """Ask the nodes that are left which of them serves which slot; if none answers, go on as before."""
        if self._closed:
            return
        try:
            await _client.refresh_slots_async(self._cluster)
        except FAILURES:
            pass  # the next call finds out the same

    async def look(self) -> _slots.Masters | None:
        """Return the present masters, None if they do not answer."""
        try:
            return await self._find_masters()
        except FAILURES:
            return None

    async def pubsub(self) -> tuple[Any, AsyncNodeCheck]:
        """Return a new redis-py pub/sub object on some node, which passes on what all publish, and its check."""
        await self._cluster.initialize()
        name = random.choice(self._primaries())
        pubsub, _ = await self._server(name).pubsub()
        return pubsub, AsyncNodeCheck(name, self.look)

    async def find_master(self) -> None:
        """Do nothing: nodes redirect a command to the master of its slot."""

    async def ping(self) -> None:
        """Raise if the cluster does not answer."""
        await _client.refresh_slots_async(self._cluster, at_first=True)

    async def release(self) -> None:
        """Leave the clients of the nodes as they were."""
        for server in tuple(self._servers.values()):
            await server.release()

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        for server in tuple(self._servers.values()):
            await server.close()
        await self._cluster.aclose()
        # The second time that does nothing, though the slots may have been refreshed since the first.
        await self._cluster.nodes_manager.aclose()


class AsyncNodeCheck:
    """A check from time to time of a node that is watched: :class:`NodeCheck`, awaited."""

    def __init__(self, name: str, look: Callable[[], Awaitable[_slots.Masters | None]]) -> None:
        self._membership = _slots.Membership(name)
        self._look = look

    async def run(self) -> None:
        """Return when messages may have been lost; raises redis-py's error if the node has left the cluster."""
        while True:
            masters = await self._look()
            if masters is not None and self._membership.judge(masters):
                return
            await asyncio.sleep(_slots.LOOK_INTERVAL)


#: Where the commands of a synchronous backend go.
AnyServer: TypeAlias = Server | Cluster
AnyAsyncServer: TypeAlias = AsyncServer | AsyncCluster


def server_of(client: redis.Redis | RedisCluster) -> AnyServer:
    """Return the server or the cluster of a client."""
    return Cluster(client) if isinstance(client, RedisCluster) else Server(client)


def async_server_of(
    client: redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster,
) -> AnyAsyncServer:
    """Return the server or the cluster of an asyncio client."""
    if isinstance(client, redis.asyncio.cluster.RedisCluster):
        return AsyncCluster(client)
    return AsyncServer(client)
