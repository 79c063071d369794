"""Watching keys on asyncio: `telstate.watching`, awaited."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from telstate.refusals import refusal
from telstate.views import View
from telstate.watching import KeyUpdate, Reconnected, WatchEvent, event_of, names_to_watch
from telstate_backends import AsyncBackend
from telstate_codec import Key

__all__ = ["KeyUpdate", "Reconnected", "Watch", "WatchEvent"]


class Watch:
    """Updates of keys as they happen: made by `telstate.aio.TelescopeState.watch`, which see.

    It is an asynchronous iterator, and a context manager. It begins where it is entered, or else where
    the first update is asked for. It belongs to one task; to ask with a time limit and be cancelled
    loses no update.
    """

    def __init__(
        self, backend: AsyncBackend, view: View, keys: Iterable[Key], patterns: Iterable[Key]
    ) -> None:
        # Here, so that who watches nothing need not pay for this import.
        from telstate_backends import AsyncFollower

        self._follower = AsyncFollower(backend, *names_to_watch(view, keys, patterns))
        self._begun = self._ended = False

    if not TYPE_CHECKING:
        __iter__ = refusal("is for asyncio", "use async for")
        __enter__ = refusal("is for asyncio", "use async with")
        __exit__ = __enter__
        __await__ = refusal("is not awaited", "use async with, and in it async for")

    async def __aenter__(self) -> Self:
        if not self._begun:
            await self._follower.__aenter__()
            self._begun = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = True
        await self._follower.__aexit__(exc_type, exc_value, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        if self._ended:
            raise StopAsyncIteration
        await self.__aenter__()
        return event_of(await self._follower.next())
