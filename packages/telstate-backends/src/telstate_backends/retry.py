"""When to try again: a pure policy that says how long to wait, or that it is enough.

Rules: only what is safe to repeat is repeated, and only after a failure of the connection. The
delays grow and are jittered, so that a hundred clients do not all come back at the same moment; the
sum of all attempts stays within a bound.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import attrs


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
