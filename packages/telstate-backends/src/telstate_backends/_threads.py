"""Work of asyncio code in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def run_in_thread(function: Callable[[], Result], cut: Callable[[], object]) -> Result:
    """Call a function in a thread; a cancelled task calls `cut`, which must end it, and waits for its end."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            cut()
    if cancelled is not None:
        work.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    return work.result()
