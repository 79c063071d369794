"""When to PING a silent pub/sub connection, and when to give it up.

A server may vanish without closing its connections (a pulled cable, a firewall). Nothing is sent while
messages arrive. Pure: the caller passes the time, by any clock in seconds.
"""

from __future__ import annotations

# Seconds without any message before a PING, and to wait for its reply.
PING_INTERVAL = 15.0
PING_TIMEOUT = 5.0


class Heartbeat:
    """The signs of life of one connection."""

    def __init__(self, now: float) -> None:
        self.interval = PING_INTERVAL
        self.timeout = PING_TIMEOUT
        self._received = now
        self._pinged: float | None = None

    def receive(self, now: float) -> None:
        """Record that something was received."""
        self._received = now
        self._pinged = None

    def is_fresh(self, now: float) -> bool:
        """Return whether something was received so recently that the connection cannot be dead for long."""
        return now - self._received < self.interval + self.timeout

    def seconds_left(self, now: float) -> float:
        """Return the seconds until :meth:`check` has something to do, 0 if it has now."""
        if self._pinged is None:
            due = self._received + self.interval
        else:
            due = self._pinged + self.timeout
        return max(0.0, due - now)

    def check(self, now: float) -> bool:
        """Return whether to send a PING now; raises `TimeoutError` if the last one got no reply."""
        if self.seconds_left(now) > 0:
            return False
        if self._pinged is not None:
            raise TimeoutError("no reply to PING")
        self._pinged = now
        return True
