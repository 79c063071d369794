"""The command ``python -m telstate_rdb FILE``: what is in a snapshot, and whether it is sound.

Rules: what was asked for goes to standard output, the rest (progress, what is wrong) to standard
error; the exit status is 0 for a sound file, 1 for one that is not, 2 for a mistake of the user.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from telstate_rdb import source as reading_source
from telstate_rdb.errors import RdbParseError
from telstate_rdb.reading import read_rdb
from telstate_rdb.summary import KeySize, Summary, as_json, show, summarise

PROGRESS_FROM = 1 << 24
"""Files from this size on get a progress bar, on a terminal."""

NOT_SOUND = 1


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--json", "print_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--keys", metavar="GLOB", help="List and count only the keys that match.")
def main(file: str, print_json: bool, keys: str | None) -> None:
    """Say what is in a Redis or Valkey snapshot (RDB file), and whether it is sound.

    FILE is its name, or - for standard input. The whole file is read and every value looked at;
    the exit status is 0 if all is well, 1 if not.
    """
    name = "standard input" if file == "-" else file
    try:
        with _progress(Console(stderr=True), file) as progress, _opened(file) as opened:
            reader = read_rdb(
                opened,
                strict=False,
                raw=True,
                auxiliary=True,
                keys=keys,
                progress=progress,
                name=name,
            )
            summary = summarise(reader, list_keys=keys is not None)
    except (RdbParseError, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_SOUND)
    if print_json:
        click.echo(json.dumps(as_json(summary, name), indent=2))
    else:
        _print(summary, name)
    for loss in summary.losses:
        key = "" if loss.key is None else f", key {show(loss.key)}"
        size = "the rest" if loss.size is None else f"{loss.size} bytes"
        click.echo(f"{name}, byte {loss.offset}{key}: {loss.reason} ({size} not used)", err=True)
    sys.exit(0 if summary.sound else NOT_SOUND)


@contextmanager
def _opened(file: str) -> Iterator[reading_source.BinaryReader]:
    """Open a file, or standard input."""
    with nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as opened:
        yield opened


@contextmanager
def _progress(console: Console, file: str) -> Iterator[reading_source.Progress | None]:
    """Show a bar for a large file on a terminal; give what is to be called with the progress."""
    if not console.is_terminal or file == "-" or os.path.getsize(file) < PROGRESS_FROM:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(escape(os.path.basename(file)), total=os.path.getsize(file))
        yield lambda done, _: bar.update(task, completed=done)


def _print(summary: Summary, name: str) -> None:
    """Print a summary for people."""
    total = summary.total
    facts = [
        ("file", name),
        ("format", summary.format),
        ("written by", summary.server),
        ("created", _time(summary.facts.get("ctime"))),
        ("checksum", summary.checksum),
        ("sound", "yes" if summary.sound else "NO"),
        ("keys", f"{total.keys:,} of {total.size:,} bytes"),
        ("function libraries", str(summary.functions)),
    ]
    for fact, text in facts:
        click.echo(f"{fact:18} {text}")
    if summary.shares:
        table = _table("database", "type", "keys", "bytes")
        for (database, kind), share in sorted(summary.shares.items()):
            table.add_row(str(database), kind, f"{share.keys:,}", f"{share.size:,}")
        Console().print(table)
        title = "keys" if summary.listed else "biggest keys"
        click.echo(f"\n{title}:")
        for entry in summary.listed or summary.biggest:
            click.echo(_line(entry))


def _line(entry: KeySize) -> str:
    """Give the line for a key."""
    expiry = f" (expires {_time(entry.expiry / 1000)})" if entry.expiry is not None else ""
    place = f"{entry.database:>3} {entry.type:7}"
    return f"{entry.size:>14,} {place} {show(entry.key)}{expiry}"


def _time(seconds: str | float | None) -> str:
    """Give a time in words; files may say anything."""
    try:
        return str(datetime.fromtimestamp(float(seconds or "nan"), UTC))[:19] + " UTC"
    except (ValueError, OverflowError, OSError):
        return "not said" if seconds is None else str(seconds)


def _table(*columns: str) -> Table:
    """Make a table; numbers stand to the right."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == "type" else "right")
    return table


if __name__ == "__main__":
    main(prog_name="python -m telstate_rdb")
