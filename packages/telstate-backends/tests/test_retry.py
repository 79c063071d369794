"""The retry policy, without any I/O."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telstate_backends import RetryPolicy
from telstate_backends.retry import Attempts


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delays_are_bounded(attempt: int, fraction: float) -> None:
    """However many failures there were, the delay is positive and within its bound."""
    assert 0 < RetryPolicy().delay(attempt, fraction) <= RetryPolicy().longest_delay


def test_attempts_end_with_the_bound() -> None:
    """Attempts go on with growing delays until the bound, and then there are no more."""
    now = 0.0
    attempts = Attempts(RetryPolicy(1.0, 0.1, 0.4), clock=lambda: now, jitter=lambda: 0.0)
    delays = []
    while (delay := attempts.next_delay()) is not None:
        delays.append(delay)
        now += delay
    assert delays == [0.1, 0.2, 0.4]
    assert RetryPolicy(0.0).begin().next_delay() is None
