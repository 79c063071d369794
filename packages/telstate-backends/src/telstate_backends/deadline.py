"""How long whoever asks a store is willing to wait, whatever the retries of the backend allow.

Rules: a wait with a timeout or a cancel future says so here, for its own thread, and the backend that
it asks heeds it: no new attempt is begun when the patience is at its end, and no reply is waited for
much longer. What was begun is allowed a little time all the same: a store that is well must be able
to answer a wait whose timeout is zero.

Who is about to watch or wait says so here too: as long as the store is tried again for him nothing else
would tell that it cannot be reached, so that is for the log.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import attrs

#: Seconds between two looks at whether the asker has had enough.
GLANCE = 0.1
#: Seconds that a reply is waited for however impatient the asker is.
GRACE = 1.0


@attrs.frozen
class Deadline:
    """Until when a caller is prepared to wait for a store.

    Parameters
    ----------
    end : float
        The time by `time.monotonic`; infinite by default.
    is_cancelled : callable, optional
        Returns whether the caller has given up before that; by default it never does.

    Examples
    --------
    >>> Deadline.after(60.0).expired
    False
    >>> Deadline.after(0.0).expired
    True
    """

    end: float = math.inf
    is_cancelled: Callable[[], bool] = bool

    @classmethod
    def after(cls, seconds: float | None, is_cancelled: Callable[[], bool] = bool) -> Deadline:
        """Return the deadline in so many seconds from now, an infinite one for None."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        return cls(end, is_cancelled)

    def left(self) -> float:
        """Return the seconds that are left, 0 if the deadline has passed or the caller gave up."""
        return 0.0 if self.is_cancelled() else max(0.0, self.end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.left() == 0.0

    def shorten(self, delay: float) -> float | None:
        """Return how much of a delay to wait before the next attempt, None if it would come too late."""
        left = self.left()
        return min(delay, left, GLANCE) if left > 0 else None


#: The name that this class had before.
Patience = Deadline


_present: ContextVar[Patience | None] = ContextVar("telstate patience", default=None)
#: Gives the patience of who asks in this thread, `None` if it is endless.
present_patience = _present.get


@contextmanager
def limited(patience: Patience) -> Iterator[None]:
    """Have backends heed a patience, in this thread and block."""
    token = _present.set(patience)
    try:
        yield
    finally:
        _present.reset(token)


_beginning: ContextVar[bool] = ContextVar("telstate beginning", default=False)
#: Tells whether who asks in this thread or task is about to watch or wait.
is_beginning = _beginning.get


class Beginning:
    """Says that what is asked in its block is the first look of who is about to watch or wait."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _beginning.set(True)

    def __exit__(self, *_: object) -> None:
        _beginning.reset(self._token)
