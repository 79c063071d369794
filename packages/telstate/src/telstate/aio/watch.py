"""Watching keys on asyncio: `telstate.watch`, awaited."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from telstate._view import View
from telstate.watch import WatchEvent, decode_update, describe_watch, encode_names
from telstate_backends import AsyncBackend, AsyncFollower
from telstate_codec import Key

__all__ = ["Watch"]


class Watch:
    """Updates of keys as they happen; made by `telstate.aio.TelescopeState.watch`.

    A watch is an asynchronous iterator and a context manager. It begins where it is entered, or else
    where the first update is requested. It belongs to one task. Cancelling a call that waits for an
    update, with a time limit for example, loses no update.
    """

    def __init__(
        self, backend: AsyncBackend, view: View, keys: Collection[Key], patterns: Iterable[Key]
    ) -> None:
        names, globs = encode_names(view, keys, patterns)
        self._follower = AsyncFollower(backend, names, globs)
        self._describe = partial(describe_watch, backend, view, keys, globs)
        self._begun = self._ended = False

    def __repr__(self) -> str:
        state = "closed" if self._ended else "open" if self._begun else "not open"
        return self._describe(state)

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
        return decode_update(await self._follower.next())
