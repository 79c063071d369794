"""A snapshot never lacks keys which the server refused, and never replaces a good one by less."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import SERVERS, marked, needs_server
from state_subjects import LONG, real

from telstate import ConnectionError, RedisBackend, RefusedError, TelescopeState, TelstateError
from telstate_backends import RetryPolicy
from telstate_testing import RedisBinary, RedisServer

pytestmark = needs_server


@pytest.fixture(params=marked(*SERVERS))
def port(request: pytest.FixtureRequest, server_port: Callable[[str], int]) -> int:
    """The port of an empty server of each version."""
    return server_port(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of an old snapshot."""
    path = tmp_path / "observation.rdb"
    path.write_bytes(b"old")
    return path


def fill(port: int, count: int) -> None:
    """Write keys."""
    with redis.Redis(port=port) as client:
        client.mset({f"k{number:05}": b"\xff\x01" for number in range(count)})


@contextmanager
def user(port: int, *rules: str) -> Iterator[str]:
    """The URL of a server with a user."""
    with redis.Redis(port=port) as client:
        client.execute_command("ACL SETUSER", "guest", "reset", "on", "nopass", "&*", *rules)
        yield f"redis://guest:any@127.0.0.1:{port}"
        client.execute_command("ACL DELUSER", "guest")


@contextmanager
def looping_script(port: int) -> Iterator[Callable[[], None]]:
    """A function that lets a script of another client run until the end of the block."""
    with redis.Redis(port=port) as client, redis.Redis(port=port, socket_timeout=LONG) as other:
        client.config_set("lua-time-limit", 50)
        thread = threading.Thread(target=run_forever, args=(other,))

        def start() -> None:
            thread.start()
            end = time.monotonic() + LONG
            while time.monotonic() < end:
                try:
                    client.ping()
                except redis.ResponseError as error:
                    assert "BUSY" in str(error)
                    return
            raise AssertionError("the script does not run")

        try:
            yield start
        finally:
            if thread.ident is not None:
                client.script_kill()
                thread.join()
            client.config_set("lua-time-limit", 5000)


def run_forever(client: redis.Redis) -> None:
    """Run a script that never ends."""
    with pytest.raises(redis.ResponseError):
        client.eval("while true do end", 0)


class Interfered(RedisBackend):
    """A backend with a function that is called before a batch: by default the second, which is the first of contents."""

    interfere: Callable[[], None]
    interferes_before = 2
    batches = 0

    def execute_many(self, operations: Sequence[Any], /, **options: Any) -> list[Any]:
        self.batches += 1
        if self.batches == self.interferes_before:
            self.interfere()
        return super().execute_many(operations, **options)


def test_busy_server(port: int, path: Path) -> None:
    """If a server becomes busy with a script during a save, that is an error, and the old file stays."""
    fill(port, 3000)
    backend = Interfered(redis.Redis(port=port), retry=RetryPolicy(seconds=0))
    backend.interferes_before = 3  # when a part of the keys is in the file
    ts = TelescopeState(backend)
    with looping_script(port) as start:
        backend.interfere = start
        with pytest.raises(TelstateError, match="BUSY"):
            ts.save(path)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    assert ts.save(path) == 3000
    ts.close()


@pytest.mark.parametrize("consistent", [False, True])
async def test_busy_for_a_while(
    port: int, asynchronous: bool, consistent: bool, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A save waits while the server is busy with a script, within the retry policy."""
    fill(port, 300)
    subject = await real(asynchronous, f"redis://127.0.0.1:{port}")
    with caplog.at_level(logging.WARNING, "telstate_backends"), looping_script(port) as start:
        await asyncio.to_thread(start)
        saving = asyncio.create_task(subject.state_save(path, consistent=consistent))
        async with asyncio.timeout(LONG):
            while "Waiting for Redis" not in caplog.text:
                await asyncio.sleep(0.01)
        assert not saving.done()
    assert await saving == 300
    assert len(TelescopeState.from_snapshot(path).keys()) == 300
    await subject.close()


async def test_unreadable_keys(
    port: int, asynchronous: bool, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that a user may not read are an error of `save`; a writer logs them and keeps the old file."""
    fill(port, 300)
    with user(port, "+@all", "~k0000?") as url:
        subject = await real(asynchronous, url)
        with pytest.raises(RefusedError, match="'k00010', so .*left as it was"):
            await subject.state_save(path)
        with pytest.raises(RefusedError, match="'k00099'"):
            await subject.state_save(path, keys=["k00001", "k00099"])
        assert path.read_bytes() == b"old"
        with caplog.at_level(logging.ERROR, "telstate"):
            assert await subject.save(path) == (10, 290)
        assert [record.getMessage()[:20] for record in caplog.records] == [
            "290 keys ('k00010', ",
            str(path)[:20],
        ]
        assert path.read_bytes() == b"old"
        new = path.with_name("new.rdb")
        assert await subject.save(new) == (10, 290)
        assert len(TelescopeState.from_snapshot(new).keys()) == 10
        assert await subject.state_save(path, keys=["k0000?"]) == 10
        await subject.close()


async def test_user_without_any_keys(port: int, asynchronous: bool, path: Path) -> None:
    """A user who may list keys but not read one gets an error, not an empty file."""
    fill(port, 3)
    with user(port, "+@all", "resetkeys") as url:
        subject = await real(asynchronous, url)
        with pytest.raises(RefusedError, match="'k00000'"):
            await subject.state_save(path)
        assert await subject.save(path) == (0, 3)
        assert path.read_bytes() == b"old"
        await subject.close()


def test_keys_that_are_deleted_meanwhile(port: int, path: Path) -> None:
    """A key that is deleted while a whole store is saved is no failure, unless it was named."""
    fill(port, 600)
    with redis.Redis(port=port) as other:
        for keys, expected in ((None, 599), (["k*"], 598)):
            ts = TelescopeState(Interfered(redis.Redis(port=port)))
            ts.backend.interfere = lambda: other.delete(other.keys("k005*")[0])  # type: ignore[attr-defined]  # it is an `Interfered`
            assert ts.save(path, keys) == expected
            ts.close()


class Struck(RedisBackend):
    """A backend with a function that is called after the first key of its snapshots."""

    strike: Callable[[], None]

    def take_snapshot(self, consume: Any, *options: Any) -> Any:
        def entries(snapshot: Iterator[Any]) -> Iterator[Any]:
            for entry in snapshot:
                yield entry
                self.strike()

        return super().take_snapshot(lambda snapshot: consume(entries(snapshot)), *options)


def test_consistent_and_interrupted(newest: RedisBinary, path: Path) -> None:
    """After an interrupt, or if the server is killed, the old file is unchanged and there is no other."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with RedisServer(newest) as server:
        with redis.Redis(port=server.port) as client:
            for number in range(24):  # more than sockets hold
                client.set(f"k{number}", random.Random(number).randbytes(1 << 20))
        backend = Struck(redis.Redis(port=server.port), retry=RetryPolicy(seconds=0))
        with TelescopeState(backend) as ts:
            for strike, error in ((interrupt, KeyboardInterrupt), (server.kill, ConnectionError)):
                backend.strike = strike
                with pytest.raises(error):
                    ts.save(path, consistent=True)
                assert path.read_bytes() == b"old"
                assert list(path.parent.iterdir()) == [path]
