"""What answers is no Redis server: one error of ours with the address, and nothing is left of the attempt."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio
from subjects import LONG

from telstate_backends import (
    AsyncRedisBackend,
    Exists,
    Get,
    RedisBackend,
    RetryPolicy,
    TelstateError,
)

NEVER = RetryPolicy(seconds=0)
#: What comes for each command, whatever it is.
REPLIES = {
    "words": b"+OK\r\n",
    "numbers": b":1\r\n",
    "nothing": b"$-1\r\n",
    "lists": b"*1\r\n:1\r\n",
    "errors": b"-WEIRD foo\r\n",
    "web": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}
FORMS = ["redis://:hush@{}/3", "redis://{}?protocol=3", "redis+cluster://{}"]


class Babbler:
    """A server that gives the same reply to everything, as a context manager.

    Parameters
    ----------
    reply : bytes
        To each command.
    """

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
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
                pass  # the other end has had enough

    def all_left(self) -> bool:
        """Tell whether all clients have gone, giving them some time."""
        self._end()
        for thread in self._threads:
            thread.join(LONG)
        return not any(thread.is_alive() for thread in self._threads)

    def _end(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # for the second time
        self._listener.close()

    def __enter__(self) -> Babbler:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        for client in self._sockets:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has gone already
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=list(REPLIES))
def babbler(request: pytest.FixtureRequest) -> Iterator[Babbler]:
    """A server of each kind in turn."""
    with Babbler(REPLIES[request.param]) as babbler:
        yield babbler


@pytest.mark.parametrize("form", FORMS)
async def test_a_url_of_what_is_no_server(babbler: Babbler, form: str, asynchronous: bool) -> None:
    """The error is ours, with the address and without the password, and every connection is closed."""
    url = form.format(babbler.place)
    caught: TelstateError | None = None
    try:
        if asynchronous:
            async with await AsyncRedisBackend.from_url(url, retry=NEVER) as backend:
                await backend.execute(Get((b"k",)))
        else:
            with RedisBackend.from_url(url, retry=NEVER) as sync_backend:
                sync_backend.execute(Get((b"k",)))
    except TelstateError as error:
        caught = error  # which is kept, so that nobody else lets go of what its traceback holds
    said = "" if caught is None else str(caught)
    # That there is no such key is what a server might say, too.
    assert babbler.place in said or (said == "" and babbler.reply == REPLIES["nothing"])
    assert "hush" not in said
    assert await asyncio.to_thread(babbler.all_left)


@pytest.mark.parametrize("reply", ["words", "lists"])
async def test_a_client_of_what_is_no_server(reply: str, asynchronous: bool) -> None:
    """A reply of the wrong form to an operation, alone or in a batch, is an error with the address."""
    with Babbler(REPLIES[reply]) as babbler:
        host, _, port = babbler.place.partition(":")
        caught: list[object] = []
        if asynchronous:
            client = redis.asyncio.Redis(host=host, port=int(port), protocol=2)
            async with AsyncRedisBackend(client, retry=NEVER) as backend:
                with pytest.raises(TelstateError) as info:
                    await backend.execute(Exists((b"k",)))
                caught += [info.value, *await backend.execute_many([Exists((b"k",))])]
        else:
            sync_client = redis.Redis(host=host, port=int(port), protocol=2)
            with RedisBackend(sync_client, retry=NEVER) as sync_backend:
                with pytest.raises(TelstateError) as info:
                    sync_backend.execute(Exists((b"k",)))
                caught += [info.value, *sync_backend.execute_many([Exists((b"k",))])]
        expected = f"Redis at {babbler.place} sent an unexpected reply: "
        assert [str(each).startswith(expected) for each in caught] == [True, True]


async def test_a_cancelled_attempt_leaves_nothing() -> None:
    """Who gives up while a backend is made of a URL closes what was begun."""
    with Babbler(b"") as babbler:  # which says nothing at all
        making = AsyncRedisBackend.from_url(f"redis://{babbler.place}?socket_timeout={LONG * 10}")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(making, 0.05)
        assert await asyncio.to_thread(babbler.all_left)


def test_an_unknown_option() -> None:
    """An option that redis-py does not know is its TypeError, not taken for a reply of the server."""
    with Babbler(b"+OK\r\n") as babbler:
        with pytest.raises(TypeError, match="'colour'"):
            RedisBackend.from_url(f"redis://{babbler.place}?colour=red")
