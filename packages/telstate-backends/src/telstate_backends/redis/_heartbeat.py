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

    One for a backend. It lasts until nobody knows of it any more: neither a watcher whose connection is
    lost, nor one who was about to watch or wait when the server did not answer.

    Parameters
    ----------
    address : str
        Of the server, without any password.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._watching: set[object] = set()
        #: Whether nobody watches who would notice that it is over, so that the next answer counts.
        self.unanswered = False
        # What it takes to tell the log: popping it is atomic, so that one thread only does, without a
        # lock, which a fork might find held.
        self._untold = [True]

    def begin(self, watcher: object, failure: Exception) -> None:
        """Take note that the connection of a watcher is lost."""
        self._watching.add(watcher)
        if self._is_new():
            logger.warning(
                "Lost the connection on which Redis at %s is watched; trying again until it is back: %s",
                self._address,
                failure,
            )

    def miss(self, failure: Exception) -> None:
        """Take note that who is about to watch or wait was not answered, and is going to ask again."""
        self.unanswered = True
        if self._is_new():
            # The failure names the address.
            logger.warning("Cannot begin to watch or wait; trying again: %s", failure)

    def end(self, watcher: object) -> None:
        """Take note that the connection of a watcher is well."""
        if watcher in self._watching:
            self._watching.discard(watcher)
            if self._is_over():
                logger.warning("Redis at %s is watched again", self._address)

    def leave(self, watcher: object) -> None:
        """Take note that a watcher is gone, who might have noticed that it is over."""
        if watcher in self._watching:
            self.unanswered = True
            self._watching.discard(watcher)

    def answer(self) -> None:
        """Take note that the server has answered."""
        if self.unanswered:
            self.unanswered = False
            if self._is_over():
                logger.warning("Redis at %s answers again", self._address)

    def _is_new(self) -> bool:
        try:
            return self._untold.pop()
        except IndexError:
            return False

    def _is_over(self) -> bool:
        if self._watching or self.unanswered or self._untold:
            return False
        self._untold.append(True)
        return True
