"""What the backends take from redis-py beyond its documented API, and what they require of a client.

Rules: whatever a new version of redis-py may break is in this file. An address never holds a password.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import hiredis
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.connection
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis._parsers import AsyncCommandsParser
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.client import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import ConnectionError, MaxConnectionsError, ResponseError

#: A pool that allows fewer connections than this has none to spare.
_SPARE = 8

#: Seconds that a connection to a Sentinel waits, if its client has no limit.
_TIMEOUT = 5.0

_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())

#: What pools say that may make no more connections; not all of them raise a class of its own.
_EXHAUSTED = ("Too many connections", "No connection available.")

# From the modules that define them: a test may have replaced `redis.Redis` by a mock.
_SYNC: tuple[type, ...] = (Redis, redis.cluster.RedisCluster)
_ASYNC: tuple[type, ...] = (AsyncRedis, redis.asyncio.cluster.RedisCluster)


def check_client(client: object, asynchronous: bool) -> None:
    """Raise TypeError, without showing it, if an object is not a client for a backend."""
    ours, module, right, wrong = "RedisBackend", "redis", _SYNC, _ASYNC
    if asynchronous:
        ours, module, right, wrong = "AsyncRedisBackend", "redis.asyncio", _ASYNC, _SYNC
    # A wrapper of a client is accepted too.
    if isinstance(client, wrong) or not (
        isinstance(client, right) or hasattr(client, "connection_pool")
    ):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(
            f"{ours} needs a {module}.Redis or {module}.RedisCluster, not a {kind}. To connect to a URL, "
            f"use {ours}.from_url."
        )


def check_responses(connection_arguments: Mapping[str, Any]) -> None:
    """Raise ValueError if a client does not return bytes."""
    if connection_arguments.get("decode_responses") is True:  # A mock has every attribute.
        raise ValueError("The Redis client decodes responses. Make it with decode_responses=False.")


class Retries:
    """The retries of a client and of its clients of Sentinels, which are off until they are restored."""

    # They would repeat calls that are not safe to repeat, and for longer than the retry policy allows.
    def __init__(self, client: Any, none: Any) -> None:
        self._before = []
        for each in (client, *sentinels_of(client.connection_pool)):
            self._before.append((each, each.get_retry()))
            each.set_retry(none)

    def restore(self) -> None:
        """Restore the retries that the clients had."""
        while self._before:
            client, retry = self._before.pop()
            if retry is not None:
                client.set_retry(retry)


def address_of(pool: Any) -> str:
    """Return the address of the server that a pool connects to."""
    service = getattr(pool, "service_name", None)
    if service is not None:
        places = [address_of(each.connection_pool) for each in sentinels_of(pool)]
        return master_address(service, places)
    arguments = pool.connection_kwargs
    path = arguments.get("path")
    if path:
        return f"unix:{path}"
    return join_address(arguments.get("host", "localhost"), arguments.get("port", 6379))


def master_address(service: str, places: Sequence[str]) -> str:
    """Return how messages name the master that Sentinels at these places look after."""
    return f"master {service!r} of Sentinel{'s' * (len(places) > 1)} at {', '.join(places)}"


def cluster_address(node: Any) -> str:
    """Return how messages name a cluster, by one of its nodes."""
    return f"cluster {join_address(node.host, node.port)}"


def join_address(host: str, port: int) -> str:
    """Return host and port together, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def uses_tls(pool: Any) -> bool:
    """Return whether the connections of a synchronous pool use TLS."""
    kind = getattr(pool, "connection_class", None)
    return isinstance(kind, type) and issubclass(kind, redis.SSLConnection)


def sentinels_of(pool: Any) -> list[Any]:
    """Return the clients of the Sentinels that a pool asks for its master."""
    manager = getattr(pool, "sentinel_manager", None)
    return [] if manager is None else list(manager.sentinels)


def follows_master(pool: Any) -> bool:
    """Return whether a pool asks Sentinels which server is the master."""
    return bool(getattr(pool, "is_master", False))


def finds_master(pool: Any) -> bool:
    """Return whether a pool asks Sentinels for the master by redis-py's own code, so that ours can take over."""
    # A subclass may change addresses.
    manager = getattr(pool, "sentinel_manager", None)
    own = (redis.sentinel.Sentinel, redis.asyncio.sentinel.Sentinel)
    found = getattr(type(manager), "discover_master", None)
    return follows_master(pool) and any(found is each.discover_master for each in own)


class MasterHooks:
    """The functions by which a pool finds its master and sets up connections: others until they are restored."""

    def __init__(self, pool: Any, manager: Any, connected: Callable[[Any], Any]) -> None:
        #: The objects that refer to the manager; a synchronous pool has it in a second one.
        self._places = [each for each in (pool, getattr(pool, "proxy", None)) if each is not None]
        self._arguments: dict[str, Any] = pool.connection_kwargs
        self._manager = pool.sentinel_manager
        self._connected = self._arguments.get("redis_connect_func")
        self._check_health: bool = pool.check_connection
        self._put(manager, connected)
        for connection in getattr(pool, "_available_connections", ()):
            connection.redis_connect_func = connected
            cut(connection)

    def greet(self, connection: Any) -> Any:
        """Set up a connection as the pool would; to be awaited on asyncio."""
        if self._connected is not None:
            return self._connected(connection)
        return connection.on_connect_check_health(check_health=self._check_health)

    def restore(self) -> None:
        """Restore what the pool had."""
        self._put(self._manager, self._connected)

    def _put(self, manager: Any, connected: Any) -> None:
        self._arguments["redis_connect_func"] = connected
        for place in self._places:
            place.sentinel_manager = manager


def connection_factory(
    client: Any, no_retry: Any, kind: Callable[[type], type]
) -> Callable[[], Any]:
    """Return a function that makes connections of a kind to where those of a client go, not in its pool."""
    pool = client.connection_pool
    timeouts = ("socket_timeout", "socket_connect_timeout")
    arguments = pool.connection_kwargs | {
        "protocol": 2,
        "decode_responses": False,
        "health_check_interval": 0,
        "retry": no_retry,
        **{name: pool.connection_kwargs.get(name) or _TIMEOUT for name in timeouts},
    }
    made = kind(pool.connection_class)
    return lambda: made(**arguments)


def cut(connection: Any) -> None:
    """End a connection from outside; its user, perhaps another thread, finds it lost and closes it."""
    transport = transport_of(connection)
    if transport is None:
        shut_down(connection)
    else:
        transport.abort()


def can_spare(pool: Any) -> bool:
    """Return whether a connection can be kept out of a pool: one that allows few has none to spare."""
    limit = getattr(pool, "max_connections", 0)
    return isinstance(limit, int) and limit >= _SPARE


def can_bypass(pool: Any) -> bool:
    """Return whether connections like those of a synchronous pool can be made and kept beside it."""
    return (
        isinstance(pool, redis.ConnectionPool)
        and not isinstance(pool, redis.BlockingConnectionPool)
        and getattr(pool, "cache", None) is None
        and isinstance(pool.connection_class, type)
    )


def connections_left(pool: Any) -> float:
    """Return how many more connections a synchronous pool may make."""
    left: float = pool.max_connections - pool._created_connections
    return left


def too_many_connections() -> Exception:
    """Return the error of a pool that may make no more connections."""
    return MaxConnectionsError(_EXHAUSTED[0])


def make_unmanaged(pool: Any) -> Any:
    """Return a new connection like those of a synchronous pool, which does not reconnect by itself."""
    connection = make_connection(pool)
    connection.retry = _NoRetry(NoBackoff(), 0)
    return connection


def renew_locks(owner: Any) -> None:
    """Replace the locks of an object, in the child of a fork, where threads of the parent may hold them."""
    for name, value in list(vars(owner).items()):
        if isinstance(value, _LOCK):
            setattr(owner, name, threading.Lock())
        elif isinstance(value, _RLOCK):
            setattr(owner, name, threading.RLock())


def reset_pool(pool: Any) -> None:
    """Make a pool forget, in the child of a fork, the connections and locks of its parent."""
    renew_locks(pool)
    for part in (getattr(pool, "_event_dispatcher", None), getattr(pool, "proxy", None)):
        if part is not None:
            renew_locks(part)
    for sentinel in sentinels_of(pool):
        reset_pool(sentinel.connection_pool)
    pool.reset()


def reset_cluster(cluster: Any) -> None:
    """Make a synchronous cluster client forget, in the child of a fork, the connections and locks of its parent."""
    renew_locks(cluster)
    renew_locks(cluster.nodes_manager)
    for node in cluster.get_nodes():
        if node.redis_connection is not None:
            reset_pool(node.redis_connection.connection_pool)


class LazyCommandsParser(AsyncCommandsParser):
    """Asks a node of a cluster for its table of commands when that is first needed, which a backend never does."""

    async def initialize(self, node: Any = None) -> None:
        """Store which node to ask, or ask it."""
        if node:
            self.node = node
        else:
            await super().initialize()

    async def get_keys(self, *args: Any) -> Any:
        """Return the keys of a command."""
        if not self.commands:
            await self.initialize()
        return await super().get_keys(*args)


class Packer:
    """Encodes commands for redis-py's connections as :func:`pack` does."""

    def pack(self, name: Any, *args: Any) -> list[bytes]:
        # redis-py passes some names of two words.
        words = name.split() if isinstance(name, (str, bytes)) else (name,)
        return [pack((*words, *args))]


def pack(args: tuple[Any, ...]) -> bytes:
    """Encode a command; hiredis gets nothing but bytes."""
    # It crashes if a signal handler raises an exception while it converts an integer.
    for arg in args:
        if type(arg) is not bytes:
            return _pack_bytes(tuple([_as_bytes(each) for each in args]))
    return _pack_bytes(args)


def _as_bytes(arg: Any) -> bytes:
    if isinstance(arg, str):
        return arg.encode()
    return bytes(arg) if isinstance(arg, (bytes, bytearray, memoryview)) else b"%d" % arg


#: The stub of hiredis declares a tuple of one item.
_pack_bytes: Callable[[tuple[bytes, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # see above


def is_pool_exhausted(error: BaseException) -> bool:
    """Return whether a pool had no connection left, so that nothing was sent."""
    return isinstance(error, MaxConnectionsError) or (
        isinstance(error, ConnectionError) and str(error) in _EXHAUSTED
    )


def transport_of(connection: Any) -> Any:
    """Return the transport of an asyncio connection, None if it is not a real one (fakeredis)."""
    transport = getattr(getattr(connection, "_writer", None), "transport", None)
    parser = getattr(connection, "_parser", None)
    is_real = hasattr(transport, "set_protocol") and hasattr(parser, "parse_error")
    return transport if is_real else None


def has_ended(connection: Any) -> bool:
    """Return whether an asyncio connection has been closed, which a pool does not always notice."""
    writer = connection._writer
    if writer is None:
        return True
    # fakeredis has no transport, and never closes a connection.
    transport = getattr(writer, "transport", None)
    return transport is not None and (transport.is_closing() or connection._reader.at_eof())


def error_factory(connection: Any) -> Callable[[str], Exception]:
    """Return the function by which an asyncio connection makes errors of error replies."""
    factory: Callable[[str], Exception] = connection._parser.parse_error
    return factory


def first_node(cluster: Any) -> Any:
    """Return the first node that an asyncio client of a cluster was made with."""
    return next(iter(cluster.nodes_manager.startup_nodes.values()))


def cluster_uses_tls(cluster: Any) -> bool:
    """Return whether the connections of a synchronous cluster client use TLS."""
    arguments = cluster.get_connection_kwargs()
    kind = arguments.get("connection_class", redis.Connection)
    return bool(arguments.get("ssl")) or issubclass(kind, redis.SSLConnection)


class _SlotTable(list[Any]):
    """The nodes that serve each slot, in an eighth of the memory of redis-py's dictionary."""

    def get(self, slot: int) -> Any:
        return self[slot]


def compact_slots(cluster: Any) -> None:
    """Store the slots of a cluster client in less memory."""
    manager = cluster.nodes_manager
    manager.slots_cache = _SlotTable(map(manager.slots_cache.get, range(REDIS_CLUSTER_HASH_SLOTS)))


def refresh_slots(cluster: Any) -> None:
    """Ask the nodes of a cluster which of them serves which slot."""
    nodes = list(cluster.nodes_manager.startup_nodes.values())
    try:
        cluster.nodes_manager.initialize()
        compact_slots(cluster)
    finally:
        # A reply may be outstanding after an interruption, which redis-py takes for the failure of a node.
        for node in nodes:
            if node.redis_connection is not None:
                node.redis_connection.connection_pool.disconnect(inuse_connections=False)


async def refresh_slots_async(cluster: Any, at_first: bool = False) -> None:
    """Ask the nodes of a cluster which of them serves which slot: :func:`refresh_slots`, awaited."""
    nodes = list(cluster.nodes_manager.startup_nodes.values())
    try:
        await (cluster if at_first else cluster.nodes_manager).initialize()
        compact_slots(cluster)
    finally:
        for node in nodes:
            for connection in tuple(node._free):
                await connection.disconnect(nowait=True)


def make_node(name: str) -> Any:
    """Return a node of a cluster that the slot table does not have, by ``host:port``."""
    host, _, port = name.rpartition(":")
    # redis-py leaves the constructor without annotations.
    make: Callable[[str, int], Any] = redis.cluster.ClusterNode
    return make(host, int(port))


def make_node_client(cluster: Any, name: str) -> AsyncRedis:
    """Return a client of one node of an asyncio cluster, by ``host:port``."""
    node = cluster.get_node(node_name=name)
    # A node that another has named, but that is not in the slot table, is reached as the others are.
    like = node or cluster.get_primaries()[0]
    host, _, port = name.rpartition(":")
    place = {} if node else {"host": host, "port": int(port)}
    pool = redis.asyncio.ConnectionPool(
        connection_class=like.connection_class,
        max_connections=like.max_connections,
        **{**like.connection_kwargs, **place},
    )
    return AsyncRedis(connection_pool=pool)


def disconnect_nodes(nodes: Sequence[Any]) -> None:
    """Close the connections to nodes that a synchronous cluster client has left when it failed."""
    for node in nodes:
        if node.redis_connection is not None:
            node.redis_connection.connection_pool.disconnect()


def socket_of(connection: Any) -> socket.socket | None:
    """Return the socket of a synchronous connection, None if it has none (fakeredis)."""
    sock = getattr(connection, "_sock", None)
    sock = getattr(sock, "sock", sock)  # our connections wrap it
    return sock if isinstance(sock, socket.socket) else None


def reader_of(connection: Any) -> Any:
    """Return the parser of hiredis that a synchronous connection has, None if it has another."""
    return getattr(getattr(connection, "_parser", None), "_reader", None)


def replies_of(reader: Any) -> list[Any]:
    """Return all replies that a parser of hiredis has, errors among them."""
    replies = []
    while (reply := reader.gets()) is not NOT_ENOUGH_DATA:
        replies.append(reply)
    return replies


def read_reply(connection: Any) -> Any:
    """Return the next message or reply on a synchronous connection, or the error that it is."""
    try:
        return connection.read_response(disconnect_on_error=False, push_request=True)
    except ResponseError as error:
        return error


def shut_down(connection: Any) -> None:
    """Make a synchronous connection that another thread reads fail at once."""
    sock = socket_of(connection)
    if sock is not None:
        with suppress(OSError):  # it may be closed already
            # Not that of a TLS socket, which would make the thread read the encrypted bytes.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def database_of(client: Any) -> int:
    """Return the number of the database that a client uses."""
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def make_connection(pool: Any) -> Any:
    """Return a new connection to where those of a synchronous pool go, which the pool does not count."""
    return pool.connection_class(**pool.connection_kwargs)


#: Arguments that asyncio connections share with synchronous ones, apart from those of TLS.
_SHARED_ARGUMENTS = frozenset(
    "host port path db username password credential_provider client_name socket_timeout "
    "socket_connect_timeout socket_keepalive socket_keepalive_options socket_type".split()
)


def is_real(pool: Any) -> bool:
    """Return whether the connections of an asyncio pool are to real servers (not fakeredis)."""
    connects = getattr(pool.connection_class, "_connect", None)
    kinds = (redis.asyncio.Connection, redis.asyncio.UnixDomainSocketConnection)
    return connects in [vars(kind)["_connect"] for kind in kinds]


def make_sync_connection(pool: Any, place: Mapping[str, Any]) -> Any:
    """Return a new synchronous connection to where those of an asyncio pool go, or to another `place`."""
    kind = pool.connection_class
    twin: Callable[..., Any] = redis.Connection
    if issubclass(kind, redis.asyncio.SSLConnection):
        twin = redis.SSLConnection
    elif issubclass(kind, redis.asyncio.UnixDomainSocketConnection):
        twin = redis.UnixDomainSocketConnection
    arguments = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name in _SHARED_ARGUMENTS or name.startswith("ssl_")
    }
    return twin(**{**arguments, **place}, retry=redis.retry.Retry(NoBackoff(), 0))


class _NoRetry(redis.retry.Retry):
    def call_with_retry(self, do: Callable[..., Any], *_: Any, **__: Any) -> Any:
        return do()


class _AsyncNoRetry(redis.asyncio.retry.Retry):
    async def call_with_retry(self, do: Callable[[], Awaitable[Any]], *_: Any, **__: Any) -> Any:
        return await do()


@contextmanager
def without_reconnect(connection: Any) -> Iterator[None]:
    """Keep redis-py from reconnecting while two tasks share a connection and could mix up its replies."""
    if connection is None:
        yield
        return
    retry, connection.retry = connection.retry, _AsyncNoRetry(NoBackoff(), 0)
    try:
        yield
    finally:
        connection.retry = retry  # the connection goes back to a pool
