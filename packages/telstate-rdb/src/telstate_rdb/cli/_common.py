"""What the commands share: the options that choose keys, opening files, progress, and how a command ends."""

from __future__ import annotations

import functools
import gzip
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NoReturn, TypeVar, cast, get_args

import click
from click.shell_completion import CompletionItem

from telstate_rdb._source import BinaryReader, Progress
from telstate_rdb.cli._output import Output, OutputError, discard, open_output
from telstate_rdb.constants import TypeName
from telstate_rdb.errors import RdbError
from telstate_rdb.printable import escape, escape_path
from telstate_rdb.reader import read_rdb
from telstate_rdb.selection import Selection

YES, NO, FAILED = range(3)
"""The exit statuses: done, the answer is "no", the work could not be done."""

PROGRESS_FROM = 1 << 24
"""The size in bytes from which a file gets a progress bar, on a terminal."""

COMPLETIONS = 200
"""The number of keys that completion offers."""

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_SIZE = re.compile(r"(\d+)\s*([kmg]?)i?b?", re.IGNORECASE)


class Group(click.Group):
    """A group of commands whose errors are one line on standard error."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command, and exit with its status."""
        options["standalone_mode"] = False
        try:
            try:
                status = super().main(*args, **options)
            except click.UsageError as error:
                hint = ""
                if error.ctx is not None:
                    hint = f" Try: {error.ctx.command_path} --help"
                _end(FAILED, f"{error.format_message()}{hint}")
            except click.ClickException as error:
                _end(FAILED, error.format_message())
            except click.exceptions.Exit as error:
                status = error.exit_code
            except (_Interrupted, click.Abort):
                _end_interrupted()
            except OutputError as error:
                _end(FAILED, "" if error.is_closed else str(error))
            except MemoryError:
                _end(FAILED, "There is not enough memory for this.")
            except BrokenPipeError:  # click's own output, of --help for instance
                discard(sys.stdout)
                _end(FAILED)
            except OSError as error:
                if error.filename is None:
                    _end(FAILED, f"{error.strerror or error}.")
                shown = escape(error.filename)
                _end(FAILED, f"{shown}: {error.strerror or error}.")
            except RdbError as error:
                _end(FAILED, str(error))
        except KeyboardInterrupt:
            _end_interrupted()
        sys.exit(status or YES)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help if there are no arguments, which is wrong usage; releases of click differ in that."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(FAILED)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Call a command; click would print an empty line for KeyboardInterrupt."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error


class _Interrupted(Exception):
    """A command was interrupted by Ctrl-C."""


def _end(status: int, message: str = "") -> NoReturn:
    """Print a message and exit."""
    if message:
        print_message(message)
    sys.exit(status)


def _end_interrupted() -> NoReturn:
    """End as the signal of Ctrl-C ends a process, which shells must see to stop their loops."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    sys.exit(128 + signal.SIGINT)  # where signals do not end processes


def print_message(text: str) -> None:
    """Print a line on standard error."""
    stream = sys.stderr
    if stream is None:  # it was closed before the start
        return
    encoding = stream.encoding or "utf-8"
    line = escape_path(text)  # what was given as a file may be a URL with a password
    try:
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError:  # the status says it
        discard(stream)


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

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")

force_option = click.option("--force", is_flag=True, help="Overwrite files that exist.")


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
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    large = [file for file in files if file != "-" and os.path.getsize(file) >= PROGRESS_FROM]
    if not is_terminal or not large or (output is not None and output.is_terminal):
        yield {}
        return
    from rich.console import Console
    from rich.markup import escape as escape_markup
    from rich.progress import BarColumn, DownloadColumn
    from rich.progress import Progress as Bar
    from rich.progress import TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    def follow(task: TaskID) -> Progress:  # the size of a compressed file is not known
        return lambda done, size: bar.update(task, completed=done, total=size)

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, *speed, console=Console(stderr=True), transient=True) as bar:
        yield {
            file: follow(bar.add_task(escape_markup(escape(os.path.basename(file))), total=None))
            for file in dict.fromkeys(large)
        }
