"""From a URL to a redis-py client, synchronous or asyncio.

=====================  =========================================================================
``redis://``           ``[user:password@]host[:port][/db]``
``rediss://``          the same, over TLS
``unix://``            ``[user:password@]/path[?db=...]``, so that there are three slashes
``redis+sentinel://``  ``[user:password@]host[:port][,host[:port]...]/service[/db]``
``redis+cluster://``   ``[user:password@]host[:port][,host[:port]...]``
=====================  =========================================================================

``rediss+sentinel://`` and ``rediss+cluster://`` use TLS too. Options of redis-py may follow each URL
(``?socket_timeout=2``); those that start with ``sentinel_`` are for the Sentinels themselves.

Rules: connections have timeouts and health checks by default. A URL that redis-py would misread, and so
connect to another host or database than was meant, is refused. Nothing of a URL is shown in an error,
because any part of it may hold a password; user and password are passed on in an object that does not
show them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NoReturn, TypeAlias
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

import attrs
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.connection
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.connection
import redis.retry
import redis.sentinel
from redis.asyncio.client import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.client import Redis

from telstate_backends.redis._client import (
    LazyCommandsParser,
    disconnect_nodes,
    join_address,
    master_address,
)
from telstate_backends.redis._connection import limited_pool
from telstate_backends.redis._errors import is_invalid_reply

#: Passed to every connection that is made from a URL, unless the URL says otherwise.
DEFAULTS: Mapping[str, Any] = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 30,
    # As good as no limit: each thread that sends or watches has one. From redis-py 8 on it is 100.
    "max_connections": 1 << 31,
    # RESP3 costs round trips: a HELLO, and from redis-py 8 on a request for notices of maintenance.
    "protocol": 2,
}

#: What leaves out the name of the library, which costs two round trips; redis-py 7.2 to 7.4 always send it.
_NAMELESS: Mapping[str, Any] = (
    {"driver_info": None}
    if int(redis.__version__.partition(".")[0]) >= 8
    else {} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)

#: What katsdptelstate passes to redis-py, and tests of programs that use it expect of their mocks.
_MOCK_ARGUMENTS: Mapping[str, Any] = {"socket_timeout": 5, "health_check_interval": 30}

#: Every scheme, and the default port of its hosts.
_PORTS = {
    "redis": 6379,
    "rediss": 6379,
    "unix": 0,
    "redis+sentinel": 26379,
    "rediss+sentinel": 26379,
    "redis+cluster": 6379,
    "rediss+cluster": 6379,
}

#: What Python leaves out of a URL that it parses.
_IGNORED = frozenset("\t\r\n")

_FORMS = (
    "Write redis://host:port/db, unix:///path, redis+sentinel://host:port,host:port/service/db or "
    "redis+cluster://host:port,host:port, and quote special characters in user and password."
)

#: What options for the Sentinels themselves begin with.
_SENTINEL = "sentinel_"

#: The option that says how many other Sentinels must know of one.
_OTHER_SENTINELS = "min_other_sentinels"

Client: TypeAlias = "redis.Redis | redis.cluster.RedisCluster"
AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster"


@attrs.frozen
class ParsedUrl:
    """The parts of a URL."""

    scheme: str
    #: The hosts and ports of Sentinels or of nodes of a cluster; empty for the other schemes.
    hosts: list[tuple[str, int]]
    #: The name of the master, for Sentinel.
    service: str
    #: The arguments of every connection: credentials, database, timeouts, TLS.
    arguments: dict[str, Any] = attrs.field(repr=False)

    @property
    def uses_tls(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme.startswith("rediss")

    @property
    def address(self) -> str:
        """How messages name the cluster, or the master; empty for the other schemes."""
        places = [join_address(*host) for host in self.hosts]
        if self.service:
            return master_address(self.service, places)
        return f"cluster {','.join(places)}" if places else ""


def parse_url(url: str, db: int | None) -> ParsedUrl:
    """Parse a URL; raises ValueError if it is not valid, or names another database than `db`."""
    if not isinstance(url, str):
        raise TypeError(f"A URL is a string, not a {type(url).__name__}. {_FORMS}")
    # Blanks around it come of copying.
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ValueError(f"A URL begins with its scheme, such as redis://. {_FORMS}")
    if scheme not in _PORTS:
        raise ValueError(f"The scheme of a URL must be one of {', '.join(_PORTS)}. {_FORMS}")
    base, _, variant = scheme.partition("+")
    try:
        if not _IGNORED.isdisjoint(rest):
            _refuse(scheme, "has a line break or a tab in it. Leave it out.")
        listed: list[str] = []
        service = ""
        if variant:
            listed, service, rest = _split_hosts(rest, scheme)
        parts = urlsplit(f"{base}://{rest}")
        _check(parts, scheme, listed or [parts.netloc.rpartition("@")[2]])
        given: dict[str, Any] = _untyped(redis.connection.parse_url)(f"{base}://{rest}")
        given |= _convert_sentinel_options(given)
        hosts = [_split_port(host, _PORTS[scheme]) for host in listed]
    except _InvalidUrlError as error:
        raise ValueError(str(error)) from None
    except (ValueError, AttributeError):
        # Without the cause, whose text may hold a piece of the password.
        raise ValueError(f"This {scheme}:// URL is not valid. {_FORMS}") from None
    given.pop("connection_class", None)
    if variant:
        if base == "rediss":
            given["ssl"] = True
        del given["host"]
        given.pop("port", None)
    chosen = given.get("db")
    if chosen is not None and chosen < 0:
        raise ValueError(f"There is no database {chosen}. The first is 0.")
    if db is not None and chosen is not None and chosen != db:
        raise ValueError(f"The URL names database {chosen}, but db is {db}. Use only one of them.")
    arguments = {**DEFAULTS, **given}
    if given.keys().isdisjoint(("driver_info", "lib_name", "lib_version")):
        arguments |= _NAMELESS
    if "path" in arguments:
        del arguments["socket_keepalive"]
    if db is not None:
        arguments["db"] = db
    if variant == "cluster" and arguments.get("db"):
        raise ValueError("A Redis Cluster has database 0 only.")
    for prefix in ("", _SENTINEL):
        _hide_password(arguments, prefix)
    return ParsedUrl(scheme, hosts, service, arguments)


class _InvalidUrlError(ValueError):
    """The text says what is wrong, and shows nothing of the URL."""


def _refuse(scheme: str, problem: str) -> NoReturn:
    raise _InvalidUrlError(f"This {scheme}:// URL {problem}")


def _check(parts: SplitResult, scheme: str, hosts: list[str]) -> None:
    """Refuse a URL that redis-py would read as that of another host or database."""
    if parts.fragment:
        _refuse(scheme, "has a '#', after which everything would be ignored. Write it as %23.")
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or parts.path in ("", "/"):
            _refuse(scheme, "does not name a socket by its absolute path. Write unix:///path.")
        return
    for host in hosts:
        if host.count(":") > 1 and set(host) <= set(string.hexdigits + ":."):
            _refuse(scheme, f"has an IPv6 address without brackets. Write {scheme}://[::1]:6379.")
        if re.search(r":0*$", host) and not host.endswith(":"):
            _refuse(scheme, "has port 0. Write host:port.")
    # A slash may follow the database, as one may follow the host.
    path = unquote(parts.path).removeprefix("/").removesuffix("/")
    if path and not (path.isascii() and path.isdigit()):
        _refuse(scheme, f"names a database that is not a whole number. {_FORMS}")
    option = parse_qs(parts.query).get("db", [path])[0]
    if path and option.isascii() and option.isdigit() and int(option) != int(path):
        _refuse(scheme, "names two databases, in its path and as an option. Use only one of them.")


def _split_hosts(rest: str, scheme: str) -> tuple[list[str], str, str]:
    """Return the hosts, the service, and what is left, which is a URL that redis-py reads."""
    place, question, query = rest.partition("?")
    authority, _, path = place.partition("/")
    user, at, listed = authority.rpartition("@")
    service = ""
    if scheme.endswith("+sentinel"):
        service, _, path = path.partition("/")
        if not service:
            _refuse(
                scheme,
                "does not name the service by which the Sentinels know the master. Write "
                f"{scheme}://host:port,host:port/service/db.",
            )
    hosts = [host.strip() for host in listed.split(",")]
    return hosts, unquote(service), f"{user}{at}host/{quote(path)}{question}{query}"


def _split_port(host: str, port: int) -> tuple[str, int]:
    name, colon, digits = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, digits = host, str(port)
    if not name or not 0 < int(digits) < 65536:
        raise ValueError("A host is missing, or its port is not valid.")
    return name.strip("[]"), int(digits)


def _convert_sentinel_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for Sentinels as redis-py converts those of the same name for servers."""
    converted: dict[str, Any] = {}
    for name, value in given.items():
        own = name.removeprefix(_SENTINEL)
        if own != name and own not in ("username", "password"):
            url = f"redis://?{urlencode({own: value})}"
            (converted[name],) = _untyped(redis.connection.parse_url)(url).values()
    if _OTHER_SENTINELS in given:
        converted[_OTHER_SENTINELS] = int(given[_OTHER_SENTINELS])
    return converted


def _hide_password(arguments: dict[str, Any], prefix: str) -> None:
    """Put user and password into an object that does not show them in its `repr`."""
    names = (prefix + "username", prefix + "password")
    if any(name in arguments for name in names):
        arguments[prefix + "credential_provider"] = redis.UsernamePasswordCredentialProvider(
            *(arguments.pop(name, None) for name in names)
        )


def mocked_client(*url: str, asynchronous: bool = False, **arguments: Any) -> Any:
    """Return a client from what a test has put in place of redis-py's; None if nothing was replaced.

    That is `redis.Redis` itself, which is called with `arguments`, or `redis.Redis.from_url`, which is
    called with a URL and `arguments`, unless it is a URL of Sentinels or of a cluster.
    """
    if url and "+" in str(url[0]).partition("://")[0]:
        return None
    current: Any = redis.asyncio.Redis if asynchronous else redis.Redis
    genuine = AsyncRedis if asynchronous else Redis
    # By its type, as a mock may pass for an instance of any class.
    if current is genuine and (not url or type(vars(genuine)["from_url"]) is classmethod):
        return None
    client = (current.from_url if url else current)(*url, **arguments, **_MOCK_ARGUMENTS)
    if isinstance(client, genuine) and not hasattr(client, "connection_pool"):
        # A mock with `autospec` lacks what the constructor of the class sets.
        pool: Any = type(client)()
        client.connection_pool = pool
    return client


def connect(url: ParsedUrl) -> Client:
    """Return a synchronous client."""
    if url.scheme.endswith("+sentinel"):
        sentinel = _untyped(redis.sentinel.Sentinel)(
            url.hosts,
            sentinel_kwargs=_for_sentinels(url) | {"retry": redis.retry.Retry(NoBackoff(), 0)},
            **_for_master(url),
        )
        client: redis.Redis = sentinel.master_for(url.service)
        return client
    if url.scheme.endswith("+cluster"):
        first, *others = url.hosts
        # The constructor adds the node of its URL; without one it makes pools of its own choice.
        nodes = [_untyped(redis.cluster.ClusterNode)(*host) for host in others]
        arguments = _for_cluster(url) | {"connection_pool_class": limited_pool}
        scheme = "rediss" if arguments.pop("ssl", False) else "redis"
        place = f"{scheme}://{join_address(*first)}"
        try:
            return redis.cluster.RedisCluster(url=place, startup_nodes=nodes, **arguments)
        except BaseException as error:
            # A client that could not be made leaves its connections to the garbage collector.
            disconnect_nodes(nodes)
            # The client asks the nodes for their slots, and redis-py 6 does not check the reply.
            if is_invalid_reply(error):
                raise redis.exceptions.InvalidResponse(type(error).__name__) from error
            raise
    kinds = {"rediss": redis.SSLConnection, "unix": redis.UnixDomainSocketConnection}
    kind = kinds.get(url.scheme, redis.Connection)
    pool = redis.ConnectionPool(connection_class=kind, **url.arguments)
    return Redis(connection_pool=pool)


def connect_async(url: ParsedUrl) -> AsyncClient:
    """Return an asyncio client."""
    if url.scheme.endswith("+sentinel"):
        none = redis.asyncio.retry.Retry(NoBackoff(), 0)
        sentinel = _untyped(redis.asyncio.sentinel.Sentinel)(
            url.hosts, sentinel_kwargs=_for_sentinels(url) | {"retry": none}, **_for_master(url)
        )
        client: redis.asyncio.Redis = sentinel.master_for(url.service)
        return client
    if url.scheme.endswith("+cluster"):
        nodes = [redis.asyncio.cluster.ClusterNode(*host) for host in url.hosts]
        cluster = redis.asyncio.cluster.RedisCluster(startup_nodes=nodes, **_for_cluster(url))
        cluster.commands_parser = LazyCommandsParser()
        return cluster
    kinds: dict[str, type[redis.asyncio.connection.AbstractConnection]] = {
        "rediss": redis.asyncio.SSLConnection,
        "unix": redis.asyncio.UnixDomainSocketConnection,
    }
    kind = kinds.get(url.scheme, redis.asyncio.Connection)
    pool = redis.asyncio.ConnectionPool(connection_class=kind, **url.arguments)
    return AsyncRedis(connection_pool=pool)


def _untyped(thing: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that redis-py leaves without annotations, so that it can be called."""
    return thing


def _for_sentinels(url: ParsedUrl) -> dict[str, Any]:
    """Return the arguments for connections to Sentinels."""
    given = url.arguments
    shared = {name: given[name] for name in (*DEFAULTS, *_NAMELESS, "ssl") if name in given}
    # The URL's limit is for connections to the master.
    shared["max_connections"] = DEFAULTS["max_connections"]
    own = {
        name.removeprefix(_SENTINEL): value
        for name, value in given.items()
        if name.startswith(_SENTINEL)
    }
    return shared | own


def _for_master(url: ParsedUrl) -> dict[str, Any]:
    """Return the arguments for connections to the master that Sentinels name."""
    return {name: value for name, value in url.arguments.items() if not name.startswith(_SENTINEL)}


def _for_cluster(url: ParsedUrl) -> dict[str, Any]:
    """Return the arguments for a cluster, which takes no database."""
    return {name: value for name, value in url.arguments.items() if name != "db"}
