"""Servers that say nothing to who is about to watch or wait under asyncio, and so is told nothing by us.

Rules: one timer for all who ask, since each of many waits begins with a question and few are kept waiting.
It runs only while somebody has no answer yet, and for one more period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds without an answer after which to tell of it, and then to be sure of that.
SILENCE, DOUBT = 1.0, 0.1


class Silence:
    """Notices questions that have no answer for long.

    Parameters
    ----------
    tell : callable
        Called if one has none, and again from time to time while that is so.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        #: When each was asked that has no answer yet, the oldest first.
        self._asked: dict[object, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, question: object) -> None:
        """Take note that something is asked."""
        loop = asyncio.get_running_loop()
        self._asked[question] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(SILENCE, self._look, loop)

    def end(self, question: object) -> None:
        """Take note that it is answered, or given up."""
        self._asked.pop(question, None)

    def close(self) -> None:
        """Notice nothing any more."""
        self._asked.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop, doubted: object = None) -> None:
        self._timer = None
        if not self._asked:
            return
        oldest, asked = next(iter(self._asked.items()))
        if oldest is doubted:
            self._tell()
            self._timer = loop.call_later(SILENCE, self._look, loop)
        elif loop.time() < asked + SILENCE:
            self._timer = loop.call_at(asked + SILENCE, self._look, loop)
        else:
            # Not yet: if the loop was held up, the answer may be there.
            self._timer = loop.call_later(DOUBT, self._look, loop, oldest)
