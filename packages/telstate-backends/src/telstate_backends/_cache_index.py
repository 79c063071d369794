"""What a cache knows about keys, without any I/O.

The cache may know that a key is immutable, with its value if that was read, or that it does not exist (so it
does not hide later candidates). It knows this of watched keys only, and only until the watcher returns an
event for the key. A result that follows from what is known needs no exchange with the store. The result of a
read is kept only if all keys in it were watched before the read began and had no event since; if it
contradicts what is known, one of the two is out of date, and neither is kept. Keys are watched after they
were first found to be immutable. The least recently used are dropped when there are too many of them, or
their values are too large.
"""

from __future__ import annotations

import enum
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs

from telstate_backends.errors import TelstateError
from telstate_backends.events import CheckDue, Deleted, Event, Update
from telstate_backends.operations.base import Operation
from telstate_backends.operations.read import Found, Read
from telstate_backends.types import TYPE_NAMES, Immutable, KeyType

Result = TypeVar("Result")
#: Returns whether the watcher misses no update of these keys.
Covers: TypeAlias = Callable[[Sequence[bytes]], bool]

_IMMUTABLE = TYPE_NAMES[KeyType.IMMUTABLE]


class _State(enum.Enum):
    UNKNOWN = 1  # watched, or about to be
    ABSENT = 2


@attrs.define(eq=False)
class PendingRead:
    """A read of candidate keys that has begun."""

    keys: Sequence[bytes]
    covered: int  #: how many keys, from the first, were watched before
    start: float  #: when it began
    is_stale: bool = False  #: whether there was an event for any of these keys since


@attrs.frozen
class BatchPlan:
    """The known results of a batch, and the operations that must still be sent."""

    results: list[Any]
    operations: list[Operation[Any]]
    #: For each of `operations` the index of its result; if the cache can learn from it, the read that it
    #: replaces, as begun.
    pending: list[tuple[int, Read[Any] | None, PendingRead | None]]


class CacheIndex:
    """What is known about keys; the limits are those of :class:`~telstate_backends.CachedBackend`."""

    def __init__(
        self,
        size: int,
        max_bytes: int,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock
        #: The size of all keys and values that are kept.
        self.weight = 0
        #: When the reads began from which each state is known.
        self._known_since: dict[bytes, float] = {}
        #: All watched keys, the least recently used first.
        self._states: OrderedDict[bytes, Found | _State] = OrderedDict()
        self._pending: dict[bytes, list[PendingRead]] = {}
        # Ordered sets of keys that the watcher must begin or stop to watch.
        self._to_add: dict[bytes, None] = {}
        self._to_discard: dict[bytes, None] = {}

    @property
    def keys(self) -> list[bytes]:
        """All keys that are watched, or about to be."""
        return list(self._states)

    def recall(self, read: Read[Result]) -> Result | None:
        """Return the result of a read if it follows from what is known, else `None`."""
        states, known_since = self._states, self._known_since
        oldest = self._clock() - self._max_age
        keys = read.keys
        for index, key in enumerate(keys):
            state = states.get(key, _State.UNKNOWN)
            if state is _State.UNKNOWN or known_since[key] < oldest:
                return None
            if type(state) is Found:
                if read.needs_contents and state.contents is None:
                    return None
                for used in keys[: index + 1]:
                    states.move_to_end(used)
                return read.answer(state)
        return None

    def begin(self, keys: Sequence[bytes], covers: Covers) -> PendingRead:
        """Register that a read of candidate keys begins; `learn` or `give_up` must follow."""
        covered = 0
        while covered < len(keys) and keys[covered] in self._states:
            covered += 1
        if covered == 0 or not covers(keys[:covered]):
            return PendingRead(keys, 0, 0.0)
        pending = PendingRead(keys, covered, self._clock())
        for key in keys[:covered]:
            self._pending.setdefault(key, []).append(pending)
        return pending

    def give_up(self, pending: PendingRead) -> None:
        """Register that a read ended without a result."""
        for key in pending.keys[: pending.covered]:
            others = self._pending.get(key)
            if others is not None:
                others.remove(pending)
                if not others:
                    del self._pending[key]

    def learn(self, pending: PendingRead, found: Found | None) -> None:
        """Keep the result of a read if it is certain, or have its keys watched for the next one."""
        self.give_up(pending)
        keys = pending.keys if found is None else pending.keys[: pending.keys.index(found.key)]
        seen: list[tuple[bytes, Found | _State]] = [(key, _State.ABSENT) for key in keys]
        is_wanted = False
        if found is not None:
            seen.append((found.key, found))
            is_wanted = (
                found.redis_type == _IMMUTABLE
                and len(seen) <= self._size
                and _weight(found) <= self._max_bytes
            )
        is_certain = is_wanted and not pending.is_stale and len(seen) <= pending.covered
        for key, state in seen:
            self._compare(key, state, pending.start if is_certain else None)
        if is_wanted and not is_certain:
            for key, _ in seen:
                self._add(key)
        elif found is not None and not is_wanted:
            self._discard(found.key)
        while len(self._states) > self._size or self.weight > self._max_bytes:
            self._discard(next(iter(self._states)))

    def handle(self, event: Event) -> None:
        """Take an event of the watcher into account."""
        if isinstance(event, Update) and event.kind is not KeyType.IMMUTABLE:
            self._discard(event.key)  # it may be a sensor, with a sample every second
        elif isinstance(event, Update | Deleted):
            self._invalidate(event.key)
        elif event is not CheckDue.SUBSCRIBED:
            self.forget_all()

    def forget(self, operations: Iterable[Operation[Any]]) -> None:
        """Forget the keys that these operations affect.

        These include reads of one whole key (:class:`Export`, say), whose result is not compared with what
        is known and may be more recent.
        """
        for operation in operations:
            keys = operation.affected_keys()
            if keys is None:
                self.forget_all()
            else:
                for key in keys:
                    self._invalidate(key)

    def forget_all(self) -> None:
        """Forget everything."""
        for key in self._states:
            self._states[key] = _State.UNKNOWN
        for reads in self._pending.values():
            for pending in reads:
                pending.is_stale = True
        self._known_since.clear()
        self.weight = 0

    @property
    def must_watch(self) -> bool:
        """Whether the watcher must begin or stop to watch any keys."""
        return bool(self._to_add or self._to_discard)

    def restart(self) -> None:
        """Register that there is a new watcher, which watches no keys yet."""
        self._to_add = dict.fromkeys(self._states)
        self._to_discard.clear()

    def take_changes(self) -> tuple[list[bytes], list[bytes]]:
        """Return the keys that the watcher must add and discard since this was last called."""
        changes = list(self._to_add), list(self._to_discard)
        self._to_add.clear()
        self._to_discard.clear()
        return changes

    def plan(self, operations: Sequence[Operation[Any]], live: bool, covers: Covers) -> BatchPlan:
        """Answer what is known of a batch, if what is known is valid now (`live`)."""
        plan = BatchPlan([None] * len(operations), [], [])
        for index, operation in enumerate(operations):
            if not isinstance(operation, Read):
                plan.operations.append(operation)
                plan.pending.append((index, None, None))
                continue
            answer = self.recall(operation) if live else None
            if answer is not None:
                plan.results[index] = answer
                continue
            plan.operations.append(operation.find())
            plan.pending.append((index, operation, self.begin(operation.keys, covers)))
        return plan

    def complete(self, plan: BatchPlan, replies: Sequence[Any] | None) -> list[Any]:
        """Learn from the replies to a batch, `None` if it failed, and return all results."""
        for number, (index, read, pending) in enumerate(plan.pending):
            reply = None if replies is None else replies[number]
            plan.results[index] = reply
            if pending is None or read is None:
                continue
            if replies is None or isinstance(reply, BaseException):
                self.give_up(pending)
                continue
            self.learn(pending, reply)
            try:
                plan.results[index] = read.answer(reply)
            except TelstateError as error:
                plan.results[index] = error
        return plan.results

    def _compare(self, key: bytes, seen: Found | _State, since: float | None) -> None:
        """Keep what was seen of a key, if it is certain (`since` a time) and contradicts nothing."""
        known = self._states.get(key, _State.UNKNOWN)
        if known is _State.UNKNOWN:
            if since is None:
                self._invalidate(key)
            else:
                self._put(key, seen, since)
        elif not _agree(known, seen):
            self._invalidate(key)
        elif since is not None:
            has_less = type(seen) is Found and seen.contents is None
            self._put(key, known if has_less else seen, since)

    def _put(self, key: bytes, state: Found | _State, since: float) -> None:
        self.weight += _weight(state) - _weight(self._states[key])
        self._states[key] = state
        self._states.move_to_end(key)
        self._known_since[key] = since

    def _invalidate(self, key: bytes) -> None:
        """Forget a key, and the results of reads of it that have begun."""
        for pending in self._pending.get(key, ()):
            pending.is_stale = True
        if key in self._states:
            self.weight -= _weight(self._states[key])
            self._states[key] = _State.UNKNOWN
            self._known_since.pop(key, None)

    def _add(self, key: bytes) -> None:
        """Have a key watched."""
        if key in self._states:
            self._states.move_to_end(key)
            return
        self._states[key] = _State.UNKNOWN
        if key in self._to_discard:
            del self._to_discard[key]
        else:
            self._to_add[key] = None

    def _discard(self, key: bytes) -> None:
        """Forget a key, and no longer have it watched."""
        self._invalidate(key)
        if key not in self._states:
            return
        del self._states[key]
        if key in self._to_add:
            del self._to_add[key]
        else:
            self._to_discard[key] = None


def _weight(state: Found | _State) -> int:
    if type(state) is not Found:
        return 0
    contents = state.contents
    return len(state.key) + (len(contents.value) if type(contents) is Immutable else 0)


def _agree(known: Found | _State, seen: Found | _State) -> bool:
    if type(known) is not Found or type(seen) is not Found:
        return known is seen
    if known.contents is None or seen.contents is None:
        return known.redis_type == seen.redis_type
    return known == seen
