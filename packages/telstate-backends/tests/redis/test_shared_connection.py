"""Many tasks share one connection, and each gets its own reply or its own error, whatever happens.

Rules: where it matters how a reply comes, a server of the test's own gives it; it answers GET with the
name of the key, so that everybody can see whether the reply is the one to its question.
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
from conftest import SERVERS
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

NEEDS_SERVER = pytest.mark.skipif(not SERVERS, reason="needs a Redis server")
NEVER = RetryPolicy(seconds=0)
LONG = 30.0


class Parrot:
    """A server that answers GET with the name of the key, and all else with OK.

    Attributes
    ----------
    cut : callable
        Cuts a reply into the pieces in which it is sent.
    silent : bool
        While true, nothing is sent.
    """

    def __init__(self) -> None:
        self.cut: Callable[[bytes], list[bytes]] = lambda reply: [reply]
        self.silent = False
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        self.connections += 1
        self.writers.append(writer)
        questions = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(4096):
                questions.feed(data)
                while question := questions.gets():
                    reply = b"+PONG\r\n" if question[0] == b"PING" else b"+OK\r\n"
                    if question[0] == b"GET":
                        reply = b"$%d\r\n%s\r\n" % (len(question[1]), question[1])
                    for piece in [] if self.silent else self.cut(reply):
                        writer.write(piece)
                        await asyncio.sleep(0)
        writer.close()


@asynccontextmanager
async def parrot() -> AsyncIterator[tuple[Parrot, AsyncRedisBackend]]:
    """Run such a server, and make a backend for it."""
    bird = Parrot()
    server = await asyncio.start_server(bird.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"redis://127.0.0.1:{port}?protocol=2&socket_timeout=1"
    try:
        async with await AsyncRedisBackend.from_url(url, retry=NEVER) as backend:
            yield bird, backend
    finally:
        for writer in bird.writers:
            writer.close()
        server.close()
        await server.wait_closed()


@attrs.frozen
class Say(Operation[bytes]):
    """Have the server say something."""

    key: bytes

    def apply(self, store: Store) -> bytes:
        """Say it in memory."""
        return self.key

    def command(self) -> Command:
        """Ask for it."""
        return Command("GET", (self.key,))

    def parse(self, reply: object) -> bytes:
        """Take what was said."""
        assert isinstance(reply, bytes)
        return reply


async def ask(backend: AsyncRedisBackend, key: bytes) -> None:
    """Ask for something, and see that the answer is to that."""
    assert await backend.execute(Say(key)) == key


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_everybody_gets_his_own_reply_whoever_is_cancelled(seed: int) -> None:
    """Callers that are cancelled at any moment, also amid their reply, change nobody's reply."""

    async def run() -> None:
        chance = random.Random(seed)

        def cut(reply: bytes) -> list[bytes]:
            place = chance.randrange(len(reply) + 1)
            return [reply[:place], reply[place:]]

        async with parrot() as (bird, backend):
            bird.cut = cut
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
            assert bird.connections == 1

    asyncio.run(run())


async def test_cancelled_amid_its_reply() -> None:
    """Who asks after somebody who was cancelled when half of his reply had come gets his own."""
    async with parrot() as (bird, backend):
        await ask(backend, b"first")
        bird.cut = lambda reply: [reply[:5]]
        task = asyncio.create_task(ask(backend, b"some key"))
        await asyncio.sleep(0.05)
        task.cancel()
        bird.cut = lambda reply: [b" key\r\n", reply] if reply.endswith(b"next\r\n") else [reply]
        bird.writers[-1].write(b"ome")  # "$8\r\ns" was sent
        await ask(backend, b"next")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bird.connections == 1


async def test_a_reply_that_nobody_asked_for_ends_the_line() -> None:
    """A reply too many is never taken for the next one: the connection is given up."""
    async with parrot() as (bird, backend):
        await ask(backend, b"first")
        bird.writers[-1].write(b"$5\r\nwrong\r\n")
        await asyncio.sleep(0.05)
        await ask(backend, b"next")
        assert bird.connections == 2


async def test_what_is_no_reply_is_everybodys_error() -> None:
    """Bytes that are not Redis's protocol are an error for all who wait; then it goes on."""
    async with parrot() as (bird, backend):
        await ask(backend, b"first")
        bird.cut = lambda reply: [b"?!\r\n"]
        outcomes = await asyncio.gather(
            *(backend.execute(Say(b"k%d" % number)) for number in range(5)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [ConnectionError] * 5
        bird.cut = lambda reply: [reply]
        await ask(backend, b"next")


async def test_silence_is_everybodys_error_once() -> None:
    """After the socket timeout all who wait have an error of their own, and late replies are lost."""
    async with parrot() as (bird, backend):
        await ask(backend, b"first")
        bird.silent = True
        outcomes = await asyncio.gather(
            *(backend.execute(Say(b"k%d" % number)) for number in range(5)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [ConnectionError] * 5
        assert len(set(map(id, outcomes))) == 5
        bird.silent = False
        with suppress(OSError):
            bird.writers[0].write(b"$2\r\nk0\r\n")
        await ask(backend, b"next")


async def test_closing_ends_what_waits() -> None:
    """Who waits for a reply when the backend is closed has an error at once."""
    async with parrot() as (bird, backend):
        await ask(backend, b"first")
        bird.silent = True
        tasks = [asyncio.create_task(backend.execute(Say(b"k"))) for _ in range(3)]
        await asyncio.sleep(0.01)
        backend.close()
        await backend.wait_closed()
        for task in tasks:
            with pytest.raises(ConnectionError):
                await task


async def test_many_share_one_attempt_to_connect(proxy: Proxy) -> None:
    """A hundred callers who find the line lost make one connection, not a hundred."""
    async with await AsyncRedisBackend.from_url(f"redis://127.0.0.1:{proxy.port}") as backend:
        for number in range(3):
            results = await asyncio.gather(*(backend.execute(Get((b"k",))) for _ in range(100)))
            assert results == [None] * 100
            assert proxy.accepted == number + 1
            proxy.cut()


async def test_very_many_at_once_wait_for_the_line(proxy: Proxy) -> None:
    """When the server takes less than it is sent, whoever asks waits, and opens no connection."""
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


async def test_who_asks_while_a_line_is_tried_waits_for_that(proxy: Proxy) -> None:
    """Nobody sends behind a PING of which it is not known whether it will be answered."""
    url = f"redis://127.0.0.1:{proxy.port}?health_check_interval=1&socket_timeout=1"
    async with await AsyncRedisBackend.from_url(url, retry=NEVER) as backend:
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
    """Values, ranges and large writes stay apart through cuts of replies and cancellations."""
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


@NEEDS_SERVER
async def test_a_connection_closed_while_the_loop_was_busy_is_noticed(newest_url: str) -> None:
    """What is not safe to repeat succeeds if the server had closed the idle connection before."""
    async with await AsyncRedisBackend.from_url(newest_url, retry=NEVER) as backend:
        for _ in range(5):
            await backend.execute(SetImmutable(b"k", b"v"))
            with redis.Redis.from_url(newest_url) as client:
                client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.05)  # nothing else runs meanwhile: the loop hears of it later
            assert await backend.execute(Delete((b"k",))) == 1
            assert await backend.execute(Get((b"k",))) is None


async def test_a_line_long_silent_is_tried_first(proxy: Proxy) -> None:
    """What is not safe to repeat is not sent into a connection that has died in silence."""
    url = f"redis://127.0.0.1:{proxy.port}?health_check_interval=1&socket_timeout=1"
    async with await AsyncRedisBackend.from_url(url, retry=NEVER) as backend:
        await backend.execute(SetImmutable(b"k", b"v"))
        await asyncio.sleep(1.1)
        proxy.swallow = True
        deleting = asyncio.create_task(backend.execute(Delete((b"k",))))
        await asyncio.sleep(0.5)
        proxy.swallow = False
        await deleting
        assert await backend.execute(Get((b"k",))) is None
