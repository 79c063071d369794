"""The command that compares two files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import click

from telstate_rdb.cli._common import FILE, read_files, refuse_pipes, selection_options
from telstate_rdb.cli.group import NO, YES
from telstate_rdb.cli.output import (
    Column,
    Output,
    format_time,
    json_option,
    print_json,
    print_rows,
    print_to,
)
from telstate_rdb.diff import Difference, Side, compare_rdb
from telstate_rdb.json_form import text_to_json
from telstate_rdb.printable import escape
from telstate_rdb.selection import Selection

_COLUMNS = (
    Column("db", "number"),
    Column("difference"),
    Column("key", "name"),
    Column("detail", "name"),
)
_COUNTS = (Column("keys", "number"), Column("difference"))
_UNITS = {
    "string": "bytes",
    "hash": "fields",
    "set": "members",
    "zset": "members",
    "stream": "entries",
    "module": "bytes",
    "function library": "bytes",
}


@click.command()
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@selection_options
@click.option(
    "--full", is_flag=True, help="Print the elements that differ, too. No file may be a pipe then."
)
@click.option("--summary", is_flag=True, help="Print only the numbers of keys that differ.")
@click.option(
    "--ignore-times", is_flag=True, help="Ignore when consumers of streams were last seen."
)
@json_option
@print_to
def diff(
    before: str,
    after: str,
    selection: Selection,
    full: bool,
    summary: bool,
    ignore_times: bool,
    as_json: bool,
    output: Output,
) -> int:
    """Compare the keys, values and expiries of two files.

    Encodings, versions and the order of what has no order make no difference. The exit status is 0 if
    the files have the same content, and 1 if they differ.

    \b
    Examples:
      telstate-rdb diff monday.rdb tuesday.rdb
      telstate-rdb diff old.rdb new.rdb --keys 'user:*' --full
    """
    if before == after == "-":
        raise click.UsageError("Standard input cannot be read more than once.")
    if full:
        refuse_pipes((before, after))
    with read_files((before, after), output) as (first, second):
        found = compare_rdb(
            first["source"],
            second["source"],
            selection=selection,
            ignore_times=ignore_times,
            full=full,
            progress=(first["progress"], second["progress"]),
            names=(first["name"], second["name"]),
        )
        return _print(found, summary, as_json, output)


def _print(differences: Iterator[Difference], summary: bool, as_json: bool, output: Output) -> int:
    """Print differences; return the exit status."""
    count = 0
    if summary:
        counts = Counter(difference.what for difference in differences)
        count = counts.total()
        rows = [(number, what) for what, number in counts.items()]
        print_rows(output, "json" if as_json else "table", _COUNTS, rows)
    elif as_json:
        for difference in differences:
            count += 1
            print_json(output, _to_json(difference))
    else:
        count = print_rows(output, "table", _COLUMNS, chain.from_iterable(map(_rows, differences)))
    return NO if count else YES


def _rows(difference: Difference) -> Iterator[tuple[int | None, str, bytes, str]]:
    """Return the row of a difference, and one for each part that differs."""
    database, key = difference.database, difference.key
    yield database, difference.what, key, _detail(difference)
    for change in difference.changes:
        yield database, change.sign, key, "  ".join(map(escape, change.parts))


def _detail(difference: Difference) -> str:
    """Describe a difference in a few words."""
    before, after = difference.before, difference.after
    if before is None or after is None:
        side = before or after
        return "" if side is None else f"{side.type}, {_count(side)}"
    if difference.what == "expiry":
        return f"{_time(before.expiry)} -> {_time(after.expiry)}"
    if difference.what == "type":
        return f"{before.type} -> {after.type}"
    expiry = ""
    if before.expiry != after.expiry:
        expiry = f"; {_time(before.expiry)} -> {_time(after.expiry)}"
    if before.elements == after.elements:
        return f"{before.type}, {_count(after)}{expiry}"
    return f"{before.type}, {before.elements:,} -> {_count(after)}{expiry}"


def _count(side: Side) -> str:
    unit = _UNITS.get(side.type, "elements")
    return f"{side.elements:,} {unit if side.elements != 1 else unit.replace('ies', 'ys')[:-1]}"


def _time(expiry: int | None) -> str:
    return (
        "no expiry"
        if expiry is None
        else f"expires {format_time(expiry, 'ms', timespec='milliseconds')}"
    )


def _to_json(difference: Difference) -> dict[str, object]:
    found: dict[str, object] = {
        "db": difference.database,
        "difference": difference.what,
        "key": text_to_json(difference.key),
        "before": None if difference.before is None else difference.before._asdict(),
        "after": None if difference.after is None else difference.after._asdict(),
    }
    if difference.changes:
        found["changes"] = [
            [change.sign, *map(text_to_json, change.parts)] for change in difference.changes
        ]
    return found
