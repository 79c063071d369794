"""From a URL to a redis-py client, sync and asyncio: one table of schemes.

Rules: connections have timeouts and health checks by default, and no retries of redis-py's own. A
URL is never shown in an error, because it may hold a password, and user and password are handed on
in an object that does not show them: some versions of redis-py print every other argument.

=====================  =========================================================================
``redis://``           ``[user:password@]host[:port][/db]``
``rediss://``          the same, over TLS
``unix://``            ``[user:password@]/path[?db=...]``, so that there are three slashes
``redis+sentinel://``  ``[user:password@]host[:port][,host[:port]...]/service[/db]``
``redis+cluster://``   ``[user:password@]host[:port][,host[:port]...]``
=====================  =========================================================================

``rediss+sentinel://`` and ``rediss+cluster://`` use TLS too. Options of redis-py may follow each URL
(``?socket_timeout=2``); those that start with ``sentinel_`` are for the Sentinels themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlencode

import attrs
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.connection
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url

from telstate_backends.redis import slips
from telstate_backends.redis.clients import join, master_address

#: Given to every connection that is made from a URL, unless the URL says otherwise.
DEFAULTS: Mapping[str, Any] = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 30,
    # As good as none: each thread that waits or watches has one. From redis-py 8 on it is 100 by default.
    "max_connections": 1 << 31,
}

Client: TypeAlias = "redis.Redis | redis.cluster.RedisCluster"
AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.cluster.RedisCluster"


@attrs.frozen
class Target:
    """What a URL says.

    Attributes
    ----------
    scheme : str
        Before the ``://``.
    hosts : list of (str, int)
        Where Sentinels or nodes of a cluster are; empty for the other schemes.
    service : str
        The name of the master, for Sentinel.
    arguments : callable
        Gives what is for every connection: credentials, database, timeouts, TLS. A function, because
        a password may be among it, and functions do not show what they give.
    """

    scheme: str
    hosts: list[tuple[str, int]]
    service: str
    arguments: Callable[[], dict[str, Any]] = attrs.field(repr=False)


def parse(url: str, db: int | None) -> Target:
    """Read a URL.

    Raises
    ------
    ValueError
        If it is no URL of ours, or names another database than `db`.
    """
    # Blanks around it come of copying.
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise ValueError(slips.wrong_scheme(scheme if separator else None, list(_PORTS)))
    base, _, variant = scheme.partition("+")
    listed: list[str] | None = None
    service = ""
    if variant:
        listed, service, rest = _take_hosts(rest, scheme)
    given: dict[str, Any] = {}
    hosts: list[tuple[str, int]] = []
    try:
        slip = slips.find_slip(f"{base}://{rest}", scheme, listed)
        if slip is None:
            given = _untyped(parse_url)(f"{base}://{rest}")
            given |= _typed(given)
            hosts = [_split(host, _PORTS[scheme]) for host in listed or ()]
    except (ValueError, AttributeError) as error:
        slip = slips.wrong_option(error, scheme) or _FORMS.format(scheme=scheme)
    if slip is not None:
        raise ValueError(slip)  # without the cause, whose text may hold a piece of the password
    given.pop("connection_class", None)
    if base == "rediss" and variant:
        given["ssl"] = True
    if variant:
        del given["host"]
        given.pop("port", None)
    chosen = given.get("db")
    if chosen is not None and chosen < 0:
        raise ValueError(f"there is no database {chosen}; the first is 0")
    if db is not None and chosen is not None and chosen != db:
        raise ValueError(f"the URL asks for database {chosen}, but db is {db}; give only one")
    arguments = {**DEFAULTS, **given}
    if "path" in arguments:
        del arguments["socket_keepalive"]
    if db is not None:
        arguments["db"] = db
    for prefix in ("", _SENTINEL):
        _cover(arguments, prefix)
    return Target(scheme, hosts, service, arguments.copy)


def _typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give those options that redis-py knows by other names, or not in URLs, as what they are meant to be."""
    typed: dict[str, Any] = {}
    for name, value in given.items():
        own = name.removeprefix(_SENTINEL)
        if own == name or own in ("username", "password"):
            continue
        try:
            (typed[name],) = _untyped(parse_url)(f"redis://?{urlencode({own: value})}").values()
        except ValueError:
            raise ValueError(f"Invalid value for '{name}' in connection URL.") from None
    if (count := given.get(_OTHERS)) is not None:
        try:
            typed[_OTHERS] = int(count)
        except ValueError:
            raise ValueError(f"Invalid value for '{_OTHERS}' in connection URL.") from None
    return typed


#: What options for the Sentinels themselves begin with.
_SENTINEL = "sentinel_"

#: How many other Sentinels must know of one for its word to count.
_OTHERS = "min_other_sentinels"

#: Every scheme, and the port that its hosts have by default.
_PORTS = {
    "redis": 6379,
    "rediss": 6379,
    "unix": 0,
    "redis+sentinel": 26379,
    "rediss+sentinel": 26379,
    "redis+cluster": 6379,
    "rediss+cluster": 6379,
}

_FORMS = (
    "this {scheme}:// URL is not a valid address; the forms are redis://host:port/db, "
    "unix:///path, redis+sentinel://host:port,host:port/service/db and "
    "redis+cluster://host:port,host:port; quote special characters in user and password"
)


def _take_hosts(rest: str, scheme: str) -> tuple[list[str], str, str]:
    """Take hosts and service out of a URL; what is left is one that redis-py reads."""
    place, question, query = rest.partition("?")
    authority, _, path = place.partition("/")
    user, at, listed = authority.rpartition("@")
    service = ""
    if scheme.endswith("+sentinel"):
        service, _, path = path.partition("/")
        if not service:
            raise ValueError(
                f"this {scheme}:// URL does not name the service, by which the Sentinels know the "
                f"master; the form is {scheme}://host:port,host:port/service/db"
            )
    hosts = [host.strip() for host in listed.split(",")]
    return hosts, unquote(service), f"{user}{at}host/{quote(path)}{question}{query}"


def _split(host: str, port: int) -> tuple[str, int]:
    """Take apart host and port, if there is one."""
    name, colon, digits = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, digits = host, str(port)
    if not name:
        raise ValueError("a host is missing")
    return name.strip("[]"), int(digits)


def _cover(arguments: dict[str, Any], prefix: str) -> None:
    """Put user and password into an object without a telling `repr`."""
    names = (prefix + "username", prefix + "password")
    if any(name in arguments for name in names):
        credentials = redis.UsernamePasswordCredentialProvider(
            *(arguments.pop(name, None) for name in names)
        )
        arguments[prefix + "credential_provider"] = credentials


def target_of(url: object, db: int | None) -> Target:
    """Read a URL: :func:`parse`, but with nothing of it in the traceback of an error."""
    if not isinstance(url, str):
        raise TypeError(
            f"a URL is a string, not a {type(url).__name__}, such as redis://host:port/db"
        )
    try:
        return parse(url, db)
    except ValueError as error:
        problem = str(error)
    finally:
        del url
    raise ValueError(problem)


def is_unknown_option(error: BaseException) -> bool:
    """Tell whether redis-py says by an error that it does not know an option of a URL."""
    return isinstance(error, TypeError) and unknown_option(error) is not error


def unknown_option(error: TypeError) -> Exception:
    """Make our error of one by which redis-py says that it does not know an option of a URL.

    To be raised when `error` has been dealt with: what redis-py had in hand at the time is neither
    whole nor fit to be shown.
    """
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if found is None:
        return error
    return ValueError(f"redis-py does not know the option {found[1]!r} of the URL; see its manual")


def place_of(target: Target) -> str:
    """Name the cluster, or the master, that a URL leads to, without any password."""
    places = [join(*host) for host in target.hosts]
    if target.service:
        return master_address(target.service, places)
    return f"cluster {','.join(places)}"


def is_for_tls(target: Target) -> bool:
    """Tell whether a URL asks for TLS."""
    return target.scheme.startswith("rediss")


def connect(target: Target) -> Client:
    """Make a sync client."""
    if target.scheme.endswith("+sentinel"):
        sentinel = _untyped(redis.sentinel.Sentinel)(
            target.hosts,
            sentinel_kwargs=_for_sentinels(target) | {"retry": redis.retry.Retry(NoBackoff(), 0)},
            **_for_master(target),
        )
        client: redis.Redis = sentinel.master_for(target.service)
        return client
    if target.scheme.endswith("+cluster"):
        nodes = [_untyped(redis.cluster.ClusterNode)(*host) for host in target.hosts]
        try:
            return redis.cluster.RedisCluster(startup_nodes=nodes, **_for_cluster(target))
        except BaseException:
            # A client that could not be made leaves its connections to the garbage collector.
            for node in nodes:
                if node.redis_connection is not None:
                    node.redis_connection.connection_pool.disconnect()
            raise
    kinds = {"rediss": redis.SSLConnection, "unix": redis.UnixDomainSocketConnection}
    kind = kinds.get(target.scheme, redis.Connection)
    pool = redis.ConnectionPool(connection_class=kind, **target.arguments())
    return redis.Redis(connection_pool=pool)


def connect_async(target: Target) -> AsyncClient:
    """Make an asyncio client."""
    if target.scheme.endswith("+sentinel"):
        sentinel = _untyped(redis.asyncio.sentinel.Sentinel)(
            target.hosts,
            sentinel_kwargs=_for_sentinels(target)
            | {"retry": redis.asyncio.retry.Retry(NoBackoff(), 0)},
            **_for_master(target),
        )
        client: redis.asyncio.Redis = sentinel.master_for(target.service)
        return client
    if target.scheme.endswith("+cluster"):
        nodes = [redis.asyncio.cluster.ClusterNode(*host) for host in target.hosts]
        return redis.asyncio.cluster.RedisCluster(startup_nodes=nodes, **_for_cluster(target))
    kinds: dict[str, type[redis.asyncio.connection.AbstractConnection]] = {
        "rediss": redis.asyncio.SSLConnection,
        "unix": redis.asyncio.UnixDomainSocketConnection,
    }
    kind = kinds.get(target.scheme, redis.asyncio.Connection)
    pool = redis.asyncio.ConnectionPool(connection_class=kind, **target.arguments())
    return redis.asyncio.Redis(connection_pool=pool)


def _untyped(thing: Callable[..., Any]) -> Callable[..., Any]:
    """Give something of redis-py's that it leaves without annotations, so that it can be called."""
    return thing


def _for_sentinels(target: Target) -> dict[str, Any]:
    """Give the arguments for connections to Sentinels."""
    given = target.arguments()
    # How many connections there may be to the master is nothing to them.
    given["max_connections"] = DEFAULTS["max_connections"]
    shared = {name: given[name] for name in (*DEFAULTS, "ssl") if name in given}
    own = {
        name.removeprefix(_SENTINEL): value
        for name, value in given.items()
        if name.startswith(_SENTINEL)
    }
    return shared | own


def _for_master(target: Target) -> dict[str, Any]:
    """Give the arguments for connections to the master that Sentinels name."""
    given = target.arguments()
    return {name: value for name, value in given.items() if not name.startswith(_SENTINEL)}


def _for_cluster(target: Target) -> dict[str, Any]:
    """Give the arguments for a cluster, which has one database only."""
    if target.arguments().get("db"):
        raise ValueError("a Redis Cluster has database 0 only")
    return {name: value for name, value in target.arguments().items() if name != "db"}
