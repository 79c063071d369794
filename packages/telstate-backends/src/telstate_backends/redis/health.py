"""When a silent pub/sub connection is to be asked whether it lives, when it is given up, and who is told.

Rules: a pulse is pure; the times come from outside. A connection on which nothing has come for `interval`
seconds gets a PING; if nothing comes within `patience` seconds of that, it is dead. So a server that
vanished without a word (a pulled cable, a firewall) is noticed, and nothing is sent on a busy line.
"""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class Pulse:
    """The life signs of one connection.

    Parameters
    ----------
    now : float
        The time in seconds, by any clock.
    interval : float
        Silence after which to ask (default 15 s).
    patience : float
        How long to wait for the answer (default 5 s).
    """

    def __init__(self, now: float, interval: float = 15.0, patience: float = 5.0) -> None:
        self.interval = interval
        self.patience = patience
        self._heard = now
        self._asked: float | None = None

    def hear(self, now: float) -> None:
        """Take note that something came."""
        self._heard = now
        self._asked = None

    def ask(self, now: float) -> None:
        """Take note that a PING was sent."""
        self._asked = now

    def fresh(self, now: float) -> bool:
        """Tell whether something was heard not so long ago that the connection may be dead."""
        return now - self._heard < self.interval + self.patience

    def seconds(self, now: float) -> float:
        """Give the time until something is to be done."""
        due = self._heard + self.interval if self._asked is None else self._asked + self.patience
        return max(0.0, due - now)

    @property
    def asked(self) -> bool:
        """Whether a PING is on its way, so that if nothing came in time the connection is dead."""
        return self._asked is not None


class Outage:
    """Whether the server of those who watch or wait is lost: told in the log once, and once that it is back.

    Parameters
    ----------
    address : str
        Of the server, without any password.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lost = False

    def begin(self, failure: Exception) -> None:
        """Say that it is lost, unless that is known."""
        if not self._lost:
            self._lost = True
            logger.warning(
                "Lost the connection on which Redis at %s is watched; trying again until it is back: %s",
                self._address,
                failure,
            )

    def end(self) -> None:
        """Say that it is back, if it was lost."""
        if self._lost:
            self._lost = False
            logger.warning("Redis at %s is watched again", self._address)
