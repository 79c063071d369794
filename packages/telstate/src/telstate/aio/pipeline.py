"""Pipelines for asyncio: `telstate.pipeline`, awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from telstate._calls.common import has_glob, is_glob
from telstate.pipeline import Choose, PipelineBase, choose_all, list_keys
from telstate_backends import AsyncBackend, KeyType
from telstate_codec import Key

__all__ = ["Pipeline"]


async def select_keys(
    keys: Key | Iterable[Key],
    exists: Callable[[Key], Awaitable[bool]],
    key_types: Callable[[Key], Awaitable[Mapping[str, KeyType]]],
    choose: Choose = choose_all,
) -> dict[Key, bool]:
    """Return keys, and full names for those that are globs: `telstate.pipeline.select_keys`, awaited."""
    wanted = list_keys(keys)
    if not has_glob(wanted):
        return dict.fromkeys(wanted, False)
    selected: dict[Key, bool] = {}
    for key in wanted:
        if not is_glob(key) or await exists(key):
            selected[key] = False
        else:
            for name in choose(await key_types(key), key):
                selected.setdefault(name, True)
    return selected


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
