"""The commands that look at a store: info, ls and get."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import groupby
from typing import Any

import attrs
import click

from telstate._calls.common import escape_glob, is_glob
from telstate._suggest import find_similar, format_suggestion
from telstate._summaries import count_of, describe_value, natural, pattern_of, summarise_keys
from telstate._texts import format_value, has_more_items, pretty_value, show_time
from telstate._tree import arrange, walk
from telstate.cli._store import (
    Opened,
    StoreArgument,
    globs_argument,
    key_argument,
    store_argument,
)
from telstate.cli._times import CommandTime, parse_time, resolve_time, unix_option
from telstate.cli._values import parse_value, unread_error, verdict_of
from telstate.errors import MissingKeyError
from telstate.overview import (
    KeySummary,
    StoreSummary,
    describe_snapshot,
    describe_store,
    time_of,
)
from telstate.telescope_state import TelescopeState
from telstate_backends import Keys, KeyType, RdbParseError
from telstate_codec import DecodeError, encode_key
from telstate_codec.json_form import value_to_json
from telstate_codec.printable import escape
from telstate_rdb.cli.group import NO, YES, print_message
from telstate_rdb.cli.output import (
    Column,
    Output,
    json_option,
    print_facts,
    print_json,
    print_rows,
    print_to,
)

# How many rows and lines are printed on a terminal, unless --limit says otherwise.
_LIMIT = 1000
# What is left on a terminal for the name (or, where there is little room, less), for the value, and for the value
# with its type before it.
_LEAST_NAMES = (28, 20)
_LEAST_VALUE, _LEAST_TYPED_VALUE = 12, 26
_TIME_LENGTH = len("2026-11-30 12:00:00")
# A value that has more items, and items of items, is not printed.
_MAX_ITEMS = 1_000_000
# From this many numbered names on, info shows the first and the last.
_MIN_RUN = 3
# So many characters of a name that is not there are looked for in others.
_LEAST_PART = 4
# What info shows that has numbers and no names.
_NUMBERS = frozenset({"verdict", "databases", "keys", "samples", "bytes"})

_KINDS = [kind.name.lower() for kind in KeyType]
_SORTS = {
    "name": None,
    "size": lambda key: key.size or 0,
    "samples": lambda key: key.count if key.kind is KeyType.MUTABLE else 0,
    "last": lambda key: -1.0 if key.last is None else key.last,
}
_COLUMNS = {
    "key": Column("key", "name"),
    "kind": Column("kind"),
    "count": Column("count", "number"),
    "bytes": Column("bytes", "number"),
    "first": Column("first"),
    "last": Column("last"),
    "type": Column("type"),
    "value": Column("value", "value"),
}


# -------------------------------------------------------------------------------------------- info


@click.command()
@store_argument
@json_option
@unix_option
@print_to
def info(store: StoreArgument, as_json: bool, as_unix: bool, output: Output) -> int:
    """Show what a store is, and sums of what it holds.

    Server and version; of a file also whether it is sound; time span, keys by kind, samples, bytes, databases,
    capture blocks, streams, antennas, pickles, and the biggest keys. Of a damaged file, what can be read is shown,
    and the exit status is 1.

    \b
    Examples:
      telstate info obs.rdb
      telstate info localhost:6379 --json
    """
    if store.is_file:
        try:
            with store.open_source() as (source, progress):
                summary = describe_snapshot(source, store.database, progress)
        except RdbParseError as error:
            print_message(str(error))
            return NO
    else:
        with store.open() as opened:
            summary = describe_store(opened.ts)
    if as_json:
        print_json(output, _summary_to_json(store.name, summary, as_unix))
    else:
        facts = _facts(store.name, summary, as_unix)
        if not output.is_terminal:
            facts = ((name, _plain(text) if name in _NUMBERS else text) for name, text in facts)
        print_facts(output, facts)
        if summary.biggest:
            output.write("\nbiggest keys\n")
            columns = [_COLUMNS[name] for name in ("bytes", "kind", "count", "type", "key")]
            rows = [_row(key, str) for key in summary.biggest]
            cells = ([row[column.name] for column in columns] for row in rows)
            print_rows(output, "table", columns, cells)
    output.flush()
    snapshot = summary.snapshot
    if snapshot is None or snapshot.sound:
        return YES
    for problem in snapshot.problems:
        print_message(f"{store.name}, {problem}")
    return NO


def _facts(name: str, summary: StoreSummary, as_unix: bool) -> Iterator[tuple[str, str]]:
    """Return what `info` shows above the biggest keys."""
    snapshot = summary.snapshot
    if snapshot is None:
        yield "store", name
        yield "server", summary.server or "not said"
    else:
        yield "file", name
        yield "format", snapshot.format
        yield "written by", snapshot.server or "not said"
        created = show_time(snapshot.created, as_unix)
        yield "created", "not said" if created is None else str(created)
        yield "checksum", snapshot.checksum
        yield "verdict", verdict_of(len(snapshot.problems))
        databases = (f"{number} ({count_of(n, 'key')})" for number, n in snapshot.databases.items())
        yield "databases", ", ".join(databases) or "none"
        if snapshot.collisions:
            common = count_of(len(snapshot.collisions), "key")
            yield "", f"{common} in several of them, such as {escape(snapshot.collisions[0])}: choose with --db"
        reasons: dict[str, list[str]] = {}
        for key, reason in snapshot.left_out.items():
            reasons.setdefault(reason, []).append(key)
        for reason, keys in reasons.items():
            yield "left out", f"{count_of(len(keys), 'key')} with {reason}, such as {escape(keys[0])}"
    total = sum(summary.keys.values())
    kinds = ", ".join(f"{summary.keys.get(kind, 0):,} {_name(kind)}" for kind in KeyType)
    yield "keys", f"{total:,}: {kinds}"
    yield "samples", f"{summary.samples:,}"
    size = f"{summary.size:,} of values"
    yield "bytes", size if snapshot is None else f"{snapshot.size:,} in the file"
    yield "time span", _span(summary, as_unix)
    yield "capture blocks", _list(summary.capture_blocks)
    yield "streams", _list(summary.streams)
    yield "antennas", _list(summary.antennas)
    pickles = summary.pickles
    # Of a sensor or an indexed key, only one value has been looked at.
    is_partial = any(kind is not KeyType.IMMUTABLE for kind in summary.keys)
    count = "none among the latest values" if is_partial else "none"
    if pickles:
        least = "at least " if is_partial else ""
        count = f"{least}{count_of(len(pickles), 'key')}, such as {escape(pickles[0])}"
    yield "pickles", count


def _plain(text: str) -> str:
    """Return a text with numbers as programs print them, without separators of thousands."""
    return re.sub(r"(?<=\d),(?=\d)", "", text)


def _list(names: Sequence[str]) -> str:
    """Return names as text; numbered ones as the first and the last."""
    shown = []
    for pattern, some in groupby(names, pattern_of):
        group = [escape(name) for name in some]
        is_run = pattern != group[0] and len(group) >= _MIN_RUN
        shown += [f"{group[0]} ... {group[-1]} ({len(group):,})"] if is_run else group
    return ", ".join(shown) or "none"


def _span(summary: StoreSummary, as_unix: bool) -> str:
    if summary.first is None or summary.last is None:
        return "none"
    seconds = summary.last - summary.first
    try:
        span = str(timedelta(seconds=round(seconds)))
    except OverflowError:
        span = f"{seconds:g} s"
    first, last = (show_time(time, as_unix) for time in (summary.first, summary.last))
    return f"{first} to {last} ({span})"


def _summary_to_json(name: str, summary: StoreSummary, as_unix: bool) -> dict[str, Any]:
    """Return a summary in the types of JSON."""
    snapshot = summary.snapshot
    content: dict[str, Any] = {"store": name, "server": summary.server}
    if snapshot is not None:
        content |= attrs.asdict(snapshot) | {"sound": snapshot.sound}
        content["created"] = show_time(snapshot.created, as_unix)
    return content | {
        "keys": {_name(kind): summary.keys.get(kind, 0) for kind in KeyType},
        "samples": summary.samples,
        "value_bytes": summary.size,
        "first": show_time(summary.first, as_unix),
        "last": show_time(summary.last, as_unix),
        "capture_blocks": summary.capture_blocks,
        "streams": summary.streams,
        "antennas": summary.antennas,
        "pickles": summary.pickles,
        "biggest": [{"key": key.name, "bytes": key.size} for key in summary.biggest],
    }


# ---------------------------------------------------------------------------------------------- ls


@click.command()
@store_argument
@globs_argument
@click.option("--tree", "as_tree", is_flag=True, help="Draw a tree; what looks alike is one line.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Levels of the tree to draw.")
@click.option("--kind", type=click.Choice(_KINDS), help="Only keys of this kind.")
@click.option(
    "--sort", type=click.Choice(list(_SORTS)), default="name", help="Others than name: most first."
)
@click.option(
    "--limit",
    type=click.IntRange(0),
    metavar="N",
    help=f"Print N keys or lines, 0 for all. Default: {_LIMIT} on a terminal, otherwise all.",
)
@json_option
@unix_option
@print_to
def ls(
    store: StoreArgument,
    globs: tuple[str, ...],
    as_tree: bool,
    depth: int | None,
    kind: str | None,
    sort: str,
    limit: int | None,
    as_json: bool,
    as_unix: bool,
    output: Output,
) -> int:
    """List keys: kind, samples and their times, type and value.

    Globs match full names, or names in the views. The count is of samples or sub-keys. On a terminal, values are cut,
    names are folded, and columns for which there is no room are left out. The exit status is 1 if a glob matches nothing.

    \b
    Examples:
      telstate ls obs.rdb --tree
      telstate ls obs.rdb '*target*' --kind mutable
      telstate ls localhost:6379 --sort size --limit 10
    """
    if depth is not None and not as_tree:
        raise click.UsageError("--depth is for --tree.")
    is_short = limit is None and output.is_terminal and not as_json
    if limit is None:
        limit = _LIMIT if is_short else 0
    patterns = _patterns(store.prefixes, globs)
    with store.open(keys=patterns or None) as opened:
        summaries, unmatched = _select(opened, store.prefixes, globs, patterns)
    if unmatched:
        _print_unmatched(store, unmatched)
    if kind is not None:
        summaries = [key for key in summaries if key.kind.name.lower() == kind]
    measure = _SORTS[sort]
    if measure is not None:
        summaries.sort(key=measure, reverse=True)
    if as_tree and not as_json:
        _print_tree(output, summaries, opened.name, depth, limit or None)
    else:
        shown = summaries[:limit] if limit else summaries
        _print_keys(output, shown, sort, as_json, as_unix)
        if is_short and len(shown) < len(summaries):
            output.flush()
            rest = f"{len(summaries) - len(shown):,} more keys"
            print_message(f"{rest}: --limit 0 shows all, --tree and globs show what there is.")
    if any(key.type == "pickle" for key in summaries):
        output.flush()
        print_message("Pickles are not read. --allow-pickle safe reads those that are plain data.")
    return NO if unmatched else YES


def _patterns(prefixes: Sequence[str], globs: Sequence[str]) -> list[str]:
    """Return the globs of full names that are asked for; none stands for all keys."""
    own = [prefix for prefix in prefixes if prefix]
    if not globs:
        return [f"{escape_glob(prefix)}*" for prefix in own]
    return [*globs, *(escape_glob(prefix) + glob for prefix in own for glob in globs)]


def _select(
    opened: Opened, prefixes: Sequence[str], globs: Sequence[str], patterns: Sequence[str]
) -> tuple[list[KeySummary], list[str]]:
    """Return the summaries of keys that match, in the order of the view, and the globs that match nothing."""
    backend = opened.ts.backend
    found: set[bytes] = set()
    matched = {}
    for pattern in patterns or ["*"]:
        keys = [encode_key(pattern)]  # also a glob may be the name of a key
        if is_glob(pattern):
            matching = backend.execute(Keys(encode_key(pattern)))
            keys += matching
        matched[pattern] = keys
        found.update(keys)
    summaries = summarise_keys(opened.ts, sorted(found))
    existing = {encode_key(key.name) for key in summaries}
    unmatched = [
        glob
        for glob in globs
        if not any(existing.intersection(matched[one]) for one in _patterns(prefixes, [glob]))
    ]
    own = [prefix for prefix in prefixes if prefix]
    summaries.sort(
        key=lambda key: next((i for i, one in enumerate(own) if key.name.startswith(one)), len(own))
    )
    return summaries, unmatched


def _suggest(similar: Iterable[str]) -> str:
    return format_suggestion([repr(escape(name)) for name in similar])


def _print_unmatched(store: StoreArgument, globs: Iterable[str]) -> None:
    """Print which globs match nothing, and for names the similar ones."""
    names: list[str] = []
    if not store.is_read_once:
        with store.open() as opened:
            names = opened.ts.keys()
    for glob in globs:
        is_name = not is_glob(glob)
        similar = find_similar(glob, names) if is_name else []
        hint = _suggest(similar)
        hint = hint or _containing(glob.strip("*"), names, _LEAST_PART if is_name else len(glob))
        print_message(f"No key of {store.name} matches {escape(glob)!r}{hint or '.'}")


def _containing(part: str, names: Sequence[str], least: int) -> str:
    """Return a hint at the names that contain a part of a name, or its beginning, in any case."""
    for length in range(len(part), min(least, len(part)) - 1, -1):
        some = part[:length].lower()
        found = [name for name in names if some in name.lower()] if some else []
        if found:
            start = found[0].lower().index(some)
            glob = f"*{found[0][start : start + length]}*"
            return f"; try {escape(glob)!r}, for names such as {escape(found[0])!r}."
    return ""


def _print_keys(
    output: Output, keys: Sequence[KeySummary], sort: str, as_json: bool, as_unix: bool
) -> None:
    """Print one key a row."""
    columns = list(_COLUMNS.values())
    if output.is_terminal and not as_json:
        columns, rows = _fit(output, keys, sort, as_unix)
    else:
        rows = [_row(key, lambda moment: show_time(moment, as_unix)) for key in keys]
    cells = ([row[column.name] for column in columns] for row in rows)
    print_rows(output, "json" if as_json else "table", columns, cells)


def _row(key: KeySummary, show: Any) -> dict[str, Any]:
    return {
        "key": key.name,
        "kind": key.kind.name.lower(),
        "count": key.count,
        "bytes": key.size,
        "first": show(key.first),
        "last": show(key.last),
        "type": key.type,
        "value": key.value,
    }


def _fit(
    output: Output, keys: Sequence[KeySummary], sort: str, as_unix: bool
) -> tuple[list[Column], list[dict[str, Any]]]:
    """Return the columns and rows for which a terminal has room, and print the day of all times."""
    day = "" if as_unix else _common_day(keys)
    rows = [_row(key, lambda moment: _short_time(moment, day, as_unix)) for key in keys]
    widths = {
        name: max([len(name), *(len(column.pretty(row[name])) for row in rows)])
        for name, column in _COLUMNS.items()
    }
    widest_type = max((len(key.shown_type) for key in keys), default=0)
    layouts = list(_layouts(widths, widest_type, sort))
    needed = [sum(least[name] + 2 for name in names) - 2 for names, least in layouts]
    fitting = (layout for layout, size in zip(layouts, needed) if size <= output.width)
    names, least = next(fitting, layouts[-1])
    for key, row in zip(keys, rows):
        if "type" not in names:
            row["value"] = f"{key.shown_type}  {key.value}".strip()
        if least["last"] < widths["last"]:
            row |= {name: _without_seconds(row[name]) for name in ("first", "last")}
    if day and "last" in names:
        output.write(f"Times are UTC, of {day}.\n\n")
    return [attrs.evolve(_COLUMNS[name], least=least[name]) for name in names], rows


def _layouts(
    widths: dict[str, int], widest_type: int, sort: str
) -> Iterator[tuple[list[str], dict[str, int]]]:
    """Yield the columns to show with their least widths, those that show most first.

    First the value gives way, then the column of types, which are put before the values, the seconds of times, and
    the width of names; whole columns are the last.
    """
    all_names = [name for name in _COLUMNS if name != "bytes" or sort == "size"]
    names = [name for name in all_names if name != "type"]
    value = min(widths["value"], _LEAST_VALUE)
    typed_value = max(value, min(widest_type + 2, _LEAST_TYPED_VALUE))
    brief = {name: max(len(name), widths[name] - 3) for name in ("first", "last")}
    least = widths
    for least_name in _LEAST_NAMES:
        least = widths | {"key": min(widths["key"], least_name), "value": value}
        yield all_names, least
        least = least | {"value": typed_value}
        yield names, least
        least = least | brief
        yield names, least
    keep = {"size": "bytes", "last": "last", "samples": "count"}.get(sort)
    for dropped in ("first", "kind", "last", "count"):
        names = [name for name in names if name != dropped or name == keep]
        yield names, least


def _common_day(keys: Iterable[KeySummary]) -> str:
    """Return the day of all times, if it is the same."""
    moments = {moment for key in keys for moment in (key.first, key.last) if moment is not None}
    texts = {time_of(moment) for moment in moments}
    days = {text[:10] for text in texts if len(text) == _TIME_LENGTH}
    return days.pop() if len(days) == 1 and all(len(text) == _TIME_LENGTH for text in texts) else ""


def _short_time(moment: float | None, day: str, as_unix: bool) -> str | None:
    if moment is None:
        return None
    if as_unix:
        return f"{moment:.3f}"
    return time_of(moment)[11:] if day else time_of(moment)


def _without_seconds(text: str | None) -> str | None:
    return text[:-3] if text and text[-3] == ":" else text


def _print_tree(
    output: Output, keys: Iterable[KeySummary], title: str, depth: int | None, limit: int | None
) -> None:
    output.write(_styled(output, escape(title), bold=True) + "\n")
    width = output.width if output.is_terminal else None
    for guide, node in walk(arrange(keys, depth, limit, "--limit 0 shows all")):
        room = None if width is None else max(1, width - len(guide))
        name, facts, value = node.pieces(room)
        line = _styled(output, guide, dim=True)
        line += _styled(output, name, fg="cyan" if node.key else None, bold=node.key is None)
        if facts:
            line += "  " + _styled(output, facts, fg="green" if node.key else None)
        output.write(line + (f"  {value}" if value else "") + "\n")


# --------------------------------------------------------------------------------------------- get


@click.command()
@store_argument
@key_argument
@click.argument("sub_key", required=False)
@click.option(
    "--at",
    "moment",
    callback=parse_time,
    metavar="TIME",
    help="What a sensor said then: ISO 8601 (UTC), seconds since 1970, -1h (before now, of a file before its last sample), or +1h (after the first).",
)
@click.option(
    "--raw", is_flag=True, help="Write text and bytes as they are, an array as a .npy file."
)
@json_option
@unix_option
@print_to
def get(
    store: StoreArgument,
    key: str,
    sub_key: str | None,
    moment: CommandTime | None,
    raw: bool,
    as_json: bool,
    as_unix: bool,
    output: Output,
) -> int:
    """Print the value of a key, of a sensor the latest one.

    SUB_KEY is JSON, or text; a list stands for a tuple. The exit status is 1 if there is no such key, sub-key,
    or sample.

    \b
    Examples:
      telstate get obs.rdb m000_target --at 2020-09-13T12:30
      telstate get obs.rdb 1600000000_cal_product_G --raw > gains.npy
      telstate get obs.rdb peak '["J1939-6342", 17]' --json
    """
    with _open_key(store, key) as opened:
        ts = opened.ts
        kind = ts.key_type(key)
        if kind is None:
            try:
                ts[key]
            except MissingKeyError as error:  # of a server it suggests nothing by itself
                error.suggestion = _suggest(find_similar(key, ts.keys(view=True)))
                raise
        try:
            found: tuple[Any, float | None]
            if sub_key is not None:
                found = _get_sub_key(ts, key, kind, sub_key)
            elif moment is not None:
                found = _get_at(opened, key, kind, moment)
            elif kind is KeyType.MUTABLE:
                found = _get_latest(ts, key)
            else:
                found = ts[key], None
        except DecodeError as error:
            raise _unread(ts, key, error) from error
        _print_value(output, key, kind, found, raw, as_json, as_unix)
    return YES


@contextmanager
def _open_key(store: StoreArgument, key: str) -> Iterator[Opened]:
    """Open a store with one key, or with all if there is no such key or the source can be read only once."""
    if not store.is_file or store.is_read_once:
        with store.open() as opened:
            yield opened
        return
    names = [f"{prefix}{key}" for prefix in store.prefixes]
    with store.open(keys=names) as opened:
        if key in opened.ts:
            yield opened
            return
    with store.open() as opened:
        yield opened


def _get_sub_key(ts: TelescopeState, key: str, kind: KeyType | None, text: str) -> tuple[Any, None]:
    if kind is not KeyType.INDEXED:
        raise click.UsageError(f"Key {escape(key)!r} has no sub-keys: it is {_name(kind)}.")
    missing = object()
    wanted_keys: list[Any] = [text]
    with suppress(click.UsageError):  # text that looks like JSON
        wanted_keys.insert(0, _hashable(parse_value(text)))
    for wanted in wanted_keys:
        value = ts.get_indexed(key, wanted, missing)
        if value is not missing:
            return value, None
    names = [format_value(_as_list(one)) for one in ts[key]]
    hint = _suggest(find_similar(text, names)) or f", such as {escape(names[0])!r}."
    raise MissingKeyError(f"{escape(text)!r} is not a sub-key of {escape(key)!r}{hint}")


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _as_list(value: Any) -> Any:
    """Return a sub-key as it is typed."""
    return list(map(_as_list, value)) if isinstance(value, tuple) else value


def _get_latest(ts: TelescopeState, key: str) -> tuple[Any, float]:
    samples = ts.get_range(key)
    if not samples:  # its times are NaN or infinite
        raise MissingKeyError(f"Key {escape(key)!r} has no sample with a valid time.")
    return samples[-1]


def _get_at(
    opened: Opened, key: str, kind: KeyType | None, moment: CommandTime
) -> tuple[Any, float]:
    if kind is not KeyType.MUTABLE:
        raise click.UsageError(f"Key {escape(key)!r} has no times: it is {_name(kind)}.")
    full = [f"{prefix}{key}" for prefix in opened.ts.prefixes]
    when = resolve_time(moment, opened.ts, [full])
    samples = opened.ts.get_range(key, when, when, include_previous=True, include_end=True)
    if not samples:
        all_samples = opened.ts.get_range(key, 0.0, include_previous=True)
        first = (all_samples or [_get_latest(opened.ts, key)])[0][1]
        raise MissingKeyError(
            f"Key {escape(key)!r} has no sample up to {show_time(when)}; the first is of {show_time(first)}."
        )
    return samples[-1]


def _name(kind: KeyType | None) -> str:
    return "" if kind is None else kind.name.lower()


def _unread(ts: TelescopeState, key: str, error: DecodeError) -> Exception:
    """Return the error for a value that is not read: for a pickle, with the option that may read it."""
    encoded = ts.get(key, return_encoded=True)
    values = encoded.values() if isinstance(encoded, dict) else [encoded]
    return unread_error(key, values, error)


def _print_value(
    output: Output,
    key: str,
    kind: KeyType | None,
    found: tuple[Any, float | None],
    raw: bool,
    as_json: bool,
    as_unix: bool,
) -> None:
    value, timestamp = found
    if has_more_items(value, _MAX_ITEMS):
        raise click.ClickException(
            f"Key {escape(key)!r} holds more than {_MAX_ITEMS:,} values in each other, too many to print."
        )
    moment = show_time(timestamp, as_unix)
    if raw:
        output.write_bytes(_raw(key, value))
    elif as_json:
        content: dict[str, Any] = {"key": key, "kind": _name(kind)}
        if timestamp is not None:
            content["time"] = moment
        print_json(output, {**content, "value": value_to_json(value)})
    elif kind is KeyType.INDEXED and isinstance(value, dict):
        columns = Column("sub-key", "name"), Column("value", "value")
        rows = sorted(
            ((format_value(_as_list(one)), text) for one, text in value.items()),
            key=lambda row: natural(row[0]),
        )
        show = describe_value if output.is_terminal else format_value
        print_rows(output, "table", columns, ((name, show(text)) for name, text in rows))
    elif output.is_terminal:
        lines = pretty_value(value, output.width).split("\n")
        if moment is not None:
            output.write(_styled(output, f"{moment}\n", fg="green"))
        for line in lines:
            output.write(f"{escape(line)}\n")
    else:
        output.write(f"{escape(format_value(value))}\n")


def _raw(key: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")  # a pickle may hold characters that UTF-8 lacks
    if isinstance(value, bytes):
        return value
    if type(value).__name__ == "ndarray":
        import numpy

        file = io.BytesIO()
        numpy.save(file, value, allow_pickle=False)
        return file.getvalue()
    raise click.UsageError(
        f"--raw is for text, bytes and arrays; {escape(key)!r} holds a value of type {type(value).__name__}."
    )


def _styled(output: Output, text: str, **style: Any) -> str:
    return click.style(text, **style) if output.has_colour and text else text
