"""What is new in a store, decided without any I/O: each change is told exactly once."""

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
    KeyType,
    MemoryBackend,
    Operation,
    SamplePage,
    SetImmutable,
    SetIndexed,
    Survey,
    TrackedEvent,
    Update,
)
from telstate_backends._changes import DigestSet, Plan, digest, digest_of_sha1
from telstate_backends.memory import Tap
from telstate_backends.operations import inspect as surveys
from telstate_backends.operations.inspect import DIGEST_ABOVE
from telstate_backends.redis._pubsub import EventQueue
from telstate_codec.timestamps import encode_sample

#: Short and long samples, late ones, equal times; sub-keys; immutables, one that fits the pattern.
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


class World:
    """A store, a line to it that can be cut, and a slow reader with a tracker."""

    def __init__(self, late: bool = False) -> None:
        self.backend = MemoryBackend()
        self.late = late
        self.tracker = ChangeTracker([(b"sensor",), (b"table",), (b"name",)], [b"x*"], late=late)
        #: All that has been published since the watch began.
        self.truth: list[Event] = []
        self.told: list[TrackedEvent] = []
        self.wire: deque[Event] = deque()
        self.queue = EventQueue(max_events=4)
        self.connected = True
        self.plan: Plan[None] | None = None
        self.operations: Sequence[Operation[Any]] = ()
        Tap(self.backend.store, self.publish, self.tracker.keys, self.tracker.patterns, True)

    def publish(self, event: Event) -> None:
        """Send what the store publishes along the wire, if there is one."""
        if not isinstance(event, CheckDue):
            self.truth.append(event)
        if self.connected:
            self.wire.append(event)

    def lose(self) -> None:
        """Cut the wire; what was on it is lost."""
        self.connected = False
        self.wire.clear()

    def reconnect(self) -> None:
        """Lay a new wire."""
        if not self.connected:
            self.connected = True
            self.wire.append(CheckDue.RECONNECTED)

    def repeat(self) -> None:
        """Have something come late, or twice, as it can between the nodes of a cluster."""
        if self.late and self.connected and self.truth:
            self.wire.append(self.truth[len(self.truth) // 2])

    def arrive(self) -> None:
        """Let something come to the end of the wire."""
        if self.wire:
            self.queue.push(self.wire.popleft())

    def step(self) -> None:
        """Do the next thing that the reader does: ask the store, or take an event."""
        if self.plan is None:
            event = self.queue.pop()
            if event is not None:
                self.tracker.put(event)
            self.plan = self.tracker.process()
            results = None
        else:
            results = [self.look(operation) for operation in self.operations]
        try:
            self.operations = next(self.plan) if results is None else self.plan.send(results)
        except StopIteration:
            self.plan = None
        while (news := self.tracker.pop()) is not None:
            self.told.append(news)

    def fail(self) -> None:
        """Have the store unreachable just when it is asked."""
        self.plan = None

    def look(self, operation: Operation[Any]) -> Any:
        """Do an operation; long samples are given as the server gives them."""
        result = self.backend.execute(operation)
        if not isinstance(operation, Survey) or not isinstance(result, SamplePage):
            return result
        return as_a_server_gives_it(result)

    def finish(self) -> None:
        """Let everything come to rest."""
        self.reconnect()
        while self.wire or len(self.queue) or self.plan is not None:
            self.arrive()
            self.step()


def as_a_server_gives_it(page: SamplePage) -> SamplePage:
    """Put digests in place of long samples."""
    import hashlib

    short = [sample for sample in page.samples if len(sample) <= DIGEST_ABOVE]
    long = [sample for sample in page.samples if len(sample) > DIGEST_ABOVE]
    digests = [(each[:8], hashlib.sha1(each).hexdigest().encode()) for each in long]
    return SamplePage(short, digests, page.next_rank)


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
def test_each_change_is_told_exactly_once(
    late: bool,
    before: list[Operation[Any]],
    meanwhile: list[Operation[Any]],
    actions: list[Operation[Any] | str],
) -> None:
    """However writes, losses, failures, a slow reader and its readings interleave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surveys, "PAGE_LENGTH", 2)
        world = World(late)
        for write in before:
            world.backend.execute(write)
        world.truth.clear()
        world.wire.clear()
        world.queue.push(CheckDue.SUBSCRIBED)
        # Where updates may be late, what comes before the watch has begun may count as known.
        writes = [] if late else list(meanwhile)
        while not world.tracker.is_ready:
            world.step()
            if writes:
                world.backend.execute(writes.pop())
        # What came before the watch had begun is told if it is not lost, and not otherwise.
        while world.wire:
            world.arrive()
        for action in actions:
            if isinstance(action, str):
                getattr(world, action)()
            else:
                world.backend.execute(action)
        world.finish()
    assert Counter(each for each in world.told if isinstance(each, Update)) == Counter(world.truth)


def follow(world: World, *events: Event) -> list[TrackedEvent]:
    """Have the tracker of a world hear of events, and give what it tells."""
    for event in events:
        world.tracker.put(event)
    world.step()
    while world.plan is not None:
        world.step()
    told, world.told = world.told, []
    return told


def begun(*names: tuple[bytes, ...]) -> World:
    """Make a world whose watch of some names has begun."""
    world = World()
    if names:
        world.tracker = ChangeTracker(names)
    world.connected = False
    assert follow(world, CheckDue.SUBSCRIBED) == []
    return world


def sample(key: bytes, time: float, value: bytes = b"\xff\x01") -> tuple[AddSample, Update]:
    """Make an operation and the update that it is to cause."""
    update = Update(key, KeyType.MUTABLE, value, timestamp=time)
    return AddSample(key, encode_sample(time, value)), update


def test_a_reading_tells_in_order_of_time() -> None:
    """After a loss comes first what has no time, then the samples of all keys by time."""
    world = begun()
    operations, updates = zip(
        *(sample(key, time) for time in (3.0, 1.0) for key in (b"xs", b"sensor"))
    )
    world.backend.execute_many([*operations, SetImmutable(b"name", b"\xff\x03")])
    assert follow(world, CheckDue.RECONNECTED) == [
        CheckDue.RECONNECTED,
        Update(b"name", KeyType.IMMUTABLE, b"\xff\x03"),
        *sorted(updates, key=lambda update: (update.timestamp, update.key)),
    ]


def test_a_message_that_made_no_sense_is_looked_up() -> None:
    """What could not be read is read from the store, and that is no loss worth telling of."""
    world = begun()
    operation, update = sample(b"sensor", 1.0)
    world.backend.execute(operation)
    assert follow(world, CheckDue.UNREADABLE) == [update]
    assert follow(world, update) == []  # it was on its way all the same
    assert follow(world, CheckDue.UNREADABLE) == []


def test_what_is_deleted_and_comes_again_is_told_again() -> None:
    """After a deletion that was told of, the same content is a change once more."""
    world = begun()
    operation, update = sample(b"sensor", 1.0)
    for deletion, event in (
        (Delete((b"sensor",)), Deleted(b"sensor")),
        (Delete((b"sensor",)), Cleared()),
    ):
        world.backend.execute(operation)
        assert follow(world, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED, update]
        world.backend.execute(deletion)
        assert follow(world, event) == []
    world.backend.execute(operation)
    assert follow(world, update) == [update]
    assert follow(world, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]


def test_a_deletion_in_another_database() -> None:
    """Redis does not say where a key was deleted: what is still there stays known."""
    world = begun()
    operation, update = sample(b"sensor", 1.0)
    late, late_update = sample(b"sensor", 0.5, b"\xff" + bytes(DIGEST_ABOVE))
    world.backend.execute(operation)
    assert follow(world, update) == [update]
    world.backend.execute(late)
    assert follow(world, Deleted(b"sensor")) == []
    assert follow(world, late_update) == [late_update]
    assert follow(world, Deleted(b"sensor"), Deleted(b"nothing"), Cleared()) == []
    assert follow(world, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]


def test_a_deletion_without_notice_is_found_by_the_next_reading() -> None:
    """What an old client deleted behind our back is unknown after the store has been read."""
    world = begun()
    operation, update = sample(b"sensor", 1.0)
    world.backend.execute(operation)
    assert follow(world, update) == [update]
    world.backend.execute(Delete((b"sensor",)))
    assert follow(world, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]
    world.backend.execute(operation)
    assert follow(world, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED, update]


def test_what_is_shadowed_does_not_count() -> None:
    """Of a name's candidates the first that exists counts, as far as the store says when asked."""
    world = begun((b"v_k", b"k"), (b"other",))
    root, root_update = sample(b"k", 1.0)
    later, later_update = sample(b"k", 2.0)
    own, own_update = sample(b"v_k", 1.0)
    world.backend.execute(root)
    assert follow(world, root_update) == [root_update]
    world.backend.execute(own)
    assert follow(world, own_update) == [own_update]
    world.backend.execute(later)
    assert follow(world, later_update) == []
    assert follow(world, CheckDue.RECONNECTED) == [CheckDue.RECONNECTED]
    world.backend.execute(Delete((b"v_k",)))  # nobody tells
    last, last_update = sample(b"k", 3.0)
    world.backend.execute(last)
    assert follow(world, last_update) == [last_update]


def test_a_pattern_counts_though_a_view_shadows() -> None:
    """A key that is watched by its full name too is told of, shadowed or not."""
    world = World()
    world.tracker = ChangeTracker([(b"v_k", b"k")], [b"k*"])
    world.backend.execute(SetImmutable(b"v_k", b"\xff\x01"))
    follow(world, CheckDue.SUBSCRIBED)
    operation, update = sample(b"k", 1.0)
    world.backend.execute(operation)
    assert follow(world, update) == [update]


def test_a_store_that_loses_nothing_is_not_read() -> None:
    """Without remembering, only what may shadow is asked for."""
    tracker = ChangeTracker([(b"v_k", b"k"), (b"i",)], [b"*"], remember=False)
    tracker.put(CheckDue.SUBSCRIBED)
    plan = tracker.process()
    assert len(next(plan)) == 1
    with pytest.raises(StopIteration):
        plan.send([False])
    assert tracker.is_ready


@given(st.sets(st.integers(0, (1 << 64) - 1)), st.sets(st.integers(0, (1 << 64) - 1)))
def test_a_set_of_numbers(numbers: set[int], others: set[int]) -> None:
    """It holds what was put in, once, and nothing else; the lowest bit does not count."""
    known = DigestSet()
    for number in [*numbers, *numbers]:
        known.add(number)
    held = {number & ~1 or 2 for number in numbers}
    assert len(known) == len(held)
    assert all(number in known for number in numbers)
    assert not any(number in known for number in others if (number & ~1 or 2) not in held)


@given(st.lists(st.tuples(st.sampled_from(["add", "await", "settle"]), st.integers(0, 60))))
def test_what_is_awaited(steps: list[tuple[str, int]]) -> None:
    """What is awaited is settled once, and stays known, however large the table has grown."""
    known = DigestSet()
    expected: dict[int, bool] = {}
    for step, number in ((step, 2 * number + 2) for step, number in steps):
        if step == "settle":
            awaited = expected.get(number, False)
            assert (known.is_expected(number), known.clear_expected(number)) == (awaited, awaited)
            if awaited:
                expected[number] = False
        else:
            known.add(number, is_expected=step == "await")
            expected[number] = expected.get(number, False) or step == "await"
    assert {number: known.is_expected(number) for number in expected} == expected
    assert len(known) == len(expected)


def test_the_price_of_what_is_known() -> None:
    """A number costs 12 to 24 bytes."""
    known = DigestSet()
    for number in range(100_000):
        known.add(hash(b"%d" % number) & ((1 << 64) - 1))
    assert 12 <= sys.getsizeof(known._table) / len(known) <= 24


def test_digests_of_long_pieces_are_the_servers() -> None:
    """A long piece has the same digest whether it or its SHA-1 is at hand."""
    import hashlib

    piece = bytes(DIGEST_ABOVE + 1)
    assert digest(piece) == digest_of_sha1(hashlib.sha1(piece).hexdigest().encode())


def test_where_updates_may_be_late() -> None:
    """In a cluster an update of what is known already is a late one, until something is deleted."""
    world = World()
    world.tracker = ChangeTracker([(b"k",)], late=True)
    operation, update = sample(b"k", 1.0)
    world.backend.execute(operation)
    assert follow(world, CheckDue.SUBSCRIBED, update) == []
    new, new_update = sample(b"k", 2.0)
    world.backend.execute(new)
    assert follow(world, new_update, new_update) == [new_update]
    assert follow(world, CheckDue.RECONNECTED, update, new_update) == [CheckDue.RECONNECTED]
    world.backend.execute(Delete((b"k",)))
    world.backend.execute(operation)
    assert follow(world, Deleted(b"k"), update) == [update]
    # What one node of several has cleared may be there again already.
    assert follow(world, Cleared(), update) == [update]
    assert follow(world, CheckDue.RECONNECTED, update) == [CheckDue.RECONNECTED]


def size_of(thing: object) -> int:
    """Add up the bytes of a thing and of all that it refers to."""
    seen: dict[int, object] = {}
    todo = [thing]
    while todo:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, type):
            seen[id(each)] = each
            todo += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))


def test_the_price_of_losses() -> None:
    """What was read after losses costs no more than what came as updates."""
    world = begun((b"sensor",))
    empty = size_of(world.tracker)
    for loss in range(3):
        times = range(1000 * loss, 1000 * (loss + 1))
        world.backend.execute_many([sample(b"sensor", float(time))[0] for time in times])
        assert len(follow(world, CheckDue.RECONNECTED)) == 1 + len(times)
    assert size_of(world.tracker) - empty <= 24 * 3000


def test_a_deletion_tells_nothing_itself() -> None:
    """What was written since comes as updates: each once, at its place among those of other keys."""
    world = begun((b"sensor",), (b"other",))
    first, first_update = sample(b"other", 1.0)
    for value in (b"\xff\x01", b"\xff\x02"):
        for deletion, event in ((Delete((b"sensor",)), Deleted(b"sensor")), (Clear(), Cleared())):
            operation, update = sample(b"sensor", 1.0, value)
            world.backend.execute_many([deletion, first, operation, deletion, operation])
            events = [event, first_update, update, event, update]
            assert follow(world, *events) == [first_update, update, update]
            assert follow(world, CheckDue.RECONNECTED)[:1] == [CheckDue.RECONNECTED]


def test_a_shadow_that_comes_again_counts_when_its_update_comes() -> None:
    """Between the deletion of a key and its coming again, what it shadowed is told of."""
    for deletion, event in ((Delete((b"v_k",)), Deleted(b"v_k")), (Clear(), Cleared())):
        for remember in (True, False):
            world = World()
            world.tracker = ChangeTracker([(b"v_k", b"k")], remember=remember)
            world.connected = False
            world.backend.execute(SetImmutable(b"v_k", b"\xff\x01"))
            assert follow(world, CheckDue.SUBSCRIBED) == []
            root, root_update = sample(b"k", 1.0)
            own, own_update = sample(b"v_k", 1.0)
            later, later_update = sample(b"k", 2.0)
            world.backend.execute_many([deletion, root, own, later])
            events = (event, root_update, own_update, later_update)
            assert follow(world, *events) == [root_update, own_update]
