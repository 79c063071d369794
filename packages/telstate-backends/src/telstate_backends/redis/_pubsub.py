"""Pub/sub subscriptions on one connection, and the events that each subscriber gets. No I/O.

- Subscribers share topics (channels and patterns of channels). A topic stays subscribed while it has a
  subscriber.
- A subscriber gets `CheckDue` when the server has confirmed all of its topics, and again after each lost
  connection. It gets no update before that, and each update once, however many of its topics match.
- Keys can be added to an active subscriber: it keeps getting the updates of the others, and a `CheckDue`
  when the new topics are confirmed.
- Confirmations are counted, because a topic may be left and joined again while the first confirmation is
  still on its way.
- A server accepts or refuses a whole command, and replies in order: a refusal belongs to the first command
  that is not confirmed. Which of its topics is at fault shows when they are requested in smaller groups.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
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
    parse_message,
    parse_untyped,
    prefixes_of,
    split_channel,
)
from telstate_backends.types import KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.keys import key_repr
from telstate_rdb.globs import Glob

logger = logging.getLogger(__name__)

# Limits of an event queue. A Redis server disconnects a subscriber that is 32 MB behind.
MAX_EVENTS = 100_000
MAX_BYTES = 1 << 26

# Approximate size of an event object without its bytes.
_EVENT_OVERHEAD = 256


class EventQueue:
    """A queue of events in bounded memory, with `CheckDue.OVERFLOWED` in place of changes beyond a limit.

    One thread may push while another one pops.
    """

    def __init__(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: deque[Event] = deque()
        #: Bytes that have ever been pushed, and popped: each is counted by one thread only.
        self._pushed = self._popped = 0
        self._is_dropping = False

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event) -> None:
        if not isinstance(event, CheckDue):
            if self._is_dropping:
                return
            if len(self) >= self._max_events or self._pushed - self._popped >= self._max_bytes:
                # By the time the reader gets here, the store has everything that is dropped.
                self._is_dropping = True
                event = CheckDue.OVERFLOWED
        self._pushed += _size_of(event)
        self._events.append(event)

    def pop(self) -> Event | None:
        """Remove and return the oldest event, or `None`."""
        if not self._events:
            return None
        event = self._events.popleft()
        self._popped += _size_of(event)
        if event is CheckDue.OVERFLOWED:
            self._is_dropping = False
        return event


def _size_of(event: Event) -> int:
    if isinstance(event, Update):
        return _EVENT_OVERHEAD + len(event.key) + len(event.value) + len(event.sub_key or b"")
    return _EVENT_OVERHEAD + len(event.key) if isinstance(event, Deleted) else 0


class Topic(NamedTuple):
    """A channel, or a pattern of channels."""

    name: bytes
    is_pattern: bool

    def __str__(self) -> str:
        return f"{'pattern' if self.is_pattern else 'channel'} {key_repr(self.name)}"


class Message(NamedTuple):
    """A published message, and the topic that it was received for."""

    topic: Topic
    key: bytes
    body: bytes
    prefix: bytes = CHANNEL_PREFIX  #: what precedes the key in the name of the channel


class Subscriber:
    """The topics of one watcher, and which of them are confirmed; its events are passed to `put`."""

    def __init__(
        self,
        put: Callable[[Event], object],
        keys: Iterable[bytes],
        patterns: Iterable[bytes],
        deletions: bool = False,
    ) -> None:
        self.put = put
        self.keys = set(keys)
        self.globs: list[Glob] = []
        self._prefixes = prefixes_of(deletions)
        self.topics = self.topics_of(self.keys)
        for pattern in dict.fromkeys(patterns):
            self.globs.append(Glob(pattern))
            for prefix in self._prefixes:
                self.topics.add(Topic(prefix + pattern, True))
        if deletions:
            self.topics.add(Topic(CLEAR_CHANNEL, False))
        #: Topics that the server has not confirmed yet.
        self.pending: set[Topic] = set()
        #: Whether all topics have been confirmed on this connection, except for keys added since.
        self.is_active = False
        self.reason = CheckDue.SUBSCRIBED

    def topics_of(self, keys: Iterable[bytes]) -> set[Topic]:
        """Return the channels of keys that match none of its patterns."""
        return {Topic(prefix + key, False) for key in keys for prefix in self._prefixes}

    def find_new(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those of the keys that it does not watch."""
        return {
            key
            for key in set(keys) - self.keys
            if not any(glob.matches(key) for glob in self.globs)
        }

    def covers(self, keys: Iterable[bytes]) -> bool:
        """Return whether it gets the updates of all of these keys now."""
        if not self.is_active or self.find_new(keys):
            return False
        return not self.pending or self.pending.isdisjoint(self.topics_of(keys))

    def wants(self, message: Message) -> bool:
        """Return whether this is the one topic for which it takes the updates of the key."""
        if not self.is_active or message.topic in self.pending:
            return False
        if not message.topic.is_pattern:
            return True
        if message.key in self.keys:
            return False
        first = next((glob for glob in self.globs if glob.matches(message.key)), None)
        return first is not None and message.topic.name == message.prefix + first.pattern

    def confirm(self, topics: Iterable[Topic]) -> None:
        """Mark topics as confirmed; the last one causes a `CheckDue`."""
        self.pending.difference_update(topics)
        if not self.pending:
            self.is_active = True
            self.put(self.reason)

    def reset(self) -> None:
        """Wait for all confirmations again, after a lost connection."""
        if self.is_active:
            self.reason = CheckDue.RECONNECTED
        self.is_active = False
        self.pending = set(self.topics)


class Refusal(NamedTuple):
    """What follows from a command to subscribe that the server refuses."""

    retries: list[set[Topic]]  #: topics to request again, each set with a command of its own
    refused: Topic | None = None  #: the topic that cannot be subscribed


class Subscriptions:
    """All subscribers of one pub/sub connection."""

    def __init__(self) -> None:
        self._subscribers: dict[Topic, list[Subscriber]] = {}
        self._confirmed: set[Topic] = set()
        #: How many commands to subscribe a topic have not been answered yet.
        self._unanswered: dict[Topic, int] = {}
        #: The unconfirmed topics of each command that was sent, in order.
        self._commands: deque[set[Topic]] = deque()

    @property
    def topics(self) -> set[Topic]:
        """The topics that should be subscribed."""
        return set(self._subscribers)

    def add(self, subscriber: Subscriber) -> set[Topic]:
        """Add a subscriber; return the topics to subscribe now."""
        return self._join(subscriber, subscriber.topics)

    def remove(self, subscriber: Subscriber) -> set[Topic]:
        """Remove a subscriber; return the topics to unsubscribe now."""
        return self._leave(subscriber, subscriber.topics)

    def add_keys(self, subscriber: Subscriber, keys: Iterable[bytes]) -> set[Topic]:
        """Add keys to a subscriber; return the topics to subscribe now."""
        new = subscriber.find_new(keys)
        if not new:
            return set()
        if subscriber.is_active:
            subscriber.reason = CheckDue.SUBSCRIBED
        topics = subscriber.topics_of(new)
        subscriber.keys |= new
        subscriber.topics |= topics
        return self._join(subscriber, topics)

    def remove_keys(self, subscriber: Subscriber, keys: Iterable[bytes]) -> set[Topic]:
        """Remove keys from a subscriber; return the topics to unsubscribe now."""
        old = subscriber.keys.intersection(keys)
        topics = subscriber.topics_of(old)
        subscriber.keys -= old
        subscriber.topics -= topics
        was_pending = not subscriber.pending.isdisjoint(topics)
        subscriber.pending -= topics
        if was_pending and not subscriber.pending:
            subscriber.confirm(())
        return self._leave(subscriber, topics)

    def _join(self, subscriber: Subscriber, topics: set[Topic]) -> set[Topic]:
        new = topics - self._subscribers.keys()
        for topic in topics:
            self._subscribers.setdefault(topic, []).append(subscriber)
        subscriber.pending |= topics
        subscriber.confirm(self._confirmed)
        return new

    def _leave(self, subscriber: Subscriber, topics: Iterable[Topic]) -> set[Topic]:
        unused = set()
        for topic in topics:
            subscribers = self._subscribers.get(topic, [])
            if subscriber in subscribers:
                subscribers.remove(subscriber)
            if not subscribers:
                self._subscribers.pop(topic, None)
                self._confirmed.discard(topic)
                unused.add(topic)
        return unused

    def record_request(self, topics: Iterable[Topic]) -> None:
        """Record that SUBSCRIBE, then PSUBSCRIBE are being sent for topics."""
        channels: set[Topic] = set()
        patterns: set[Topic] = set()
        for topic in topics:
            self._unanswered[topic] = self._unanswered.get(topic, 0) + 1
            (patterns if topic.is_pattern else channels).add(topic)
        if channels:
            self._commands.append(channels)
        if patterns:
            self._commands.append(patterns)

    def reset(self) -> None:
        """Forget all confirmations, after a lost connection."""
        self._confirmed.clear()
        self._unanswered.clear()
        self._commands.clear()
        for subscriber in {each for group in self._subscribers.values() for each in group}:
            subscriber.reset()

    def report_loss(self) -> None:
        """Report to all subscribers that messages may have been lost."""
        for subscriber in {each for group in self._subscribers.values() for each in group}:
            if subscriber.is_active:
                subscriber.put(CheckDue.RECONNECTED)

    def confirm(self, topic: Topic) -> None:
        """Record the server's confirmation of a topic."""
        if topic not in self._unanswered:
            # Not requested by us: redis-py has reconnected and subscribed again by itself.
            for subscriber in self._subscribers.get(topic, ()):
                if subscriber.is_active:
                    subscriber.put(CheckDue.RECONNECTED)
            return
        while self._commands and topic not in self._commands[0]:
            self._commands.popleft()  # replies come in order: this one was answered, or got lost
        if self._commands:
            self._commands[0].remove(topic)
            if not self._commands[0]:
                self._commands.popleft()
        if self._count_answer(topic) or topic not in self._subscribers:
            return
        self._confirmed.add(topic)
        for subscriber in tuple(self._subscribers[topic]):
            if topic in subscriber.pending:
                subscriber.confirm((topic,))

    def refuse(self) -> Refusal | None:
        """Record that the server refuses the oldest unconfirmed command; return `None` without one."""
        if not self._commands:
            return None
        command = self._commands.popleft()
        # Topics that have been left need no retry, and those joined again have a later command.
        settled = [topic for topic in command if not self._count_answer(topic)]
        wanted = sorted(topic for topic in settled if topic in self._subscribers)
        if len(command) > 1:
            middle = len(wanted) // 2
            return Refusal([set(half) for half in (wanted[:middle], wanted[middle:]) if half])
        return Refusal([], *wanted)

    def _count_answer(self, topic: Topic) -> int:
        """Return how many commands to subscribe a topic are still unanswered, after this answer."""
        unanswered = self._unanswered.pop(topic) - 1
        if unanswered:
            self._unanswered[topic] = unanswered
        return unanswered

    def subscribers_of(self, topic: Topic) -> tuple[Subscriber, ...]:
        return tuple(self._subscribers.get(topic, ()))

    def receive(self, reply: Sequence[object]) -> Message | None:
        """Process what a server says, as it was received; return a message for :meth:`deliver_untyped`."""
        kind = reply[0]
        if kind == b"message" or kind == b"pmessage":
            is_pattern = kind == b"pmessage"
            name, channel, data = reply[1], reply[-2], reply[-1]
            if isinstance(name, bytes) and isinstance(channel, bytes) and isinstance(data, bytes):
                prefix, key = split_channel(channel)
                message = Message(Topic(name, is_pattern), key, data, prefix)
                if not self.deliver(message):
                    return message
        elif kind in (b"subscribe", b"psubscribe") and isinstance(reply[1], bytes):
            self.confirm(Topic(reply[1], kind == b"psubscribe"))
        return None

    def deliver(self, message: Message) -> bool:
        """Put an event to the subscribers that want it; return False if the kind of its key is needed."""
        subscribers = self._subscribers_for(message)
        if not subscribers:
            return True
        event: Event | None
        try:
            if message.prefix == DELETION_PREFIX:
                event = Deleted(message.key)
            elif message.prefix == CLEAR_CHANNEL:
                event = Cleared()
            else:
                event = parse_message(message.key, message.body)
        except DecodeError as error:
            event = _unreadable(message, error)
        if event is None:
            return False
        for subscriber in subscribers:
            subscriber.put(event)
        return True

    def deliver_untyped(self, message: Message, kind: KeyType | None) -> None:
        """Deliver a message of an old writer, by the kind of its key (`None`: deleted, or foreign)."""
        event: Event = CheckDue.UNREADABLE
        if kind is not None:
            try:
                event = parse_untyped(message.key, kind, message.body)
            except DecodeError as error:
                event = _unreadable(message, error)
        for subscriber in self._subscribers_for(message):
            subscriber.put(event)

    def _subscribers_for(self, message: Message) -> list[Subscriber]:
        subscribers = self._subscribers.get(message.topic, ())
        return [subscriber for subscriber in subscribers if subscriber.wants(message)]


def _unreadable(message: Message, error: DecodeError) -> CheckDue:
    logger.warning("Unreadable update of key %r: %s", message.key, error)
    return CheckDue.UNREADABLE


def split_topics(topics: Iterable[Topic]) -> tuple[list[bytes], list[bytes]]:
    """Return the names of the channels, and the patterns."""
    channels: list[bytes] = []
    patterns: list[bytes] = []
    for name, is_pattern in topics:
        (patterns if is_pattern else channels).append(name)
    return channels, patterns
