"""Servers and backends for the tests; there is one server of each version for a whole run.

Behaviour is tested on every server, the rest on the newest Redis and the newest Valkey.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import settings

from telstate_backends import Store
from telstate_testing import (
    RedisBinary,
    RedisServer,
    clusters,
    example_count,
    missing,
    newest_binaries,
    redis_binaries,
)

sys.path.insert(0, str(Path(__file__).parent))

import subjects  # noqa: E402  # a helper beside the tests, found by the line above
from proxy import Proxy  # noqa: E402  # the same

# No deadline: a test that stands or falls with the machine's load says nothing.
settings.register_profile("telstate-backends", deadline=None, max_examples=example_count(100))
settings.load_profile("telstate-backends")

SERVERS = {str(binary): binary for binary in redis_binaries()}
#: The newest Redis and the newest Valkey.
NEWEST = [str(binary) for binary in newest_binaries()]
NO_SERVER = missing("Redis or Valkey server")
NO_NEWEST: list[Any] = [pytest.param("", marks=pytest.mark.skip(reason=NO_SERVER))]
#: Marks tests that need a real server, whichever version.
needs_server = pytest.mark.skipif(not SERVERS, reason=NO_SERVER)
#: The newest servers are also tested as a cluster, and the newest Redis with the other protocol.
KINDS = ["memory", "memory-archive", "fakeredis", *SERVERS, *(f"{name}-cluster" for name in NEWEST)]
KINDS += [f"{name}-resp3" for name in NEWEST[:1]]
#: Those with a cache in front.
CACHED_KINDS = ["cached-memory", *(f"cached-{name}" for name in NEWEST)]
SLOW = pytest.mark.slow
#: The kinds that are tested on every Python; the others are tested on one only.
QUICK_KINDS = ["memory", "memory-archive", *(NEWEST or ["fakeredis"]), CACHED_KINDS[0]]


def pytest_configure(config: pytest.Config) -> None:
    """Ignore a warning of redis-py 7.2, which passes arguments to its own connections that it deprecates."""
    if (7, 2) <= redis.VERSION < (7, 3):
        deprecated = "Call to '__init__' function with deprecated usage of input argument/s 'lib_"
        config.addinivalue_line("filterwarnings", f"ignore:{deprecated}:DeprecationWarning")


def marked(kinds: list[str]) -> list[Any]:
    """Return kinds as parameters, marked as slow if they are not tested on every Python."""
    return [pytest.param(kind, marks=() if kind in QUICK_KINDS else SLOW) for kind in kinds]


@pytest.fixture(scope="session")
def server_urls() -> Iterator[dict[str, str]]:
    """URLs of the servers, which are started when they are first used."""
    with ExitStack() as stack:
        yield _Urls(stack)


class _Urls(dict[str, str]):
    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, name: str) -> str:
        server = self._stack.enter_context(RedisServer(SERVERS[name]))
        self[name] = server.url
        return server.url


@pytest.fixture(scope="session")
def ports_of_cluster() -> Iterator[Callable[[str], list[int]]]:
    """Return the ports of the cluster of a version, which is started on first use and emptied."""
    with clusters.shared_clusters() as ports:
        yield lambda name: ports(SERVERS[name])


@pytest.fixture(params=NEWEST or NO_NEWEST)
def newest(request: pytest.FixtureRequest) -> RedisBinary:
    """The newest Redis and the newest Valkey in turn."""
    return SERVERS[request.param]


@pytest.fixture
def cluster_ports(newest: RedisBinary, ports_of_cluster: Callable[[str], list[int]]) -> list[int]:
    """The ports of an empty cluster of the newest versions in turn."""
    return ports_of_cluster(str(newest))


@pytest.fixture(params=marked(list(SERVERS)))
def server_url(request: pytest.FixtureRequest, server_urls: dict[str, str]) -> str:
    """The URL of an empty server, of each version in turn."""
    return _emptied(server_urls[request.param])


@pytest.fixture
def newest_url(newest: RedisBinary, server_urls: dict[str, str]) -> str:
    """The URL of an empty server of the newest versions in turn."""
    return _emptied(server_urls[str(newest)])


@pytest.fixture
def server(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server of the newest versions in turn, for this test alone."""
    with RedisServer(newest) as server:
        yield server


@pytest.fixture
def proxy(newest_url: str) -> Iterator[Proxy]:
    """A proxy to an empty server of the newest versions in turn."""
    with Proxy(int(newest_url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture(params=[False, True], ids=["sync", "asyncio"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    """Synchronous and asyncio in turn."""
    return bool(request.param)


@pytest.fixture(params=marked([*KINDS, *CACHED_KINDS]))
async def subject(
    request: pytest.FixtureRequest, asynchronous: bool
) -> AsyncIterator[subjects.Subject]:
    """An empty backend of each kind, synchronous and asyncio, and some with a cache in front."""
    kind: str = request.param
    made = await _maker(request, kind.removeprefix("cached-"), asynchronous)()
    if kind in CACHED_KINDS:
        made = subjects.cached(made)
    yield made
    await made.close()


@pytest.fixture(params=marked(KINDS))
async def pair(
    request: pytest.FixtureRequest, asynchronous: bool
) -> AsyncIterator[tuple[subjects.Subject, subjects.Subject]]:
    """Two backends on one empty store, of each kind, synchronous and asyncio: one plain, one cached."""
    make = _maker(request, request.param, asynchronous)
    plain, cached = await make(), subjects.cached(await make())
    yield plain, cached
    await cached.close()
    await plain.close()


def _maker(
    request: pytest.FixtureRequest, kind: str, asynchronous: bool
) -> Callable[[], Awaitable[subjects.Subject]]:
    """Return a function that returns backends on one empty store."""
    store, server, url = Store(), fakeredis.FakeServer(), ""
    if kind.endswith("-cluster"):
        ports = request.getfixturevalue("ports_of_cluster")(kind.removesuffix("-cluster"))
        url = f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20"
    elif kind not in ("memory", "memory-archive", "fakeredis"):
        url = _emptied(request.getfixturevalue("server_urls")[kind.removesuffix("-resp3")])
        url += f"?protocol={3 if kind.endswith('-resp3') else 2}&socket_timeout=20"

    async def make() -> subjects.Subject:
        if kind == "memory":
            return subjects.memory(asynchronous, store)
        if kind == "memory-archive":
            return subjects.archived(asynchronous, store)
        if kind == "fakeredis":
            return subjects.fake(asynchronous, server)
        if kind.endswith("-cluster"):
            return await subjects.spread(asynchronous, url)
        return subjects.real(asynchronous, url)

    return make


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.script_flush()
    return url
