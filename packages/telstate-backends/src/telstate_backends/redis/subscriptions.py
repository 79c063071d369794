"""Who has subscribed to what on one pub/sub connection: decisions only, no I/O.

Rules: listeners share topics (channels and patterns of channels); a topic is subscribed while it has
a listener. A listener is told that a check is due when every one of its topics is confirmed by the
server, and again after each loss of the connection; it gets no update before that. An update reaches
a listener once, however many of its topics it fits. Confirmations are counted, because a topic may
be left and joined again while the first confirmation is still on its way.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from telstate_backends.kinds import KeyType
from telstate_backends.updates import (
    CHANNEL_PREFIX,
    CheckDue,
    Event,
    channel_of,
    parse_message,
    parse_untyped,
)
from telstate_codec.errors import DecodeError
from telstate_rdb.globs import Glob

logger = logging.getLogger(__name__)


class Topic(NamedTuple):
    """Something to subscribe to: a channel, or a pattern of channels."""

    name: bytes
    pattern: bool


class Message(NamedTuple):
    """Something published: on which channel, and because of which topic it came."""

    topic: Topic
    key: bytes
    body: bytes


class Listener:
    """One watcher as subscriptions see it.

    Parameters
    ----------
    tell : callable
        Takes the events.
    keys, patterns : iterable of bytes
        What is watched.
    """

    def __init__(
        self, tell: Callable[[Event], object], keys: Iterable[bytes], patterns: Iterable[bytes]
    ) -> None:
        self.tell = tell
        self.keys = frozenset(keys)
        self.globs = [Glob(pattern) for pattern in dict.fromkeys(patterns)]
        self.topics = {Topic(channel_of(key), False) for key in self.keys}
        self.topics |= {Topic(CHANNEL_PREFIX + glob.pattern, True) for glob in self.globs}
        #: Topics that the server has not confirmed yet.
        self.pending: set[Topic] = set()
        self.reason = CheckDue.SUBSCRIBED

    def wants(self, message: Message) -> bool:
        """Tell whether this is the topic by which the listener hears of the key."""
        if self.pending:
            return False
        if not message.topic.pattern:
            return True
        if message.key in self.keys:
            return False
        first = next((glob for glob in self.globs if glob.matches(message.key)), None)
        return first is not None and message.topic.name == CHANNEL_PREFIX + first.pattern

    def confirm(self, topics: Iterable[Topic]) -> None:
        """Take note of confirmed topics; after the last one, a check is due."""
        self.pending.difference_update(topics)
        if not self.pending:
            self.tell(self.reason)
            self.reason = CheckDue.RECONNECTED


class Subscriptions:
    """All listeners of one pub/sub connection."""

    def __init__(self) -> None:
        self._listeners: dict[Topic, list[Listener]] = {}
        self._confirmed: set[Topic] = set()
        self._in_flight: Counter[Topic] = Counter()

    @property
    def topics(self) -> set[Topic]:
        """What should be subscribed."""
        return set(self._listeners)

    def add(self, listener: Listener) -> set[Topic]:
        """Take in a listener; give the topics to subscribe now."""
        new = listener.topics - self._listeners.keys()
        for topic in listener.topics:
            self._listeners.setdefault(topic, []).append(listener)
        listener.pending = set(listener.topics)
        listener.confirm(self._confirmed)
        return new

    def remove(self, listener: Listener) -> set[Topic]:
        """Let go of a listener; give the topics to unsubscribe now."""
        unused = set()
        for topic in listener.topics:
            listeners = self._listeners.get(topic, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._listeners.pop(topic, None)
                self._confirmed.discard(topic)
                unused.add(topic)
        return unused

    def sent(self, topics: Iterable[Topic]) -> None:
        """Take note that the server has been asked to subscribe these."""
        self._in_flight.update(topics)

    def lose(self) -> None:
        """Take note that the connection is lost: everything must be subscribed again."""
        self._confirmed.clear()
        self._in_flight.clear()
        for listener in self._all():
            listener.pending = set(listener.topics)

    def confirm(self, topic: Topic) -> None:
        """Take note of the server's word that a topic is subscribed."""
        if self._in_flight[topic] == 0:
            # Nobody asked: redis-py has made the connection anew, and subscribed again by itself.
            for listener in self._listeners.get(topic, ()):
                if not listener.pending:
                    listener.tell(CheckDue.RECONNECTED)
            return
        self._in_flight[topic] -= 1
        if self._in_flight[topic] > 0 or topic not in self._listeners:
            return
        del self._in_flight[topic]
        self._confirmed.add(topic)
        for listener in tuple(self._listeners[topic]):
            if topic in listener.pending:
                listener.confirm((topic,))

    def deliver(self, message: Message, kind: KeyType | None = None) -> bool:
        """Give an update to those who want it.

        Parameters
        ----------
        message : Message
            What was published.
        kind : KeyType, optional
            The kind of the key, for a message that does not tell.

        Returns
        -------
        bool
            False if the message does not tell the kind of its key: ask for it, and deliver again.
        """
        listeners = [each for each in self._listeners.get(message.topic, ()) if each.wants(message)]
        if not listeners:
            return True
        event: Event | None
        try:
            if kind is None:
                event = parse_message(message.key, message.body)
            else:
                event = parse_untyped(message.key, kind, message.body)
        except DecodeError as error:
            logger.warning("unreadable update of key %r: %s", message.key, error)
            event = CheckDue.UNREADABLE
        if event is None:
            return False
        for listener in listeners:
            listener.tell(event)
        return True

    def doubt(self, message: Message) -> None:
        """Tell those who want a message that it cannot be read: its key has gone since."""
        for listener in self._listeners.get(message.topic, ()):
            if listener.wants(message):
                listener.tell(CheckDue.UNREADABLE)

    def _all(self) -> set[Listener]:
        return {listener for listeners in self._listeners.values() for listener in listeners}


def take(subscriptions: Subscriptions, reply: Mapping[str, object] | None) -> Message | None:
    """Take what redis-py's ``get_message`` gives; give a message that is still to be delivered."""
    if reply is None:
        return None
    kind, channel, data = reply["type"], reply["channel"], reply["data"]
    if kind in ("subscribe", "psubscribe") and isinstance(channel, bytes):
        subscriptions.confirm(Topic(channel, kind == "psubscribe"))
    elif kind in ("message", "pmessage") and isinstance(channel, bytes):
        name = reply["pattern"] if kind == "pmessage" else channel
        if isinstance(name, bytes) and isinstance(data, bytes):
            topic = Topic(name, kind == "pmessage")
            return Message(topic, channel.removeprefix(CHANNEL_PREFIX), data)
    return None


def split(topics: Iterable[Topic]) -> tuple[list[bytes], list[bytes]]:
    """Give the channels and the patterns."""
    channels = [topic.name for topic in topics if not topic.pattern]
    return channels, [topic.name for topic in topics if topic.pattern]
