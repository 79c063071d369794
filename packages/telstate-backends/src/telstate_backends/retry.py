"""When a failed call is sent again, and what the log says about it.

Rules: only calls that are safe to repeat are repeated, and only after a failure of the connection. The
delays grow and are jittered, so that a hundred clients do not all come back at the same moment, and the
sum of all attempts stays within a bound. An outage is one warning in the log when the first call is
retried, and one when the server answers again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

import attrs

from telstate_backends.deadline import POLL_INTERVAL, Deadline

logger = logging.getLogger(__name__)


@attrs.frozen
class RetryPolicy:
    """How long to retry.

    Parameters
    ----------
    seconds : float
        No new attempt is made when this long has passed since the first failure (default 10); 0 for no
        retries.
    first_delay, longest_delay : float
        Seconds before the second attempt, and at most between two (default 0.02 and 1): each delay
        is doubled, and a random part of up to half of it is left out.

    Examples
    --------
    >>> policy = RetryPolicy(seconds=60.0)
    >>> [policy.delay(attempt, 0.0) for attempt in (1, 2, 3, 20)]
    [0.02, 0.04, 0.08, 1.0]
    """

    seconds: float = 10.0
    first_delay: float = 0.02
    longest_delay: float = 1.0

    def delay(self, attempt: int, fraction: float) -> float:
        """Return the delay, in seconds, before the next attempt.

        Parameters
        ----------
        attempt : int
            The number of failures so far, from 1.
        fraction : float
            Of the part that jitter may leave out, from 0 to 1.

        Returns
        -------
        float
            The delay.
        """
        # The bound on the exponent keeps a wait of days from overflowing.
        whole = min(self.longest_delay, self.first_delay * 2.0 ** min(attempt - 1, 60))
        return whole * (1.0 - 0.5 * fraction)

    def begin(self, outages: OutageLog | None = None) -> Attempts:
        """Return an object that counts time and attempts of one call, and logs its `outages`."""
        return Attempts(self, outages)


#: How a lost pub/sub connection is retried: for as long as it takes.
FOREVER = RetryPolicy(seconds=float("inf"))


#: The source of an outage that operations notice, and that the next reply to one ends.
OPERATIONS = object()


class OutageLog:
    """Logs once that a server is lost and once that it is back, for all users of a backend.

    An outage lasts until none of its sources (operations that are retried, watchers whose connection is
    lost) waits for the server any more.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        #: The sources that wait for the server.
        self.waiting: set[object] = set()
        # Popping from a list is atomic, so that only one thread logs; a fork might find a lock held.
        self._unlogged = [True]
        self._logged: list[bool] = []

    def begin(self, source: object, failure: Exception) -> None:
        """Record that a source waits for the server, because of a failure."""
        if _take(self._unlogged):
            self._logged.append(True)
            logger.warning("Waiting for Redis at %s: %s", self._address, failure)
        # Last, so that another thread that ends the outage meanwhile finds it logged.
        self.waiting.add(source)

    def end(self, source: object) -> None:
        """Record that a source has got an answer."""
        self.waiting.discard(source)
        if not self.waiting and _take(self._logged):
            self._unlogged.append(True)
            logger.warning("Redis at %s answers again.", self._address)

    def leave(self, source: object) -> None:
        """Record that a source waits no longer, without an answer: the next operation may get one."""
        if source in self.waiting:
            self.waiting.add(OPERATIONS)
            self.waiting.discard(source)


def _take(tokens: list[bool]) -> bool:
    try:
        return tokens.pop()
    except IndexError:
        return False


class Attempts:
    """The attempts at one call, the first retry of which is logged; tests pass their own clock and jitter."""

    def __init__(
        self,
        policy: RetryPolicy,
        outages: OutageLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._outages = outages
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._end = clock() + policy.seconds

    def next_delay(
        self, failure: Exception | None = None, deadline: Deadline | None = None
    ) -> float | None:
        """Count a failure and return the seconds until the next attempt, None to give up."""
        self._failures += 1
        delay = self._policy.delay(self._failures, self._jitter())
        if self._clock() + delay >= self._end:
            return None
        if deadline is not None:
            left = deadline.left()
            if left == 0.0:
                return None
            delay = min(delay, left, POLL_INTERVAL)
        if self._failures == 1 and failure is not None and self._outages is not None:
            self._outages.begin(OPERATIONS, failure)
        return delay
