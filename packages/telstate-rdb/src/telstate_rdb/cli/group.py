"""The group of a command's subcommands: how they end, what they print when something fails, and progress bars."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

import click

from telstate_rdb.cli import completion  # noqa: F401  # registers completion in bash
from telstate_rdb.cli.output import OutputError, discard
from telstate_rdb.errors import RdbError
from telstate_rdb.printable import escape, escape_path

YES, NO, FAILED = range(3)
"""The exit statuses: done, the answer is "no", the work could not be done."""


class Group(click.Group):
    """A group of commands whose errors are one line on standard error."""

    #: The exit status for each class of errors whose text is a message for the user; the first that fits counts.
    errors: ClassVar[Mapping[type[Exception], int]] = {RdbError: FAILED}

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
                _end(FAILED, f"{self.describe(error)}{hint}")
            except click.ClickException as error:
                _end(FAILED, self.describe(error))
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
                _end(FAILED, describe_os_error(error))
            except tuple(self.errors) as error:
                status = next(self.errors[one] for one in self.errors if isinstance(error, one))
                text = self.describe(error)
                _end(status, text if text.endswith((".", "?")) else f"{text}.")
        except KeyboardInterrupt:
            _end_interrupted()
        sys.exit(status or YES)

    def describe(self, error: Exception) -> str:
        """Return the message for an error."""
        if isinstance(error, click.ClickException):
            return error.format_message()
        return str(error)

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


def describe_os_error(error: OSError) -> str:
    """Return the message for an error of the operating system, which names the file if that is known."""
    reason = f"{str(error.strerror or error).removesuffix('.')}."
    return (
        reason if error.filename is None else f"{escape_path(os.fspath(error.filename))}: {reason}"
    )


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


@contextmanager
def show_progress(
    names: Mapping[str, str], in_bytes: bool = True
) -> Iterator[Mapping[str, Callable[[int, int | None], None]]]:
    """Show a progress bar for each of some long tasks on standard error, if that is a terminal.

    Parameters
    ----------
    names
        The name of each task, by what identifies it.
    in_bytes
        Whether what is counted are bytes (default), and not keys or rows.

    Yields
    ------
    progress
        For each task the function to call with the number that is done, and that of all (None if it is not
        known); empty if there is no terminal.
    """
    if not names or sys.stderr is None or not sys.stderr.isatty():
        yield {}
        return
    from rich.console import Console
    from rich.markup import escape as escape_markup
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    def follow(task: TaskID) -> Callable[[int, int | None], None]:
        return lambda done, size: bar.update(task, completed=done, total=size)

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    counts = (
        (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(), Rate())
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield {
            key: follow(bar.add_task(escape_markup(escape(name)), total=None))
            for key, name in names.items()
        }
