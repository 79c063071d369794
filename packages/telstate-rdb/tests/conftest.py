"""What the tests of this package share.

Modules beside this one that hold no tests (``rdb_...``) are imported by their bare names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from telstate_testing import (
    RedisBinary,
    RedisServer,
    example_count,
    missing,
    newest_binaries,
    peer_python,
    redis_binaries,
)

sys.path.insert(0, str(Path(__file__).parent))

from rdb_servers import connect, fill  # noqa: E402  # found in the folder added above

# No deadline: a test that stands or falls with the machine's load says nothing.
settings.register_profile("telstate-rdb", deadline=None, max_examples=example_count(60))
settings.load_profile("telstate-rdb")

NO_SERVER = pytest.mark.skip(reason=missing("Redis or Valkey server"))
#: The newest Redis and the newest Valkey are tested on every Python, the others on one only.
BINARIES = [
    pytest.param(binary, marks=() if binary in newest_binaries() else pytest.mark.slow)
    for binary in redis_binaries()
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need the peer as slow: it is there in the session with slow tests only."""
    for item in items:
        if "peer" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session", params=BINARIES or [pytest.param(None, marks=NO_SERVER)], ids=str)
def redis_binary(request: pytest.FixtureRequest) -> RedisBinary:
    """Each server of this machine in turn."""
    binary: RedisBinary = request.param
    return binary


@pytest.fixture(scope="session")
def redis_server(redis_binary: RedisBinary) -> Iterator[RedisServer]:
    """A running server of each version in turn; tests share it and must not mind its content."""
    with RedisServer(redis_binary) as server:
        yield server


@pytest.fixture(scope="session")
def filled_server(redis_binary: RedisBinary) -> Iterator[RedisServer]:
    """A running server of each version in turn with the data set of `rdb_servers.fill`, for reading only."""
    options = ["--maxmemory-policy", "allkeys-lru", "--list-compress-depth", "1"]
    if redis_binary.version >= (7,):
        options += ["--enable-debug-command", "yes"]
    with RedisServer(redis_binary, options) as server:
        fill(server)
        connect(server).save()
        yield server


@pytest.fixture(scope="session")
def server_file(filled_server: RedisServer) -> Path:
    """The file that `filled_server` has saved."""
    return filled_server.folder / "dump.rdb"


@pytest.fixture(scope="session")
def peer() -> str:
    """The Python that has katsdptelstate and rdbtools."""
    found = peer_python()
    if found is None:
        pytest.skip("no environment with the peer was made; TELSTATE_PEER_PYTHON names it")
    return str(found)
