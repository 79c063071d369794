"""The public types, pinned: mypy checks this file, nothing runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

import redis
import redis.asyncio

import telstate_backends as tb
from telstate_backends.threads import run_in_thread

SYNC: list[tb.Backend] = [
    tb.MemoryBackend(),
    tb.RedisBackend(redis.Redis()),
    tb.CachedBackend(tb.MemoryBackend(), 100, max_bytes=1000, max_age=1.0),
]
ASYNC: list[tb.AsyncBackend] = [
    tb.AsyncMemoryBackend(),
    tb.AsyncCachedBackend(tb.AsyncMemoryBackend(), 100, max_bytes=1000, max_age=1.0),
    tb.AsyncRedisBackend(redis.asyncio.Redis()),
]


def sync_results(backend: tb.Backend) -> None:
    """Every operation gives its own type of result."""
    assert_type(backend.execute(tb.Exists((b"k",))), bool)
    assert_type(backend.execute(tb.GetKeyType((b"k",))), tb.KeyType | None)
    assert_type(backend.execute(tb.Get((b"k",))), tb.Immutable | tb.Mutable | tb.Indexed | None)
    assert_type(backend.execute(tb.Find((b"k",))), tb.Found | None)
    assert_type(backend.execute(tb.GetIndexed((b"k",), b"s")), bytes | None)
    assert_type(backend.execute(tb.GetRange((b"k",), b"", b"")), Sequence[bytes] | None)
    assert_type(backend.execute(tb.SetImmutable(b"k", b"v")), bytes | None)
    assert_type(backend.execute(tb.SetIndexed(b"k", b"s", b"v")), bytes | None)
    assert_type(backend.execute(tb.Delete((b"k",))), int)
    assert_type(backend.execute(tb.Keys()), list[bytes])
    assert_type(backend.execute(tb.KeyTypes()), dict[bytes, tb.KeyType])
    assert_type(backend.dump(b"k"), bytes | None)
    assert_type(backend.take_snapshot(lambda entries: [key for key, _ in entries]), list[bytes])
    assert_type(backend.execute(tb.Count()), int)
    assert_type(backend.execute(tb.ServerVersion()), str | None)
    assert_type(backend.execute(tb.SomeKeys(100)), list[bytes])
    assert_type(backend.execute(tb.Peek(b"k")), tb.KeyPreview | None)
    assert_type(backend.execute(tb.Export(b"k")), tb.Immutable | tb.Samples | tb.Fields | None)
    assert_type(backend.execute_many([tb.Keys(), tb.Exists(())]), list[Any])
    assert_type(tb.load_rdb(backend, "file.rdb"), tb.LoadReport)
    assert_type(tb.load_rdb(backend, "file.rdb", in_place=True), tb.LoadReport)
    with backend.watch([b"k"]) as watcher:
        assert_type(watcher.next(), tb.Event | None)
    with backend.watch([b"k"], deletions=True) as watcher:
        assert_type(watcher.poll(), tb.Update | tb.Deleted | tb.Cleared | tb.CheckDue | None)
        assert_type(watcher.covers([b"k"]), bool)
    with tb.Follower(backend, [(b"v_k", b"k")], [b"x*"]) as follower:
        assert_type(follower.next(timeout=1.0), tb.Update | tb.CheckDue | None)
    assert_type(backend.execute(tb.WhichExist((b"k",))), list[bool])
    wanted = tb.KeysWait([(b"v_k", b"k")], require_all=False)
    assert_type(tb.wait(backend, wanted, timeout=1.0), None)
    assert_type(wanted.found, tuple[bool, ...])


async def async_results(backend: tb.AsyncBackend) -> None:
    """The same, awaited."""
    assert_type(await backend.execute(tb.Exists((b"k",))), bool)
    assert_type(await backend.execute(tb.Get((b"k",))), tb.Contents | None)
    assert_type(await backend.execute_many([tb.Keys()]), list[Any])
    assert_type(await tb.load_rdb_async(backend, b""), tb.LoadReport)
    assert_type(await backend.take_snapshot(lambda entries: sum(1 for _ in entries)), int)
    assert_type(await tb.wait_async(backend, tb.KeyWait((b"k",))), None)
    assert_type(await run_in_thread(lambda: b"result"), bytes)
    async with backend.watch([b"k"]) as watcher:
        assert_type(await watcher.next(), tb.Event)
        assert_type(watcher.poll(), tb.Event | None)
    async with tb.AsyncFollower(backend, [(b"k",)]) as follower:
        assert_type(await follower.next(), tb.TrackedEvent)


async def constructors() -> None:
    """What makes a backend gives that backend."""
    assert_type(tb.RedisBackend.from_url("redis://localhost", 1), tb.RedisBackend)
    assert_type(await tb.AsyncRedisBackend.from_url("redis://localhost"), tb.AsyncRedisBackend)
    assert_type(tb.AsyncMemoryBackend().to_sync(), tb.MemoryBackend)
    assert_type(tb.AsyncMemoryBackend.from_sync(tb.MemoryBackend()), tb.AsyncMemoryBackend)
