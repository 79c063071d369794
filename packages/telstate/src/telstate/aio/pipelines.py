"""Batches for asyncio; see `telstate.pipelines` for what they mean."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from telstate.batches import Queued
from telstate.pipelines import PipelineBase
from telstate.refusals import refusal
from telstate_backends import AsyncBackend

__all__ = ["Pipeline", "Queued"]


class Pipeline(PipelineBase[AsyncBackend]):
    """A batch that is sent at the end of an ``async with`` block.

    Its methods only queue, so they are called as they are; only the end of the block is awaited.
    """

    if not TYPE_CHECKING:
        __enter__ = refusal("is for asyncio", "use async with")
        __exit__ = __enter__

    async def __aenter__(self) -> Self:
        self._batch.open()
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception_type is not None:
            self._batch.drop()
            return
        with self._batch.sending(self._raise_errors) as exchanges:
            for operations, settle in exchanges:
                settle(await self._backend.execute_many(operations))
