"""What the tests of this package share: a telescope state on every backend, and a real snapshot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from telstate import TelescopeState
from telstate_testing import RedisServer, redis_binaries

DATA = Path(__file__).parent / "data"
SERVERS = {str(binary): binary for binary in redis_binaries()}


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, RedisServer]]:
    """Running servers by version; each is started when it is first asked for."""
    running: dict[str, RedisServer] = {}
    yield running
    for server in running.values():
        server.__exit__(None, None, None)


@pytest.fixture(params=["memory", "fakeredis", *SERVERS])
def ts(request: pytest.FixtureRequest, servers: dict[str, RedisServer]) -> Iterator[TelescopeState]:
    """A telescope state with nothing in it, on each backend in turn."""
    if request.param == "memory":
        yield TelescopeState()
        return
    if request.param == "fakeredis":
        from fakeredis import FakeRedis

        from telstate_backends import RedisBackend

        ts = TelescopeState(RedisBackend(FakeRedis()))
    else:
        if request.param not in servers:
            servers[request.param] = RedisServer(SERVERS[request.param]).__enter__()
        ts = TelescopeState(f"127.0.0.1:{servers[request.param].port}")
        ts.clear()
    yield ts
    ts.backend.close()


@pytest.fixture
def real_snapshot() -> Path:
    """The snapshot of a real observation; see the README beside it."""
    return DATA / "1testdata_sdp_l0.rdb"
