"""Malicious data and invalid replies raise telstate's errors: no code runs, nothing hangs.

First stores with malicious content, then a server that answers with invalid replies.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_subjects import Subject, SyncSubject, real

from telstate import DecodeError, ImmutableKeyError, TelescopeState, TelstateError, aio
from telstate.overview import key_tree, summarise
from telstate_backends import (
    AsyncRedisBackend,
    ConnectionError,
    Immutable,
    Load,
    RedisBackend,
    RetryPolicy,
)
from telstate_backends.samples import Samples
from telstate_backends.store import Fields
from telstate_codec import encode_value

MARK: list[object] = []


class Exploit:
    """An object that appends to `MARK` when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[object], None], tuple[str]]:
        return MARK.append, ("was run",)


ODD_KEYS = [
    b"new\nline",
    b"\x1b[31m\x07red",
    b"<script>alert(1)</script>",
    b"\xff\xfe\x00",
    b"[b]%s{0}",
]


async def attempts(subject: Subject, key: bytes) -> dict[str, Any]:
    """Use a key in every method and return each result or telstate's error.

    Any other exception fails the test.
    """
    methods: dict[str, Callable[[], Any]] = {
        "item": lambda: subject.item(key),
        "get": lambda: subject.get(key),
        "encoded": lambda: subject.get(key, return_encoded=True),
        "get_indexed": lambda: subject.get_indexed(key, "x"),
        "get_range": lambda: subject.get_range(key, st=0),
        "latest": lambda: subject.get_range(key),
        "arrays": lambda: subject.get_range_arrays(key, st=0),
        "many": lambda: subject.get_many([key]),
        "key_type": lambda: subject.key_type(key),
        "exists": lambda: subject.exists(key),
        "keys": subject.keys,
        "key_types": subject.key_types,
        "set": lambda: subject.set(key, 1),
        "set_indexed": lambda: subject.set_indexed(key, "x", 1),
        "wait_key": lambda: subject.waiting("wait_key", key, lambda value, when: True),
        "wait_indexed": lambda: subject.waiting("wait_indexed", key, "x", lambda value: True),
    }
    outcomes: dict[str, Any] = {}
    for name, method in methods.items():
        if name == "wait_indexed" and isinstance(outcomes["get_indexed"], type(None)):
            continue  # There is no such sub-key, so the wait would not end.
        try:
            async with asyncio.timeout(20):
                outcomes[name] = await method()
        except TelstateError as error:
            outcomes[name] = error
            assert repr(error) and len(str(error)) < 3000
    assert repr(subject.state)
    return outcomes


def pickles() -> list[bytes]:
    """Return a pickle that runs code for each protocol."""
    return [pickle.dumps(Exploit(), protocol) for protocol in range(5)]


async def test_pickles(subject: Subject) -> None:
    """A pickle is refused as a value, a sample, a sub-key and the value of a sub-key."""
    sub_key = encode_value("x")
    for number, evil in enumerate(pickles()):
        name = f"evil{number}".encode()
        await subject.execute(Load(name, Immutable(evil)))
        await subject.execute(Load(name + b"m", Samples([b"\0" * 8 + evil])))
        await subject.execute(Load(name + b"x", Fields({sub_key: evil})))
        await subject.execute(Load(name + b"y", Fields({evil: sub_key})))
        for key in (name, name + b"m", name + b"x", name + b"y"):
            outcomes = await attempts(subject, key)
            assert isinstance(outcomes["get"], DecodeError)
            assert isinstance(outcomes["item"], DecodeError)
    assert MARK == []


async def test_samples_without_a_time(subject: Subject) -> None:
    """Every method that reads an invalid sample raises an error that names the key once."""
    await subject.execute(Load(b"zbad", Samples([b"x"])))
    outcomes = await attempts(subject, b"zbad")
    (outcomes["many"],) = outcomes["many"].exceptions
    for method in ("item", "get", "encoded", "get_range", "latest", "arrays", "many", "wait_key"):
        assert isinstance(outcomes[method], DecodeError), method
        assert str(outcomes[method]).startswith("Key 'zbad': A sample starts with"), method
    with pytest.raises(DecodeError, match="^Key 'zbad': A sample starts with"):
        await subject.view("pre").item("zbad")


async def test_snapshots_of_pickles(subject: Subject, tmp_path: Path) -> None:
    """Saving, loading and displaying run no stored pickles."""
    for number, (key, evil) in enumerate(zip(ODD_KEYS, pickles())):
        await subject.execute(Load(key, Immutable(evil)))
        await subject.execute(Load(key + b"m", Samples([b"short", b"\xff" * 8 + evil])))
        await subject.execute(Load(key + b"x", Fields({evil: evil})))
    assert await subject.save(tmp_path / "evil.rdb") == (15, 0)
    again = TelescopeState()
    assert again.load_from_file(tmp_path / "evil.rdb") == 15
    drawn = str([summary for summary in summarise(again)])
    assert key_tree(summarise(again), "evil") is not None
    assert repr(again) and again._repr_html_() and dir(again) and again._ipython_key_completions_()
    assert "\x1b" not in drawn
    assert "<script>" not in again._repr_html_()
    assert MARK == []


async def test_odd_names(subject: Subject) -> None:
    """Newlines, terminal escapes, HTML and invalid UTF-8 in names are escaped in messages."""
    for key in ODD_KEYS:
        await subject.execute(Load(key, Immutable(b"\x90")))
        for outcome in (await attempts(subject, key)).values():
            if isinstance(outcome, TelstateError):
                assert not {"\n", "\x1b", "\x07"} & set(str(outcome))
        with pytest.raises(KeyError) as caught:
            await subject.item(key + b"?")
        assert not {"\n", "\x1b", "\x07"} & set(str(caught.value))


async def test_huge_fields(subject: Subject) -> None:
    """Errors for huge values and many sub-keys are short."""
    huge = b"\x90" * 2_000_000
    await subject.execute(Load(b"huge", Immutable(huge)))
    await subject.execute(Load(b"text", Immutable(encode_value("x" * 1_000_000))))
    await subject.execute(Load(b"m", Samples([b"\0" * 8 + huge])))
    await subject.execute(Load(b"x", Fields({encode_value(n): b"\x90" for n in range(3_000)})))
    for key in (b"huge", b"text", b"m", b"x"):
        await attempts(subject, key)


garbage = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda some: b"\xff" + some),
    # Extension types with false lengths, and deep nesting.
    st.tuples(st.integers(0xC7, 0xD8), st.integers(1, 5), st.binary(max_size=30)).map(
        lambda parts: bytes([0xFF, parts[0], 4, parts[1]]) + parts[2]
    ),
    st.integers(1, 3000).map(lambda depth: b"\xff" + b"\x91" * depth),
    st.sampled_from(
        [b"\xff\xdd\xff\xff\xff\xff", b"\xff\xdf\xff\xff\xff\xff", b"\xff\xc6\xff\xff\xff\xff"]
    ),
)


@settings(
    max_examples=8,
    deadline=None,
    # The key is replaced in each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(garbage, garbage)
async def test_garbage(subject: Subject, value: bytes, other: bytes) -> None:
    """For any stored bytes, every method returns a value or raises telstate's error."""
    for stored in (Immutable(value), Samples(sorted({value, other})), Fields({value: other})):
        await subject.execute(Load(b"k", stored))
        outcomes = await attempts(subject, b"k")
        assert not isinstance(outcomes["encoded"], DecodeError) or isinstance(stored, Samples)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
async def test_foreign_types(asynchronous: bool, newest_port: int) -> None:
    """Other Redis types, and sorted sets with scores, are refused with the key."""
    with redis.Redis(port=newest_port) as client:
        client.rpush("list", "a")
        client.sadd("set", "a")
        client.xadd("stream", {"a": "b"})
        client.zadd("scored", {b"\0" * 8 + b"\xff\x01": 5.0, b"\0" * 8 + b"\xff\x02": 1.0})
    subject = await real(asynchronous, f"redis://127.0.0.1:{newest_port}")
    for name in ("list", "set", "stream"):
        outcomes = await attempts(subject, name.encode())
        for method in ("get", "item", "get_range", "get_indexed", "wait_key", "set"):
            assert isinstance(outcomes[method], ImmutableKeyError), method
            assert repr(name) in str(outcomes[method])
    await attempts(subject, b"scored")
    await subject.close()


#: Replies that a server sends to every command.
INVALID_REPLIES = {
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "another type": b":5\r\n",
    "a text": b"+what?\r\n",
    "null": b"$-1\r\n",
    "a list of odd things": b"*3\r\n:1\r\n$-1\r\n*1\r\n+x\r\n",
    "an empty list": b"*0\r\n",
    "an error": b"-WEIRD \x1b[31m no such thing\r\n",
    "a forged length": b"$4611686018427387904\r\n",
    "a forged count": b"*100000\r\n",
    "a negative length": b"$-7\r\n",
    "endless nesting": b"*1\r\n" * 5000,
    "every byte": bytes(range(256)),
    "a type of RESP3": b"%1\r\n+a\r\n:1\r\n",
    "nothing": b"",
}
GREETINGS = (b"PING", b"HELLO", b"AUTH", b"SELECT", b"CLIENT")


@contextmanager
def fake_server(answer: bytes) -> Iterator[int]:
    """Run a server that accepts connections as Redis does and sends one reply to all commands."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        try:
            while some := connection.recv(65536):
                commands = some.upper().count(b"*")
                if any(word in some.upper() for word in GREETINGS):
                    pong = b"+PONG\r\n" if b"PING" in some.upper() else b"+OK\r\n"
                    connection.sendall(pong * max(1, commands))
                elif answer:
                    connection.sendall(answer)
                else:
                    connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The client disconnected.

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in threads:
            thread.join(10)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "asyncio"])
@pytest.mark.parametrize("name", INVALID_REPLIES)
async def test_server_with_invalid_replies(name: str, asynchronous: bool) -> None:
    """Invalid replies raise telstate's errors or are read as results; nothing hangs."""
    with fake_server(INVALID_REPLIES[name]) as port:
        url = f"redis://127.0.0.1:{port}?socket_timeout=0.1&protocol=2"
        retry = RetryPolicy(seconds=0.01)
        subject: Subject | None = None
        for _ in range(100):
            try:
                if asynchronous:
                    backend = await AsyncRedisBackend.from_url(url, retry=retry)
                    subject = Subject(aio.TelescopeState(backend))
                else:
                    subject = SyncSubject(TelescopeState(RedisBackend.from_url(url, retry=retry)))
                break
            except ConnectionError:
                pass  # On a busy machine, a tenth of a second is short.
        assert subject is not None
        methods: list[Callable[[], Any]] = [
            lambda: subject.item("k"),
            lambda: subject.get("k"),
            lambda: subject.exists("k"),
            lambda: subject.key_type("k"),
            lambda: subject.keys(),
            lambda: subject.key_types(),
            lambda: subject.get_many(["k"]),
            lambda: subject.get_indexed("k", 1),
            lambda: subject.get_range("k"),
            lambda: subject.add("k", 1),
            lambda: subject.set("k", 1),
            lambda: subject.set_indexed("k", 1, 1),
            lambda: subject.delete("k"),
        ]
        async with asyncio.timeout(60):
            for method in methods:
                try:
                    await method()
                except (TelstateError, KeyError) as error:
                    assert "\x1b" not in str(error)
            outcome = await subject.give_up("wait_key", "never")
        assert isinstance(outcome, (TelstateError, asyncio.CancelledError))
        await subject.close()
