"""``with`` and ``async with`` for what has to be closed; a base for all such classes."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Something that is closed at the end of a ``with`` statement."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what it holds; can be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()


class AsyncClosing:
    """Something that is closed at the end of an ``async with`` statement."""

    __slots__ = ()

    def close(self) -> None:
        """Start to let go of what it holds; can be called twice."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Wait until what :meth:`close` started is finished."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()
        await self.wait_closed()
