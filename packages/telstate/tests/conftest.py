"""Servers, telescope states on every backend, and a real snapshot for all tests of this package.

`ts` is a synchronous telescope state and `ats` an asyncio one, on memory, fakeredis and every real server.
`subject` is either class behind one asyncio interface, and also runs on a cluster, with RESP3 and with a cache.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings

from telstate import TelescopeState, aio
from telstate_backends import AsyncRedisBackend, RedisBackend
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

import dropin_modules  # noqa: E402  # a helper beside the tests, found by the line above
import state_subjects  # noqa: E402  # the same

DATA = Path(__file__).parent / "data"
# No deadline: a test that stands or falls with the machine's load says nothing.
settings.register_profile("telstate", deadline=None, max_examples=example_count(100))
settings.load_profile("telstate")

SERVERS = {str(binary): binary for binary in redis_binaries()}
#: The newest Redis and the newest Valkey.
NEWEST = [str(binary) for binary in newest_binaries()]
NO_SERVER = missing("Redis or Valkey server")
NO_NEWEST: list[Any] = [pytest.param("", marks=pytest.mark.skip(reason=NO_SERVER))]
#: Marks tests that need a real server, whichever version.
needs_server = pytest.mark.skipif(not SERVERS, reason=NO_SERVER)
#: The kinds that are tested on every Python; the others are tested on one only.
QUICK_KINDS = ["memory", *(NEWEST or ["fakeredis"])]


def marked(*kinds: str) -> list[Any]:
    """Return kinds as parameters, marked as slow if they are not tested on every Python."""
    slow = pytest.mark.slow
    return [pytest.param(kind, marks=() if kind in QUICK_KINDS else slow) for kind in kinds]


KINDS = marked("memory", "fakeredis", *SERVERS)
#: The newest servers also as a cluster, and the newest Redis with RESP3.
ALL_KINDS = [*KINDS, *marked(*(f"{name}-cluster" for name in NEWEST))]
ALL_KINDS += marked(*(f"{name}-resp3" for name in NEWEST[:1]))
#: The newest Redis also with a cache of immutables in front of it.
WITH_CACHE = [*ALL_KINDS, *marked(*(f"{name}-cached" for name in NEWEST[:1]))]


@pytest.fixture(scope="session")
def server_port() -> Iterator[Callable[[str], int]]:
    """Return the port of the server of a version, which is started on first use and emptied."""
    running: dict[str, RedisServer] = {}
    with ExitStack() as stack:

        def port(name: str) -> int:
            if name not in running:
                running[name] = stack.enter_context(RedisServer(SERVERS[name]))
            with redis.Redis(port=running[name].port) as client:
                client.flushall()
            return running[name].port

        yield port


@pytest.fixture(params=NEWEST or NO_NEWEST)
def newest(request: pytest.FixtureRequest) -> RedisBinary:
    """The newest Redis and the newest Valkey in turn."""
    return SERVERS[request.param]


@pytest.fixture
def newest_port(newest: RedisBinary, server_port: Callable[[str], int]) -> int:
    """The port of an empty server of the newest versions in turn."""
    return server_port(str(newest))


@pytest.fixture
def any_port(server_port: Callable[[str], int]) -> int:
    """The port of an empty server, of whichever version."""
    if not NEWEST:
        pytest.skip(NO_SERVER)
    return server_port(NEWEST[0])


@pytest.fixture(scope="session")
def ports_of_cluster() -> Iterator[Callable[[str], list[int]]]:
    """Return the ports of the cluster of a version, which is started on first use and emptied."""
    with clusters.shared_clusters() as ports:
        yield lambda name: ports(SERVERS[name])


@pytest.fixture(params=KINDS)
def ts(
    request: pytest.FixtureRequest, server_port: Callable[[str], int]
) -> Iterator[TelescopeState]:
    """An empty telescope state on each backend in turn."""
    kind: str = request.param
    if kind == "memory":
        ts = TelescopeState()
    elif kind == "fakeredis":
        from fakeredis import FakeRedis

        ts = TelescopeState(RedisBackend(FakeRedis()))
    else:
        ts = TelescopeState(f"127.0.0.1:{server_port(kind)}")
    yield ts
    ts.backend.close()


@pytest.fixture(params=KINDS)
async def ats(
    request: pytest.FixtureRequest, server_port: Callable[[str], int]
) -> AsyncIterator[aio.TelescopeState]:
    """An empty asyncio telescope state on each backend in turn."""
    kind: str = request.param
    if kind == "memory":
        ats = aio.TelescopeState()
    elif kind == "fakeredis":
        from fakeredis import FakeAsyncRedis

        ats = aio.TelescopeState(AsyncRedisBackend(FakeAsyncRedis()))
    else:
        url = f"redis://127.0.0.1:{server_port(kind)}"
        ats = aio.TelescopeState(await AsyncRedisBackend.from_url(url))
    yield ats
    ats.backend.close()
    await ats.backend.wait_closed()


@pytest.fixture(params=[False, True], ids=["sync", "asyncio"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    """Synchronous and asyncio in turn."""
    return bool(request.param)


@pytest.fixture(params=WITH_CACHE)
async def subject(
    request: pytest.FixtureRequest, asynchronous: bool, server_port: Callable[[str], int]
) -> AsyncIterator[state_subjects.Subject]:
    """An empty telescope state, synchronous and asyncio, on each kind of backend in turn."""
    kind: str = request.param
    if kind == "memory":
        subject = state_subjects.memory(asynchronous)
    elif kind == "fakeredis":
        subject = state_subjects.fake(asynchronous)
    elif kind.endswith("-cluster"):
        ports = request.getfixturevalue("ports_of_cluster")(kind.removesuffix("-cluster"))
        url = f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20"
        subject = await state_subjects.real(asynchronous, url)
    else:
        version, _, protocol = kind.removesuffix("-cached").partition("-resp")
        url = f"redis://127.0.0.1:{server_port(version)}?protocol={protocol or 2}&socket_timeout=20"
        cache_size = 100 if kind.endswith("-cached") else 0
        subject = await state_subjects.real(asynchronous, url, cache_size)
    yield subject
    await subject.close()


@pytest.fixture
def real_snapshot() -> Path:
    """The snapshot of a real observation; see the README beside it."""
    return DATA / "1testdata_sdp_l0.rdb"


@pytest.fixture
def old() -> Iterator[dropin_modules.Old]:
    """The modules of the drop-in, installed as katsdptelstate."""
    with dropin_modules.installed() as modules:
        yield modules
