"""Subjects: backends under test with one interface for synchronous and asyncio, so that one suite tests all.

A subject is awaited. It calls a synchronous backend directly, or in a thread where that may block for long.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import fakeredis
import redis
import redis.asyncio

from telstate_backends import (
    AsyncBackend,
    AsyncCachedBackend,
    AsyncMemoryBackend,
    AsyncRedisBackend,
    AsyncWatcher,
    Backend,
    CachedBackend,
    Event,
    Fields,
    Immutable,
    MemoryBackend,
    Operation,
    RedisBackend,
    RetryPolicy,
    Samples,
    Store,
    TelstateError,
    Wait,
    Watcher,
    load_rdb,
    wait,
    wait_async,
)
from telstate_backends.operations.bulk import unpacked
from telstate_backends.store import Packed, Stored
from telstate_rdb.dump import crc64
from telstate_rdb.lazy import walk

Result = TypeVar("Result")

#: Seconds after which a test that waits has failed.
LONG = 20.0


class SubjectWatcher(ABC):
    """A watcher of a subject."""

    watcher: Watcher | AsyncWatcher

    @abstractmethod
    async def next(self) -> Event:
        """Return the next event, which must arrive soon."""


class Subject(ABC):
    """A backend under test."""

    @abstractmethod
    async def execute(self, operation: Operation[Result]) -> Result:
        """Execute one operation."""

    @abstractmethod
    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Execute operations in order."""

    @abstractmethod
    def watch(self, *keys: bytes, patterns: Sequence[bytes] = (), deletions: bool = False) -> Any:
        """Watch keys and patterns: an asynchronous context manager of a `SubjectWatcher`."""

    @abstractmethod
    async def wait(self, wanted: Wait[Any]) -> None:
        """Wait for something that must happen soon."""

    @abstractmethod
    async def close(self) -> None:
        """Close the backend."""


class _SyncWatcher(SubjectWatcher):
    def __init__(self, watcher: Watcher) -> None:
        self.watcher: Watcher = watcher

    async def next(self) -> Event:
        event = await asyncio.to_thread(self.watcher.next, LONG)
        assert event is not None, "no event arrived"
        return event


class SyncSubject(Subject):
    """A synchronous backend under test."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def execute(self, operation: Operation[Result]) -> Result:
        return self.backend.execute(operation)

    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        return self.backend.execute_many(operations)

    @asynccontextmanager
    async def watch(
        self, *keys: bytes, patterns: Sequence[bytes] = (), deletions: bool = False
    ) -> AsyncIterator[SubjectWatcher]:
        with self.backend.watch(keys, patterns, deletions=deletions) as watcher:
            yield _SyncWatcher(watcher)

    async def wait(self, wanted: Wait[Any]) -> None:
        await asyncio.to_thread(wait, self.backend, wanted, LONG)

    async def close(self) -> None:
        self.backend.close()


class _AsyncWatcher(SubjectWatcher):
    def __init__(self, watcher: AsyncWatcher) -> None:
        self.watcher: AsyncWatcher = watcher

    async def next(self) -> Event:
        return await asyncio.wait_for(self.watcher.next(), LONG)


class AsyncSubject(Subject):
    """An asyncio backend under test."""

    def __init__(self, backend: AsyncBackend) -> None:
        self.backend = backend

    async def execute(self, operation: Operation[Result]) -> Result:
        return await self.backend.execute(operation)

    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        return await self.backend.execute_many(operations)

    @asynccontextmanager
    async def watch(
        self, *keys: bytes, patterns: Sequence[bytes] = (), deletions: bool = False
    ) -> AsyncIterator[SubjectWatcher]:
        async with self.backend.watch(keys, patterns, deletions=deletions) as watcher:
            yield _AsyncWatcher(watcher)

    async def wait(self, wanted: Wait[Any]) -> None:
        await asyncio.wait_for(wait_async(self.backend, wanted), LONG)

    async def close(self) -> None:
        self.backend.close()
        await self.backend.wait_closed()


class _Archived(Subject):
    """A subject in memory whose contents are left in a file again before each operation."""

    backend: Any

    async def execute(self, operation: Operation[Result]) -> Result:
        leave_in_file(self.backend.store)
        return await super().execute(operation)  # type: ignore[safe-super]  # of a class beside it

    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        leave_in_file(self.backend.store)
        return await super().execute_many(operations)  # type: ignore[safe-super]  # the same


class _SyncArchived(_Archived, SyncSubject):
    pass


class _AsyncArchived(_Archived, AsyncSubject):
    pass


def leave_in_file(store: Store) -> None:
    """Leave all contents of a store in a file, in forms that stay there however short they are."""
    data = store.data
    if all(type(stored) is Packed for stored in data.values()):
        return
    content = b"REDIS0009" + b"".join(map(_record, data, map(unpacked, data.values()))) + b"\xff"
    other = Store()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content + crc64(content).to_bytes(8, "little"))
        file.flush()
        load_rdb(MemoryBackend(other), file.name, in_place=True)
    # Without the extension in C, short tables are read.
    assert walk is None or all(type(stored) is Packed for stored in other.data.values())
    assert data.keys() == other.data.keys()
    data.update(other.data)


def _record(key: bytes, stored: Stored) -> bytes:
    """Return the record of a key in a file."""
    start = _string(key)
    if type(stored) is Immutable:
        return b"\0" + start + _string(stored.value)
    count = b"\x80" + len(stored).to_bytes(4, "big")
    if type(stored) is Samples:
        return b"\x05" + start + count + b"".join(_string(one) + bytes(8) for one in stored)
    assert type(stored) is Fields
    return b"\x04" + start + count + b"".join(_string(a) + _string(b) for a, b in stored.items())


def _string(data: bytes) -> bytes:
    return b"\x80" + len(data).to_bytes(4, "big") + data


def memory(asynchronous: bool, store: Store) -> Subject:
    """Return a subject in memory."""
    if asynchronous:
        return AsyncSubject(AsyncMemoryBackend(store))
    return SyncSubject(MemoryBackend(store))


def archived(asynchronous: bool, store: Store) -> Subject:
    """Return a subject whose contents are in a file."""
    if asynchronous:
        return _AsyncArchived(AsyncMemoryBackend(store))
    return _SyncArchived(MemoryBackend(store))


def fake(asynchronous: bool, server: fakeredis.FakeServer) -> Subject:
    """Return a subject with a fakeredis client of its own."""
    if asynchronous:
        return AsyncSubject(AsyncRedisBackend(fakeredis.FakeAsyncRedis(server=server)))
    return SyncSubject(RedisBackend(fakeredis.FakeRedis(server=server)))


def real(asynchronous: bool, url: str) -> Subject:
    """Return a subject on a running server."""
    if asynchronous:
        return AsyncSubject(AsyncRedisBackend(redis.asyncio.Redis.from_url(url)))
    return SyncSubject(RedisBackend(redis.Redis.from_url(url)))


def cached(subject: Subject) -> Subject:
    """Put a cache in front of the backend of a subject."""
    if isinstance(subject, AsyncSubject):
        return AsyncSubject(AsyncCachedBackend(subject.backend))
    assert isinstance(subject, SyncSubject)
    return SyncSubject(CachedBackend(subject.backend))


async def spread(asynchronous: bool, url: str, retry: RetryPolicy = RetryPolicy()) -> Subject:
    """Return a subject on a running cluster."""
    if asynchronous:
        return AsyncSubject(await AsyncRedisBackend.from_url(url, retry=retry))
    return SyncSubject(RedisBackend.from_url(url, retry=retry))


def outcome(backend: MemoryBackend, operation: Operation[Any]) -> object:
    """Return the result of an operation, or its error."""
    try:
        return backend.execute(operation)
    except TelstateError as error:
        return type(error), str(error)


def later(seconds: float, *actions: Callable[[], object]) -> threading.Thread:
    """Call functions after some seconds, in a thread."""

    def act() -> None:
        time.sleep(seconds)
        for action in actions:
            action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread
