"""What people get wrong in a URL, found before redis-py overlooks it: pure.

Rules: redis-py ignores what it cannot read (a database that is no number, what follows a ``#``, the
host of a ``unix://`` URL), and would lead to another store than was meant. A text names the scheme
and says how to write it, but shows nothing of the URL: any part may be a piece of a password.
"""

# From a URL to a redis-py client, sync and asyncio: one table of schemes.
#
# Rules: connections have timeouts and health checks by default, and no retries of redis-py's own. A
# URL is never shown in an error, because it may hold a password, and user and password are handed on
# in an object that does not show them: some versions of redis-py print every other argument.
#
# =====================  =========================================================================
# ``redis://``           ``[user:password@]host[:port][/db]``
# ``rediss://``          the same, over TLS
# ``unix://``            ``[user:password@]/path[?db=...]``, so that there are three slashes
# ``redis+sentinel://``  ``[user:password@]host[:port][,host[:port]...]/service[/db]``
# ``redis+cluster://``   ``[user:password@]host[:port][,host[:port]...]``
# =====================  =========================================================================
#
# ``rediss+sentinel://`` and ``rediss+cluster://`` use TLS too. Options of redis-py may follow each URL
# (``?socket_timeout=2``); those that start with ``sentinel_`` are for the Sentinels themselves.

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

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

from telstate_backends.redis._client import join, master_address

_LAST_PORT = 65535
#: What Python leaves out of a URL that it takes apart.
_UNSEEN = frozenset("\t\r\n")
_OF_IPV6 = frozenset(string.hexdigits + ":.")


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _has_blank(host: str) -> bool:
    return any(letter.isspace() for letter in host)


def _lacks_brackets(host: str) -> bool:
    return host.count(":") > 1 and _OF_IPV6.issuperset(host)


def _has_bad_port(host: str) -> bool:
    name, _, port = host.rpartition(":")
    if not port or not name and ":" not in host or host.endswith("]"):
        return False
    return not _is_number(port) or len(port) > 5 or not 0 < int(port) <= _LAST_PORT


def _has_bad_database(parts: SplitResult) -> bool:
    return parts.scheme != "unix" and not _is_number(_path(parts) or "0")


def _has_two_databases(parts: SplitResult) -> bool:
    path = _path(parts)
    option = parse_qs(parts.query).get("db", [path])[0]
    return parts.scheme != "unix" and path != "" and _is_number(option) and int(option) != int(path)


def _path(parts: SplitResult) -> str:
    """Give what is after the host; one slash may follow it, as one may follow the host."""
    return unquote(parts.path).removeprefix("/").removesuffix("/")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


#: What may be wrong with a host and port, and what to say of it.
_OF_HOSTS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (_has_blank, "the address in this {scheme}:// URL has a blank in it; leave it out"),
    (
        _lacks_brackets,
        "the IPv6 address in this {scheme}:// URL must stand in brackets, as in {scheme}://[::1]:6379",
    ),
    (
        _has_bad_port,
        f"the port in this {{scheme}}:// URL is not a number from 1 to {_LAST_PORT}; write host:port, "
        "and quote special characters in user and password",
    ),
)

#: What may be wrong with a URL, but for its host and port.
_OF_URLS: tuple[tuple[Callable[[SplitResult], bool], str], ...] = (
    (
        lambda parts: parts.fragment != "",
        "this {scheme}:// URL has a '#', after which everything would be ignored; write it as %23",
    ),
    (
        lambda parts: parts.scheme == "unix" and (_host(parts) != "" or parts.path in ("", "/")),
        "this unix:// URL does not name the file of a socket by its absolute path; write three slashes, "
        "as in unix:///tmp/redis.sock",
    ),
    (
        _has_bad_database,
        "the database in this {scheme}:// URL is not a whole number; the form is {form}",
    ),
    (
        _has_two_databases,
        "this {scheme}:// URL asks for one database by its path and for another by the option db; give "
        "only one",
    ),
)

#: What comes after the scheme, by its variant.
_FORMS = {"": "host:port/0", "sentinel": "host:port,host:port/service/0", "cluster": "host:port"}


def find_slip(url: str, scheme: str, hosts: Iterable[str] | None = None) -> str | None:
    """Tell what is wrong with a URL, if it is one of the usual

    Parameters
    ----------
    url : str
        One that redis-py reads.
    scheme : str
        How it began when the user wrote it.
    hosts : iterable of str, optional
        Hosts and ports that the user wrote, if they are not in `url`.

    Returns
    -------
    str or None
        One sentence that says what to write.
    """
    if not _UNSEEN.isdisjoint(url):
        return f"this {scheme}:// URL has a line break or a tab in it; leave it out"
    parts = urlsplit(url)
    if hosts is None:
        hosts = () if parts.scheme == "unix" else (_host(parts),)
    texts = [text for is_wrong, text in _OF_URLS[:1] if is_wrong(parts)]
    texts += [text for host in hosts for is_wrong, text in _OF_HOSTS if is_wrong(host)]
    texts += [text for is_wrong, text in _OF_URLS[1:] if is_wrong(parts)]
    if not texts:
        return None
    form = f"{scheme}://{_FORMS[scheme.partition('+')[2]]}"
    return texts[0].format(scheme=scheme, form=form)


def wrong_scheme(scheme: str | None, known: Collection[str]) -> str:
    """Say what is wrong with a URL whose scheme is not among the known ones.

    Parameters
    ----------
    scheme : str or None
        What is before the ``://``, if that is there.
    known : collection of str
        Our schemes.
    """
    use = "use " + ", ".join(f"{each}://" for each in known)
    if scheme is None:
        return f"a URL starts with its scheme; {use}"
    # A scheme is a word, or some; what is none may be a password that went astray.
    if re.fullmatch("[a-z]+([+-][a-z]+)*", scheme) is None:
        return f"this is no scheme of ours; {use}"
    meant = scheme.replace("-", "+")
    hint = f"you may mean {meant}://" if meant in known else use
    return f"'{scheme}://' is no scheme of ours; {hint}"


def wrong_option(error: Exception, scheme: str) -> str | None:
    """Say which option of a URL has a value that redis-py cannot read, if `error` is about one."""
    found = re.search(r"Invalid value for [`'](\w+)[`']", str(error))
    return (
        found and f"the option {found[1]} of this {scheme}:// URL cannot have the value it is given"
    )


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
        raise ValueError(wrong_scheme(scheme if separator else None, list(_PORTS)))
    base, _, variant = scheme.partition("+")
    listed: list[str] | None = None
    service = ""
    if variant:
        listed, service, rest = _take_hosts(rest, scheme)
    given: dict[str, Any] = {}
    hosts: list[tuple[str, int]] = []
    try:
        slip = find_slip(f"{base}://{rest}", scheme, listed)
        if slip is None:
            given = _untyped(parse_url)(f"{base}://{rest}")
            given |= _typed(given)
            hosts = [_split(host, _PORTS[scheme]) for host in listed or ()]
    except (ValueError, AttributeError) as error:
        slip = wrong_option(error, scheme) or _ACCEPTED_FORMS.format(scheme=scheme)
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

_ACCEPTED_FORMS = (
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
