"""Constructing a telescope state: endpoints, contradictory arguments and unreachable servers."""

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import redis
import redis.asyncio

import telstate
from telstate import (
    ConnectionError,
    Endpoint,
    MemoryBackend,
    TelescopeState,
    aio,
)
from telstate.aio.memory import MemoryBackend as AsyncMemoryBackend
from telstate.aio.redis import RedisBackend as AsyncRedisBackend
from telstate_backends import RedisBackend, RefusedError
from telstate_backends.redis.url import connect, connect_async, parse_url
from telstate_backends.retry import Attempts
from telstate_testing import RedisBinary, RedisServer

# No server listens on port 1.
UNREACHABLE = "127.0.0.1:1"


def test_parameters() -> None:
    """The parameters of the constructors have the documented names, order and defaults."""
    sync = inspect.signature(TelescopeState).parameters
    wanted: dict[str, object] = {"endpoint": "", "db": 0, "prefixes": ("",), "base": None}
    assert {name: sync[name].default for name in list(sync)[:4]} == wanted
    asynchronous = inspect.signature(aio.TelescopeState).parameters
    wanted = {"backend": None, "prefixes": ("",), "base": None}
    assert {name: asynchronous[name].default for name in list(asynchronous)[:3]} == wanted
    further = list(sync.values())[4:] + list(asynchronous.values())[3:]
    assert {one.kind for one in further} <= {inspect.Parameter.KEYWORD_ONLY}
    url, db = list(inspect.signature(AsyncRedisBackend.from_url).parameters.values())[:2]
    assert (url.name, db.name, db.default) == ("url", "db", None)


def test_memory_and_base() -> None:
    """Without an endpoint the store is new and in memory; a backend or base is shared."""
    ts = TelescopeState()
    ts["a"] = 1
    assert isinstance(ts.backend, MemoryBackend)
    assert TelescopeState().keys() == []
    other = TelescopeState(base=ts, prefixes=("x_", ""))
    assert other.prefixes == ("x_", "") and other["a"] == 1 and other.backend is ts.backend
    assert TelescopeState(base=ts.view("b")).prefixes == ("",)
    assert TelescopeState(ts.backend)["a"] == 1
    assert TelescopeState("", 0, ("y_",), ts).prefixes == ("y_",)


def test_single_string_as_prefixes() -> None:
    """A single string as prefixes is refused."""
    for make in (TelescopeState, aio.TelescopeState):
        with pytest.raises(TypeError, match="tuple of strings"):
            make(prefixes="ab")


@pytest.mark.parametrize(
    "arguments",
    [
        {"db": 1},
        {"endpoint": MemoryBackend(), "db": 1},
        {"base": TelescopeState(), "db": 1},
        {"base": TelescopeState(), "endpoint": "localhost"},
        {"base": TelescopeState(), "endpoint": MemoryBackend()},
        {"base": TelescopeState(), "endpoint": Endpoint("localhost", 1)},
        {"endpoint": "redis://localhost/2", "db": 1},
        {"endpoint": "nonsense://localhost"},
    ],
)
def test_contradictions(arguments: dict[str, Any]) -> None:
    """Contradictory arguments raise a ValueError."""
    with pytest.raises(ValueError):
        TelescopeState(**arguments)


def test_asyncio_contradiction() -> None:
    """An asyncio telescope state refuses a backend together with a base, and an endpoint."""
    base = aio.TelescopeState()
    assert aio.TelescopeState(base=base).backend is base.backend
    with pytest.raises(ValueError):
        aio.TelescopeState(AsyncMemoryBackend(), base=base)
    with pytest.raises(TypeError, match="backend"):
        aio.TelescopeState("localhost")  # type: ignore[arg-type]  # that it is refused is the test


def test_invalid_endpoints() -> None:
    """Another type or an invalid port is refused."""
    wrong: Any
    for wrong in (3, ("127.0.0.1", 6379)):
        with pytest.raises(TypeError, match="endpoint"):
            TelescopeState(wrong)
    for wrong in ("localhost:99999", "localhost:-1", "[::1]:0", Endpoint("localhost", 65536)):
        with pytest.raises(ValueError, match=r"^Port -?\d+ is not between"):
            TelescopeState(wrong)


@pytest.mark.parametrize(
    "endpoint",
    [
        "redis:/127.0.0.1:7711",
        "redis//127.0.0.1:7711/2",
        "unix:/run/a.sock",
        "redis:/me:s3cret@host:7711",
        "redis//host?password=s3cret",
        "me:s3cret@host:7711",
        "file:///data/x.rdb",
        "file://me:s3cret@host/x",
        "/tmp/x/a b.sock",
        "observation.rdb",
        "./x.rdb",
    ],
)
def test_not_an_address(endpoint: str) -> None:
    """A mistyped URL or a file name is refused, and the error shows no password."""
    with pytest.raises(ValueError, match="'host:port'.*from_snapshot, or load_from_file") as caught:
        TelescopeState(endpoint)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["::1", "fe80::a", "::ffff:1.2.3.4"])
def test_ipv6_without_brackets(endpoint: str) -> None:
    """An IPv6 address without brackets is refused."""
    with pytest.raises(ValueError):
        TelescopeState(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "db", "url"),
    [
        ("host", 0, "redis://host:6379"),
        ("host:7000", 2, "redis://host:7000"),
        ("[fe80::1]:7000", 0, "redis://[fe80::1]:7000"),
        ("[fe80::1]", 0, "redis://[fe80::1]:6379"),
        ("fe80::1:7000", 0, "redis://[fe80::1]:7000"),
        (Endpoint("host", 7000), 1, "redis://host:7000"),
        (Endpoint("host", None), 0, "redis://host:6379"),
        (Endpoint("fe80::1", 7000), 0, "redis://[fe80::1]:7000"),
        ("rediss://u:p@host/3?ssl_cert_reqs=none", 0, "rediss://u:p@host/3?ssl_cert_reqs=none"),
    ],
)
def test_where_an_endpoint_leads(
    endpoint: str | Endpoint, db: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host, host and port, IPv6 address, Endpoint or URL connects to that address."""
    asked: list[tuple[str, int | None]] = []
    backend = MemoryBackend()

    def from_url(url: str, db: int | None = None) -> MemoryBackend:
        asked.append((url, db or None))
        return backend

    monkeypatch.setattr(RedisBackend, "from_url", from_url)
    assert TelescopeState(endpoint, db).backend is backend
    assert asked == [(url, db or None)]


def test_real_endpoints(newest_port: int) -> None:
    """Each form of endpoint connects to a real server and the right database."""
    address = f"127.0.0.1:{newest_port}"
    client = redis.Redis(port=newest_port, db=3)
    backend = RedisBackend(client)
    endpoints: list[tuple[Any, int]] = [
        (address, 3),
        (Endpoint("127.0.0.1", newest_port), 3),
        (f"redis://{address}/3", 0),
        (f"redis://{address}", 3),
        (f"redis://{address}?db=3", 0),
        (f"redis://{address}/3", 3),
        (backend, 0),
    ]
    for number, (endpoint, db) in enumerate(endpoints):
        ts = TelescopeState(endpoint, db)
        ts[f"k{number}"] = 1
        if ts.backend is not backend:
            ts.backend.close()
    assert TelescopeState(backend).keys() == [f"k{number}" for number in range(len(endpoints))]
    with TelescopeState(address).backend as other:
        assert TelescopeState(other).keys() == []
    backend.close()


def test_database_that_does_not_exist(newest_port: int) -> None:
    """A database number that the server does not have raises a RefusedError."""
    for endpoint in (
        f"127.0.0.1:{newest_port}",
        f"redis://127.0.0.1:{newest_port}",
        Endpoint("127.0.0.1", newest_port),
    ):
        with pytest.raises(RefusedError, match=str(newest_port)):
            TelescopeState(endpoint, 7711)


@pytest.fixture
def guarded(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server with a user and a password."""
    options = "--user observer on >s3cret ~* &* +@all --requirepass other"
    with RedisServer(newest, options.split()) as server:
        yield server


async def test_users_and_unix_sockets(guarded: RedisServer) -> None:
    """User, password and database are taken from the URL, for TCP and Unix sockets."""
    tcp = f"127.0.0.1:{guarded.port}"
    for url in (
        f"redis://observer:s3cret@{tcp}/1",
        f"redis://:other@{tcp}/1",
        f"redis://{tcp}/1?username=observer&password=s3cret",
        f"unix://observer:s3cret@{guarded.unix_socket}?db=1",
    ):
        with TelescopeState(url).backend as backend:
            TelescopeState(backend).add("m", 1)
        async with await AsyncRedisBackend.from_url(url) as asynchronous:
            assert await aio.TelescopeState(asynchronous).keys() == ["m"]
    for url in (f"redis://observer:wr0ng@{tcp}", f"redis://{tcp}"):
        with pytest.raises(ConnectionError, match=f"{tcp}.*refused the login"):
            TelescopeState(url)
        with pytest.raises(ConnectionError, match=f"{tcp}.*refused the login"):
            await AsyncRedisBackend.from_url(url)


def test_defaults_of_connections() -> None:
    """Connections have socket timeouts and health checks by default, and the URL can change them."""
    wanted = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0, "health_check_interval": 30}
    clients: list[Any] = [connect(parse_url(f"redis://{UNREACHABLE}", None))]
    clients.append(connect_async(parse_url(f"redis://{UNREACHABLE}", None)))
    for client in clients:
        arguments = client.connection_pool.connection_kwargs
        assert {name: arguments[name] for name in wanted} == wanted
    other: Any = connect(parse_url(f"redis://{UNREACHABLE}?socket_timeout=9", None))
    assert other.connection_pool.connection_kwargs["socket_timeout"] == 9.0


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        (UNREACHABLE, UNREACHABLE),
        ("[::1]:1", r"\[::1\]:1"),
        (f"redis://user:s3cret@{UNREACHABLE}", UNREACHABLE),
        (f"rediss://user:s3cret@{UNREACHABLE}", UNREACHABLE),
        ("unix://user:s3cret@/nowhere.sock", "/nowhere.sock"),
        (f"redis+sentinel://user:s3cret@{UNREACHABLE}/store", "store"),
        (f"redis+cluster://user:s3cret@{UNREACHABLE}", UNREACHABLE),
    ],
)
async def test_unreachable_server(
    endpoint: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreachable Redis raises telstate's ConnectionError with the address, without retries."""
    # The constructor does not retry, as operations do for ten seconds.
    again: list[Attempts] = []

    def next_delay(attempts: Attempts, *failure: object) -> float:
        if failure:  # What listens to Sentinels passes none, and goes on.
            again.append(attempts)
        return 0.01

    monkeypatch.setattr(Attempts, "next_delay", next_delay)
    with pytest.raises(telstate.ConnectionError, match=named) as caught:
        TelescopeState(endpoint)
    assert "s3cret" not in str(caught.value)
    if "://" in endpoint:
        with pytest.raises(telstate.ConnectionError, match=named) as caught:
            await AsyncRedisBackend.from_url(endpoint)
        assert "s3cret" not in str(caught.value)
    assert again == []


async def test_asyncio_redis(newest_port: int) -> None:
    """An asyncio backend is made from a URL or a client, and closed by its methods or a block."""
    backend = await AsyncRedisBackend.from_url(f"redis://127.0.0.1:{newest_port}", db=2)
    await aio.TelescopeState(backend).set("a", 1)
    backend.close()
    await backend.wait_closed()
    with pytest.raises(ConnectionError, match="closed"):
        await aio.TelescopeState(backend).get("a")
    async with AsyncRedisBackend(redis.asyncio.Redis(port=newest_port, db=2)) as other:
        assert await aio.TelescopeState(other)["a"] == 1


def test_shared_memory() -> None:
    """A synchronous and an asyncio memory backend can share their data."""
    sync = TelescopeState()
    assert isinstance(sync.backend, MemoryBackend)
    ts = aio.TelescopeState(AsyncMemoryBackend.from_sync(sync.backend))
    asyncio.run(ts.set("a", 1))
    assert sync["a"] == 1
    asynchronous = AsyncMemoryBackend()
    sync = TelescopeState(asynchronous.to_sync())
    sync["b"] = 2
    assert asyncio.run(aio.TelescopeState(asynchronous).keys()) == ["b"]


def test_closing(newest_port: int, tmp_path: Path) -> None:
    """A synchronous backend is closed by `close`, any number of times, or by a block."""
    backend = RedisBackend.from_url(f"redis://127.0.0.1:{newest_port}")
    backend.close()
    backend.close()
    with pytest.raises(ConnectionError, match="closed"):
        TelescopeState(backend).keys()
    with MemoryBackend() as memory:
        TelescopeState(memory)["a"] = 1


@pytest.mark.parametrize("cache_size", [0, 10])
def test_backends_of_the_other_kind(cache_size: int) -> None:
    """Each class refuses backends of the other kind, but not mocks of its own kind."""
    one: Any
    other: Any
    for other in (AsyncMemoryBackend(), mock.create_autospec(AsyncRedisBackend, instance=True)):
        with pytest.raises(TypeError, match="(MemoryBackend|Mock) is an asyncio backend"):
            TelescopeState(other, cache_size=cache_size)
        aio.TelescopeState(other, cache_size=cache_size)
    for one in (MemoryBackend(), mock.create_autospec(RedisBackend, instance=True)):
        with pytest.raises(
            TypeError, match="is not an asyncio backend. .*telstate.aio.RedisBackend"
        ):
            aio.TelescopeState(one, cache_size=cache_size)
        TelescopeState(one, cache_size=cache_size)
    sync: Any = TelescopeState()
    asynchronous: Any = aio.TelescopeState()
    with pytest.raises(TypeError, match="MemoryBackend is an asyncio backend"):
        TelescopeState(base=asynchronous)
    with pytest.raises(TypeError, match="MemoryBackend is not an asyncio backend"):
        aio.TelescopeState(base=sync)
    anything: Any = mock.MagicMock()
    states: tuple[Any, Any] = TelescopeState(anything), aio.TelescopeState(anything)
    assert states[0].backend is states[1].backend is anything


def test_asyncio_takes_no_endpoint() -> None:
    """The asyncio class refuses an endpoint and says how to make a backend."""
    endpoint: Any = "user:secret@localhost:6379"
    with pytest.raises(TypeError, match=r"await telstate\.aio\.RedisBackend\.from_url") as caught:
        aio.TelescopeState(endpoint)
    assert "secret" not in str(caught.value)
