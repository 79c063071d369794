"""One asyncio interface to telescope states of both classes, so that one test covers both.

Every method of a subject is awaited. Methods with the same name in both classes are forwarded; operators,
attributes, waits and `close` are adapted. A synchronous wait runs in a thread and has a timeout.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import fakeredis

from telstate import RDBWriter, TelescopeState, aio
from telstate.aio.rdb_writer import RDBWriter as AsyncRDBWriter
from telstate_backends import AsyncRedisBackend, Operation, RedisBackend

#: Seconds after which a test that waits has failed.
LONG = 30.0


def _outcome(task: asyncio.Task[Any]) -> BaseException:
    if task.cancelled():
        return asyncio.CancelledError()
    outcome = task.exception()
    assert outcome is not None
    return outcome


class Subject:
    """An asyncio telescope state under test."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self.state, name)

    async def item(self, key: str | bytes) -> Any:
        """``ts[key]``."""
        return await self.state[key]

    def view(self, *arguments: Any, **named: Any) -> Subject:
        """Return a view as a subject of the same class."""
        return type(self)(self.state.view(*arguments, **named))

    def root(self) -> Subject:
        """Return the root view as a subject of the same class."""
        return type(self)(self.state.root())

    async def execute(self, operation: Operation[Any]) -> Any:
        """Execute an operation on the backend."""
        return await self.state.backend.execute(operation)

    async def waiting(self, name: str, *arguments: Any) -> None:
        """Wait with ``wait_key`` or ``wait_indexed``, which must succeed within `LONG` seconds."""
        await asyncio.wait_for(getattr(self.state, name)(*arguments), LONG)

    async def give_up(self, name: str, *arguments: Any) -> BaseException:
        """Start a wait, cancel it after a short while, and return its error."""
        task = asyncio.create_task(getattr(self.state, name)(*arguments))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        return _outcome(task)

    def place(self) -> object:
        """Return the current task, or for a synchronous subject the current thread."""
        return asyncio.current_task()

    async def save(self, path: Path, *arguments: Any) -> tuple[int, int]:
        """Save to a file and return how many keys were written and how many failed."""
        async with AsyncRDBWriter(path) as writer:
            await writer.save(self.state, *arguments)
        return writer.keys_written, writer.keys_failed

    async def state_save(self, *arguments: Any, **named: Any) -> int:
        """``ts.save``, whose name is that of a method for writers here."""
        count: int = await self.state.save(*arguments, **named)
        return count

    async def close(self) -> None:
        """Close the backend."""
        self.state.backend.close()
        await self.state.backend.wait_closed()


class SyncSubject(Subject):
    """A synchronous telescope state under test."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.state, name) if hasattr(type(self.state), name) else None
        if not inspect.ismethod(found) or name == "join":
            return getattr(self.state, name)
        method = found

        async def call(*arguments: Any, **named: Any) -> Any:
            return method(*arguments, **named)

        return call

    async def item(self, key: str | bytes) -> Any:
        return self.state[key]

    async def exists(self, key: str | bytes) -> bool:
        """``key in ts``."""
        return key in self.state

    async def set(self, key: str | bytes, value: object) -> None:
        """``ts[key] = value``."""
        self.state[key] = value

    async def execute(self, operation: Operation[Any]) -> Any:
        return self.state.backend.execute(operation)

    async def waiting(self, name: str, *arguments: Any) -> None:
        await asyncio.to_thread(getattr(self.state, name), *arguments, timeout=LONG)

    async def give_up(self, name: str, *arguments: Any) -> BaseException:
        cancel: Future[None] = Future()
        wait = asyncio.to_thread(
            getattr(self.state, name), *arguments, timeout=LONG, cancel_future=cancel
        )
        task: asyncio.Task[None] = asyncio.create_task(wait)
        await asyncio.sleep(0.05)
        cancel.set_result(None)
        await asyncio.wait([task])
        return _outcome(task)

    def place(self) -> object:
        return threading.current_thread()

    async def save(self, path: Path, *arguments: Any) -> tuple[int, int]:
        with RDBWriter(path) as writer:
            writer.save(self.state, *arguments)
        return writer.keys_written, writer.keys_failed

    async def state_save(self, *arguments: Any, **named: Any) -> int:
        count: int = await asyncio.to_thread(self.state.save, *arguments, **named)
        return count

    async def close(self) -> None:
        self.state.backend.close()


def memory(asynchronous: bool) -> Subject:
    """Return a subject in memory."""
    return Subject(aio.TelescopeState()) if asynchronous else SyncSubject(TelescopeState())


def fake(asynchronous: bool) -> Subject:
    """Return a subject on a new fakeredis client."""
    if asynchronous:
        return Subject(aio.TelescopeState(AsyncRedisBackend(fakeredis.FakeAsyncRedis())))
    return SyncSubject(TelescopeState(RedisBackend(fakeredis.FakeRedis())))


async def real(asynchronous: bool, url: str, cache_size: int = 0) -> Subject:
    """Return a subject on a running server or cluster."""
    if asynchronous:
        backend = await AsyncRedisBackend.from_url(url)
        return Subject(aio.TelescopeState(backend, cache_size=cache_size))
    return SyncSubject(TelescopeState(url, cache_size=cache_size))


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks and threads run until a condition is true."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.001)
