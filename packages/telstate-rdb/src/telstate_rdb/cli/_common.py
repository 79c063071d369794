"""What the commands share: the options that choose keys, opening files and progress."""

from __future__ import annotations

import functools
import gzip
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar, cast, get_args

import click
from click.shell_completion import CompletionItem

from telstate_rdb._source import BinaryReader, Progress
from telstate_rdb.cli.group import show_progress
from telstate_rdb.cli.output import Output
from telstate_rdb.constants import TypeName
from telstate_rdb.errors import RdbError
from telstate_rdb.printable import escape_path
from telstate_rdb.reader import read_rdb
from telstate_rdb.selection import Selection

PROGRESS_FROM = 1 << 24
"""The size in bytes from which a file gets a progress bar, on a terminal."""

COMPLETIONS = 200
"""The number of keys that completion offers."""

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_SIZE = re.compile(r"(\d+)\s*([kmg]?)i?b?", re.IGNORECASE)


# ----------------------------------------------------------------------------------------- options


def parse_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Parse a number of bytes, such as 100, 10k or 2MB."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size such as 100, 10k or 2MB.")
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def check_separator(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> str | None:
    """Return what ends a prefix, which must not be empty."""
    if text == "":
        raise click.BadParameter("It is empty.")
    return text


def complete_key(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the keys of the file on the command line that begin like `incomplete`."""
    file = context.params.get("file")
    if file is None:  # click has parsed no argument if the value of an option is being completed
        words = shlex.split(os.environ.get("COMP_WORDS", ""))
        file = next(filter(os.path.isfile, words[1:]), None)
    found: list[str] = []
    start = os.fsencode(incomplete)
    if isinstance(file, str) and os.path.isfile(file):
        try:
            with (
                open_file(file) as opened,
                read_rdb(opened, raw=True, keys=lambda key: key.startswith(start)) as reader,
            ):
                for record in reader:
                    name = os.fsdecode(record.key)
                    if name.isprintable():
                        found.append(name)
                    if len(found) == COMPLETIONS:
                        break
        except (OSError, RdbError):  # those before are offered
            pass
    return [CompletionItem(name) for name in sorted(found)]


FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)
"""The type of the argument that names a file to read."""

file_argument = click.argument("file", type=FILE)
"""The argument that names the one file to read, or - for standard input."""


def selection_options(command: CommandT) -> CommandT:
    """Add the options that choose keys; the command takes them as `selection`."""

    @functools.wraps(command)
    def wrapper(
        *args: Any,
        keys: tuple[str, ...],
        not_keys: tuple[str, ...],
        types: tuple[TypeName, ...],
        databases: tuple[int, ...],
        larger: int | None,
        expiring: bool | None,
        **options: Any,
    ) -> Any:
        selection = Selection(
            keys=keys,
            not_keys=not_keys,
            types=types,
            databases=databases,
            larger=larger,
            expiring=expiring,
        )
        return command(*args, selection=selection, **options)

    for add in reversed(
        (
            click.option(
                "--keys",
                multiple=True,
                metavar="GLOB",
                shell_complete=complete_key,
                help="Only keys that match, such as 'user:*' (as for the command KEYS); may be repeated.",
            ),
            click.option(
                "--not-keys",
                multiple=True,
                metavar="GLOB",
                shell_complete=complete_key,
                help="Only keys that do not match; may be repeated.",
            ),
            click.option(
                "--type",
                "types",
                multiple=True,
                type=click.Choice(get_args(TypeName)),
                help="Only keys of this type; may be repeated.",
            ),
            click.option(
                "--db",
                "databases",
                multiple=True,
                type=click.IntRange(0),
                metavar="N",
                help="Only keys of this database; may be repeated.",
            ),
            click.option(
                "--larger",
                callback=parse_size,
                metavar="BYTES",
                help="Only keys that take more bytes in the file, such as 10k.",
            ),
            click.option(
                "--expiring/--not-expiring",
                default=None,
                help="Only keys that expire, or that do not.",
            ),
        )
    ):
        wrapper = add(wrapper)
    return cast(CommandT, wrapper)


# ------------------------------------------------------------------------------------------- files


def name_of(file: str) -> str:
    """Return the name of a file for messages."""
    return "standard input" if file == "-" else escape_path(file)


@contextmanager
def open_file(file: str) -> Iterator[BinaryReader | str]:
    """Open a file that is compressed with gzip, or standard input; yield the path of any other."""
    if file == "-":
        if sys.stdin is None:
            raise click.ClickException("standard input cannot be read: it is closed.")
        with nullcontext(sys.stdin.buffer) as opened:
            yield opened
        return
    is_compressed = False
    if os.path.isfile(file):
        with open(file, "rb") as opened:
            try:
                is_compressed = opened.read(2) == b"\x1f\x8b"
            except OSError as error:
                error.filename = file
                raise
    if is_compressed:
        with gzip.open(file) as decompressed:
            yield decompressed
    else:
        yield file


@contextmanager
def read_file(file: str, output: Output | None = None) -> Iterator[dict[str, Any]]:
    """Open a file with a progress bar; yield the arguments for `read_rdb`.

    No bar is shown if rows are printed to a terminal meanwhile: pass the `output` for them.
    """
    with read_files((file,), output) as (source,):
        yield source


@contextmanager
def read_files(
    files: Sequence[str], output: Output | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Open files as `read_file` does; yield the arguments for each of them."""
    with _show_progress(files, output) as progress, ExitStack() as stack:
        yield [
            {
                "source": stack.enter_context(open_file(file)),
                "progress": progress.get(file),
                "name": name_of(file),
            }
            for file in files
        ]


def refuse_pipes(files: Sequence[str]) -> None:
    """Raise an error if one of the files cannot be read twice."""
    for file in files:
        if not os.path.isfile(file):
            raise click.UsageError(
                f"The files are read twice, which {name_of(file)} does not allow. Use regular files."
            )


@contextmanager
def _show_progress(files: Sequence[str], output: Output | None) -> Iterator[Mapping[str, Progress]]:
    """Show a progress bar for each large file on a terminal; yield the functions to call with the progress."""
    large = [file for file in files if file != "-" and os.path.getsize(file) >= PROGRESS_FROM]
    prints_rows = output is not None and output.is_terminal
    names = {} if prints_rows else {file: os.path.basename(file) for file in large}
    with show_progress(names) as progress:
        yield progress
