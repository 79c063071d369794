"""Subscriptions, event queues and heartbeats of pub/sub connections, without any I/O."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_backends import CheckDue, Deleted, Event, KeyType, Update
from telstate_backends.redis._heartbeat import PING_INTERVAL, PING_TIMEOUT, Heartbeat
from telstate_backends.redis._pubsub import (
    EventQueue,
    Message,
    Refusal,
    Subscriber,
    Subscriptions,
    Topic,
)

CHANNEL, PATTERN = Topic(b"update/k", False), Topic(b"update/k*", True)


def subscriber_to(*keys: bytes, patterns: tuple[bytes, ...] = ()) -> tuple[Subscriber, list[Event]]:
    """Return a subscriber and the list that it puts its events in."""
    events: list[Event] = []
    return Subscriber(events.append, keys, patterns), events


def test_a_check_is_due_when_all_topics_are_confirmed() -> None:
    """A subscriber gets nothing before its last confirmation, then a `CheckDue`."""
    subscriptions = Subscriptions()
    subscriber, events = subscriber_to(b"k", patterns=(b"k*",))
    assert subscriptions.add(subscriber) == {CHANNEL, PATTERN}
    subscriptions.record_request({CHANNEL, PATTERN})
    subscriptions.confirm(CHANNEL)
    subscriptions.deliver(Message(CHANNEL, b"k", b"\x011"))
    assert events == []
    subscriptions.confirm(PATTERN)
    # The message arrives for both topics, and is delivered once.
    subscriptions.deliver(Message(CHANNEL, b"k", b"\x012"))
    subscriptions.deliver(Message(PATTERN, b"k", b"\x012"))
    assert events == [CheckDue.SUBSCRIBED, Update(b"k", KeyType.IMMUTABLE, b"2")]
    subscriptions.reset()
    subscriptions.record_request({CHANNEL, PATTERN})
    subscriptions.confirm(CHANNEL)
    subscriptions.confirm(PATTERN)
    assert events[2:] == [CheckDue.RECONNECTED]


def test_a_late_confirmation_of_a_topic_that_was_left_does_not_count() -> None:
    """A topic left and joined again is confirmed by the second confirmation, not by the first."""
    subscriptions = Subscriptions()
    first, _ = subscriber_to(b"k")
    subscriptions.record_request(subscriptions.add(first))
    assert subscriptions.remove(first) == {CHANNEL}
    second, events = subscriber_to(b"k")
    subscriptions.record_request(subscriptions.add(second))
    subscriptions.confirm(CHANNEL)
    assert events == []
    subscriptions.confirm(CHANNEL)
    assert events == [CheckDue.SUBSCRIBED]
    third, more = subscriber_to(b"k")
    assert subscriptions.add(third) == set()
    assert more == [CheckDue.SUBSCRIBED]
    # This one was not requested: redis-py has reconnected by itself.
    subscriptions.confirm(CHANNEL)
    assert (events[-1], more[-1]) == (CheckDue.RECONNECTED, CheckDue.RECONNECTED)


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.randoms())
def test_refused_topics_are_found(good: set[int], bad: set[int], random: Random) -> None:
    """However topics are requested together, the refused ones are found, and the others confirmed."""
    subscriptions = Subscriptions()
    subscribers = {}
    for number in sorted(good | bad):
        subscribers[number] = subscriber_to(b"%d" % number, patterns=(b"%d*" % number,))
    names = {Topic(b"update/%d" % number, False) for number in bad - good}
    requests: list[set[Topic]] = []
    for subscriber, _ in subscribers.values():
        topics = subscriptions.add(subscriber)
        if requests and random.random() < 0.7:
            requests[-1] |= topics
        else:
            requests.append(topics)
    refused = []
    while requests:
        for request in requests:
            subscriptions.record_request(request)
        # The server accepts or refuses a whole command; each has channels or patterns.
        commands = [
            [topic for topic in request if topic.is_pattern is is_pattern]
            for request in requests
            for is_pattern in (False, True)
        ]
        requests = []
        for command in filter(None, commands):
            if names.isdisjoint(command):
                for topic in command:
                    subscriptions.confirm(topic)
                continue
            refusal = subscriptions.refuse()
            assert refusal is not None
            requests += refusal.retries
            if refusal.refused is not None:
                refused.append(refusal.refused)
                for subscriber in subscriptions.subscribers_of(refusal.refused):
                    subscriptions.remove(subscriber)
    assert sorted(refused) == sorted(names)
    assert {number for number, (_, events) in subscribers.items() if events} == good
    assert subscriptions.refuse() is None


def test_a_topic_that_was_left_is_not_refused() -> None:
    """A refusal concerns neither topics left since, nor topics requested again."""
    subscriptions = Subscriptions()
    first, _ = subscriber_to(b"k")
    subscriptions.record_request(subscriptions.add(first))
    subscriptions.remove(first)
    assert subscriptions.refuse() == Refusal([], None)
    subscriptions.record_request(subscriptions.add(first))
    subscriptions.remove(first)
    second, events = subscriber_to(b"k")
    subscriptions.record_request(subscriptions.add(second))
    assert subscriptions.refuse() == Refusal([], None)
    subscriptions.confirm(CHANNEL)
    assert events == [CheckDue.SUBSCRIBED]


def update(value: bytes) -> Update:
    """Return an update with a sample."""
    return Update(b"k", KeyType.MUTABLE, value, timestamp=1.0)


def test_an_event_queue_is_bounded() -> None:
    """At a limit, changes are dropped, checks are kept, and one more is due after them."""
    queue = EventQueue(max_events=3, max_bytes=2000)
    small = update(b"1234")
    for _ in range(9):
        queue.push(small)
    queue.push(CheckDue.RECONNECTED)
    taken = [queue.pop() for _ in range(6)]
    assert taken == [small, small, small, CheckDue.OVERFLOWED, CheckDue.RECONNECTED, None]
    large_ones: list[Event] = [
        update(bytes(2000)),
        Update(bytes(2000), KeyType.IMMUTABLE, b"1"),
        Update(b"k", KeyType.INDEXED, b"1", sub_key=bytes(2000)),
        Deleted(bytes(2000)),
    ]
    for large in large_ones:
        for event in (large, small, CheckDue.RECONNECTED):
            queue.push(event)
        expected = [large, CheckDue.OVERFLOWED, CheckDue.RECONNECTED]
        assert [queue.pop() for _ in range(3)] == expected


def test_a_heartbeat_pings_after_silence_and_gives_up_after_more() -> None:
    """Silence leads to a PING, and more silence to an error; anything received starts anew."""
    heartbeat = Heartbeat(0.0)
    assert (heartbeat.check(4.0), heartbeat.seconds_left(4.0)) == (False, PING_INTERVAL - 4.0)
    assert heartbeat.check(PING_INTERVAL)
    assert heartbeat.seconds_left(PING_INTERVAL) == PING_TIMEOUT
    assert not heartbeat.check(PING_INTERVAL + 1.0)
    assert heartbeat.is_fresh(PING_INTERVAL + PING_TIMEOUT - 1.0)
    with pytest.raises(TimeoutError):
        heartbeat.check(PING_INTERVAL + PING_TIMEOUT)
    heartbeat.receive(99.0)
    assert (heartbeat.check(99.0), heartbeat.seconds_left(99.0)) == (False, PING_INTERVAL)
