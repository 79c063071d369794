"""What a cache knows about keys: decisions only, no I/O.

Rules: what is known of a key is that it is immutable, with its value if that was asked, or that it
does not exist (and so shadows nothing); it is known of watched keys only, and until a watcher tells
of any change. So an answer that follows from what is known needs no asking. What a read brings is
kept only if every key in it was watched from before the read, and nothing has been told of it since;
if it contradicts what is known, one of the two is out of date, and neither is kept. Keys are watched
after they were first found immutable. The least recently used go first, when there are too many or
their values are too large.
"""

from __future__ import annotations

import enum
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import attrs

from telstate_backends.errors import TelstateError
from telstate_backends.events import CheckDue, Deleted, Event, Update
from telstate_backends.operations.base import Operation
from telstate_backends.operations.read import Found, Read, Seek
from telstate_backends.types import TYPE_NAMES, Immutable, KeyType

Result = TypeVar("Result")

_IMMUTABLE = TYPE_NAMES[KeyType.IMMUTABLE]


class _State(enum.Enum):
    UNKNOWN = 1  # watched, or to be watched
    ABSENT = 2


class Asking:
    """A read that is under way.

    Parameters
    ----------
    keys : sequence of bytes
        Its candidate keys.
    covered : int
        How many of them, from the first, were watched before it began.
    began : float
        When it began.
    """

    __slots__ = ("began", "covered", "keys", "spoiled")

    def __init__(self, keys: Sequence[bytes], covered: int, began: float) -> None:
        self.keys = keys
        self.covered = covered
        self.began = began
        #: Whether something was told of these keys since it began.
        self.spoiled = False


@attrs.frozen
class Errand:
    """What is left of a batch of reads after those that are known.

    Attributes
    ----------
    results : list
        A result for each operation; those in `places` are still to come.
    operations : list of Operation
        What is to be sent.
    places : list of (int, Read or None, Asking or None)
        For each of `operations`, the place of its result, and if it can be learned from, the read
        for which it stands and what was known when it was sent.
    """

    results: list[Any]
    operations: list[Operation[Any]]
    places: list[tuple[int, Read[Any] | None, Asking | None]]


class Facts:
    """What is known of some keys.

    Parameters
    ----------
    size : int
        Of how many keys at most, those that are known not to exist included.
    max_bytes : int
        How many bytes of keys and values to keep at most.
    max_age : float
        For how many seconds to rely on what a read brought, even if nothing is told of it.
    clock : callable
        Where the time comes from; tests put in their own.
    """

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
        #: How many bytes of keys and values are kept.
        self.weight = 0
        #: When the reads began by which something is known.
        self._since: dict[bytes, float] = {}
        #: All watched keys, the least recently used first.
        self._states: OrderedDict[bytes, Found | _State] = OrderedDict()
        self._asking: dict[bytes, list[Asking]] = {}
        # Ordered sets of what is still to be told to the watcher.
        self._joining: dict[bytes, None] = {}
        self._leaving: dict[bytes, None] = {}

    @property
    def keys(self) -> list[bytes]:
        """All keys that are watched, or to be watched."""
        return list(self._states)

    def recall(self, read: Read[Result]) -> Result | None:
        """Give the answer if it follows from what is known, else `None`."""
        states, since = self._states, self._since
        oldest = self._clock() - self._max_age
        keys = read.keys
        for place, key in enumerate(keys):
            state = states.get(key, _State.UNKNOWN)
            if state is _State.UNKNOWN or since[key] < oldest:
                return None
            if type(state) is Found:
                if read.whole and state.contents is None:
                    return None
                for used in keys[: place + 1]:
                    states.move_to_end(used)
                return read.answer(state)
        return None

    def ask(self, keys: Sequence[bytes], covers: Callable[[Sequence[bytes]], bool]) -> Asking:
        """Take note that a read begins; `learn` or `give_up` must follow.

        Parameters
        ----------
        keys : sequence of bytes
            Its candidate keys.
        covers : callable
            Tells whether the watcher hears of keys.
        """
        covered = 0
        while covered < len(keys) and keys[covered] in self._states:
            covered += 1
        if covered == 0 or not covers(keys[:covered]):
            return Asking(keys, 0, 0.0)
        asking = Asking(keys, covered, self._clock())
        for key in keys[:covered]:
            self._asking.setdefault(key, []).append(asking)
        return asking

    def give_up(self, asking: Asking) -> None:
        """Take note that a read ended without an answer."""
        for key in asking.keys[: asking.covered]:
            others = self._asking.get(key)
            if others is not None:
                others.remove(asking)
                if not others:
                    del self._asking[key]

    def learn(self, asking: Asking, found: Found | None) -> None:
        """Keep what a read brought, if that is sound, or have its keys watched for the next."""
        self.give_up(asking)
        keys = asking.keys if found is None else asking.keys[: asking.keys.index(found.key)]
        seen: list[tuple[bytes, Found | _State]] = [(key, _State.ABSENT) for key in keys]
        wanted = False
        if found is not None:
            seen.append((found.key, found))
            wanted = found.redis_type == _IMMUTABLE and len(seen) <= self._size
            wanted = wanted and _weight(found) <= self._max_bytes
        sound = wanted and not asking.spoiled and len(seen) <= asking.covered
        for key, state in seen:
            self._compare(key, state, asking.began if sound else None)
        if wanted and not sound:
            for key, _ in seen:
                self._join(key)
        elif found is not None and not wanted:
            self._leave(found.key)
        self._shrink()

    def hear(self, event: Event) -> None:
        """Take note of what a watcher tells."""
        if isinstance(event, Update) and event.kind is not KeyType.IMMUTABLE:
            self._doubt(event.key)
            self._leave(event.key)  # it may be a sensor, with a sample every second
        elif isinstance(event, (Update, Deleted)):
            self._doubt(event.key)
        elif event is not CheckDue.SUBSCRIBED:
            self.forget_all()

    def forget(self, operations: Iterable[Operation[Any]]) -> None:
        """Take note that these operations may have changed what they write.

        What reads all of one key (Export, say) is not compared with what is known, and may have
        given something newer: then that is read again.
        """
        for operation in operations:
            key: bytes | None = getattr(operation, "key", None)
            keys: Sequence[bytes] | None = getattr(operation, "keys", None)
            if key is not None:
                self._doubt(key)
            elif not operation.writes:
                continue
            elif keys is not None:
                for each in keys:
                    self._doubt(each)
            else:
                self.forget_all()

    def forget_all(self) -> None:
        """Take note that anything may have changed."""
        for key in self._states:
            self._states[key] = _State.UNKNOWN
        for askings in self._asking.values():
            for asking in askings:
                asking.spoiled = True
        self._since.clear()
        self.weight = 0

    @property
    def has_orders(self) -> bool:
        """Whether the watcher is to watch more or less than it does."""
        return bool(self._joining or self._leaving)

    def rejoin(self) -> None:
        """Take note that there is a new watcher, which watches nothing so far."""
        self._joining = dict.fromkeys(self._states)
        self._leaving.clear()

    def orders(self) -> tuple[list[bytes], list[bytes]]:
        """Give the keys to be watched and to be watched no more since this was last asked."""
        joining, leaving = list(self._joining), list(self._leaving)
        self._joining.clear()
        self._leaving.clear()
        return joining, leaving

    def plan(
        self,
        operations: Sequence[Operation[Any]],
        live: bool,
        covers: Callable[[Sequence[bytes]], bool],
    ) -> Errand:
        """Answer what is known of a batch, if what is known holds at all."""
        errand = Errand([None] * len(operations), [], [])
        for place, operation in enumerate(operations):
            if not isinstance(operation, Read):
                errand.operations.append(operation)
                errand.places.append((place, None, None))
                continue
            answer = self.recall(operation) if live else None
            if answer is not None:
                errand.results[place] = answer
                continue
            errand.operations.append(Seek(operation.keys, operation.whole))
            errand.places.append((place, operation, self.ask(operation.keys, covers)))
        return errand

    def settle(self, errand: Errand, replies: Sequence[Any] | None) -> list[Any]:
        """Learn from the replies to a batch, `None` if it failed, and give all results."""
        for number, (place, read, asking) in enumerate(errand.places):
            reply = None if replies is None else replies[number]
            if asking is None or read is None:
                errand.results[place] = reply
            elif replies is None or isinstance(reply, BaseException):
                self.give_up(asking)
                errand.results[place] = reply
            else:
                self.learn(asking, reply)
                try:
                    errand.results[place] = read.answer(reply)
                except TelstateError as error:
                    errand.results[place] = error
        return errand.results

    def _compare(self, key: bytes, seen: Found | _State, since: float | None) -> None:
        """Keep what was seen of a key, if it is sound since some time and contradicts nothing."""
        known = self._states.get(key, _State.UNKNOWN)
        if known is not _State.UNKNOWN and not _agree(known, seen):
            self._doubt(key)
        elif since is not None:
            self._put(key, _fuller(known, seen), since)
        elif known is _State.UNKNOWN:
            self._doubt(key)

    def _put(self, key: bytes, state: Found | _State, since: float) -> None:
        self.weight += _weight(state) - _weight(self._states[key])
        self._states[key] = state
        self._states.move_to_end(key)
        self._since[key] = since

    def _doubt(self, key: bytes) -> None:
        """Know nothing of a key; reads of it that are under way are not to be relied on."""
        for asking in self._asking.get(key, ()):
            asking.spoiled = True
        if key in self._states:
            self.weight -= _weight(self._states[key])
            self._states[key] = _State.UNKNOWN
            self._since.pop(key, None)

    def _join(self, key: bytes) -> None:
        if key in self._states:
            self._states.move_to_end(key)
            return
        self._states[key] = _State.UNKNOWN
        if key in self._leaving:
            del self._leaving[key]
        else:
            self._joining[key] = None

    def _leave(self, key: bytes) -> None:
        if key not in self._states:
            return
        self._doubt(key)
        del self._states[key]
        if key in self._joining:
            del self._joining[key]
        else:
            self._leaving[key] = None

    def _shrink(self) -> None:
        while len(self._states) > self._size or self.weight > self._max_bytes:
            self._leave(next(iter(self._states)))


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


def _fuller(known: Found | _State, seen: Found | _State) -> Found | _State:
    """Give that of two that agree which tells more."""
    return known if type(seen) is Found and seen.contents is None and type(known) is Found else seen
