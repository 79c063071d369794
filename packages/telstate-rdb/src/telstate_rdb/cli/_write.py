"""The commands that make something else of files: resp, convert, merge and split."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import click

from telstate_rdb._types.writers import check_version
from telstate_rdb.cli._common import (
    FILE,
    check_separator,
    file_argument,
    read_file,
    read_files,
    refuse_pipes,
    selection_options,
)
from telstate_rdb.cli.group import print_message
from telstate_rdb.cli.output import (
    Column,
    Output,
    force_option,
    json_option,
    output_options,
    print_rows,
    print_to,
    refuse_existing,
)
from telstate_rdb.convert import MAX_PARTS, Changes, convert_rdb, merge_rdb, split_rdb
from telstate_rdb.printable import escape
from telstate_rdb.resp import CommandMaker, command_pieces, parse_target
from telstate_rdb.selection import Selection, read_selected

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_PARTS = (Column("keys", "number"), Column("file"))
_SHOWN_CONFLICTS = 10

target_argument = click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))


def _checked_by(check: Callable[[Any], object]) -> Callable[..., Any]:
    """Return a callback for an option whose value must pass a check that raises ValueError."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is not None:
            try:
                check(value)
            except ValueError as error:
                raise click.BadParameter(str(error)) from error
        return value

    return callback


version_option = click.option(
    "--version",
    "version",
    type=int,
    callback=_checked_by(check_version),
    metavar="N",
    help="The RDB version to write, such as 9, 10, 11, 12 or 80 (Valkey 9). [default: the lowest "
    "from 6 that can hold everything]",
)

compress_option = click.option("--compress", is_flag=True, help="Compress long strings (LZF).")


def _to_milliseconds(context: click.Context, parameter: click.Parameter, seconds: float) -> int:
    if not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} is not a number of seconds.")
    return round(seconds * 1000)


def change_options(command: CommandT) -> CommandT:
    """Add the options that change keys; the command takes them as `changes`."""

    @functools.wraps(command)
    def wrapper(
        *args: Any, to_db: int | None, no_expiry: bool, shift_expiry: int, **options: Any
    ) -> Any:
        changes = Changes(
            to_database=to_db,
            keep_expiry=not no_expiry,
            shift_expiry=shift_expiry,
        )
        return command(*args, changes=changes, **options)

    for add in (
        click.option(
            "--shift-expiry",
            type=float,
            callback=_to_milliseconds,
            default=0,
            metavar="SECONDS",
            help="Let keys expire so much later; negative: earlier.",
        ),
        click.option("--no-expiry", is_flag=True, help="Let no key expire."),
        click.option(
            "--to-db", type=click.IntRange(0), metavar="N", help="Move all keys to this database."
        ),
    ):
        wrapper = add(wrapper)
    return cast(CommandT, wrapper)


@click.command()
@file_argument
@selection_options
@click.option(
    "--target",
    metavar="RELEASE",
    callback=_checked_by(parse_target),
    help="The server, such as 6.2 or valkey-8.1: what it lacks is left out, and named.",
)
@click.option("--replace", is_flag=True, help="Replace keys that exist, instead of adding to them.")
@click.option("--restore", is_flag=True, help="Write RESTORE for every key: exact, and faster.")
@change_options
@output_options
def resp(
    file: str,
    selection: Selection,
    target: str | None,
    replace: bool,
    restore: bool,
    changes: Changes,
    force: bool,
    output: Output,
) -> None:
    """Print commands for redis-cli --pipe, which rebuild the content.

    Streams are rebuilt with their groups and pending entries. Only RESTORE keeps when consumers were
    last seen, and how long keys were idle. Function libraries are loaded too, unless keys are chosen.

    \b
    Examples:
      telstate-rdb resp dump.rdb | redis-cli --pipe
      telstate-rdb resp dump.rdb --target 6.2 --to-db 3 --replace | redis-cli --pipe
    """
    maker = CommandMaker(target, restore=restore, replace=replace)
    with read_file(file, output) as source:
        for record in read_selected(**source, selection=selection, auxiliary=True):
            for command in maker.commands(changes.apply(record)):
                for piece in command_pieces(command):
                    output.write_bytes(piece)
    if maker.omitted:
        left_out = ", ".join(f"{what} ({count})" for what, count in maker.omitted.items())
        print_message(f"Left out{'' if target is None else f' for {target}'}: {left_out}.")


@click.command()
@file_argument
@target_argument
@version_option
@selection_options
@change_options
@compress_option
@force_option
def convert(
    file: str,
    target: str,
    version: int | None,
    selection: Selection,
    changes: Changes,
    compress: bool,
    force: bool,
) -> None:
    """Write keys to a new file, in a version that other servers load.

    Without --version, every server since Redis 2.6 loads the new file, unless something in it came
    with a later release.

    \b
    Examples:
      telstate-rdb convert dump.rdb old.rdb --version 9
      telstate-rdb convert redis8.rdb valkey9.rdb --version 80
      telstate-rdb convert dump.rdb users.rdb --keys 'user:*' --to-db 0
    """
    refuse_existing(target, force)
    with read_file(file) as source:
        convert_rdb(
            **source,
            target=target,
            version=version,
            selection=selection,
            changes=changes,
            compress=compress,
        )


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", "target", required=True, type=click.Path(dir_okay=False))
@click.option(
    "--prefer",
    type=click.Choice(["first", "last"]),
    help="The file that a key is taken from if several have it. [default: refuse]",
)
@version_option
@selection_options
@change_options
@compress_option
@force_option
def merge(
    files: tuple[str, ...],
    target: str,
    prefer: Literal["first", "last"] | None,
    version: int | None,
    selection: Selection,
    changes: Changes,
    compress: bool,
    force: bool,
) -> None:
    """Write the keys of several files to one.

    Keys that are in several files are named on standard error. The files are read twice, so they
    cannot be pipes.

    \b
    Examples:
      telstate-rdb merge a.rdb b.rdb -o all.rdb
      telstate-rdb merge monday.rdb tuesday.rdb --prefer last -o week.rdb
    """
    refuse_existing(target, force)
    refuse_pipes(files)
    with read_files(files) as sources:
        merged = merge_rdb(
            [source["source"] for source in sources],
            target,
            prefer=prefer,
            version=version,
            selection=selection,
            changes=changes,
            compress=compress,
            progress=[source["progress"] for source in sources],
            names=[source["name"] for source in sources],
        )
    for conflict in merged.conflicts[:_SHOWN_CONFLICTS]:
        place = "" if conflict.database is None else f" in database {conflict.database}"
        print_message(f"Taken from the {prefer} file: {escape(conflict.key)}{place}.")
    if (more := len(merged.conflicts) - _SHOWN_CONFLICTS) > 0:
        print_message(f"Taken from the {prefer} file: {more} more keys.")


@click.command()
@file_argument
@click.option("--by", required=True, type=click.Choice(["db", "prefix", "slot"]))
@click.option(
    "--separator",
    default=":",
    show_default=True,
    callback=check_separator,
    help="What ends a prefix.",
)
@click.option(
    "--parts",
    type=click.IntRange(1, MAX_PARTS),
    default=3,
    show_default=True,
    metavar="N",
    help="The number of ranges of slots.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    default=".",
    type=click.Path(file_okay=False),
    help="The folder of the new files. [default: the current one]",
)
@version_option
@selection_options
@change_options
@compress_option
@force_option
@json_option
@print_to
def split(
    file: str,
    by: Literal["db", "prefix", "slot"],
    separator: str,
    parts: int,
    folder: str,
    version: int | None,
    selection: Selection,
    changes: Changes,
    compress: bool,
    force: bool,
    as_json: bool,
    output: Output,
) -> None:
    """Divide the keys of a file among several files.

    The names of the files are printed. They are db0.rdb, ..., or user.rdb, ... for keys such as user:17, or slots-0-5460.rdb, ... for
    the nodes of a cluster.

    \b
    Examples:
      telstate-rdb split dump.rdb --by db -o databases
      telstate-rdb split dump.rdb --by slot --parts 6 -o nodes
    """
    with read_file(file) as source:
        try:
            counts = split_rdb(
                **source,
                folder=folder,
                by=by,
                separator=os.fsencode(separator),
                parts=parts,
                overwrite=force,
                version=version,
                selection=selection,
                changes=changes,
                compress=compress,
            )
        except FileExistsError as error:
            refuse_existing(error.filename, force)
            raise
    rows = ((count, escape(str(path))) for path, count in counts.items())
    print_rows(output, "json" if as_json else "table", _PARTS, rows)
