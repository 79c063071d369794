"""Events that wait for a slow reader, in bounded memory.

Rules: when there are too many changes, or too many bytes of them, further ones are dropped, and a
check is due once the reader has come as far: whatever was dropped is in the store by then. That a
check is due is never dropped.
"""

from __future__ import annotations

from collections import deque

from telstate_backends.updates import CheckDue, Deleted, Event, Update

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
