"""What a telescope state looks like at a prompt and in a notebook, and what is completed there.

Rules: nothing here raises, nothing takes long (see `asking`), and what is shown is short, however many
keys there are and however long their values. Names and values come from anybody: what could be taken for
markup is escaped, what cannot be printed is spelled out. A password is never part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from telstate.asking import NotAskable, ask
from telstate.base import TelescopeStateBase
from telstate.summaries import KeySummary, peeks, summaries_of
from telstate.views import View
from telstate_backends import AsyncBackend, Backend, ConnectionError, Count, SomeKeys, TimeoutError
from telstate_codec import decode_key, encode_key

# How many keys are looked at, and how many of them a table shows.
KEYS = 20_000
ROWS = 30
# How many characters of a name or an error are shown.
LONGEST = 120


def text(ts: TelescopeStateBase[Any]) -> str:
    """Give the plain repr: backend, number of keys, prefixes."""
    name = type(ts).__name__
    if not _is_open(ts):
        return f"<{name}, not open>"
    facts = [f"{name} on {name_of(ts.backend)}", _size(ts.backend), f"prefixes {ts.prefixes}"]
    if ts.read_only:
        facts.append("read-only")
    return f"<{', '.join(filter(None, facts))}>"


def _is_open(ts: TelescopeStateBase[Any]) -> bool:
    """Tell whether the constructor has come to its end."""
    try:
        return ts.backend is not None
    except AttributeError:
        return False


def _size(backend: object) -> str:
    """Say how many keys a store has, or what is the matter; nothing if that cannot be known."""
    try:
        (count,) = ask(backend, [Count()])
    except NotAskable:
        return ""
    except Exception as error:
        return _trouble(error)
    # Where counting is not permitted, there is a store all the same.
    return _keys(count) if isinstance(count, int) else ""


def _trouble(error: Exception) -> str:
    unreachable = isinstance(error, (ConnectionError, TimeoutError))
    return "which cannot be reached" if unreachable else "which does not list its keys"


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count:,} keys"


def name_of(backend: Backend | AsyncBackend) -> str:
    """Name a backend: what it is, and where."""
    store = backend.uncached
    name = type(store).__name__ if store is backend else f"cached {type(store).__name__}"
    return f"{name} at {store.address}" if store.address is not None else name


def html(ts: TelescopeStateBase[Any]) -> str:
    """Give what a notebook shows: backend, number of keys, prefixes, and a table of some keys."""
    if not _is_open(ts):
        return escape(text(ts))
    title = f"<b>{escape(type(ts).__name__)}</b> on {escape(name_of(ts.backend))}"
    prefixes = ", ".join(f"<code>{escape(repr(prefix))}</code>" for prefix in ts.prefixes)
    view = f"prefixes {prefixes}{', read-only' if ts.read_only else ''}"
    try:
        more, count, summaries = _look(ts)
    except NotAskable:
        hint = "<code>await ts.keys()</code> lists the keys"
        return f"<div>{title}, {view}<br>{hint}</div>"
    except Exception as error:
        problem = escape(_shortened(str(error)))
        return f"<div>{title}, {_trouble(error)}, {view}<br>{problem}</div>"
    total = f", {_keys(count)}" if count is not None else ""
    rows = "".join(_row(ts._view, summary) for summary in summaries)
    table = f"<table>{_HEAD}<tbody>{rows}</tbody></table>" if rows else ""
    rest = f"<div>{more:,} more in this view</div>" if more else ""
    if count is not None and count > KEYS:
        rest = f"<div>and more: only some {KEYS:,} keys were looked at</div>"
    return f"<div>{title}{total}, {view}{table}{rest}</div>"


def _look(ts: TelescopeStateBase[Any]) -> tuple[int, int | None, list[KeySummary]]:
    """Find how many keys are not shown, how many the store has, and what the first few hold."""
    (some,) = ask(ts.backend, [SomeKeys(KEYS)])
    if isinstance(some, BaseException):
        raise some
    seen = ts._view.in_order(map(decode_key, some))
    shown = [encode_key(key) for key in seen[:ROWS]]
    count, *glimpses = ask(ts.backend, [Count(), *peeks(shown)])
    total = count if isinstance(count, int) else None
    return len(seen) - len(shown), total, summaries_of(shown, glimpses)


_STYLE = ' style="text-align: left"'
_HEAD = f"<thead><tr><th{_STYLE}>key</th><th{_STYLE}>kind</th><th{_STYLE}>value</th></tr></thead>"


def _row(view: View, summary: KeySummary) -> str:
    prefix = next((one for one in view.prefixes if summary.name.startswith(one)), "")
    name = escape(_shortened(summary.name.removeprefix(prefix)))
    if prefix:
        name = f'<span style="opacity: 0.5">{escape(_shortened(prefix))}</span>{name}'
    cells = (name, summary.kind.name.lower(), escape(_printable(summary.extent + summary.value)))
    return f"<tr>{''.join(f'<td{_STYLE}>{cell}</td>' for cell in cells)}</tr>"


def _shortened(words: str) -> str:
    words = _printable(words)
    return words if len(words) <= LONGEST else words[: LONGEST - 3] + "..."


def _printable(words: str) -> str:
    """Spell out what cannot be printed: lone surrogates, controls, marks that turn the text round."""
    if words.isprintable():
        return words
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in words)


def completions(ts: TelescopeStateBase[Any]) -> list[str]:
    """List names that can be completed after ``ts[``: those of the view, of many keys some."""
    try:
        (some,) = ask(ts.backend, [SomeKeys(KEYS)])
        keys: Iterable[bytes] = some
        return ts._view.short_names(map(decode_key, keys))
    except Exception:  # Whoever presses a key wants no error of the network.
        return []
