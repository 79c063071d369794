"""Updates for all pages that are open: one watch of the store, however many there are.

Rules: a page has the latest value of each key that it shows and has not sent yet, so a page that is read
slowly falls behind without taking more memory. The hub watches while a page is open. Every few seconds it asks
the server for a sign of life, and now and then for the list of keys, because not all writers say what they delete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, TypeAlias

import attrs

from telstate._calls.common import escape_glob
from telstate._summaries import PREVIEW_BYTES, describe
from telstate.web._content import KINDS, digest_of
from telstate.web._reader import Reader, RequestError
from telstate_backends import (
    CancelledError,
    CheckDue,
    Cleared,
    ConnectionError,
    Count,
    Deleted,
    KeyPreview,
    KeyType,
    Peek,
    RefusedError,
    TelstateError,
    Update,
)
from telstate_backends.events import Event
from telstate_codec import DecodeError, decode_key, decode_timestamp, encode_key

MAX_STREAMS = 100
"""The most pages that are open."""

MAX_CHANGES = 1000
"""The most new and deleted keys that wait to be sent to a page, which then reads the list of keys again."""

INTERVAL = 0.2
"""Seconds between two updates of a key on a page."""

LINGER = 5.0
"""Seconds for which the store is watched without a page, because a page that shows other keys opens again."""

_CHECK_SECONDS = 2.0
_LIST_SECONDS = 30.0
_PING_SECONDS = 5.0  # how long the server may take to answer a check

Message: TypeAlias = tuple[str, dict[str, Any]]
"""The name of an event, and what is sent with it."""


@attrs.define(eq=False)
class State:
    """The latest value of a key: the beginning of its encoded form.

    Of an indexed key, an update has the sub-key that was set, and `is_any` one has any of its sub-keys.
    """

    key: bytes
    kind: KeyType
    time: float | None
    head: bytes
    size: int
    sub_key: bytes = b""
    is_any: bool = False
    _text: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is sent; its text is made once for all pages."""
        if self._text is None:
            value = describe(self.head, self.size)
            self._text = f"[{describe(self.sub_key)}] = {value}" if self.sub_key else value
        kind = KINDS[self.kind]
        return {
            "key": decode_key(self.key),
            "kind": kind,
            "time": self.time,
            "text": self._text,
            "any": self.is_any,
        }


class Page:
    """What an open page has not been sent yet."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = frozenset(keys)
        self.is_closed = False
        self._states: dict[bytes, State] = {}
        self._changes: dict[bytes, KeyType | None] = {}  # None for deleted keys
        self._must_reload = False
        self._digest: str | None = None
        self._trouble: str | None = None
        self._sent_trouble: str | None = None
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """The number of updates and changes that wait to be sent."""
        return len(self._states) + len(self._changes)

    def put(self, state: State) -> None:
        """Send the state of a key next, instead of an earlier one that waits."""
        self._states[state.key] = state
        self._wake.set()

    def change(self, key: bytes, kind: KeyType | None) -> None:
        """Send that a key is new, or with None that it was deleted."""
        if len(self._changes) >= MAX_CHANGES:
            self.reload()
        elif not self._must_reload:
            self._changes[key] = kind
        if kind is None:
            self._states.pop(key, None)
        self._wake.set()

    def reload(self) -> None:
        """Send that the list of keys must be read again."""
        self._changes.clear()
        self._must_reload = True
        self._wake.set()

    def begin(self, digest: str) -> None:
        """Send that updates arrive from now on, with what tells whether the page has the list of keys."""
        self._digest = digest
        self._wake.set()

    def report(self, trouble: str | None) -> None:
        """Send that the store is lost, or with None that it is back."""
        self._trouble = trouble
        self._wake.set()

    def close(self) -> None:
        """End the stream."""
        self.is_closed = True
        self._wake.set()

    def take(self) -> list[Message]:
        """Return what is to be sent now."""
        messages: list[Message] = []
        if self._trouble != self._sent_trouble:
            self._sent_trouble = self._trouble
            is_lost = self._trouble is not None
            messages.append(("lost", {"why": self._trouble}) if is_lost else ("regained", {}))
        if self._digest is not None:
            messages.append(("ready", {"digest": self._digest}))
            self._digest = None
        changes, self._changes = self._changes, {}
        if self._must_reload:
            self._must_reload = False
            messages.append(("keys", {"reload": True}))
        elif changes:
            added = [[decode_key(key), KINDS[kind]] for key, kind in changes.items() if kind]
            deleted = [decode_key(key) for key, kind in changes.items() if kind is None]
            messages.append(("keys", {"added": added, "deleted": deleted}))
        states, self._states = self._states, {}
        messages += [("update", state.to_json()) for state in states.values()]
        return messages

    async def messages(self) -> AsyncIterator[list[Message]]:
        """Yield what is to be sent, with a pause after each time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.is_closed:
                return
            yield self.take()
            await asyncio.sleep(INTERVAL)


class Hub:
    """The watch of a store, and the pages that are open."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pages: set[Page] = set()
        self._kinds: dict[bytes, KeyType] | None = None
        self._updates = 0  # how many have come
        self._last_update: dict[bytes, int] = {}  # of keys that pages show
        self._must_list = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        #: Why the store cannot be watched now, if that is known.
        self.trouble: str | None = None
        #: Whether the server did not answer the last check.
        self.is_lost = False

    @property
    def pages(self) -> int:
        """The number of pages that are open."""
        return len(self._pages)

    def open(self, keys: Iterable[bytes]) -> Page:
        """Open a page, which is sent the present state of its keys first."""
        if len(self._pages) >= MAX_STREAMS:
            raise RequestError(503, f"{MAX_STREAMS} pages are open, and no more can be.")
        page = Page(keys)
        self._pages.add(page)
        if self.trouble is not None:
            page.report(self.trouble)
        if not self._tasks:
            self._kinds, self._updates = None, 0
            self._must_list.set()
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._watch()), loop.create_task(self._check())]
            return page
        if self._kinds is not None:
            page.begin(digest_of(self._kinds))
        if page.keys:
            task = asyncio.get_running_loop().create_task(self._send_states([page]))
            self._tasks.append(task)
            task.add_done_callback(self._tasks.remove)
        return page

    def leave(self, page: Page) -> None:
        """Close a page; a while after the last one, the store is not watched any more."""
        page.close()
        self._pages.discard(page)
        if not self._pages:
            asyncio.get_running_loop().call_later(LINGER, self._stop_without_pages)

    async def close(self) -> None:
        """Close all pages."""
        tasks = list(self._tasks)
        for page in list(self._pages):
            self.leave(page)
        self._stop()
        if tasks:
            await asyncio.wait(tasks)

    def _stop_without_pages(self) -> None:
        if not self._pages:
            self._stop()

    def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        self._tasks = []
        self._last_update.clear()
        self.trouble, self.is_lost = None, False

    # What arrives

    async def _watch(self) -> None:
        """Take the updates of all keys until cancelled."""
        deletions = True
        while True:
            try:
                watching = self._reader.backend.watch((), self._patterns(), deletions=deletions)
                async with watching as watcher:
                    while True:
                        self._take(await watcher.next())
            except RefusedError as error:
                # The user may lack the permission for the channels of deletions.
                if not deletions:
                    self._report(f"Updates cannot be watched: {error}")
                    return
                deletions = False
            except CancelledError as error:  # the backend was closed
                self._report(str(error))
                return
            except ConnectionError as error:
                self._report(str(error))
                await asyncio.sleep(_CHECK_SECONDS)

    def _patterns(self) -> list[bytes]:
        prefixes = self._reader.prefixes or (b"",)
        return [encode_key(escape_glob(decode_key(prefix)) + "*") for prefix in prefixes]

    def _take(self, event: Event) -> None:
        if isinstance(event, Update):
            self._updates += 1
            if self._kinds is not None and self._kinds.get(event.key) is not event.kind:
                self._kinds[event.key] = event.kind
                self._change(event.key, event.kind)
            pages = [page for page in self._pages if event.key in page.keys]
            if pages:
                self._last_update[event.key] = self._updates
                head = event.value[:PREVIEW_BYTES]
                size, sub_key = len(event.value), event.sub_key or b""
                state = State(event.key, event.kind, event.timestamp, head, size, sub_key)
                for page in pages:
                    page.put(state)
        elif isinstance(event, Deleted):
            if self._kinds is None or self._kinds.pop(event.key, None) is not None:
                self._change(event.key, None)
        elif isinstance(event, Cleared):
            self._kinds = {}
            for page in self._pages:
                page.reload()
        else:
            assert isinstance(event, CheckDue)
            self._must_list.set()

    def _change(self, key: bytes, kind: KeyType | None) -> None:
        for page in self._pages:
            page.change(key, kind)

    def _report(self, trouble: str | None) -> None:
        if trouble is None and self.trouble is not None:
            self._must_list.set()  # because updates were missed
        self.trouble = trouble
        for page in self._pages:
            page.report(trouble)

    # What is asked for

    async def _check(self) -> None:
        """Ask whether the server answers, and for the list of keys when it may have changed."""
        clock = asyncio.get_running_loop().time
        listed = clock()
        while True:
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._reader.backend.execute(Count())
                self.is_lost = False
                if self.trouble is not None and not self._tasks[0].done():
                    self._report(None)
                if self._must_list.is_set() or clock() - listed >= _LIST_SECONDS:
                    self._must_list.clear()
                    listed = clock()
                    await self._list_keys()
                    await self._send_states(self._pages)
            except TimeoutError:
                self.is_lost = True
                self._report(f"The server does not answer within {_PING_SECONDS:g} s.")
                self._must_list.clear()
            except (ConnectionError, RefusedError) as error:
                self.is_lost = isinstance(error, ConnectionError)
                self._report(str(error))
                self._must_list.clear()  # it is set when the server is back
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._must_list.wait()

    async def _list_keys(self) -> None:
        """Compare the list of keys with what is known, and send what is different."""
        before = self._kinds
        found = dict(await self._reader.kinds())
        now, self._kinds = self._kinds, found
        if before is None or now is None:
            for page in self._pages:
                page.begin(digest_of(found))
            return
        for key, kind in found.items():
            if before.get(key) is not kind and now.get(key) is not kind:
                self._change(key, kind)
        for key in before.keys() - found.keys():
            if key in now:
                self._change(key, None)

    async def _send_states(self, pages: Iterable[Page]) -> None:
        """Send the present values of the keys that pages show."""
        shown = list(pages)
        keys = sorted({key for page in shown for key in page.keys})
        if not keys:
            return
        begun = self._updates
        with suppress(TelstateError):  # of the connection; it is read again when that is back
            previews = await self._reader.execute_many([Peek(key, PREVIEW_BYTES) for key in keys])
            for key, preview in zip(keys, previews):
                # What has been updated meanwhile may be newer than this.
                if isinstance(preview, KeyPreview) and self._last_update.get(key, 0) <= begun:
                    state = _state_of(key, preview)
                    for page in shown:
                        if key in page.keys and not page.is_closed:
                            page.put(state)


def _state_of(key: bytes, preview: KeyPreview) -> State:
    time = None
    with suppress(DecodeError):  # of a corrupt store
        time = None if preview.last is None else decode_timestamp(preview.last)
    is_any = preview.kind is KeyType.INDEXED
    return State(key, preview.kind, time, preview.head, preview.size, preview.sub_key, is_any)
