"""Work of asyncio code in threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TypeVar

__all__ = ["run_in_thread"]

Result = TypeVar("Result")


async def run_in_thread(
    function: Callable[[], Result], cut: Callable[[], object] | None = None
) -> Result:
    """Call a function in a thread, and wait for its end even if the task is cancelled.

    Parameters
    ----------
    function : callable
        The function to call.
    cut : callable, optional
        Called when the task is cancelled, to make the function end soon.

    Examples
    --------
    >>> asyncio.run(run_in_thread(lambda: 6 * 7))
    42
    """
    # Not asyncio.to_thread in a task, which asyncio.run would cancel at its end while the thread goes on.
    run = contextvars.copy_context().run
    work = asyncio.get_running_loop().run_in_executor(None, run, function)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
            if cut is not None:
                cut()
    if cancelled is not None:
        work.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    return work.result()
