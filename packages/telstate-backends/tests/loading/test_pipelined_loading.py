"""Loading with asyncio into a store that accepts payloads: several batches at once, and no task is left.

The store is one in memory that takes some time and counts, so that every order of events is possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from subjects import LONG

from telstate_backends import (
    AsyncMemoryBackend,
    ConnectionError,
    Deadline,
    Get,
    Immutable,
    Keys,
    load_records_async,
)
from telstate_backends._load import BATCH_LENGTH, IN_FLIGHT
from telstate_backends.operations.base import Operation
from telstate_rdb import KeyRecord


class Slow(AsyncMemoryBackend):
    """A store that accepts payloads, as a server does, and takes some time for each batch."""

    takes_payloads = True

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.fails_at = fails_at
        self.begun = self.at_once = self.most = 0

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Execute them after a while, which is longer for earlier batches."""
        self.begun += 1
        number = self.begun
        self.at_once += bool(operations)
        self.most = max(self.most, self.at_once)
        try:
            await self.take_time(number)
            if number == self.fails_at:
                raise ConnectionError("lost")
            return await super().execute_many(operations)
        finally:
            self.at_once -= bool(operations)

    async def take_time(self, number: int) -> None:
        """Let other tasks run, for a shorter time in later batches."""
        await asyncio.sleep(0.02 / number)


class SlowInPairs(Slow):
    """The same, but no batch ends before two of them have been under way at once."""

    async def take_time(self, number: int) -> None:
        """Wait until two batches have been under way at once."""
        async with asyncio.timeout(LONG):
            while self.most < 2:
                await asyncio.sleep(0.001)


def records(batches: int, *, same: bool = False) -> Iterator[KeyRecord[Any]]:
    """Yield immutable keys for so many batches; if `same`, one key is in all of them."""
    for number in range(batches * BATCH_LENGTH):
        again = same and number % BATCH_LENGTH == 0
        yield KeyRecord(
            0, b"same" if again else b"k%d" % number, b"\xff%d" % (number // BATCH_LENGTH)
        )


def others() -> set[asyncio.Task[Any]]:
    """Return all tasks except the test."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_several_batches_at_once() -> None:
    """Several batches are sent at once, up to the limit, and all keys are loaded and counted."""
    backend = SlowInPairs()
    report = await load_records_async(backend, records(8))
    assert report.keys == 8 * BATCH_LENGTH
    assert backend.most <= IN_FLIGHT
    assert await backend.execute(Get((b"k7999",))) == Immutable(b"\xff7")


async def test_one_key_in_several_batches() -> None:
    """The last value of a key that is in several batches is kept, though earlier batches are slower."""
    backend = Slow()
    await load_records_async(backend, records(5, same=True))
    assert await backend.execute(Get((b"same",))) == Immutable(b"\xff4")


async def test_an_error_ends_a_load() -> None:
    """If a batch fails, its error is raised and no other batch continues."""
    for fails_at in range(1, 7):
        with pytest.raises(ConnectionError, match="lost"):
            await load_records_async(Slow(fails_at), records(6))
        assert others() == set()


async def test_an_exception_of_progress_ends_a_load() -> None:
    """If the progress function raises an exception, no batch continues."""

    def refuse(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await load_records_async(Slow(), records(6), progress=refuse)
    assert others() == set()


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_cancelling_a_load(turns: int) -> None:
    """A cancelled load leaves no task."""
    task = asyncio.create_task(load_records_async(Slow(), records(6)))
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    task.cancel()
    with suppress(asyncio.CancelledError):  # unless it has finished
        await task
    assert others() == set()


async def test_cancelled_load_into_memory() -> None:
    """A load into memory that is cancelled while it is written is complete before the task ends."""
    backend = AsyncMemoryBackend()
    loading = asyncio.create_task(
        load_records_async(backend, records(3), progress=lambda _: loading.cancel() and None)
    )
    with pytest.raises(asyncio.CancelledError):
        await loading
    keys = await backend.execute(Keys())
    assert len(keys) == 3 * BATCH_LENGTH
