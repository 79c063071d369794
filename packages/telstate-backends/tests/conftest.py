"""Servers and backends for the tests; there is one server of each version for a whole run."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from telstate_backends import Store
from telstate_testing import RedisServer, clusters, newest_binaries, redis_binaries

sys.path.insert(0, str(Path(__file__).parent))

import subjects  # noqa: E402  # a helper beside the tests, found by the line above
from proxy import Proxy  # noqa: E402  # the same

SERVERS = {str(binary): binary for binary in redis_binaries()}
NEWEST = [str(binary) for binary in newest_binaries()]
#: The newest server is also tested with the other protocol.
KINDS = ["memory", "fakeredis", *SERVERS, *(f"{name}-resp3" for name in NEWEST[:1])]
KINDS += ["cluster"] if SERVERS else []
#: Those with a cache in front.
CACHED_KINDS = ["cached-memory", *(f"cached-{name}" for name in NEWEST[:1])]
SLOW = pytest.mark.slow
#: The kinds that are tested on every Python; the others are tested on one only.
QUICK_KINDS = ["memory", "fakeredis", *NEWEST[:1], CACHED_KINDS[0]]


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
def whole_cluster() -> Iterator[list[int]]:
    """The ports of a cluster of the newest version."""
    with clusters.running_cluster(SERVERS[NEWEST[0]]) as servers:
        yield [server.port for server in servers]


@pytest.fixture
def cluster_ports(whole_cluster: list[int]) -> list[int]:
    """The ports of an empty cluster of the newest version."""
    clusters.empty_cluster(whole_cluster)
    return whole_cluster


@pytest.fixture(params=list(SERVERS))
def server_url(request: pytest.FixtureRequest, server_urls: dict[str, str]) -> str:
    """The URL of an empty server, of each version in turn."""
    return _emptied(server_urls[request.param])


@pytest.fixture
def newest_url(server_urls: dict[str, str]) -> str:
    """The URL of an empty server of the newest version."""
    if not SERVERS:
        pytest.skip("there is no Redis server")
    return _emptied(server_urls[NEWEST[0]])


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the newest version, for this test alone."""
    if not SERVERS:
        pytest.skip("there is no Redis server")
    with RedisServer(SERVERS[NEWEST[0]]) as server:
        yield server


@pytest.fixture
def proxy(newest_url: str) -> Iterator[Proxy]:
    """A proxy to an empty server of the newest version."""
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
    if kind == "cluster":
        ports = request.getfixturevalue("cluster_ports")
        url = f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20"
    elif kind not in ("memory", "fakeredis"):
        url = _emptied(request.getfixturevalue("server_urls")[kind.removesuffix("-resp3")])
        url += f"?protocol={3 if kind.endswith('-resp3') else 2}&socket_timeout=20"

    async def make() -> subjects.Subject:
        if kind == "memory":
            return subjects.memory(asynchronous, store)
        if kind == "fakeredis":
            return subjects.fake(asynchronous, server)
        if kind == "cluster":
            return await subjects.spread(asynchronous, url)
        return subjects.real(asynchronous, url)

    return make


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.script_flush()
    return url
