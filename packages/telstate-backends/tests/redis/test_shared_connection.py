"""Many tasks share one connection, and each gets its own reply or its own error.

Where it matters how a reply arrives, the server is one of the test's own. It answers GET with the name of
the key, so that a task can check that it got the reply to its own command.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import attrs
import hiredis
import pytest
import redis
from conftest import needs_server
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy import Proxy

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    ConnectionError,
    Delete,
    Get,
    GetRange,
    Immutable,
    RetryPolicy,
    SetImmutable,
    Store,
)
from telstate_backends.operations.base import Command, Operation
from telstate_codec import encode_sample

NO_RETRY = RetryPolicy(seconds=0)
LONG = 30.0


class EchoServer:
    """A server that answers GET with the name of the key, and other commands with OK.

    Attributes
    ----------
    cut : callable
        Cuts a reply into the parts in which it is sent.
    silent : bool
        Whether no reply is sent.
    """

    def __init__(self) -> None:
        self.cut: Callable[[bytes], list[bytes]] = lambda reply: [reply]
        self.silent = False
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.connections += 1
        self.writers.append(writer)
        commands = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(4096):
                commands.feed(data)
                while command := commands.gets():
                    reply = b"+PONG\r\n" if command[0] == b"PING" else b"+OK\r\n"
                    if command[0] == b"GET":
                        reply = b"$%d\r\n%s\r\n" % (len(command[1]), command[1])
                    for part in [] if self.silent else self.cut(reply):
                        writer.write(part)
                        await asyncio.sleep(0)
        writer.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[tuple[EchoServer, AsyncRedisBackend]]:
    """Run such a server, and yield it with a backend for it."""
    echo = EchoServer()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"redis://127.0.0.1:{port}?protocol=2&socket_timeout=1"
    try:
        async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
            yield echo, backend
    finally:
        for writer in echo.writers:
            writer.close()
        server.close()
        await server.wait_closed()


@attrs.frozen
class GetName(Operation[bytes]):
    """Have the server send the name of a key."""

    key: bytes

    def apply(self, store: Store) -> bytes:
        return self.key

    def command(self) -> Command:
        return Command("GET", (self.key,))

    def parse(self, reply: object) -> bytes:
        assert isinstance(reply, bytes)
        return reply


async def ask(backend: AsyncRedisBackend, key: bytes) -> None:
    """Get the name of a key, and check that it is that of this key."""
    assert await backend.execute(GetName(key)) == key


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_cancellations_do_not_change_replies(seed: int) -> None:
    """Tasks that are cancelled at any moment, also in the middle of a reply, do not affect the others."""

    async def run() -> None:
        chance = random.Random(seed)

        def cut(reply: bytes) -> list[bytes]:
            place = chance.randrange(len(reply) + 1)
            return [reply[:place], reply[place:]]

        async with echo_server() as (echo, backend):
            echo.cut = cut
            tasks = []
            for number in range(60):
                tasks.append(asyncio.create_task(ask(backend, b"key%d" % number)))
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.4:
                    chance.choice(tasks).cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError)
            await ask(backend, b"last")
            assert echo.connections == 1

    asyncio.run(run())


async def test_a_cancellation_in_the_middle_of_a_reply() -> None:
    """The next command gets its own reply, not the rest of the one before."""
    async with echo_server() as (echo, backend):
        await ask(backend, b"first")
        echo.cut = lambda reply: [reply[:5]]
        task = asyncio.create_task(ask(backend, b"some key"))
        await asyncio.sleep(0.05)
        task.cancel()
        echo.cut = lambda reply: [b" key\r\n", reply] if reply.endswith(b"next\r\n") else [reply]
        echo.writers[-1].write(b"ome")  # "$8\r\ns" was sent
        await ask(backend, b"next")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert echo.connections == 1


async def test_an_unexpected_reply() -> None:
    """A reply to no command is not taken for that to the next: the connection is closed."""
    async with echo_server() as (echo, backend):
        await ask(backend, b"first")
        echo.writers[-1].write(b"$5\r\nwrong\r\n")
        await asyncio.sleep(0.05)
        await ask(backend, b"next")
        assert echo.connections == 2


async def test_an_invalid_reply() -> None:
    """Bytes that are not Redis's protocol are an error of all waiting tasks; later commands succeed."""
    async with echo_server() as (echo, backend):
        await ask(backend, b"first")
        echo.cut = lambda reply: [b"?!\r\n"]
        outcomes = await asyncio.gather(
            *(backend.execute(GetName(b"k%d" % number)) for number in range(5)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [ConnectionError] * 5
        echo.cut = lambda reply: [reply]
        await ask(backend, b"next")


async def test_a_silent_server() -> None:
    """After the socket timeout all waiting tasks get an error of their own, and late replies are dropped."""
    async with echo_server() as (echo, backend):
        await ask(backend, b"first")
        echo.silent = True
        outcomes = await asyncio.gather(
            *(backend.execute(GetName(b"k%d" % number)) for number in range(5)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [ConnectionError] * 5
        assert len(set(map(id, outcomes))) == 5
        echo.silent = False
        with suppress(OSError):
            echo.writers[0].write(b"$2\r\nk0\r\n")
        await ask(backend, b"next")


async def test_closing_while_tasks_wait() -> None:
    """Tasks that wait for a reply when the backend is closed get an error at once."""
    async with echo_server() as (echo, backend):
        await ask(backend, b"first")
        echo.silent = True
        tasks = [asyncio.create_task(backend.execute(GetName(b"k"))) for _ in range(3)]
        await asyncio.sleep(0.01)
        backend.close()
        await backend.wait_closed()
        for task in tasks:
            with pytest.raises(ConnectionError):
                await task


async def test_many_share_one_attempt_to_connect(proxy: Proxy) -> None:
    """A hundred tasks that find the connection lost make one new connection, not a hundred."""
    async with await AsyncRedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}") as backend:
        for number in range(3):
            results = await asyncio.gather(*(backend.execute(Get((b"k",))) for _ in range(100)))
            assert results == [None] * 100
            assert proxy.accepted == number + 1
            proxy.cut()


async def test_back_pressure(proxy: Proxy) -> None:
    """When the server accepts less than is sent, further commands wait, and open no connections."""
    async with await AsyncRedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}") as backend:
        large = b"x" * 50_000
        await backend.execute(SetImmutable(b"k0", large))

        async def later(turns: int) -> object:
            for _ in range(turns):
                await asyncio.sleep(0)
            return await backend.execute(SetImmutable(b"k%d" % (turns % 7), large))

        results = await asyncio.gather(*(later(number // 20) for number in range(2000)))
        assert set(results) == {None, large}
        assert proxy.accepted == 1


async def test_commands_during_a_health_check_wait(proxy: Proxy) -> None:
    """No command is sent after a PING that may remain without a reply."""
    url = f"redis://127.0.0.1:{proxy.port}?health_check_interval=1&socket_timeout=1"
    async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
        await backend.execute(SetImmutable(b"k", b"v"))
        await asyncio.sleep(1.1)
        proxy.swallow = True
        getting = asyncio.create_task(backend.execute(Get((b"k",))))
        await asyncio.sleep(0.3)
        deleting = asyncio.create_task(backend.execute(Delete((b"k",))))
        await asyncio.sleep(0.2)
        proxy.swallow = False
        assert await deleting == 1
        assert await getting in (Immutable(b"v"), None)


async def test_cuts_and_cancellations_on_a_real_server(proxy: Proxy) -> None:
    """Values, ranges and large writes are not mixed up by cut replies and cancellations."""
    chance = random.Random(7)
    url = f"redis://127.0.0.1:{proxy.port}"
    async with await AsyncRedisBackend.from_url(url) as backend:
        for number in range(20):
            await backend.execute(SetImmutable(b"i%d" % number, b"value %d" % number))
            await backend.execute(AddSample(b"m%d" % number, encode_sample(number, b"v")))

        async def one(number: int) -> None:
            kind, key = chance.randrange(3), b"%d" % number
            if kind == 0:
                assert await backend.execute(Get((b"i" + key,))) == Immutable(b"value " + key)
            elif kind == 1:
                found = await backend.execute(GetRange((b"m" + key,), b"", b"\xff" * 8, False))
                assert found == [encode_sample(number, b"v")]
            else:
                large = bytes([number]) * (10 if number % 2 else 200_000)
                assert await backend.execute(SetImmutable(b"l" + key, large)) in (None, large)

        for _ in range(15):
            tasks = [asyncio.create_task(one(chance.randrange(20))) for _ in range(30)]
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
            for task in chance.sample(tasks, 8):
                task.cancel()
            if chance.random() < 0.5:
                proxy.cut_after = chance.randrange(200)
            outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), LONG)
            for outcome in outcomes:
                assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        proxy.cut_after = None


@needs_server
async def test_a_connection_closed_while_the_loop_was_busy_is_noticed(newest_url: str) -> None:
    """A command that is not safe to repeat succeeds if the server had closed the idle connection."""
    async with await AsyncRedisBackend.from_url(newest_url, retry=NO_RETRY) as backend:
        for _ in range(5):
            await backend.execute(SetImmutable(b"k", b"v"))
            with redis.Redis.from_url(newest_url) as client:
                client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.05)  # the loop is blocked, so it has not seen the end of the connection
            assert await backend.execute(Delete((b"k",))) == 1
            assert await backend.execute(Get((b"k",))) is None


async def test_a_health_check_after_a_long_pause(proxy: Proxy) -> None:
    """A command that is not safe to repeat is not sent on a connection that may be dead."""
    url = f"redis://127.0.0.1:{proxy.port}?health_check_interval=1&socket_timeout=1"
    async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
        await backend.execute(SetImmutable(b"k", b"v"))
        await asyncio.sleep(1.1)
        proxy.swallow = True
        deleting = asyncio.create_task(backend.execute(Delete((b"k",))))
        await asyncio.sleep(0.5)
        proxy.swallow = False
        await deleting
        assert await backend.execute(Get((b"k",))) is None
