"""Until when a caller is prepared to wait for a store, whatever the retries of the backend allow.

Rules: no attempt begins after the deadline, and a reply is waited for until the deadline or for
:data:`GRACE` seconds, whichever is longer, so that a store that is well can answer even a call whose
deadline has passed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import attrs

#: Seconds between two checks whether the deadline has passed or the caller has given up.
POLL_INTERVAL = 0.1
#: Seconds for which a reply is waited for even if the deadline passes before.
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
        """Return the deadline in so many seconds from now, an infinite one for None.

        `is_cancelled` is called now and then; the deadline has passed as soon as it returns true.
        """
        end = math.inf if seconds is None else time.monotonic() + seconds
        return cls(end, is_cancelled)

    def left(self) -> float:
        """Return the seconds that are left, 0 if the deadline has passed or the caller gave up."""
        return 0.0 if self.is_cancelled() else max(0.0, self.end - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.left() == 0.0
