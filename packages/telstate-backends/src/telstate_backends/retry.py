"""When to try again: a pure policy that says how long to wait, or that it is enough.

Rules: only what is safe to repeat is repeated, and only after a failure of the connection. The
delays grow and are jittered, so that a hundred clients do not all come back at the same moment; the
sum of all attempts stays within a bound.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

import attrs

logger = logging.getLogger(__name__)


@attrs.frozen
class RetryPolicy:
    """How long to go on trying.

    Attributes
    ----------
    seconds : float
        No new attempt is made when this long has passed since the first (default 10); 0 for none.
    first_delay, longest_delay : float
        Seconds before the second attempt, and at most between two (default 0.02 and 1): each delay
        is doubled, and a random part of up to half of it is left out.
    """

    seconds: float = 10.0
    first_delay: float = 0.02
    longest_delay: float = 1.0

    def delay(self, attempt: int, fraction: float) -> float:
        """Give the delay after this many failures (from 1), with jitter `fraction` in [0, 1)."""
        # The bound on the exponent keeps a wait of days from overflowing.
        whole = min(self.longest_delay, self.first_delay * 2.0 ** min(attempt - 1, 60))
        return whole * (1.0 - 0.5 * fraction)

    def begin(self) -> Attempts:
        """Start to count time and attempts."""
        return Attempts(self)


class Attempts:
    """The attempts at one thing.

    Parameters
    ----------
    policy : RetryPolicy
        How long to go on.
    clock, jitter : callable
        Where the time and the chance come from; tests put in their own.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._end = clock() + policy.seconds

    def next_delay(self) -> float | None:
        """Count a failure; give the seconds to wait before the next attempt, `None` to give up."""
        self._failures += 1
        delay = self._policy.delay(self._failures, self._jitter())
        return delay if self._clock() + delay < self._end else None


#: How a lost connection is made anew while somebody watches: for as long as it takes.
FOREVER = RetryPolicy(seconds=float("inf"))


#: The source of an outage that operations notice, and that the next reply to one ends.
OPERATIONS = object()


class OutageLog:
    """Logs once that a server is lost and once that it is back, for all users of a backend.

    An outage lasts until none of its sources (operations that are retried, watchers whose connection is
    lost) waits for the server any more.

    Parameters
    ----------
    address : str
        Address of the server, without any password.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._waiting: set[object] = set()
        # Popping from a list is atomic, so that only one thread logs; a fork might find a lock held.
        self._unlogged = [True]
        self._logged: list[bool] = []

    @property
    def is_open(self) -> bool:
        """Whether something waits for the server."""
        return bool(self._waiting)

    def begin(self, source: object, failure: Exception) -> None:
        """Record that a source waits for the server, because of a failure."""
        self._waiting.add(source)
        if _take(self._unlogged):
            logger.warning("Waiting for Redis at %s: %s", self._address, failure)
            self._logged.append(True)

    def end(self, source: object) -> None:
        """Record that a source has got an answer."""
        self._waiting.discard(source)
        if not self._waiting and _take(self._logged):
            logger.warning("Redis at %s answers again.", self._address)
            self._unlogged.append(True)

    def leave(self, source: object) -> None:
        """Record that a source waits no longer, without an answer: the next operation may get one."""
        if source in self._waiting:
            self._waiting.add(OPERATIONS)
            self._waiting.discard(source)


def _take(tokens: list[bool]) -> bool:
    try:
        return tokens.pop()
    except IndexError:
        return False
