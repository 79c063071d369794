"""Loading and saving, as the API page describes it, on every backend, synchronous and asyncio."""

import inspect
import io
import logging
import random
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

import fakeredis
import pytest
import redis
import redis.asyncio.retry
import redis.backoff
import redis.retry
from state_subjects import Subject, SyncSubject, real

from telstate import ConnectionError, KeyType, RdbParseError, RDBWriter, TelescopeState, aio
from telstate.aio.rdb_writer import RDBWriter as AsyncRDBWriter
from telstate_backends import Immutable, Load, RefusedError
from telstate_testing.files import OneWayFile


async def fill(subject: Subject) -> None:
    """Write a key of each kind."""
    await subject.set("n_chans", 4096)
    await subject.add("gain", 1.5, ts=100.0)
    await subject.add("gain", 2.0, ts=110.0)
    await subject.set_indexed("peak", ("J1939-6342", 17), 14.9)


async def content(subject: Subject) -> dict[str, Any]:
    """Return all stored bytes of a store."""
    found: dict[str, Any] = {}
    for key in await subject.keys():
        if await subject.key_type(key) is KeyType.MUTABLE:
            found[key] = await subject.get_range(key, st=0, return_encoded=True)
        else:
            found[key] = await subject.get(key, return_encoded=True)
    return found


async def test_round_trip(subject: Subject, tmp_path: Path, real_snapshot: Path) -> None:
    """Saving and loading returns the number of keys and keeps every byte."""
    await fill(subject)
    assert await subject.view("x", exclusive=True).load_from_file(str(real_snapshot)) == 199
    assert len(await subject.keys()) == 202
    assert await subject.item("sub_band") == "l"
    assert await subject.save(tmp_path / "all.rdb") == (202, 0)
    before = await content(subject)
    await subject.clear()
    assert await subject.load_from_file(tmp_path / "all.rdb") == 202
    assert await content(subject) == before


async def test_loading_replaces(subject: Subject, tmp_path: Path) -> None:
    """Loading replaces keys that exist, also immutable ones."""
    await fill(subject)
    assert await subject.save(tmp_path / "old.rdb") == (3, 0)
    await subject.clear()
    await subject.set("n_chans", 1)
    await subject.set("gain", "of another kind")
    await subject.set("other", 1)
    assert await subject.load_from_file(tmp_path / "old.rdb") == 3
    assert await subject.item("n_chans") == 4096
    assert await subject.get_range("gain", 0) == [(1.5, 100.0), (2.0, 110.0)]
    assert await subject.keys() == ["gain", "n_chans", "other", "peak"]


async def test_sources(subject: Subject, tmp_path: Path) -> None:
    """A file object need not be seekable."""
    path = tmp_path / "all.rdb"
    await fill(subject)
    await subject.set("noise", random.Random(1).randbytes(20_000))
    assert await subject.save(path) == (4, 0)
    before = await content(subject)
    with open(path, "rb") as file:
        await subject.clear()
        assert await subject.load_from_file(file) == 4
    assert await content(subject) == before
    await subject.clear()
    assert (
        await subject.load_from_file(cast(BinaryIO, OneWayFile(path.read_bytes(), most=1000))) == 4
    )
    assert await content(subject) == before


async def test_broken(subject: Subject, real_snapshot: Path, tmp_path: Path) -> None:
    """A broken file raises an RdbParseError with its name, one that cannot be opened an OSError."""
    broken = {"short.rdb": real_snapshot.read_bytes()[:-100], "text.rdb": b"no RDB", "empty": b""}
    for name, some in broken.items():
        (tmp_path / name).write_bytes(some)
        with pytest.raises(RdbParseError, match=name):
            await subject.load_from_file(tmp_path / name)
        with pytest.raises(RdbParseError):
            await subject.load_from_file(io.BytesIO(some))
    with pytest.raises(FileNotFoundError):
        await subject.load_from_file(tmp_path / "missing.rdb")
    with pytest.raises(IsADirectoryError):
        await subject.load_from_file(tmp_path)


async def test_damaged(subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error for a damaged file names `strict=False`, which loads the rest and logs what is lost."""
    await fill(subject)
    await subject.save(tmp_path / "whole.rdb")
    kept = await subject.keys()
    whole = (tmp_path / "whole.rdb").read_bytes()
    damaged = tmp_path / "damaged.rdb"
    damaged.write_bytes(whole[:-40])
    await subject.clear()
    with pytest.raises(
        RdbParseError, match=r"damaged\.rdb, .*; strict=False loads the intact parts$"
    ):
        await subject.load_from_file(damaged)
    await subject.clear()
    with caplog.at_level(logging.WARNING, "telstate"):
        count = await subject.load_from_file(damaged, strict=False)
    found = await subject.keys()
    assert len(found) == count and set(found) < set(kept)
    assert re.search(r"Lost at byte \d+ of .*damaged\.rdb, the rest", caplog.text)
    made: Any = type(subject.state).from_snapshot(io.BytesIO(whole[:-40]), strict=False)
    again = await made if inspect.isawaitable(made) else made
    assert await subject.load_from_file(tmp_path / "whole.rdb", strict=False) == len(kept)
    listed: Any = again.keys()
    assert (await listed if inspect.isawaitable(listed) else listed) == found


async def test_not_a_snapshot(subject: Subject, tmp_path: Path) -> None:
    """A file that is not a snapshot is an error with `strict=False` too, which is not suggested."""
    (tmp_path / "text.rdb").write_bytes(b"hello there")
    for strict in (True, False):
        with pytest.raises(
            RdbParseError, match=r"text.rdb.*not an RDB file: it starts with [^;]*$"
        ):
            await subject.load_from_file(tmp_path / "text.rdb", strict=strict)


async def test_some_keys(
    subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys are any iterable of full names; missing ones are logged and counted."""
    await fill(subject)
    keys = iter(["n_chans", "nope", b"peak", "n_chans"])
    assert await subject.save(tmp_path / "some.rdb", keys) == (2, 2)
    assert "'nope'" in caplog.text
    again = TelescopeState()
    assert again.load_from_file(tmp_path / "some.rdb") == 2
    assert again.keys() == ["n_chans", "peak"]


async def test_no_key(subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without keys no file is written."""
    assert await subject.save(tmp_path / "empty.rdb") == (0, 0)
    assert await subject.save(tmp_path / "none.rdb", ["nope"]) == (0, 1)
    assert list(tmp_path.iterdir()) == []
    assert caplog.records


async def test_progress_that_would_be_awaited(subject: Subject, tmp_path: Path) -> None:
    """An async progress function is refused and nothing is written."""

    async def tell(count: int) -> None:
        raise AssertionError(count)

    path = tmp_path / "a.rdb"
    with pytest.raises(TypeError, match="progress function of saving must be a"):
        await subject.save(path, None, tell)
    assert not path.exists()


async def test_several_stores(subject: Subject, tmp_path: Path) -> None:
    """Several saves, from telescope states and backends, go into one file."""
    await fill(subject)
    path = tmp_path / "several.rdb"
    if isinstance(subject, SyncSubject):
        other = TelescopeState()
        other["other"] = 1
        with RDBWriter(path) as writer:
            writer.save(subject.state.view("a"), ["n_chans"])
            writer.save(subject.state.backend, keys=["gain"])
            writer.save(other)
    else:
        another = aio.TelescopeState()
        await another.set("other", 1)
        async with AsyncRDBWriter(path) as asynchronous:
            await asynchronous.save(subject.state.view("a"), ["n_chans"])
            await asynchronous.save(subject.state.backend, keys=["gain"])
            await asynchronous.save(another)
    again = TelescopeState()
    assert again.load_from_file(path) == 3
    assert again.keys() == ["gain", "n_chans", "other"]


async def test_dump_and_write_key(subject: Subject, tmp_path: Path) -> None:
    """`backend.dump` returns the payload of DUMP, which `write_key` writes."""
    await fill(subject)
    payloads = {}
    for key in (b"n_chans", b"gain", b"peak", b"nope"):
        dumped = subject.backend.dump(key)
        payloads[key] = dumped if isinstance(subject, SyncSubject) else await dumped
    assert payloads.pop(b"nope") is None
    if "fakeredis" in type(_client(subject)).__module__:
        return  # fakeredis has another format of DUMP.
    path = tmp_path / "dumped.rdb"
    if isinstance(subject, SyncSubject):
        with RDBWriter(path) as writer:
            for key, payload in payloads.items():
                writer.write_key(key, payload)
    else:
        async with AsyncRDBWriter(path) as asynchronous:
            for key, payload in payloads.items():
                asynchronous.write_key(key, payload)
    before = await content(subject)
    await subject.clear()
    assert await subject.load_from_file(path) == 3
    assert await content(subject) == before


def _client(subject: Subject) -> object:
    """Return the client of a subject on Redis; only the private server object has it."""
    return getattr(getattr(subject.backend, "_server", None), "client", None)


async def test_redis_clients(tmp_path: Path) -> None:
    """A redis-py or fakeredis client can be saved and still works afterwards."""
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)
    client.set("n_chans", b"\xff\x05")
    with RDBWriter(tmp_path / "sync.rdb") as writer:
        writer.save(client)
    assert client.get("n_chans") == b"\xff\x05"
    asynchronous = fakeredis.FakeAsyncRedis(server=server)
    async with AsyncRDBWriter(tmp_path / "asyncio.rdb") as other:
        await other.save(asynchronous)
    assert await asynchronous.get("n_chans") == b"\xff\x05"
    await asynchronous.connection_pool.disconnect()  # every redis-py has this; `aclose` came with 5.0.1
    for name in ("sync.rdb", "asyncio.rdb"):
        again = TelescopeState()
        assert again.load_from_file(tmp_path / name) == 1
        assert again["n_chans"] == 5
    with pytest.raises(TypeError, match="asyncio TelescopeState"):
        async with AsyncRDBWriter(tmp_path / "none.rdb") as other:
            await other.save(3)  # type: ignore[arg-type]  # that it is refused is the test


async def test_any_names_and_values(subject: Subject, tmp_path: Path) -> None:
    """Any bytes of keys and stored values are saved and loaded unchanged."""
    await subject.execute(Load(b"\xff\x00\n junk", Immutable(b"\x90")))
    await subject.execute(Load(b"", Immutable(b"")))
    assert await subject.save(tmp_path / "odd.rdb") == (2, 0)
    await subject.clear()
    assert await subject.load_from_file(tmp_path / "odd.rdb") == 2
    assert await content(subject) == {"": b"", "\udcff\x00\n junk": b"\x90"}


async def test_foreign_keys(
    subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys of other Redis types are not loaded, and are logged with their names."""
    from telstate_rdb import List, RdbWriter

    with RdbWriter(tmp_path / "foreign.rdb") as writer:
        writer.write(b"a_list", List((b"x",)))
        writer.write(b"n_chans", b"\xff\x05")
    with caplog.at_level(logging.WARNING, "telstate"):
        assert await subject.load_from_file(tmp_path / "foreign.rdb") == 1
    assert "'a_list'" in caplog.text
    assert await subject.keys() == ["n_chans"]


async def test_errors_of_the_backend(
    asynchronous: bool, newest_port: int, real_snapshot: Path
) -> None:
    """An error of the backend while a file is loaded is raised unchanged."""
    with redis.Redis(port=newest_port) as client:
        client.execute_command(
            "ACL SETUSER", "looker", "on", "nopass", "~*", "&*", "+@read", "+ping"
        )
    subject = await real(asynchronous, f"redis://looker:any@127.0.0.1:{newest_port}")
    with pytest.raises(RefusedError, match="permit"):
        await subject.load_from_file(real_snapshot)
    await subject.close()
    with pytest.raises(ConnectionError, match="closed"):
        await subject.load_from_file(real_snapshot)


async def test_clients_keep_retries_and_connections(newest_port: int, tmp_path: Path) -> None:
    """After a save, a redis-py client has its own retries and all its connections."""
    TelescopeState(f"127.0.0.1:{newest_port}")["n_chans"] = 4096
    often = redis.retry.Retry(redis.backoff.NoBackoff(), 3)
    pool = redis.ConnectionPool(port=newest_port, max_connections=10, retry=often)
    with redis.Redis(connection_pool=pool) as client:
        for _ in range(20):
            with RDBWriter(tmp_path / "sync.rdb") as writer:
                writer.save(client)
            assert (client.get_retry(), writer.keys_written) == (often, 1)
    retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 3)
    connections = redis.asyncio.ConnectionPool(port=newest_port, max_connections=10, retry=retry)
    asynchronous = redis.asyncio.Redis(connection_pool=connections)
    for _ in range(20):
        async with AsyncRDBWriter(tmp_path / "asyncio.rdb") as twin:
            await twin.save(asynchronous)
        assert (asynchronous.get_retry(), twin.keys_written) == (retry, 1)
    await connections.disconnect()
