"""The change tracker, without any I/O: each change is returned exactly once."""

from __future__ import annotations

import gc
import sys
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telstate_backends import (
    AddSample,
    ChangeTracker,
    CheckDue,
    Clear,
    Cleared,
    Delete,
    Deleted,
    Event,
    GetPage,
    KeyType,
    MemoryBackend,
    Operation,
    SamplePage,
    SetImmutable,
    SetIndexed,
    TrackedEvent,
    Update,
)
from telstate_backends._changes import DigestSet, Plan, digest, digest_of_sha1
from telstate_backends.memory import StoreSubscription
from telstate_backends.operations import inspect
from telstate_backends.operations.inspect import DIGEST_ABOVE
from telstate_backends.redis._pubsub import EventQueue
from telstate_codec.timestamps import encode_sample

#: Short and long samples, some out of order or at equal times; sub-keys; immutables, some matching the pattern.
WRITES: list[Operation[Any]] = [
    *(
        AddSample(key, encode_sample(float(time), value))
        for key in (b"sensor", b"xs")
        for time in range(4)
        for value in (b"\xff\x01", b"\xff" + bytes(DIGEST_ABOVE), b"\xff" + b"\1" * DIGEST_ABOVE)
    ),
    *(SetIndexed(b"table", bytes((number,)), b"\xff\x02") for number in range(4)),
    SetImmutable(b"name", b"\xff\x03"),
    SetImmutable(b"x1", b"\xff\x03"),
    SetImmutable(b"x2", b"\xff" + bytes(DIGEST_ABOVE)),
    SetImmutable(b"unwatched", b"\xff\x03"),
]


class Simulation:
    """A store, a connection to it that can be lost, and a slow reader with a tracker."""

    def __init__(self, late: bool = False) -> None:
        self.backend = MemoryBackend()
        self.late = late
        self.tracker = ChangeTracker([(b"sensor",), (b"table",), (b"name",)], [b"x*"], late=late)
        #: All events that have been published since the watch began.
        self.published: list[Event] = []
        self.changes: list[TrackedEvent] = []
        #: Events on their way.
        self.wire: deque[Event] = deque()
        self.queue = EventQueue(max_events=4)
        self.connected = True
        self.plan: Plan[None] | None = None
        self.operations: Sequence[Operation[Any]] = ()
        StoreSubscription(
            self.backend.store, self.publish, self.tracker.keys, self.tracker.patterns, True
        )

    def publish(self, event: Event) -> None:
        """Send a published event over the connection, if there is one."""
        if not isinstance(event, CheckDue):
            self.published.append(event)
        if self.connected:
            self.wire.append(event)

    def lose(self) -> None:
        """Lose the connection, and the events on their way."""
        self.connected = False
        self.wire.clear()

    def reconnect(self) -> None:
        """Make a new connection."""
        if not self.connected:
            self.connected = True
            self.wire.append(CheckDue.RECONNECTED)

    def repeat(self) -> None:
        """Send an event late or twice, as the nodes of a cluster may."""
        if self.late and self.connected and self.published:
            self.wire.append(self.published[len(self.published) // 2])

    def arrive(self) -> None:
        """Move an event from the connection to the queue of the reader."""
        if self.wire:
            self.queue.push(self.wire.popleft())

    def step(self) -> None:
        """Let the reader do its next step: query the store, or process an event."""
        if self.plan is None:
            event = self.queue.pop()
            if event is not None:
                self.tracker.put(event)
            self.plan = self.tracker.process()
            results = None
        else:
            results = [self.execute(operation) for operation in self.operations]
        try:
            self.operations = next(self.plan) if results is None else self.plan.send(results)
        except StopIteration:
            self.plan = None
        while (change := self.tracker.pop()) is not None:
            self.changes.append(change)

    def fail(self) -> None:
        """Interrupt a query, as an error would."""
        self.plan = None

    def execute(self, operation: Operation[Any]) -> Any:
        """Execute an operation; long samples are returned as digests, as by a server."""
        result = self.backend.execute(operation)
        if not isinstance(operation, GetPage) or not isinstance(result, SamplePage):
            return result
        return replace_long_samples(result)

    def finish(self) -> None:
        """Run until nothing is left to do."""
        self.reconnect()
        while self.wire or len(self.queue) or self.plan is not None:
            self.arrive()
            self.step()


def replace_long_samples(page: SamplePage) -> SamplePage:
    """Replace long samples by their digests."""
    import hashlib

    short = [sample for sample in page.samples if len(sample) <= DIGEST_ABOVE]
    long = [sample for sample in page.samples if len(sample) > DIGEST_ABOVE]
    digests = [(each[:8], hashlib.sha1(each).hexdigest().encode()) for each in long]
    return SamplePage(short, digests, page.next_rank, page.count)


@settings(max_examples=150)
@given(
    late=st.booleans(),
    before=st.lists(st.sampled_from(WRITES), max_size=6),
    meanwhile=st.lists(st.sampled_from(WRITES), max_size=3),
    actions=st.lists(
        st.one_of(
            st.sampled_from(WRITES),
            st.sampled_from(
                ["lose", "reconnect", "arrive", "arrive", "step", "step", "fail", "repeat"]
            ),
        ),
        max_size=60,
    ),
)
def test_each_change_is_returned_exactly_once(
    late: bool,
    before: list[Operation[Any]],
    meanwhile: list[Operation[Any]],
    actions: list[Operation[Any] | str],
) -> None:
    """This holds however writes, losses, errors, a slow reader and its queries interleave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "SAMPLES_PER_PAGE", 2)
        simulation = Simulation(late)
        for write in before:
            simulation.backend.execute(write)
        simulation.published.clear()
        simulation.wire.clear()
        simulation.queue.push(CheckDue.SUBSCRIBED)
        # Where updates may be late, those before the watch is ready may count as known.
        writes = [] if late else list(meanwhile)
        while not simulation.tracker.is_ready:
            simulation.step()
            if writes:
                simulation.backend.execute(writes.pop())
        # Updates from before the watch is ready are returned unless they are lost.
        while simulation.wire:
            simulation.arrive()
        for action in actions:
            if isinstance(action, str):
                getattr(simulation, action)()
            else:
                simulation.backend.execute(action)
        simulation.finish()
    assert Counter(each for each in simulation.changes if isinstance(each, Update)) == Counter(
        simulation.published
    )


def process(simulation: Simulation, *events: Event) -> list[TrackedEvent]:
    """Process events with the tracker, and return the changes."""
    for event in events:
        simulation.tracker.put(event)
    simulation.step()
    while simulation.plan is not None:
        simulation.step()
    changes, simulation.changes = simulation.changes, []
    return changes


def start(*names: tuple[bytes, ...]) -> Simulation:
    """Return a simulation whose tracker is ready, for some names."""
    simulation = Simulation()
    if names:
        simulation.tracker = ChangeTracker(names)
    simulation.connected = False
    assert process(simulation, CheckDue.SUBSCRIBED) == []
    return simulation


def sample(key: bytes, time: float, value: bytes = b"\xff\x01") -> tuple[AddSample, Update]:
    """Return an operation and the update that it causes."""
    update = Update(key, KeyType.MUTABLE, value, timestamp=time)
    return AddSample(key, encode_sample(time, value)), update


def test_a_scan_returns_changes_in_order_of_time() -> None:
    """After a loss, changes without a time come first, then the samples of all keys by time."""
    simulation = start()
    operations, updates = zip(
        *(sample(key, time) for time in (3.0, 1.0) for key in (b"xs", b"sensor"))
    )
    simulation.backend.execute_many([*operations, SetImmutable(b"name", b"\xff\x03")])
    assert process(simulation, CheckDue.RECONNECTED) == [
        CheckDue.RECONNECTED,
        Update(b"name", KeyType.IMMUTABLE, b"\xff\x03"),
        *sorted(updates, key=lambda update: (update.timestamp, update.key)),
    ]


def test_an_unreadable_message_causes_a_scan() -> None:
    """The change is read from the store; no `CheckDue` is returned."""
    simulation = start()
    operation, update = sample(b"sensor", 1.0)
    simulation.backend.execute(operation)
    assert process(simulation, CheckDue.UNREADABLE) == [update]
    assert process(simulation, update) == []  # it was only delayed
    assert process(simulation, CheckDue.UNREADABLE) == []


def test_a_piece_written_again_after_a_deletion() -> None:
    """After a published deletion, the same piece is a change again."""
    simulation = start()
    operation, update = sample(b"sensor", 1.0)
    for deletion, event in (
        (Delete((b"sensor",)), Deleted(b"sensor")),
        (Delete((b"sensor",)), Cleared()),
    ):
        simulation.backend.execute(operation)
        assert process(simulation, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED, update]
        simulation.backend.execute(deletion)
        assert process(simulation, event) == []
    simulation.backend.execute(operation)
    assert process(simulation, update) == [update]
    assert process(simulation, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]


def test_a_deletion_in_another_database() -> None:
    """A message does not name its database: pieces that are still there stay known."""
    simulation = start()
    operation, update = sample(b"sensor", 1.0)
    late, late_update = sample(b"sensor", 0.5, b"\xff" + bytes(DIGEST_ABOVE))
    simulation.backend.execute(operation)
    assert process(simulation, update) == [update]
    simulation.backend.execute(late)
    assert process(simulation, Deleted(b"sensor")) == []
    assert process(simulation, late_update) == [late_update]
    assert process(simulation, Deleted(b"sensor"), Deleted(b"nothing"), Cleared()) == []
    assert process(simulation, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]


def test_a_deletion_that_is_not_published() -> None:
    """The next scan of the store makes its pieces unknown."""
    simulation = start()
    operation, update = sample(b"sensor", 1.0)
    simulation.backend.execute(operation)
    assert process(simulation, update) == [update]
    simulation.backend.execute(Delete((b"sensor",)))
    assert process(simulation, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]
    simulation.backend.execute(operation)
    assert process(simulation, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED, update]


def test_shadowed_keys_do_not_count() -> None:
    """Only updates of the first candidate that exists are returned."""
    simulation = start((b"v_k", b"k"), (b"other",))
    root, root_update = sample(b"k", 1.0)
    later, later_update = sample(b"k", 2.0)
    own, own_update = sample(b"v_k", 1.0)
    simulation.backend.execute(root)
    assert process(simulation, root_update) == [root_update]
    simulation.backend.execute(own)
    assert process(simulation, own_update) == [own_update]
    simulation.backend.execute(later)
    assert process(simulation, later_update) == []
    assert process(simulation, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]
    simulation.backend.execute(Delete((b"v_k",)))  # not published
    last, last_update = sample(b"k", 3.0)
    simulation.backend.execute(last)
    assert process(simulation, last_update) == [last_update]


def test_a_pattern_matches_shadowed_keys() -> None:
    """Updates of a key that matches a pattern are returned even if it is shadowed."""
    simulation = Simulation()
    simulation.tracker = ChangeTracker([(b"v_k", b"k")], [b"k*"])
    simulation.backend.execute(SetImmutable(b"v_k", b"\xff\x01"))
    process(simulation, CheckDue.SUBSCRIBED)
    operation, update = sample(b"k", 1.0)
    simulation.backend.execute(operation)
    assert process(simulation, update) == [update]


def test_a_store_that_loses_nothing_is_not_scanned() -> None:
    """Without digests, only the keys that may shadow others are queried."""
    tracker = ChangeTracker([(b"v_k", b"k"), (b"i",)], [b"*"], remember=False)
    tracker.put(CheckDue.SUBSCRIBED)
    plan = tracker.process()
    assert len(next(plan)) == 1
    with pytest.raises(StopIteration):
        plan.send([False])
    assert tracker.is_ready


NUMBERS = st.integers(-1 << 63, (1 << 63) - 1)


@given(st.sets(NUMBERS), st.sets(NUMBERS))
def test_a_digest_set(numbers: set[int], others: set[int]) -> None:
    """It has the digests that were added, and no others, before and after looking them up."""
    known = DigestSet()
    for number in [*numbers, *numbers]:
        known.add(number)
    assert len(known) == len(numbers)
    assert all(number in known for number in numbers)
    assert not any(number in known for number in others - numbers)
    for number in others:
        known.add(number)
    assert len(known) == len(numbers | others)
    known.pack()
    assert all(number in known for number in numbers | others)


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 60)))))
def test_expected_digests(steps: list[tuple[bool, set[int]]]) -> None:
    """An expected digest is settled once."""
    known = DigestSet()
    expected: set[int] = set()
    for is_expected, numbers in steps:
        if is_expected:
            known.expect(numbers)
            expected |= numbers
        else:
            settled = {number for number in numbers if known.clear_expected(number)}
            assert settled == expected & numbers
            expected -= numbers
        assert list(known.expected) == sorted(expected)


def test_the_memory_of_a_digest_set() -> None:
    """A digest takes 8 to 24 bytes, and one that is added again and again takes no more."""
    known = DigestSet()
    for number in range(100_000):
        known.add(hash(b"%d" % number))
    for _ in range(200_000):
        known.add(1)
    assert 8 <= sys.getsizeof(known._numbers) / len(known) <= 24


def test_digests_of_long_pieces() -> None:
    """A long piece and its SHA-1 have the same digest."""
    import hashlib

    piece = bytes(DIGEST_ABOVE + 1)
    assert digest(piece) == digest_of_sha1(hashlib.sha1(piece).hexdigest().encode())


def test_late_updates() -> None:
    """In a cluster, an update of a known piece is a late one, unless the key has been deleted."""
    simulation = Simulation()
    simulation.tracker = ChangeTracker([(b"k",)], late=True)
    operation, update = sample(b"k", 1.0)
    simulation.backend.execute(operation)
    assert process(simulation, CheckDue.SUBSCRIBED, update) == []
    new, new_update = sample(b"k", 2.0)
    simulation.backend.execute(new)
    assert process(simulation, new_update, new_update) == [new_update]
    assert process(simulation, CheckDue.RECONNECTED, update, new_update) == [CheckDue.RECONNECTED]
    simulation.backend.execute(Delete((b"k",)))
    simulation.backend.execute(operation)
    assert process(simulation, Deleted(b"k"), update) == [update]
    # The piece may have been written again after one of several nodes was cleared.
    assert process(simulation, Cleared(), update) == [update]
    assert process(simulation, CheckDue.RECONNECTED, update) == [CheckDue.RECONNECTED]


def size_of(thing: object) -> int:
    """Return the size of an object and all that it refers to, in bytes."""
    seen: dict[int, object] = {}
    todo = [thing]
    while todo:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, type):
            seen[id(each)] = each
            todo += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))


def test_the_memory_of_a_tracker() -> None:
    """Pieces from scans take no more memory than those from updates."""
    simulation = start((b"sensor",))
    empty = size_of(simulation.tracker)
    for loss in range(3):
        times = range(1000 * loss, 1000 * (loss + 1))
        simulation.backend.execute_many([sample(b"sensor", float(time))[0] for time in times])
        assert len(process(simulation, CheckDue.RECONNECTED)) == 1 + len(times)
    assert size_of(simulation.tracker) - empty <= 24 * 3000


def test_writes_after_a_deletion() -> None:
    """Pieces written after a deletion are returned once each, in order with those of other keys."""
    simulation = start((b"sensor",), (b"other",))
    first, first_update = sample(b"other", 1.0)
    for value in (b"\xff\x01", b"\xff\x02"):
        for deletion, event in ((Delete((b"sensor",)), Deleted(b"sensor")), (Clear(), Cleared())):
            operation, update = sample(b"sensor", 1.0, value)
            simulation.backend.execute_many([deletion, first, operation, deletion, operation])
            events = [event, first_update, update, event, update]
            assert process(simulation, *events) == [first_update, update, update]
            assert process(simulation, CheckDue.RECONNECTED)[:1] == [CheckDue.RECONNECTED]


def test_a_shadow_that_is_deleted_and_written_again() -> None:
    """Between the deletion of a key and its next update, the keys that it shadowed count."""
    for deletion, event in ((Delete((b"v_k",)), Deleted(b"v_k")), (Clear(), Cleared())):
        for remember in (True, False):
            simulation = Simulation()
            simulation.tracker = ChangeTracker([(b"v_k", b"k")], remember=remember)
            simulation.connected = False
            simulation.backend.execute(SetImmutable(b"v_k", b"\xff\x01"))
            assert process(simulation, CheckDue.SUBSCRIBED) == []
            root, root_update = sample(b"k", 1.0)
            own, own_update = sample(b"v_k", 1.0)
            later, later_update = sample(b"k", 2.0)
            simulation.backend.execute_many([deletion, root, own, later])
            events = (event, root_update, own_update, later_update)
            assert process(simulation, *events) == [root_update, own_update]
