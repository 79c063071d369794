"""Servers that are not Redis: one error of ours with the address, and no connection is left open."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from subjects import LONG

from telstate_backends import (
    AsyncRedisBackend,
    ConnectionError,
    Exists,
    Get,
    Keys,
    KeyTypes,
    Operation,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    TelstateError,
)

NO_RETRY = RetryPolicy(seconds=0)
#: The reply to every command.
REPLIES = {
    "words": b"+OK\r\n",
    "numbers": b":1\r\n",
    "nothing": b"$-1\r\n",
    "lists": b"*1\r\n:1\r\n",
    "errors": b"-WEIRD foo\r\n",
    "web": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}
FORMS = ["redis://:hush@{}/3", "redis://{}?protocol=3", "redis+cluster://{}"]


class FakeServer:
    """A server that gives the same reply to everything, as a context manager.

    Parameters
    ----------
    reply : bytes
        To each command.
    """

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self._sockets: list[socket.socket] = []

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            thread = threading.Thread(target=self._answer, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(self.reply * data.count(b"*"))
            except OSError:
                pass  # the client has closed the connection

    def all_left(self) -> bool:
        """Return whether all clients have closed their connections, after some time."""
        self._end()
        for thread in self._threads:
            thread.join(LONG)
        return not any(thread.is_alive() for thread in self._threads)

    def _end(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed already
        self._listener.close()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        for client in self._sockets:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=list(REPLIES))
def fake_server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """A server of each kind in turn."""
    with FakeServer(REPLIES[request.param]) as fake_server:
        yield fake_server


@pytest.mark.parametrize("form", FORMS)
async def test_a_url(fake_server: FakeServer, form: str, asynchronous: bool) -> None:
    """The error has the address and not the password, and every connection is closed."""
    url = form.format(fake_server.address)
    caught: TelstateError | None = None
    try:
        if asynchronous:
            async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as backend:
                await backend.execute(Get((b"k",)))
        else:
            with RedisBackend.from_url(url, retry=NO_RETRY) as sync_backend:
                sync_backend.execute(Get((b"k",)))
    except TelstateError as error:
        caught = (
            error  # kept, so that the garbage collector closes nothing that its traceback refers to
        )
    said = "" if caught is None else str(caught)
    # That there is no such key is a valid reply.
    assert fake_server.address in said or (said == "" and fake_server.reply == REPLIES["nothing"])
    assert "hush" not in said
    assert await asyncio.to_thread(fake_server.all_left)


@pytest.mark.parametrize("reply", ["words", "lists"])
async def test_a_client(reply: str, asynchronous: bool) -> None:
    """A reply of an unexpected form, alone or in a batch, is an error with the address."""
    with FakeServer(REPLIES[reply]) as fake_server:
        host, _, port = fake_server.address.partition(":")
        caught: list[object] = []
        if asynchronous:
            client = redis.asyncio.Redis(host=host, port=int(port), protocol=2)
            async with AsyncRedisBackend(client, retry=NO_RETRY) as backend:
                with pytest.raises(TelstateError) as info:
                    await backend.execute(Exists((b"k",)))
                caught += [info.value, *await backend.execute_many([Exists((b"k",))])]
        else:
            sync_client = redis.Redis(host=host, port=int(port), protocol=2)
            with RedisBackend(sync_client, retry=NO_RETRY) as sync_backend:
                with pytest.raises(TelstateError) as info:
                    sync_backend.execute(Exists((b"k",)))
                caught += [info.value, *sync_backend.execute_many([Exists((b"k",))])]
        expected = f"Redis at {fake_server.address} sent an unexpected reply: "
        assert [str(each).startswith(expected) for each in caught] == [True, True]


async def test_a_cancelled_attempt_to_connect() -> None:
    """Its connections are closed."""
    with FakeServer(b"") as fake_server:  # which sends nothing
        making = AsyncRedisBackend.from_url(
            f"redis://{fake_server.address}?socket_timeout={LONG * 10}"
        )
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(making, 0.05)
        assert await asyncio.to_thread(fake_server.all_left)


def test_an_unknown_option() -> None:
    """An option that redis-py does not know is a TypeError, not taken for an invalid reply."""
    with FakeServer(b"+OK\r\n") as fake_server:
        with pytest.raises(TypeError, match="'colour'"):
            RedisBackend.from_url(f"redis://{fake_server.address}?colour=red")


class ListingServer(FakeServer):
    """A server whose listings never end; after some pages, the reply to the last command is an error."""

    def __init__(self, error: bytes) -> None:
        super().__init__(error)
        self._pages = 0

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    commands = re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n", data)
                    replies = [self._reply_to(command) for command in commands]
                    if self._pages > 3:
                        self._pages, replies[-1] = 0, self.reply
                    client.sendall(b"".join(replies))
            except OSError:
                pass  # the client has closed the connection

    def _reply_to(self, command: bytes) -> bytes:
        if command != b"SCAN":
            return b"+PONG\r\n" if command == b"PING" else b"+OK\r\n"
        self._pages += 1
        return b"*2\r\n$1\r\n7\r\n*1\r\n$1\r\nk\r\n"


LISTING_ERRORS: list[tuple[str, type[TelstateError], str]] = [
    ("LOADING Redis is loading", ConnectionError, "still loading its data"),
    ("MOVED 1 127.0.0.1:1", RefusedError, "one node of a cluster"),
    ("ASK 1 127.0.0.1:1", ConnectionError, "moving the key to another node"),
    ("TRYAGAIN later", ConnectionError, "later"),
    ("BUSY a script", ConnectionError, "busy with a long script"),
    ("NOPERM no permission", RefusedError, "does not permit this"),
    ("ERR whatever", RefusedError, "refused the command .whatever."),
]


@pytest.mark.parametrize("listing", [Keys(), KeyTypes()], ids=["keys", "types"])
@pytest.mark.parametrize(("reply", "kind", "message"), LISTING_ERRORS)
async def test_an_error_in_the_middle_of_a_listing(
    listing: Operation[Any], reply: str, kind: type[TelstateError], message: str
) -> None:
    """It is raised as what it is, or returned for a batch."""
    with ListingServer(f"-{reply}\r\n".encode()) as server:
        url = f"redis://{server.address}?protocol=2"
        with RedisBackend.from_url(url, retry=NO_RETRY) as backend:
            with pytest.raises(kind, match=message):
                backend.execute(listing)
            with pytest.raises(kind, match=message):
                (error,) = backend.execute_many([listing])
                raise error
        async with await AsyncRedisBackend.from_url(url, retry=NO_RETRY) as other:
            with pytest.raises(kind, match=message):
                await other.execute(listing)
