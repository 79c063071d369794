"""Where results go: standard output or a file, as a table, tab-separated text, CSV or JSON lines.

A table is for people and stands on a terminal only, within its width; names and values are folded if they
do not fit. Everywhere else rows are tab-separated, without a header.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, compress, islice, zip_longest
from typing import Any, Literal, TextIO, TypeVar, cast

import attrs
import click
from rich.cells import cell_len

from telstate_rdb.atomic_file import AtomicFile
from telstate_rdb.json_form import text_to_json
from telstate_rdb.printable import escape, escape_path

_BUFFER_SIZE = 1 << 16
_ROWS_FOR_WIDTHS = 500  # the rows that decide how wide the columns of a table are
_LEAST_WIDTH = 12  # of names and values, in a table
_UNITS = {"s": 1, "ms": 1000}  # in a second

Format = Literal["table", "json", "csv"]
CommandT = TypeVar("CommandT", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")

force_option = click.option("--force", is_flag=True, help="Overwrite files that exist.")


class OutputError(Exception):
    """Standard output cannot be written; `is_closed` if its reader has closed it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"The output cannot be written: {error.strerror or error}.")
        self.is_closed = isinstance(error, BrokenPipeError)


class Output:
    """Standard output, or a file that appears once it is complete."""

    def __init__(self, file: AtomicFile | None = None) -> None:
        self._file = file
        self.is_file = file is not None
        self._pieces: list[bytes] = []
        self._size = 0
        stream = sys.stdout
        self.is_terminal = file is None and stream is not None and stream.isatty()
        self._encoding = "utf-8" if file or stream is None else stream.encoding or "utf-8"
        self.has_colour = (
            self.is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        )
        self.width = shutil.get_terminal_size().columns

    def write(self, text: str) -> None:
        """Write text; escape the characters that the encoding does not have."""
        self.write_bytes(text.encode(self._encoding, "backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes; many of them are not copied."""
        if len(data) >= _BUFFER_SIZE:
            self.flush()
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _BUFFER_SIZE or self.is_terminal:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._file is not None:
            self._file.write(data)
        elif sys.stdout is not None:  # it was closed before the start
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.flush()
            except OSError as error:
                discard(sys.stdout)
                raise OutputError(error) from error


@contextmanager
def open_output(path: str | None, force: bool) -> Iterator[Output]:
    """Open standard output, or a file that must not exist unless `force` is given."""
    if path is None or path == "-":
        output = Output()
        yield output
        output.flush()
        return
    refuse_existing(path, force)
    file = AtomicFile(path)
    file.open()
    try:
        output = Output(file)
        yield output
        output.flush()
        file.commit()
    finally:
        file.discard()


def output_options(command: CommandT) -> CommandT:
    """Add the options that name the file to write; the command takes an open `output`."""

    @functools.wraps(command)
    def wrapper(*args: Any, output: str | None, force: bool, **options: Any) -> Any:
        with open_output(output, force) as opened:
            return command(*args, output=opened, force=force, **options)

    name = click.option(
        "-o", "--output", type=click.Path(dir_okay=False), help="Write to a file instead."
    )
    return cast(CommandT, name(force_option(wrapper)))


def print_to(command: CommandT) -> CommandT:
    """Open standard output for a command, which takes it as `output`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> Any:
        with open_output(None, force=False) as opened:
            return command(*args, output=opened, **options)

    return cast(CommandT, wrapper)


def refuse_existing(path: str, force: bool) -> None:
    """Raise an error if a file exists that may not be overwritten."""
    if not force and os.path.lexists(path):
        shown = escape_path(path)
        raise click.ClickException(f"{shown} exists. Use --force to overwrite it.")


def discard(stream: TextIO) -> None:
    """Keep Python from writing again, when it exits, what could not be written."""
    try:
        descriptor = stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)


@attrs.frozen
class Column:
    """A column of a table: its name in JSON and in the header, and how its values are shown.

    `kind` is "text", "number", "time" (ms since 1970, or None), "name" (text, or bytes from a file; folded where
    there is no room) or "value" (text that is cut short where there is no room, before anything else gives way).
    Names and values have at least the width `least`.
    """

    name: str
    kind: Literal["text", "number", "time", "name", "value"] = "text"
    least: int = _LEAST_WIDTH

    def plain(self, value: Any) -> str:
        """Return a value as text for programs."""
        if value is None:
            return ""
        if self.kind == "time":
            return format_time(value, "ms", "T", "Z")
        return _printable(value)

    def pretty(self, value: Any) -> str:
        """Return a value as text for people."""
        if value is None:
            return "-"
        if self.kind == "time":
            return format_time(value, "ms")
        if self.kind == "number":
            return f"{value:,}"
        return _printable(value)

    def json(self, value: Any) -> object:
        """Return a value in the types of JSON."""
        return text_to_json(value) if isinstance(value, bytes) else value


def _printable(value: Any) -> str:
    return escape(value) if isinstance(value, (bytes, str)) else str(value)


def print_rows(
    output: Output, format_: Format, columns: Sequence[Column], rows: Iterable[Sequence[Any]]
) -> int:
    """Print rows in a format; return their number."""
    if format_ == "json":
        return _print_json(output, columns, rows)
    if format_ == "csv":
        return _print_csv(output, columns, rows)
    if output.is_terminal:
        return _print_table(output, columns, rows)
    count = 0
    plain = [column.plain for column in columns]
    for row in rows:
        output.write("\t".join([text(value) for text, value in zip(plain, row)]) + "\n")
        count += 1
    return count


def print_facts(output: Output, facts: Iterable[tuple[str, str]]) -> None:
    """Print names and texts, one a line; on a terminal aligned and folded."""
    for name, text in facts:
        if output.is_terminal:
            folded = _wrap(text, max(_LEAST_WIDTH, output.width - 19))
            output.write(f"{name:18} " + f"\n{'':19}".join(folded) + "\n")
        else:
            output.write(f"{name}\t{text}\n")


def print_json(output: Output, content: object) -> None:
    """Print one line of JSON."""
    output.write(json.dumps(content) + "\n")


def _print_json(output: Output, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
    count = 0
    for row in rows:
        found = {column.name: column.json(value) for column, value in zip(columns, row)}
        print_json(output, found)
        count += 1
    return count


def _print_csv(output: Output, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow([column.name for column in columns])
    count = 0
    for row in rows:
        writer.writerow([column.plain(value) for column, value in zip(columns, row)])
        count += 1
        output.write(line.getvalue())
        line.seek(0)
        line.truncate()
    output.write(line.getvalue())
    return count


def _print_table(output: Output, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> int:
    """Print an aligned table; times are left out where there is no room for them."""
    pretty = [column.pretty for column in columns]
    texts = ([text(value) for text, value in zip(pretty, row)] for row in rows)
    first = list(islice(texts, _ROWS_FOR_WIDTHS))
    if not first:
        return 0
    first.insert(0, [column.name for column in columns])
    shown = [True] * len(columns)
    widths = [max(map(cell_len, cells)) for cells in zip(*first)]
    least = [
        min(width, column.least) if column.kind in ("name", "value") else width
        for width, column in zip(widths, columns)
    ]
    if sum(least) + 2 * (len(least) - 1) > output.width:
        shown = [column.kind != "time" for column in columns]
    columns, widths = list(compress(columns, shown)), list(compress(widths, shown))
    _narrow(widths, columns, output.width)
    count = -1
    for row in chain(first, texts):
        count += 1
        folded = [
            [_cut(text, width)] if column.kind == "value" else _wrap(text, width, "_:/. ")
            for text, width, column in zip(compress(row, shown), widths, columns)
        ]
        for line in zip_longest(*folded, fillvalue=""):
            cells = "  ".join(_align(*cell) for cell in zip(line, widths, columns)).rstrip()
            is_header = not count and output.has_colour
            output.write((click.style(cells, bold=True) if is_header else cells) + "\n")
    return count


def _narrow(widths: list[int], columns: Sequence[Column], limit: int) -> None:
    """Narrow the columns of values, and then those of names, the widest first, until a table fits."""
    excess = sum(widths) + 2 * (len(widths) - 1) - limit
    for kind in ("value", "name"):
        some = [number for number, column in enumerate(columns) if column.kind == kind]
        while excess > 0 and (wide := [n for n in some if widths[n] > columns[n].least]):
            widths[max(wide, key=widths.__getitem__)] -= 1
            excess -= 1


def _align(text: str, width: int, column: Column) -> str:
    space = " " * (width - cell_len(text))
    return space + text if column.kind == "number" else text + space


def _cut(text: str, width: int) -> str:
    """Shorten a text to at most `width` cells."""
    return text if cell_len(text) <= width else _beginning(text, width - 1) + "…"


def _wrap(text: str, width: int, separators: str = " ") -> list[str]:
    """Divide a text into lines of at most `width` cells, where possible after a space, else after a separator."""
    lines = []
    start = 0
    while len(text) - start > width or cell_len(text[start:]) > width:
        line = _beginning(text[start : start + width], width)
        end = max(text.rfind(" ", start, start + len(line) + 1) + 1 - start, 0)
        word = text[start + end :].split(" ", 1)[0]
        if not line[:end].strip() or cell_len(word) > width:  # no word is whole, or this one
            end = max(map(line.rfind, separators)) + 1
            if 2 * end < len(line):  # a line should not be short
                end = len(line)
        lines.append(line[:end].rstrip(" "))
        start += end
    return [*lines, text[start:]]


def _beginning(text: str, width: int) -> str:
    """Return as much of the beginning of a text as `width` cells hold, at least one character."""
    size = 0
    for place, character in enumerate(text):
        size += cell_len(character)
        if size > width and place:
            return text[:place]
    return text


def format_time(
    number: str | int,
    unit: Literal["s", "ms"],
    between: str = " ",
    zone: str = " UTC",
    timespec: Literal["seconds", "milliseconds"] = "seconds",
) -> str:
    """Format a time since 1970, or return it as it is: files may contain anything.

    Examples
    --------
    >>> format_time("1700000000", "s"), format_time(0, "ms"), format_time(1 << 63, "ms"), format_time("soon", "s")
    ('2023-11-14 22:13:20 UTC', '1970-01-01 00:00:00 UTC', '9223372036854775808 ms since 1970', 'soon')
    """
    try:
        count = int(number)
    except ValueError:
        return str(number)
    try:
        found = datetime.fromtimestamp(count / _UNITS[unit], UTC)
    except (ValueError, OverflowError, OSError):
        return f"{count} {unit} since 1970"
    return found.replace(tzinfo=None).isoformat(between, timespec) + zone
