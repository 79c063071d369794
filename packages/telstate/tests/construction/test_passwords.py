"""Passwords stay out of messages, reprs, causes of errors, logs and warnings."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from conftest import DATA

import telstate
import telstate_backends
from telstate import TelescopeState, TelstateError, aio
from telstate.aio.redis import RedisBackend as AsyncRedisBackend
from telstate_backends import RedisBackend, RetryPolicy
from telstate_testing import RedisBinary, RedisServer

SECRET = "Tr0ub4dor"
UNREACHABLE = "127.0.0.1:1"
URLS = [
    f"redis://user:{SECRET}@{UNREACHABLE}/0",
    f"redis://:{SECRET}@{UNREACHABLE}",
    f"redis://{UNREACHABLE}?username=user&password={SECRET}",
    f"redis://{UNREACHABLE}?password={SECRET}&client_name=x&protocol=3",
    f"rediss://user:{SECRET}@{UNREACHABLE}",
    f"rediss://{UNREACHABLE}?ssl_keyfile=/nowhere.pem&ssl_password={SECRET}",
    f"unix://user:{SECRET}@/nowhere.sock?db=1",
    f"unix:///nowhere.sock?password={SECRET}",
    f"redis+sentinel://user:{SECRET}@{UNREACHABLE}/store/0",
    f"redis+sentinel://{UNREACHABLE}/store?sentinel_password={SECRET}&password={SECRET}",
    f"rediss+sentinel://user:{SECRET}@{UNREACHABLE}/store",
    f"redis+cluster://user:{SECRET}@{UNREACHABLE},127.0.0.1:2",
    f"redis+cluster://{UNREACHABLE}?password={SECRET}",
    f"rediss+cluster://:{SECRET}@{UNREACHABLE}",
]
WRONG_URLS = [
    f"redis://user:{SECRET}@host:port",
    f"redis://user:{SECRET}#@host",
    f"redis://user:{SECRET}/x@host/y",
    f"redis://user:{SECRET}@[::1",
    f"redis://user:{SECRET}@host:99999999",
    f"redis://user:{SECRET}@{UNREACHABLE}/0?socket_timeout=soon",
    f"redis://user:{SECRET}@{UNREACHABLE}/0?no_such_option={SECRET}",
    f"redis://user:{SECRET}@{UNREACHABLE}?db=three",
    f"redi://user:{SECRET}@host",
    f"user:{SECRET}://host",
    f"redis+sentinel://user:{SECRET}@host",
    f"redis+sentinel://user:{SECRET}@host:port/store",
    f"redis+cluster://user:{SECRET}@host,:1",
    f"redis+cluster://user:{SECRET}@{UNREACHABLE}/3",
    # These have no scheme, so only TelescopeState parses them.
    f"user:{SECRET}@host:6379",
    f":{SECRET}@host",
    f"redis:/user:{SECRET}@host",
    f"//user:{SECRET}@host/observation.rdb",
]


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes and contexts, also suppressed ones."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]


def shown(value: object) -> Iterator[tuple[str, str]]:
    """Yield the reprs of a value, its elements and its attributes, each with its place."""
    yield "", repr(value)
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", repr(element)) for key, element in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{place}]", repr(element)) for place, element in enumerate(value))
    names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
    for name in names:
        try:
            yield f".{name}", repr(object.__getattribute__(value, name))
        except AttributeError:
            pass


def leaks(error: BaseException) -> list[str]:
    """List the places where an error shows the secret."""
    found = []
    for one in chain(error):
        texts = [str(one), repr(one), repr(one.args), *map(repr, vars(one).values())]
        texts += getattr(one, "__notes__", [])
        found += [f"text of {type(one).__name__}" for text in texts if SECRET in text]
    return found


def leaks_of(*things: object) -> list[str]:
    """List the things that show the secret."""
    return [
        f"{type(thing).__name__}{place}"
        for thing in things
        for place, text in shown(thing)
        if SECRET in text
    ]


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that neither a log of any level nor a warning shows the secret."""
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert SECRET not in caplog.text
    assert [str(one.message) for one in caught if SECRET in str(one.message)] == []


@pytest.mark.parametrize("url", URLS + WRONG_URLS)
def test_construction(url: str, quiet: None) -> None:
    """The error of connecting by a valid or invalid URL shows no password."""
    for make in (TelescopeState, RedisBackend.from_url):
        try:
            make(url)
        except (TelstateError, ValueError, TypeError) as error:
            assert url not in WRONG_URLS or not isinstance(error, TelstateError)
            assert leaks(error) == []
        else:
            pytest.fail("something was reached")


@pytest.mark.parametrize("url", [*URLS, *WRONG_URLS])
async def test_asyncio_construction(url: str, quiet: None) -> None:
    """The same holds for asyncio."""
    with pytest.raises((TelstateError, ValueError, TypeError)) as caught:
        await AsyncRedisBackend.from_url(url)
    assert leaks(caught.value) == []


def test_contradiction() -> None:
    """The error for a URL that contradicts another argument shows no password."""
    arguments: list[dict[str, Any]] = [{"db": 1}, {"base": TelescopeState()}, {"prefixes": "ab"}]
    for more in arguments:
        with pytest.raises((ValueError, TypeError)) as caught:
            TelescopeState(f"redis://user:{SECRET}@{UNREACHABLE}/2", **more)
        assert leaks(caught.value) == []


@pytest.fixture
def guarded(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server with two users: one with all permissions, one that can only read."""
    options = f"--user user on >{SECRET} ~* &* +@all --user reader on >{SECRET} ~a* resetchannels &a* +@all -set"
    with RedisServer(newest, [*options.split(), "--requirepass", SECRET]) as server:
        yield server


def failing(ts: TelescopeState) -> list[Callable[[], object]]:
    """Return operations of every kind, all of which fail when the server is down."""
    return [
        lambda: ts["a"],
        lambda: ts.get("a"),
        lambda: ts.keys(),
        lambda: ts.add("a", 1),
        lambda: ts.set_indexed("a", 1, 1),
        lambda: ts.delete("a"),
        lambda: ts.clear(),
        lambda: ts.wait_key("a", timeout=0.1),
        lambda: ts.view("x").get_range("a"),
        lambda: ts.load_from_file(DATA / "1testdata_sdp_l0.rdb"),
        lambda: ts.backend.execute_many([telstate_backends.Exists((b"a",))]),
    ]


def test_operations(quiet: None, newest: RedisBinary) -> None:
    """No repr and no error of an operation on a dead server shows the password."""
    with RedisServer(newest, ["--requirepass", SECRET]) as server:
        url = f"redis://:{SECRET}@127.0.0.1:{server.port}"
        backend = RedisBackend.from_url(url, retry=RetryPolicy(seconds=0.05))
        ts = TelescopeState(backend)
        ts["a"] = 1
        # Private, but debuggers and logs of local variables show its repr too.
        server_object = vars(backend)["_server"]
        assert leaks_of(ts, ts.view("a"), backend, server_object, vars(server_object)) == []
        server.kill()
        for operation in failing(ts):
            with pytest.raises(TelstateError) as caught:
                operation()
            assert leaks(caught.value) == []
        backend.close()
        with pytest.raises(TelstateError) as caught:
            ts.get("a")
        assert leaks(caught.value) == []


async def test_asyncio_operations(quiet: None, newest: RedisBinary) -> None:
    """The same holds for asyncio."""
    with RedisServer(newest, ["--requirepass", SECRET]) as server:
        url = f"redis://:{SECRET}@127.0.0.1:{server.port}"
        backend = await AsyncRedisBackend.from_url(url, retry=RetryPolicy(seconds=0.05))
        ts = aio.TelescopeState(backend)
        await ts.set("a", 1)
        # Private, but debuggers and logs of local variables show its repr too.
        server_object = vars(backend)["_server"]
        assert leaks_of(ts, ts.view("a"), backend, server_object, vars(server_object)) == []
        waiting = asyncio.create_task(ts.wait_key("never"))
        await asyncio.sleep(0.05)
        server.kill()
        operations: list[Callable[[], Awaitable[object]]] = [
            lambda: ts["a"],
            lambda: ts.keys(),
            lambda: ts.add("a", 1),
            lambda: ts.set_indexed("a", 1, 1),
            lambda: ts.clear(),
            lambda: ts.wait_key("b"),
            lambda: ts.view("x").get_range("a"),
            lambda: backend.execute_many([telstate_backends.Exists((b"a",))]),
        ]
        for operation in operations:
            with pytest.raises(TelstateError) as caught:
                await operation()
            assert leaks(caught.value) == []
        backend.close()
        await backend.wait_closed()
        with pytest.raises(TelstateError) as caught:
            await waiting
        assert leaks(caught.value) == []


async def test_refusals(guarded: RedisServer, quiet: None) -> None:
    """Errors for a wrong password or a missing permission show no password."""
    place = f"127.0.0.1:{guarded.port}"
    for url in (f"redis://user:x{SECRET}@{place}", f"unix://{SECRET}:x@{guarded.unix_socket}"):
        with pytest.raises(telstate.ConnectionError) as caught:
            TelescopeState(url)
        assert leaks(caught.value) == []
        with pytest.raises(telstate.ConnectionError) as caught:
            await AsyncRedisBackend.from_url(url)
        assert leaks(caught.value) == []
    with RedisBackend.from_url(f"redis://reader:{SECRET}@{place}") as backend:
        ts = TelescopeState(backend)
        for attempt in (lambda: ts.get("b"), lambda: ts.add("a", 1), lambda: ts.wait_key("b")):
            with pytest.raises(TelstateError) as refused:
                attempt()
            assert leaks(refused.value) == []


def test_backend_made_from_a_client(guarded: RedisServer) -> None:
    """A backend made from a redis-py client shows no password."""
    client = redis.Redis(port=guarded.port, username="user", password=SECRET)
    with RedisBackend(client) as backend:
        assert leaks_of(backend, TelescopeState(backend)) == []
    with pytest.raises(telstate.ConnectionError) as caught:
        RedisBackend(redis.Redis(port=1, username="user", password=SECRET))
    assert [place for place in leaks(caught.value) if "text" in place] == []


def test_search_for_leaks() -> None:
    """The search for leaks finds a secret in a text, cause, attribute or element."""

    class Holder:
        def __init__(self) -> None:
            self.inside = SECRET

    assert leaks_of(SECRET, [SECRET], {"a": SECRET}, Holder()) == [
        "str",
        "list",
        "list[0]",
        "dict",
        "dict['a']",
        "Holder.inside",
    ]
    try:
        try:
            raise ValueError(SECRET)
        except ValueError:
            raise KeyError("no") from None
    except KeyError as error:
        assert leaks(error) == ["text of ValueError"] * 3
