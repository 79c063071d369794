"""The configuration in docs/how-to/run-a-server.md: what the server keeps, and what its users can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis

from telstate import KeyUpdate, RefusedError, TelescopeState
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.servers import free_port

FOLDER = Path(__file__).parents[4] / "docs" / "how-to"
Server = tuple[RedisServer, Callable[[str], TelescopeState]]


@contextmanager
def configured(binary: RedisBinary, folder: Path) -> Iterator[Server]:
    """Run a server with the configuration, with places of its own, and yield it and its users' stores."""
    users = folder / "users.acl"
    users.write_text((FOLDER / "users.acl").read_text())
    port = free_port()
    # Of each setting, the last one counts.
    options = ["--include", str(FOLDER / "telescope.conf"), "--aclfile", str(users)]
    options += ["--port", str(port), "--dir", str(folder), "--maxmemory", "16mb"]
    with RedisServer(binary, options, port=port) as server:

        def store(user: str) -> TelescopeState:
            return TelescopeState(f"redis://{user}:{user.upper()}-PASSWORD@127.0.0.1:{port}")

        yield server, store


@pytest.fixture
def server(newest: RedisBinary, tmp_path: Path) -> Iterator[Server]:
    """A server with the configuration, and the stores of its users."""
    running: AbstractContextManager[Server] = configured(newest, tmp_path)
    with running as found:
        yield found


def test_acknowledged_writes_survive(server: Server) -> None:
    """What was acknowledged is there after the server has been killed."""
    process, store = server
    with store("writer") as ts:
        for time in range(1000):
            ts.add("gain", time, ts=float(time))
        ts["n_chans"] = 4096
        process.kill()
        process.start()
        assert ts["n_chans"] == 4096
        assert [time for _, time in ts.get_range("gain", st=0)] == list(range(1000))


def test_users(server: Server, tmp_path: Path) -> None:
    """Readers read, watch and save, writers write, and admins clear, and none does more."""
    _, store = server
    with store("reader") as reader, store("writer") as writer, store("admin") as admin:
        with reader.watch("gain", patterns=["n_*"]) as watch:
            writer.add("gain", 1.5, ts=100.0)
            writer["n_chans"] = 4096
            updates = [watch.next(timeout=30), watch.next(timeout=30)]
        assert [one.key for one in updates if isinstance(one, KeyUpdate)] == ["gain", "n_chans"]
        reader.wait_key("n_chans", timeout=30)
        assert reader.keys() == ["gain", "n_chans"]
        assert reader.save(tmp_path / "saved.rdb") == 2
        for write in (
            lambda: reader.add("gain", 2.0, ts=110.0),
            lambda: reader.add("other", 1, immutable=True),
            lambda: reader.delete("gain"),
            lambda: reader.load_from_file(tmp_path / "saved.rdb"),
            lambda: reader.save(tmp_path / "moment.rdb", consistent=True),
            lambda: reader.clear(),
            lambda: writer.clear(),
        ):
            with pytest.raises(RefusedError):
                write()
        with store("saver") as saver:
            assert saver.save(tmp_path / "moment.rdb", consistent=True) == 2
            with pytest.raises(RefusedError):
                saver.delete("gain")
        writer.load_from_file(tmp_path / "moment.rdb")
        writer.delete("gain")
        assert reader.keys() == ["n_chans"]
        admin.clear()
        assert reader.keys() == []


def test_nobody_without_a_password(server: Server) -> None:
    """A connection without a user is refused."""
    process, _ = server
    with redis.Redis(port=process.port) as client, pytest.raises(redis.AuthenticationError):
        client.get("gain")


def test_full_memory(server: Server) -> None:
    """At the limit of memory writes are refused, and nothing that is there is lost."""
    _, store = server
    with store("writer") as ts:
        written = 0
        with pytest.raises(RefusedError):
            for written in range(100):
                ts.add("big", bytes(1 << 20), ts=float(written))
        assert written > 1
        assert len(ts.get_range("big", st=0)) == written
