"""Loading under asyncio into a store elsewhere: several batches on their way, and nothing left over.

Rules: the store is one in memory that takes its time and counts, so that every order of things can be had.
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
    load_records_async,
)
from telstate_backends._load import BATCH_LENGTH, IN_FLIGHT
from telstate_backends.operations.base import Operation
from telstate_rdb import KeyRecord


class Slow(AsyncMemoryBackend):
    """A store that takes payloads as one elsewhere does, and some turns of the loop for a batch."""

    takes_payloads = True

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.fails_at = fails_at
        self.begun = self.at_once = self.most = 0

    async def execute_many(
        self, operations: Sequence[Operation[Any]], /, *, deadline: Deadline | None = None
    ) -> list[Any]:
        """Do them after a while, the earlier batches later."""
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
        """Let other tasks run, less for later batches."""
        await asyncio.sleep(0.02 / number)


class Sociable(Slow):
    """The same, but no batch is done before there have been two at once."""

    async def take_time(self, number: int) -> None:
        """Wait for company, if there has been none."""
        async with asyncio.timeout(LONG):
            while self.most < 2:
                await asyncio.sleep(0.001)


def records(batches: int, *, same: bool = False) -> Iterator[KeyRecord[Any]]:
    """Give immutable keys for so many batches, one of them in each if they are the same."""
    for number in range(batches * BATCH_LENGTH):
        again = same and number % BATCH_LENGTH == 0
        yield KeyRecord(
            0, b"same" if again else b"k%d" % number, b"\xff%d" % (number // BATCH_LENGTH)
        )


def others() -> set[asyncio.Task[Any]]:
    """Give the tasks that there are besides the test."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_several_batches_are_on_their_way() -> None:
    """Several batches are sent at once, but no more than allowed, and all is loaded and counted."""
    backend = Sociable()
    report = await load_records_async(backend, records(8))
    assert report.keys == 8 * BATCH_LENGTH
    assert backend.most <= IN_FLIGHT
    assert await backend.execute(Get((b"k7999",))) == Immutable(b"\xff7")


async def test_what_concerns_one_key_is_done_in_order() -> None:
    """Of a key that is in several batches the last value stays, though earlier batches are slower."""
    backend = Slow()
    await load_records_async(backend, records(5, same=True))
    assert await backend.execute(Get((b"same",))) == Immutable(b"\xff4")


async def test_an_error_ends_everything() -> None:
    """If a batch fails, the error is raised and no batch goes on."""
    for fails_at in range(1, 7):
        with pytest.raises(ConnectionError, match="lost"):
            await load_records_async(Slow(fails_at), records(6))
        assert others() == set()


async def test_a_progress_that_raises_ends_everything() -> None:
    """If the caller's own function raises, no batch goes on."""

    def refuse(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await load_records_async(Slow(), records(6), progress=refuse)
    assert others() == set()


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_a_cancelled_load_ends_everything(turns: int) -> None:
    """Whenever it is cancelled, a load leaves no task."""
    task = asyncio.create_task(load_records_async(Slow(), records(6)))
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    task.cancel()
    with suppress(asyncio.CancelledError):  # or it is done by then
        await task
    assert others() == set()
