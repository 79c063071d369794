"""Events that wait for a slow reader, in bounded memory.

Rules: when there are too many changes, or too many bytes of them, further ones are dropped, and a
check is due once the reader has come as far: whatever was dropped is in the store by then. That a
check is due is never dropped.
"""

# Who has subscribed to what on one pub/sub connection: decisions only, no I/O.
#
# Rules: listeners share topics (channels and patterns of channels); a topic is subscribed while it has
# a listener. A listener is told that a check is due when every one of its topics is confirmed by the
# server, and again after each loss of the connection; it gets no update before that. An update reaches
# a listener once, however many of its topics it fits. Keys can be added to a listener that hears of
# others already: it goes on to hear of those, and is told that a check is due when it hears of all.
# Confirmations are counted, because a topic may be left and joined again while the first confirmation
# is still on its way. A server takes a command whole or refuses it whole, and answers in order: so a
# refusal is that of the first command not confirmed, and which of its topics is at fault shows when
# they are asked for in smaller lots.

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from telstate_backends.events import (
    CHANNEL_PREFIX,
    CLEAR_CHANNEL,
    DELETION_PREFIX,
    CheckDue,
    Cleared,
    Deleted,
    Event,
    Update,
    channels_of,
    parse_message,
    parse_untyped,
    prefixes_of,
    split_channel,
)
from telstate_backends.types import KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.keys import key_repr
from telstate_rdb.globs import Glob

#: How many events are kept, and how many bytes they take, before changes are dropped. A Redis server
#: cuts off a reader of pub/sub that is 32 MB behind.
MOST_EVENTS = 100_000
MOST_BYTES = 1 << 26

#: What an event takes besides the bytes in it, about.
_OBJECT = 256


class Backlog:
    """A queue of events.

    Parameters
    ----------
    most_events, most_bytes : int
        How many events, and how many bytes of memory for their keys, sub-keys, values and themselves,
        are kept before changes are dropped (default 100,000 and 64 MiB).
    """

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._dropping = False

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event) -> None:
        """Put in an event, unless it is a change too many."""
        if not isinstance(event, CheckDue):
            if self._dropping:
                return
            if len(self._events) >= self._most_events or self._bytes >= self._most_bytes:
                self._dropping = True
                event = CheckDue.OVERFLOWED
        self._events.append(event)
        self._bytes += _size(event)

    def pop(self) -> Event | None:
        """Take out the oldest event, `None` if there is none."""
        if not self._events:
            return None
        event = self._events.popleft()
        self._bytes -= _size(event)
        if event is CheckDue.OVERFLOWED:
            self._dropping = False
        return event


def _size(event: Event) -> int:
    if isinstance(event, Update):
        return _OBJECT + len(event.key) + len(event.value) + len(event.sub_key or b"")
    return _OBJECT + len(event.key) if isinstance(event, Deleted) else 0


logger = logging.getLogger(__name__)


class Topic(NamedTuple):
    """Something to subscribe to: a channel, or a pattern of channels."""

    name: bytes
    pattern: bool

    def __str__(self) -> str:
        return f"{'pattern' if self.pattern else 'channel'} {key_repr(self.name)}"


class Message(NamedTuple):
    """Something published: on which channel, and because of which topic it came."""

    topic: Topic
    key: bytes
    body: bytes
    prefix: bytes = CHANNEL_PREFIX  #: what is before the key in the channel's name


class Listener:
    """One watcher as subscriptions see it.

    Parameters
    ----------
    tell : callable
        Takes the events.
    keys, patterns : iterable of bytes
        What is watched.
    deletions : bool
        Whether to tell of deletions too.
    """

    def __init__(
        self,
        tell: Callable[[Event], object],
        keys: Iterable[bytes],
        patterns: Iterable[bytes],
        deletions: bool = False,
    ) -> None:
        self.tell = tell
        self.keys = set(keys)
        self.globs = [Glob(pattern) for pattern in dict.fromkeys(patterns)]
        self.deletions = deletions
        self.topics = self.topics_of(self.keys)
        for prefix in prefixes_of(deletions):
            self.topics |= {Topic(prefix + glob.pattern, True) for glob in self.globs}
        if deletions:
            self.topics.add(Topic(CLEAR_CHANNEL, False))
        #: Topics that the server has not confirmed yet.
        self.pending: set[Topic] = set()
        #: Whether all have been confirmed once on this connection, but for keys added since.
        self.ready = False
        self.reason = CheckDue.SUBSCRIBED

    def topics_of(self, keys: Iterable[bytes]) -> set[Topic]:
        """Give the topics by which the listener hears of keys that fit none of its patterns."""
        return {Topic(channel, False) for channel in channels_of(keys, self.deletions)}

    def strange(self, keys: Iterable[bytes]) -> set[bytes]:
        """Give those of the keys of which the listener is not to hear so far."""
        return {
            key
            for key in set(keys) - self.keys
            if not any(glob.matches(key) for glob in self.globs)
        }

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Tell whether the listener hears of all of these keys now."""
        if not self.ready or self.strange(keys):
            return False
        return not self.pending or self.pending.isdisjoint(self.topics_of(keys))

    def wants(self, message: Message) -> bool:
        """Tell whether this is the topic by which the listener hears of the key."""
        if not self.ready or message.topic in self.pending:
            return False
        if not message.topic.pattern:
            return True
        if message.key in self.keys:
            return False
        first = next((glob for glob in self.globs if glob.matches(message.key)), None)
        return first is not None and message.topic.name == message.prefix + first.pattern

    def confirm(self, topics: Iterable[Topic]) -> None:
        """Take note of confirmed topics; after the last one, a check is due."""
        self.pending.difference_update(topics)
        if not self.pending:
            self.ready = True
            self.tell(self.reason)

    def lose(self) -> None:
        """Take note that the connection is lost: everything must be confirmed again."""
        if self.ready:
            self.reason = CheckDue.RECONNECTED
        self.ready = False
        self.pending = set(self.topics)


class Refusal(NamedTuple):
    """What follows from a command to subscribe that the server refuses."""

    lots: list[set[Topic]]  #: what to ask for again, each lot by a command of its own
    at_fault: Topic | None = None  #: what cannot be subscribed


class Subscriptions:
    """All listeners of one pub/sub connection."""

    def __init__(self) -> None:
        self._listeners: dict[Topic, list[Listener]] = {}
        self._confirmed: set[Topic] = set()
        #: How many commands to subscribe a topic have not been answered yet.
        self._in_flight: dict[Topic, int] = {}
        #: Of each command that is in flight, in order, the topics that are not confirmed yet.
        self._asked: deque[set[Topic]] = deque()

    @property
    def topics(self) -> set[Topic]:
        """What should be subscribed."""
        return set(self._listeners)

    def add(self, listener: Listener) -> set[Topic]:
        """Take in a listener; give the topics to subscribe now."""
        return self._join(listener, listener.topics)

    def remove(self, listener: Listener) -> set[Topic]:
        """Let go of a listener; give the topics to unsubscribe now."""
        return self._leave(listener, listener.topics)

    def extend(self, listener: Listener, keys: Iterable[bytes]) -> set[Topic]:
        """Let a listener hear of these keys too; give the topics to subscribe now."""
        new = listener.strange(keys)
        if not new:
            return set()
        if listener.ready:
            listener.reason = CheckDue.SUBSCRIBED
        topics = listener.topics_of(new)
        listener.keys |= new
        listener.topics |= topics
        return self._join(listener, topics)

    def reduce(self, listener: Listener, keys: Iterable[bytes]) -> set[Topic]:
        """Let a listener hear of these keys no more; give the topics to unsubscribe now."""
        old = listener.keys.intersection(keys)
        topics = listener.topics_of(old)
        listener.keys -= old
        listener.topics -= topics
        waited = not listener.pending.isdisjoint(topics)
        listener.pending -= topics
        if waited and not listener.pending:
            listener.confirm(())
        return self._leave(listener, topics)

    def _join(self, listener: Listener, topics: set[Topic]) -> set[Topic]:
        new = topics - self._listeners.keys()
        for topic in topics:
            self._listeners.setdefault(topic, []).append(listener)
        listener.pending |= topics
        listener.confirm(self._confirmed)
        return new

    def _leave(self, listener: Listener, topics: Iterable[Topic]) -> set[Topic]:
        unused = set()
        for topic in topics:
            listeners = self._listeners.get(topic, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._listeners.pop(topic, None)
                self._confirmed.discard(topic)
                unused.add(topic)
        return unused

    def sent(self, topics: Iterable[Topic]) -> None:
        """Take note that the server is being asked to subscribe these: channels, then patterns."""
        channels: set[Topic] = set()
        patterns: set[Topic] = set()
        for topic in topics:
            self._in_flight[topic] = self._in_flight.get(topic, 0) + 1
            (patterns if topic.pattern else channels).add(topic)
        if channels:
            self._asked.append(channels)
        if patterns:
            self._asked.append(patterns)

    def lose(self) -> None:
        """Take note that the connection is lost: everything must be subscribed again."""
        self._confirmed.clear()
        self._in_flight.clear()
        self._asked.clear()
        for listener in self._all():
            listener.lose()

    def confirm(self, topic: Topic) -> None:
        """Take note of the server's word that a topic is subscribed."""
        if topic not in self._in_flight:
            # Nobody asked: redis-py has made the connection anew, and subscribed again by itself.
            for listener in self._listeners.get(topic, ()):
                if listener.ready:
                    listener.tell(CheckDue.RECONNECTED)
            return
        while self._asked and topic not in self._asked[0]:
            self._asked.popleft()  # answers come in order, so this has been answered, or got lost
        if self._asked:
            self._asked[0].remove(topic)
            if not self._asked[0]:
                self._asked.popleft()
        if self._answered(topic) or topic not in self._listeners:
            return
        self._confirmed.add(topic)
        for listener in tuple(self._listeners[topic]):
            if topic in listener.pending:
                listener.confirm((topic,))

    def refuse(self) -> Refusal | None:
        """Take note that the server refuses what it was asked first; `None` if it was asked nothing."""
        if not self._asked:
            return None
        asked = self._asked.popleft()
        # Nobody cares any more for what has been left; what has been joined again is asked for again.
        settled = [topic for topic in asked if not self._answered(topic)]
        wanted = sorted(topic for topic in settled if topic in self._listeners)
        if len(asked) > 1:
            middle = len(wanted) // 2
            return Refusal([set(lot) for lot in (wanted[:middle], wanted[middle:]) if lot])
        return Refusal([], *wanted)

    def listeners_of(self, topic: Topic) -> tuple[Listener, ...]:
        """Give those who hear of something by a topic, or are going to."""
        return tuple(self._listeners.get(topic, ()))

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
            if message.prefix == DELETION_PREFIX:
                event = Deleted(message.key)
            elif message.prefix == CLEAR_CHANNEL:
                event = Cleared()
            elif kind is None:
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
        """Tell those who want a message that it cannot be read: its key has gone, or is foreign."""
        for listener in self._listeners.get(message.topic, ()):
            if listener.wants(message):
                listener.tell(CheckDue.UNREADABLE)

    def _answered(self, topic: Topic) -> bool:
        """Take note of an answer to a command to subscribe a topic; whether there is another to come."""
        left = self._in_flight.pop(topic) - 1
        if left:
            self._in_flight[topic] = left
        return bool(left)

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
            prefix, key = split_channel(channel)
            return Message(topic, key, data, prefix)
    return None


def split(topics: Iterable[Topic]) -> tuple[list[bytes], list[bytes]]:
    """Give the channels and the patterns."""
    channels = [topic.name for topic in topics if not topic.pattern]
    return channels, [topic.name for topic in topics if topic.pattern]
