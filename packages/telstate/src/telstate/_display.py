"""How a telescope state looks at a prompt and in a notebook, and what completes there.

Nothing here raises, takes long, or shows a password. Output is short however many keys there are and
however long their values. Names and values may come from anybody: markup is escaped, and characters that
cannot be printed are spelled out.
"""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias

import attrs

from telstate._summaries import KeySummary, natural, pattern_of, peek_at, shorten, summaries_of
from telstate._tree import MIN_SIMILAR
from telstate._view import View
from telstate_backends import (
    AsyncBackend,
    Backend,
    ConnectionError,
    Count,
    MemoryBackend,
    Operation,
    SomeKeys,
    TimeoutError,
)
from telstate_codec import decode_key, encode_key
from telstate_codec.printable import escape

#: How long to wait for an answer, in seconds.
TIME_LIMIT = 1.0
# How many keys are listed, and how many of them a table shows.
MAX_KEYS = 20_000
MAX_ROWS = 40
# How many characters of a name or an error are shown.
MAX_LENGTH = 120


AnyBackend: TypeAlias = Backend | AsyncBackend


class Shown(Protocol):
    """What is shown of a telescope state."""

    @property
    def backend(self) -> Backend | AsyncBackend: ...

    @property
    def prefixes(self) -> tuple[str, ...]: ...

    @property
    def read_only(self) -> bool: ...


class NotAskable(Exception):
    """The store cannot be asked without awaiting."""


def ask(backend: AnyBackend, operations: Sequence[Operation[Any]]) -> list[Any]:
    """Execute operations that only read, within `TIME_LIMIT`; errors of operations are results.

    A store in memory is asked directly, another one in a thread, which is abandoned when the time is over.
    """
    backend = backend.uncached
    if isinstance(backend, AsyncBackend):
        if backend.store is None:
            raise NotAskable
        return MemoryBackend(backend.store).execute_many(operations)
    if backend.store is not None:
        return backend.execute_many(operations)
    answers: SimpleQueue[list[Any] | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            answers.put(backend.execute_many(operations))
        except BaseException as error:  # of whatever type: it is raised below
            answers.put(error)

    threading.Thread(target=work, name="telstate display", daemon=True).start()
    try:
        answer = answers.get(timeout=TIME_LIMIT)
    except Empty:
        raise TimeoutError(f"The store did not answer within {TIME_LIMIT:g} s.") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def plain_repr(ts: Shown) -> str:
    """Return the plain representation: backend, number of keys in memory, prefixes."""
    name = type(ts).__name__
    if not _is_open(ts):
        return f"<{name}, not open>"
    facts = [f"{name} on {backend_name(ts.backend)}", _size(ts.backend), f"prefixes {ts.prefixes}"]
    if ts.read_only:
        facts.append("read-only")
    return f"<{', '.join(filter(None, facts))}>"


def html_repr(ts: Shown) -> str:
    """Return what a notebook shows: backend, number of keys, prefixes, and a table of some keys."""
    if not _is_open(ts):
        return html.escape(plain_repr(ts))
    title = f"<b>{html.escape(type(ts).__name__)}</b> on {html.escape(backend_name(ts.backend))}"
    prefixes = ", ".join(f"<code>{html.escape(repr(prefix))}</code>" for prefix in ts.prefixes)
    view = f"prefixes {prefixes}{', read-only' if ts.read_only else ''}"
    try:
        more, count, rows = _first_rows(ts)
    except NotAskable:
        hint = "<code>await ts.keys()</code> lists the keys"
        return f"<div>{title}, {view}<br>{hint}</div>"
    except Exception as error:
        problem = html.escape(_shorten(str(error)))
        return f"<div>{title}, {_describe_error(error)}, {view}<br>{problem}</div>"
    total = f", {_count_keys(count)}" if count is not None else ""
    body = "".join(_row_html(ts.prefixes, row) for row in rows)
    table = f"<table>{_HEAD}<tbody>{body}</tbody></table>" if rows else ""
    rest = f"{more:,} more in this view. " if more else ""
    if count is not None and count > MAX_KEYS:
        rest = f"And more: only {MAX_KEYS:,} keys were listed. "
    if rows:
        rest = f"<div>{rest}To search: <code>ts.keys('*target*')</code></div>"
    return f"<div>{title}{total}, {view}{table}{rest}</div>"


def completions(ts: Shown) -> list[str]:
    """Return the names that complete ``ts[``: those of the view, among some of the keys."""
    try:
        (some,) = ask(ts.backend, [SomeKeys(MAX_KEYS)])
        return View(ts.prefixes).short_names(map(decode_key, some))
    except Exception:  # an error would appear in the middle of a line that is being typed
        return []


def _is_open(ts: Shown) -> bool:
    """Return whether the constructor has finished."""
    try:
        return ts.backend is not None
    except AttributeError:
        return False


def _size(backend: AnyBackend) -> str:
    """Return how many keys a store in memory has; empty for a server, which a log line must not wait for."""
    store = backend.uncached.store
    return "" if store is None else _count_keys(MemoryBackend(store).execute(Count()))


def _describe_error(error: Exception) -> str:
    unreachable = isinstance(error, (ConnectionError, TimeoutError))
    return "which cannot be reached" if unreachable else "which does not list its keys"


def _count_keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count:,} keys"


def backend_name(backend: AnyBackend) -> str:
    store = backend.uncached
    name = type(store).__name__ if store is backend else f"cached {type(store).__name__}"
    return name if store.address is None else f"{name} at {escape(store.address)}"


@attrs.frozen
class _Row:
    """A row of the table: a key, or several whose names differ in numbers only, by the first of them."""

    summary: KeySummary
    names: Sequence[str]


def _first_rows(ts: Shown) -> tuple[int, int | None, list[_Row]]:
    """Return how many keys are not shown, how many the store has, and the first rows."""
    (some,) = ask(ts.backend, [SomeKeys(MAX_KEYS)])
    if isinstance(some, BaseException):
        raise some
    seen = View(ts.prefixes).sort(map(decode_key, some))
    groups = _fold(ts.prefixes, seen)[:MAX_ROWS]
    shown = [encode_key(names[0]) for names in groups]
    count, *key_previews = ask(ts.backend, [Count(), *peek_at(shown)])
    total = count if isinstance(count, int) else None
    found = {names[0]: names for names in groups}
    rows = [_Row(one, found[one.name]) for one in summaries_of(shown, key_previews)]
    return len(seen) - sum(map(len, groups)), total, rows


def _fold(prefixes: Sequence[str], names: Iterable[str]) -> list[list[str]]:
    """Return names in groups that look alike: those that people look for first, of each prefix."""
    groups: dict[object, list[str]] = {}
    for name in sorted(names, key=natural):
        groups.setdefault((_prefix_of(prefixes, name), pattern_of(name)), []).append(name)
    folded: list[list[str]] = []
    for group in groups.values():
        folded += [group] if len(group) >= MIN_SIMILAR else ([name] for name in group)
    return sorted(
        folded,
        key=lambda group: (
            prefixes.index(_prefix_of(prefixes, group[0])),
            _interest(group[0]),
            natural(group[0]),
        ),
    )


def _prefix_of(prefixes: Sequence[str], name: str) -> str:
    return next((one for one in prefixes if name.startswith(one)), "")


# What people look for first: targets, antennas, streams; and what they look for last.
_INTERESTS = [
    re.compile(pattern)
    for pattern in (
        r"(^|_)target$",
        r"(^|_)(activity|label)$",
        r"(^|_)[a-z]{1,2}[0-9]{3,4}_",
        r"_(stream_type|n_chans|bandwidth|center_freq|int_time|sync_time|bls_ordering)$",
    )
]
_LAST = re.compile(r"(^|_)(cal_product|cal_shared|spectral_image|sdp_task_details)_?")


def _interest(name: str) -> int:
    if _LAST.search(name):
        return len(_INTERESTS) + 1
    return next(
        (i for i, pattern in enumerate(_INTERESTS) if pattern.search(name)), len(_INTERESTS)
    )


_STYLE = ' style="text-align: left"'
_HEAD = "".join(f"<th{_STYLE}>{name}</th>" for name in ("key", "kind", "samples", "value"))
_HEAD = f"<thead><tr>{_HEAD}</tr></thead>"


def _row_html(prefixes: Sequence[str], row: _Row) -> str:
    first, last = row.names[0], row.names[-1]
    prefix = _prefix_of(prefixes, first)
    name = html.escape(_shorten(first.removeprefix(prefix)))
    if last != first:
        name += f" ... {html.escape(_shorten(last.removeprefix(prefix)))}"
        name += f" ({len(row.names):,} alike)"
    if prefix:
        name = f'<span style="opacity: 0.5">{html.escape(_shorten(prefix))}</span>{name}'
    summary = row.summary
    texts = (
        summary.kind.name.lower(),
        escape(summary.extent),
        escape(f"{summary.shown_type}  {summary.value}".strip()),
    )
    cells = (name, *map(html.escape, texts))
    return f"<tr>{''.join(f'<td{_STYLE}>{cell}</td>' for cell in cells)}</tr>"


def _shorten(words: str) -> str:
    return shorten(escape(words), MAX_LENGTH)
