"""The command, which shows what is in a snapshot, and whether it is sound.

The result goes to standard output, progress and messages go to standard error. The exit status is 0 if the
file is sound and 1 if it is not. Any other error (wrong usage, a full disk, a closed standard input) is one
line and status 2.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Literal, NoReturn, TextIO

from telstate_rdb import _source
from telstate_rdb.errors import RdbParseError
from telstate_rdb.globs import Glob
from telstate_rdb.printable import escape_path
from telstate_rdb.reader import read_rdb
from telstate_rdb.summary import KeySize, Summary, as_json, show, summarise

try:
    import click
    from rich.console import Console
    from rich.markup import escape as escape_markup
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table
except ModuleNotFoundError as error:
    raise ImportError(
        f"The command needs {(error.name or '').partition('.')[0]}. Install it with: "
        "pip install 'telstate-rdb[cli]'"
    ) from error

PROGRESS_FROM = 1 << 24
"""The size in bytes from which a file gets a progress bar, on a terminal."""

SOUND, NOT_SOUND, FAILED = range(3)
"""The exit statuses."""

_VERDICTS: dict[str, str] = {
    "none": "yes, as far as can be told without a checksum (this version has none)",
    "not computed": "yes, as far as can be told without a checksum (it was not computed)",
}
_UNITS = {"s": 1, "ms": 1000}  # in a second


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telstate-rdb", prog_name="telstate-rdb")
@click.argument("file", type=click.Path())
@click.option("--json", "print_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--keys", metavar="GLOB", help="List and count only the keys that match.")
def main(file: str, print_json: bool, keys: str | None) -> None:
    """Show what is in a Redis or Valkey snapshot (RDB file), and whether it is sound.

    FILE is its name, or - for standard input. The whole file is read and every value is validated,
    whichever keys are listed. The exit status is 0 if the file is sound, 1 if it is not, and 2 if
    something else went wrong.

    \b
    Examples:
      python -m telstate_rdb dump.rdb
      python -m telstate_rdb dump.rdb --keys 'user:*' --json
    """
    exact = "standard input" if file == "-" else file
    name = escape_path(exact)
    matches = None if keys is None else Glob(os.fsencode(keys)).matches
    try:
        with _show_progress(Console(stderr=True), file) as progress, _open_file(file) as opened:
            reader = read_rdb(
                opened, strict=False, raw=True, auxiliary=True, progress=progress, name=name
            )
            summary = summarise(reader, matches)
    except RdbParseError as error:
        _end(NOT_SOUND, "", str(error))
    except OSError as error:
        _end(FAILED, "", f"{name} cannot be read: {error.strerror or error}.")
    except KeyboardInterrupt:
        _end(FAILED, "", "Interrupted before the end of the file.")
    text = (
        json.dumps(as_json(summary, exact), indent=2)
        if print_json
        else _format_summary(summary, name)
    )
    messages = []
    for loss in summary.losses:
        key = "" if loss.key is None else f", key {show(loss.key)}"
        size = "the rest" if loss.size is None else f"{loss.size} bytes"
        messages.append(f"{name}, byte {loss.offset}{key}: {loss.reason} ({size} not used)")
    _end(SOUND if summary.sound else NOT_SOUND, text, *messages)


def _end(status: int, text: str, *messages: str) -> NoReturn:
    """Print the result and the messages, and exit; a full disk changes the status, a closed pipe does not."""
    if text:
        try:
            _write(sys.stdout, text)
        except OSError as error:
            _discard_output(sys.stdout)
            if not isinstance(error, BrokenPipeError):
                reason = error.strerror or error
                status, messages = FAILED, (f"The summary cannot be written: {reason}.",)
    try:
        for message in messages:
            _write(sys.stderr, message)
    except OSError:  # the status says it
        _discard_output(sys.stderr)
    sys.exit(status)


def _write(stream: TextIO | None, text: str) -> None:
    """Write a line at once; escape the characters that the encoding does not have."""
    if stream is not None:  # None if it was closed before the start
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def _discard_output(stream: TextIO) -> None:
    """Keep Python from writing again, when it exits, what could not be written."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def _open_file(file: str) -> Iterator[_source.BinaryReader]:
    """Open a file, or standard input."""
    if file == "-" and sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    with nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as opened:
        yield opened


@contextmanager
def _show_progress(console: Console, file: str) -> Iterator[_source.Progress | None]:
    """Show a progress bar for a large file on a terminal; yield the function to call with the progress."""
    if not console.is_terminal or file == "-" or os.path.getsize(file) < PROGRESS_FROM:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(
            escape_markup(escape_path(os.path.basename(file))), total=os.path.getsize(file)
        )
        yield lambda done, _: bar.update(task, completed=done)


def _format_summary(summary: Summary, name: str) -> str:
    """Format a summary for people."""
    total = summary.total
    created = summary.facts.get("ctime")
    facts = [
        ("file", name),
        ("format", summary.format),
        ("written by", summary.server),
        ("created", "not said" if created is None else _format_time(created, "s")),
        ("checksum", summary.checksum),
        ("sound", _VERDICTS.get(summary.checksum, "yes") if summary.sound else "NO"),
        ("keys", f"{total.keys:,} of {total.size:,} bytes"),
        ("function libraries", str(summary.functions)),
    ]
    lines = [f"{fact:18} {text}" for fact, text in facts]
    if summary.shares:
        table = _make_table("database", "type", "keys", "bytes")
        for (database, kind), share in sorted(summary.shares.items()):
            table.add_row(str(database), kind, f"{share.keys:,}", f"{share.size:,}")
        output = Console()
        written = io.StringIO()  # so that writing can fail in one place only
        Console(file=written, width=output.width, force_terminal=output.is_terminal).print(table)
        lines.append(written.getvalue())
    if summary.listed == []:
        lines += ["", "No key matches."]
    elif summary.shares:
        lines.append("biggest keys:" if summary.listed is None else "keys:")
        lines += map(_format_key, summary.biggest if summary.listed is None else summary.listed)
    return "\n".join(lines)


def _format_key(entry: KeySize) -> str:
    """Format the line for a key."""
    expiry = f" (expires {_format_time(entry.expiry, 'ms')})" if entry.expiry is not None else ""
    place = f"{entry.database:>3} {entry.type:7}"
    return f"{entry.size:>14,} {place} {show(entry.key)}{expiry}"


def _format_time(number: str | int, unit: Literal["s", "ms"]) -> str:
    """Format a time since 1970, or return it as it is: files may contain anything.

    Examples
    --------
    >>> _format_time("1700000000", "s"), _format_time(0, "ms"), _format_time(1 << 63, "ms"), _format_time("soon", "s")
    ('2023-11-14 22:13:20 UTC', '1970-01-01 00:00:00 UTC', '9223372036854775808 ms since 1970', 'soon')
    """
    try:
        count = int(number)
    except ValueError:
        return str(number)
    try:
        return str(datetime.fromtimestamp(count / _UNITS[unit], UTC))[:19] + " UTC"
    except (ValueError, OverflowError, OSError):
        return f"{count} {unit} since 1970"


def _make_table(*columns: str) -> Table:
    """Make a table in which numbers are aligned to the right."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column == "type" else "right")
    return table
