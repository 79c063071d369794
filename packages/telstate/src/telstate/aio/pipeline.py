"""Pipelines for asyncio: `telstate.pipeline`, awaited."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from telstate.pipeline import PipelineBase
from telstate_backends import AsyncBackend

__all__ = ["Pipeline"]


class Pipeline(PipelineBase[AsyncBackend]):
    """A batch that is sent at the end of an ``async with`` block.

    Its methods only queue, so they are not awaited; only the end of the block is.
    """

    async def __aenter__(self) -> Self:
        self._batch.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._batch.discard()
            return
        with self._batch.sending(self._raise_errors) as exchanges:
            for operations, settle in exchanges:
                settle(await self._backend.execute_many(operations))
