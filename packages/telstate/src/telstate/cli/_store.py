"""The argument STORE and the options that go with it, opening what they name, and completion of its keys."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast

import attrs
import click
from click.shell_completion import CompletionItem, split_arg_string

from telstate._open import names_snapshot, open_store
from telstate._sources import is_address
from telstate.cli._complete import complete_name
from telstate.errors import MissingKeyError
from telstate.telescope_state import TelescopeState
from telstate_backends import DatabaseCollisionError, RdbParseError
from telstate_codec import set_allow_pickle
from telstate_rdb.cli.group import show_progress
from telstate_rdb.printable import escape_path

_EXPORTS = {
    **dict.fromkeys((".jsonl", ".parquet"), "telstate load loads it into a server"),
    ".csv": "CSV cannot be loaded, but JSON lines and Parquet can",
}
"""What can be done with the formats of export."""

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


@attrs.frozen
class Opened:
    """A telescope state that a command has opened.

    Attributes
    ----------
    ts : TelescopeState
        The telescope state, with the views that were asked for.
    name : str
        What it was opened from, without a password, for messages.
    """

    ts: TelescopeState
    name: str


@attrs.frozen
class StoreArgument:
    """What was typed as STORE, with the options that go with it.

    Attributes
    ----------
    text : str
        The text.
    prefixes : tuple of str
        The prefixes of the view.
    database : int or None
        The database, if one was chosen.
    damaged : bool
        Whether the intact parts of a damaged file are wanted.
    """

    text: str
    prefixes: tuple[str, ...] = ("",)
    database: int | None = None
    damaged: bool = False

    @property
    def name(self) -> str:
        """The text for messages, without a password."""
        return "standard input" if self.text == "-" else escape_path(self.text)

    @property
    def is_file(self) -> bool:
        """Whether it names a snapshot, and not a server."""
        return self.text == "-" or names_snapshot(self.text)

    @property
    def is_read_once(self) -> bool:
        """Whether it is standard input, a pipe, or an address from which all would be downloaded again."""
        return self.text == "-" or is_address(self.text) or not os.path.isfile(self.text)

    @property
    def source(self) -> Any:
        """What to read a snapshot from: standard input, a path or an address, which is valid."""
        if self.text == "-":
            if sys.stdin is None:
                raise click.ClickException("Standard input cannot be read: it is closed.")
            return sys.stdin.buffer
        if is_address(self.text):
            from telstate._download import check_address  # which imports an HTTP client

            try:
                check_address(self.text)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
        return self.text

    @contextmanager
    def open_source(self) -> Iterator[tuple[Any, Callable[[int, int | None], None] | None]]:
        """Yield what to read a snapshot from, and the function that shows the progress of a download."""
        source = self.source
        downloads = {self.text: "download"} if is_address(self.text) else {}
        with show_progress(downloads) as progress:
            try:
                yield source, progress.get(self.text)
            except RdbParseError as error:
                advice = "" if error.offset else _EXPORTS.get(os.path.splitext(self.text)[1], "")
                if not advice:
                    raise
                raise click.ClickException(
                    f"{self.name} is not a snapshot, but looks like a file of telstate export: {advice}."
                ) from error

    @contextmanager
    def open(self, keys: Iterable[str] | None = None, writable: bool = False) -> Iterator[Opened]:
        """Open the telescope state.

        Parameters
        ----------
        keys
            Globs of full names: of a snapshot, other keys need not be loaded. Default: all.
        writable
            Whether the command writes to the store, which must be a server then.
        """
        if writable and self.is_file:
            raise click.UsageError(f"{self.name} is a file. This command writes to a server.")
        if writable and self.damaged:
            raise click.UsageError("--damaged is for commands that read a store.")
        try:
            with self.open_source() as (source, progress):
                ts = open_store(
                    source,
                    prefixes=self.prefixes,
                    keys=keys,
                    database=self.database,
                    strict=not self.damaged,
                    collisions="refuse",
                    progress=progress,
                )
        except ValueError as error:  # of what was typed
            raise click.UsageError(str(error)) from error
        except DatabaseCollisionError as error:
            raise click.ClickException(f"{str(error).removesuffix('.')} with --db.") from error
        with ts:
            if self.is_file and self.database is not None and keys is None and not ts.keys():
                raise click.ClickException(f"{self.name} has no keys in database {self.database}.")
            try:
                yield Opened(ts, self.name)
            except MissingKeyError as error:
                str(error)  # which asks the store for similar names, while it is open
                raise


def _prefixes(views: tuple[str, ...]) -> tuple[str, ...]:
    """Return the prefixes for the options --view, of which the first is searched first."""
    ts = TelescopeState()
    for name in reversed(views):
        ts = ts.view(name)
    return ts.prefixes


_view_option = click.option(
    "--view",
    "views",
    multiple=True,
    metavar="PREFIX",
    help="Look keys up with this prefix first; may be repeated.",
)
_database_option = click.option(
    "--db",
    "database",
    type=click.IntRange(0),
    metavar="N",
    help="The database of the server, or the one to take from a file.",
)
_pickle_option = click.option(
    "--allow-pickle",
    type=click.Choice(["safe"]),
    help="Read pickled values that are plain data; nothing in them is executed.",
)
_damaged_option = click.option(
    "--damaged", is_flag=True, help="Read the intact parts of a damaged file."
)


def complete_store(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_key(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the keys of the store on the command line that begin like `incomplete`."""
    text = context.params.get("store") or context.params.get("first")
    if text is None:  # click has parsed no argument if the value of an option is being completed
        words = split_arg_string(os.environ.get("COMP_WORDS", ""))
        text = next((word for word in words[2:] if os.path.isfile(word) or ":" in word), None)
    if not isinstance(text, str):
        return []
    prefixes = _prefixes(context.params.get("views") or ())
    names = complete_name(text, incomplete, prefixes, context.params.get("database"))
    return [CompletionItem(name) for name in names]


def store_argument(command: CommandT) -> CommandT:
    """Add the argument STORE and its options; the command takes a `StoreArgument` as `store`."""
    return _view_option(whole_store_argument(command))


def whole_store_argument(command: CommandT) -> CommandT:
    """Add the argument STORE as `store_argument` does, to a command that works with full names of keys only."""
    command = _convert_stores(command, "store")
    return click.argument("store", shell_complete=complete_store)(command)


def two_stores(command: CommandT) -> CommandT:
    """Add the arguments A and B and their options; the command takes two `StoreArgument`s as `first` and `second`."""
    command = _convert_stores(command, "first", "second")
    for name, shown in (("second", "B"), ("first", "A")):
        command = click.argument(name, metavar=shown, shell_complete=complete_store)(command)
    return command


def many_stores(command: CommandT) -> CommandT:
    """Add the argument STORE... and its options; the command takes `StoreArgument`s as `stores`."""
    command = _convert_stores(command, "stores")
    return click.argument(
        "stores", metavar="STORE...", nargs=-1, required=True, shell_complete=complete_store
    )(command)


def _convert_stores(command: CommandT, *names: str) -> CommandT:
    """Make `StoreArgument`s of what was typed for these arguments, and add the options that go with them."""

    @functools.wraps(command)
    def wrapper(
        *args: Any,
        database: int | None,
        allow_pickle: Literal["safe"] | None,
        damaged: bool,
        views: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        if allow_pickle is not None:
            set_allow_pickle(allow_pickle)
        prefixes = _prefixes(views)
        for name in names:
            typed = options[name]
            if isinstance(typed, str):
                options[name] = StoreArgument(typed, prefixes, database, damaged)
            else:
                options[name] = tuple(
                    StoreArgument(one, prefixes, database, damaged) for one in typed
                )
        return command(*args, **options)

    return cast(CommandT, _database_option(_pickle_option(_damaged_option(wrapper))))


key_argument = click.argument("key", shell_complete=complete_key)
"""The argument that names one key."""

keys_argument = click.argument(
    "keys", nargs=-1, required=True, metavar="KEY|GLOB...", shell_complete=complete_key
)
"""The argument that names one key or more, or globs."""

globs_argument = click.argument("globs", nargs=-1, metavar="[GLOB]...", shell_complete=complete_key)
"""The argument that chooses keys; none stands for all."""
