"""What the tests of this package share: a telescope state on every backend, and a real snapshot.

`ts` is the synchronous class, `ats` the asyncio one, each on memory, fakeredis and every real server.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from telstate import TelescopeState, aio
from telstate_backends import AsyncRedisBackend, RedisBackend
from telstate_testing import RedisServer, redis_binaries

DATA = Path(__file__).parent / "data"
SERVERS = {str(binary): binary for binary in redis_binaries()}


KINDS = ["memory", "fakeredis", *SERVERS]


@pytest.fixture(scope="session")
def server_port() -> Iterator[Callable[[str], int]]:
    """Give the port of the server of a version; each is started when it is first asked for."""
    running: dict[str, RedisServer] = {}
    with ExitStack() as stack:

        def port(name: str) -> int:
            if name not in running:
                running[name] = stack.enter_context(RedisServer(SERVERS[name]))
            with redis.Redis(port=running[name].port) as client:
                client.flushall()
            return running[name].port

        yield port


@pytest.fixture(params=KINDS)
def ts(
    request: pytest.FixtureRequest, server_port: Callable[[str], int]
) -> Iterator[TelescopeState]:
    """A telescope state with nothing in it, on each backend in turn."""
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
    """An asyncio telescope state with nothing in it, on each backend in turn."""
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


@pytest.fixture
def real_snapshot() -> Path:
    """The snapshot of a real observation; see the README beside it."""
    return DATA / "1testdata_sdp_l0.rdb"
